from watchword_admin.models import Base
from watchword_database.migrate import run_env

run_env("admin", Base.metadata)
