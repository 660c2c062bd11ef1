"""`/oauth2/logout`: ends the session of this browser, and with it everything that descends from it."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote, urlencode

import structlog
from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from watchword_authz import logout, sessions, store
from watchword_authz.context import Context
from watchword_authz.hints import Hint
from watchword_authz.models import EndReason, UserSession
from watchword_authz.steps import see_other
from watchword_database import bus
from watchword_database.engine import transaction
from watchword_events.handovers import UpstreamLogout
from watchword_runtime.internal import Unreachable
from watchword_web import languages
from watchword_web.csrf import check_form_token, form_token, same_origin
from watchword_web.errors import PageError
from watchword_web.forms import Params, read_form, read_query

log = structlog.get_logger()

_PAGE: Final = "logout"
_FRAMES_LOAD_S: Final = 5
_LONGEST_LOCALES: Final = 200
_MOST_FRAMES: Final = 32  # a browser loads each; a person opens a handful of applications


def router(context: Context) -> APIRouter:
    """The end-session endpoint. Spec: OpenID Connect RP-Initiated Logout 1.0 2."""
    api = APIRouter(tags=["sign-in"])

    @api.get("/oauth2/logout", summary="Sign out")
    async def start_sign_out(request: Request) -> Response:
        asked = await _read(context, request, read_query(request))
        secret = context.cookies.read_session(request)
        session = await _session(context, secret)
        if session is None or secret is None:
            return _signed_out(context, request, asked, is_certain=asked.hint is not None)
        if logout.may_end_now(asked, session):
            frames = await _end(context, session)
            return await _signed_out_everywhere(context, request, asked, session, frames)
        return await _ask(context, request, asked, session, secret)

    @api.post("/oauth2/logout", summary="Sign out, from a form", name="sign_out")
    async def sign_out(request: Request) -> Response:
        form = await read_form(request)
        secret = context.cookies.read_session(request)
        if "csrf" not in form or secret is None:
            # RP-Initiated Logout 1.0 2: applications may POST, too. Our cookies (Lax) do not come with a form of
            # another site, whatever stands in it; they do with the GET that this answer leads to.
            params = {name: form[name] for name in logout.PARAMETERS if name in form}
            return see_other(context, f"/oauth2/logout?{urlencode(params)}")
        asked = await _read(context, request, form)
        session = await _session(context, secret)
        if session is None:
            return _signed_out(context, request, asked)
        if not same_origin(request, context.settings) or not check_form_token(
            context.forms_key, form["csrf"], _PAGE, secret
        ):
            raise PageError(
                "form_not_ours", "This form cannot be accepted", "Go back, load the page again and sign out there.", 403
            )
        frames = await _end(context, session)
        return await _signed_out_everywhere(context, request, asked, session, frames)

    return api


async def _read(context: Context, request: Request, params: Params) -> logout.LogoutRequest:
    languages.prefer(request.scope, asked=params.get("ui_locales", "")[:_LONGEST_LOCALES].split())
    hint = await _hint_in(context, params)
    client_id = logout.named_client(params, hint)
    client = await context.clients.get(client_id) if client_id else None
    return logout.check(params, client, hint)


async def _hint_in(context: Context, params: Params) -> Hint | None:
    """What the hint says; nothing while the keys cannot be had: then the person is asked, and can sign out."""
    try:
        return await context.hints.verify(params["id_token_hint"]) if "id_token_hint" in params else None
    except Unreachable:
        log.warning("sign_out.hint_not_read")
        return None


async def _session(context: Context, secret: str | None) -> UserSession | None:
    context.feed.require()
    return await sessions.find_open(context.database, secret, now=context.now())


async def _end(context: Context, row: UserSession) -> list[str]:
    """The session is over here before the answer leaves, and everywhere else within milliseconds.

    Returns the pages of applications that have to be shown in frames, so that they end theirs.
    """
    async with transaction(context.database) as session:
        client_ids = await store.clients_of(session, row.user_id, row.id)
        entries = await sessions.end(session, [row.id], EndReason.SIGN_OUT, feed=context.feed, now=context.now())
    await context.feed.settle(entries)
    reason = EndReason.SIGN_OUT.value
    log.info("session.ended", sid=row.id, user_id=row.user_id, reason=reason)
    context.audit.note("session.ended", user_id=row.user_id, sid=row.id, reason=reason)
    frames = []
    for client_id in client_ids[:_MOST_FRAMES]:
        client = await context.clients.get(client_id)
        frame = None if client is None else logout.frame_of(client, issuer=context.settings.issuer, sid=row.id)
        frames += [] if frame is None else [frame]
    return frames


def _signed_out(
    context: Context,
    request: Request,
    asked: logout.LogoutRequest,
    *,
    frames: Sequence[str] = (),
    is_certain: bool = True,
) -> Response:
    """Back to the application, or a page that says that it is done.

    frames: pages of applications that end their sessions; then the page is shown in any case, and goes on by itself.
    is_certain: somebody who may ask for it asked (a genuine hint, or the person); without that nobody is redirected.
    Spec: OpenID Connect RP-Initiated Logout 1.0 3; OpenID Connect Front-Channel Logout 1.0 3.
    """
    response: Response
    goes_on = asked.target is not None and is_certain
    if asked.target is not None and is_certain and not frames:
        response = RedirectResponse(asked.target, 303)
    else:
        name = asked.client.client_name if asked.client is not None and asked.target is not None else None
        response = context.pages.render(
            request,
            "signed_out.html",
            frames=frames,
            scripts=goes_on,
            headers=_going_on_to(asked.target, frames) if asked.target is not None and is_certain else None,
            target=asked.target,
            client_name=name,
            told=frames,
            goes_on=goes_on,
        )
    context.cookies.drop_session(response)
    return response


def _going_on_to(url: str, frames: Sequence[str]) -> dict[str, str]:
    """The header with which a page goes on by itself; frames get time to load, where no script waits for them."""
    return {"Refresh": f"{_FRAMES_LOAD_S if frames else 0}; url={url}"}


async def _signed_out_everywhere(
    context: Context, request: Request, asked: logout.LogoutRequest, ended: UserSession, frames: Sequence[str]
) -> Response:
    """As `_signed_out`, by way of the provider where the session came from one that ends sessions, too."""
    provider = await context.providers.get(ended.provider_id) if ended.provider_id is not None else None
    if provider is None or ended.upstream_session is None:
        return _signed_out(context, request, asked, frames=frames)
    payload = UpstreamLogout(provider_id=provider.id, upstream_session=ended.upstream_session, return_to=asked.target)
    async with transaction(context.database) as session:
        ticket = await bus.hand_over(session, payload, flow=f"logout:{ended.id}", now=context.now())
    path = f"/api/auth/sso/logout/{quote(provider.id, safe='')}?ticket={ticket}"
    response: Response
    if request.method == "GET" and not frames:
        response = see_other(context, path)
    else:
        # A redirect after a form is bound by the page's form-action, which cannot name every provider's address;
        # a page that goes on by itself is a new navigation.
        response = context.pages.render(
            request,
            "signing_out.html",
            headers=_going_on_to(context.pages.url(path), frames),
            frames=frames,
            scripts=bool(frames),
            provider=provider.display_name,
            path=path,
            told=frames,
        )
    context.cookies.drop_session(response)
    return response


async def _ask(
    context: Context, request: Request, asked: logout.LogoutRequest, session: UserSession, secret: str
) -> Response:
    fields = {
        "client_id": asked.client.client_id if asked.client is not None else None,
        "post_logout_redirect_uri": asked.return_to,
        "state": asked.state,
        "ui_locales": read_query(request).get("ui_locales"),
    }
    return context.pages.render(
        request,
        "logout.html",
        form_action=[asked.return_to] if asked.return_to is not None else [],
        csrf=form_token(context.forms_key, _PAGE, secret),
        fields={name: value for name, value in fields.items() if value is not None},
        user=await context.users.get(session.user_id),
        client=asked.client,
    )
