"""Live events at the console: all of them, or those about one kind of thing."""

from collections.abc import Mapping
from typing import Final

from fastapi import Request, Response

from watchword_admin.console.pages import Console, Handler
from watchword_admin.console.sessions import Visit
from watchword_admin.live import PUBLIC_TYPES
from watchword_admin.streams import event_stream
from watchword_runtime.feed import FeedAway
from watchword_web.forms import read_query
from watchword_web.texts import Text

_KINDS: Final = sorted({name.partition(".")[0] for name in PUBLIC_TYPES})


async def show_events(console: Console, request: Request, visit: Visit) -> Response:
    """The last events; with JavaScript, those that follow as well."""
    about, types = _wanted(request)
    return console.render(
        request,
        visit,
        "events.html",
        here="events",
        about=about,
        choices=[("", Text("Everything")), *((kind, kind) for kind in _KINDS)],
        events=[event for event in console.parts.live.recent() if event.type in types],
        scripts=True,
    )


async def stream_events(console: Console, request: Request, _visit: Visit) -> Response:
    """The events as they happen, for the page above; ends when the person's session does."""

    async def may_read() -> bool:
        try:
            return await console.sessions.visit(request) is not None
        except FeedAway:
            return False

    return event_stream(console.parts.live, _wanted(request)[1], may_read, named=False)


def _wanted(request: Request) -> tuple[str, frozenset[str]]:
    """The kind of thing that is asked about, "" for every kind, and the event types that are about it."""
    about = read_query(request).get("about", "")
    if about not in _KINDS:
        return "", PUBLIC_TYPES
    return about, frozenset(name for name in PUBLIC_TYPES if name.startswith(f"{about}."))


GET: Final[Mapping[str, Handler]] = {"/admin/events": show_events, "/admin/events/stream": stream_events}
