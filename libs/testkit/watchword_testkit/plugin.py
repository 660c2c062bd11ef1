"""The pytest plugin of Watchword: everything here is a fixture or a hook by its import."""

from watchword_testkit.canary import canary, pytest_runtest_makereport
from watchword_testkit.clock import clock
from watchword_testkit.databases import database, database_template
from watchword_testkit.installations import (
    api,
    browser_session,
    module_platform,
    own_platform,
    platform,
    platform_factory,
    session_platform,
)
from watchword_testkit.logs import log_lines, pytest_configure
from watchword_testkit.network import loopback_only
from watchword_testkit.servers import nats_factory, nats_server, postgres, postgres_factory, scratch_database
from watchword_testkit.upstream import mock_issuer

pytest_plugins = ("watchword_testkit.worker_logs",)

__all__ = [
    "api",
    "browser_session",
    "canary",
    "clock",
    "database",
    "database_template",
    "log_lines",
    "loopback_only",
    "mock_issuer",
    "module_platform",
    "nats_factory",
    "nats_server",
    "own_platform",
    "platform",
    "platform_factory",
    "postgres",
    "postgres_factory",
    "pytest_configure",
    "pytest_plugins",
    "pytest_runtest_makereport",
    "scratch_database",
    "session_platform",
]
