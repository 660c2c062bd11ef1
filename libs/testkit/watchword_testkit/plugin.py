"""The pytest plugin of Watchword: everything here is a fixture or a hook by its import."""

from watchword_testkit.databases import database, database_template
from watchword_testkit.servers import nats_factory, nats_server, postgres, postgres_factory, scratch_database

__all__ = [
    "database",
    "database_template",
    "nats_factory",
    "nats_server",
    "postgres",
    "postgres_factory",
    "scratch_database",
]
