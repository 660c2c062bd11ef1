from watchword_federation.models import Base

from watchword_database.migrate import run_env

run_env("federation", Base.metadata)
