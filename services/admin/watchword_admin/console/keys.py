"""Signing and encryption keys at the console: which there are, who knows the next, taking one out of use."""

from collections.abc import Mapping
from typing import Final

from fastapi import Request, Response

from watchword_admin.console import documents as seen
from watchword_admin.console.pages import Console, Handler, named
from watchword_admin.console.sessions import Visit
from watchword_runtime.calls import together

_KEY: Final = "/admin/keys/{kid}"
_STATES: Final = ("next", "active", "retiring", "retired", "revoked")


async def list_keys(console: Console, request: Request, visit: Visit) -> Response:
    """All keys by what they are good for, and who follows them."""
    keys, verifiers = await together(
        console.calls.page(visit.token, "keys", seen.Key, limit="200"),
        console.calls.page(visit.token, "verifiers", seen.Verifier, limit="200"),
    )
    in_order = sorted(keys.items, key=lambda key: (_STATES.index(key.state), key.alg, key.kid))
    return console.render(
        request, visit, "keys.html", here="keys", keys=in_order, verifiers=verifiers.items, states=_STATES
    )


async def rotate(console: Console, request: Request, visit: Visit) -> Response:
    """The next keys are published; they take over when everybody knows them."""
    form = await console.sessions.read_form(request, visit)
    body: dict[str, object] = {"use": form.get("use", "sig")}
    if alg := form.get("alg"):
        body["alg"] = alg
    await console.calls.send(visit.token, "POST", "keys/rotate", body)
    return console.go("/admin/keys")


async def ask_to_revoke(console: Console, request: Request, visit: Visit) -> Response:
    """The question before."""
    key = await console.calls.get(visit.token, f"keys/{named(request)['kid']}", seen.Key)
    return console.render(request, visit, "key_question.html", here="keys", key=key)


async def revoke(console: Console, request: Request, visit: Visit) -> Response:
    """Nothing that the key made is accepted any more."""
    await console.sessions.read_form(request, visit)
    await console.calls.send(visit.token, "POST", f"keys/{named(request)['kid']}/revoke")
    return console.go("/admin/keys")


GET: Final[Mapping[str, Handler]] = {"/admin/keys": list_keys, f"{_KEY}/revoke": ask_to_revoke}
POST: Final[Mapping[str, Handler]] = {"/admin/keys/rotate": rotate, f"{_KEY}/revoke": revoke}
