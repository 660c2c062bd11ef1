"""What hot paths know without asking PostgreSQL: values made from copies, which follow the owner's events.

Three nets keep a value from being older than it may be: the event tail names what changed, with the version that the
copy must have reached; after a gap everything is dropped; and a poll of the copy's table, every few seconds, drops what
changed there without an event having come.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from watchword_events.exports import Export
from watchword_runtime.broker import Received
from watchword_runtime.copies import Copy

E = TypeVar("E", bound=Export)
V = TypeVar("V")

RENEW_PAUSE_S: Final = 1.0  # one entity is asked of its owner at most this often because somebody was refused
# So many entities' last events are remembered (2 MB): of those before the copy has long been told as well.
HEARD: Final = 10_000
_MAX_ID: Final = 128


@dataclass(slots=True)
class _Entry(Generic[V]):
    value: V
    version: int  # the copy was at least this new
    renewed_at: float


class Kept(Generic[E, V]):
    """At most `size` values by id, made from a copy's entities with `make`; the one unused longest leaves first."""

    def __init__(self, copy: Copy[E], make: Callable[[E], V], *, size: int) -> None:
        self._copy = copy
        self._make = make
        self._size = size
        self._entries: OrderedDict[str, _Entry[V]] = OrderedDict()
        self._wanted: OrderedDict[str, int] = OrderedDict()  # the newest version that an event named
        self._epoch = 0
        copy.on_emptied(self._forget)

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, entity_id: str) -> V | None:
        """The value in memory, without waiting; None says nothing about whether the entity exists."""
        entry = self._entries.get(entity_id)
        if entry is None:
            return None
        self._entries.move_to_end(entity_id)
        return entry.value

    async def get(self, entity_id: str, min_version: int = 0) -> V | None:
        """The value at `min_version` or newer: from memory, else the copy, else its owner; None when there is none."""
        entry = self._entries.get(entity_id)
        if entry is not None and entry.version >= min_version:
            self._entries.move_to_end(entity_id)
            return entry.value
        if not 0 < len(entity_id) <= _MAX_ID:
            return None
        return await self._load(entity_id, min_version)

    async def renew(self, entity_id: str) -> V | None:
        """The value as its owner has it now, before somebody is refused because of it; asked once a second at most.

        None when it was asked for just now or does not exist. Raises internal.Unreachable.
        """
        entry = self._entries.get(entity_id)
        if entry is not None and time.monotonic() - entry.renewed_at < RENEW_PAUSE_S:
            return None
        await self._copy.pull([entity_id])
        return await self._load(entity_id, 0)

    async def _load(self, entity_id: str, min_version: int) -> V | None:
        epoch, wanted = self._epoch, max(min_version, self._wanted.get(entity_id, 0))
        found = await self._copy.get(entity_id, wanted)
        if found is None:
            self._entries.pop(entity_id, None)
            return None
        value = self._make(found)
        # What an event overtook while it was being loaded is used this once and not kept.
        if epoch == self._epoch and wanted >= self._wanted.get(entity_id, 0):
            self._entries[entity_id] = _Entry(value, wanted, time.monotonic())
            self._entries.move_to_end(entity_id)
            if len(self._entries) > self._size:
                self._entries.popitem(last=False)
        return value

    def drop(self, ids: Iterable[str]) -> None:
        """These are loaded afresh when they are next asked for."""
        self._epoch += 1
        for entity_id in ids:
            self._entries.pop(entity_id, None)

    async def on_event(self, received: Received) -> None:
        """The entity that an event names is not used in an older version any more."""
        event = received.event
        if event.version > self._wanted.get(event.id, 0):
            self._wanted[event.id] = event.version
            self._wanted.move_to_end(event.id)
            if len(self._wanted) > HEARD:
                self._wanted.popitem(last=False)
            self._entries.pop(event.id, None)

    async def on_resync(self, _why: str) -> None:
        """Events may have been missed: nothing in memory is trusted."""
        self._forget()

    def forget(self) -> None:
        """What values are made from has changed: all are made afresh, none older than an event has named."""
        self._epoch += 1
        self._entries.clear()

    def _forget(self) -> None:
        self._wanted.clear()
        self.forget()
