"""`?wait=all`: a revoking call that returns when nobody accepts what it ended, or says who still may.

A call that finds nothing left to end may repeat one that was not waited for to its end: it waits for the whole ledger.
Where a specification decides what is answered (SCIM, OAuth), headers say whether everybody could be waited for.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Literal

import orjson
import structlog
from fastapi import Query, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import text

from watchword_database import Database, followers, transaction
from watchword_database.engine import Session
from watchword_database.followers import Applied, Follower
from watchword_events.teams import RECEIPTS_SUBJECT
from watchword_runtime.feed import Feed
from watchword_web.errors import BadRequest

log = structlog.get_logger()

DEFAULT_S: Final = 10.0
LONGEST_S: Final = 60.0
COMPLETE: Final = "Watchword-Complete"  # `true` or `false`
REVOCATIONS: Final = "Watchword-Revocations"  # ids of ledger entries, beside `false`
_WAIT: Final = "`all`: answer when no instance and no verifier accepts any more what this ends"
# `wait` and `timeout_s` in OpenAPI, for operations that answer with headers.
PARAMETERS: Final[list[dict[str, Any]]] = [
    {
        "name": "wait",
        "in": "query",
        "schema": {"type": "string", "enum": ["all"]},
        "description": f"{_WAIT}. The header `{COMPLETE}` is `true` then; it is `false` where not all could be waited "
        f"for, beside `{REVOCATIONS}` with the ids of the entries",
    },
    {
        "name": "timeout_s",
        "in": "query",
        "schema": {"type": "number", "minimum": 1, "maximum": LONGEST_S, "default": DEFAULT_S},
        "description": "With `wait=all`: answer after this time at the latest",
    },
]
_LOOK_AGAIN_S: Final = 0.02
_ASK_AGAIN_S: Final = 0.2  # everybody is asked to say how far they are
_POSITIONS: Final = text("SELECT position FROM bus.revocations WHERE id = ANY(:ids)")
# The newest entry, and those that have no position yet: who has applied these has applied all that there are.
_NEWEST: Final = text("""
(SELECT id FROM bus.revocations WHERE position IS NOT NULL ORDER BY position DESC LIMIT 1)
UNION ALL SELECT id FROM bus.revocations WHERE position IS NULL ORDER BY id
""")


class Receipt(BaseModel):
    """One instance or verifier. at: when it had applied the entry, or, if it has not, when it was last heard."""

    model_config = ConfigDict(frozen=True)

    name: str
    instance: str
    kind: Literal["service", "verifier"]
    at: datetime | None


class Receipts(BaseModel):
    """Who has applied revocations, who has not yet, and who has been silent for longer than its staleness bound.

    complete: nobody accepts what was revoked any more: each has applied it, or has been silent for its bound and a
    second, so that it refuses or introspects by itself.
    """

    model_config = ConfigDict(frozen=True)

    complete: bool
    applied: list[Receipt]
    behind: list[Receipt]
    unreachable: list[Receipt]


async def receipts_at(session: Session, position: int | None, since: datetime | None = None) -> Receipts:
    """The receipts of one position; None for an entry that has none yet.

    since: whoever vanished without a word after this time is unreachable as well.
    """
    waited_for = await followers.behind(session, position) if position else await followers.list_followers(session)
    gone = await followers.lost(session, position, since) if position and since else []
    return Receipts(
        complete=position is not None and not any(each.may_accept for each in waited_for),
        applied=[_applied(each) for each in await followers.applied(session, position)] if position else [],
        behind=[_heard(each) for each in waited_for if each.may_accept],
        unreachable=[*(_heard(each) for each in waited_for if not each.may_accept), *map(_applied, gone)],
    )


async def until_all(database: Database, entry_ids: Iterable[int], timeout_s: float) -> Receipts:
    """Returns when nobody accepts what the entries ended, or else after the time, with the names of who still may.

    Call it after the transaction that wrote the entries.
    """
    ids = list(entry_ids)
    deadline = time.monotonic() + timeout_s
    ask_at = float("-inf")
    while True:
        if time.monotonic() >= ask_at:
            database.hint(RECEIPTS_SUBJECT)
            ask_at = time.monotonic() + _ASK_AGAIN_S
        async with transaction(database) as session:
            rows = (await (await session.connection()).execute(_POSITIONS, {"ids": ids})).scalars().all()
            # An entry that is there no more was forgotten: nothing can match it.
            position = None if None in rows else max(rows, default=1)
            waited_for = (
                await followers.behind(session, position)
                if position is not None
                else await followers.list_followers(session)
            )
            done = position is not None and not any(each.may_accept for each in waited_for)
            if done or time.monotonic() >= deadline:
                return await receipts_at(session, position)
        await asyncio.sleep(_LOOK_AGAIN_S)


async def newest_entries(database: Database) -> list[int]:
    """The entries that everybody has applied who has applied everything which is committed now."""
    async with transaction(database) as session:
        return list((await (await session.connection()).execute(_NEWEST)).scalars())


class Ending:
    """How one revoking call ends: what it ended is dead here and, where the caller asked, everywhere.

    everywhere: whether the caller asked for that.  receipts: None for who did not.  entries: what was waited for.
    """

    def __init__(self, feed: Feed, database: Database, *, everywhere: bool = False, timeout_s: float = 0.0) -> None:
        self._feed, self._database = feed, database
        self.everywhere, self._timeout_s = everywhere, timeout_s
        self.receipts: Receipts | None = None
        self.entries: list[int] = []

    async def finish(self, entry_ids: Iterable[int]) -> None:
        """To be called after the transaction, with the entries that it wrote.

        It may have written none because the same was ended before, which others may accept yet.
        """
        self.entries = list(entry_ids)
        await self._feed.settle(self.entries)
        if self.everywhere:
            self.entries = self.entries or await newest_entries(self._database)
            self.receipts = await until_all(self._database, self.entries, self._timeout_s)
            if not self.receipts.complete:
                behind = [f"{each.name}/{each.instance}" for each in self.receipts.behind]
                log.warning("revocation.not_everywhere", entries=self.entries, behind=behind)

    @property
    def headers(self) -> dict[str, str]:
        """What an answer says whose status and body are decided elsewhere; nothing to who did not ask."""
        if self.receipts is None:
            return {}
        if self.receipts.complete:
            return {COMPLETE: "true"}
        return {COMPLETE: "false", REVOCATIONS: ", ".join(map(str, self.entries))}


class _Said(BaseModel):
    """What a query says of waiting."""

    wait: Literal["all"] | None = None
    timeout_s: float = Field(DEFAULT_S, ge=1, le=LONGEST_S, allow_inf_nan=False)


class Endings:
    """A dependency: the Ending that the caller asks for. The router of its routes needs route_class=RevokingRoute."""

    def __init__(self, feed: Feed, database: Database) -> None:
        self._feed, self._database = feed, database

    def here(self) -> Ending:
        """For callers that ask for nothing: dead here when the call returns, everywhere milliseconds later."""
        return Ending(self._feed, self._database)

    def __call__(
        self,
        request: Request,
        wait: Annotated[Literal["all"] | None, Query(description=_WAIT)] = None,
        timeout_s: Annotated[
            float,
            Query(
                ge=1,
                le=LONGEST_S,
                allow_inf_nan=False,
                description="With `wait=all`: answer 202 after this time at the latest",
            ),
        ] = DEFAULT_S,
    ) -> Ending:
        ending = Ending(self._feed, self._database, everywhere=wait == "all", timeout_s=timeout_s)
        request.state.ending = ending
        return ending

    def asked(self, query: Mapping[str, str]) -> Ending:
        """As a dependency does, for an endpoint that answers with the Ending's headers. Raises BadRequest."""
        try:
            said = _Said.model_validate(query)
        except ValidationError:
            raise BadRequest(f"wait is all, and timeout_s from 1 to {LONGEST_S:g}") from None
        return Ending(self._feed, self._database, everywhere=said.wait == "all", timeout_s=said.timeout_s)


class RevokingRoute(APIRoute):
    """A route whose answer becomes 202 with the names where not everybody could be waited for.

    The members of Receipts are added to those of the usual body, so that nothing which is shown once gets lost.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if any(isinstance(each.call, Endings) for each in self.dependant.dependencies):
            content = {
                "application/json": {"schema": Receipts.model_json_schema(ref_template="#/components/schemas/{model}")}
            }
            self.responses = {**self.responses, 202: {"description": "With `wait=all`: not all", "content": content}}

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler that FastAPI makes, and what follows when an Ending is not complete."""
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            response = await handle(request)
            ending = getattr(request.state, "ending", None)
            if not isinstance(ending, Ending) or ending.receipts is None or ending.receipts.complete:
                return response
            usual = orjson.loads(response.body) if response.body else {}
            merged = {**usual, "revocations": ending.entries, **ending.receipts.model_dump(mode="json")}
            kept = {name: value for name, value in response.headers.items() if not name.startswith("content-")}
            return Response(orjson.dumps(merged), 202, headers=kept, media_type="application/json")

        return answer


def _heard(follower: Follower) -> Receipt:
    return Receipt(name=follower.name, instance=_instance(follower.id), kind=follower.kind, at=follower.heard_at)


def _applied(receipt: Applied) -> Receipt:
    return Receipt(name=receipt.name, instance=_instance(receipt.id), kind=receipt.kind, at=receipt.at)


def _instance(follower_id: str) -> str:
    """The instance of a verifier without its name."""
    return follower_id.rpartition("/")[2]
