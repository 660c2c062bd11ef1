"""Outbox and relay: a committed event arrives once and in order, whatever happens to the broker or the relay."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import asyncpg
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


async def test_an_event_of_a_type_that_only_a_newer_release_knows_holds_up_nothing(
    database: Database, nats_factory: Callable[[], Broker]
) -> None:
    """Releases run side by side, and one that was taken back left its events."""
    async with connected(nats_factory().url) as client:
        await create_stream(client)
        async with transaction(database) as session:
            await (await session.connection()).exec_driver_sql(
                "INSERT INTO directory.outbox (type, subject, aggregate_id, aggregate_version, body)"
                " VALUES ('user.praised', 'auth.directory.user.praised', 'u-1', 1, '{}')"
            )
        await emit(database, 2, 3)
        relay = Relay(database, lambda: client)
        relay.start()

        async def all_there() -> bool:
            return (await client.jetstream().stream_info(SERVICE.stream)).state.messages == 3

        await until(all_there)
        message = await client.jetstream().get_msg(SERVICE.stream, 1)
        assert message.headers is not None
        assert (message.headers["ce-type"], message.headers["ce-source"]) == ("user.praised", "urn:watchword:directory")
        assert await stored_versions(client) == versions(1, 3)
        await relay.stop()


async def test_what_was_published_long_ago_is_deleted_while_the_relay_never_rests(
    database: Database, nats_factory: Callable[[], Broker]
) -> None:
    async with connected(nats_factory().url) as client:
        await create_stream(client)
        async with transaction(database) as session:
            await (await session.connection()).exec_driver_sql(
                "INSERT INTO directory.outbox (type, subject, aggregate_id, aggregate_version, body, published_at,"
                " stream_seq) SELECT 'user.updated', 'auth.directory.user.updated', 'u-1', n, '{}', now()"
                " - CASE WHEN n <= 2500 THEN interval '9 days' ELSE interval '7 days' END, n"
                " FROM generate_series(1, 2600) AS n"
            )
        relay = Relay(database, lambda: client)

        async def wake() -> None:
            while True:
                relay.wake()
                await asyncio.sleep(0.05)

        async def left() -> int:
            async with transaction(database) as session:
                result = await (await session.connection()).exec_driver_sql("SELECT count(*) FROM directory.outbox")
                return int(result.scalar_one())

        async def all_gone() -> bool:
            return await left() == 100

        relay.start()
        waking = asyncio.create_task(wake())
        await until(all_gone)
        waking.cancel()
        await relay.stop()
        assert await left() == 100


@pytest.mark.chaos
async def test_a_stream_that_lost_more_than_one_statement_can_mark_is_published_again(
    bus_database: str, database: Database, nats_factory: Callable[[], Broker]
) -> None:
    """Marking each row takes a millisecond here, as it does on a disk that is busy."""
    count, owner = 6_000, await asyncpg.connect(bus_database)
    await owner.execute(
        "CREATE FUNCTION directory.slowly() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_sleep(0.001); RETURN NEW; END $$;"
        "CREATE TRIGGER slowly BEFORE UPDATE ON directory.outbox FOR EACH ROW"
        " WHEN (NEW.stream_seq IS NULL) EXECUTE FUNCTION directory.slowly()"
    )
    async with connected(nats_factory().url) as client:
        await create_stream(client)
        await owner.execute(
            "INSERT INTO directory.outbox (type, subject, aggregate_id, aggregate_version, body, published_at,"
            " stream_seq) SELECT 'user.updated', 'auth.directory.user.updated', 'u-1', n, '{}', now(), n"
            " FROM generate_series(1, $1::bigint) AS n",
            count,
        )
        await owner.execute(
            "INSERT INTO directory.relay_state (stream, last_seq) VALUES ($1, $2)", SERVICE.stream, count
        )
        relay = Relay(database, lambda: client)
        relay.start()

        async def all_there() -> bool:
            return (await client.jetstream().stream_info(SERVICE.stream)).state.messages == count

        async with asyncio.timeout(90):
            while not await all_there():
                await asyncio.sleep(0.1)
        await relay.stop()
    await owner.execute("DROP FUNCTION directory.slowly CASCADE")
    await owner.close()
