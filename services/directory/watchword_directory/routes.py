"""HTTP edge of the sign-in, and the exports for other services' copies."""

import re
from collections.abc import Sequence
from typing import Final

import structlog
from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy.exc import IntegrityError

from watchword_database import Database, Session, transaction
from watchword_directory import resolve, store
from watchword_directory.edge import Parts, page_error
from watchword_directory.emails import InvalidEmail, canonical_email
from watchword_directory.models import User
from watchword_directory.names import InvalidUsername, canonical_username
from watchword_directory.profiles import export
from watchword_events.exports import Exported, UserExport
from watchword_events.names import Service
from watchword_runtime.internal import Exporter, ExportQuery
from watchword_runtime.internal import router as internal_router
from watchword_web.forms import read_query
from watchword_web.surfaces import Surface

log = structlog.get_logger()

_TICKET: Final = re.compile(r"[\w-]{43}", re.ASCII)


def sign_in_router(parts: Parts) -> APIRouter:
    """`/login/identity`: the step of a sign-in in which an identity becomes a user."""
    router = APIRouter(include_in_schema=False)

    @router.get("/login/identity")
    async def receive_identity(request: Request) -> Response:
        parts.sign_ins.check(parts.address(request), parts.now(), Surface.PAGE)
        parts.require_ledger()
        ticket = read_query(request).get("ticket", "")
        if not _TICKET.fullmatch(ticket):
            raise page_error("invalid_ticket", detail="not a ticket")
        async with transaction(parts.database) as session:
            arrival = await resolve.find_arrival(session, ticket, now=parts.now())
        if arrival is None:
            raise page_error("invalid_ticket", detail="unknown")
        if not resolve.is_of_this_browser(arrival, parts.cookies.read_flow(request, arrival.flow)):
            raise page_error("wrong_browser", detail="flow cookie missing or of another browser")
        handed_on = None if arrival.repeated else await _receive(parts, arrival, ticket)
        if handed_on is None:
            # A repeated step with the right cookie goes to where its flow stands.
            return RedirectResponse(f"{parts.settings.public_url}/login?flow={arrival.flow}", 303)
        return RedirectResponse(f"{parts.settings.public_url}{handed_on.step}?ticket={handed_on.ticket}", 303)

    return router


async def _receive(parts: Parts, arrival: resolve.Arrival, ticket: str) -> resolve.HandedOn | None:
    """Where the person goes on. Raises PageError when the sign-in ends here."""
    if arrival.provider_id and not await _may_sign_in(parts, arrival.provider_id):
        raise page_error("provider_disabled", flow=arrival.flow)
    for last_try in (False, True):
        try:
            async with transaction(parts.database) as session:
                return await resolve.receive(session, arrival, ticket, feed=parts.feed, now=parts.now())
        except resolve.Refused as refused:
            raise page_error(refused.code, flow=arrival.flow) from refused
        except IntegrityError:
            # Somebody else's sign-in took the same address in the same moment; everything was rolled back.
            if last_try:
                raise
    return None


async def _may_sign_in(parts: Parts, provider_id: str) -> bool:
    """Whether people may come through the provider; its owner is asked before it is refused."""
    for asked in (False, True):
        if asked:
            await parts.providers.pull([provider_id])
        provider = await parts.providers.get(provider_id)
        if provider is not None and provider.enabled and provider.sign_in:
            return True
    return False


def exporter(database: Database) -> Exporter:
    """What `GET /internal/export/user` answers: by id, by name, by verified address, or a page of all."""

    async def export_users(query: ExportQuery) -> Sequence[Exported[UserExport]]:
        async with transaction(database) as session:
            if query.lookup is not None:
                found = await _look_up(session, *query.lookup)
                return [] if found is None else [export(found)]
            users = await store.export_users(session, ids=query.ids, after=query.after, limit=query.limit)
            return [export(user) for user in users]

    return export_users


async def _look_up(session: Session, column: str, value: str) -> User | None:
    """The user whom a person means who types this into a sign-in form, in whatever case."""
    try:
        match column:
            case "username":
                return await store.find_user_by_username(session, canonical_username(value))
            case "email":
                return await store.find_user_by_email(session, canonical_email(value))
    except (InvalidUsername, InvalidEmail):
        return None
    return None


def internal(parts: Parts) -> APIRouter:
    """The exports, for authenticated services only."""
    return internal_router(
        parts.settings.keyring,
        Service.DIRECTORY,
        {"user": exporter(parts.database)},
        lookups={"user": frozenset({"username", "email"})},
        now=parts.now,
    )
