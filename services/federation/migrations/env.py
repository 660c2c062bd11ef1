from watchword_database.migrate import run_env
from watchword_federation.models import Base

run_env("federation", Base.metadata)
