"""The sweeper: sessions whose time is over end for everyone, and rows that decide nothing any more are deleted.

Nothing waits for it: every query has its expiry in the WHERE. Any number of instances may sweep at once.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final

import structlog

from watchword_authz import device_requests, remembered, sessions, store, throttle
from watchword_database import bus, decisions
from watchword_database.engine import Database, transaction
from watchword_runtime.clock import Clock
from watchword_runtime.feed import Feed
from watchword_runtime.rounds import Rounds

log = structlog.get_logger()

EVERY_S: Final = 5.0
_KEEP_ENDED: Final = timedelta(days=30)  # for people who ask where they were signed in
_KEEP_FLOWS: Final = timedelta(hours=1)
KEEP_DECISIONS: Final = timedelta(days=30)
_MAX_ROUNDS: Final = 50


async def sweep(database: Database, *, feed: Feed, now: datetime, keep_decisions: timedelta = KEEP_DECISIONS) -> int:
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
        await remembered.forget_expired(session, now)
        await store.delete_flows(session, now - _KEEP_FLOWS)
        await store.delete_pushed_requests(session, now)
        await device_requests.delete_old(session, now - _KEEP_FLOWS)
        await store.delete_sessions(session, now - _KEEP_ENDED)
        await store.delete_grants(session, now)
        await decisions.forget_old(session, now - keep_decisions)
        await bus.sweep_handovers(session, now=now)
    return ended


class Sweeper(Rounds):
    """Sweeps in the background of one instance."""

    def __init__(
        self, database: Database, *, feed: Feed, now: Clock, keep_decisions: timedelta, every_s: float = EVERY_S
    ) -> None:
        super().__init__(every_s=every_s, failure="sweep.failed", rests_first=True)
        self._sweep: Callable[[], Awaitable[int]] = lambda: sweep(
            database, feed=feed, now=now(), keep_decisions=keep_decisions
        )

    async def once(self) -> None:
        """What is over is gone."""
        ended = await self._sweep()
        if ended:
            log.info("sessions.expired", count=ended)
