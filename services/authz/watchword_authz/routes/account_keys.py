"""`/account/api-keys`: the keys with which a person's scripts act for them. `token` owns them."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

import structlog
from fastapi import APIRouter, Request, Response

from watchword_authz import own_calls
from watchword_authz.account import Visitor
from watchword_authz.context import Context
from watchword_authz.routes import visitors
from watchword_authz.routes.visitors import AccountPages
from watchword_authz.steps import see_other
from watchword_policy.administration import gives
from watchword_policy.scopes import ADMIN_SCOPE, RESERVED_PREFIX, SIGN_IN
from watchword_runtime.calls import Document, Refused
from watchword_web.forms import Params
from watchword_web.texts import Text

log = structlog.get_logger()

_PATH: Final = "/account/api-keys"
_MAX_ID: Final = 128
_LOOKS_AROUND: Final = f"{RESERVED_PREFIX}users:read"  # what every role of the installation gives
_DAY: Final = timedelta(days=1)
LIFETIMES: Final[Mapping[str, timedelta | None]] = {
    "30": 30 * _DAY,
    "90": 90 * _DAY,
    "365": 365 * _DAY,
    "never": None,
}


class ApiKey(Document):
    """An API key as `token` shows it to its owner."""

    id: str
    name: str
    scope: tuple[str, ...]
    public_jwk: dict[str, object] | None = None
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None


class CreatedApiKey(ApiKey):
    """A new one, with its text."""

    key: str | None = None


def router(context: Context) -> APIRouter:
    """As what is made here signs in for the person, a sign-in of a moment ago is asked for."""
    api = APIRouter(tags=["account"])
    pages = AccountPages(api, context)
    pages.show(_PATH, show_own_api_keys, summary="A person's API keys", is_guarded=True)
    pages.take(_PATH, change_own_api_keys, summary="Make an API key, or revoke one", is_guarded=True)
    return api


async def show_own_api_keys(context: Context, request: Request, visitor: Visitor) -> Response:
    """The keys that work, and the form for a new one."""
    return await _page(context, request, visitor)


async def change_own_api_keys(context: Context, request: Request, visitor: Visitor, form: Params) -> Response:
    """One more key, whose text is shown this once, or one less."""
    if "revoke" in form:
        await own_calls.send(context, visitor, "DELETE", f"api-keys/{_segment(form['revoke'])}")
        log.info("account.api_key_revoked", user_id=visitor.user.id)
        return see_other(context, f"{_PATH}?done=key-revoked")
    lifetime, now = LIFETIMES.get(form.get("lifetime", ""), 30 * _DAY), context.now()
    body: dict[str, object] = {"name": form.get("name", "").strip(), "scope": [SIGN_IN] if SIGN_IN in form else []}
    if lifetime is not None:
        body["expires_at"] = (now + lifetime).isoformat()
    try:
        answer = await own_calls.send(context, visitor, "POST", "api-keys", body)
    except Refused as refused:
        return await _page(context, request, visitor, typed=form, error=_told(refused))
    made = CreatedApiKey.model_validate_json(answer)
    return await _page(context, request, visitor, made=made)


async def _page(
    context: Context,
    request: Request,
    visitor: Visitor,
    *,
    made: CreatedApiKey | None = None,
    typed: Params | None = None,
    error: Text | None = None,
) -> Response:
    keys = await own_calls.read_all(context, visitor, "api-keys", ApiKey)
    return visitors.render(
        context,
        request,
        visitor,
        "account_api_keys.html",
        _PATH,
        status=400 if error else 200,
        made=made,
        keys=[(key, _effective(visitor, key)) for key in keys],
        name=typed.get("name", "") if typed is not None else "",
        lifetime=typed.get("lifetime", "90") if typed is not None else "90",
        error=error,
        has_ended=lambda at: at <= context.now(),
    )


def _told(refused: Refused) -> Text:
    if refused.status == 409:
        return Text("You have as many keys as one person may have. Revoke one that is not used.")
    return Text("A key needs a name of at most 200 characters, and something that it is for.")


def _effective(visitor: Visitor, key: ApiKey) -> list[str]:
    """What the key is good for: what its scope names, so far as its owner's roles allow it."""
    able: list[str] = []
    if SIGN_IN in key.scope:
        able.append(Text("Signs in to applications as you, with what you may do there"))
    if ADMIN_SCOPE in key.scope:
        roles = ", ".join(role for role in visitor.user.roles if gives([role], _LOOKS_AROUND))
        if roles:
            able.append(Text("Administers this installation as: %(roles)s", roles=roles))
        else:
            able.append(Text("Administers nothing: no role of yours may"))
    able += sorted(each for each in key.scope if each not in (SIGN_IN, ADMIN_SCOPE))
    return able


def _segment(typed: str) -> str:
    """An id as it may stand in a path: what cannot be one names nothing."""
    return typed[:_MAX_ID] if typed.replace("_", "").replace("-", "").isalnum() and typed.isascii() else "none"
