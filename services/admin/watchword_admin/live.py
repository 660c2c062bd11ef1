"""Public events as they happen: each reaches every instance, and every program that follows this one.

Nothing here is remembered beyond a few hundred events in memory; who needs each event uses a durable consumer.
"""

import asyncio
import fnmatch
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import orjson

from watchword_events.catalogue import BY_TYPE, CATALOGUE
from watchword_events.names import Service
from watchword_runtime.broker import Broker, Received
from watchword_runtime.clock import Clock
from watchword_runtime.tail import Tail

PUBLIC_TYPES: Final = frozenset(row.type for row in CATALOGUE if row.public)
RECENT: Final = 300
_QUEUE: Final = 1000


def types_like(pattern: str) -> frozenset[str]:
    """The public event types that a name, or `client.*`, stands for."""
    return frozenset(fnmatch.filter(PUBLIC_TYPES, pattern))


@dataclass(frozen=True, slots=True)
class Seen:
    """An event as it passed here. at: when this instance saw it.  body: the event, ids only."""

    event_id: str
    type: str
    subject: str
    body: dict[str, object]
    at: datetime

    def as_cloud_event(self) -> bytes:
        """The event as one line of JSON. Spec: CloudEvents 1.0.2 JSON Event Format 2."""
        return orjson.dumps(
            {
                "specversion": "1.0",
                "id": self.event_id,
                "type": self.type,
                "source": f"urn:watchword:{BY_TYPE[self.type].owner.value}",
                "subject": self.subject,
                "datacontenttype": "application/json",
                "data": self.body,
            }
        )


class Missed(Exception):
    """Events may not have arrived here: who built something from them has to look again."""


class Ended(Exception):
    """The service stops."""


class Full(Exception):
    """As many programs follow as may."""


class Follower:
    """One program that follows the events of some types."""

    def __init__(self, types: frozenset[str]) -> None:
        self._types = types
        self._queue: asyncio.Queue[Seen | Missed | Ended] = asyncio.Queue(_QUEUE)
        self._overflowed = False
        self._told_of_a_gap = False

    async def next(self, timeout_s: float) -> Seen | None:
        """The next event; None when there was none for so long. Raises Missed, Ended."""
        if self._overflowed and self._queue.empty():
            self._overflowed = False
            raise Missed
        try:
            item = await asyncio.wait_for(self._queue.get(), timeout_s)
        except TimeoutError:
            return None
        if isinstance(item, Missed):
            self._told_of_a_gap = False
        if isinstance(item, Exception):
            raise item
        return item

    def offer(self, item: Seen | Missed | Ended) -> None:
        """Passes an item on, or notes that the program does not read fast enough."""
        if isinstance(item, Seen) and item.type not in self._types:
            return
        if isinstance(item, Missed):
            if self._told_of_a_gap:
                return
            self._told_of_a_gap = True
        if isinstance(item, Ended):
            while not self._queue.empty():
                self._queue.get_nowait()
        try:
            self._queue.put_nowait(item)
        except asyncio.QueueFull:
            self._overflowed = True


class Live:
    """Follows every owner's stream, and passes public events on."""

    def __init__(self, broker: Broker, *, streams: int, now: Clock) -> None:
        """streams: how many programs may follow at once."""
        self._streams = streams
        self._now = now
        self._followers: set[Follower] = set()
        self._recent: deque[Seen] = deque(maxlen=RECENT)
        self._tails = [
            Tail(broker, owner.stream, f"auth.{owner.value}.>", self._on_event, self._on_resync) for owner in Service
        ]

    def start(self) -> None:
        """The streams are followed from now on, whenever NATS is there."""
        for tail in self._tails:
            tail.start()

    async def stop(self) -> None:
        """Nothing is followed any more, and every follower knows."""
        for follower in self._followers:
            follower.offer(Ended())
        await asyncio.gather(*(tail.stop() for tail in self._tails))

    @property
    def is_full(self) -> bool:
        """Whether as many programs follow as may."""
        return len(self._followers) >= self._streams

    def recent(self) -> list[Seen]:
        """The last public events that this instance saw, newest first."""
        return list(reversed(self._recent))

    @contextmanager
    def following(self, types: frozenset[str]) -> Iterator[Follower]:
        """Inside, every event of these types reaches the follower. Raises Full."""
        if self.is_full:
            raise Full
        follower = Follower(types)
        self._followers.add(follower)
        try:
            yield follower
        finally:
            self._followers.discard(follower)

    async def _on_event(self, received: Received) -> None:
        row = BY_TYPE.get(received.type)
        if row is None or not row.public:
            return
        body = received.event.model_dump(mode="json")
        seen = Seen(received.event_id, received.type, received.event.id, body, self._now())
        self._recent.append(seen)
        for follower in self._followers:
            follower.offer(seen)

    async def _on_resync(self, why: str) -> None:
        if why != "start":
            for follower in self._followers:
                follower.offer(Missed())
