"""The sweeper: what is about people and decides nothing any more is deleted, also while nobody signs in.

Nothing waits for it: every query has its expiry in the WHERE. Any number of instances may sweep at once.
"""

from datetime import datetime
from typing import Final

from watchword_database import Database, transaction
from watchword_database.forgetting import forget
from watchword_directory import scim_tokens

EVERY_S: Final = 30.0
_REMOVED: Final = "SELECT id FROM directory.provider_copies WHERE deleted"


async def sweep(database: Database, *, now: datetime) -> None:
    """What has expired is gone."""
    async with transaction(database) as session:
        await scim_tokens.delete_old_failures(session, now=now)
        await scim_tokens.end_dead_tokens(session, now=now)
    await forget(database, "directory.identity_claims", f"keep_until <= $1 OR provider_id IN ({_REMOVED})", now)
    await forget(database, "directory.pending_links", "expires_at <= $1", now)
    await forget(database, "bus.handover", "receiver = current_user AND keep_until < $1", now)
