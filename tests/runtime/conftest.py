"""Settings, keys and connections for the tests of the runtime library."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from watchword_database.engine import Database
from watchword_events.names import Service
from watchword_runtime.broker import Broker
from watchword_runtime.keyring import derive_service_keys
from watchword_runtime.settings import ServiceSettings
from watchword_testkit.databases import TestDatabase

MASTER = b"a master key that is used in tests only"

SettingsFor = Callable[..., ServiceSettings]
BrokerFor = Callable[..., AbstractAsyncContextManager[Broker]]


@pytest.fixture
def settings_for(monkeypatch: pytest.MonkeyPatch) -> SettingsFor:
    """Settings of a service, as if nothing stood in the environment."""
    for name in ("PUBLIC_URL", "DATABASE_URL", "NATS_URL", "NATS_SEED", "KEYS", "INTERNAL_URLS", "ENVIRONMENT"):
        monkeypatch.delenv(f"WATCHWORD_{name}", raising=False)

    def make(service: Service, **given: object) -> ServiceSettings:
        keys = json.dumps(derive_service_keys(MASTER, service))
        return ServiceSettings.model_validate({"database_url": "postgresql://nowhere/none", "keys": keys, **given})

    return make


@pytest.fixture
def broker_for(settings_for: SettingsFor, database: TestDatabase) -> BrokerFor:
    """A broker of a service, made but not started; stopped at the end of the block."""

    @asynccontextmanager
    async def make(service: Service, nats_url: str, db: Database | None = None) -> AsyncIterator[Broker]:
        broker = Broker(settings_for(service, nats_url=nats_url), db or database.open(service))
        yield broker
        await broker.stop()

    return make
