"""The sweeper: what is about people and decides nothing any more is deleted, also while nobody signs in.

Nothing waits for it: every query has its expiry in the WHERE. Any number of instances may sweep at once.
"""

from datetime import datetime
from typing import Final

from watchword_database import Database, transaction
from watchword_directory import scim_tokens, store

EVERY_S: Final = 30.0


async def sweep(database: Database, *, now: datetime) -> None:
    """What has expired is gone."""
    async with transaction(database) as session:
        await store.delete_expired(session, now=now)
        await scim_tokens.delete_old_failures(session, now=now)
        await scim_tokens.end_dead_tokens(session, now=now)
