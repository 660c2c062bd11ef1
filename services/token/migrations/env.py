from watchword_token.models import Base

from watchword_database.migrate import run_env

run_env("token", Base.metadata)
