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
from watchword_web import languages
from watchword_web.cookies import FLOW_LIFETIME
from watchword_web.csrf import check_form_token, form_token, same_origin
from watchword_web.errors import PageError
from watchword_web.forms import Params


def binding_of(secret: str) -> str:
    """What hand-overs and the flow's row carry of the cookie's secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def new_flow(
    rev: int,
    now: datetime,
    *,
    request: AuthorizationRequest | None = None,
    return_to: str | None = None,
    is_renewal: bool = False,
) -> tuple[Flow, str]:
    """A flow that is not stored yet, and the secret for its cookie. rev: noted before the client was read.

    is_renewal: whoever is signed in has to sign in once more.
    """
    flow_id, secret = new_binding()
    asked: dict[str, JsonValue] | None = None if request is None else request.model_dump(mode="json")
    flow = Flow(
        id=flow_id,
        binding=binding_of(secret),
        rev=rev,
        client_id=request.client_id if request is not None else None,
        request=asked,
        return_to=return_to,
        is_renewal=is_renewal,
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


async def open_flow(context: Context, request: Request, flow_id: str | None) -> tuple[Flow, str]:
    """The open flow of this browser, and its cookie's secret.

    Raises FeedAway (503), and PageError when the browser holds no cookie for it or when the flow is over.
    """
    context.feed.require()
    secret = context.cookies.read_flow(request, flow_id) if flow_id else None
    if flow_id is None or secret is None:
        raise PageError(
            "flow_not_here",
            "This sign-in was not started here",
            "It was started in another browser, or too long ago, or cookies are blocked. Go back to the application "
            "that you came from and sign in from there again.",
            403,
        )
    flow = await store.find_flow(context.database, flow_id, context.now())
    asked = request_of(flow) if flow is not None else None
    if asked is not None:
        languages.prefer(request.scope, asked=asked.ui_locales)
    if flow is None:
        raise PageError(
            "flow_over",
            "This sign-in is over",
            "It was finished, or it took too long. Go back to the application that you came from and sign in from "
            "there again.",
        )
    # Dex CVE-2022-39222: the id of a flow alone must not let another browser go on with it.
    if not hmac.compare_digest(flow.binding, binding_of(secret)):
        raise PageError(
            "flow_not_here",
            "This sign-in was not started here",
            "Go back to the application that you came from and sign in from there again.",
            403,
        )
    if not context.feed.is_live(lineage(flow)):
        raise PageError(
            "flow_over",
            "This sign-in is over",
            "The application was changed meanwhile. Go back to it and sign in from there again.",
        )
    return flow, secret


def new_binding() -> tuple[str, str]:
    """An id, and the secret that the browser shall hold for it in a cookie."""
    return token_hex(16), token_urlsafe(32)


def csrf_of(context: Context, page: str, flow: Flow, secret: str) -> str:
    """The form token of one page of one flow in one browser."""
    return token_of(context, page, flow.id, secret)


def token_of(context: Context, page: str, bound_to: str, secret: str) -> str:
    """As `csrf_of`, for a page before there is a flow. bound_to, secret: from `new_binding`."""
    return form_token(context.forms_key, page, bound_to, secret)


def check_form(context: Context, request: Request, form: Params, page: str, flow: Flow, secret: str) -> None:
    """The form was filled in on our own page in this browser. Raises PageError."""
    check_token(context, request, form, page, flow.id, secret)


def check_token(context: Context, request: Request, form: Params, page: str, bound_to: str, secret: str) -> None:
    """As `check_form`, for a token of `token_of`."""
    if not same_origin(request, context.settings) or not check_form_token(
        context.forms_key, form.get("csrf", ""), page, bound_to, secret
    ):
        raise PageError(
            "form_not_ours",
            "This form cannot be accepted",
            "It was sent from another page, or it is too old. Go back, load the page again and send it once more.",
            403,
        )
