"""`/login/forgotten`, `/login/reset`: a new password by way of the address at which the person is known.

Whoever asks learns nothing: known and unknown names get the same answer, after the same time. The link is a hand-over
of this service to itself: stored as a hash, good once and for half an hour, and a new one makes the old ones worthless.
So does what ends everything of the person: a link that was asked for before that may be somebody else's.
"""

from datetime import datetime, timedelta
from time import monotonic
from typing import Final

import structlog
from fastapi import APIRouter, Request, Response

from watchword_authz import break_glass, credentials, flows, notices, throttle
from watchword_authz.context import Context
from watchword_authz.identifiers import identify
from watchword_authz.models import Flow
from watchword_authz.passwords import current_credential, find_user
from watchword_authz.routes.edge import address_of, even_out, hashed, limit_beginnings
from watchword_authz.steps import see_other
from watchword_database import bus
from watchword_database.engine import Session, transaction
from watchword_events.exports import UserExport
from watchword_events.handovers import ResetPassword
from watchword_web.addresses import address_prefix
from watchword_web.csrf import same_origin
from watchword_web.errors import PageError
from watchword_web.forms import Params, read_form, read_query
from watchword_web.texts import Text

log = structlog.get_logger()

_PAGE: Final = "forgotten"
_LIFE: Final = timedelta(minutes=30)
_MAX_NAME: Final = 254


def router(context: Context) -> APIRouter:
    """Asking for a link, and what it leads to."""
    api = APIRouter(tags=["sign-in"])

    @api.get("/login/forgotten", summary="Where somebody asks for a new password")
    async def show_forgotten(request: Request) -> Response:
        if "flow" not in read_query(request) or not context.settings.local_passwords:
            return see_other(context, "/login")
        flow, secret = await _flow(context, request)
        return context.pages.render(
            request,
            "forgotten.html",
            action=f"/login/forgotten?flow={flow.id}",
            back=f"/login?flow={flow.id}",
            csrf=flows.csrf_of(context, _PAGE, flow, secret),
            are_sent=context.mails.are_sent,
        )

    @api.post("/login/forgotten", summary="Ask for a link by mail with which to choose a new password")
    async def ask_for_reset(request: Request) -> Response:
        begun = monotonic()
        limit_beginnings(context, request)
        if not context.settings.local_passwords:
            return see_other(context, "/login")
        flow, secret = await _flow(context, request)
        form = await read_form(request)
        flows.check_form(context, request, form, _PAGE, flow, secret)
        await _ask(context, request, form.get("username", "")[:_MAX_NAME])
        await even_out(context, begun)
        return context.pages.render(
            request,
            "message.html",
            title=Text("Look into your mail"),
            message=Text(
                "If there is an account with this name, and an address that is known to be its own, a mail with a "
                "link is on its way there. The link works once, for half an hour."
            ),
            kind="info",
            action={"label": Text("Back to the sign-in"), "href": f"/login?flow={flow.id}", "id": "back"},
        )

    @api.get("/login/reset", summary="Where the link of a mail leads: choose a new password")
    async def show_reset(request: Request) -> Response:
        ticket = read_query(request).get("ticket", "")
        user = await _whose(context, ticket)
        return await _page(context, request, ticket, user)

    @api.post("/login/reset", summary="Choose a new password by the link of a mail")
    async def reset_password(request: Request) -> Response:
        form = await read_form(request)
        if not same_origin(request, context.settings):
            raise PageError("form_not_ours", "This form cannot be accepted", "Open the link of the mail again.", 403)
        return await _reset(context, request, form)

    return api


async def _flow(context: Context, request: Request) -> tuple[Flow, str]:
    return await flows.open_flow(context, request, read_query(request).get("flow"))


async def _ask(context: Context, request: Request, typed: str) -> None:
    """A mail is on its way, where the name is that of somebody with a password and a verified address."""
    rev, now, limits = context.feed.position, context.now(), context.limits
    subject = address_prefix(address_of(context, request))
    async with transaction(context.database) as session:
        attempt = await throttle.claim_attempts(session, ((limits.mails_by_address, subject),), now)
    identifier = identify(typed)
    user = await find_user(context, identifier) if attempt.allowed else None
    credential = await current_credential(context, user, now)
    async with transaction(context.database) as session:
        claims = ((limits.mails, user.id if user is not None else typed),)
        attempt = await throttle.claim_attempts(session, claims, now)
        may_be_sent = user is not None and user.active and user.email_verified and attempt.allowed
        if user is None or credential is None or not may_be_sent:
            log.info("password.reset_not_sent", user_id=user.id if user is not None else None)
            return
        language = user.locale or context.pages.language_of(request)
        await _send(context, session, user, now, rev=rev, language=language)
    context.mails.look()
    log.info("password.reset_sent", user_id=user.id)


async def _send(
    context: Context, session: Session, user: UserExport, now: datetime, *, rev: int, language: str
) -> None:
    """The link, after which those that were sent before lead nowhere."""
    ticket = await break_glass.way_in(session, user.id, rev=rev, now=now, email=user.email, ttl=_LIFE)
    link = f"{context.settings.public_url}/login/reset?ticket={ticket}"
    paragraphs = [
        Text("Somebody, perhaps you, asked for a new password for the account %(username)s.", username=user.username),
        Text("Choose one within half an hour:\n%(link)s", link=link),
        Text("If it was not you, do nothing: your password stays as it is."),
    ]
    words = context.pages.words(language)
    await context.mails.write(session, user.email or "", Text("Choose a new password"), paragraphs, words=words)


async def _whose(context: Context, ticket: str) -> UserExport:
    """Whose password the link is for, as long as it is good. Raises PageError."""
    context.feed.require()
    now = context.now()
    async with transaction(context.database) as session:
        seen = await bus.peek(session, ResetPassword, ticket)
    user = await context.users.get(seen.payload.user_id) if seen is not None else None
    if (
        not context.settings.local_passwords
        or seen is None
        or seen.taken_at is not None
        or seen.expires_at <= now
        or user is None
        or not user.active
        or not break_glass.is_good(seen, user, context.feed)
    ):
        raise _worthless()
    return user


async def _page(
    context: Context,
    request: Request,
    ticket: str,
    user: UserExport,
    error: str | None = None,
    repeat_error: str | None = None,
) -> Response:
    return context.pages.render(
        request,
        "reset.html",
        status=400 if error or repeat_error else 200,
        scripts=True,
        ticket=ticket,
        user=user,
        is_first=await current_credential(context, user, context.now()) is None,
        error=error,
        repeat_error=repeat_error,
        min_length=context.settings.password_min_length,
    )


async def _reset(context: Context, request: Request, form: Params) -> Response:
    """The new password stands, the link is used up, and everything that came of the old one ends (ADR 6)."""
    ticket, password = form.get("ticket", ""), form.get("new_password", "")
    user = await _whose(context, ticket)
    problem = await context.password_policy.complaint(password, user)
    if problem is not None:
        return await _page(context, request, ticket, user, error=problem)
    if form.get("repeated") != password:
        return await _page(context, request, ticket, user, repeat_error=Text("The two are not the same."))
    is_first = await current_credential(context, user, context.now()) is None
    password_hash = await hashed(context, password)
    now, feed = context.now(), context.feed
    async with transaction(context.database) as session:
        taken = await bus.take(session, ResetPassword, ticket, now=now)
        if taken is None or not break_glass.is_good(taken, user, feed):
            raise _worthless()
        entries = await credentials.take_handed_over(session, user.id, limits=context.limits, feed=feed, now=now)
        entries += await credentials.replace(session, user.id, password_hash, limits=context.limits, feed=feed, now=now)
        await notices.tell(context, session, user, "password")
    await feed.settle(entries)
    context.mails.look()
    log.info("password.reset", user_id=user.id, ended=len(entries))
    return context.pages.render(
        request,
        "message.html",
        title=Text("Your password is set") if is_first else Text("Your password was changed"),
        message=Text("You can sign in with it now.")
        if is_first
        else Text("Everything that you were signed in to with the old one has ended. Sign in with the new one now."),
        action={"label": Text("Sign in"), "href": "/login", "id": "sign-in-again"},
    )


def _worthless() -> PageError:
    return PageError(
        "link_over",
        "This link leads nowhere any more",
        "It was used, a newer one was sent, or half an hour is over. Ask for a new one at the sign-in page.",
    )
