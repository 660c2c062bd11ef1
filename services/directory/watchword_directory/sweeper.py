"""The sweeper: what is about people and decides nothing any more is deleted, also while nobody signs in.

Nothing waits for it: every query has its expiry in the WHERE. Any number of instances may sweep at once.
"""

from typing import Final

import structlog

from watchword_database import Database, transaction
from watchword_directory import scim_tokens, store
from watchword_runtime.clock import Clock
from watchword_runtime.rounds import Rounds

log = structlog.get_logger()

EVERY_S: Final = 30.0


class Sweeper(Rounds):
    """Sweeps in the background of one instance."""

    def __init__(self, database: Database, *, now: Clock, every_s: float = EVERY_S) -> None:
        super().__init__(every_s=every_s, failure="sweep.failed", rests_first=True)
        self._database = database
        self._now = now

    async def once(self) -> None:
        """What has expired is gone."""
        async with transaction(self._database) as session:
            now = self._now()
            await store.delete_expired(session, now=now)
            await scim_tokens.delete_old_failures(session, now=now)
            await scim_tokens.end_dead_tokens(session, now=now)
