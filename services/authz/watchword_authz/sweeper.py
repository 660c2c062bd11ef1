"""The sweeper: sessions whose time is over end for everyone, and rows that decide nothing any more are deleted.

Nothing waits for it: every query has its expiry in the WHERE. Any number of instances may sweep at once.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from watchword_authz import sessions, store, throttle
from watchword_database import bus
from watchword_database.engine import Database, transaction
from watchword_runtime.clock import Clock
from watchword_runtime.feed import Feed

log = structlog.get_logger()

EVERY_S: Final = 5.0
_KEEP_ENDED: Final = timedelta(days=30)  # for people who ask where they were signed in
_KEEP_FLOWS: Final = timedelta(hours=1)
_MAX_ROUNDS: Final = 50


async def sweep(database: Database, *, feed: Feed, now: datetime) -> int:
    """Everything whose time is over is over, or gone; how many sessions ended."""
    ended = 0
    for _ in range(_MAX_ROUNDS):
        async with transaction(database) as session:
            found = await sessions.end_expired(session, feed=feed, now=now)
        if not found:
            break
        ended += found
    async with transaction(database) as session:
        await throttle.forget_expired(session, now)
        await store.delete_flows(session, now - _KEEP_FLOWS)
        await store.delete_sessions(session, now - _KEEP_ENDED)
        await store.delete_grants(session, now)
        await bus.sweep_handovers(session, now=now)
    return ended


class Sweeper:
    """Sweeps in the background of one instance."""

    def __init__(self, database: Database, *, feed: Feed, now: Clock, every_s: float = EVERY_S) -> None:
        self._sweep: Callable[[], Awaitable[int]] = lambda: sweep(database, feed=feed, now=now())
        self._every_s = every_s
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Sweeping goes on until stop()."""
        self._task = asyncio.create_task(self._run(), name="authz-sweeper")

    async def stop(self) -> None:
        """Nothing is swept any more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            try:
                ended = await self._sweep()
            except (SQLAlchemyError, OSError) as error:
                log.warning("sweep.failed", error=type(error).__name__)
                continue
            if ended:
                log.info("sessions.expired", count=ended)
