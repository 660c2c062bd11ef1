"""The web origins that clients registered: who may read answers across origins."""

from collections.abc import Iterable
from typing import Final

from watchword_database import Database

_ALL: Final = """
SELECT DISTINCT jsonb_array_elements_text(data -> 'allowed_origins') FROM token.client_copy
 WHERE NOT deleted AND jsonb_typeof(data -> 'allowed_origins') = 'array'
"""


class Origins:
    """All registered origins, in memory: a preflight names no client."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: frozenset[str] = frozenset()

    def is_allowed(self, origin: str) -> bool:
        """Whether some client registered exactly this origin."""
        return origin in self._known

    def add(self, origins: Iterable[str]) -> None:
        """These were just registered."""
        self._known = self._known.union(origins)

    async def reload(self) -> None:
        """Exactly what stands in the copy counts."""
        pool = await self._database.raw_pool()
        self._known = frozenset(row[0] for row in await pool.fetch(_ALL))
