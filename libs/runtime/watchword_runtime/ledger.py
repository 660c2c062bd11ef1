"""How the feed reads the ledger's table."""

from typing import Final

import asyncpg

from watchword_events.revocations import RevocationEntry

_COLUMNS: Final = "r.id, r.position, r.claim, r.value, r.kind, r.until, r.keep_until, r.issued_before, r.reason, r.at"
# One statement, so that the head and the rows are of one moment. With the last one that was read: it must still be it.
NEWS: Final = f"""
SELECT l.position AS head, {_COLUMNS}
  FROM bus.ledger l LEFT JOIN bus.revocations r ON r.position >= $1 OR r.position IS NULL OR r.id = ANY($2)
 ORDER BY r.position NULLS LAST
"""
ALL: Final = f"SELECT {_COLUMNS} FROM bus.revocations r ORDER BY r.position NULLS LAST"
HEAD: Final = "SELECT position FROM bus.ledger"


def entry_of(row: asyncpg.Record) -> RevocationEntry:
    """The entry in a row. Checked, because pydantic makes a checked model faster than an unchecked one."""
    return RevocationEntry.model_validate(dict(row))
