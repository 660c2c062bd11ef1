"""What is written behind: collected for a moment and written together, so that no request waits for it.

A process that dies within that moment loses it, and one whose PostgreSQL is away keeps so many: such rows are a record,
never a condition.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

import structlog

from watchword_database.outages import note_interruption
from watchword_database.tasks import end

log = structlog.get_logger()

T = TypeVar("T")

_EVERY_S: Final = 0.02
_AWAY_S: Final = 1.0
_BATCH: Final = 200
_WAITING: Final = 20_000  # with PostgreSQL away for longer the oldest are lost, and that is said


class Behind(Generic[T]):
    """Things of one process on their way into a table."""

    def __init__(self, name: str, write: Callable[[Sequence[T]], Awaitable[None]]) -> None:
        """name: as log lines call it.  write: all of them or none."""
        self._name = name
        self._write = write
        self._waiting: deque[T] = deque()
        self._wake = asyncio.Event()
        self._writing = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._lost = 0

    def start(self) -> None:
        """What is added is written in the background until stop()."""
        self._task = asyncio.create_task(self._run(), name=f"behind-{self._name}")

    async def stop(self) -> None:
        """What was added is written, where it can be."""
        await end(self._task)
        try:
            await self.flush()
        except Exception as error:
            note_interruption(f"{self._name}.not_written", error)

    def add(self, thing: T) -> None:
        """It will be written within a moment."""
        self._waiting.append(thing)
        if len(self._waiting) > _WAITING:
            self._waiting.popleft()
            self._lost += 1
        self._wake.set()

    async def flush(self) -> None:
        """Everything that was added so far is written."""
        async with self._writing:
            if self._lost:
                log.error(f"{self._name}.lost", count=self._lost)
                self._lost = 0
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
                try:
                    await self._write(batch)
                except BaseException:
                    self._waiting.extendleft(reversed(batch))
                    raise

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            await asyncio.sleep(_EVERY_S)  # so that those of one moment are one write
            try:
                await self.flush()
            except Exception as error:
                note_interruption(f"{self._name}.not_written", error)
                self._wake.set()
                await asyncio.sleep(_AWAY_S)
