"""`/revocations`: the feed over HTTP, for verifiers that have neither NATS nor the database, and their receipts."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse

from watchword_runtime.access import Caller
from watchword_runtime.feed import FeedAway
from watchword_token.edge import Parts
from watchword_token.feed_api import TICK_S
from watchword_token.verifiers import ForeignName, Instance, Reported, TooMany
from watchword_web.errors import Problem

_CHECK_EVERY: Final = (
    4  # ticks, fewer than the staleness bound has between two looks at whether a stream's credential is still good
)
_JSON: Final = "application/json"

After = Annotated[int | None, Query(ge=0, lt=1 << 53, description="Only what came after this position")]


def feed_router(parts: Parts) -> APIRouter:
    """Snapshot, newest position, stream and receipts, with scope `revocations:read`."""
    router = APIRouter(prefix="/revocations")
    reader = Annotated[Caller, Depends(parts.feed_reader)]

    @router.get("")
    async def get_revocations(_caller: reader, after: After = None) -> Response:
        """Everything that is revoked, or what came after a position: `{"position", "entries"}`.

        What came after is told 10,000 entries at a time: ask again with the `position` of the answer until it is the
        newest.
        """
        if after is None:
            return StreamingResponse(await parts.feed_api.snapshot(parts.now()), media_type=_JSON)
        return Response(await parts.feed_api.after(after), media_type=_JSON)

    @router.get("/position")
    async def get_position(_caller: reader) -> Response:
        """The newest position, the age of that knowledge, and which JWKS there is: `{"position", "age_s", "jwks"}`.

        jwks: the first 32 hexadecimal digits of the document's SHA-256; whoever has another reads it again.
        """
        return Response(await parts.feed_api.newest(parts.keys.jwks_name), media_type=_JSON)

    @router.get("/stream")
    async def stream_revocations(request: Request, caller: reader, after: After = None) -> StreamingResponse:
        """Server-sent events from behind a position: `revocation` with an entry, `position` at least once a second.

        `receipt`, without members, when somebody waits for a receipt of the client's: it sends one now.
        A client that reconnects says in `Last-Event-ID` where it was. The stream ends with its credential.
        """
        position = _resumed(request, after)
        return StreamingResponse(
            _while_allowed(parts, request, parts.feed_api.stream(position)),
            media_type="text/event-stream",
            headers={"X-Accel-Buffering": "no"},
        )

    @router.post("/receipts")
    async def report_receipt(body: Reported, caller: reader) -> Response:
        """The verifier says how far it has applied the ledger: whenever it did, and at least once a second.

        The answer is what is newest after that, as `GET /revocations/position` says it: who dates by it what they know
        was heard before, and is waited for. A name that nobody registered is the client's own, and is shown as
        `<client_id>:<name>`.
        """
        with _refusals():
            await parts.verifiers.report(caller, body, now=parts.now())
        return Response(await parts.feed_api.newest(parts.keys.jwks_name), media_type=_JSON)

    @router.delete("/receipts/{instance}", status_code=204)
    async def end_receipts(instance: Instance, caller: reader) -> None:
        """The caller's instance of this name accepts nothing any more: nobody waits for it."""
        await parts.verifiers.leave(caller, instance)

    return router


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except ForeignName:
        raise Problem(403, "Not allowed", "Another client reports for the verifier of this name.") from None
    except TooMany:
        raise Problem(409, "Too many verifiers", "End or rename some first.") from None


def _resumed(request: Request, after: int | None) -> int:
    """Where the stream begins. Spec: HTML Living Standard 9.2.4 (Last-Event-ID)."""
    last = request.headers.get("last-event-id", "")
    if last.isascii() and last.isdigit() and len(last) <= 16:
        return int(last)
    if after is None:
        raise Problem(400, "No position", "Say in `after` which position you have; GET /revocations gives one.")
    return after


async def _while_allowed(parts: Parts, request: Request, events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The events until the caller's credential is revoked or expires, which is looked at every few seconds."""
    checked_at = parts.now()
    async for event in events:
        yield event
        if (parts.now() - checked_at).total_seconds() >= _CHECK_EVERY * TICK_S:
            checked_at = parts.now()
            try:
                await parts.feed_reader(request)
            except (Problem, FeedAway):
                return
