"""Positions: what a write did, said so that any later request may demand to see it.

Every answer to a write carries `Watchword-Position`. A request that sends one back, to whichever instance, is answered
when that instance has seen all of it: the events of the write (in this service's copies and in this process's memory)
and the revocations of it. So nobody sleeps and retries. The text is opaque to callers; several are joined by spaces.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from sqlalchemy import text
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from watchword_database import Database, transaction
from watchword_database.engine import noting_events
from watchword_database.outages import note_interruption
from watchword_events.names import Position, Service, epoch_of
from watchword_runtime.broker import Broker, Follower
from watchword_runtime.feed import Feed
from watchword_web.errors import BadRequest, OAuthError, Problem
from watchword_web.references import reference_of
from watchword_web.surfaces import Surface, route_path, surface_of

HEADER: Final = b"watchword-position"
LONGEST_S: Final = 5.0
MOST_WAITING: Final = 64  # for one owner's events, at one time in one process
FARTHEST: Final = 10_000_000  # an outbox that fills for as long as NATS is away stays below it
_LOOK_S: Final = 0.01
_MOST: Final = 2048
_PART: Final = re.compile(r"feed:(\d{1,16})|(authz|token|federation|directory|admin)\.([a-z_]{1,32}):(\d{1,18})")
_FAR: Final = "Watchword-Position lies far beyond everything that was written"
_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_PUBLISHED: Final = text("SELECT row_id, stream_seq FROM bus.published WHERE owner = :owner")


class NotReached(ConnectionError):
    """This instance has not seen the write within the time: 503, to be asked again."""


@dataclass(eq=False, slots=True)
class _Waiting:
    """A request that waits. place: which it demands.  seq: where that is in the owner's stream, once it is known."""

    place: int
    followers: Sequence[Follower]
    done: asyncio.Future[None]
    seq: int | None = None

    def end(self, error: Exception | None = None) -> None:
        """The wait is over, unless the request has gone already."""
        if self.done.done():
            return
        if error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(error)


class _SharedLook:
    """Everybody who waits is served by one look, and looks follow each other while anybody waits.

    However many demand what does not come, the database is asked by one of them at a time. More than MOST_WAITING are
    not let wait, but each is looked for once: what has been reached is answered in any case.
    """

    def __init__(self, look: Callable[[Sequence[_Waiting]], Awaitable[None]]) -> None:
        """look: settles those whose wait is over."""
        self._look = look
        self._waiting: list[_Waiting] = []
        self._task: asyncio.Task[None] | None = None

    async def reach(self, place: int, followers: Sequence[Follower]) -> None:
        """Returns when the place was reached. Raises BadRequest, NotReached."""
        waiting = _Waiting(place, followers, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._task is None:
            self._task = asyncio.create_task(self._go_on(), name="positions")
        await waiting.done

    async def _go_on(self) -> None:
        try:
            while self._waiting:
                looked_for, self._waiting = self._waiting, []
                left = await self._looked(looked_for)
                self._waiting = left + self._waiting
                if self._waiting:
                    await asyncio.sleep(_LOOK_S)
        finally:
            self._task = None

    async def _looked(self, waiting: Sequence[_Waiting]) -> list[_Waiting]:
        """Those who wait on after a look."""
        waiting = _still(waiting)
        try:
            await self._look(waiting)
            refused = _still(waiting)[MOST_WAITING:]
        except Exception as error:
            note_interruption("positions.not_seen", error)
            refused = waiting
        for each in refused:
            each.end(NotReached())
        return _still(waiting)


def _still(waiting: Sequence[_Waiting]) -> list[_Waiting]:
    return [each for each in waiting if not each.done.done()]


class Positions:
    """What this process has seen of everybody's writes."""

    def __init__(self, database: Database, feed: Feed) -> None:
        self._database = database
        self._feed = feed
        self._brokers: list[Broker] = []
        self._of_feed = _SharedLook(self._look_at_feed)
        self._of_owners = {owner: _SharedLook(partial(self._look_at_outbox, owner)) for owner in Service}

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
                if self._feed.position < feed:
                    await self._of_feed.reach(feed, [])
                for (owner, entity), row_id in events.items():
                    if followers := self._followers(owner, entity):
                        await self._of_owners[owner].reach(row_id, followers)
        except TimeoutError:
            raise NotReached(demanded) from None

    async def until_dealt_with(self, owner: Service, entity: str, seq: int) -> None:
        """Returns when whoever is interested in the entity here has dealt with the owner's stream up to this place."""
        for each in self._followers(owner, entity):
            while not await each.has_dealt_with(seq):
                await asyncio.sleep(_LOOK_S)

    def _followers(self, owner: Service, entity: str) -> list[Follower]:
        return [each for broker in self._brokers for each in broker.followers if each.hears(owner, entity)]

    async def _look_at_feed(self, waiting: Sequence[_Waiting]) -> None:
        position = self._feed.position
        for each in waiting:
            if position >= each.place:
                each.end()
            elif self._feed.ready and _is_far(each.place, position):
                each.end(BadRequest(_FAR))

    async def _look_at_outbox(self, owner: Service, waiting: Sequence[_Waiting]) -> None:
        if any(each.seq is None for each in waiting):
            newest, seq = await self._published(owner)
            for each in waiting:
                if each.seq is None and newest >= each.place:
                    each.seq = seq
                elif each.seq is None and each.place - newest > FARTHEST:
                    each.end(BadRequest(_FAR))
        asked = {(follower, each.seq) for each in waiting if each.seq is not None for follower in each.followers}
        answers = await asyncio.gather(*(follower.has_dealt_with(seq) for follower, seq in asked))
        dealt = {which for which, answer in zip(asked, answers, strict=True) if answer}
        for each in waiting:
            if each.seq is not None and all((follower, each.seq) in dealt for follower in each.followers):
                each.end()

    async def _published(self, owner: Service) -> tuple[int, int]:
        """The newest row of the owner's outbox that was published, and a place in its stream at or behind the event."""
        async with transaction(self._database) as session:
            found = await (await session.connection()).execute(_PUBLISHED, {"owner": owner.value})
            row = found.one_or_none()
        return (0, 0) if row is None else (int(row[0]), int(row[1]))


def _is_far(demanded: int, known: int) -> bool:
    """Whether the ledger cannot have got there since: a restore begins the next epoch, anywhere in it."""
    epochs = epoch_of(Position(demanded)) - epoch_of(Position(known))
    return epochs > 1 or (epochs == 0 and demanded - known > FARTHEST)


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
