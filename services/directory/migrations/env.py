from watchword_directory.models import Base

from watchword_database.migrate import run_env

run_env("directory", Base.metadata)
