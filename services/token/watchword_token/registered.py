"""What clients registered, all of them together: web origins, types of rich authorization requests."""

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

    def has(self, value: str) -> bool:
        """Whether some client registered exactly this."""
        return value in self.known

    def add(self, values: Iterable[str]) -> None:
        """These were just registered."""
        self.known = self.known.union(values)

    async def reload(self) -> None:
        """Exactly what stands in the copy counts."""
        pool = await self._database.raw_pool()
        self.known = frozenset(row[0] for row in await pool.fetch(_ALL, self._member))
