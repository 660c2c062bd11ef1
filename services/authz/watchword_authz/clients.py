"""Where this service finds clients: in the copy, or with their owner."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from watchword_database import bus
from watchword_database.engine import Database, transaction
from watchword_events.exports import ClientExport
from watchword_runtime.copies import Copy
from watchword_runtime.spending import Spend

_RENEW_PAUSE_S: Final = 1.0  # one client is asked of its owner at most this often because somebody was refused
_REMEMBERED: Final = 10_000


async def find_current(clients: Copy[ClientExport], client_id: str, now: datetime) -> ClientExport | None:
    """The client, as new as a millisecond ago; None when there is none.

    One whose id is the URL of a document is read again by its owner when it is not known, or over. Raises
    internal.Unreachable. Spec: draft-ietf-oauth-client-id-metadata-document 4.
    """
    client = await clients.get(client_id)
    if not client_id.startswith("https://") or (client is not None and not _is_over(client, now)):
        return client
    await clients.pull([client_id])
    client = await clients.get(client_id)
    return None if client is None or _is_over(client, now) else client


def _is_over(client: ClientExport, now: datetime) -> bool:
    """Whether its document has to be read again; one that is switched off is not read."""
    return client.enabled and client.expires_at_s is not None and client.expires_at_s <= now.timestamp()


def origins_of(clients: Sequence[ClientExport]) -> frozenset[str]:
    """The web origins that clients registered: a preflight names no client."""
    return frozenset(origin for client in clients if client.enabled for origin in client.allowed_origins)


class CopiedClients:
    """Clients by their id."""

    def __init__(self, copy: Copy[ClientExport]) -> None:
        self._copy = copy
        self._renewed_at: dict[str, float] = {}

    def find(self, _client_id: str, /) -> ClientExport | None:
        """Nothing is kept in memory: a client that pushes requests is not asked for often."""
        return None

    async def get(self, client_id: str, /) -> ClientExport | None:
        """The client, as new as a millisecond ago."""
        return await self._copy.get(client_id)

    async def renew(self, client_id: str, /) -> ClientExport | None:
        """The client as its owner has it now; None when it was asked for just now. Raises internal.Unreachable."""
        now = time.monotonic()
        if now - self._renewed_at.get(client_id, float("-inf")) < _RENEW_PAUSE_S:
            return None
        if len(self._renewed_at) >= _REMEMBERED:
            self._renewed_at.clear()
        self._renewed_at[client_id] = now
        await self._copy.pull([client_id])
        return await self._copy.get(client_id)


def spender(database: Database) -> Spend:
    """Notes what clients may use once, for all services."""

    async def spend(purpose: str, key: str, until_s: float) -> bool:
        async with transaction(database) as session:
            return await bus.spend(session, purpose=purpose, key=key, expires_at=datetime.fromtimestamp(until_s, UTC))

    return spend
