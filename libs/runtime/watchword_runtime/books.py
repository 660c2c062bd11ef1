"""A small kind of thing, every one of them in memory: as new as this service's copy, ready to be looked up at once.

A book follows its owner's events; after a gap, and every few seconds, it is compared with the copy. While the copy is
not there nobody can know what there is: then nothing is answered (503).
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

from watchword_database.outages import note_interruption
from watchword_database.tasks import end, woken
from watchword_events.exports import Export
from watchword_events.names import Service
from watchword_runtime.broker import Broker
from watchword_runtime.copies import Copy
from watchword_runtime.tail import Tail
from watchword_runtime.work import Received

E = TypeVar("E", bound=Export)
T = TypeVar("T")

_COMPARE_S: Final = 5.0
_RETRY_S: Final = 0.02
_RENEW_PAUSE_S: Final = 1.0


class BookAway(ConnectionError):
    """The book has not been read: nothing can be looked up. A request that needs it is answered 503."""


class Book(Generic[E, T]):
    """What `make` makes of all entities of one kind, made again with every change."""

    def __init__(
        self, entity: str, copy: Copy[E], broker: Broker, *, owner: Service, make: Callable[[Sequence[E]], T]
    ) -> None:
        """entity: as events name it.  owner: whose it is."""
        self._entity = entity
        self._copy = copy
        self._make = make
        self._read: list[T] = []  # one, once it has been read
        self._emptied = 0  # so often the copy began anew
        self._stamp: object = None
        self._renewed_at = float("-inf")
        self._on_change: list[Callable[[], None]] = []
        self._changing = asyncio.Lock()
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        subject = f"auth.{owner.value}.{entity}.*"
        self._tail = Tail(broker, owner.stream, subject, self._on_event, self._on_missed)
        copy.on_emptied(self._forget)

    @property
    def ready(self) -> bool:
        """Whether anything can be looked up."""
        return bool(self._read)

    @property
    def page(self) -> T:
        """What there is now. Raises BookAway."""
        if not self._read:
            raise BookAway(self._entity)
        return self._read[0]

    def on_change(self, call: Callable[[], None]) -> None:
        """`call` when there is something else than before: nothing that was made from it may be older."""
        self._on_change.append(call)

    def start(self) -> None:
        """The book is read and follows in the background until stop()."""
        self._tail.start()
        self._task = asyncio.create_task(self._compare(), name=f"book-{self._entity}")

    async def stop(self) -> None:
        """It follows no more."""
        await self._tail.stop()
        await end(self._task)

    async def renew(self) -> None:
        """The book is as its owner has it now: before somebody is refused because of it; once a second at most.

        Raises internal.Unreachable.
        """
        loop = asyncio.get_running_loop()
        if loop.time() - self._renewed_at >= _RENEW_PAUSE_S:
            await self.catch_up()

    async def catch_up(self) -> None:
        """The book is as its owner has it now, if there is one. Raises internal.Unreachable."""
        self._renewed_at = asyncio.get_running_loop().time()
        await self._copy.pull_all()
        await self._reload()

    async def _on_event(self, received: Received) -> None:
        await self._copy.get(received.event.id, received.event.version)
        await self._reload()

    async def _on_missed(self, _why: str) -> None:
        await self._reload()

    def _forget(self) -> None:
        self._emptied += 1
        self._read.clear()
        self._stamp = None
        self._wanted.set()

    async def _compare(self) -> None:
        """Reads as soon as the copy is there, and again whenever it holds something else."""
        while True:
            self._wanted.clear()
            try:
                if self._copy.ready and (not self._read or await self._copy.stamp() != self._stamp):
                    await self._reload()
            except Exception as error:
                note_interruption("book.not_compared", error, entity=self._entity)
            await woken(self._wanted, _COMPARE_S if self._read else _RETRY_S)

    async def _reload(self) -> None:
        """Reads what the copy holds, unless it is not filled: a part of the entities is not what there is."""
        async with self._changing:
            if not self._copy.ready:
                return
            emptied = self._emptied
            stamp = await self._copy.stamp()  # before: what is written meanwhile is read again
            if self._read and stamp == self._stamp:
                return
            rows = await self._copy.all()
            made = await asyncio.to_thread(self._make, [export for _, export in rows])
            if self._emptied != emptied:  # meanwhile: what was read is of a copy that is no more
                return
            self._read[:] = [made]
            self._stamp = stamp
        for call in self._on_change:
            call()
