"""When API keys were used, written behind and seldom: no request waits for it, or fails with it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from watchword_database import Database, key_uses
from watchword_runtime.behind import Behind

_REMEMBERED: Final = 10_000  # keys; one that was forgotten is written once more, which changes nothing


class KeyUses:
    """Uses of API keys that one process saw, on their way into the table: of each key one an hour."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._noted: dict[str, datetime] = {}
        self._behind: Behind[tuple[str, datetime]] = Behind("key_uses", self._write)

    def start(self) -> None:
        """Uses are written in the background until stop()."""
        self._behind.start()

    async def stop(self) -> None:
        """What was noted is written, where it can be."""
        await self._behind.stop()

    async def flush(self) -> None:
        """Everything that was noted so far is in the table."""
        await self._behind.flush()

    def note(self, key_id: str, now: datetime) -> None:
        """A genuine key was used."""
        noted = self._noted.get(key_id)
        if noted is not None and now - noted < key_uses.EVERY:
            return
        if len(self._noted) >= _REMEMBERED:
            self._noted.clear()
        self._noted[key_id] = now
        self._behind.add((key_id, now))

    async def _write(self, uses: Sequence[tuple[str, datetime]]) -> None:
        await key_uses.note(await self._database.raw_pool(), uses)
