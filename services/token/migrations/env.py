from watchword_database.migrate import run_env
from watchword_token.models import Base

run_env("token", Base.metadata)
