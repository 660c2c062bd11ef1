"""The sweeper: what is about people and decides nothing any more is deleted, also while nobody signs in.

Nothing waits for it: every query has its expiry in the WHERE. Any number of instances may sweep at once.
"""

import asyncio
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from watchword_database import Database, transaction
from watchword_directory import store
from watchword_runtime.clock import Clock

log = structlog.get_logger()

EVERY_S: Final = 30.0


class Sweeper:
    """Sweeps in the background of one instance."""

    def __init__(self, database: Database, *, now: Clock, every_s: float = EVERY_S) -> None:
        self._database = database
        self._now = now
        self._every_s = every_s
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Sweeping goes on until stop()."""
        self._task = asyncio.create_task(self._run(), name="directory-sweeper")

    async def stop(self) -> None:
        """Nothing is swept any more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            try:
                async with transaction(self._database) as session:
                    await store.delete_expired(session, now=self._now())
            except (SQLAlchemyError, OSError) as error:
                log.warning("sweep.failed", error=type(error).__name__)
