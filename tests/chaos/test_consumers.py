"""A consumer dies between its commit and the ack: the event comes again and is applied once."""

import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import asyncpg
import nats
import pytest
from nats.aio.client import Client
from tests.chaos.conftest import Crowd, assert_whole, frozen, make_impatient, ready_again, revive, until

from watchword.embedded.process import Child, Step, spawn
from watchword.installation import Installation
from watchword.provision import provision
from watchword_events.catalogue import durables, row_of
from watchword_events.contracts import UserDisabled
from watchword_events.envelope import headers_of
from watchword_events.names import Service
from watchword_runtime.durables import consumer_config
from watchword_testkit.canary import Canary
from watchword_testkit.databases import TestDatabase
from watchword_testkit.installations import PlatformFactory
from watchword_testkit.servers import Broker

pytestmark = pytest.mark.chaos

DURABLE = next(each for each in durables() if each.name == "admin-user")


@pytest.fixture
def started() -> Iterator[ExitStack]:
    """Ends the processes of a test."""
    with ExitStack() as stack:
        yield stack


def consumer(orders: dict[str, object], home: Path, started: ExitStack) -> Child:
    """`tests/chaos/consumer.py` runs."""
    child = spawn(
        "consumer",
        [sys.executable, Path(__file__).with_name("consumer.py")],
        record=home / "consumer.process.json",
        log=home / "consumer.log",
        steps=(Step(signal.SIGKILL, 5.0),),
        waits_for_orders=True,
    )
    started.callback(child.stop)
    child.tell(json.dumps(orders).encode())
    return child


async def publish(client: Client, user_id: str) -> None:
    """What directory's relay would say about a user."""
    event = UserDisabled(id=user_id, version=2, claims_version=2)
    row = row_of(event)
    headers = headers_of(
        row.type, row.owner, event_id=str(uuid4()), aggregate_id=user_id, version=2, at=datetime.now(UTC)
    )
    await client.jetstream().publish(
        row.subject, event.model_dump_json().encode(), stream=row.owner.stream, headers=headers
    )


async def test_an_effect_that_was_committed_but_not_acknowledged_happens_once(
    database: TestDatabase, nats_factory: Callable[[], Broker], tmp_path: Path, started: ExitStack
) -> None:
    server = nats_factory()
    connection = await asyncpg.connect(database.admin_url)
    await connection.execute("CREATE TABLE admin.effects AS SELECT 0 AS times")
    await connection.execute(f"GRANT SELECT, UPDATE ON admin.effects TO {Service.ADMIN.role}")
    client = await nats.connect(server.url)
    js = client.jetstream()
    await provision(js)
    await js.add_consumer(DURABLE.stream, replace(consumer_config(DURABLE), ack_wait=2.0))
    orders: dict[str, object] = {
        "database_url": database.url(Service.ADMIN),
        "nats_url": server.url,
        "keys": Installation.drawn().keys_of(Service.ADMIN),
    }
    first = consumer({**orders, "dies": True}, tmp_path, started)
    await publish(client, "a-user")

    async def has_died() -> bool:
        return not first.is_alive

    await until(has_died, "the consumer lives")
    assert first.popen.returncode == -signal.SIGKILL
    assert await connection.fetchval("SELECT times FROM admin.effects") == 1, "it had committed"
    assert (await js.consumer_info(DURABLE.stream, DURABLE.name)).num_ack_pending == 1, "and had not said so"

    consumer({**orders, "dies": False}, tmp_path, started)

    async def is_acknowledged() -> bool:
        info = await js.consumer_info(DURABLE.stream, DURABLE.name)
        return not (info.num_pending or info.num_ack_pending)

    await until(is_acknowledged, (tmp_path / "consumer.log").read_text())
    assert (await js.consumer_info(DURABLE.stream, DURABLE.name)).delivered.consumer_seq == 2, "it came twice"
    assert await connection.fetchval("SELECT times FROM admin.effects") == 1
    assert await connection.fetchval("SELECT count(*) FROM admin.inbox") == 1
    assert await connection.fetchval("SELECT count(*) FROM admin.dead_letter") == 0
    await client.close()
    await connection.close()


async def test_the_sessions_of_a_disabled_user_end_once_when_authz_dies_before_its_ack(
    platform_factory: PlatformFactory, canary: Canary
) -> None:
    platform = await platform_factory(workers=1)
    await make_impatient(platform)
    crowd = await Crowd.gathered(platform, canary, people=1)
    tokens = await crowd.sign_in()
    await assert_whole(platform)
    user_id = str((await crowd.party.userinfo(tokens["access_token"])).json()["sub"])
    watching, holding = [await asyncpg.connect(platform.database.admin_url) for _ in range(2)]
    held = holding.transaction()
    await held.start()
    await holding.execute("LOCK TABLE authz.session IN SHARE MODE")  # authz can read sessions, and not yet end them
    await platform.api(canary).change(f"/users/{user_id}", active=False)

    async def authz_waits() -> bool:
        sql = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1 AND datname = $2 AND wait_event_type = 'Lock'"
        return bool(await watching.fetchval(sql, Service.AUTHZ.role, platform.database.name))

    async def has_ended() -> bool:
        sql = "SELECT count(*) FROM authz.outbox WHERE type = 'session.ended'"
        return bool(await watching.fetchval(sql))

    await until(authz_waits, "authz did not receive the event")
    with frozen(platform.nats):  # from here on no ack is heard
        await held.commit()
        await until(has_ended, "authz did not commit")
        platform.workers[0].kill()
        platform.nats.kill()
    platform.nats.start()
    revive(platform, platform.workers[0])
    await ready_again(platform)
    await assert_whole(platform)
    assert await watching.fetchval("SELECT count(*) FROM authz.outbox WHERE type = 'session.ended'") == 1
    lines = [json.loads(line) for line in platform.workers[0].log.read_text().splitlines() if "sessions.closed" in line]
    assert [line["count"] for line in lines] == [1, 0], "the event came twice, and found nothing to do the second time"
    for connection in (watching, holding):
        await connection.close()
