"""What a person sees of their own account: where they are signed in, and which applications use it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from watchword_authz import consent, credentials, sessions, store
from watchword_authz.context import Context
from watchword_authz.models import EndReason, UserSession
from watchword_database.engine import Session, transaction
from watchword_events.exports import UserExport
from watchword_runtime.callers import ACCOUNT
from watchword_web.devices import device_of

_MOST_SHOWN: Final = 100


@dataclass(frozen=True, slots=True)
class Visitor:
    """A person in a browser where they are signed in.

    secret: of the session's cookie, to which the forms are bound.  is_recent: they proved a moment ago who they are,
    with every factor that they have: enough to change a credential.  rev: the ledger position noted before any of it
    was read.
    """

    session: UserSession
    user: UserExport
    secret: str
    is_recent: bool
    rev: int


@dataclass(frozen=True, slots=True)
class Place:
    """A session as its owner recognises it."""

    sid: str
    device: str
    address: str
    seen_at: datetime
    created_at: datetime
    is_this: bool


@dataclass(frozen=True, slots=True)
class Used:
    """An application that the person lets use their account.

    allowed: what, in words, by the resource where it may be used ("" where none was named); nothing where nobody was
    asked.
    """

    client_id: str
    name: str
    main_uri: str | None
    allowed: Mapping[str, Sequence[str]]
    since: datetime


async def places_of(context: Context, session: Session, visitor: Visitor) -> list[Place]:
    """Where the person is signed in: here first, then by when it was used last."""
    rows = await store.list_sessions(session, context.now(), user_id=visitor.user.id, after="", limit=_MOST_SHOWN)
    places = [
        Place(row.id, device_of(row.user_agent), row.address, row.seen_at, row.created_at, row.id == visitor.session.id)
        for row in rows
        if context.feed.is_live(sessions.lineage(row))
    ]
    return sorted(places, key=lambda place: (not place.is_this, -place.seen_at.timestamp()))


async def end_places(context: Context, session: Session, visitor: Visitor, *, sid: str | None = None) -> list[int]:
    """A session of the person is over, or (None) all but this one; ledger entries to settle. Appends SessionEnded.

    With all others, links to choose a password that were asked for before are worthless, too.
    """
    if sid is None:
        await credentials.forget_links(session, visitor.user.id, context.now())
    theirs = await store.sids_of(session, visitor.user.id)
    chosen = [each for each in theirs if (each == sid if sid is not None else each != visitor.session.id)]
    reason = EndReason.SIGN_OUT if sid is not None else EndReason.EVERYWHERE
    return await sessions.end(session, chosen, reason, feed=context.feed, now=context.now())


async def used_by(context: Context, visitor: Visitor, signed_in: Sequence[Place]) -> list[Used]:
    """The applications, by name: those with a consent, and those that got something in a session that lives."""
    live, now = {place.sid for place in signed_in}, context.now()
    async with transaction(context.database) as session:
        consents = await store.list_consents(session, user_id=visitor.user.id, after="", limit=_MOST_SHOWN)
        grants = await store.list_grants(session, visitor.user.id, now, limit=_MOST_SHOWN)
    found = {row.client_id: (consent.places_of(row), row.granted_at) for row in consents}
    for grant in grants:
        if grant.offline or grant.sid in live:
            found.setdefault(grant.client_id, ({}, grant.issued_at))
    used = []
    for client_id, (places, since) in found.items():
        client = await context.clients.get(client_id)
        if client is not None and client_id != ACCOUNT:
            allowed = {
                at: list(consent.titles_of(frozenset(scopes), context.scopes.page).values())
                for at, scopes in places.items()
                if scopes
            }
            used.append(Used(client_id, client.client_name, client.main_uri, allowed, since))
    return sorted(used, key=lambda each: (each.name.casefold(), each.client_id))
