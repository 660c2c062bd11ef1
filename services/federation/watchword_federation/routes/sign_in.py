"""A person leaves for an upstream provider, and comes back."""

import re
from datetime import datetime
from typing import Final, Literal

import structlog
from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse
from starlette.responses import Response

from watchword_database import bus, transaction
from watchword_events.handovers import UpstreamStart
from watchword_federation import store, vault
from watchword_federation.arrivals import resume
from watchword_federation.attempts import Trail
from watchword_federation.connectors import Answer, Arrived, Wishes
from watchword_federation.edge import Federation
from watchword_federation.failures import Failure, SignInFailed
from watchword_federation.flows import (
    check_return,
    check_start,
    configuration_of,
    hash_of,
    new_secrets,
    new_state,
    open_flow,
)
from watchword_federation.models import UpstreamFlow
from watchword_federation.trials import begin, conclude, is_trial
from watchword_web import languages
from watchword_web.forms import Params, read_form, read_query

Mode = Literal["query", "form_post", "saml"]

_TICKET: Final = re.compile(r"[A-Za-z0-9_-]{43}")  # what `secrets.token_urlsafe(32)` gives: tickets and states

log = structlog.get_logger()


def router(federation: Federation) -> APIRouter:
    """`/api/auth/sso/login/{provider_id}` and `/api/auth/sso/callback/{provider_id}`."""
    routes = APIRouter(prefix="/api/auth/sso", tags=["federation"], default_response_class=RedirectResponse)

    @routes.get("/login/{provider_id}", status_code=303)
    async def upstream_login(provider_id: str, request: Request) -> Response:
        """Sends the person on to the provider. Needs the ticket that the login page gives; else to the login page."""
        federation.limit(request)
        async with federation.attempt(request, provider_id) as trail:
            return await _leave(federation, provider_id, request, trail)

    @routes.get("/callback/{provider_id}", status_code=303)
    async def upstream_callback(provider_id: str, request: Request) -> Response:
        """Takes the provider's answer from the query."""
        federation.limit(request)
        async with federation.attempt(request, provider_id) as trail:
            return await _return(federation, provider_id, request, read_query(request), "query", trail)

    @routes.get("/trials/{provider_id}", status_code=303)
    async def begin_trial(provider_id: str, request: Request) -> Response:
        """Begins a sign-in that an administrator tries; it ends on a page that says what the provider said."""
        federation.limit(request)
        async with federation.attempt(request, provider_id) as trail:
            return await begin(federation, request, provider_id, read_query(request).get("ticket", ""), trail)

    @routes.post("/callback/{provider_id}", status_code=303)
    async def upstream_callback_post(provider_id: str, request: Request) -> Response:
        """Takes the provider's answer as its page posts it (response mode form_post)."""
        federation.limit(request)
        async with federation.attempt(request, provider_id) as trail:
            return await _return(federation, provider_id, request, await read_form(request), "form_post", trail)

    return routes


async def _leave(federation: Federation, provider_id: str, request: Request, trail: Trail) -> Response:
    now, rev = federation.now(), federation.feed.position
    ticket = read_query(request).get("ticket")
    if ticket is None:
        return federation.redirect("/login")
    found = await bus.look(federation.database, UpstreamStart, ticket) if _TICKET.fullmatch(ticket) else None
    if found is not None:
        languages.prefer(request.scope, asked=found.payload.ui_locales)
    cookie = federation.cookies.read_flow(request, found.flow) if found is not None else None
    start = check_start(found, provider_id, cookie)
    if start.payload.arrival is not None:
        return await resume(federation, request, start, ticket, arrival_id=start.payload.arrival)
    provider = await federation.usable_provider(provider_id, rev)
    state, kept = new_state(), new_secrets()
    # The provider is asked for its endpoints before the ticket is taken: if it does not answer, reloading still works.
    target = await federation.connectors[provider.kind].depart(
        provider,
        _wishes(start.payload),
        secrets=kept,
        state=state,
        callback=federation.callback_of(provider),
        trail=trail,
    )
    sealed = await federation.seal.seal(kept, hash_of(state))
    flow = open_flow(start, provider, state=state, sealed=sealed, rev=rev, now=now)
    if not await bus.exchange(federation.database, UpstreamStart, ticket, flow, now=now):
        # Used before or too old, but of this browser: the login page knows where its sign-in stands.
        return federation.redirect("/login", flow=start.flow)
    log.info("upstream_sign_in.started", provider_id=provider_id)
    return RedirectResponse(target, 303)


async def _return(
    federation: Federation, provider_id: str, request: Request, params: Params, mode: Mode, trail: Trail
) -> Response:
    state = params.get("state", "")
    answer = Answer(
        state=state,
        code=params.get("code"),
        error=params.get("error"),
        issuer=params.get("iss"),
        user=params.get("user") if mode == "form_post" else None,
    )
    flow = await find_flow(federation, provider_id, request, state, mode)
    trail.step("flow", _age(flow, federation.now()))
    if not await claim(federation, flow):
        # The same answer again (reload, back button): to where the sign-in stands, not to an error.
        return federation.redirect("/login", flow=flow.flow)
    return await complete(federation, request, flow, answer, trail)


async def find_flow(federation: Federation, provider_id: str, request: Request, state: str, mode: Mode) -> UpstreamFlow:
    """The flow that an answer belongs to. Raises SignInFailed(state_mismatch)."""
    found = await store.find_flow(federation.database, hash_of(state)) if _TICKET.fullmatch(state) else None
    if found is not None:
        languages.prefer(request.scope, asked=found.ui_locales)
    cookie = federation.cookies.read_flow(request, found.flow) if found is not None else None
    return check_return(found, provider_id, mode, cookie)


async def claim(federation: Federation, flow: UpstreamFlow) -> bool:
    """True for the one request that may go on with the flow. Raises SignInFailed(state_mismatch) when it is over."""
    now = federation.now()
    claimed = await store.claim_flow(federation.database, flow.state_hash, now=now)
    if not claimed and flow.expires_at <= now:
        raise SignInFailed(Failure.STATE_MISMATCH, "the ten minutes are over")
    return claimed


async def complete(
    federation: Federation, request: Request, flow: UpstreamFlow, answer: Answer, trail: Trail
) -> Response:
    """The person is on the way to directory, whom the provider's answer proved. Raises SignInFailed."""
    if is_trial(flow):
        return await conclude(federation, request, flow, _arrive(federation, flow, answer, trail), trail)
    arrived = await _arrive(federation, flow, answer, trail)
    async with transaction(federation.database) as session:
        await federation.note_arrival(session, arrived)
        await vault.keep(federation, session, arrived, rev=flow.rev)
        ticket = await federation.hand_on(
            session,
            arrived,
            flow=flow.flow,
            binding=flow.binding,
            began=flow.created_at,
            ui_locales=flow.ui_locales,
            steps=trail.steps,
        )
    return federation.redirect("/login/identity", ticket=ticket)


async def _arrive(federation: Federation, flow: UpstreamFlow, answer: Answer, trail: Trail) -> Arrived:
    """Whom the provider authenticated, as it is configured now."""
    await federation.refresh(flow.provider_id)
    find = federation.known_provider if is_trial(flow) else federation.usable_provider
    provider = await find(flow.provider_id, flow.rev)
    if configuration_of(provider) != flow.configuration:
        raise SignInFailed(Failure.PROVIDER_DISABLED, "settings changed since the sign-in began")
    arrived = await federation.connectors[provider.kind].arrive(
        provider,
        answer,
        secrets=federation.seal.open(flow),
        callback=federation.callback_of(provider),
        max_age_s=flow.max_age_s,
        now=federation.now(),
        trail=trail,
    )
    # The provider took its time to answer; it may have been switched off meanwhile.
    await find(flow.provider_id, flow.rev)
    return arrived


def _age(flow: UpstreamFlow, now: datetime) -> str:
    return f"began {(now - flow.created_at).total_seconds():.0f} s ago"


def _wishes(start: UpstreamStart) -> Wishes:
    return Wishes(
        prompt=start.prompt, max_age_s=start.max_age_s, acr_values=start.acr_values, login_hint=start.login_hint
    )
