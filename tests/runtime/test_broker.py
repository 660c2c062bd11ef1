"""The broker: durable work that loses nothing, hints that never wait, and NATS that may be away."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import nats
import nkeys
import pytest
from nats.aio.client import Client
from nats.js import JetStreamContext
from structlog.testing import capture_logs

from watchword.embedded.nats import NatsServer
from watchword_database import Database, transaction
from watchword_database.engine import LEDGER_HINT
from watchword_database.outbox import Relay
from watchword_events.catalogue import durables
from watchword_events.contracts import ClientUpdated
from watchword_events.names import Service
from watchword_runtime import broker as broker_module
from watchword_runtime import work
from watchword_runtime.broker import Broker, Received, wire_hints, wire_relay
from watchword_testkit.databases import TestDatabase
from watchword_testkit.servers import Broker as Server

from .conftest import BrokerFor, SettingsFor, eventually
from .events import DURABLE, STREAM, SUBJECT, Owner, event_headers

NOBODY = "nats://127.0.0.1:1"


class Handler:
    """Notes what it was given; fails for the ids in `failing`, or for all."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.done: list[Received] = []
        self.failing: set[str] = set()
        self.fails_always = False

    async def __call__(self, received: list[Received]) -> None:
        ids = [each.event.id for each in received]
        self.batches.append(ids)
        if self.fails_always or self.failing.intersection(ids):
            raise RuntimeError("canary-detail")
        self.done += received

    @property
    def ids(self) -> list[str]:
        return [each.event.id for each in self.done]


@pytest.fixture
def handler() -> Handler:
    return Handler()


@pytest.fixture
async def owner(nats_server: Server) -> AsyncIterator[Owner]:
    made = await Owner.connected(nats_server.url)
    await made.provision()
    yield made
    await made.wipe()
    await made.close()


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries without the waiting."""
    monkeypatch.setattr(work, "BACK_OFF_S", (0.01, 0.01, 0.01))
    monkeypatch.setattr(work, "MAX_TRIES", 4)
    monkeypatch.setattr(broker_module, "_CHECK_S", 0.2)
    monkeypatch.setattr(broker_module, "_DEAD_LETTERS_S", 0.1)


async def dead_letters(database: TestDatabase) -> list[dict[str, Any]]:
    async with database.postgres.admin(database.name) as connection:
        return [dict(row) for row in await connection.fetch("SELECT * FROM authz.dead_letter ORDER BY stream_seq")]


async def handled(handler: Handler, name: str) -> None:
    await eventually(lambda: name in handler.ids)


async def patience(owner: Owner, seconds: float) -> None:
    """How long the server waits for an acknowledgement."""
    config = (await owner.js.consumer_info(STREAM, DURABLE)).config
    config.ack_wait = seconds
    await owner.js.add_consumer(STREAM, config)


async def finished(owner: Owner) -> None:
    deadline = time.monotonic() + 30
    while await owner.unfinished():
        assert time.monotonic() < deadline, "events are still unfinished"
        await asyncio.sleep(0.02)


async def test_events_reach_the_handler_in_batches(
    broker_for: BrokerFor, nats_server: Server, owner: Owner, handler: Handler
) -> None:
    names = [f"client-{n}" for n in range(250)]
    event_ids = await owner.update(*names)
    async with broker_for(Service.AUTHZ, nats_server.url) as broker:
        broker.work(DURABLE, SUBJECT, handler)
        await broker.start()
        await eventually(lambda: len(handler.done) == len(names))
        await finished(owner)
    assert handler.ids == names
    assert [each.event_id for each in handler.done] == event_ids
    assert [each.seq for each in handler.done] == list(range(1, 251))
    assert isinstance(handler.done[0].event, ClientUpdated)
    assert (handler.done[0].type, handler.done[0].subject) == ("client.updated", "auth.admin.client.updated")
    assert max(map(len, handler.batches)) > 10
    assert max(map(len, handler.batches)) <= work.BATCH


async def test_a_lone_event_does_not_wait_for_a_batch(
    broker_for: BrokerFor, nats_server: Server, owner: Owner, handler: Handler
) -> None:
    async with broker_for(Service.AUTHZ, nats_server.url) as broker:
        broker.work(DURABLE, SUBJECT, handler)
        await broker.start()
        await owner.update("first")
        await eventually(lambda: handler.ids == ["first"])
        await owner.update("second")
        await eventually(lambda: handler.ids == ["first", "second"])
        assert handler.batches == [["first"], ["second"]]


async def test_waiting_for_events_takes_no_memory(
    broker_for: BrokerFor,
    nats_server: Server,
    owner: Owner,
    handler: Handler,
    fast: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A pull that nats-py ends with a bare TimeoutError, as it does now and then, is kept by FastStream."""
    made: list[Any] = []
    consume = broker_module._consume

    async def consume_and_note(*args: Any) -> Any:
        made.append(await consume(*args))
        return made[-1]

    async def time_out(*_args: object, **_options: object) -> None:
        await asyncio.sleep(0.02)
        raise TimeoutError

    begun: set[Any] = set()

    def many_have_ended() -> bool:
        begun.update(*[subscriber.tasks for subscriber in made])
        return len(begun) > 50

    monkeypatch.setattr(broker_module, "_consume", consume_and_note)
    async with broker_for(Service.AUTHZ, nats_server.url) as broker:
        broker.work(DURABLE, SUBJECT, handler)
        with monkeypatch.context() as idle:
            idle.setattr(JetStreamContext.PullSubscription, "fetch", time_out)
            await broker.start()
            await eventually(many_have_ended)
            await eventually(lambda: len(made[0].tasks) < 10)
        await owner.update("first")
        await eventually(lambda: handler.ids == ["first"])


async def test_each_event_reaches_one_of_two_instances(
    broker_for: BrokerFor, nats_server: Server, owner: Owner
) -> None:
    one, other = Handler(), Handler()
    async with (
        broker_for(Service.AUTHZ, nats_server.url) as first,
        broker_for(Service.AUTHZ, nats_server.url) as second,
    ):
        first.work(DURABLE, SUBJECT, one)
        second.work(DURABLE, SUBJECT, other)
        await first.start()
        await second.start()
        names = [f"client-{n}" for n in range(60)]
        await owner.update(*names)
        await eventually(lambda: len(one.done) + len(other.done) == len(names))
        await finished(owner)
    assert sorted(one.ids + other.ids) == sorted(names)


@pytest.mark.usefixtures("fast")
async def test_one_bad_event_does_not_hold_up_the_others(
    broker_for: BrokerFor, nats_server: Server, owner: Owner, handler: Handler, database: TestDatabase
) -> None:
    handler.failing = {"bad"}
    await owner.update("a", "bad", "b", "c")
    async with broker_for(Service.AUTHZ, nats_server.url) as broker:
        broker.work(DURABLE, SUBJECT, handler)
        with capture_logs() as logs:
            await broker.start()
            await eventually(lambda: handler.ids == ["a", "b", "c"])
            await finished(owner)
    (letter,) = await dead_letters(database)
    assert (letter["consumer"], letter["stream_seq"]) == (DURABLE, 2)
    assert letter["subject"] == "auth.admin.client.updated"
    assert '"id":"bad"' in letter["body"]
    assert letter["error"].startswith("RuntimeError at ")
    assert "canary-detail" not in letter["error"] + str(logs)
    assert [line["tries"] for line in logs if line["event"] == "work.failed"] == [1, 2, 3, 4]


@pytest.mark.usefixtures("fast")
async def test_what_failed_is_offered_again(
    broker_for: BrokerFor, nats_server: Server, owner: Owner, handler: Handler, database: TestDatabase
) -> None:
    handler.fails_always = True
    await owner.update("a", "b")
    async with broker_for(Service.AUTHZ, nats_server.url) as broker:
        broker.work(DURABLE, SUBJECT, handler)
        await broker.start()
        await eventually(lambda: bool(handler.batches))
        handler.fails_always = False
        await eventually(lambda: sorted(handler.ids) == ["a", "b"])
        await finished(owner)
    assert await dead_letters(database) == []


async def test_a_failing_cause_outside_is_not_tried_with_every_event(
    broker_for: BrokerFor, nats_server: Server, owner: Owner, handler: Handler
) -> None:
    """An owner that is away costs a time-out per try: a hundred of them would outlast the server's patience."""
    handler.fails_always = True
    await owner.update(*[f"client-{n}" for n in range(50)])
    async with broker_for(Service.AUTHZ, nats_server.url) as broker:
        broker.work(DURABLE, SUBJECT, handler)
        await broker.start()
        await eventually(lambda: bool(handler.batches) and len(handler.batches[0]) == 50)
        await asyncio.sleep(0.05)
    tried = handler.batches[1 : 1 + work._GIVE_UP_AFTER + 1]
    assert [len(batch) for batch in tried[: work._GIVE_UP_AFTER]] == [1] * work._GIVE_UP_AFTER


@pytest.mark.usefixtures("fast")
async def test_a_dead_letter_that_cannot_be_written_is_not_lost(
    broker_for: BrokerFor, nats_server: Server, owner: Owner, handler: Handler, database: TestDatabase
) -> None:
    handler.failing = {"bad"}
    async with database.postgres.admin(database.name) as admin:
        await admin.execute("ALTER TABLE authz.dead_letter RENAME TO hidden")
        await owner.update("bad")
        async with broker_for(Service.AUTHZ, nats_server.url) as broker:
            broker.work(DURABLE, SUBJECT, handler)
            await broker.start()
            await eventually(lambda: len(handler.batches) > work.MAX_TRIES + 1)
            assert await owner.unfinished() == 1
            await admin.execute("ALTER TABLE authz.hidden RENAME TO dead_letter")
            await finished(owner)
    assert len(await dead_letters(database)) == 1


@pytest.mark.usefixtures("fast")
async def test_what_cannot_be_read_is_a_dead_letter_and_what_is_not_known_is_ignored(
    broker_for: BrokerFor, nats_server: Server, owner: Owner, handler: Handler, database: TestDatabase
) -> None:
    headers = event_headers(ClientUpdated(id="x", version=1), "e")
    headers.pop("Nats-Msg-Id")
    await owner.publish_raw(headers, b"no JSON \x00 \xff")
    await owner.publish_raw(headers, b'{"id": "x"}')
    await owner.publish_raw({**headers, "ce-type": "client.painted"}, b"{}")
    await owner.publish_raw({"x": "y"}, b"{}")
    await owner.publish_raw(headers, b'{"id": "x", "version": 1, "colour": "of a newer release"}')
    async with broker_for(Service.AUTHZ, nats_server.url) as broker:
        broker.work(DURABLE, SUBJECT, handler)
        await broker.start()
        await eventually(lambda: handler.ids == ["x"])
        await finished(owner)
    assert [letter["stream_seq"] for letter in await dead_letters(database)] == [1, 2]


async def given_up(owner: Owner, database: TestDatabase, name: str = "bad") -> str:
    """The id of an event that is a dead letter, to be tried again."""
    event = ClientUpdated(id=name, version=1)
    headers = event_headers(event, str(uuid4()))
    async with database.postgres.admin(database.name) as admin:
        await admin.execute(
            "INSERT INTO authz.dead_letter (consumer, stream_seq, subject, headers, body, error)"
            " VALUES ($1, $2, 'auth.admin.client.updated', $3, $4, '')",
            DURABLE, 1 + len(await dead_letters(database)), json.dumps(headers), event.model_dump_json(),
        )  # fmt: skip
    return headers["ce-id"]


@pytest.mark.usefixtures("fast")
async def test_a_dead_letter_that_is_tried_again_is_handled_by_one_instance_and_gone(
    broker_for: BrokerFor, nats_server: Server, owner: Owner, handler: Handler, database: TestDatabase
) -> None:
    ids = [await given_up(owner, database, name) for name in ("one", "two", "three")]
    async with (
        broker_for(Service.AUTHZ, nats_server.url) as broker,
        broker_for(Service.AUTHZ, nats_server.url) as another,
    ):
        for each in (broker, another):
            each.work(DURABLE, SUBJECT, handler)
            await each.start()
        await eventually(lambda: len(handler.done) >= len(ids))
        await asyncio.sleep(0.5)
    assert sorted(each.event_id for each in handler.done) == sorted(ids)
    assert await dead_letters(database) == []


@pytest.mark.usefixtures("fast")
async def test_a_dead_letter_is_tried_again_without_nats(
    broker_for: BrokerFor, owner: Owner, handler: Handler, database: TestDatabase
) -> None:
    await given_up(owner, database)
    async with broker_for(Service.AUTHZ, NOBODY) as broker:
        broker.work(DURABLE, SUBJECT, handler)
        await broker.start()
        await handled(handler, "bad")


@pytest.mark.usefixtures("fast")
async def test_a_dead_letter_that_fails_again_stays_and_says_why(
    broker_for: BrokerFor, nats_server: Server, owner: Owner, handler: Handler, database: TestDatabase
) -> None:
    handler.failing = {"bad"}
    await given_up(owner, database, "good")
    await given_up(owner, database)
    async with broker_for(Service.AUTHZ, nats_server.url) as broker:
        broker.work(DURABLE, SUBJECT, handler)
        await broker.start()
        await handled(handler, "good")
        await eventually(lambda: len(handler.batches) == 2)
        await asyncio.sleep(0.5)
    assert handler.batches == [["good"], ["bad"]], "once, until somebody says so again"
    (letter,) = await dead_letters(database)
    assert letter["error"].startswith("RuntimeError at work.py")


@pytest.mark.usefixtures("fast")
async def test_a_dead_letter_is_forgotten_after_three_months(
    broker_for: BrokerFor, nats_server: Server, owner: Owner, handler: Handler, database: TestDatabase
) -> None:
    for name in ("old", "young"):
        await given_up(owner, database, name)
    async with database.postgres.admin(database.name) as admin:
        await admin.execute(
            "UPDATE authz.dead_letter SET error = 'x', at = now() - interval '1 day' * (CASE stream_seq WHEN 1 THEN 91"
            " ELSE 89 END)"
        )
        async with broker_for(Service.AUTHZ, nats_server.url) as broker:
            broker.work(DURABLE, SUBJECT, handler)
            await broker.start()
            while await admin.fetchval("SELECT count(*) FROM authz.dead_letter WHERE stream_seq = 1"):
                await asyncio.sleep(0.05)
    assert [letter["stream_seq"] for letter in await dead_letters(database)] == [2]
    assert handler.batches == []


@pytest.mark.usefixtures("fast")
async def test_a_server_that_gives_up_earlier_is_obeyed(
    broker_for: BrokerFor, nats_server: Server, owner: Owner, handler: Handler, database: TestDatabase
) -> None:
    config = (await owner.js.consumer_info(STREAM, DURABLE)).config
    config.max_deliver = 2
    await owner.js.add_consumer(STREAM, config)
    handler.failing = {"bad"}
    await owner.update("bad")
    async with broker_for(Service.AUTHZ, nats_server.url) as broker:
        broker.work(DURABLE, SUBJECT, handler)
        await broker.start()
        await finished(owner)
    assert handler.batches == [["bad"], ["bad"]]
    assert len(await dead_letters(database)) == 1


@pytest.mark.usefixtures("fast")
async def test_work_waits_for_its_durable_and_finds_it_again(
    broker_for: BrokerFor, nats_server: Server, owner: Owner, handler: Handler
) -> None:
    await owner.js.delete_consumer(STREAM, DURABLE)
    async with broker_for(Service.AUTHZ, nats_server.url) as broker:
        broker.work(DURABLE, SUBJECT, handler)
        await broker.start()
        await owner.update("a")
        await eventually(lambda: broker.connected)
        await owner.add_durable()
        await eventually(lambda: handler.ids == ["a"])
        await owner.js.delete_consumer(STREAM, DURABLE)
        with capture_logs() as logs:
            await eventually(lambda: any(line["event"] == "work.no_durable" for line in logs))
        await owner.add_durable()
        await owner.update("b")
        await eventually(lambda: "b" in handler.ids)


# Without NATS --------------------------------------------------------------------------------------------------------


async def test_nothing_waits_for_nats(broker_for: BrokerFor) -> None:
    others = asyncio.all_tasks()
    async with broker_for(Service.AUTHZ, NOBODY) as broker:
        # All of this ends although a connection is never made.
        await broker.start()
        broker.hint("sys.hint.x")
        await asyncio.sleep(0.3)
        assert (broker.connected, broker.nc) == (False, None)
        await broker.stop()
        assert not [task for task in asyncio.all_tasks() - others if task.get_name() == "broker-authz"]


async def test_what_comes_after_the_start_is_refused(broker_for: BrokerFor, handler: Handler) -> None:
    """It would never be served, and nobody would notice."""
    async with broker_for(Service.AUTHZ, NOBODY) as broker:
        await broker.start()
        with pytest.raises(RuntimeError, match="started already"):
            broker.listen("sys.test", lambda _data: None)
        with pytest.raises(RuntimeError, match="started already"):
            broker.work(DURABLE, SUBJECT, handler)


async def test_an_entity_without_a_handler_stops_the_start(broker_for: BrokerFor, handler: Handler) -> None:
    entities = {durable.subject.split(".")[2] for durable in durables() if durable.service is Service.AUTHZ}
    async with broker_for(Service.AUTHZ, NOBODY) as broker:
        broker.consume(dict.fromkeys(entities, handler))
    async with broker_for(Service.AUTHZ, NOBODY) as broker:
        with pytest.raises(KeyError, match="client"):
            broker.consume(dict.fromkeys(entities - {"client"}, handler))


async def test_a_server_that_comes_later_is_found(
    broker_for: BrokerFor, nats_factory: Callable[[], Server], handler: Handler
) -> None:
    server = await asyncio.to_thread(nats_factory)
    await asyncio.to_thread(server.stop)
    heard: list[bytes] = []
    async with broker_for(Service.AUTHZ, server.url) as broker:
        broker.work(DURABLE, SUBJECT, handler)
        broker.listen("sys.test", heard.append)
        await broker.start()
        await asyncio.sleep(0.3)
        await asyncio.to_thread(server.start)
        await eventually(lambda: broker.connected)
        owner = await Owner.connected(server.url)
        await owner.provision()
        await owner.update("a")
        await eventually(lambda: handler.ids == ["a"])
        await owner.nc.publish("sys.test", b"x")
        await eventually(lambda: heard == [b"x"])
        await owner.close()


@pytest.mark.chaos
async def test_work_goes_on_after_nats_was_killed(
    broker_for: BrokerFor, nats_factory: Callable[[], Server], handler: Handler
) -> None:
    server = await asyncio.to_thread(nats_factory)
    owner = await Owner.connected(server.url)
    await owner.provision()
    await patience(owner, 1)
    connections: list[None] = []
    async with broker_for(Service.AUTHZ, server.url) as broker:
        broker.work(DURABLE, SUBJECT, handler)
        broker.on_connected(lambda: connections.append(None))
        await broker.start()
        for round_ in range(3):
            await owner.update(f"before-{round_}")
            await handled(handler, f"before-{round_}")
            await asyncio.to_thread(server.kill)
            await eventually(lambda: not broker.connected)
            broker.hint("sys.hint.nobody")
            await asyncio.to_thread(server.start)
            await eventually(lambda: broker.connected and bool(owner.nc.is_connected))
            await owner.update(f"after-{round_}")
            await handled(handler, f"after-{round_}")
        await finished(owner)
        assert len(connections) == 4
    # An acknowledgement that died with the server brings its event again; none is lost and none overtakes another.
    once = list(dict.fromkeys(handler.ids))
    assert once == [f"{when}-{round_}" for round_ in range(3) for when in ("before", "after")]
    await owner.close()


@pytest.mark.chaos
async def test_a_consumer_killed_between_work_and_ack_is_offered_the_event_again(
    broker_for: BrokerFor, nats_server: Server, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Handlers are idempotent for this reason."""
    monkeypatch.setattr(broker_module, "_STOP_S", 0.1)
    await patience(owner, 1)
    begun = asyncio.Event()

    async def never_ends(_received: list[Received]) -> None:
        begun.set()
        await asyncio.sleep(3600)

    async with broker_for(Service.AUTHZ, nats_server.url) as first:
        first.work(DURABLE, SUBJECT, never_ends)
        await first.start()
        await owner.update("a")
        await asyncio.wait_for(begun.wait(), 5)
        assert first.nc is not None
        await first.nc.close()
    handler = Handler()
    async with broker_for(Service.AUTHZ, nats_server.url) as second:
        second.work(DURABLE, SUBJECT, handler)
        await second.start()
        await eventually(lambda: handler.ids == ["a"])
        await finished(owner)


# Who may what --------------------------------------------------------------------------------------------------------


def nkey() -> tuple[str, str]:
    """A seed and its public key."""
    seed = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)
    return seed.decode(), nkeys.from_seed(seed).public_key.decode()


class Locked:
    """A server that knows users; its configuration may change while it is down."""

    def __init__(self, home: Path) -> None:
        self.users: list[str] = []
        self.server = NatsServer(home, configuration=self._text, log=home / "nats.log")

    def _text(self, port: int) -> str:
        users = ", ".join(self.users)
        return (
            f"listen: 127.0.0.1:{port}\njetstream {{ store_dir: '{self.server.home}/js', max_memory_store: 8MB,"
            f" max_file_store: 64MB }}\naccounts {{ A {{ jetstream: enabled, users: [ {users} ] }} }}\n"
        )


@pytest.fixture
def locked(tmp_path: Path) -> Any:
    made = Locked(tmp_path / "locked")
    yield made
    made.server.stop()


async def test_a_service_signs_in_with_its_seed_and_keeps_to_its_inbox(
    locked: Locked, settings_for: SettingsFor, database: TestDatabase
) -> None:
    seed, public = nkey()
    allow = 'publish: { allow: ["sys.>"] }, subscribe: { allow: ["_INBOX_authz.>", "sys.>"] }'
    locked.users = [f"{{ nkey: {public}, permissions: {{ {allow} }} }}"]
    await asyncio.to_thread(locked.server.start)
    heard: list[bytes] = []
    settings = settings_for(Service.AUTHZ, nats_url=locked.server.url, nats_seed=seed)
    broker = Broker(settings, database.open(Service.AUTHZ))
    broker.listen("sys.hint.>", heard.append)
    broker.listen("auth.>", heard.append)
    with capture_logs() as logs:
        await broker.start()
        await eventually(lambda: broker.connected)
        broker.hint("sys.hint.outbox.authz")
        await eventually(lambda: heard == [b""])
        await eventually(lambda: any(line["event"] == "broker.denied" for line in logs))
    assert broker.nc is not None
    assert broker.nc.new_inbox().startswith("_INBOX_authz.")
    assert seed not in str(logs)
    await broker.stop()


async def test_a_refused_login_is_tried_again(
    locked: Locked, settings_for: SettingsFor, database: TestDatabase
) -> None:
    """The client library closes for good when a restarted server does not know it: keys arrive with the next one."""
    (seed, public), (_, other) = nkey(), nkey()
    locked.users = [f"{{ nkey: {public} }}"]
    await asyncio.to_thread(locked.server.start)
    settings = settings_for(Service.AUTHZ, nats_url=locked.server.url, nats_seed=seed)
    broker = Broker(settings, database.open(Service.AUTHZ))
    await broker.start()
    await eventually(lambda: broker.connected)
    for users in ([f"{{ nkey: {other} }}"], [f"{{ nkey: {public} }}"]):
        locked.users = users
        await asyncio.to_thread(locked.server.restart)
        await asyncio.sleep(0.5)
    await eventually(lambda: broker.connected)
    await broker.stop()


# Hints ---------------------------------------------------------------------------------------------------------------


async def test_a_commit_wakes_whoever_listens(
    broker_for: BrokerFor, nats_server: Server, database: TestDatabase
) -> None:
    db: Database = database.open(Service.AUTHZ)
    listener: Client = await nats.connect(nats_server.url)
    heard: list[str] = []

    async def note(message: Any) -> None:
        heard.append(message.subject)

    await listener.subscribe("sys.hint.>", cb=note)
    await listener.flush()
    async with broker_for(Service.AUTHZ, nats_server.url, db) as broker:
        wire_hints(db, broker)
        await broker.start()
        await eventually(lambda: broker.connected)
        async with transaction(db) as session:
            session.hint(LEDGER_HINT)
            session.hint("sys.hint.outbox.authz")
            assert heard == []
        await eventually(lambda: sorted(heard) == ["sys.hint.outbox.authz", LEDGER_HINT])
    await listener.close()


async def test_a_relay_is_woken_by_hints_and_by_each_connection(
    broker_for: BrokerFor, nats_server: Server, database: TestDatabase
) -> None:
    db: Database = database.open(Service.AUTHZ)
    async with broker_for(Service.AUTHZ, nats_server.url, db) as broker:
        relay = Relay(db, lambda: broker.nc)
        wire_relay(relay, broker)
        await broker.start()
        await eventually(relay._wake.is_set)
        relay._wake.clear()
        broker.hint(relay.hint_subject)
        await eventually(relay._wake.is_set)
