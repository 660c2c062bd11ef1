"""Settings, keys and connections for the tests of the runtime library."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from watchword_database.engine import Database
from watchword_events.names import Service
from watchword_runtime.broker import Broker
from watchword_runtime.keyring import derive_service_keys
from watchword_runtime.settings import ServiceSettings
from watchword_testkit.databases import Template, TestDatabase
from watchword_testkit.servers import Postgres

MASTER = b"a master key that is used in tests only"

SettingsFor = Callable[..., ServiceSettings]
BrokerFor = Callable[..., AbstractAsyncContextManager[Broker]]


def _settings(service: Service, **given: object) -> ServiceSettings:
    keys = json.dumps(derive_service_keys(MASTER, service))
    return ServiceSettings.model_validate({"database_url": "postgresql://nowhere/none", "keys": keys, **given})


@pytest.fixture(scope="session")
def settings_for() -> SettingsFor:
    """Settings of a service."""
    return _settings


@pytest.fixture(scope="package")
async def package_database(postgres: Postgres, database_template: Template) -> AsyncIterator[TestDatabase]:
    """One migrated database for all tests of this library: a copy for each would take most of their time."""
    name = await postgres.create_database(template=database_template.name)
    found = TestDatabase(postgres, name, database_template.passwords)
    yield found
    await postgres.drop_database(name)


@pytest.fixture
async def database(package_database: TestDatabase) -> AsyncIterator[TestDatabase]:
    """The database as after its migration."""
    yield package_database
    await package_database.close()
    async with package_database.postgres.admin(package_database.name) as admin:
        await admin.execute(
            "TRUNCATE bus.followers, bus.receipts, bus.api_key_uses;"
            "TRUNCATE bus.revocations RESTART IDENTITY; UPDATE bus.ledger SET position = 1::bigint << 40;"
            "TRUNCATE authz.dead_letter, authz.copy_state; DROP TABLE IF EXISTS authz.thing_copy"
        )


@pytest.fixture
def broker_for(settings_for: SettingsFor, database: TestDatabase) -> BrokerFor:
    """A broker of a service, made but not started; stopped at the end of the block."""

    @asynccontextmanager
    async def make(service: Service, nats_url: str, db: Database | None = None) -> AsyncIterator[Broker]:
        broker = Broker(settings_for(service, nats_url=nats_url), db or database.open(service))
        try:
            yield broker
        finally:
            await broker.stop()

    return make


async def eventually(condition: Callable[[], bool], within: float = 30.0) -> None:
    """Returns as soon as the condition holds. Raises AssertionError when it does not in time."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within:g} s")
        await asyncio.sleep(0.005)
