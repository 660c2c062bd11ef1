"""Positions: what a write did, said so that any later request may demand to see it.

Every answer to a write carries `Watchword-Position`. A request that sends one back, to whichever instance, is answered
when that instance has seen all of it: the events of the write (in this service's copies and in this process's memory)
and the revocations of it. So nobody sleeps and retries. The text is opaque to callers; several are joined by spaces.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final

from sqlalchemy import text
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from watchword_database import Database, transaction
from watchword_database.engine import noting_events
from watchword_events.names import Service
from watchword_runtime.broker import Broker, Follower
from watchword_runtime.feed import Feed
from watchword_web.errors import BadRequest, OAuthError, Problem
from watchword_web.references import reference_of
from watchword_web.surfaces import Surface, route_path, surface_of

HEADER: Final = b"watchword-position"
LONGEST_S: Final = 5.0
_LOOK_S: Final = 0.01
_MOST: Final = 2048
_PART: Final = re.compile(r"feed:(\d{1,16})|(authz|token|federation|directory|admin)\.([a-z_]{1,32}):(\d{1,18})")
_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_PUBLISHED: Final = text("SELECT row_id, stream_seq FROM bus.published WHERE owner = :owner")


class NotReached(ConnectionError):
    """This instance has not seen the write within the time: 503, to be asked again."""


class Positions:
    """What this process has seen of everybody's writes."""

    def __init__(self, database: Database, feed: Feed) -> None:
        self._database = database
        self._feed = feed
        self._brokers: list[Broker] = []

    def follow(self, broker: Broker) -> None:
        """What the broker's consumers and tails have dealt with counts."""
        self._brokers.append(broker)

    def said(self, noted: Mapping[tuple[str, str], int]) -> str:
        """The position of a write. noted: by owner and entity, the last row of its outbox."""
        parts = [f"{owner}.{entity}:{row_id}" for (owner, entity), row_id in sorted(noted.items())]
        return " ".join([*parts, f"feed:{self._feed.position}"])

    async def reach(self, demanded: str) -> None:
        """Returns when this instance has seen the writes. Raises BadRequest, NotReached."""
        feed, events = _read(demanded)
        try:
            async with asyncio.timeout(LONGEST_S):
                await _until(partial(self._feed_is_at, feed))
                for (owner, entity), row_id in events.items():
                    await self._deal_with(owner, entity, row_id)
        except TimeoutError:
            raise NotReached(demanded) from None

    async def _feed_is_at(self, position: int) -> bool:
        return self._feed.position >= position

    async def _deal_with(self, owner: Service, entity: str, row_id: int) -> None:
        """Returns when the owner's event has been dealt with here, wherever it is of interest."""
        if not self._followers(owner, entity):
            return
        while (seq := await self._published(owner, row_id)) is None:
            await asyncio.sleep(_LOOK_S)
        await self.until_dealt_with(owner, entity, seq)

    async def until_dealt_with(self, owner: Service, entity: str, seq: int) -> None:
        """Returns when whoever is interested in the entity here has dealt with the owner's stream up to this place."""
        for each in self._followers(owner, entity):
            await _until(partial(each.has_dealt_with, seq))

    def _followers(self, owner: Service, entity: str) -> list[Follower]:
        return [each for broker in self._brokers for each in broker.followers if each.hears(owner, entity)]

    async def _published(self, owner: Service, row_id: int) -> int | None:
        """A place in the owner's stream at or behind the event; None while it has not been published."""
        async with transaction(self._database) as session:
            found = await (await session.connection()).execute(_PUBLISHED, {"owner": owner.value})
            row = found.one_or_none()
        return None if row is None or row[0] < row_id else int(row[1])


async def _until(condition: Callable[[], Awaitable[bool]]) -> None:
    while not await condition():
        await asyncio.sleep(_LOOK_S)


def _read(demanded: str) -> tuple[int, dict[tuple[Service, str], int]]:
    """The feed's position and, by owner and entity, the outbox's row. Raises BadRequest."""
    feed = 0
    events: dict[tuple[Service, str], int] = {}
    for part in re.split(r"[ ,]+", demanded.strip()):
        found = _PART.fullmatch(part)
        if found is None or len(demanded) > _MOST:
            raise BadRequest("Watchword-Position is not what an answer to a write carried")
        if found[1]:
            feed = max(feed, int(found[1]))
        else:
            key = (Service(found[2]), found[3])
            events[key] = max(events.get(key, 0), int(found[4]))
    return feed, events


class Positioned:
    """ASGI: waits for the position that a request demands, and says which one a write has made."""

    __slots__ = ("_app", "_hot", "_positions")

    def __init__(self, app: ASGIApp, positions: Positions, hot: frozenset[str]) -> None:
        """hot: paths whose writes are no changes that anybody would wait for."""
        self._app, self._positions, self._hot = app, positions, hot

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        # Most requests go through here without a coroutine more.
        if scope["type"] != "http":
            return self._app(scope, receive, send)
        for name, value in scope["headers"]:
            if name == HEADER:
                return self._when_reached(value, scope, receive, send)
        return self._serve(scope, receive, send)

    async def _when_reached(self, demanded: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._positions.reach(demanded.decode("latin-1"))
        except (BadRequest, NotReached) as error:
            await _refused(scope, error, receive, send)
        else:
            await self._serve(scope, receive, send)

    def _serve(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["method"] in _READS or scope["path"] in self._hot:
            return self._app(scope, receive, send)
        return self._serve_write(scope, receive, send)

    async def _serve_write(self, scope: Scope, receive: Receive, send: Send) -> None:
        with noting_events() as noted:

            async def saying(message: Message) -> None:
                if message["type"] == "http.response.start":
                    said = (HEADER, self._positions.said(noted).encode())
                    message = {**message, "headers": [*message.get("headers", ()), said]}
                await send(message)

            await self._app(scope, receive, saying)


async def _refused(scope: Scope, error: BadRequest | NotReached, receive: Receive, send: Send) -> None:
    """The answer in place of the one that was asked for."""
    if isinstance(error, BadRequest):
        status, title, detail, headers = 400, "The request is not valid", error.description, {}
    else:
        status, title = 503, "Not available at the moment"
        detail, headers = "This instance has not seen the write that was demanded. Ask again.", {"Retry-After": "1"}
    if surface_of(route_path(scope)) is Surface.OAUTH:
        code = "invalid_request" if status == 400 else "temporarily_unavailable"
        response = OAuthError(code, detail, status, headers=headers).response()
    else:
        problem = Problem(status, title, detail, headers=headers)
        response = problem.response(instance=route_path(scope), reference=reference_of(scope))
    await response(scope, receive, send)
