"""What clients registered, all of them together: web origins, types of rich authorization requests."""

import asyncio
from collections.abc import Iterable
from typing import Final, Literal

from watchword_database import Database

_ALL: Final = """
SELECT DISTINCT jsonb_array_elements_text(data -> $1) FROM token.client_copy
 WHERE NOT deleted AND data -> 'enabled' <> 'false' AND jsonb_typeof(data -> $1) = 'array'
"""


class Registered:
    """The values of one member of all clients that are enabled, in memory: a preflight names no client."""

    def __init__(self, database: Database, member: Literal["allowed_origins", "authorization_details_types"]) -> None:
        self._database = database
        self._member = member
        self.known: frozenset[str] = frozenset()
        self._added: set[str] = set()  # since the last reading began
        self._reading = asyncio.Lock()

    def has(self, value: str) -> bool:
        """Whether some client registered exactly this."""
        return value in self.known

    def add(self, values: Iterable[str]) -> None:
        """These were just registered."""
        self._added.update(values)
        self.known = self.known.union(self._added)

    async def reload(self) -> None:
        """Exactly what stands in the copy counts, and what was registered while it was read."""
        async with self._reading:
            self._added.clear()
            pool = await self._database.raw_pool()
            rows = await pool.fetch(_ALL, self._member)
            self.known = frozenset(row[0] for row in rows).union(self._added)
