"""`/account/email`: the address of a person, and the links by mail that prove one. `directory` owns it."""

from datetime import timedelta
from typing import Final

import structlog
from fastapi import APIRouter, Request, Response

from watchword_authz import own_calls, throttle
from watchword_authz.account import Visitor
from watchword_authz.context import Context
from watchword_authz.identifiers import identify
from watchword_authz.routes import visitors
from watchword_authz.routes.account_profile import OwnAccount
from watchword_authz.routes.visitors import AccountPages
from watchword_authz.steps import see_other
from watchword_database import bus
from watchword_database.engine import transaction
from watchword_events.handovers import ChangeEmail, EmailProved
from watchword_runtime.calls import Refused
from watchword_web.errors import PageError
from watchword_web.forms import Params, read_query
from watchword_web.texts import Text

log = structlog.get_logger()

_PATH: Final = "/account/email"
_VERIFY: Final = "/account/email/verify"
_CONFIRM: Final = "/account/email/confirm"
_LIFE: Final = timedelta(minutes=30)
_MAX: Final = 256
_NO_ADDRESS: Final = Text("This is no address.")
_TOO_MANY: Final = Text("Too many mails were asked for. Try again later.")


def router(context: Context) -> APIRouter:
    """The address, the way to another one, and the proof of either."""
    api = APIRouter(tags=["account"])
    pages = AccountPages(api, context)
    pages.show(_PATH, show_own_email, summary="A person's e-mail address", is_guarded=True)
    pages.take(_PATH, ask_for_own_email, summary="Ask for a mail to another address", is_guarded=True)
    pages.take(
        _VERIFY, ask_to_verify, summary="Ask for a mail that verifies the own address", page=_PATH, is_guarded=True
    )
    pages.show(_CONFIRM, show_email_link, summary="Where the link of such a mail leads", is_guarded=True)
    pages.take(_CONFIRM, confirm_own_email, summary="Take the address over, or verify it", is_guarded=True)
    return api


async def show_own_email(context: Context, request: Request, visitor: Visitor) -> Response:
    """The address, and the form for another one."""
    return await _email_page(context, request, visitor)


async def ask_for_own_email(context: Context, request: Request, visitor: Visitor, form: Params) -> Response:
    """A mail with a link is on its way to the new address; the old one stays until the link is followed.

    Nothing tells whether somebody else has the address: who reads its mail learns it then.
    """
    identifier = identify(form.get("email", "")[:_MAX])
    if identifier is None or identifier.column != "email":
        return await _email_page(context, request, visitor, typed=form.get("email", ""), error=_NO_ADDRESS)
    return await _mail(context, request, visitor, ChangeEmail(user_id=visitor.user.id, email=identifier.value))


async def ask_to_verify(context: Context, request: Request, visitor: Visitor, _form: Params) -> Response:
    """A mail with a link is on its way to the address that the person has, which nobody has proved yet."""
    own = await own_calls.read(context, visitor, "account", OwnAccount)
    if own.email is None or own.email_verified:
        return see_other(context, _PATH)
    asked = ChangeEmail(user_id=visitor.user.id, email=own.email, current=True)
    return await _mail(context, request, visitor, asked)


async def _mail(context: Context, request: Request, visitor: Visitor, asked: ChangeEmail) -> Response:
    """The page, once the mail is on its way; older links lead nowhere any more."""
    now, flow = context.now(), f"email:{visitor.user.id}"
    async with transaction(context.database) as session:
        attempt = await throttle.claim_attempts(session, ((context.limits.mails, visitor.user.id),), now)
    if not attempt.allowed:
        return await _email_page(context, request, visitor, error=_TOO_MANY)
    async with transaction(context.database) as session:
        await bus.take_flow(session, ChangeEmail, flow=flow, now=now)
        ticket = await bus.hand_over(session, asked, flow=flow, now=now, ttl=_LIFE)
        link = f"{context.settings.public_url}{_CONFIRM}?ticket={ticket}"
        paragraphs = [
            _reason(asked, visitor.user.username),
            Text(
                "If that is right, open this within half an hour, in the browser where you are signed in:\n%(link)s",
                link=link,
            ),
            Text("If it was not you, do nothing."),
        ]
        words = context.pages.words(context.pages.language_of(request))
        await context.mails.write(session, asked.email, Text("Is this your address?"), paragraphs, words=words)
    context.mails.look()
    log.info("account.email_asked", user_id=visitor.user.id, current=asked.current)
    return await _email_page(context, request, visitor, asked=asked)


def _reason(asked: ChangeEmail, username: str) -> Text:
    """What the mail is about."""
    if asked.current:
        return Text(
            "Somebody, perhaps you, says that this is the address of the account %(username)s.", username=username
        )
    return Text("Somebody, perhaps you, wants this to be the address of the account %(username)s.", username=username)


async def show_email_link(context: Context, request: Request, visitor: Visitor) -> Response:
    """The address that the link is about, with a button: a mail program that looks at links proves nothing."""
    ticket = read_query(request).get("ticket", "")
    asked = await _asked_by(context, visitor, ticket)
    return visitors.render(
        context, request, visitor, "account_email_confirm.html", _CONFIRM, ticket=ticket, asked=asked
    )


async def confirm_own_email(context: Context, request: Request, visitor: Visitor, form: Params) -> Response:
    """The address is the person's, and one that was before is told. The link is used up."""
    ticket, now = form.get("ticket", ""), context.now()
    await _asked_by(context, visitor, ticket)
    async with transaction(context.database) as session:
        taken = await bus.take(session, ChangeEmail, ticket, now=now)
        if taken is None:
            raise _worthless()
        asked = taken.payload
        proved = EmailProved(user_id=visitor.user.id, email=asked.email, current=asked.current)
        handed_on = await bus.hand_over(session, proved, flow=f"email:{visitor.user.id}", now=now)
    try:
        await own_calls.send(context, visitor, "PUT", "email", {"ticket": handed_on})
    except Refused as refused:
        return await _email_page(context, request, visitor, error=_told(refused, asked))
    if not asked.current:
        await _tell_old_address(context, visitor)
    log.info("account.email_verified" if asked.current else "account.email_changed", user_id=visitor.user.id)
    return see_other(context, f"{_PATH}?done={'email-verified' if asked.current else 'email'}")


async def _tell_old_address(context: Context, visitor: Visitor) -> None:
    user = visitor.user
    if user.email is None or not user.email_verified:
        return
    paragraphs = [
        Text("The account %(username)s has another e-mail address from now on.", username=user.username),
        Text("If it was not you, tell the people who run this service at once."),
    ]
    words = context.pages.words(user.locale)
    async with transaction(context.database) as session:
        await context.mails.write(session, user.email, Text("Your account"), paragraphs, words=words)
    context.mails.look()


async def _asked_by(context: Context, visitor: Visitor, ticket: str) -> ChangeEmail:
    """What a link is about. Raises PageError where it is over, or another person's."""
    async with transaction(context.database) as session:
        seen = await bus.peek(session, ChangeEmail, ticket)
    is_good = seen is not None and seen.taken_at is None and seen.expires_at > context.now()
    if seen is None or not is_good or seen.payload.user_id != visitor.user.id:
        raise _worthless()
    return seen.payload


def _told(refused: Refused, asked: ChangeEmail) -> Text:
    if "email" in refused.errors:
        return Text("Somebody else has this address here already.")
    if asked.current:
        return Text("Your address was changed after the mail was sent. Nothing was verified.")
    return Text("This address cannot be yours here. Nothing was changed.")


def _worthless() -> PageError:
    return PageError(
        "link_over",
        "This link leads nowhere",
        "It was used, a newer one was sent, half an hour is over, or it is for another account than the one that is "
        "signed in here.",
        retry=_PATH,
    )


async def _email_page(
    context: Context,
    request: Request,
    visitor: Visitor,
    *,
    typed: str = "",
    error: Text | None = None,
    asked: ChangeEmail | None = None,
) -> Response:
    own = await own_calls.read(context, visitor, "account", OwnAccount)
    return visitors.render(
        context,
        request,
        visitor,
        "account_email.html",
        _PATH,
        status=400 if error else 200,
        own=own,
        typed=typed,
        error=error,
        asked=asked,
        are_sent=context.mails.are_sent,
    )
