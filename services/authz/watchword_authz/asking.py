"""What an authorization request asks, wherever it stands: in a query or form, signed in one, or pushed before."""

from collections.abc import Sequence
from dataclasses import replace

from watchword_authz import pushed
from watchword_authz.authorize import PARAMETERS
from watchword_authz.checks import Asked
from watchword_authz.context import Context
from watchword_authz.hints import Hint
from watchword_authz.pushed import Pushed
from watchword_authz.request_objects import InvalidRequestObject, read_request_object
from watchword_authz.requests import OAuthCode
from watchword_database.engine import transaction
from watchword_events.exports import ClientExport, ResourceExport
from watchword_web.errors import OAuthError, PageError
from watchword_web.forms import Params


async def asked_at_authorize(context: Context, params: Params, client: ClientExport) -> Asked:
    """What the query or form asks, what the client signed, or what it pushed before, which is then used up.

    Whatever stands beside a request object, or a pushed request's reference, is not looked at. Raises PageError for one
    that is not good: where to send an error to is not known then.  Spec: RFC 9126 4; RFC 9101 5 (nothing else counts).
    """
    request_uri = params.get("request_uri", "")
    if not request_uri.startswith(pushed.PREFIX):
        try:
            return await _asked(context, params, client)
        except InvalidRequestObject as error:
            raise PageError(
                OAuthCode.INVALID_REQUEST_OBJECT.value,
                "This sign-in cannot be started",
                "The application sent a request that cannot be verified. Go back and sign in from there again.",
                detail=f"client {client.client_id}: {error}",
            ) from None
    async with transaction(context.database) as session:
        row = await pushed.claim(session, request_uri, client_id=client.client_id, now=context.now())
    if row is None or not context.feed.is_live(pushed.lineage(row)):
        raise PageError(
            OAuthCode.INVALID_REQUEST_URI.value,
            "This sign-in cannot be started again",
            "The request of the application was used before, or it took too long. Go back and sign in from there.",
            detail=f"client {client.client_id}",
        )
    found = Pushed.model_validate(row.asked)
    open_resources = context.resources.page
    is_signed = found.is_signed
    return Asked(found.params, client, found.hint, is_pushed=True, is_signed=is_signed, open_resources=open_resources)


async def asked_at_par(context: Context, form: Params, client: ClientExport, thumbprint: str | None) -> Asked:
    """What a client pushes. thumbprint: of the key that it proves to hold; then the code is bound to it.

    Raises OAuthError when it names another request, or another key.  Spec: RFC 9126 2.1; RFC 9449 10.1.
    """
    if "request_uri" in form:
        raise OAuthError(OAuthCode.INVALID_REQUEST.value, "request_uri cannot be pushed")
    params = {name: value for name, value in form.items() if name in PARAMETERS} | {"client_id": client.client_id}
    try:
        asked = await _asked(context, params, client)
    except InvalidRequestObject as error:
        raise OAuthError(
            OAuthCode.INVALID_REQUEST_OBJECT.value, "The request object cannot be verified", detail=str(error)
        ) from None
    if thumbprint is not None and asked.params.get("dpop_jkt", thumbprint) != thumbprint:
        raise OAuthError(OAuthCode.INVALID_REQUEST.value, "dpop_jkt is not the key that signed the DPoP proof")
    bound = {} if thumbprint is None else {"dpop_jkt": thumbprint}
    return replace(asked, params={**asked.params, **bound}, is_pushed=True)


def open_resources_of(resources: Sequence[ResourceExport]) -> frozenset[str]:
    """Those for which every client may ask for tokens."""
    return frozenset(resource.identifier for resource in resources if resource.any_client)


def kept(asked: Asked) -> Pushed:
    """What is stored of a pushed request: of the hint what it says, not the token."""
    params = dict(asked.params)
    if "id_token_hint" in params:
        params["id_token_hint"] = "pushed"
    return Pushed(params=params, hint=asked.hint, is_signed=asked.is_signed)


async def _asked(context: Context, params: Params, client: ClientExport) -> Asked:
    """What the parameters ask, or the request object among them. Raises InvalidRequestObject.

    A client that registered no algorithm for request objects has none (and is told so by the checks).
    """
    is_signed = "request" in params and client.request_object_signing_alg is not None
    if is_signed:
        found = await read_request_object(
            params["request"],
            client,
            PARAMETERS - {"request", "request_uri"},
            keys=context.client_keys,
            issuer=context.settings.issuer,
            now=context.now(),
        )
        params = {**found, "client_id": client.client_id}
    hint = await _hint_in(context, params)
    return Asked(params, client, hint, is_signed=is_signed, open_resources=context.resources.page)


async def _hint_in(context: Context, params: Params) -> Hint | None:
    return await context.hints.verify(params["id_token_hint"]) if "id_token_hint" in params else None
