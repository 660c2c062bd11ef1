"""The ledger's leader: gives every revocation its position, then spreads it.

Whoever ends something inserts a row without a position, in the transaction of its change. One `token` instance at a
time, the holder of an advisory lock, numbers committed rows in PostgreSQL without a gap, and publishes each on NATS
after the commit. NATS is only faster: everyone reads the table as well. See docs/adr/0005-table-is-the-feed.md.
"""

import contextlib
from typing import Final

import asyncpg
import structlog
from nats.errors import Error as NatsError

from watchword_database.engine import LEDGER_HINT, Database
from watchword_database.leader import Leader
from watchword_events.revocations import RevocationEntry
from watchword_runtime.broker import Broker
from watchword_runtime.feed import SUBJECT
from watchword_runtime.ledger import entry_of

log = structlog.get_logger()

# A leader asks four times a second, so one that is silent for so long stands still: soon enough for the next one to
# number what waits before any verifier is stale.
PAUSED_MS: Final = "2000"
AT_ONCE: Final = 1_000
LOCK: Final = (0x5757_02, 0)  # advisory lock of the leader: a class beside that of the relays
ENTRY_COLUMNS: Final = "id, position, claim, value, kind, until, keep_until, issued_before, reason, at"

_HEAD: Final = "SELECT position FROM bus.ledger FOR UPDATE"
# What ends a user ends what the user is called towards pairwise clients, too: numbered before it, so that whoever has
# applied the entry has applied these. One statement, so that no entry is numbered that was not looked at for names.
_WAITING: Final = f"""
WITH waiting AS (SELECT * FROM bus.revocations WHERE position IS NULL ORDER BY id LIMIT {AT_ONCE}),
names AS (
    INSERT INTO bus.revocations (claim, value, kind, until, keep_until, issued_before, reason)
    SELECT w.claim, p.subject, w.kind, w.until, w.keep_until, w.issued_before, w.reason
      FROM waiting AS w JOIN token.pairwise_subjects AS p ON w.claim = 'sub' AND p.user_id = w.value
    RETURNING id)
SELECT id, 0 AS place FROM names UNION ALL SELECT id, 1 FROM waiting ORDER BY place, id
"""
_NUMBER: Final = f"""
WITH numbered AS (
    UPDATE bus.revocations AS r SET position = $1 + news.n
      FROM unnest($2::bigint[]) WITH ORDINALITY AS news(id, n) WHERE r.id = news.id RETURNING r.*)
SELECT {ENTRY_COLUMNS} FROM numbered ORDER BY position
"""
_ADVANCE: Final = "UPDATE bus.ledger SET position = $1"


class Ledger(Leader):
    """The leader of one instance."""

    def __init__(self, database: Database, broker: Broker) -> None:
        super().__init__(database, name="ledger", lock=LOCK, paused_ms=PAUSED_MS)
        self._broker = broker
        broker.listen(LEDGER_HINT, lambda _data: self.wake())
        broker.on_connected(self.wake)

    async def _work(self, connection: asyncpg.Connection) -> None:
        """Numbers what waits, and publishes it."""
        while True:
            self._wake.clear()
            while entries := await number(connection):
                await self._publish(entries)
            await self._woken()

    async def _publish(self, entries: list[RevocationEntry]) -> None:
        """Whoever listens applies the entries now; who does not hear of them reads the table within a second."""
        nats = self._broker.nc
        if nats is None or not nats.is_connected:
            return
        with contextlib.suppress(NatsError, OSError):
            for entry in entries:
                await nats.publish(SUBJECT, entry.model_dump_json().encode())
        log.info("ledger.published", count=len(entries), position=entries[-1].position)


async def number(connection: asyncpg.Connection) -> list[RevocationEntry]:
    """The oldest entries that had no position, with the positions that they have now, committed; [] when none wait.

    Only the holder of the lock may call it.
    """
    if not await connection.fetchval("SELECT EXISTS (SELECT 1 FROM bus.revocations WHERE position IS NULL)"):
        return []
    async with connection.transaction():
        head = await connection.fetchval(_HEAD)
        waiting = [row["id"] for row in await connection.fetch(_WAITING)]
        rows = await connection.fetch(_NUMBER, head, waiting)
        if rows:
            await connection.execute(_ADVANCE, rows[-1]["position"])
    return [entry_of(row) for row in rows]
