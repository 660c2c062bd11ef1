"""`/oauth2/par`: a client brings its authorization request itself, before any browser is involved."""

from typing import Final

import structlog
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from watchword_authz import authorize, pushed
from watchword_authz.asking import asked_at_par, kept
from watchword_authz.context import Context
from watchword_authz.requests import AuthorizationRefused
from watchword_authz.routes.edge import address_of
from watchword_events.exports import ClientExport
from watchword_runtime.client_credentials import read_credentials
from watchword_runtime.connections import origin_of
from watchword_web.addresses import address_prefix
from watchword_web.errors import OAuthError, PageError
from watchword_web.forms import REPEATABLE, Params, read_form
from watchword_web.hot import header
from watchword_web.surfaces import Surface

log = structlog.get_logger()

_PROPERTIES: Final = {
    name: {"type": "array", "items": {"type": "string"}} if name in REPEATABLE else {"type": "string"}
    for name in sorted(authorize.PARAMETERS - {"request_uri", "registration"})
}
_FORM: Final = {"application/x-www-form-urlencoded": {"schema": {"type": "object", "properties": _PROPERTIES}}}


class PushedRequestUri(BaseModel):
    """The reference with which the browser brings the request, once. Spec: RFC 9126 2.2."""

    request_uri: str
    expires_in: int


def router(context: Context) -> APIRouter:
    """The pushed authorization request endpoint. Spec: RFC 9126 2."""
    api = APIRouter(tags=["sign-in"])

    @api.post(
        "/oauth2/par",
        summary="Push an authorization request",
        status_code=201,
        response_model=PushedRequestUri,
        openapi_extra={"requestBody": {"required": True, "content": _FORM}},
    )
    async def push_request(request: Request) -> JSONResponse:
        context.pushes.check(address_prefix(address_of(context, request)), context.now(), Surface.OAUTH)
        context.feed.require()
        rev = context.feed.position
        form = await read_form(request)
        client = await authenticated(context, request, form)
        proof, now_s = header(request.scope, b"dpop"), context.now().timestamp()
        thumbprint = await context.proofs.thumbprint_of(proof, now_s) if proof is not None else None
        asked = await asked_at_par(context, form, client, thumbprint)
        try:
            authorize.check(asked)
        except AuthorizationRefused as refusal:
            raise OAuthError(refusal.error.value, refusal.description) from None
        except PageError as refusal:
            raise OAuthError("invalid_request", refusal.message, detail=refusal.code) from None
        request_uri = await pushed.push(
            context.database, kept(asked), client_id=client.client_id, rev=rev, now=context.now()
        )
        log.info("request.pushed", client_id=client.client_id)
        answer = PushedRequestUri(request_uri=request_uri, expires_in=int(pushed.LIFE.total_seconds()))
        # RFC 9449 8.2: the proof at the token endpoint can carry a nonce at once.
        nonce = {} if proof is None else {"DPoP-Nonce": context.proofs.nonce(now_s)}
        return JSONResponse(answer.model_dump(), 201, {"Cache-Control": "no-store", **nonce})

    return api


async def authenticated(context: Context, request: Request, form: Params) -> ClientExport:
    """The client that the request is from. Raises OAuthError, 429 for an address that guessed too often.

    Spec: RFC 9126 2 (as at the token endpoint).
    """
    address, now_s = address_prefix(address_of(context, request)), context.now().timestamp()
    context.guesses.check(address, now_s)
    try:
        credentials = read_credentials(header(request.scope, b"authorization"), form)
        return await context.authentication.authenticate(credentials, origin_of(request.scope))
    except OAuthError as error:
        if error.error == "invalid_client":
            context.guesses.note(address, now_s)
        raise
