"""What a person is called in a token: by its id, or towards a pairwise client by a name of the client's sector.

A pairwise name is recorded beside the user's id before a token carries it: so the ledger's leader can end such tokens
together with everything else of the user's (ledger.py). See docs/adr/0018-pairwise-subjects-in-the-ledger.md.
"""

import asyncio
from collections import OrderedDict
from typing import Final

import asyncpg

from watchword_database import Database
from watchword_events.names import Position
from watchword_runtime.feed import Feed
from watchword_runtime.pairwise import pairwise_subject
from watchword_token.clients import Client
from watchword_token.store import OUTAGES
from watchword_web.errors import OAuthError

_REMEMBERED: Final = 50_000
_CATCH_UP_S: Final = 1.0
_STEP_S: Final = 0.005
# The head of the ledger is shared until the commit. Whoever numbers entries meanwhile waits, and then sees the name; or
# has numbered them before, and then the head that comes back is theirs.
_RECORD: Final = """
INSERT INTO token.pairwise_subjects (subject, sector, user_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING
"""
_HEAD: Final = "SELECT position FROM bus.ledger FOR SHARE"
_FIND: Final = "SELECT user_id FROM token.pairwise_subjects WHERE subject = $1"


class Names:
    """Names people towards clients, and knows whom a name means."""

    def __init__(self, database: Database, key: bytes, feed: Feed) -> None:
        """key: the derived key for the purpose "pairwise-subjects"."""
        self._database = database
        self._key = key
        self._feed = feed
        self._users: OrderedDict[str, str] = OrderedDict()
        self._epochs = 0  # that began since
        feed.on_epoch(self._forget)

    def name(self, sector: str | None, user_id: str) -> str:
        """What the person is called there; the user's own id where there is no sector."""
        return user_id if sector is None else pairwise_subject(self._key, sector, user_id)

    async def recorded(self, client: Client, user_id: str, position: Position) -> str:
        """The `sub` for a token of this client's, which ends with the user from now on.

        position: as of which the user was found live. Raises OAuthError invalid_grant when the user was ended since.
        """
        if client.sector is None or user_id == client.client_id:  # RFC 9068 2.2: a client acting for itself
            return user_id
        subject = self.name(client.sector, user_id)
        if subject not in self._users:
            epochs = self._epochs
            await self._record(subject, client.sector, user_id, position)
            if epochs == self._epochs:
                self._remember(subject, user_id)
        return subject

    async def user_of(self, subject: str) -> str | None:
        """Whom a pairwise subject means; None when no token ever carried it. Raises ConnectionError."""
        known = self._users.get(subject)
        if known is not None:
            self._users.move_to_end(subject)
            return known
        epochs = self._epochs
        try:
            pool = await self._database.raw_pool()
            found: str | None = await pool.fetchval(_FIND, subject)
        except OUTAGES as error:
            raise ConnectionError("PostgreSQL") from error
        if found is not None and epochs == self._epochs:
            self._remember(subject, found)
        return found

    async def _record(self, subject: str, sector: str, user_id: str, position: Position) -> None:
        try:
            pool = await self._database.raw_pool()
            async with pool.acquire() as connection:
                head = await _record(connection, subject, sector, user_id)
        except OUTAGES as error:
            raise ConnectionError("PostgreSQL") from error
        async with asyncio.timeout(_CATCH_UP_S):
            while self._feed.position < head:
                await asyncio.sleep(_STEP_S)
        # What ended the user between the first look and the record did not know of this name.
        if not self._feed.is_live({"sub": user_id, "rev": position}):
            raise OAuthError("invalid_grant", "The grant has been revoked", 400, "ended while a name was recorded")

    def _forget(self) -> None:
        """A back-up came back: what was recorded after it is recorded again."""
        self._epochs += 1
        self._users.clear()

    def _remember(self, subject: str, user_id: str) -> None:
        self._users[subject] = user_id
        if len(self._users) > _REMEMBERED:
            self._users.popitem(last=False)


async def _record(connection: asyncpg.Connection, subject: str, sector: str, user_id: str) -> int:
    async with connection.transaction():
        await connection.execute(_RECORD, subject, sector, user_id)
        return int(await connection.fetchval(_HEAD))
