"""The feed for programs without NATS and without the database: a snapshot, what came after, and a live stream."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Final

import asyncpg
import orjson
import structlog

from watchword_database import Database
from watchword_database.outages import note_interruption
from watchword_database.tasks import end, woken
from watchword_events.teams import RECEIPTS_SUBJECT
from watchword_runtime.broker import Broker
from watchword_runtime.feed import SUBJECT
from watchword_token.ledger import ENTRY_COLUMNS

log = structlog.get_logger()

READ_SCOPE: Final = "revocations:read"
TICK_S: Final = 1.0  # a stream says at least this often how far the feed has got
_POLL_S: Final = 0.25
_REMEMBERED: Final = 2_000
_CHUNK: Final = 1_000  # rows of one statement: nobody waits for more
MOST: Final = 10_000  # entries in one answer to what came after a position: 3 MB

# A verifier asks about access tokens only, so entries that no access token can match are left out (`until`); a key's
# state has no end.
_SNAPSHOT: Final = f"""
SELECT {ENTRY_COLUMNS} FROM bus.revocations
 WHERE position > $1 AND position <= $2 AND (until > $3 OR claim = 'kid') ORDER BY position LIMIT {_CHUNK}
"""
_AFTER: Final = f"""
SELECT {ENTRY_COLUMNS} FROM bus.revocations WHERE position > $1 AND position <= $2 ORDER BY position LIMIT {_CHUNK}
"""
_HEAD: Final = "SELECT position FROM bus.ledger"
# The answer is as old as the oldest entry that was committed and has no position yet: all before it is numbered.
_NEWEST: Final = """
SELECT l.position,
       coalesce((SELECT extract(epoch FROM clock_timestamp() - min(at)) FROM bus.revocations WHERE position IS NULL), 0)
  FROM bus.ledger AS l
"""


class FeedApi:
    """What the endpoints under `/revocations` answer."""

    def __init__(self, database: Database, broker: Broker) -> None:
        self._database = database
        self._news = asyncio.Event()
        self._head = 0
        self._recent: list[tuple[int, bytes]] = []
        self._streams = 0
        self._asked = 0
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        broker.listen(SUBJECT, lambda _data: self._wake.set())
        broker.listen(RECEIPTS_SUBJECT, self._on_asked)

    def _on_asked(self, _data: bytes) -> None:
        self._asked += 1
        self._stir()

    def _stir(self) -> None:
        """Every stream has something to say."""
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def snapshot(self, now: datetime) -> AsyncIterator[bytes]:
        """Everything that is revoked, as of one position, as the pieces of a JSON document.

        Each piece is read when the one before it was sent: whoever is slow, or many at a time, hold nothing here.
        """
        return self._snapshot(await self._newest(), now)

    async def _snapshot(self, head: int, now: datetime) -> AsyncIterator[bytes]:
        yield b'{"position":%d,"entries":[' % head
        comma = b""
        async for rows in self._pages(_SNAPSHOT, 0, head, now):
            yield comma + b",".join([_dump(row) for row in rows])
            comma = b","
        yield b"]}"

    async def after(self, position: int) -> bytes:
        """What came after a position, as JSON: at most MOST entries, complete as of the position that it names."""
        head = await self._newest()
        entries: list[bytes] = []
        async for rows in self._pages(_AFTER, position, head):
            entries += [_dump(row) for row in rows]
            if len(entries) >= MOST:
                head = rows[-1]["position"]
                break
        return b'{"position":%d,"entries":[%b]}' % (head, b",".join(entries))

    async def newest(self, jwks: str) -> bytes:
        """The newest position, how old that knowledge is in seconds, and the name of the present JWKS, as JSON."""
        pool = await self._database.raw_pool()
        position, age_s = await pool.fetchrow(_NEWEST)
        return orjson.dumps({"position": position, "age_s": max(0.0, float(age_s)), "jwks": jwks})

    async def _newest(self) -> int:
        pool = await self._database.raw_pool()
        return int(await pool.fetchval(_HEAD))

    async def _pages(
        self, statement: str, after: int, head: int, *more: datetime
    ) -> AsyncIterator[Sequence[asyncpg.Record]]:
        """The entries behind a position up to another: entries never change, so it is as if they were read at once."""
        pool = await self._database.raw_pool()
        while rows := await pool.fetch(statement, after, head, *more):
            yield rows
            after = rows[-1]["position"]

    async def stream(self, after: int) -> AsyncIterator[bytes]:
        """Server-sent events from behind a position: each entry as `revocation`, and `position` once a second.

        `receipt` when somebody waits for the receiver's.
        Spec: HTML Living Standard 9.2.
        """
        self._streams += 1
        self._wake.set()
        position, asked = after, self._asked
        try:
            while True:
                news = self._news
                while entries := await self._behind(position):
                    for at, entry in entries:
                        yield b"id: %d\nevent: revocation\ndata: %b\n\n" % (at, entry)
                        position = at
                yield b'event: position\ndata: {"position":%d}\n\n' % max(position, self._head)
                if asked != self._asked:
                    asked = self._asked
                    yield b"event: receipt\ndata: {}\n\n"
                await woken(news, TICK_S)
        finally:
            self._streams -= 1

    async def _behind(self, position: int) -> list[tuple[int, bytes]]:
        """The next entries after a position: from memory where all are still there, else from the table."""
        if self._head <= position:
            return []
        if self._recent and self._recent[0][0] <= position + 1:
            return [(at, entry) for at, entry in self._recent if at > position]
        pool = await self._database.raw_pool()
        return [(row["position"], _dump(row)) for row in await pool.fetch(_AFTER, position, self._head)]

    def start(self) -> None:
        """Streams are fed in the background until stop()."""
        self._task = asyncio.create_task(self._feed(), name="feed-api")

    async def stop(self) -> None:
        """No stream hears anything new."""
        await end(self._task)
        self._task = None

    async def _feed(self) -> None:
        """Reads what is new once for all streams: when NATS says so, else four times a second while anybody listens."""
        while True:
            await woken(self._wake, _POLL_S if self._streams else None)
            self._wake.clear()
            try:
                await self._read_news()
            except Exception as error:
                note_interruption("feed_api.not_read", error)
                await asyncio.sleep(_POLL_S)

    async def _read_news(self) -> None:
        newest = await self._newest()
        async for rows in self._pages(_AFTER, self._head or newest, newest):
            self._recent = [*self._recent, *((row["position"], _dump(row)) for row in rows)][-_REMEMBERED:]
            self._head = rows[-1]["position"]
        self._head = self._head or newest
        self._stir()


def _dump(row: asyncpg.Record) -> bytes:
    return orjson.dumps(dict(row), option=orjson.OPT_UTC_Z)  # as RevocationEntry, at a tenth of the price
