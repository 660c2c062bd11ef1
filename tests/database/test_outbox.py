"""Outbox and relay: a committed event arrives once and in order, whatever happens to the broker or the relay."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import nats
import pytest
from nats.aio.client import Client
from nats.js.api import StreamConfig

from watchword_database import Database, transaction
from watchword_database.outbox import Relay
from watchword_events.contracts import ClientRegistered, UserDisabled, UserUpdated
from watchword_events.names import Service
from watchword_testkit.servers import Broker

SERVICE = Service.DIRECTORY


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Client]:
    client = await nats.connect(url, reconnect_time_wait=0.05, max_reconnect_attempts=-1, connect_timeout=1)
    try:
        yield client
    finally:
        await client.close()


async def create_stream(client: Client) -> None:
    config = StreamConfig(name=SERVICE.stream, subjects=[f"auth.{SERVICE.value}.>"], duplicate_window=3600)
    await client.jetstream().add_stream(config)


async def emit(database: Database, first: int, last: int) -> None:
    for version in range(first, last + 1):
        async with transaction(database) as session:
            session.emit(UserUpdated(id="u-1", version=version, claims_version=version))


async def stored_versions(client: Client) -> list[str]:
    js = client.jetstream()
    state = (await js.stream_info(SERVICE.stream)).state
    found = []
    for seq in range(state.first_seq, state.last_seq + 1):
        message = await js.get_msg(SERVICE.stream, seq)
        assert message.headers is not None
        found.append(message.headers["ce-sequence"])
    return found


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while True:
            found = condition()
            if await found if asyncio.iscoroutine(found) else found:
                return
            await asyncio.sleep(0.05)


@pytest.fixture
async def database(databases: dict[Service, Database]) -> Database:
    """The directory's database with nothing to publish and nothing noted of a stream."""
    async with transaction(databases[SERVICE]) as session:
        connection = await session.connection()
        await connection.exec_driver_sql("DELETE FROM directory.outbox")
        await connection.exec_driver_sql("DELETE FROM directory.relay_state")
    return databases[SERVICE]


def versions(first: int, last: int) -> list[str]:
    return [str(version) for version in range(first, last + 1)]


async def test_events_arrive_in_order_and_once(database: Database, nats_factory: Callable[[], Broker]) -> None:
    async with connected(nats_factory().url) as client:
        await create_stream(client)
        relay = Relay(database, lambda: client)
        database.hint = lambda _subject: relay.wake()
        relay.start()
        await emit(database, 1, 450)

        async def all_there() -> bool:
            return (await client.jetstream().stream_info(SERVICE.stream)).state.messages == 450

        await until(all_there)
        assert await stored_versions(client) == versions(1, 450)
        await relay.stop()


async def test_a_rolled_back_change_leaves_no_event(database: Database) -> None:
    async def change_and_fail() -> None:
        async with transaction(database) as session:
            session.emit(UserDisabled(id="u", version=2, claims_version=2))
            raise RuntimeError("undo")

    with pytest.raises(RuntimeError, match="undo"):
        await change_and_fail()
    async with transaction(database) as session:
        result = await (await session.connection()).exec_driver_sql("SELECT count(*) FROM directory.outbox")
        assert result.scalar_one() == 0


async def test_a_service_publishes_only_its_own_events(database: Database) -> None:
    with pytest.raises(ValueError, match=r"directory may not publish client\.registered"):
        async with transaction(database) as session:
            session.emit(ClientRegistered(id="c", version=1))


async def test_one_relay_leads_and_another_takes_over(database: Database, nats_factory: Callable[[], Broker]) -> None:
    async with connected(nats_factory().url) as client:
        await create_stream(client)
        first, second = Relay(database, lambda: client), Relay(database, lambda: client)
        first.start()
        await until(lambda: first.leads)
        second.start()
        await emit(database, 1, 5)
        await asyncio.sleep(0.6)
        assert not second.leads
        await first.stop()
        await until(lambda: second.leads)
        await emit(database, 6, 10)

        async def all_there() -> bool:
            return (await client.jetstream().stream_info(SERVICE.stream)).state.messages >= 10

        await until(all_there)
        assert await stored_versions(client) == versions(1, 10)
        await second.stop()


@pytest.mark.chaos
async def test_broker_killed_and_restarted_loses_and_doubles_nothing(
    database: Database, nats_factory: Callable[[], Broker]
) -> None:
    broker = nats_factory()
    async with connected(broker.url) as client:
        await create_stream(client)
        relay = Relay(database, lambda: client)
        database.hint = lambda _subject: relay.wake()
        relay.start()
        writing = asyncio.create_task(emit(database, 1, 300))
        await asyncio.sleep(0.2)
        await asyncio.to_thread(broker.kill)
        await asyncio.sleep(0.5)
        await asyncio.to_thread(broker.start)
        await writing

        async def all_there() -> bool:
            return client.is_connected and (
                (await client.jetstream().stream_info(SERVICE.stream)).state.messages >= 300
            )

        await until(all_there)
        assert await stored_versions(client) == versions(1, 300)
        await relay.stop()


@pytest.mark.chaos
async def test_a_wiped_stream_is_published_again(database: Database, nats_factory: Callable[[], Broker]) -> None:
    async with connected(nats_factory().url) as client:
        await create_stream(client)
        relay = Relay(database, lambda: client)
        relay.start()
        await emit(database, 1, 20)

        async def at_least(count: int) -> bool:
            return (await client.jetstream().stream_info(SERVICE.stream)).state.messages >= count

        await until(lambda: at_least(20))
        await client.jetstream().delete_stream(SERVICE.stream)
        await create_stream(client)
        await emit(database, 21, 25)
        await until(lambda: at_least(25))
        assert await stored_versions(client) == versions(1, 25)
        await relay.stop()
