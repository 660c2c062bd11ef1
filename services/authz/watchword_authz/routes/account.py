"""`/account`: who a person is here, how and where they are signed in, and how they end what they do not want."""

from typing import Final

import structlog
from fastapi import APIRouter, Request, Response

from watchword_authz import account, factor_store, passkey_store, remembered, store
from watchword_authz.account import Visitor
from watchword_authz.context import Context
from watchword_authz.routes import visitors
from watchword_authz.routes.visitors import AccountPages
from watchword_authz.steps import see_other
from watchword_database.engine import transaction
from watchword_web.devices import device_of
from watchword_web.forms import Params

log = structlog.get_logger()

_PAGE: Final = "/account"
_MAX_ID: Final = 2048


def router(context: Context) -> APIRouter:
    """The overview, and the lists on it from which something can be ended."""
    api = APIRouter(tags=["account"])
    pages = AccountPages(api, context)
    pages.show(_PAGE, show_account, summary="The person's own account")
    pages.take(
        "/account/sessions", end_own_sessions, page=_PAGE, summary="End one of one's own sessions, or all others"
    )
    pages.take(
        "/account/devices",
        forget_own_device,
        page=_PAGE,
        summary="Forget a device, so that it has to prove the second factor again",
    )
    return api


async def end_own_sessions(context: Context, _request: Request, visitor: Visitor, form: Params) -> Response:
    """One, or all but this one."""
    sid = form.get("sid", "")[:_MAX_ID]
    async with transaction(context.database) as session:
        entries = await account.end_places(context, session, visitor, sid=sid or None)
    await context.feed.settle(entries)
    log.info("account.sessions_ended", user_id=visitor.user.id, count=len(entries))
    return see_other(context, "/account?done=signed-out#sessions")


async def forget_own_device(context: Context, _request: Request, visitor: Visitor, form: Params) -> Response:
    """It is asked for a code again."""
    async with transaction(context.database) as session:
        await remembered.forget(session, visitor.user.id, form.get("device", "")[:_MAX_ID])
    log.info("account.device_forgotten", user_id=visitor.user.id)
    return see_other(context, "/account?done=forgotten#devices")


async def show_account(context: Context, request: Request, visitor: Visitor) -> Response:
    """Who the person is here, how they sign in, and where they are signed in."""
    async with transaction(context.database) as session:
        credential = await store.find_credential(session, visitor.user.id)
        authenticator = await factor_store.find_authenticator(session, visitor.user.id)
        passkeys = await passkey_store.list_passkeys(session, visitor.user.id)
        codes_left = await factor_store.count_recovery_codes(session, visitor.user.id)
        devices = await remembered.list_devices(session, visitor.user.id, context.now())
        places = await account.places_of(context, session, visitor)
    addresses = [*(each.address for each in places), *(each.address for each in devices)]
    return visitors.render(
        context,
        request,
        visitor,
        "account.html",
        _PAGE,
        password_since=credential.changed_at if credential is not None else None,
        authenticator_since=authenticator.confirmed_at if authenticator is not None else None,
        has_passwords=context.settings.local_passwords,
        codes_left=codes_left,
        passkey_count=len(passkeys),
        devices=[(device_of(each.user_agent), each) for each in devices],
        places=places,
        where=await context.places.find(addresses),
    )
