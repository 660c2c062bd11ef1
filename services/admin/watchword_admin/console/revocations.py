"""Revocations at the console: what was ended, ending by hand, and who has applied it, as it happens."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Final

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from watchword_admin.console import documents as seen
from watchword_admin.console.pages import Console, Handler, cursor_of, following, named
from watchword_admin.console.sessions import Visit
from watchword_admin.streams import HEADERS, HEARTBEAT_S
from watchword_runtime.calls import Refused
from watchword_web.forms import read_query

_ROWS: Final = "50"
_LOOK_AGAIN_S: Final = 0.25
_FOLLOWED_S: Final = 300.0
_REVOCATION: Final = "/admin/revocations/{entry_id}"


async def list_revocations(console: Console, request: Request, visit: Visit) -> Response:
    """Entries of the ledger, newest first."""
    found = await console.calls.page(visit.token, "revocations", seen.Revocation, limit=_ROWS, **cursor_of(request))
    return console.render(
        request,
        visit,
        "revocations.html",
        here="revocations",
        entries=found.items,
        following=following("/admin/revocations", {}, found.next),
        names=await _names(console, found.items),
    )


async def new_revocation(console: Console, request: Request, visit: Visit) -> Response:
    """The form; a link from elsewhere may say what is meant."""
    query = read_query(request)
    values = {name: query[name] for name in ("claim", "value") if name in query}
    return _form(console, request, visit, values={"claim": "sub"} | values)


async def preview_or_revoke(console: Console, request: Request, visit: Visit) -> Response:
    """What would end; or, after that was seen, its end."""
    form = await console.sessions.read_form(request, visit)
    body = _body(form)
    try:
        if form.get("deed") != "revoke":
            preview = await console.calls.post(visit.token, "revocations", seen.Preview, body, dry_run="true")
            names = await console.names(
                users=[each.id for each in preview.by_user], clients=[each.id for each in preview.by_client]
            )
            return _form(console, request, visit, values=form, preview=preview, names=names)
        made = await console.calls.post(visit.token, "revocations", seen.Revocation, body)
    except Refused as refused:
        return _form(console, request, visit, values=form, errors=refused.errors)
    return console.go(f"/admin/revocations/{made.id}")


async def show_revocation(console: Console, request: Request, visit: Visit) -> Response:
    """One entry, with who has applied it by now; with JavaScript, until everybody has."""
    entry = await _entry(console, request, visit.token)
    return console.render(
        request,
        visit,
        "revocation.html",
        here="revocations",
        entry=entry,
        names=await _names(console, [entry]),
        scripts=True,
    )


async def stream_receipts(console: Console, request: Request, visit: Visit) -> Response:
    """The receipts of one entry each time they change, as the page shows them, until all have applied it."""
    token = visit.token
    first = await _entry(console, request, token)

    async def lines() -> AsyncIterator[bytes]:
        entry, said, said_at = first, "", time.monotonic()
        language = console.pages.language_of(request)
        ends_at = time.monotonic() + _FOLLOWED_S
        yield b"retry: 2000\n\n"
        while True:
            shown = console.pages.fragment("console/receipts.html", language=language, entry=entry)
            if shown != said:
                said, said_at = shown, time.monotonic()
                yield b"".join(b"data: %b\n" % line.encode() for line in shown.splitlines()) + b"\n"
            if (entry.complete and not entry.behind) or time.monotonic() > ends_at:
                yield b"event: end\ndata: {}\n\n"
                return
            if time.monotonic() - said_at > HEARTBEAT_S:
                said_at = time.monotonic()
                yield b": still here\n\n"
            await asyncio.sleep(_LOOK_AGAIN_S)
            if await console.sessions.visit(request) is None:
                return
            entry = await _entry(console, request, token)

    return StreamingResponse(lines(), media_type="text/event-stream", headers=HEADERS)


async def download_evidence(console: Console, request: Request, visit: Visit) -> Response:
    """The signed document about one entry, as a file."""
    entry_id = named(request)["entry_id"]
    document = await console.calls.send(visit.token, "GET", f"revocations/{entry_id}/evidence")
    return evidence_file(document, f"revocation-{int(entry_id)}")


def evidence_file(document: bytes, name: str) -> Response:
    """A signed document as a file. name: without its ending."""
    return Response(
        document,
        media_type="application/watchword-evidence+jwt",
        headers={"Content-Disposition": f'attachment; filename="{name}.jwt"'},
    )


def _form(
    console: Console,
    request: Request,
    visit: Visit,
    *,
    values: Mapping[str, str],
    errors: Mapping[str, str] | None = None,
    **found: object,
) -> Response:
    return console.form(
        request,
        visit,
        "revocation_form.html",
        here="revocations",
        values=values,
        errors=errors,
        **({"preview": None, "names": None} | found),
    )


def _body(form: Mapping[str, str]) -> dict[str, object]:
    """The revocation that a form asks for. The time is UTC, as the page says."""
    body: dict[str, object] = {"claim": form.get("claim", "")}
    if value := form.get("value", "").strip():
        body["value"] = value
    if before := form.get("issued_before"):
        body["issued_before"] = f"{before}Z"
    return body


async def _entry(console: Console, request: Request, token: str) -> seen.Proved:
    return await console.calls.get(token, f"revocations/{named(request)['entry_id']}", seen.Proved)


async def _names(console: Console, entries: list[seen.Revocation] | list[seen.Proved]) -> object:
    return await console.names(
        users=[each.value for each in entries if each.claim == "sub"],
        clients=[each.value for each in entries if each.claim == "client_id"],
        providers=[each.value for each in entries if each.claim == "idp"],
    )


GET: Final[Mapping[str, Handler]] = {
    "/admin/revocations": list_revocations,
    "/admin/revocations/new": new_revocation,
    _REVOCATION: show_revocation,
    f"{_REVOCATION}/receipts": stream_receipts,
    f"{_REVOCATION}/evidence": download_evidence,
}
POST: Final[Mapping[str, Handler]] = {"/admin/revocations": preview_or_revoke}
