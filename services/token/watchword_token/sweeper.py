"""The sweeper: API keys that the ledger ended are revoked for good, and rows that decide nothing any more are deleted.

Nothing waits for it, least of all who numbers the ledger. Any number of instances may sweep at once.
"""

from datetime import datetime, timedelta
from typing import Final

from watchword_database import Database, bus, followers, transaction
from watchword_token.api_keys import end_dead_keys

EVERY_S: Final = 60.0
_FORGOTTEN_AT_ONCE: Final = 5_000
_GRANTS_KEPT: Final = timedelta(days=1)  # after their end, to recognise a late replay of their code
_FORGOTTEN: Final = {
    "bus.revocations": "SELECT ctid FROM bus.revocations WHERE keep_until < now() AND position IS NOT NULL",
    "bus.spent": f"SELECT ctid FROM bus.spent WHERE {bus.FORGOTTEN}",
    "bus.api_key_uses": "SELECT ctid FROM bus.api_key_uses AS u WHERE NOT EXISTS"
    " (SELECT FROM token.api_keys AS k WHERE k.id = u.key_id AND k.revoked_at IS NULL)",
    "bus.handover": "SELECT ctid FROM bus.handover WHERE receiver = current_user AND keep_until < now()",
    **followers.SWEEPS,
    "token.device_polls": "SELECT ctid FROM token.device_polls WHERE expires_at < now()",
    "token.grants": "SELECT ctid FROM token.grants WHERE expires_at < $1",
    # A deleted user's names are forgotten when no token can carry them any more.
    "token.pairwise_subjects": "SELECT p.ctid FROM token.pairwise_subjects p JOIN token.user_copy u ON u.id = p.user_id"
    " WHERE u.deleted AND u.copied_at < now() - interval '2 days'",
}


async def sweep(database: Database, *, now: datetime) -> None:
    """What nobody can ask about any more is deleted, however much it is, a piece at a time."""
    async with transaction(database) as session:  # before the entries are forgotten that ended them
        await end_dead_keys(session, now=now)
    pool = await database.raw_pool()
    for table, chosen in _FORGOTTEN.items():
        parameters = (now - _GRANTS_KEPT,) if "$1" in chosen else ()
        statement = f"DELETE FROM {table} WHERE ctid = ANY (ARRAY({chosen} LIMIT {_FORGOTTEN_AT_ONCE}))"
        while await pool.execute(statement, *parameters) == f"DELETE {_FORGOTTEN_AT_ONCE}":
            pass
