"""What other services know of a person and do for them at the account pages: `/api/v1/me`, as that person.

authz says who is signed in anyway, so it takes what any sign-in ends with: a code for the client of the account pages,
which `token` turns into an access token. It is kept in memory for its five minutes, and dies with the session.
See docs/adr/0036.
"""

import base64
import hashlib
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, TypeVar

import orjson

from watchword_authz import access
from watchword_authz.account import Visitor
from watchword_authz.codes import approve, issue_code
from watchword_authz.context import Context
from watchword_authz.requests import AuthorizationRequest
from watchword_authz.store import versions_of
from watchword_database.engine import transaction
from watchword_database.ids import new_id
from watchword_events.names import Service
from watchword_runtime.callers import ACCOUNT
from watchword_runtime.calls import Document, Listed, SessionOver, ask
from watchword_runtime.internal import Unreachable

D = TypeVar("D", bound=Document)

_REMEMBERED: Final = 1000
_EARLY: Final = timedelta(seconds=30)
_MOST: Final = "200"
_OWNERS: Final[Mapping[str, Service]] = {
    "account": Service.DIRECTORY,
    "activity": Service.ADMIN,
    "api-keys": Service.TOKEN,
    "email": Service.DIRECTORY,
    "identities": Service.DIRECTORY,
}


def owner_of(path: str) -> Service:
    """Who serves a path below `/api/v1/`, which begins with `me/`."""
    return _OWNERS[path.split("/")[1]]


async def read(context: Context, visitor: Visitor, path: str, shape: type[D]) -> D:
    """A document below `/api/v1/me/`. Raises as `send`."""
    return shape.model_validate_json(await send(context, visitor, "GET", path))


async def read_all(context: Context, visitor: Visitor, path: str, shape: type[D], *, most: int = 10_000) -> list[D]:
    """The items of a list below `/api/v1/me/`, at most so many. Raises as `send`."""
    found: list[D] = []
    cursor: str | None = ""
    while cursor is not None and len(found) < most:
        listed = await read_page(context, visitor, path, shape, cursor=cursor)
        found += listed.items
        cursor = listed.next
    return found[:most]


async def read_page(
    context: Context, visitor: Visitor, path: str, shape: type[D], *, cursor: str = "", limit: str = _MOST
) -> Listed[D]:
    """One page of a list below `/api/v1/me/`. Raises as `send`."""
    asked = {"limit": limit, **({"cursor": cursor} if cursor else {})}
    return Listed[shape].model_validate_json(await send(context, visitor, "GET", path, None, **asked))  # type: ignore[valid-type]  # a type at run time


async def send(
    context: Context,
    visitor: Visitor,
    method: str,
    path: str,
    body: Mapping[str, object] | None = None,
    **params: str,
) -> bytes:
    """The body of a successful answer. path: below `/api/v1/me/`.

    Raises Refused, PageError (403, 404), Unreachable (503), and SessionOver when the session has just ended.
    """
    token = await _token(context, visitor)
    try:
        return await context.calls.send(token, method, f"me/{path}", body, **params)
    except SessionOver:
        context.account_tokens.pop(_key(visitor), None)
        raise


def _key(visitor: Visitor) -> tuple[str, datetime, tuple[str, ...]]:
    """By session and sign-in: whoever has just proved again who they are gets a token that says so."""
    return visitor.session.id, visitor.session.auth_time, tuple(visitor.session.amr)


async def _token(context: Context, visitor: Visitor) -> str:
    """An access token of the account pages' client for the person. Raises Unreachable."""
    tokens, now = context.account_tokens, context.now()
    known = tokens.get(_key(visitor))
    if known is not None and now < known[1]:
        return known[0]
    made, lifetime = await _make(context, visitor, now)
    tokens[_key(visitor)] = made, now + lifetime - _EARLY
    while len(tokens) > _REMEMBERED:
        tokens.popitem(last=False)
    return made


async def _make(context: Context, visitor: Visitor, now: datetime) -> tuple[str, timedelta]:
    """A token and how long it lives. Spec: RFC 6749 4.1.3; RFC 7636 4.6."""
    rev, session_row = context.feed.position, visitor.session
    client = await context.clients.get(ACCOUNT)
    if client is None:
        raise Unreachable(f"the client {ACCOUNT} is not registered yet")
    verdict = await access.ask(context, session_row, visitor.user, client, address=session_row.address, now=now)
    verifier = secrets.token_urlsafe(32)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    request = AuthorizationRequest(
        client_id=ACCOUNT,
        redirect_uri=f"{context.settings.public_url}/account",
        scope=frozenset({"openid"}),
        code_challenge=challenge,
    )
    async with transaction(context.database) as session:
        client_version, user_version = await versions_of(session, ACCOUNT, visitor.user.id)
        approved = await approve(
            session,
            request=request,
            client=client,
            client_version=client_version,
            user=visitor.user,
            user_version=user_version,
            signed_in=session_row,
            verdict=verdict,
            rev=rev,
            now=now,
        )
        code = await issue_code(session, approved, flow_id=new_id(), request=request, now=now)
    form = {
        "grant_type": "authorization_code",
        "client_id": ACCOUNT,
        "code": code,
        "redirect_uri": request.redirect_uri,
        "code_verifier": verifier,
    }
    answer = await ask(context.calls.clients, context.settings, Service.TOKEN, "POST", "/oauth2/token", data=form)
    if not answer.is_success:
        raise Unreachable(f"token: answered the account pages with {answer.status_code}")
    tokens = orjson.loads(answer.content)
    return str(tokens["access_token"]), timedelta(seconds=int(tokens["expires_in"]))
