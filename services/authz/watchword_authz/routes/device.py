"""`/oauth2/device_authorization` and `/device`: a device without a browser is connected by somebody who has one."""

import hmac
from typing import Final
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from watchword_authz import device_requests, flows, store, throttle
from watchword_authz.context import Context
from watchword_authz.models import DeviceRequest
from watchword_authz.requests import AuthorizationRequest, Prompt
from watchword_authz.routes.edge import address_of, limit_beginnings
from watchword_authz.routes.par import authenticated
from watchword_authz.steps import find_client, find_person, see_other
from watchword_database.engine import transaction
from watchword_events.exports import ClientExport
from watchword_policy.details import Details, InvalidDetails, parse_details
from watchword_policy.scopes import InvalidScope, is_privileged, parse_scope
from watchword_web.addresses import address_prefix
from watchword_web.errors import OAuthError, PageError
from watchword_web.forms import Params, read_form, read_query
from watchword_web.limits import too_many_requests
from watchword_web.surfaces import Surface
from watchword_web.texts import Text

GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:device_code"
_PAGE: Final = "device"
_MAX_TYPED: Final = 64
_WRONG: Final = Text(
    "This code is not right. It may be too old, or it was entered before. Look at the device once more."
)


class DeviceAuthorization(BaseModel):
    """What a device shows and then asks with. Spec: RFC 8628 3.2."""

    device_code: str
    user_code: str
    verification_uri: str
    verification_uri_complete: str
    expires_in: int
    interval: int


def router(context: Context) -> APIRouter:
    """The device authorization endpoint, and the page where its codes are entered. Spec: RFC 8628 3.1, 3.3."""
    api = APIRouter(tags=["sign-in"])

    @api.post(
        "/oauth2/device_authorization",
        summary="Ask for the codes of a device without a browser",
        response_model=DeviceAuthorization,
    )
    async def authorize_device(request: Request) -> JSONResponse:
        limit_beginnings(context, request, Surface.OAUTH)
        context.feed.require()
        rev = context.feed.position
        form = await read_form(request)
        client = await authenticated(context, request, form)
        scope, resource = _asked(form, client, context.resources.page)
        details = _details(form, client)
        async with transaction(context.database) as session:
            device_code, user_code = await device_requests.begin(
                session,
                client_id=client.client_id,
                scope=scope,
                resource=resource,
                details=details,
                address=address_of(context, request),
                key=context.forms_key,
                rev=rev,
                now=context.now(),
            )
        uri = f"{context.settings.issuer}/device"
        answer = DeviceAuthorization(
            device_code=device_code,
            user_code=user_code,
            verification_uri=uri,
            verification_uri_complete=f"{uri}?{urlencode({'user_code': user_code})}",
            expires_in=int(device_requests.LIFE.total_seconds()),
            interval=device_requests.INTERVAL_S,
        )
        return JSONResponse(answer.model_dump(), headers={"Cache-Control": "no-store"})

    @api.get("/device", summary="Where the code that a device shows is entered")
    async def show_device(request: Request) -> Response:
        typed = read_query(request).get("user_code", "")
        return _page(context, request, typed=device_requests.read_user_code(typed[:_MAX_TYPED]) or "")

    @api.post("/device", summary="Enter the code that a device shows")
    async def enter_user_code(request: Request) -> Response:
        limit_beginnings(context, request)
        context.feed.require()
        form = await read_form(request)
        _check_form(context, request, form)
        rev = context.feed.position
        typed = form.get("user_code", "")[:_MAX_TYPED]
        device = await _find(context, request, typed)
        if device is None:
            return _page(context, request, typed=typed, error=_WRONG, status=400)
        client = await find_client(context, device.client_id)
        return await _begin(context, request, device, client, rev)

    return api


def _asked(
    form: Params, client: ClientExport, open_resources: frozenset[str]
) -> tuple[frozenset[str], tuple[str, ...]]:
    """The scope and resource that a device asks for, within what its client may have.

    Without a scope: all that the client may have but lasting access and administration.  open_resources: for which
    every client may ask. Raises OAuthError.
    Spec: RFC 8628 3.1; RFC 6749 3.3; RFC 8707 2.
    """
    if GRANT_TYPE not in client.grant_types:
        raise OAuthError("unauthorized_client", "The client may not connect devices")
    try:
        requested = parse_scope(form.get("scope", ""))
    except InvalidScope as error:
        raise OAuthError("invalid_scope", str(error)) from None
    modest = frozenset(each for each in client.scope if not is_privileged(each)) - {"offline_access"}
    scope = requested & client.scope if requested else modest
    if "refresh_token" not in client.grant_types:
        scope -= {"offline_access"}
    if not scope:
        raise OAuthError("invalid_scope", "The client may use none of the scopes that it asks for")
    resource = tuple(form.get("resource", "").split())
    if not set(resource) <= open_resources.union(client.audience):
        raise OAuthError("invalid_target", "The client may not use this resource")
    return scope, resource


def _details(form: Params, client: ClientExport) -> Details:
    """What exactly a device asks for. Raises OAuthError. Spec: RFC 9396 3, 5."""
    raw = form.get("authorization_details")
    try:
        return () if raw is None else parse_details(raw, client.authorization_details_types)
    except InvalidDetails as error:
        raise OAuthError("invalid_authorization_details", str(error)) from None


def _page(context: Context, request: Request, *, typed: str, error: str | None = None, status: int = 200) -> Response:
    """The form for a code, bound to this browser by a cookie of its own."""
    form_id, secret = flows.new_binding()
    response = context.pages.render(
        request,
        "device.html",
        status=status,
        action=f"/device?form={form_id}",
        csrf=flows.token_of(context, _PAGE, form_id, secret),
        user_code=typed,
        error=error,
    )
    context.cookies.set_flow(request, response, form_id, secret)
    return response


def _check_form(context: Context, request: Request, form: Params) -> None:
    """The form was filled in on our own page in this browser. Raises PageError."""
    form_id = read_query(request).get("form", "")
    secret = context.cookies.read_flow(request, form_id)
    if secret is None:
        raise PageError(
            "form_not_ours", "This form cannot be accepted", "Cookies are blocked, or the page is too old.", 403,
            retry="/device",
        )  # fmt: skip
    flows.check_token(context, request, form, _PAGE, form_id, secret)


async def _find(context: Context, request: Request, typed: str) -> DeviceRequest | None:
    """The request that waits under a code; each wrong one counts against the address and account that entered it.

    Raises PageError 429. Spec: RFC 8628 5.1, 5.2.
    """
    now = context.now()
    person = await find_person(context, context.cookies.read_session(request), now)
    subject = f"{address_prefix(address_of(context, request))} {person.user.id if person else ''}"
    async with transaction(context.database) as session:
        attempt = await throttle.claim_attempt(session, context.limits.user_codes, subject, now)
    if not attempt.allowed:
        raise too_many_requests(attempt.wait.total_seconds(), Surface.PAGE)
    user_code = device_requests.read_user_code(typed)
    if user_code is None:
        return None
    async with transaction(context.database) as session:
        row = await device_requests.find_by_code(session, user_code, key=context.forms_key, now=now)
        if row is None or not context.feed.is_live(device_requests.lineage(row)):
            return None
        if row.flow_id is not None and not await _is_ours(context, request, row.flow_id):
            return None
        await throttle.give_back(session, context.limits.user_codes, subject)
    return row


async def _is_ours(context: Context, request: Request, flow_id: str) -> bool:
    """Whether the code was entered in this very browser, whose flow is still open."""
    secret = context.cookies.read_flow(request, flow_id)
    flow = await store.find_flow(context.database, flow_id, context.now()) if secret is not None else None
    return flow is not None and secret is not None and hmac.compare_digest(flow.binding, flows.binding_of(secret))


async def _begin(context: Context, request: Request, device: DeviceRequest, client: ClientExport, rev: int) -> Response:
    """On to the sign-in, and then to the question whether the device may; only this browser can answer it."""
    if device.flow_id is not None:
        return see_other(context, f"/login?flow={device.flow_id}")
    asked = AuthorizationRequest(
        client_id=client.client_id,
        redirect_uri="",
        redirect_uri_given=False,
        scope=frozenset(device.scope) & client.scope,
        resource=tuple(device.resource),
        details=tuple(device.details),
        # RFC 8628 5.4: whoever was lured here must see what it is about, whatever they allowed before.
        prompt=frozenset({Prompt.CONSENT}),
        device_id=device.id,
    )
    flow, secret = flows.new_flow(rev, context.now(), request=asked)
    async with transaction(context.database) as session:
        session.add(flow)
        is_first = await device_requests.claim(session, device.id, flow_id=flow.id, now=context.now())
    if not is_first:
        return _page(context, request, typed="", error=_WRONG, status=400)
    response = see_other(context, f"/login?flow={flow.id}")
    context.cookies.set_flow(request, response, flow.id, secret)
    return response
