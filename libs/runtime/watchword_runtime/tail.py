"""Every event of a stream on every instance, in order, with loss made visible.

The client libraries' ordered consumers and key-value watches lose events after a restart of NATS, a wiped stream or a
restored one. This consumer notes what it applied, compares it with what the stream holds whenever it is (re)made, and
asks for a resync wherever something may have been missed.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final
from uuid import uuid4

import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, StreamInfo

from watchword_database.tasks import end
from watchword_events.envelope import UnknownEvent
from watchword_events.names import Service
from watchword_runtime.broker import Broker, is_about
from watchword_runtime.work import Received, received

log = structlog.get_logger()

HEARTBEAT_S: Final = 0.5
_SILENT_S: Final = 3 * HEARTBEAT_S
_FORGOTTEN_S: Final = 30.0  # the server drops a consumer that nobody listens to
_BLIND_S: Final = 10.0  # how often a resync stands in for events while NATS is away
_TRIES: Final = 3  # of one event; then a resync stands in for it
_LONGEST_S: Final = 30.0  # what is not dealt with by then is tried again


class Tail:
    """Follows a stream; each event reaches `on_event` of every instance.

    on_resync(why): called before the first event, and whenever events may have been missed: drop or reload what was
    built from them. What happens meanwhile follows as events. While NATS is away it is called every ten seconds, for
    the first time ten seconds after the stream was heard last. An exception in either is logged and the call repeated.

    An event may arrive before this service's copy has it: reload with `Copy.get(id, min_version=event.version)`.
    """

    def __init__(
        self,
        broker: Broker,
        stream: str,
        subject: str,
        on_event: Callable[[Received], Awaitable[None]],
        on_resync: Callable[[str], Awaitable[None]],
    ) -> None:
        """stream: `Service.X.stream`.  subject: for example `auth.admin.client.*`."""
        self._broker = broker
        self._stream = stream
        self._subject = subject
        self._on_event = on_event
        self._on_resync = on_resync
        self._task: asyncio.Task[None] | None = None
        self._sub: Subscription | None = None
        self._client: Client | None = None
        self._generation = 0  # a message of an older consumer is nothing
        self._want = True  # the consumer has to be made again
        self._applied: int | None = None  # stream sequence up to which everything was applied
        self._delivered = 0  # consumer sequence
        self._created: object = None  # when the stream was created: a new one starts to count again
        self._heard = float("-inf")
        self._failures = 0  # of the event after `_applied`
        self._dealing = False  # with an event, at this moment
        self._blind_since = float("-inf")
        broker.on_connected(self._again)
        broker.followers.append(self)

    def hears(self, owner: Service, entity: str) -> bool:
        """Whether events about this entity reach it."""
        return is_about(self._subject, owner, entity)

    async def has_dealt_with(self, seq: int) -> bool:
        """Whether this instance has applied everything up to this place in the stream."""
        return self._applied is not None and self._applied >= seq

    @property
    def live(self) -> bool:
        """True while the stream was heard within the last three heartbeats: nothing has been missed."""
        return not self._want and self._broker.connected and time.monotonic() - self._heard <= _SILENT_S

    @property
    def _is_silent(self) -> bool:
        """Whether the server is heard no more; while an event is dealt with, whatever comes waits behind it."""
        return time.monotonic() - self._heard > (_LONGEST_S if self._dealing else _SILENT_S)

    def start(self) -> None:
        """The tail follows in the background, from whenever NATS is there."""
        self._blind_since = time.monotonic() - _BLIND_S + _SILENT_S  # the first connection has a moment
        self._task = asyncio.create_task(self._watch(), name=f"tail-{self._subject}")

    async def stop(self) -> None:
        """Nothing more arrives."""
        await end(self._task)
        self._task = None
        self._again()
        await self._unsubscribe()

    def _again(self) -> None:
        """The consumer is made again; what the old one still delivers is ignored."""
        self._generation += 1
        self._want = True

    async def _watch(self) -> None:
        said = ""
        while True:
            nc = self._broker.nc
            if self.live:
                self._blind_since = time.monotonic()
            try:
                if nc is None or not nc.is_connected:
                    await self._stand_in_for_events()
                elif self._want or nc is not self._client or self._is_silent:
                    await self._create(nc)
                    said = ""
            except Exception as error:  # whatever it was, including a failing on_resync: try again
                self._again()
                if said != type(error).__name__:
                    said = type(error).__name__
                    log.warning("tail.not_following", subject=self._subject, error=said)
                await asyncio.sleep(HEARTBEAT_S / 2)
            await asyncio.sleep(HEARTBEAT_S / 5)

    async def _stand_in_for_events(self) -> None:
        if time.monotonic() - self._blind_since >= _BLIND_S:
            await self._on_resync("NATS is away")
            self._blind_since = time.monotonic()

    async def _create(self, nc: Client) -> None:
        self._again()
        generation = self._generation
        await self._unsubscribe()
        self._client = nc
        js = nc.jetstream(timeout=2)
        info = await js.stream_info(self._stream)
        # Taken before the resync reads its state: whatever comes later follows as an event.
        last, created = info.state.last_seq, info.created
        if why := self._missed(info):
            log.info("tail.resync", subject=self._subject, why=why)
            await self._on_resync(why)
            self._applied, self._created, self._failures = last, created, 0
        assert self._applied is not None  # noqa: S101 - `_missed` says "start" while it is None
        if generation != self._generation:
            return  # disconnected meanwhile
        config = ConsumerConfig(
            name=f"tail-{uuid4().hex}",
            filter_subject=self._subject,
            deliver_subject=nc.new_inbox(),
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=self._applied + 1,
            ack_policy=AckPolicy.NONE,
            max_deliver=1,
            mem_storage=True,
            num_replicas=1,
            idle_heartbeat=HEARTBEAT_S,
            flow_control=True,
            inactive_threshold=_FORGOTTEN_S,
        )
        self._delivered = 0

        async def pass_on(message: Msg) -> None:
            if generation == self._generation:
                await self._on_message(message)

        self._sub = await nc.subscribe(str(config.deliver_subject), cb=pass_on)  # before the consumer may deliver
        await js.add_consumer(self._stream, config=config)
        self._heard = time.monotonic()
        if generation == self._generation:
            self._want = False

    def _missed(self, info: StreamInfo) -> str:
        """Why events may have been missed, or ""."""
        state = info.state
        if self._applied is None:
            return "start"
        if info.created != self._created:
            return "the stream was made anew"
        if state.last_seq < self._applied:
            return "the stream lost its end"
        if state.first_seq > self._applied + 1:
            return "events expired unread"
        return "an event cannot be applied" if self._failures >= _TRIES else ""

    async def _on_message(self, message: Msg) -> None:
        headers = message.headers or {}
        if headers.get("Status") == "100":
            await self._on_control(message, headers)
            return
        place = message.metadata.sequence
        if place.consumer != self._delivered + 1:  # something that was sent did not arrive
            self._again()
            return
        try:
            event = received(headers, message.data, subject=message.subject, seq=place.stream)
        except UnknownEvent as error:
            log.info("tail.ignored", subject=self._subject, reason=str(error))
        else:
            self._dealing, self._heard = True, time.monotonic()
            try:
                await self._on_event(event)
            except asyncio.CancelledError:  # by `_unsubscribe`: it took too long
                self._failures += 1
                raise
            except Exception as error:
                self._failures += 1
                log.warning("tail.failed", type=event.type, event_id=event.event_id, error=type(error).__name__)
                self._again()
                return
            finally:
                self._dealing = False
        self._delivered, self._applied, self._heard, self._failures = place.consumer, place.stream, time.monotonic(), 0

    async def _on_control(self, message: Msg, headers: dict[str, str]) -> None:
        """A heartbeat or a request of flow control."""
        if message.reply:
            await message.respond(b"")
        elif self._client is not None and (stalled := headers.get("Nats-Consumer-Stalled")):
            await self._client.publish(stalled)
        if "Nats-Last-Consumer" in headers:
            if int(headers["Nats-Last-Consumer"]) != self._delivered:
                self._again()
                return
            self._heard = time.monotonic()
            # Moves past events that the filter leaves out, too.
            self._applied = max(self._applied or 0, int(headers.get("Nats-Last-Stream", 0)))

    async def _unsubscribe(self) -> None:
        sub, self._sub = self._sub, None
        if sub is not None:
            try:
                await sub.unsubscribe()
            except (NatsError, OSError) as error:
                log.debug("tail.unsubscribe_failed", subject=self._subject, error=type(error).__name__)
