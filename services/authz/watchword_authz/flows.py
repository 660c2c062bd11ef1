"""Flows: how one begins, and how a request proves that it belongs to the browser in which it began."""

import hashlib
import hmac
from datetime import datetime
from secrets import token_hex, token_urlsafe

from fastapi import Request
from pydantic import JsonValue

from watchword_authz import store
from watchword_authz.context import Context
from watchword_authz.models import Flow
from watchword_authz.requests import AuthorizationRequest
from watchword_database.engine import Session
from watchword_web.cookies import FLOW_LIFETIME
from watchword_web.csrf import check_form_token, form_token, same_origin
from watchword_web.errors import PageError
from watchword_web.forms import Params

_BEGIN_AGAIN = "Go back to the application that you came from and sign in from there again."


def binding_of(secret: str) -> str:
    """What hand-overs and the flow's row carry of the cookie's secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def new_flow(
    rev: int, now: datetime, *, request: AuthorizationRequest | None = None, return_to: str | None = None
) -> tuple[Flow, str]:
    """A flow that is not stored yet, and the secret for its cookie. rev: noted before the client was read."""
    secret = token_urlsafe(32)
    asked: dict[str, JsonValue] | None = None if request is None else request.model_dump(mode="json")
    flow = Flow(
        id=token_hex(16),
        binding=binding_of(secret),
        rev=rev,
        client_id=request.client_id if request is not None else None,
        request=asked,
        return_to=return_to,
        created_at=now,
        expires_at=now + FLOW_LIFETIME,
    )
    return flow, secret


def request_of(flow: Flow) -> AuthorizationRequest | None:
    """The checked authorization request behind a flow; None when it returns to a page of ours."""
    return None if flow.request is None else AuthorizationRequest.model_validate(flow.request)


def lineage(flow: Flow) -> dict[str, object]:
    """What the ledger compares of a flow."""
    claims: dict[str, object] = {"rev": flow.rev, "iat": flow.created_at.timestamp()}
    if flow.client_id is not None:
        claims["client_id"] = flow.client_id
    return claims


def require_ledger(context: Context) -> None:
    """Nothing is decided by an instance that cannot know what was revoked. Raises PageError (503)."""
    if not context.feed.ready:
        raise PageError(
            "temporarily_unavailable",
            "Not available at the moment",
            "A server that is needed for this does not answer. Try again in a few seconds.",
            503,
            headers={"Retry-After": "2"},
        )


async def open_flow(context: Context, session: Session, request: Request, flow_id: str | None) -> tuple[Flow, str]:
    """The open flow of this browser, and its cookie's secret.

    Raises PageError when the browser holds no cookie for it or another one's, or when the flow is over.
    """
    require_ledger(context)
    secret = context.cookies.read_flow(request, flow_id) if flow_id else None
    if flow_id is None or secret is None:
        raise PageError(
            "flow_not_here",
            "This sign-in was not started here",
            f"It was started in another browser, or too long ago, or cookies are blocked. {_BEGIN_AGAIN}",
            403,
        )
    flow = await store.find_flow(session, flow_id, context.now())
    if flow is None:
        raise PageError("flow_over", "This sign-in is over", f"It was finished, or it took too long. {_BEGIN_AGAIN}")
    # Dex CVE-2022-39222: the id of a flow alone must not let another browser go on with it.
    if not hmac.compare_digest(flow.binding, binding_of(secret)):
        raise PageError("flow_not_here", "This sign-in was not started here", _BEGIN_AGAIN, 403)
    if not context.feed.is_live(lineage(flow)):
        raise PageError("flow_over", "This sign-in is over", f"The application was changed meanwhile. {_BEGIN_AGAIN}")
    return flow, secret


def csrf_of(context: Context, page: str, flow: Flow, secret: str) -> str:
    """The form token of one page of one flow in one browser."""
    return form_token(context.forms_key, page, flow.id, secret)


def check_form(context: Context, request: Request, form: Params, page: str, flow: Flow, secret: str) -> None:
    """The form was filled in on our own page in this browser. Raises PageError."""
    if not same_origin(request, context.settings) or not check_form_token(
        context.forms_key, form.get("csrf", ""), page, flow.id, secret
    ):
        raise PageError(
            "form_not_ours",
            "This form cannot be accepted",
            "It was sent from another page, or it is too old. Go back, load the page again and send it once more.",
            403,
        )
