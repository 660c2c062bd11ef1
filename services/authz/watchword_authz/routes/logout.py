"""`/oauth2/logout`: ends the session of this browser, and with it everything that descends from it."""

from typing import Final
from urllib.parse import urlencode

import structlog
from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from watchword_authz import flows, logout, sessions
from watchword_authz.context import Context
from watchword_authz.models import EndReason, UserSession
from watchword_authz.steps import see_other
from watchword_database.engine import transaction
from watchword_web.csrf import check_form_token, form_token, same_origin
from watchword_web.errors import PageError
from watchword_web.forms import Params, read_form, read_query

log = structlog.get_logger()

_PAGE: Final = "logout"


def router(context: Context) -> APIRouter:
    """The end-session endpoint. Spec: OpenID Connect RP-Initiated Logout 1.0 2."""
    api = APIRouter(tags=["sign-in"])

    @api.get("/oauth2/logout", summary="Sign out")
    async def start_sign_out(request: Request) -> Response:
        asked = await _read(context, read_query(request))
        secret = context.cookies.read_session(request)
        session = await _session(context, secret)
        if session is None or secret is None:
            return _signed_out(context, request, asked, is_certain=asked.hint is not None)
        if logout.may_end_now(asked, session):
            await _end(context, session)
            return _signed_out(context, request, asked)
        return await _ask(context, request, asked, session, secret)

    @api.post("/oauth2/logout", summary="Sign out, from a form", name="sign_out")
    async def sign_out(request: Request) -> Response:
        form = await read_form(request)
        if "csrf" not in form:
            # RP-Initiated Logout 1.0 2: applications may POST, too. Our cookies (Lax) do not come with a form of
            # another site; they do with the GET that this answer leads to.
            params = {name: form[name] for name in logout.PARAMETERS if name in form}
            return see_other(context, f"/oauth2/logout?{urlencode(params)}")
        asked = await _read(context, form)
        secret = context.cookies.read_session(request)
        session = await _session(context, secret)
        if session is None or secret is None:
            return _signed_out(context, request, asked)
        if not same_origin(request, context.settings) or not check_form_token(
            context.forms_key, form["csrf"], _PAGE, secret
        ):
            raise PageError(
                "form_not_ours", "This form cannot be accepted", "Go back, load the page again and sign out there.", 403
            )
        await _end(context, session)
        return _signed_out(context, request, asked)

    return api


async def _read(context: Context, params: Params) -> logout.LogoutRequest:
    hint = await context.hints.verify(params["id_token_hint"]) if "id_token_hint" in params else None
    client_id = logout.named_client(params, hint)
    client = await context.clients.get(client_id) if client_id else None
    return logout.check(params, client, hint)


async def _session(context: Context, secret: str | None) -> UserSession | None:
    flows.require_ledger(context)
    async with transaction(context.database) as session:
        return await sessions.find_live(session, secret, feed=context.feed, now=context.now())


async def _end(context: Context, row: UserSession) -> None:
    """The session is over here before the answer leaves, and everywhere else within milliseconds."""
    async with transaction(context.database) as session:
        entries = await sessions.end(session, [row.id], EndReason.SIGN_OUT, feed=context.feed, now=context.now())
    await context.feed.settle(entries)
    log.info("session.ended", sid=row.id, user_id=row.user_id, reason=EndReason.SIGN_OUT.value)


def _signed_out(
    context: Context, request: Request, asked: logout.LogoutRequest, *, is_certain: bool = True
) -> Response:
    """Back to the application, or a page that says that it is done.

    is_certain: somebody who may ask for it asked (a genuine hint, or the person); without that nobody is redirected.
    """
    response: Response
    if asked.target is not None and is_certain:
        response = RedirectResponse(asked.target, 303)
    else:
        name = asked.client.client_name if asked.client is not None and asked.target is not None else None
        response = context.pages.render(request, "signed_out.html", target=asked.target, client_name=name)
    context.cookies.drop_session(response)
    return response


async def _ask(
    context: Context, request: Request, asked: logout.LogoutRequest, session: UserSession, secret: str
) -> Response:
    fields = {
        "client_id": asked.client.client_id if asked.client is not None else None,
        "post_logout_redirect_uri": asked.return_to,
        "state": asked.state,
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
