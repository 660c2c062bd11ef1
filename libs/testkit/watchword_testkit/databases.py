"""A migrated database for each test, in the time of a file copy."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from watchword_database import migrate
from watchword_database.engine import Database
from watchword_events.names import Service
from watchword_testkit.servers import Postgres


@dataclass
class TestDatabase:
    """A database with every schema, reachable as each service's own role."""

    __test__ = False

    postgres: Postgres
    name: str
    passwords: dict[Service, str]
    _open: list[Database] = field(default_factory=list)

    @property
    def admin_url(self) -> str:
        """As superuser: row-level security and grants do not apply."""
        return self.postgres.url(self.name)

    def url(self, service: Service) -> str:
        """As the role of a service."""
        return self.postgres.url(self.name, user=service.role, password=self.passwords[service])

    def open(self, service: Service, *, pool_size: int = 4) -> Database:
        """A service's `Database`, disposed of after the test."""
        database = Database(self.url(service), service=service, pool_size=pool_size)
        self._open.append(database)
        return database

    async def close(self) -> None:
        """Every `Database` of open() is disposed of."""
        for database in self._open:
            await database.dispose()
        self._open.clear()


@dataclass(frozen=True)
class Template:
    """The migrated database that tests copy."""

    name: str
    passwords: dict[Service, str]


@pytest.fixture(scope="session")
async def database_template(postgres: Postgres) -> AsyncIterator[Template]:
    """All migrations have run once in this session, and each service's role has a password."""
    template = await migrated_template(postgres)
    yield template
    await postgres.drop_database(template.name)


async def migrated_template(postgres: Postgres) -> Template:
    """A new migrated database on a server, and the passwords that its roles have from now on."""
    name = await postgres.create_database()
    url = postgres.url(name)
    passwords = {service: secrets.token_urlsafe(18) for service in Service}
    await asyncio.to_thread(migrate.upgrade, url)
    await migrate.set_passwords(url, passwords)
    return Template(name, passwords)


@pytest.fixture
async def database(postgres: Postgres, database_template: Template) -> AsyncIterator[TestDatabase]:
    """A migrated, empty installation in a database of the test's own."""
    name = await postgres.create_database(template=database_template.name)
    found = TestDatabase(postgres, name, database_template.passwords)
    yield found
    await found.close()
    await postgres.drop_database(name)
