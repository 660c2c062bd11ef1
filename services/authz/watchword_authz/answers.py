"""The answer to an application on its way: straight there, or by way of `token`, which alone makes and signs tokens."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlencode

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from watchword_authz import device_requests
from watchword_authz.codes import Approved, issue_code
from watchword_authz.context import Context
from watchword_authz.models import Flow
from watchword_authz.requests import CODE, ID_TOKEN, TOKEN, AuthorizationRefused, AuthorizationRequest
from watchword_database import bus
from watchword_database.engine import Session
from watchword_events.handovers import Approval, AuthorizationResponse
from watchword_web.delivery import deliver
from watchword_web.errors import PageError
from watchword_web.texts import Text

_KEPT: Final = timedelta(hours=1)  # a ticket that was taken, to be recognised


@dataclass(frozen=True, slots=True)
class Answer:
    """What the application is told. ticket: for `token`, where something has to be signed first."""

    request: AuthorizationRequest
    params: dict[str, str]
    ticket: str | None = None


async def grant(
    session: Session, request: AuthorizationRequest, approved: Approved, *, issuer: str, flow: Flow, now: datetime
) -> Answer:
    """What was allowed is on its way to `token`; the answer, ready to leave when `session` has committed.

    Raises PageError when the device that asked does not wait any more.
    """
    if request.device_id is not None:
        keep = approved.keep_until - now
        is_decided = await device_requests.decide(
            session, request.device_id, flow_id=flow.id, approval=approved.approval, keep=keep, now=now
        )
        if not is_decided:
            raise PageError("device_code_expired", "This code is over", "It took too long. Begin again on the device.")
        return Answer(request, {})
    params: dict[str, str] = {}
    if CODE in request.response_type:
        params["code"] = await issue_code(session, approved, flow_id=flow.id, request=request, now=now)
    return await _prepared(session, request, params, issuer=issuer, flow=flow, now=now, approval=approved.approval)


async def refuse(session: Session, refusal: AuthorizationRefused, *, issuer: str, flow: Flow, now: datetime) -> Answer:
    """The refusal, ready to leave when `session` has committed. Spec: RFC 6749 4.1.2.1, 4.2.2.1."""
    request = refusal.request
    params = {"error": refusal.error.value, "error_description": refusal.description}
    if request.device_id is not None:
        await device_requests.decide(
            session, request.device_id, flow_id=flow.id, approval=None, keep=timedelta(0), now=now
        )
        return Answer(request, params)
    return await _prepared(session, request, params, issuer=issuer, flow=flow, now=now)


async def _prepared(
    session: Session,
    request: AuthorizationRequest,
    params: dict[str, str],
    *,
    issuer: str,
    flow: Flow,
    now: datetime,
    approval: Approval | None = None,
) -> Answer:
    """The parameters with the application's state and with who answers.

    approval: what tokens are made of, where the request asks for some. A code is not stored: it travels beside the
    ticket, which holds its hash.  Spec: RFC 6749 4.1.2; RFC 9207 2 (`iss` in every answer, errors included).
    """
    params |= {} if request.state is None else {"state": request.state}
    params["iss"] = issuer
    has_tokens = approval is not None and request.wants_tokens
    if not has_tokens and not request.response_mode.is_signed:
        return Answer(request, params)
    code = params.get("code")
    response = AuthorizationResponse(
        binding=flow.binding,
        client_id=request.client_id,
        redirect_uri=request.redirect_uri,
        way=request.response_mode.way.value,
        is_signed=request.response_mode.is_signed,
        params={name: value for name, value in params.items() if name != "code"},
        code_hash=None if code is None else bus.ticket_hash(code).hex(),
        approval=approval if has_tokens else None,
        access_token=has_tokens and TOKEN in request.response_type,
        id_token=has_tokens and ID_TOKEN in request.response_type,
        nonce=request.nonce,
    )
    # A grant that comes without a code is known by this ticket, for as long as its session may last (`codes`).
    keep = _KEPT if approval is None or not has_tokens or code is not None else approval.session_expires_at - now
    return Answer(request, params, await bus.hand_over(session, response, flow=flow.id, now=now, keep=keep))


def send(context: Context, http: Request, answer: Answer, flow: Flow, new_secret: str | None) -> Response:
    """The browser is on its way with the answer.

    new_secret: of the flow's cookie, where the browser has none yet; it needs one as far as `token`.
    """
    request = answer.request
    if answer.ticket is None:
        if request.device_id is not None:
            response = _device_page(context, http, answer.params)
        else:
            response = deliver(context.pages, http, request.response_mode.way, request.redirect_uri, answer.params)
        if new_secret is None:
            context.cookies.drop_flow(response, flow.id)
        return response
    query = {"ticket": answer.ticket} | ({"code": answer.params["code"]} if "code" in answer.params else {})
    response = RedirectResponse(context.pages.url(f"/oauth2/authorize/answer?{urlencode(query)}"), 303)
    if new_secret is not None:
        context.cookies.set_flow(http, response, flow.id, new_secret)
    return response


def _device_page(context: Context, http: Request, params: dict[str, str]) -> Response:
    """What the person sees in the end; the device asks by itself."""
    title, message = Text("Your device is connected"), Text("You can close this page and go on at the device.")
    if "error" in params:
        title = Text("Your device was not connected")
        message = Text("Nothing was allowed. If you want to connect it, begin again on the device.")
    kind = "warning" if "error" in params else "success"
    return context.pages.render(http, "message.html", title=title, message=message, kind=kind)
