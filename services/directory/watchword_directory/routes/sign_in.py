"""`/login/identity`: the step of a sign-in in which an identity becomes a user."""

import re
from datetime import timedelta
from typing import Final

import structlog
from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy.exc import IntegrityError

from watchword_database import bus, transaction
from watchword_directory import resolve
from watchword_directory.edge import Parts, page_error
from watchword_events.exports import ProviderExport
from watchword_events.handovers import Identity, IdentityRefused
from watchword_web import languages
from watchword_web.errors import PageError
from watchword_web.forms import read_query
from watchword_web.references import reference_of
from watchword_web.surfaces import Surface

log = structlog.get_logger()

_TICKET: Final = re.compile(r"[\w-]{43}", re.ASCII)
_UNREAD: Final = timedelta(days=30)  # refusals wait until federation sweeps, or for who reads them


def routers(parts: Parts) -> list[APIRouter]:
    """The one page."""
    router = APIRouter(include_in_schema=False)

    @router.get("/login/identity")
    async def receive_identity(request: Request) -> Response:
        parts.sign_ins.check(parts.address(request), parts.now(), Surface.PAGE)
        parts.feed.require()
        ticket = read_query(request).get("ticket", "")
        if not _TICKET.fullmatch(ticket):
            raise page_error("invalid_ticket", detail="not a ticket")
        arrival = await resolve.find_arrival(parts.database, ticket, now=parts.now())
        if arrival is None:
            raise page_error("invalid_ticket", detail="unknown")
        languages.prefer(request.scope, asked=arrival.payload.ui_locales)
        if not resolve.is_of_this_browser(arrival, parts.cookies.read_flow(request, arrival.flow)):
            raise page_error("wrong_browser", detail="flow cookie missing or of another browser")
        handed_on = None if arrival.repeated else await _receive(parts, request, arrival, ticket)
        if handed_on is None:
            # A repeated step with the right cookie goes to where its flow stands.
            return RedirectResponse(f"{parts.settings.public_url}/login?flow={arrival.flow}", 303)
        ticket = f"?ticket={handed_on.ticket}" if handed_on.ticket else ""
        return RedirectResponse(f"{parts.settings.public_url}{handed_on.step}{ticket}", 303)

    return [router]


async def _receive(parts: Parts, request: Request, arrival: resolve.Arrival, ticket: str) -> resolve.HandedOn | None:
    """Where the person goes on. Raises PageError when the sign-in ends here."""
    provider = await _open_provider(parts, arrival.provider_id) if arrival.provider_id else None
    if arrival.provider_id and provider is None:
        raise await _refused(parts, request, arrival, "provider_disabled")
    desk = resolve.Desk(provider, parts.mapper, parts.last_claims, parts.feed, parts.has_way_in)
    for last_try in (False, True):
        try:
            async with transaction(parts.database) as session:
                found = await resolve.receive(session, arrival, ticket, desk, now=parts.now())
            if isinstance(found, resolve.TurnedAway):
                raise await _refused(parts, request, arrival, found.code)
            return found
        except resolve.Refused as refused:
            raise await _refused(parts, request, arrival, refused.code, refused.detail) from refused
        except IntegrityError:
            # Somebody else's sign-in took the same address in the same moment; everything was rolled back.
            if last_try:
                raise
    return None


async def _refused(parts: Parts, request: Request, arrival: resolve.Arrival, code: str, detail: str = "") -> PageError:
    """The page for a sign-in that ends here, once federation can tell administrators how it came to that."""
    if arrival.provider_id is not None:
        payload = IdentityRefused(
            provider_id=arrival.provider_id,
            reference=reference_of(request.scope),
            failure=code,
            detail=detail or code,
            steps=arrival.payload.steps if isinstance(arrival.payload, Identity) else (),
        )
        async with transaction(parts.database) as session:
            await bus.hand_over(session, payload, flow=IdentityRefused.FLOW, now=parts.now(), ttl=_UNREAD)
    return page_error(code, flow=arrival.flow, detail=detail)


async def _open_provider(parts: Parts, provider_id: str) -> ProviderExport | None:
    """The provider, if people may come through it; its owner is asked before it is refused."""
    for asked in (False, True):
        if asked:
            await parts.providers.pull([provider_id])
        provider = await parts.providers.get(provider_id)
        if provider is not None and provider.enabled and provider.sign_in:
            return provider
    return None
