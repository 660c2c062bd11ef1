"""What every page of a person's own account begins with: who it is, and how recently they proved it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Final
from urllib.parse import urlencode
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fastapi import APIRouter, Request, Response

from watchword_authz import flows, sessions
from watchword_authz.account import Visitor
from watchword_authz.context import Context
from watchword_authz.routes.edge import address_of, limit_beginnings
from watchword_authz.steps import find_person, see_other
from watchword_database.audit import Origin, acting_for
from watchword_database.engine import transaction
from watchword_events.exports import UserExport
from watchword_runtime.callers import ACCOUNT
from watchword_runtime.calls import SessionOver
from watchword_web import languages
from watchword_web.csrf import check_form_token, form_token, same_origin
from watchword_web.errors import PageError
from watchword_web.forms import Params, read_form, read_query
from watchword_web.references import reference_of
from watchword_web.texts import Text

_MAX_USER_AGENT: Final = 200
# What a change says once it is done.
DONE: Final = {
    "password": Text("Your password was changed."),
    "authenticator": Text("Your authenticator app is set up."),
    "removed": Text("Your authenticator app was removed."),
    "passkey": Text("Your passkey is ready: you can sign in with it."),
    "passkey-removed": Text("The passkey was removed. Delete it on your device, too."),
    "codes": Text("You have new recovery codes."),
    "signed-out": Text("Done. Nobody is signed in there any more."),
    "forgotten": Text("Done. A code is asked for there again."),
    "withdrawn": Text("Done. The application cannot use your account any more."),
    "profile": Text("Your profile was changed."),
    "email": Text("This is your e-mail address now."),
    "email-verified": Text("Your address is verified."),
    "linked": Text("Done. You can sign in through this provider from now on."),
    "unlinked": Text("Done. Nobody can sign in as you through this provider any more."),
    "key-revoked": Text("Done. The key, and everything that was issued with it, is worthless."),
}

Shown = Callable[[Context, Request, Visitor], Awaitable[Response]]
Taken = Callable[[Context, Request, Visitor, Params], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class AccountPages:
    """The pages of the account: nobody comes in who is not signed in, and no form that is not ours.

    What is guarded changes how somebody signs in, or what is theirs: only right after a sign-in.
    """

    api: APIRouter
    context: Context

    def show(self, path: str, shown: Shown, *, summary: str, is_guarded: bool = False) -> None:
        """`GET` of a page."""

        async def endpoint(request: Request) -> Response:
            visitor = await find_visitor(self.context, request)
            if visitor is None:
                return _sign_in_first(self.context)
            if is_guarded and not visitor.is_recent:
                return await _prove_again(self.context, request, path)
            return await self._answered(shown(self.context, request, visitor))

        self.api.add_api_route(path, endpoint, methods=["GET"], summary=summary, name=shown.__name__)

    def take(self, path: str, taken: Taken, *, summary: str, page: str | None = None, is_guarded: bool = False) -> None:
        """`POST` of a form. page: where the form stands, when that is elsewhere."""

        async def endpoint(request: Request) -> Response:
            visitor = await find_visitor(self.context, request)
            if visitor is None:
                return _sign_in_first(self.context)
            form = await read_form(request)
            _check_form(self.context, request, form, page or path, visitor)
            if is_guarded and not visitor.is_recent:
                return await _prove_again(self.context, request, page or path)
            _act(self.context, request, visitor)
            return await self._answered(taken(self.context, request, visitor, form))

        self.api.add_api_route(path, endpoint, methods=["POST"], summary=summary, name=taken.__name__)

    async def _answered(self, answer: Awaitable[Response]) -> Response:
        try:
            return await answer
        except SessionOver:
            return _sign_in_first(self.context)


async def find_visitor(context: Context, request: Request) -> Visitor | None:
    """Who is signed in in this browser. Raises FeedAway (503) while nobody can know who was signed out."""
    context.feed.require()
    rev = context.feed.position
    secret, now = context.cookies.read_session(request), context.now()
    person = await find_person(context, secret, now)
    if person is None or secret is None or person.is_short:
        return None
    languages.prefer(request.scope, of_person=person.user.locale)
    row = person.session
    async with transaction(context.database) as session:
        await sessions.note_use(session, row, lifetimes=context.lifetimes, now=now)
    is_recent = not person.has_factor and now - row.auth_time < context.settings.recent_sign_in
    return Visitor(row, person.user, secret, is_recent, rev)


def render(
    context: Context,
    request: Request,
    visitor: Visitor,
    template: str,
    page: str,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    scripts: bool = False,
    **shown: object,
) -> Response:
    """A page of the account. page: the path that its forms are bound to, and which the navigation marks.

    shown: what the template shows; `done` names in the address what was done a moment ago.
    """
    zone = zone_of(visitor.user)
    return context.pages.render(
        request,
        template,
        status=status,
        form_action=(),
        frames=(),
        headers=headers,
        scripts=scripts,
        user=visitor.user,
        room=page,
        csrf=_csrf_of(context, page, visitor),
        done=DONE.get(read_query(request).get("done", "")),
        local=lambda at: at.astimezone(zone),
        **shown,
    )


def zone_of(user: UserExport) -> tzinfo:
    """Where the person's clock stands, as far as they said so."""
    return find_zone(str(user.claims.get("zoneinfo") or "UTC")) or UTC


def find_zone(name: str) -> tzinfo | None:
    """The time zone of this name; None where there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def _csrf_of(context: Context, page: str, visitor: Visitor) -> str:
    """The form token of one page in one session."""
    return form_token(context.forms_key, "account", page, visitor.secret)


def _sign_in_first(context: Context) -> Response:
    """To the sign-in page, and back to the account."""
    return see_other(context, "/login?return_to=/account")


async def _prove_again(context: Context, request: Request, path: str) -> Response:
    """Through a new sign-in back to the page at `path`, which changes a credential.

    Raises PageError where that has just been done and a provider answered without asking the person.
    """
    if "again" in read_query(request):
        raise PageError(
            "sign_in_too_old",
            "This needs a new sign-in",
            "Your identity provider answered without asking you again. Sign out there, or sign in with a password.",
            403,
        )
    limit_beginnings(context, request)
    asked = read_query(request) if request.method == "GET" else {}
    now, return_to = context.now(), f"{path}?{urlencode({**asked, 'again': '1'})}"
    flow, secret = flows.new_flow(context.feed.position, now, return_to=return_to, is_renewal=True)
    async with transaction(context.database) as session:
        session.add(flow)
    response = see_other(context, f"/login?flow={flow.id}")
    context.cookies.set_flow(request, response, flow.id, secret)
    return response


def _check_form(context: Context, request: Request, form: Params, page: str, visitor: Visitor) -> None:
    """The form was filled in on our own page in this session. Raises PageError."""
    token = form.get("csrf", "")
    if not same_origin(request, context.settings) or not check_form_token(
        context.forms_key, token, "account", page, visitor.secret
    ):
        raise PageError(
            "form_not_ours",
            "This form cannot be accepted",
            "It was sent from another page, or it is too old. Go back, load the page again and send it once more.",
            403,
        )


def _act(context: Context, request: Request, visitor: Visitor) -> None:
    """What this request changes is audited as the person's own, here and at the services that are called for it."""
    acting_for(
        Origin(
            actor=visitor.user.id,
            via="account",
            method=request.method,
            path=request.scope["path"],
            reference=reference_of(request.scope),
            client=ACCOUNT,
            provider=visitor.session.provider_id,
            name=visitor.user.username,
            address=address_of(context, request),
            user_agent=request.headers.get("user-agent", "")[:_MAX_USER_AGENT] or None,
        )
    )
