"""The audit log at the console: who did what, before and after, whether it holds, and as a file."""

from collections.abc import Mapping
from typing import Final

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from watchword_admin.audit.api import exported_lines
from watchword_admin.console import documents as seen
from watchword_admin.console.pages import Console, Handler, cursor_of, following
from watchword_admin.console.sessions import Visit
from watchword_web.forms import read_query

_ROWS: Final = "50"
_FILTERS: Final = ("action", "actor", "resource", "reference")


async def list_entries(console: Console, request: Request, visit: Visit) -> Response:
    """Entries, newest first: all, or those that were asked for."""
    query = read_query(request)
    asked = {name: query[name] for name in _FILTERS if name in query}
    params = {"limit": _ROWS, **asked, **cursor_of(request)}
    found = await console.calls.page(visit.token, "audit", seen.AuditEntry, **params)
    names = await console.names(
        users=[each.actor.sub for each in found.items], clients=[each.actor.client_id for each in found.items]
    )
    return console.render(
        request,
        visit,
        "audit.html",
        here="audit",
        entries=found.items,
        asked=asked,
        names=names,
        following=following("/admin/audit", asked, found.next),
    )


async def verify(console: Console, request: Request, visit: Visit) -> Response:
    """Whether every entry is what was written."""
    found = await console.calls.get(visit.token, "audit/verification", seen.Verification)
    return console.render(request, visit, "audit_verified.html", here="audit", found=found)


async def export(console: Console, _request: Request, _visit: Visit) -> Response:
    """The whole log, a line of JSON for each entry."""
    return StreamingResponse(
        exported_lines(console.parts),
        media_type="application/x-ndjson",
        headers={"Content-Disposition": 'attachment; filename="audit.ndjson"', "Cache-Control": "no-store"},
    )


GET: Final[Mapping[str, Handler]] = {
    "/admin/audit": list_entries,
    "/admin/audit/verification": verify,
    "/admin/audit/export": export,
}
