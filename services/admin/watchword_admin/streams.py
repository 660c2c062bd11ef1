"""Server-sent events: the wire form of live events, for programs and for the console."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from fastapi.responses import StreamingResponse

from watchword_admin.live import Ended, Full, Live, Missed, Seen, types_like
from watchword_web.errors import Problem

HEARTBEAT_S: Final = 10.0
_RECHECK_S: Final = 1.0
HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}

# Whether the reader may still read; asked at most once a second, and at each heartbeat.
MayRead = Callable[[], Awaitable[bool]]


def wanted_types(types: str | None) -> frozenset[str]:
    """The event types of the parameter `types`: several separated by commas, or `client.*`; without it all public ones.

    Raises Problem.
    """
    wanted = set[str]()
    for name in ("*" if types is None else types).split(","):
        found = types_like(name.strip())
        if not found:
            detail = f"not an event type: {name.strip()[:64]!r}"
            raise Problem(400, "The request is not valid", errors=[{"parameter": "types", "detail": detail}])
        wanted |= found
    return frozenset(wanted)


def event_stream(live: Live, types: frozenset[str], may_read: MayRead, *, named: bool = True) -> StreamingResponse:
    """An answer that never ends: an event each time, a comment when nothing happened for ten seconds.

    named: whether `event` says the type; a browser needs a listener for each name then. The answer ends when the
    reader may not read any more. `resync` says that events may have been missed. Raises Problem 503 when too many
    follow already. Spec: HTML Standard 9.2.
    """
    if live.is_full:
        raise Problem(503, "Too many streams", "Try again in a while.", headers={"Retry-After": "10"})
    return StreamingResponse(_lines(live, types, may_read, named), media_type="text/event-stream", headers=HEADERS)


async def _lines(live: Live, types: frozenset[str], may_read: MayRead, named: bool) -> AsyncIterator[bytes]:
    try:
        with live.following(types) as follower:
            yield b"retry: 2000\n: connected\n\n"
            checked_at = time.monotonic()
            while True:
                try:
                    seen = await follower.next(HEARTBEAT_S)
                except Missed:
                    yield b"event: resync\ndata: {}\n\n"
                    continue
                except Ended:
                    return
                if time.monotonic() - checked_at >= _RECHECK_S:
                    checked_at = time.monotonic()
                    if not await may_read():
                        return
                yield b": still here\n\n" if seen is None else _message(seen, named)
    except Full:  # the last place went to a stream that was asked for at the same time
        yield b"retry: 10000\n\n"


def _message(seen: Seen, named: bool) -> bytes:
    name = f"event: {seen.type}\n" if named else ""
    return f"id: {seen.event_id}\n{name}data: ".encode() + seen.as_cloud_event() + b"\n\n"
