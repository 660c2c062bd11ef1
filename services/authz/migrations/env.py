from watchword_authz.models import Base
from watchword_database.migrate import run_env

run_env("authz", Base.metadata)
