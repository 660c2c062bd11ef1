from watchword_database.migrate import run_env

run_env("bus", None)
