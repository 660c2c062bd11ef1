from watchword_database.migrate import run_env
from watchword_directory.models import Base

run_env("directory", Base.metadata)
