"""One NATS connection of a service: durable work, hints after commits, plain listening."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from nats.aio.client import Client

from watchword_database.engine import Database
from watchword_database.outbox import Relay
from watchword_events.contracts import Event
from watchword_runtime.settings import ServiceSettings


@dataclass(frozen=True, slots=True)
class Received:
    """An event as it arrived. event_id: the CloudEvents id, the same at each delivery.  seq: its place in the stream."""

    event_id: str
    type: str
    subject: str
    event: Event
    seq: int


Handler = Callable[[list[Received]], Awaitable[None]]


class Broker:
    """A service's connection to NATS (user, inbox prefix and durables are the service's own).

    Nothing here ever waits for NATS: start() returns at once, hint() drops its message while NATS is away.
    """

    def __init__(self, settings: ServiceSettings, database: Database) -> None:
        """database: names the service and takes the dead letters."""
        raise NotImplementedError

    @property
    def nc(self) -> Client | None:
        """The nats-py client, or None before the first connection."""
        raise NotImplementedError

    @property
    def connected(self) -> bool:
        """True while the server answers."""
        raise NotImplementedError

    def work(self, durable: str, subject: str, handler: Handler) -> None:
        """Every event on the subject reaches `handler` of one instance, in batches of at most 100; call before start().

        durable: `<service>-<entity>`, made by provisioning.  The handler is idempotent. When it raises, the events are
        offered again one by one with back-off; after the last try an event becomes a row of `<schema>.dead_letter`.
        """
        raise NotImplementedError

    def listen(self, subject: str, callback: Callable[[bytes], None]) -> None:
        """Every message that is published on the subject while connected is passed on; no memory, no replay."""
        raise NotImplementedError

    def on_connected(self, callback: Callable[[], None]) -> None:
        """Called at each connection and reconnection."""
        raise NotImplementedError

    def hint(self, subject: str) -> None:
        """Wakes whoever listens on the subject, if NATS is there; never waits, never raises."""
        raise NotImplementedError

    async def start(self) -> None:
        """The connection is being made in the background."""
        raise NotImplementedError

    async def stop(self) -> None:
        """Nothing more arrives; the connection is closed."""
        raise NotImplementedError


def wire_hints(database: Database, broker: Broker) -> None:
    """Commits of this database wake relays and the ledger over this broker."""
    database.hint = broker.hint


def wire_relay(relay: Relay, broker: Broker) -> None:
    """Hints and each reconnection wake the relay."""
    broker.listen(relay.hint_subject, lambda _data: relay.wake())
    broker.on_connected(relay.wake)
