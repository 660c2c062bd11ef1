"""The HTTP edge: a person leaves for an upstream provider, and comes back."""

import asyncio
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal
from urllib.parse import quote, urlencode

import structlog
from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from watchword_database import Database, bus, transaction
from watchword_events.exports import ProviderExport
from watchword_events.handovers import Identity, UpstreamStart, VerifiedIdentity
from watchword_federation import store
from watchword_federation.connectors import Answer, Connector, Wishes
from watchword_federation.failures import Failure, SignInFailed
from watchword_federation.flows import (
    FlowSeal,
    check_return,
    check_start,
    configuration_of,
    hash_of,
    new_secrets,
    new_state,
    open_flow,
)
from watchword_federation.models import UpstreamFlow
from watchword_federation.settings import FederationSettings
from watchword_runtime.clock import Clock
from watchword_runtime.copies import Copy
from watchword_runtime.feed import Feed
from watchword_runtime.internal import Unreachable
from watchword_web.addresses import address_prefix, client_address
from watchword_web.cookies import Cookies
from watchword_web.forms import Params, read_form, read_query
from watchword_web.limits import Limiter
from watchword_web.surfaces import Surface

Mode = Literal["query", "form_post"]

REFRESH_WITHIN_S: Final = 1.0
_TICKET: Final = re.compile(r"[A-Za-z0-9_-]{43}")  # what `secrets.token_urlsafe(32)` gives: tickets and states

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Federation:
    """What the two steps of an upstream sign-in work with. connectors: by the provider's kind."""

    settings: FederationSettings
    database: Database
    providers: Copy[ProviderExport]
    connectors: Mapping[str, Connector]
    seal: FlowSeal
    feed: Feed
    cookies: Cookies
    limiter: Limiter
    now: Clock

    def callback_of(self, provider_id: str) -> str:
        """The callback URL of a provider: what is registered there, letter by letter."""
        return f"{self.settings.public_url}/api/auth/sso/callback/{quote(provider_id, safe='')}"

    def redirect(self, path: str, **query: str) -> Response:
        """303 to a path of ours."""
        suffix = f"?{urlencode(query)}" if query else ""
        return RedirectResponse(f"{self.settings.public_url}{path}{suffix}", 303)


def router(federation: Federation) -> APIRouter:
    """`/api/auth/sso/login/{provider_id}` and `/api/auth/sso/callback/{provider_id}`."""
    routes = APIRouter(prefix="/api/auth/sso", tags=["federation"], default_response_class=RedirectResponse)

    @routes.get("/login/{provider_id}", status_code=303)
    async def upstream_login(provider_id: str, request: Request) -> Response:
        """Sends the person on to the provider. Needs the ticket that the login page gives; else to the login page."""
        _limit(federation, request)
        with _logged(provider_id):
            return await _leave(federation, provider_id, request)

    @routes.get("/callback/{provider_id}", status_code=303)
    async def upstream_callback(provider_id: str, request: Request) -> Response:
        """Takes the provider's answer from the query."""
        _limit(federation, request)
        with _logged(provider_id):
            return await _return(federation, provider_id, request, read_query(request), "query")

    @routes.post("/callback/{provider_id}", status_code=303)
    async def upstream_callback_post(provider_id: str, request: Request) -> Response:
        """Takes the provider's answer as its page posts it (response mode form_post)."""
        _limit(federation, request)
        with _logged(provider_id):
            return await _return(federation, provider_id, request, await read_form(request), "form_post")

    return routes


async def _leave(federation: Federation, provider_id: str, request: Request) -> Response:
    now, rev = federation.now(), federation.feed.position
    ticket = read_query(request).get("ticket")
    if ticket is None:
        return federation.redirect("/login")
    async with transaction(federation.database) as session:
        found = await bus.peek(session, UpstreamStart, ticket) if _TICKET.fullmatch(ticket) else None
    cookie = federation.cookies.read_flow(request, found.flow) if found is not None else None
    start = check_start(found, provider_id, cookie)
    provider = await _usable_provider(federation, provider_id, rev)
    state, kept = new_state(), new_secrets()
    # The provider is asked for its endpoints before the ticket is taken: if it does not answer, reloading still works.
    target = await federation.connectors[provider.kind].depart(
        provider, _wishes(start.payload), secrets=kept, state=state, callback=federation.callback_of(provider_id)
    )
    async with transaction(federation.database) as session:
        taken = await bus.take(session, UpstreamStart, ticket, now=now)
        if taken is not None:
            sealed = await federation.seal.seal(session, kept, hash_of(state))
            session.add(open_flow(taken, provider, state=state, sealed=sealed, rev=rev, now=now))
            await store.sweep(session, now=now)
    if taken is None:
        # Used before or too old, but of this browser: the login page knows where its sign-in stands.
        return federation.redirect("/login", flow=start.flow)
    log.info("upstream_sign_in.started", provider_id=provider_id)
    return RedirectResponse(target, 303)


async def _return(federation: Federation, provider_id: str, request: Request, params: Params, mode: Mode) -> Response:
    now = federation.now()
    state = params.get("state", "")
    async with transaction(federation.database) as session:
        found = await store.find_flow(session, hash_of(state)) if _TICKET.fullmatch(state) else None
    cookie = federation.cookies.read_flow(request, found.flow) if found is not None else None
    flow = check_return(found, provider_id, mode, cookie)
    async with transaction(federation.database) as session:
        claimed = await store.claim_flow(session, flow.state_hash, now=now)
    if not claimed:
        if flow.expires_at <= now:
            raise SignInFailed(Failure.STATE_MISMATCH, "the ten minutes are over")
        # The same answer again (reload, back button): to where the sign-in stands, not to an error.
        return federation.redirect("/login", flow=flow.flow)
    identity = await _arrive(federation, flow, params, now)
    async with transaction(federation.database) as session:
        payload = Identity(binding=flow.binding, identity=identity)
        ticket = await bus.hand_over(session, payload, flow=flow.flow, now=federation.now())
    log.info("upstream_sign_in.verified", provider_id=provider_id)
    return federation.redirect("/login/identity", ticket=ticket)


async def _arrive(federation: Federation, flow: UpstreamFlow, params: Params, now: datetime) -> VerifiedIdentity:
    """Whom the provider authenticated, as it is configured now."""
    await _refresh(federation, flow.provider_id)
    provider = await _usable_provider(federation, flow.provider_id, flow.rev)
    if configuration_of(provider) != flow.configuration:
        raise SignInFailed(Failure.PROVIDER_DISABLED, "settings changed since the sign-in began")
    identity = await federation.connectors[provider.kind].arrive(
        provider,
        Answer(code=params.get("code"), error=params.get("error"), issuer=params.get("iss")),
        secrets=federation.seal.open(flow),
        callback=federation.callback_of(provider.id),
        max_age_s=flow.max_age_s,
        now=now,
    )
    # The provider took its time to answer; it may have been switched off meanwhile.
    await _usable_provider(federation, flow.provider_id, flow.rev)
    return identity


async def _refresh(federation: Federation, provider_id: str) -> None:
    """The copy has the provider as its owner has it now, if the owner answers soon; events bring changes otherwise.

    A provider that was switched off or removed while the person was there must not sign them in (Casdoor
    CVE-2026-9098), and an event takes a few milliseconds, or as long as NATS is away.
    """
    with suppress(Unreachable, TimeoutError):
        async with asyncio.timeout(REFRESH_WITHIN_S):
            await federation.providers.pull([provider_id])


async def _usable_provider(federation: Federation, provider_id: str, rev: int) -> ProviderExport:
    """The provider as the copy and the ledger have it at this moment. Raises SignInFailed(provider_disabled).

    rev: the position that was applied when the sign-in began; a provider that was distrusted since is refused.
    """
    provider = await federation.providers.get(provider_id)
    if provider is None or provider.id != provider_id:
        raise SignInFailed(Failure.PROVIDER_DISABLED, "no such provider")
    if not provider.enabled or not provider.sign_in or provider.kind not in federation.connectors:
        raise SignInFailed(Failure.PROVIDER_DISABLED, "not enabled for sign-in")
    if not federation.feed.is_live({"idp": provider_id, "rev": rev}):
        raise SignInFailed(Failure.PROVIDER_DISABLED, "revoked in the ledger")
    return provider


def _wishes(start: UpstreamStart) -> Wishes:
    return Wishes(
        prompt=start.prompt, max_age_s=start.max_age_s, acr_values=start.acr_values, login_hint=start.login_hint
    )


def _limit(federation: Federation, request: Request) -> None:
    peer = request.client.host if request.client else None
    address = client_address(request.scope["headers"], peer, federation.settings.trusted_proxies)
    federation.limiter.check(address_prefix(address), federation.now(), Surface.PAGE)


@contextmanager
def _logged(provider_id: str) -> Iterator[None]:
    """One line for each sign-in that fails here, with the check that failed."""
    try:
        yield
    except SignInFailed as error:
        log.warning(
            "upstream_sign_in.refused", provider_id=provider_id[:64], failure=error.failure.value, detail=error.reason
        )
        raise
