"""The tail: every event on every instance, in order; loss is never silent."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from nats.js.api import StreamConfig

from watchword_events.names import Service
from watchword_runtime import tail as tail_module
from watchword_runtime.broker import Received
from watchword_runtime.tail import Tail
from watchword_testkit.servers import Broker as Server

from .conftest import BrokerFor, eventually
from .events import STREAM, SUBJECT, Owner

NOBODY = "nats://127.0.0.1:1"


class Cache:
    """What an instance builds from events; forgets everything at a resync."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.all_seen: list[str] = []
        self.resyncs: list[str] = []
        self.poison: set[str] = set()
        self.resync_fails = 0
        self.slow: dict[str, float] = {}  # seconds, by id

    async def on_event(self, received: Received) -> None:
        await asyncio.sleep(self.slow.get(received.event.id, 0.0))
        if received.event.id in self.poison:
            raise RuntimeError("cannot be applied")
        self.seen.append(received.event.id)
        self.all_seen.append(received.event.id)

    async def on_resync(self, why: str) -> None:
        if self.resync_fails:
            self.resync_fails -= 1
            raise RuntimeError("the database is away")
        self.resyncs.append(why)
        self.seen.clear()


@pytest.fixture
async def owner(nats_server: Server) -> AsyncIterator[Owner]:
    made = await Owner.connected(nats_server.url)
    await made.provision()
    yield made
    await made.wipe()
    await made.close()


@asynccontextmanager
async def tailing(
    broker_for: BrokerFor, url: str, cache: Cache, subject: str = SUBJECT, service: Service = Service.AUTHZ
) -> AsyncIterator[Tail]:
    async with broker_for(service, url) as broker:
        tail = Tail(broker, STREAM, subject, cache.on_event, cache.on_resync)
        await broker.start()
        if url != NOBODY:
            await eventually(lambda: broker.connected)
        tail.start()
        try:
            yield tail
        finally:
            await tail.stop()


async def live(tail: Tail) -> None:
    await eventually(lambda: tail.live, within=10)


async def test_every_instance_gets_every_event_in_order(
    broker_for: BrokerFor, nats_server: Server, owner: Owner
) -> None:
    one, other = Cache(), Cache()
    await owner.update("before")
    async with (
        tailing(broker_for, nats_server.url, one) as first,
        tailing(broker_for, nats_server.url, other) as second,
    ):
        await live(first)
        await live(second)
        names = [f"client-{n}" for n in range(300)]
        await owner.update(*names)
        await eventually(lambda: one.seen == names and other.seen == names)
    # What happened before is part of the state that the resync reads.
    assert one.resyncs == other.resyncs == ["start"]


async def test_a_filtered_tail_moves_past_what_it_does_not_want(
    broker_for: BrokerFor, nats_server: Server, owner: Owner
) -> None:
    cache = Cache()
    async with tailing(broker_for, nats_server.url, cache, "auth.admin.provider.*") as tail:
        await live(tail)
        await owner.update(*[f"client-{n}" for n in range(20)])
        await asyncio.sleep(1.2)
        assert tail.live
        tail._again()
        await live(tail)
    assert cache.all_seen == []
    assert cache.resyncs == ["start"]


async def test_without_nats_the_state_is_read_now_and_then(
    broker_for: BrokerFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail_module, "_BLIND_S", 0.2)
    cache = Cache()
    async with tailing(broker_for, NOBODY, cache) as tail:
        await eventually(lambda: len(cache.resyncs) >= 3)
        assert not tail.live
    assert set(cache.resyncs) == {"NATS is away"}


async def test_a_failing_event_is_tried_again_and_then_replaced_by_a_resync(
    broker_for: BrokerFor, nats_server: Server, owner: Owner
) -> None:
    cache = Cache()
    cache.poison = {"bad"}
    async with tailing(broker_for, nats_server.url, cache) as tail:
        await live(tail)
        await owner.update("a", "bad")
        await eventually(lambda: len(cache.resyncs) == 2)
        await owner.update("b")
        await eventually(lambda: cache.seen == ["b"])
    assert cache.resyncs == ["start", "an event cannot be applied"]


async def test_an_event_that_failed_once_is_not_lost(broker_for: BrokerFor, nats_server: Server, owner: Owner) -> None:
    cache = Cache()
    cache.poison = {"late"}
    async with tailing(broker_for, nats_server.url, cache) as tail:
        await live(tail)
        await owner.update("a", "late", "b")
        await eventually(lambda: not tail.live)
        cache.poison.clear()
        await eventually(lambda: cache.seen == ["a", "late", "b"])
    assert cache.resyncs == ["start"]


async def test_an_event_may_take_longer_than_silence_does(
    broker_for: BrokerFor, nats_server: Server, owner: Owner
) -> None:
    """What is heard meanwhile waits behind it: that the server is silent is not to be told from that."""
    cache = Cache()
    cache.slow = {"slow": tail_module._SILENT_S + 0.5}
    async with tailing(broker_for, nats_server.url, cache) as tail:
        await live(tail)
        await owner.update("a", "slow", "b")
        await eventually(lambda: cache.seen[-1:] == ["b"], within=10)
    assert (cache.all_seen, cache.resyncs) == (["a", "slow", "b"], ["start"])


async def test_an_event_that_takes_too_long_is_tried_again_and_then_replaced_by_a_resync(
    broker_for: BrokerFor, nats_server: Server, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail_module, "_LONGEST_S", 0.2)
    cache = Cache()
    cache.slow = {"stuck": 3600.0}
    async with tailing(broker_for, nats_server.url, cache) as tail:
        await live(tail)
        await owner.update("stuck")
        await eventually(lambda: len(cache.resyncs) == 2)
        await owner.update("b")
        await eventually(lambda: cache.seen == ["b"])
    assert cache.resyncs == ["start", "an event cannot be applied"]


async def test_a_failing_resync_is_tried_again_before_any_event(
    broker_for: BrokerFor, nats_server: Server, owner: Owner
) -> None:
    cache = Cache()
    cache.resync_fails = 2
    async with tailing(broker_for, nats_server.url, cache) as tail:
        await live(tail)
        await owner.update("a")
        await eventually(lambda: cache.seen == ["a"])
    assert cache.resyncs == ["start"]


async def test_an_event_that_only_a_newer_release_knows_is_passed_over(
    broker_for: BrokerFor, nats_server: Server, owner: Owner
) -> None:
    cache = Cache()
    async with tailing(broker_for, nats_server.url, cache) as tail:
        await live(tail)
        await owner.publish_raw({"ce-type": "client.painted"}, b"{}", "auth.admin.client.painted")
        await owner.update("a")
        await eventually(lambda: cache.seen == ["a"])
    assert cache.resyncs == ["start"]


async def test_a_stream_that_comes_later_is_found(broker_for: BrokerFor, nats_server: Server, owner: Owner) -> None:
    await owner.wipe()
    cache = Cache()
    async with tailing(broker_for, nats_server.url, cache) as tail:
        await asyncio.sleep(0.3)
        assert not tail.live
        await owner.provision()
        await live(tail)
        await owner.update("a")
        await eventually(lambda: cache.seen == ["a"])


async def test_a_wiped_stream_is_noticed(broker_for: BrokerFor, nats_server: Server, owner: Owner) -> None:
    """The client libraries' ordered consumer waits for the old sequence and loses what is new."""
    cache = Cache()
    async with tailing(broker_for, nats_server.url, cache) as tail:
        await live(tail)
        await owner.update("a", "b", "c")
        await eventually(lambda: cache.seen == ["a", "b", "c"])
        await owner.provision()
        await owner.update("d")
        await eventually(lambda: cache.resyncs == ["start", "the stream was made anew"])
        await live(tail)
        await owner.update("e")
        await eventually(lambda: "e" in cache.seen)


async def test_events_that_expired_unread_are_noticed(broker_for: BrokerFor, nats_server: Server, owner: Owner) -> None:
    cache = Cache()
    async with tailing(broker_for, nats_server.url, cache) as tail:
        await live(tail)
        await owner.update("a")
        await eventually(lambda: cache.seen == ["a"])
        cache.poison = {"b"}
        await owner.update("b", "c")
        await eventually(lambda: not tail.live)
        await owner.js.update_stream(StreamConfig(name=STREAM, subjects=["auth.admin.>"], max_msgs=1))
        cache.poison = set()
        await eventually(lambda: len(cache.resyncs) == 2)
    assert cache.resyncs[1] in {"events expired unread", "an event cannot be applied"}


async def test_a_consumer_that_the_server_lost_is_made_again(
    broker_for: BrokerFor, nats_server: Server, owner: Owner
) -> None:
    cache = Cache()
    async with tailing(broker_for, nats_server.url, cache) as tail:
        await live(tail)
        for consumer in await owner.js.consumers_info(STREAM):
            if consumer.name.startswith("tail-"):
                await owner.js.delete_consumer(STREAM, consumer.name)
        await owner.update("a")
        await eventually(lambda: cache.seen == ["a"])
    assert cache.resyncs == ["start"]


@pytest.mark.chaos
async def test_nothing_is_lost_while_nats_is_killed_and_restarted(
    broker_for: BrokerFor, nats_factory: Callable[[], Server]
) -> None:
    server = await asyncio.to_thread(nats_factory)
    owner = await Owner.connected(server.url)
    await owner.provision()
    cache = Cache()
    sent: list[str] = []
    async with tailing(broker_for, server.url, cache) as tail:
        await live(tail)
        # So long that a state read at the start would be too old, were nothing heard: an outage begins when it does.
        await asyncio.sleep(tail_module._SILENT_S + 0.1)
        for round_ in range(4):
            for number in range(20):
                await owner.update(name := f"{round_}-{number}")
                sent.append(name)
            await asyncio.to_thread(server.kill)
            await eventually(lambda: not tail.live)
            await asyncio.to_thread(server.start)
            await eventually(lambda: bool(owner.nc.is_connected))
        await live(tail)
        await owner.update("last")
        sent.append("last")
        await eventually(lambda: cache.seen[-1:] == ["last"])
    assert cache.all_seen == sent  # in order, each once
    assert cache.resyncs == ["start"]
    await owner.close()


@pytest.mark.chaos
async def test_a_store_that_was_restored_from_a_copy_is_noticed(
    broker_for: BrokerFor, nats_factory: Callable[[], Server], tmp_path: object
) -> None:
    """Acknowledged events that the server lost: it comes back shorter than what was applied."""
    server = await asyncio.to_thread(nats_factory)
    owner = await Owner.connected(server.url)
    await owner.provision()
    cache = Cache()
    async with tailing(broker_for, server.url, cache) as tail:
        await live(tail)
        await owner.update("a", "b", "c")
        await eventually(lambda: cache.seen == ["a", "b", "c"])
        tail._applied = 40  # as if the stream had held more when it was read
        tail._again()
        await eventually(lambda: cache.resyncs == ["start", "the stream lost its end"])
        await live(tail)
        await owner.update("d")
        await eventually(lambda: cache.seen == ["d"])
    await owner.close()
