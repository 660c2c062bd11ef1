"""Sign-outs on their way to a provider, and from one."""

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, RedirectResponse
from starlette.responses import Response

from watchword_events.exports import ProviderExport
from watchword_federation import logouts
from watchword_federation.connectors.saml import state_of
from watchword_federation.connectors.saml_logout import LogoutAnswered, LogoutAsked
from watchword_federation.connectors.saml_messages import read_redirect
from watchword_federation.connectors.saml_sp import BASE
from watchword_federation.edge import Federation, log
from watchword_federation.failures import Failure, SignInFailed
from watchword_federation.routes.saml import MAX_FORM
from watchword_web.forms import read_form, read_query


def router(federation: Federation) -> APIRouter:
    """`/api/auth/sso/{logout,backchannel-logout}/{provider_id}` and `/api/auth/sso/saml2/sp/slo/{provider_id}`."""
    routes = APIRouter(tags=["federation"], default_response_class=RedirectResponse)

    @routes.get("/api/auth/sso/logout/{provider_id}", status_code=303)
    async def upstream_logout(provider_id: str, request: Request) -> Response:
        """Sends the person on to the provider to be signed out there. Needs the ticket that signing out here gives."""
        federation.limit(request)
        return await logouts.begin(federation, request, provider_id, read_query(request).get("ticket", ""))

    @routes.get("/api/auth/sso/logout/{provider_id}/done", status_code=303)
    async def upstream_logout_done(provider_id: str, request: Request) -> Response:
        """Takes people back whom an OpenID provider has signed out, to where they wanted to go."""
        federation.limit(request)
        found = await logouts.claim(federation, provider_id, read_query(request).get("state", ""))
        return_to = None if found is None else found.return_to
        return logouts.done(federation, request, return_to, there=found is not None)

    @routes.post("/api/auth/sso/backchannel-logout/{provider_id}", status_code=200, response_class=JSONResponse)
    async def backchannel_logout(provider_id: str, request: Request) -> Response:
        """Takes a provider's logout token: the sessions that it names are over here, and with them their tokens.

        Spec: OpenID Connect Back-Channel Logout 2.5, 2.8.
        """
        federation.limit(request)
        form = await read_form(request)
        try:
            async with federation.attempt(request, provider_id) as trail:
                provider = await _provider(federation, provider_id, "oidc")
                trail.step("logout", "by a logout token")
                await logouts.end_by_token(federation, provider, form.get("logout_token", ""))
        except SignInFailed as error:
            # The provider is a program: it reads a code, and the steps of the attempt say the rest.
            said = {"error": "invalid_request", "error_description": f"{error.code}: {error.reason}"}
            return JSONResponse(said, 400, {"Cache-Control": "no-store"})
        return JSONResponse({}, headers={"Cache-Control": "no-store"})

    @routes.get(f"{BASE}/slo/{{provider_id}}", status_code=303)
    async def saml_slo(provider_id: str, request: Request) -> Response:
        """Takes a provider's logout request or answer from the query; or goes on after what it asked has ended."""
        federation.limit(request)
        query: bytes = request.scope["query_string"]
        if query.startswith(b"done="):
            return await _answer(federation, request, provider_id, read_query(request).get("done", ""))
        async with federation.attempt(request, provider_id) as trail:
            provider = await _provider(federation, provider_id, "saml")
            received = read_redirect(query)
            trail.step("logout", f"{received.parameter} by redirect")
            said = await federation.logout.by_redirect(provider, received, now=federation.now())
            return await _obey(federation, request, provider, said)

    @routes.post(f"{BASE}/slo/{{provider_id}}", status_code=303)
    async def saml_slo_post(provider_id: str, request: Request) -> Response:
        """Takes a provider's logout request or answer, as its page posts it."""
        federation.limit(request)
        async with federation.attempt(request, provider_id) as trail:
            form = await read_form(request, MAX_FORM)
            provider = await _provider(federation, provider_id, "saml")
            encoded = form.get("SAMLRequest") or form.get("SAMLResponse")
            if not encoded or ("SAMLRequest" in form and "SAMLResponse" in form):
                raise SignInFailed(Failure.RESPONSE_INVALID, "neither a SAML request nor a response, or both")
            trail.step("logout", "by POST")
            said = await federation.logout.by_post(provider, encoded, form.get("RelayState"), now=federation.now())
            return await _obey(federation, request, provider, said)

    return routes


async def _provider(federation: Federation, provider_id: str, kind: str) -> ProviderExport:
    provider = await federation.providers.get(provider_id)
    if provider is None or provider.id != provider_id or provider.kind != kind or not provider.enabled:
        raise SignInFailed(Failure.PROVIDER_DISABLED, f"no such provider of the kind {kind}, or not enabled")
    return provider


async def _obey(
    federation: Federation, request: Request, provider: ProviderExport, said: LogoutAsked | LogoutAnswered
) -> Response:
    match said:
        case LogoutAnswered():
            found = await logouts.claim(federation, provider.id, state_of(said.in_response_to))
            if found is None:
                raise SignInFailed(Failure.STATE_MISMATCH, "an answer to no logout request of ours, or to an old one")
            log.info("upstream_logout.answered", provider_id=provider.id, success=said.is_success)
            return logouts.done(federation, request, found.return_to, there=said.is_success)
        case LogoutAsked():
            return await logouts.end_here(federation, provider, said, back=logouts.path_of(BASE, provider.id))


async def _answer(federation: Federation, request: Request, provider_id: str, state: str) -> Response:
    """303 to the provider, once authz has ended what the provider asked to end."""
    found = await logouts.claim(federation, provider_id, state)
    if found is None or found.answer is None:
        return logouts.done(federation, request, None)
    return RedirectResponse(found.answer, 303)
