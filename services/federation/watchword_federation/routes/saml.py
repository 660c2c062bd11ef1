"""SAML's own addresses: where responses are posted, what providers import, the question before a sign-in begins there.

A response is posted from the provider's site, so that no cookie of ours comes with it: the flow is found by the request
that it answers, the ticket carries the flow's binding, and the next hop, a GET, compares. Spec: SAML Bindings 3.5.
"""

from typing import TYPE_CHECKING, Final

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse
from starlette.responses import HTMLResponse, Response

from watchword_events.exports import ProviderExport
from watchword_federation import arrivals
from watchword_federation.attempts import Trail
from watchword_federation.connectors import Answer
from watchword_federation.connectors.saml import state_of
from watchword_federation.connectors.saml_idp import saml_of
from watchword_federation.connectors.saml_sp import BASE, MEDIA_TYPE
from watchword_federation.edge import Federation
from watchword_federation.failures import Failure, SignInFailed
from watchword_federation.routes.sign_in import claim, complete, find_flow
from watchword_web.errors import Problem
from watchword_web.forms import read_form
from watchword_web.surfaces import Surface

if TYPE_CHECKING:
    from watchword_federation.connectors.saml_library import PostedResponse

# A response of 256 KiB in base64, percent-encoded.
MAX_FORM: Final = 320 * 1024


def router(federation: Federation) -> APIRouter:
    """`/api/auth/sso/saml2/sp/{acs,metadata}/{provider_id}` and `/api/auth/sso/arrivals/{arrival_id}`."""
    routes = APIRouter(tags=["federation"])

    @routes.post(f"{BASE}/acs/{{provider_id}}", status_code=303, response_class=RedirectResponse)
    async def saml_acs(provider_id: str, request: Request) -> Response:
        """Takes the provider's response, as its page posts it."""
        federation.limit(request)
        async with federation.attempt(request, provider_id) as trail:
            form = await read_form(request, MAX_FORM)
            return await _receive(federation, provider_id, request, form.get("SAMLResponse", ""), trail)

    @routes.get(f"{BASE}/metadata/{{provider_id}}", response_class=Response)
    async def saml_metadata(provider_id: str, request: Request) -> Response:
        """Our metadata for a SAML provider, to be imported there."""
        federation.limit(request, Surface.API)
        provider = await federation.providers.get(provider_id)
        if provider is None or provider.id != provider_id or provider.kind != "saml":
            raise Problem(404, "No such provider", "There is no SAML provider with this id.")
        document = federation.saml.sp.metadata(provider, await federation.saml.keys.keys())
        return Response(document, media_type=MEDIA_TYPE)

    @routes.get(f"{arrivals.PATH}/{{arrival_id}}", response_class=HTMLResponse)
    async def ask_about_arrival(arrival_id: str, request: Request) -> Response:
        """Asks the person about a sign-in that began at its provider."""
        federation.limit(request)
        return await arrivals.ask(federation, request, arrival_id)

    @routes.post(f"{arrivals.PATH}/{{arrival_id}}", status_code=303, response_class=RedirectResponse)
    async def confirm_arrival(arrival_id: str, request: Request) -> Response:
        """The person said that it is them."""
        federation.limit(request)
        return await arrivals.confirm(federation, request, arrival_id, await read_form(request))

    return routes


async def _receive(federation: Federation, provider_id: str, request: Request, document: str, trail: Trail) -> Response:
    rev = federation.feed.position
    provider = await federation.known_provider(provider_id, rev)
    if provider.kind != "saml":
        raise SignInFailed(Failure.PROVIDER_DISABLED, "not a SAML provider")
    if not document:
        raise SignInFailed(Failure.RESPONSE_INVALID, "no SAMLResponse")
    posted = await federation.saml.read(document)
    answered = posted.envelope.in_response_to
    trail.step("response", f"{len(document)} characters, {'unsolicited' if answered is None else 'an answer'}")
    if answered is None:
        return await _unsolicited(federation, provider, request, posted, rev, trail)
    state = state_of(answered)
    flow = await find_flow(federation, provider_id, request, state, "saml")
    trail.step("flow", "found by the request that is answered")
    if not await claim(federation, flow):
        # No cookie came with the POST, so that nobody can say whether this is the same browser again.
        raise SignInFailed(Failure.STATE_MISMATCH, "the request was answered before")
    return await complete(federation, request, flow, Answer(state=state, posted=posted), trail)


async def _unsolicited(
    federation: Federation,
    provider: ProviderExport,
    request: Request,
    posted: "PostedResponse",
    rev: int,
    trail: Trail,
) -> Response:
    """The person is asked about a sign-in that began at the provider. Raises SignInFailed.

    Spec: SAML Profiles 4.1.5.
    """
    if not saml_of(provider).idp_initiated:
        raise SignInFailed(Failure.UNSOLICITED_RESPONSE, "sign-ins that begin at this provider are not allowed")
    await federation.refresh(provider.id)
    provider = await federation.usable_provider(provider.id, rev)
    arrived = await federation.saml.receive(
        provider,
        posted,
        request=None,
        acs_url=federation.callback_of(provider),
        now=federation.now(),
        trail=trail,
    )
    return await arrivals.keep(federation, request, provider, arrived, rev, trail)
