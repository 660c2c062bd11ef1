"""`/account/password`, `/account/authenticator`: a person changes how they sign in, having just proved who they are."""

from datetime import timedelta
from typing import Final

import structlog
from fastapi import APIRouter, Request, Response

from watchword_authz import (
    account,
    consent,
    credentials,
    factor_store,
    factors,
    notices,
    sessions,
    store,
    throttle,
)
from watchword_authz.account import Visitor
from watchword_authz.context import Context
from watchword_authz.factors import WrongCode
from watchword_authz.qr import qr_code
from watchword_authz.routes import visitors
from watchword_authz.routes.edge import address_of, hashed, retry_after, wait_for
from watchword_authz.routes.visitors import AccountPages
from watchword_authz.steps import see_other
from watchword_database.engine import transaction
from watchword_web.forms import Params
from watchword_web.texts import Text

log = structlog.get_logger()

_PASSWORD: Final = "/account/password"
_AUTHENTICATOR: Final = "/account/authenticator"
_WRONG: Final = Text(
    "This code is not right. Wait for the next one and try again; the clock of your phone has to be right."
)


def router(context: Context) -> APIRouter:
    """Every page here asks for a sign-in of a moment ago before it shows anything."""
    api = APIRouter(tags=["account"])
    pages = AccountPages(api, context)
    pages.show(_PASSWORD, show_own_password, summary="Where a person chooses a new password", is_guarded=True)
    pages.take(_PASSWORD, change_own_password, summary="Choose a new password", is_guarded=True)
    pages.show(
        _AUTHENTICATOR,
        show_own_authenticator,
        summary="A person's authenticator app and recovery codes",
        is_guarded=True,
    )
    pages.take(
        _AUTHENTICATOR,
        change_own_authenticator,
        summary="Set the authenticator app up, remove it, or get new recovery codes",
        is_guarded=True,
    )
    return api


async def show_own_password(context: Context, request: Request, visitor: Visitor) -> Response:
    """Where a new password is chosen."""
    if not context.settings.local_passwords:
        return see_other(context, "/account")
    return _password_page(context, request, visitor)


async def change_own_password(context: Context, request: Request, visitor: Visitor, form: Params) -> Response:
    """The new password stands; where the person asks for it, whoever signed in with the old one is out (ADR 26)."""
    if not context.settings.local_passwords:
        return see_other(context, "/account")
    password, user_id = form.get("new_password", ""), visitor.user.id
    problem = await context.password_policy.complaint(password, visitor.user)
    if problem is not None:
        return _password_page(context, request, visitor, error=problem)
    if form.get("repeated") != password:
        return _password_page(context, request, visitor, repeat_error=Text("The two are not the same."))
    password_hash = await hashed(context, password)
    now, feed = context.now(), context.feed
    async with transaction(context.database) as session:
        entries = await credentials.take_handed_over(session, user_id, limits=context.limits, feed=feed, now=now)
        version = await store.put_password(session, user_id, password_hash, now)
        if version > 1:
            entries.append(await credentials.end_proofs(session, user_id, version - 1, feed=feed, now=now))
        await credentials.forget_links(session, user_id, now)
        credentials.announce(session, user_id, "password", now)
        await throttle.forget(session, context.limits.account, user_id)
        await notices.tell(context, session, visitor.user, "password")
        if "end_others" in form:
            await store.forget_devices(session, user_id)
            entries += await account.end_places(context, session, visitor)
            entries += await consent.end_grants(
                session, user_id, client_id=None, reason="credential.changed", feed=feed, now=now
            )
    await feed.settle(entries)
    log.info("password.changed", user_id=user_id, ended=len(entries))
    return see_other(context, "/account?done=password")


async def show_own_authenticator(context: Context, request: Request, visitor: Visitor) -> Response:
    """The authenticator app as it is, or what a new one has to know."""
    return await _authenticator_page(context, request, visitor)


async def change_own_authenticator(context: Context, request: Request, visitor: Visitor, form: Params) -> Response:
    """What the pressed button says."""
    match form.get("choice"):
        case None:
            return await _confirm(context, request, visitor, form)
        case "codes":
            return await _renew_codes(context, request, visitor)
        case "remove":
            return await _remove(context, visitor)
        case _:
            return see_other(context, "/account")


def _password_page(
    context: Context, request: Request, visitor: Visitor, error: str | None = None, repeat_error: str | None = None
) -> Response:
    return visitors.render(
        context,
        request,
        visitor,
        "account_password.html",
        _PASSWORD,
        status=400 if error or repeat_error else 200,
        scripts=True,
        action=_PASSWORD,
        error=error,
        repeat_error=repeat_error,
        min_length=context.settings.password_min_length,
    )


async def _authenticator_page(
    context: Context, request: Request, visitor: Visitor, refused: WrongCode | None = None
) -> Response:
    user = visitor.user
    enrolment = await factors.enrolment(context, user.id, user.username)
    async with transaction(context.database) as session:
        codes_left = await factor_store.count_recovery_codes(session, user.id)
    wait = refused.wait if refused is not None else timedelta(0)
    return visitors.render(
        context,
        request,
        visitor,
        "account_authenticator.html",
        _AUTHENTICATOR,
        status=200 if refused is None else 429 if wait else 400,
        headers=retry_after(wait),
        action=_AUTHENTICATOR,
        error=None if refused is None else wait_for(wait) if wait else _WRONG,
        enrolment=enrolment,
        qr=qr_code(enrolment.uri) if enrolment is not None else None,
        codes_left=codes_left,
        refused_at=context.now().astimezone(visitors.zone_of(user)) if refused is not None and not wait else None,
    )


async def _confirm(context: Context, request: Request, visitor: Visitor, form: Params) -> Response:
    """The authenticator counts from now on, and for this session, too."""
    address = address_of(context, request)
    codes = await factors.confirm(context, request, visitor.user, form.get("otp", ""), address=address)
    if isinstance(codes, WrongCode):
        return await _authenticator_page(context, request, visitor, codes)
    async with transaction(context.database) as session:
        stepped = await sessions.step_up(session, visitor.session, factors.AMR, now=context.now())
    secret = visitor.secret if stepped is None else stepped[1]
    response = _codes_page(context, request, visitor, codes, "authenticator")
    context.cookies.set_session(response, secret)
    return response


async def _renew_codes(context: Context, request: Request, visitor: Visitor) -> Response:
    async with transaction(context.database) as session:
        if not await factor_store.has_factor(session, visitor.user.id):
            return see_other(context, _AUTHENTICATOR)
        codes = await factors.renew_recovery_codes(session, visitor.user.id, context.now())
        await notices.tell(context, session, visitor.user, "recovery_codes")
    log.info("recovery_codes.renewed", user_id=visitor.user.id)
    return _codes_page(context, request, visitor, codes, "codes")


async def _remove(context: Context, visitor: Visitor) -> Response:
    async with transaction(context.database) as session:
        is_removed = await factors.remove(session, visitor.user.id, context.now())
        await notices.tell(context, session, visitor.user, "totp")
    log.info("factor.removed", user_id=visitor.user.id, was_there=is_removed)
    return see_other(context, "/account?done=removed")


def _codes_page(context: Context, request: Request, visitor: Visitor, codes: tuple[str, ...], done: str) -> Response:
    leave = f"/account?done={done}"
    return visitors.render(context, request, visitor, "account_codes.html", _AUTHENTICATOR, codes=codes, leave=leave)
