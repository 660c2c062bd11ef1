"""What may be used once (proofs, assertions), noted for all services and instances. Many requests share one statement.

An entry is in PostgreSQL before the request goes on: what was used a moment before a crash is used.
"""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from watchword_database import Database, bus
from watchword_token.batch import Batch
from watchword_token.store import OUTAGES

_SPEND: Final = f"""
INSERT INTO bus.spent (purpose, key_hash, expires_at)
SELECT * FROM unnest($1::text[], $2::bytea[], $3::timestamptz[]) AS used (purpose, key_hash, expires_at)
 WHERE {bus.SPENDABLE}
    ON CONFLICT DO NOTHING
RETURNING purpose, key_hash
"""


class _Use(NamedTuple):
    purpose: str
    key_hash: bytes
    until: datetime


class Spent:
    """Says who was first."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._uses: Batch[_Use, bool] = Batch(self._run, key=lambda use: use[:2])

    async def spend(self, purpose: str, key: str, until_s: float) -> bool:
        """True for the first caller with this key, in any service and instance; committed.

        until_s: when it would be refused for its age alone, in seconds since 1970; see `bus.spend`.
        Raises ConnectionError.
        """
        digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
        return await self._uses.do(_Use(purpose, digest, datetime.fromtimestamp(until_s, UTC)))

    async def _run(self, uses: Sequence[_Use]) -> list[bool]:
        # Always in the same order, so that batches of two instances cannot wait for each other in a circle.
        ordered = sorted(uses)
        try:
            pool = await self._database.raw_pool()
            rows = await pool.fetch(
                _SPEND, [u.purpose for u in ordered], [u.key_hash for u in ordered], [u.until for u in ordered]
            )
        except OUTAGES as error:
            raise ConnectionError("PostgreSQL") from error
        first = {(row[0], row[1]) for row in rows}
        return [use[:2] in first for use in uses]
