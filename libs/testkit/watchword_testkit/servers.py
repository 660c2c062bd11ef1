"""Fixtures for real servers: from a given URL, else from Docker, else from packages and wheels; never skipped."""

import itertools
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, urlsplit

import asyncpg
import pytest

from watchword.embedded.nats import NatsServer, open_configuration
from watchword.embedded.postgres import PostgresServer
from watchword.embedded.process import free_port
from watchword_testkit.docker import DockerNats, DockerPostgres, has_docker

# Tests that end a server use one of their own with full durability; the shared one is only a fast place for databases.
_FAST_SETTINGS = (
    "fsync=off",
    "full_page_writes=off",
    "synchronous_commit=on",
    "autovacuum=off",  # hundreds of databases that live for seconds
    "wal_level=minimal",
    "max_wal_senders=0",
    "checkpoint_timeout=1h",
)


# The text of nats.conf for a port, a store directory and an address to listen on.
Configuration = Callable[[int, str, str], str]


class Broker(Protocol):
    """A NATS server that a test may end and start again; its URL stays."""

    @property
    def url(self) -> str: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...
    def restart(self) -> None: ...


class GivenBroker:
    """The server behind WATCHWORD_TEST_NATS: not ours to end."""

    def __init__(self, url: str) -> None:
        self.url = url

    def start(self) -> None:
        """It runs."""

    def stop(self) -> None:
        """Raises RuntimeError: tests that end a server ask `nats_factory` for one of their own."""
        raise RuntimeError("the server of WATCHWORD_TEST_NATS belongs to somebody else; use nats_factory")

    kill = restart = stop


class Postgres:
    """A server on which each test gets databases of its own."""

    def __init__(self, admin_url: str) -> None:
        self.admin_url = admin_url
        self._numbers = itertools.count()
        self._run = secrets.token_hex(4)

    def url(self, database: str, *, user: str | None = None, password: str | None = None) -> str:
        """The admin URL with another database, and optionally another login."""
        parts = urlsplit(self.admin_url)
        login, _, place = parts.netloc.rpartition("@")
        if user is not None:
            login = f"{quote(user, safe='')}:{quote(password or '', safe='')}"
        return parts._replace(netloc=f"{login}@{place}", path=f"/{database}").geturl()

    async def create_database(self, *, template: str = "template1") -> str:
        """The name of a new database, a copy of `template`."""
        name = f"test_{self._run}_{next(self._numbers)}"
        async with self.admin() as connection:
            await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return name

    async def drop_database(self, name: str) -> None:
        """The database is gone, and whoever was connected to it is too."""
        async with self.admin() as connection:
            await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    @asynccontextmanager
    async def admin(self, database: str | None = None) -> AsyncIterator[asyncpg.Connection]:
        """A superuser's connection."""
        connection = await asyncpg.connect(self.admin_url if database is None else self.url(database))
        try:
            yield connection
        finally:
            await connection.close()


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """The session's PostgreSQL: WATCHWORD_TEST_POSTGRES (a superuser's URL), else Docker, else the launcher."""
    if given := os.environ.get("WATCHWORD_TEST_POSTGRES"):
        yield Postgres(given)
    elif has_docker():
        container = DockerPostgres.started()
        yield Postgres(container.url)
        container.stop()
    else:
        home = tmp_path_factory.mktemp("postgres")
        server = embedded_postgres(home, settings=_FAST_SETTINGS)
        server.start()
        yield Postgres(server.url())
        server.stop()


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """The session's nats-server, JetStream, no accounts: WATCHWORD_TEST_NATS, else Docker, else the wheel."""
    if given := os.environ.get("WATCHWORD_TEST_NATS"):
        yield GivenBroker(given)
    else:
        with own_broker(tmp_path_factory.mktemp("nats")) as server:
            yield server


@pytest.fixture
def nats_factory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Broker]]:
    """Makes empty nats-servers that a test may fill, stop, kill and restart; they are ended after it."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(own_broker(tmp_path_factory.mktemp("nats")))


@pytest.fixture
def postgres_factory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], PostgresServer]]:
    """Makes fully durable PostgreSQL servers that a test may stop, kill and restart; they are ended after it."""
    running: list[PostgresServer] = []

    def make() -> PostgresServer:
        server = embedded_postgres(tmp_path_factory.mktemp("postgres"))
        server.start()
        running.append(server)
        return server

    yield make
    for server in running:
        server.stop()


@pytest.fixture
async def scratch_database(postgres: Postgres) -> AsyncIterator[str]:
    """The superuser's URL of an empty database, dropped after the test."""
    name = await postgres.create_database()
    yield postgres.url(name)
    await postgres.drop_database(name)


def embedded_postgres(home: Path, *, settings: tuple[str, ...] = (), origins: str = "system wheel") -> PostgresServer:
    """A server that is not yet started, with everything it writes below `home`."""
    return PostgresServer(
        home / "postgres",
        password=secrets.token_urlsafe(24),
        log=home / "run" / "postgres.log",
        pg_bin=os.environ.get("WATCHWORD_PG_BIN"),
        origins=origins,
        settings=settings,
    )


@contextmanager
def own_broker(home: Path, configuration: Configuration = open_configuration) -> Iterator[Broker]:
    """A nats-server that belongs to the caller, from Docker or the wheel; everything it writes is below `home`."""
    if has_docker():
        conf = home / "nats.conf"
        conf.write_text(configuration(4222, "/data", "0.0.0.0"))  # noqa: S104 - inside the container
        container = DockerNats(free_port(), conf)
        container.start()
        try:
            yield container
        finally:
            container.remove()
    else:
        store = str(home / "js")
        server = NatsServer(
            home, configuration=lambda port: configuration(port, store, "127.0.0.1"), log=home / "run" / "nats.log"
        )
        server.start()
        try:
            yield server
        finally:
            server.stop()
