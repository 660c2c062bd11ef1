"""Work in the background of an instance that is looked for every few seconds, or at once when there is some."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable

from watchword_database.outages import note_interruption
from watchword_database.tasks import end, woken


class Rounds(ABC):
    """One round after another between start() and stop(). What a round could not do, the next one does."""

    def __init__(self, *, every_s: float, failure: str, rests_first: bool = False) -> None:
        """every_s: from one round to the next, unless look() is called.  failure: the event in the log.  rests_first:
        whether the first round is not at once.
        """
        self._every_s, self._failure, self._rests_first = every_s, failure, rests_first
        self._look = asyncio.Event()
        self._rounds: asyncio.Task[None] | None = None

    @abstractmethod
    async def once(self) -> None:
        """What there is to do now has been done."""

    def look(self) -> None:
        """There may be something to do now."""
        self._look.set()

    def start(self) -> None:
        """Rounds are made in the background until stop()."""
        self._rounds = asyncio.create_task(self._run(), name=type(self).__qualname__)

    async def stop(self) -> None:
        """No round is under way, and none begins."""
        await end(self._rounds)

    async def _run(self) -> None:
        if self._rests_first:
            await woken(self._look, self._every_s)
        while True:
            self._look.clear()
            try:
                await self.once()
            except Exception as error:
                note_interruption(self._failure, error)
            await woken(self._look, self._every_s)


class Sweeper(Rounds):
    """Sweeps in the background of one instance, for the first time after a while."""

    def __init__(self, sweep: Callable[[], Awaitable[object]], *, every_s: float) -> None:
        """sweep: what is over is gone when it returns."""
        super().__init__(every_s=every_s, failure="sweep.failed", rests_first=True)
        self._sweep = sweep

    async def once(self) -> None:
        """What is over is gone."""
        await self._sweep()
