"""The sweeper: API keys that the ledger ended are revoked for good, and rows that decide nothing any more are deleted.

Nothing waits for it, least of all who numbers the ledger. Any number of instances may sweep at once.
"""

from datetime import datetime, timedelta
from typing import Final

from watchword_database import Database, bus, followers, transaction
from watchword_database.forgetting import forget
from watchword_token.api_keys import end_dead_keys

EVERY_S: Final = 60.0
_GRANTS_KEPT: Final = timedelta(days=1)  # after their end, to recognise a late replay of their code
# By table: what decides nothing any more.
_FORGOTTEN: Final = {
    "bus.revocations": "keep_until < now() AND position IS NOT NULL",
    "bus.spent": bus.FORGOTTEN,
    "bus.api_key_uses": "NOT EXISTS (SELECT FROM token.api_keys AS k WHERE k.id = key_id AND k.revoked_at IS NULL)",
    "bus.handover": "receiver = current_user AND keep_until < now()",
    **followers.FORGOTTEN,
    "token.device_polls": "expires_at < now()",
    # A deleted user's names are forgotten when no token can carry them any more.
    "token.pairwise_subjects": "user_id IN"
    " (SELECT id FROM token.user_copy WHERE deleted AND copied_at < now() - interval '2 days')",
}
_GRANTS_AT_ONCE: Final = 5_000
# A grant that is over still says who is to hear when its session ends (`backchannel`). authz keeps what the grant came
# of until then; so long the row of a client that wants to hear stays, as one that was ended, behind what is swept.
_FORGET_GRANTS: Final = """
WITH over AS (
    SELECT id, client_id, code_hash FROM token.grants
     WHERE expires_at < $1 ORDER BY expires_at LIMIT $3 FOR UPDATE SKIP LOCKED),
parties AS (
    UPDATE token.grants AS g SET revoked_at = coalesce(g.revoked_at, g.expires_at), expires_at = h.keep_until
      FROM over AS o JOIN bus.handover AS h ON h.ticket_hash = o.code_hash AND h.keep_until > $2
      JOIN token.client_copy AS c ON c.id = o.client_id AND c.data ->> 'backchannel_logout_uri' IS NOT NULL
     WHERE g.id = o.id
    RETURNING g.id),
gone AS (
    DELETE FROM token.grants AS g USING over AS o
     WHERE g.id = o.id AND NOT EXISTS (SELECT FROM parties AS p WHERE p.id = o.id))
SELECT count(*) FROM over
"""


async def sweep(database: Database, *, now: datetime) -> None:
    """What nobody can ask about any more is deleted."""
    async with transaction(database) as session:  # before the entries are forgotten that ended them
        await end_dead_keys(session, now=now)
    for table, where in _FORGOTTEN.items():
        await forget(database, table, where)
    while await database.ask(_FORGET_GRANTS, now - _GRANTS_KEPT, now, _GRANTS_AT_ONCE) == _GRANTS_AT_ONCE:
        pass
