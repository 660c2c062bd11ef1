"""A test's database is migrated, empty, and each service sees only what it may."""

import asyncpg
import pytest

from watchword_database.engine import transaction
from watchword_events.contracts import ClientRegistered
from watchword_events.names import Service
from watchword_testkit.databases import TestDatabase


@pytest.mark.parametrize("service", list(Service))
async def test_every_service_reaches_its_own_schema(database: TestDatabase, service: Service) -> None:
    connection = await asyncpg.connect(database.url(service))
    assert await connection.fetchval(f"SELECT count(*) FROM {service.value}.outbox") == 0
    await connection.close()


async def test_a_service_cannot_read_another_services_schema(database: TestDatabase) -> None:
    connection = await asyncpg.connect(database.url(Service.AUTHZ))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.fetchval("SELECT count(*) FROM token.outbox")
    await connection.close()


@pytest.mark.parametrize("_again", range(2))
async def test_what_one_test_writes_no_other_sees(database: TestDatabase, _again: int) -> None:
    async with transaction(database.open(Service.ADMIN)) as session:
        session.emit(ClientRegistered(id="c1", version=1))
    connection = await asyncpg.connect(database.admin_url)
    assert await connection.fetchval("SELECT count(*) FROM admin.outbox") == 1
    await connection.close()
