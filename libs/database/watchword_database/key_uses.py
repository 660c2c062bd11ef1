"""When API keys were last used, in the shared schema: written by whoever takes a key, shown by token."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import asyncpg
from sqlalchemy import Text, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY

from watchword_database.engine import Session

EVERY: Final = timedelta(hours=1)  # that a key's row is written again, however often the key is used

_NOTE: Final = """
INSERT INTO bus.api_key_uses AS known (key_id, used_at) VALUES ($1, $2)
ON CONFLICT (key_id) DO UPDATE SET used_at = excluded.used_at WHERE known.used_at <= excluded.used_at - $3::interval
"""
_LAST: Final = text("SELECT key_id, used_at FROM bus.api_key_uses WHERE key_id = ANY (:ids)").bindparams(
    bindparam("ids", type_=ARRAY(Text))
)


async def note(pool: asyncpg.Pool, uses: Sequence[tuple[str, datetime]]) -> None:
    """These keys, by id, were used then; of several uses within EVERY the first counts."""
    await pool.executemany(_NOTE, [(*each, EVERY) for each in uses])


async def last(session: Session, key_ids: Sequence[str]) -> dict[str, datetime]:
    """When these keys were last used, by id; those that never were are missing.

    The time may be too early by up to twice EVERY: each process that takes keys waits for its own.
    """
    connection = await session.connection()
    rows = await connection.execute(_LAST, {"ids": list(key_ids)})
    return {row.key_id: row.used_at for row in rows}
