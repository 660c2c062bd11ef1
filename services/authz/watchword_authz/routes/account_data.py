"""`/account/data`: everything that is held about a person, to take along, and the end of the account.

This is what articles 15, 17 and 20 of the General Data Protection Regulation ask for.
"""

from typing import Final

import orjson
import structlog
from fastapi import APIRouter, Request, Response
from pydantic import ConfigDict

from watchword_authz import factor_store, own_calls, passkey_store, remembered, store
from watchword_authz.account import Visitor
from watchword_authz.context import Context
from watchword_authz.routes import visitors
from watchword_authz.routes.account_profile import OwnAccount
from watchword_authz.routes.visitors import AccountPages
from watchword_database.engine import transaction
from watchword_runtime.calls import Document, Refused
from watchword_web.forms import Params
from watchword_web.texts import Text

log = structlog.get_logger()

_PATH: Final = "/account/data"
_EXPORT: Final = "/account/data/export"
_MOST: Final = 100_000
_MAX_NAME: Final = 254


class Whole(Document):
    """A document of another service, with whatever stands in it."""

    model_config = ConfigDict(frozen=True, extra="allow")


def router(context: Context) -> APIRouter:
    """Whoever takes everything along, or ends it, has just proved who they are."""
    api = APIRouter(tags=["account"])
    pages = AccountPages(api, context)
    pages.show(
        _PATH, show_own_data, summary="Where a person takes their data along, or deletes their account", is_guarded=True
    )
    pages.take(_EXPORT, export_own_data, page=_PATH, summary="Everything that is held about a person", is_guarded=True)
    pages.take(_PATH, delete_own_account, summary="Delete one's own account", is_guarded=True)
    return api


async def show_own_data(context: Context, request: Request, visitor: Visitor) -> Response:
    """The two buttons."""
    return await _page(context, request, visitor)


async def export_own_data(context: Context, _request: Request, visitor: Visitor, _form: Params) -> Response:
    """One JSON document, with what each service holds. No secret is in it, not even as a hash."""
    body = {
        "made_at": context.now(),
        "account": (await own_calls.read(context, visitor, "account", Whole)).model_dump(),
        "identities": [each.model_dump() for each in await own_calls.read_all(context, visitor, "identities", Whole)],
        "api_keys": [each.model_dump() for each in await own_calls.read_all(context, visitor, "api-keys", Whole)],
        "activity": [
            each.model_dump() for each in await own_calls.read_all(context, visitor, "activity", Whole, most=_MOST)
        ],
        **await _held_here(context, visitor),
    }
    log.info("account.exported", user_id=visitor.user.id)
    name = f"account-{context.now():%Y-%m-%d}.json"
    return Response(
        orjson.dumps(body, option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z),
        media_type="application/json",
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
    )


async def delete_own_account(context: Context, request: Request, visitor: Visitor, form: Params) -> Response:
    """The person is gone, and everything that they had with them; the browser keeps nothing."""
    username = form.get("username", "").strip()[:_MAX_NAME]
    try:
        await own_calls.send(context, visitor, "DELETE", "account", None, username=username)
    except Refused as refused:
        return await _page(context, request, visitor, error=_told(refused))
    log.info("account.deleted", user_id=visitor.user.id)
    response = context.pages.render(
        request,
        "message.html",
        title=Text("Your account is deleted"),
        message=Text("You are signed out everywhere, and no application can use the account any more."),
        kind="success",
        action=None,
    )
    context.cookies.drop_session(response)
    return response


async def _page(context: Context, request: Request, visitor: Visitor, error: Text | None = None) -> Response:
    own = await own_calls.read(context, visitor, "account", OwnAccount)
    return visitors.render(
        context, request, visitor, "account_data.html", _PATH, status=400 if error else 200, own=own, error=error
    )


def _told(refused: Refused) -> Text:
    match refused.title:
        case "The last owner":
            return Text("You are the only owner of this installation: make somebody else an owner first.")
        case "Ask an administrator":
            return Text("This installation does not let people delete themselves: ask the people who run it.")
        case _:
            return Text("This is not your user name.")


async def _held_here(context: Context, visitor: Visitor) -> dict[str, object]:
    """What this service holds: how the person signs in, where, and for whom."""
    user_id, now = visitor.user.id, context.now()
    async with transaction(context.database) as session:
        credential = await store.find_credential(session, user_id)
        authenticator = await factor_store.find_authenticator(session, user_id)
        passkeys = await passkey_store.list_passkeys(session, user_id)
        codes_left = await factor_store.count_recovery_codes(session, user_id)
        devices = await remembered.list_devices(session, user_id, now)
        consents = await store.list_consents(session, user_id=user_id, after="", limit=_MOST)
        grants = await store.list_grants(session, user_id, now, limit=_MOST)
        places = await store.list_sessions(session, now, user_id=user_id, after="", limit=_MOST)
    return {
        "password": {"changed_at": credential.changed_at} if credential is not None else None,
        "authenticator": {"confirmed_at": authenticator.confirmed_at} if authenticator is not None else None,
        "recovery_codes_left": codes_left,
        "passkeys": [each.model_dump(include={"name", "created_at", "used_at", "is_synced"}) for each in passkeys],
        "remembered_devices": [
            each.model_dump(include={"user_agent", "address", "created_at", "used_at", "expires_at"})
            for each in devices
        ],
        "sessions": [
            each.model_dump(
                include={"id", "provider_id", "auth_time", "amr", "address", "user_agent", "created_at", "seen_at"}
            )
            for each in places
        ],
        "consents": [each.model_dump(include={"client_id", "scope", "scope_at", "granted_at"}) for each in consents],
        "grants": [each.model_dump(include={"client_id", "issued_at", "keep_until", "offline"}) for each in grants],
    }
