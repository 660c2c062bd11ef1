"""The server fixtures give real servers that can be filled, killed and started again."""

from collections.abc import Callable

import asyncpg
import nats

from watchword.embedded.postgres import PostgresServer
from watchword_testkit.servers import Broker, Postgres


async def test_each_test_has_a_database_of_its_own(postgres: Postgres, scratch_database: str) -> None:
    connection = await asyncpg.connect(scratch_database)
    await connection.execute("CREATE TABLE t (a int)")
    assert await connection.fetchval("SELECT count(*) FROM t") == 0
    await connection.close()
    async with postgres.admin() as admin:
        assert await admin.fetchval("SELECT to_regclass('t')") is None


async def test_the_shared_broker_has_jetstream(nats_server: Broker) -> None:
    connection = await nats.connect(nats_server.url)
    account = await connection.jetstream().account_info()
    assert account.limits is not None
    await connection.close()


async def test_a_killed_broker_comes_back_at_its_url_with_its_streams(nats_factory: Callable[[], Broker]) -> None:
    server = nats_factory()
    connection = await nats.connect(server.url)
    stream = connection.jetstream()
    await stream.add_stream(name="T", subjects=["t.>"])
    await stream.publish("t.a", b"1")
    await connection.close()
    server.kill()
    server.start()
    again = await nats.connect(server.url)
    assert (await again.jetstream().stream_info("T")).state.messages == 1
    await again.close()


async def test_a_killed_postgres_keeps_what_it_committed(postgres_factory: Callable[[], PostgresServer]) -> None:
    server = postgres_factory()
    connection = await asyncpg.connect(server.url())
    await connection.execute("CREATE TABLE t AS SELECT 1 AS a")
    server.kill()
    server.start()
    again = await asyncpg.connect(server.url())
    assert await again.fetchval("SELECT a FROM t") == 1
    assert await again.fetchval("SHOW fsync") == "on"
    await again.close()
