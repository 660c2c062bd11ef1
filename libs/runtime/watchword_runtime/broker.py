"""One NATS connection of a service: durable work, hints after commits, plain listening."""

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

import structlog
from faststream import AckPolicy
from faststream.nats import JStream, NatsBroker, NatsMessage, PullSub
from faststream.nats.broker.broker import UNRECOVERABLE_CONNECT_ERRORS
from faststream.nats.security import NatsNKey
from faststream.security import BaseSecurity
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError

from watchword_database.engine import Database
from watchword_database.outbox import Relay
from watchword_database.tasks import end
from watchword_events.catalogue import durables
from watchword_events.names import Service
from watchword_runtime import dead_letters
from watchword_runtime.settings import ServiceSettings
from watchword_runtime.work import BATCH, Handler, Received, Worker

__all__ = ["Broker", "Handler", "Received", "wire_hints", "wire_relay"]

log = structlog.get_logger()

_FETCH_S: Final = 1.0  # a pull that a restarting server forgot is repeated after this time
_CHECK_S: Final = 10.0  # how often it is checked that a durable still exists: without it the loop would spin for ever
_RETRY_S: Final = 0.5
_DEAD_LETTERS_S: Final = 10.0  # how often it is looked whether an operator wants one tried again
_STOP_S: Final = 5.0


class _Subscriber(Protocol):
    """What we use of FastStream's subscribers. tasks: the one that pulls is the last."""

    tasks: list[asyncio.Task[Any]]

    async def stop(self) -> None: ...


class Follower(Protocol):
    """What follows an owner's events, here or in any instance of this service."""

    def hears(self, owner: Service, entity: str) -> bool:
        """Whether events about this entity are of interest to it."""

    async def has_dealt_with(self, seq: int) -> bool:
        """Whether everything of interest up to this place in the stream has been dealt with."""


def is_about(subject: str, owner: Service, entity: str) -> bool:
    """Whether a subscription to this subject hears of the owner's entity."""
    _, whose, what, *_ = subject.split(".")
    return whose == owner.value and what in {entity, "*", ">"}


class _Durable:
    """A durable consumer as a follower: its work is shared by all instances."""

    def __init__(self, broker: "Broker", worker: Worker) -> None:
        self._broker, self._worker = broker, worker

    def hears(self, owner: Service, entity: str) -> bool:
        return is_about(self._worker.subject, owner, entity)

    async def has_dealt_with(self, seq: int) -> bool:
        nc = self._broker.nc
        if nc is None or not nc.is_connected:
            return False
        try:
            info = await nc.jetstream(timeout=1).consumer_info(self._worker.stream, self._worker.durable)
        except (NatsError, OSError, TimeoutError):
            return False
        if not info.num_pending and not info.num_ack_pending:
            return True
        return info.ack_floor is not None and info.ack_floor.stream_seq >= seq


class Broker:
    """A service's connection to NATS (user, inbox prefix and durables are the service's own).

    Nothing here ever waits for NATS: start() returns at once, hint() drops its message while NATS is away.
    """

    def __init__(self, settings: ServiceSettings, database: Database) -> None:
        """database: names the service and takes the dead letters."""
        self._settings = settings
        self._database = database
        self._service = database.service
        self._workers: list[Worker] = []
        self.followers: list[Follower] = []
        self._listeners: list[tuple[str, Callable[[bytes], None]]] = []
        self._callbacks: list[Callable[[], None]] = []
        self._nc: Client | None = None
        self._task: asyncio.Task[None] | None = None
        self._retries: dead_letters.Retries | None = None
        self._hints: dict[str, asyncio.Task[None]] = {}
        self._lost = asyncio.Event()

    @property
    def nc(self) -> Client | None:
        """The nats-py client, or None before the first connection."""
        return self._nc

    @property
    def connected(self) -> bool:
        """True while the server answers."""
        return self._nc is not None and bool(self._nc.is_connected)

    def work(self, durable: str, subject: str, handler: Handler) -> None:
        """Every event on the subject reaches `handler` of one instance, in batches of at most 100; call before start().

        durable: `<service>-<entity>`, made by provisioning.  The handler is idempotent. When it raises, the events are
        offered again one by one with back-off; after the last try an event becomes a row of `<schema>.dead_letter`.
        """
        self._require_not_started()
        worker = Worker(durable, subject, handler, self._database)
        self._workers.append(worker)
        self.followers.append(_Durable(self, worker))

    def consume(self, handlers: Mapping[str, Handler]) -> None:
        """Every durable that the catalogue gives this service is worked on; call before start().

        handlers: by entity; under "deliveries" the one for everything that is passed on to others' programs.  Raises
        KeyError when nobody handles an entity.
        """
        for durable in durables():
            if durable.service is self._service:
                _, entity, *_ = durable.name.split("-")
                self.work(durable.name, durable.subject, handlers[entity])

    def listen(self, subject: str, callback: Callable[[bytes], None]) -> None:
        """Every message that is published on the subject while connected is passed on; call before start().

        No memory, no replay: what must not be missed is read from a table as well.
        """
        self._require_not_started()
        self._listeners.append((subject, callback))

    def _require_not_started(self) -> None:
        if self._task is not None:
            raise RuntimeError("the broker was started already: what comes later would never be served")

    def on_connected(self, callback: Callable[[], None]) -> None:
        """Called at each connection and reconnection."""
        self._callbacks.append(callback)

    def hint(self, subject: str) -> None:
        """Wakes whoever listens on the subject, if NATS is there; never waits, never raises."""
        nc = self._nc
        # One that is still on its way says the same.
        if nc is not None and nc.is_connected and subject not in self._hints:
            task = asyncio.get_running_loop().create_task(self._send_hint(nc, subject))
            self._hints[subject] = task

    async def _send_hint(self, nc: Client, subject: str) -> None:
        self._hints.pop(subject, None)  # a hint from now on may follow a later commit
        with contextlib.suppress(NatsError, OSError):
            await nc.publish(subject)

    async def start(self) -> None:
        """The connection is being made in the background."""
        self._task = asyncio.create_task(self._keep_connected(), name=f"broker-{self._service.value}")
        if self._workers:
            workers = {each.durable: each for each in self._workers}
            self._retries = dead_letters.Retries(self._database, workers, every_s=_DEAD_LETTERS_S)
            self._retries.start()

    async def stop(self) -> None:
        """Nothing more arrives; the connection is closed. Events at work are finished, for a few seconds."""
        await end(self._task)
        self._task = None
        if self._retries is not None:
            await self._retries.stop()

    async def _keep_connected(self) -> None:
        """Connects, and again from the start should the client have given up (after a refused login it does)."""
        while True:
            try:
                await self._serve_one_connection()
            except Exception as error:
                log.warning("broker.not_connected", service=self._service.value, error=type(error).__name__)
            await asyncio.sleep(_RETRY_S)

    async def _serve_one_connection(self) -> None:
        self._lost = asyncio.Event()
        broker = self._make()
        subscribers: list[asyncio.Task[None]] = []
        try:
            self._nc = await broker.connect()
            for subject, callback in self._listeners:
                await self._nc.subscribe(subject, cb=_passing(callback))
            subscribers = [asyncio.create_task(self._keep_working(broker, self._nc, w)) for w in self._workers]
            await self._on_connected()
            log.info("broker.connected", service=self._service.value)
            await self._lost.wait()
            log.warning("broker.closed", service=self._service.value)
        finally:
            await end(*subscribers)
            nc, self._nc = self._nc, None
            if nc is not None and not nc.is_closed:
                with contextlib.suppress(NatsError, OSError, TimeoutError):
                    await asyncio.wait_for(nc.close(), _STOP_S)

    async def _keep_working(self, broker: NatsBroker, nc: Client, worker: Worker) -> None:
        """Consumes while the durable exists; provisioning may make it later, or again."""
        js = nc.jetstream(timeout=2)
        subscriber: _Subscriber | None = None
        try:
            while True:
                try:
                    info = await js.consumer_info(worker.stream, worker.durable)
                    worker.limit_tries(info.config.max_deliver)
                    if subscriber is None:
                        subscriber = await _consume(broker, worker, self._service)
                    # A pull that nats-py ends with a bare TimeoutError is begun anew; FastStream keeps those that have
                    # ended, with all that their tracebacks hold: megabytes in an hour.
                    del subscriber.tasks[:-1]
                except NotFoundError:
                    log.warning("work.no_durable", consumer=worker.durable)
                    await _stop(subscriber)
                    subscriber = None
                except Exception as error:  # nothing may end this loop: it is what makes the work go on
                    level = log.warning if subscriber is None else log.debug
                    level("work.not_checked", consumer=worker.durable, error=type(error).__name__)
                await asyncio.sleep(_RETRY_S if subscriber is None else _CHECK_S)
        finally:
            await _stop(subscriber)

    def _make(self) -> NatsBroker:
        return NatsBroker(
            [server.strip() for server in self._settings.nats_url.split(",")],
            name=f"watchword-{self._service.value}",
            security=_security(self._settings),
            inbox_prefix=_inbox(self._service),
            connect_timeout=2,
            reconnect_time_wait=0.1,  # type: ignore[arg-type]  # seconds, fractions work; annotated as int
            max_reconnect_attempts=-1,
            ping_interval=2,
            max_outstanding_pings=2,
            reconnected_cb=self._on_connected,
            closed_cb=self._on_closed,
            error_cb=self._on_error,
            ack_policy=AckPolicy.NACK_ON_ERROR,
            graceful_timeout=_STOP_S,
            apply_types=False,
            logger=None,
        )

    async def _on_connected(self) -> None:
        for callback in self._callbacks:
            callback()

    async def _on_closed(self) -> None:
        self._lost.set()

    async def _on_error(self, error: Exception) -> None:
        # A publish or subscription that the server's permissions deny shows here only.
        if "permissions violation" in str(error).lower():
            log.error("broker.denied", service=self._service.value, error=str(error))
        else:
            log.debug("broker.error", service=self._service.value, error=type(error).__name__)
        if str(error).removeprefix("nats: ").strip("'").lower() in UNRECOVERABLE_CONNECT_ERRORS:
            self._lost.set()  # FastStream raises these inside the client's reconnecting task, which ends there


def _inbox(service: Service) -> str:
    """Replies to a service go below this subject, to which no other may listen."""
    return f"_INBOX_{service.value}"


async def _consume(broker: NatsBroker, worker: Worker, service: Service) -> _Subscriber:
    """A subscriber that hands the durable's messages to the worker."""

    async def on_message(message: NatsMessage) -> None:
        await worker.on_message(message)

    subscriber = broker.subscriber(
        worker.subject,
        stream=JStream(worker.stream, declare=False),
        durable=worker.durable,
        pull_sub=PullSub(batch_size=BATCH, timeout=_FETCH_S),
        # FastStream's default is everybody's inbox, to which no service may listen.
        inbox_prefix=f"{_inbox(service)}.".encode(),
        ack_policy=AckPolicy.NACK_ON_ERROR,
        decoder=_whole,
        no_reply=True,
    )
    subscriber(on_message)
    await subscriber.start()
    return subscriber


async def _stop(subscriber: _Subscriber | None) -> None:
    """The subscriber takes nothing more; what it has at work is finished, for a few seconds."""
    if subscriber is not None:
        try:
            await asyncio.wait_for(subscriber.stop(), 2 * _STOP_S)
        except Exception as error:
            log.warning("work.not_stopped", error=type(error).__name__)


def _passing(callback: Callable[[bytes], None]) -> Callable[[Msg], Awaitable[None]]:
    async def pass_on(message: Msg) -> None:
        callback(message.data)

    return pass_on


async def _whole(message: NatsMessage) -> NatsMessage:
    """FastStream's decoder of a body; ours hands on the message, whose headers say what the body is."""
    return message


def _security(settings: ServiceSettings) -> BaseSecurity | None:
    context = None
    if settings.nats_ca_file is not None:
        try:
            context = ssl.create_default_context(cafile=str(settings.nats_ca_file))
        except (OSError, ssl.SSLError) as error:
            raise SystemExit(
                f"WATCHWORD_NATS_CA_FILE: cannot use {settings.nats_ca_file}: {error}. Name a PEM file."
            ) from None
    if settings.nats_seed is None:
        return BaseSecurity(ssl_context=context, use_ssl=True) if context else None
    return NatsNKey.from_seed(settings.nats_seed.get_secret_value().strip(), ssl_context=context)


def wire_hints(database: Database, broker: Broker) -> None:
    """Commits of this database wake relays and the ledger over this broker."""
    database.hint = broker.hint


def wire_relay(relay: Relay, broker: Broker) -> None:
    """Hints and each reconnection wake the relay; call before the broker's start()."""
    broker.listen(relay.hint_subject, lambda _data: relay.wake())
    broker.on_connected(relay.wake)
