"""Consent: what a person allowed a client, kept per person and client as a set of scopes."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pydantic import JsonValue

from watchword_authz import store
from watchword_database import bus
from watchword_database.engine import Session
from watchword_events.contracts import ConsentGranted, ConsentWithdrawn
from watchword_events.exports import UserExport
from watchword_events.revocations import Claim, RevocationKind
from watchword_runtime.feed import Feed


@dataclass(frozen=True, slots=True)
class Shown:
    """One line of the consent page: what a scope means in plain words; note: the data that it would show now."""

    scope: str
    title: str
    note: str = ""


# Scope → what it means and which claims it shows (OpenID Connect Core 5.4), in the order of the page.
_SCOPES: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "openid": ("Know who you are, by an identifier", ()),
    "profile": ("See your name and profile", ("name", "preferred_username")),
    "email": ("See your e-mail address", ("email",)),
    "phone": ("See your phone number", ("phone_number",)),
    "address": ("See your postal address", ("address",)),
    "groups": ("See the groups that you belong to", ()),
    "offline_access": ("Stay connected while you are away", ()),
    "watchword:admin": ("Administer this Watchword installation in your name", ()),
}


async def granted_scope(session: Session, user_id: str, client_id: str) -> frozenset[str]:
    """The scopes that stand allowed; empty when there are none or they were withdrawn."""
    row = await store.find_consent(session, user_id, client_id)
    return frozenset(row.scope) if row is not None else frozenset()


async def grant(session: Session, *, user_id: str, client_id: str, scope: frozenset[str], now: datetime) -> None:
    """The scopes stand allowed, beside those that already did. Appends ConsentGranted."""
    allowed = sorted(scope | await granted_scope(session, user_id, client_id))
    consent_id, version = await store.put_consent(session, user_id, client_id, allowed, now)
    session.emit(
        ConsentGranted(id=consent_id, version=version, user_id=user_id, client_id=client_id, scope=tuple(allowed))
    )


async def withdraw(session: Session, consent_id: str, *, feed: Feed, now: datetime) -> list[int] | None:
    """Nothing stands allowed any more, and every grant that came of it is dead; the ledger entries, to be settled.

    None when there is no such consent, or it was withdrawn before. Appends ConsentWithdrawn.
    """
    row = await store.claim_withdrawal(session, consent_id, now)
    if row is None:
        return None
    session.emit(ConsentWithdrawn(id=row.id, version=row.version, user_id=row.user_id, client_id=row.client_id))
    return await end_grants(
        session, row.user_id, client_id=row.client_id, reason="consent.withdrawn", feed=feed, now=now
    )


async def end_grants(
    session: Session, user_id: str, *, client_id: str | None, reason: str, feed: Feed, now: datetime
) -> list[int]:
    """The grants of a user are dead: those of one client, or (None) all that would outlive their session.

    Returns the ledger entries, to be settled.
    """
    entries = []
    for row in await store.grants_of(session, user_id, now, client_id=client_id):
        until = max(row.keep_until, now + timedelta(minutes=1))
        entry = await bus.revoke(
            session,
            claim=Claim.GID,
            value=row.gid,
            kind=RevocationKind.CUT,
            reason=reason,
            until=until,
            keep_until=until,
        )
        feed.pend(entry, Claim.GID, row.gid)
        entries.append(entry)
    return entries


def describe(scope: frozenset[str], user: UserExport) -> list[Shown]:
    """What the client would see and may do, for the page: known scopes first, others by their name."""
    known = [
        Shown(name, title, ", ".join(_preview(user, claims)))
        for name, (title, claims) in _SCOPES.items()
        if name in scope
    ]
    return [*known, *(Shown(name, f"Use the permission “{name}”") for name in sorted(scope - _SCOPES.keys()))]


def _preview(user: UserExport, claims: tuple[str, ...]) -> list[str]:
    values: list[JsonValue] = [user.email if claim == "email" else user.claims.get(claim) for claim in claims]
    return list(dict.fromkeys(value for value in values if isinstance(value, str) and value))
