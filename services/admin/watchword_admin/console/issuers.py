"""Trusted issuers at the console: whose tokens are exchanged for ours."""

from collections.abc import Mapping
from typing import Final

import orjson
from fastapi import Request, Response

from watchword_admin.console import documents as seen
from watchword_admin.console.pages import Console, Handler, cursor_of, following, named
from watchword_admin.console.sessions import Visit
from watchword_runtime.calls import Refused
from watchword_web.texts import Text

_ROWS: Final = "50"
_ISSUER: Final = "/admin/issuers/{issuer_id}"
_TEXTS: Final = ("subject_prefix", "description", "jwks_uri", "root_ca")


async def list_issuers(console: Console, request: Request, visit: Visit) -> Response:
    """Trusted issuers in the order of their addresses."""
    found = await console.calls.page(visit.token, "issuers", seen.Issuer, limit=_ROWS, **cursor_of(request))
    return console.render(
        request,
        visit,
        "issuers.html",
        here="issuers",
        issuers=found.items,
        following=following("/admin/issuers", {}, found.next),
    )


async def new_issuer(console: Console, request: Request, visit: Visit) -> Response:
    """The empty form."""
    return _form(console, request, visit, values={"token_expiry_s": "3600"})


async def edit_issuer(console: Console, request: Request, visit: Visit) -> Response:
    """The form of an existing issuer."""
    known = await _issuer(console, request, visit)
    values = {name: getattr(known, name) or "" for name in _TEXTS} | {
        "iss": known.iss,
        "aud": "\n".join(known.aud),
        "token_expiry_s": str(known.token_expiry_s),
        "jwks": orjson.dumps(known.jwks, option=orjson.OPT_INDENT_2).decode() if known.jwks else "",
    }
    return _form(console, request, visit, values=values, known=known)


async def save_issuer(console: Console, request: Request, visit: Visit) -> Response:
    """The issuer as the form says."""
    form = await console.sessions.read_form(request, visit)
    known = await _issuer(console, request, visit) if "issuer_id" in request.path_params else None
    try:
        members = _members(form) | ({"iss": known.iss} if known else {})
        path, method = (f"issuers/{known.id}", "PUT") if known else ("issuers", "POST")
        await console.calls.send(visit.token, method, path, members)
    except Refused as refused:
        return _form(console, request, visit, values=form, errors=refused.errors, known=known)
    return console.go("/admin/issuers")


async def ask_to_remove(console: Console, request: Request, visit: Visit) -> Response:
    """The question before."""
    issuer = await _issuer(console, request, visit)
    return console.render(request, visit, "issuer_question.html", here="issuers", issuer=issuer)


async def remove_issuer(console: Console, request: Request, visit: Visit) -> Response:
    """The issuer is trusted no more."""
    await console.sessions.read_form(request, visit)
    await console.calls.send(visit.token, "DELETE", f"issuers/{named(request)['issuer_id']}")
    return console.go("/admin/issuers")


def _members(form: Mapping[str, str]) -> dict[str, object]:
    """The issuer that a form describes. Raises Refused for keys that are no JSON."""
    members: dict[str, object] = {name: form[name] for name in _TEXTS if name in form}
    life = form.get("token_expiry_s", "")
    members |= {
        "iss": form.get("iss", ""),
        "aud": form.get("aud", "").split(),
        "token_expiry_s": int(life) if life.isdecimal() and len(life) < 12 else life,
    }
    if "jwks" in form:
        try:
            members["jwks"] = orjson.loads(form["jwks"])
        except orjson.JSONDecodeError as error:
            raise Refused(400, "", {"jwks": Text("not JSON: %(reason)s", reason=error.msg)}, {}) from None
    return members


def _form(
    console: Console,
    request: Request,
    visit: Visit,
    *,
    values: Mapping[str, str],
    errors: Mapping[str, str] | None = None,
    known: seen.Issuer | None = None,
) -> Response:
    return console.form(
        request,
        visit,
        "issuer_form.html",
        here="issuers",
        values=values,
        errors=errors,
        known=known,
    )


async def _issuer(console: Console, request: Request, visit: Visit) -> seen.Issuer:
    return await console.calls.get(visit.token, f"issuers/{named(request)['issuer_id']}", seen.Issuer)


GET: Final[Mapping[str, Handler]] = {
    "/admin/issuers": list_issuers,
    "/admin/issuers/new": new_issuer,
    _ISSUER: edit_issuer,
    f"{_ISSUER}/remove": ask_to_remove,
}
POST: Final[Mapping[str, Handler]] = {
    "/admin/issuers": save_issuer,
    _ISSUER: save_issuer,
    f"{_ISSUER}/remove": remove_issuer,
}
