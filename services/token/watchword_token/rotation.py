"""Keys change by themselves: every instance looks once a second whether something is due, and what others did.

Which of them does it is decided by the table's lock. Other instances hear of it on NATS, or see it here.
"""

from datetime import datetime, timedelta
from typing import Any, Final

import structlog

from watchword_database import Database, transaction
from watchword_runtime.rounds import Rounds
from watchword_token.key_table import is_due
from watchword_token.keys import Keys
from watchword_token.models import Key, KeyState

log = structlog.get_logger()

EVERY_S: Final = 1.0
# What the table says of every key, without the key itself, and the time by PostgreSQL's clock.
_KEYS: Final = """
SELECT clock_timestamp() AS now, kid, version, state, confirmed_at, activated_at, retire_at FROM token.keys
"""


class Rotation(Rounds):
    """publish → confirm → sign → retire, on a schedule and for keys that were published on demand."""

    def __init__(
        self,
        database: Database,
        keys: Keys,
        *,
        max_age: timedelta,
        lifetime: timedelta,
    ) -> None:
        """max_age: of the JWKS in caches.  lifetime: how long a key makes tokens."""
        super().__init__(every_s=EVERY_S, failure="rotation.waits")
        self._database = database
        self._keys = keys
        self.max_age = max_age
        self.lifetime = lifetime

    async def once(self) -> None:
        """What is due is done, and what stands in the table is loaded."""
        pool = await self._database.raw_pool()
        rows = await pool.fetch(_KEYS)
        if any(self._may_change(**row) for row in rows):
            async with transaction(self._database) as session:
                await self._keys.table.advance(session, max_age=self.max_age, lifetime=self.lifetime)
            rows = await pool.fetch(_KEYS)
        if {row["kid"]: row["version"] for row in rows} != self._keys.versions:
            await self._keys.reload()

    def _may_change(self, now: datetime, **about: Any) -> bool:
        row = Key(**about)
        match row.state:
            case KeyState.NEXT:
                return row.confirmed_at is None or row.confirmed_at + self.max_age <= now
            case KeyState.ACTIVE:
                return is_due(row, now=now, max_age=self.max_age, lifetime=self.lifetime)
            case KeyState.RETIRING:
                return row.retire_at is not None and row.retire_at <= now
            case _:
                return False
