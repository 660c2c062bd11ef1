"""Consent: what a person allowed a client: kept for both as scopes, each at the resources that were named."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import orjson
from pydantic import JsonValue

from watchword_authz import store
from watchword_authz.models import Consent
from watchword_authz.previews import preview_of
from watchword_authz.requests import ANYWHERE, Permission
from watchword_database import bus
from watchword_database.engine import Database, Session
from watchword_events.contracts import ConsentGranted, ConsentWithdrawn
from watchword_events.exports import ClientExport, ScopeExport, UserExport
from watchword_events.revocations import Claim, RevocationKind
from watchword_policy.scopes import BUILT_IN
from watchword_runtime.feed import Feed
from watchword_web.texts import Text


@dataclass(frozen=True, slots=True)
class Shown:
    """One line of the consent page: what a scope means in plain words; note: the data that it would show now."""

    scope: str
    title: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class ShownDetail:
    """One rich authorization request on the consent page: its type, and everything that it says by label."""

    type: str
    facts: Mapping[str, str]


# RFC 9396 2.2: common data fields, as people may read them.
_LABELS: Final = {
    "actions": Text("It may"),
    "identifier": Text("Of"),
    "datatypes": Text("Data"),
    "locations": Text("At"),
    "privileges": Text("With the rights of"),
}


async def allowed(database: Database, user_id: str, client_id: str) -> frozenset[Permission]:
    """What stands allowed; nothing when it was withdrawn."""
    return permissions_of(await store.look_at_consent(database, user_id, client_id))


async def held(session: Session, user_id: str, client_id: str) -> frozenset[Permission]:
    """As `allowed`; nobody withdraws it before the transaction ends."""
    return permissions_of(await store.hold_consent(session, user_id, client_id))


def permissions_of(row: Consent | None) -> frozenset[Permission]:
    """What a consent says."""
    return frozenset((at, scope) for at, scopes in ({} if row is None else places_of(row)).items() for scope in scopes)


def places_of(row: Consent) -> dict[str, list[str]]:
    """The scopes of a consent by resource: first those that were allowed without one."""
    return {ANYWHERE: row.scope, **dict(sorted(row.scope_at.items()))}


async def grant(session: Session, *, user_id: str, client_id: str, allow: frozenset[Permission], now: datetime) -> None:
    """That stands allowed, beside what already did. Appends ConsentGranted."""
    scope_at: dict[str, list[str]] = {}
    for at, scope in sorted(allow):
        scope_at.setdefault(at, []).append(scope)
    anywhere = scope_at.pop(ANYWHERE, [])
    row = await store.add_consent(session, user_id, client_id, scope=anywhere, scope_at=scope_at, now=now)
    session.emit(
        ConsentGranted(
            id=row.id,
            version=row.version,
            user_id=user_id,
            client_id=client_id,
            scope=tuple(sorted({scope for _, scope in permissions_of(row)})),
        )
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


async def withdraw_from(session: Session, user_id: str, client_id: str, *, feed: Feed, now: datetime) -> list[int]:
    """The client has nothing of the user's any more, whether or not they were asked; ledger entries to settle.

    Appends ConsentWithdrawn where something stood allowed.
    """
    row = await store.find_consent(session, user_id, client_id)
    entries = await withdraw(session, row.id, feed=feed, now=now) if row is not None else None
    if entries is not None:
        return entries
    return await end_grants(session, user_id, client_id=client_id, reason="consent.withdrawn", feed=feed, now=now)


async def end_grants(
    session: Session, user_id: str, *, client_id: str | None, reason: str, feed: Feed, now: datetime
) -> list[int]:
    """The grants of a user are dead: those of one client, or (None) all that would outlive their session.

    Returns the ledger entries, to be settled.
    """
    rows = await store.claim_grants(session, user_id, now, client_id=client_id)
    return await end_each(session, {row.gid: row.keep_until for row in rows}, reason=reason, feed=feed, now=now)


async def end_each(
    session: Session, grants: Mapping[str, datetime], *, reason: str, feed: Feed, now: datetime
) -> list[int]:
    """The grants are dead; the ledger entries, to be settled. grants: until when each may live."""
    if not grants:
        return []
    values = {gid: max(keep_until, now + timedelta(minutes=1)) for gid, keep_until in grants.items()}
    entries = await bus.revoke_each(session, values, claim=Claim.GID, kind=RevocationKind.CUT, reason=reason)
    for gid, entry in entries.items():
        feed.pend(entry, Claim.GID, gid)
    return list(entries.values())


def by_name(scopes: Sequence[ScopeExport]) -> Mapping[str, ScopeExport]:
    """The installation's own scopes."""
    return {scope.name: scope for scope in scopes}


def titles_of(scope: frozenset[str], own: Mapping[str, ScopeExport]) -> dict[str, str]:
    """What each scope means in plain words: known ones first, the others by their name.

    own: the installation's own scopes, each in the words of its administrators.
    """
    known = {name: Text(title) for name, title in BUILT_IN.items() if name in scope}
    return known | {name: _own_title(name, own.get(name)) for name in sorted(scope - BUILT_IN.keys())}


def _own_title(name: str, own: ScopeExport | None) -> str:
    return own.description if own is not None else Text("Use the permission “%(name)s”", name=name)


def describe(
    scope: frozenset[str], user: UserExport, client: ClientExport, own: Mapping[str, ScopeExport]
) -> list[Shown]:
    """What the client would see and may do, for the page. own: as in titles_of."""
    return [Shown(name, title, preview_of(name, user, client, own)) for name, title in titles_of(scope, own).items()]


def links_of(client: ClientExport) -> dict[str, str]:
    """Where the client says what it does with the data: pages under https alone, by what they are."""
    said = {Text("Privacy"): client.policy_uri, Text("Terms of use"): client.tos_uri}
    return {title: uri for title, uri in said.items() if uri is not None and uri.startswith("https://")}


def describe_details(details: Iterable[Mapping[str, JsonValue]]) -> list[ShownDetail]:
    """Everything that is asked for in detail: what is not shown is not allowed. Spec: RFC 9396 12, 13."""
    return [
        ShownDetail(
            str(detail["type"]),
            {
                _LABELS.get(name, name.replace("_", " ")): _text(detail[name])
                for name in [*(each for each in _LABELS if each in detail), *sorted(detail.keys() - _LABELS.keys())]
                if name != "type"
            },
        )
        for detail in details
    ]


def _text(value: JsonValue) -> str:
    """A value in one line."""
    match value:
        case str():
            return value
        case list() if all(isinstance(each, str) for each in value):
            return ", ".join(str(each) for each in value)
        case dict():
            return ", ".join(f"{name}: {_text(each)}" for name, each in sorted(value.items()))
        case _:
            return orjson.dumps(value).decode()
