"""The console's first page: what needs somebody, how many signed in, and what was last seen."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypeVar

from fastapi import Request, Response
from sqlalchemy import text

from watchword_admin import store
from watchword_admin.audit.store import stamp
from watchword_admin.console import documents as seen
from watchword_admin.console.pages import Console, Handler
from watchword_admin.console.sessions import Visit
from watchword_admin.provider_kinds import document_of
from watchword_database import Session, followers, transaction
from watchword_runtime.calls import Calls, Document, Listed, unless_away
from watchword_web.texts import Text

D = TypeVar("D", bound=Document)


class Program(Document):
    """An initial access token, with which programs register clients."""

    id: str
    name: str
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    uses_left: int = 1


E = TypeVar("E", seen.ScimToken, seen.ApiKey, Program)

_DAY: Final = timedelta(days=1)
_MANY: Final = "200"
_GLANCE: Final = 6
_SAML_AT_ONCE: Final = 20  # providers whose standing is asked for at a time
_WEEK: Final = timedelta(days=7)
_SOON: Final = timedelta(days=30)
_WAITS_S: Final = 5.0  # an entry of the ledger without a position for so long has no leader
_COUNTED: Final = 10_000  # entries of the audit log, for each number
_GIVEN_UP: Final = Text(
    "sign-out notices were given up: the applications may still take people for signed in. They can be sent again."
)
# Only the newest entries of an action are read, however long the log is.
_SIGN_INS: Final = text("""
SELECT count(*) FILTER (WHERE at >= :day), count(*) FILTER (WHERE at >= :week), count(*)
  FROM (SELECT at FROM bus.audit WHERE action = 'sign_in.succeeded' ORDER BY seq DESC LIMIT :most) AS newest
""")
_REFUSED: Final = text("""
SELECT count(*) FILTER (WHERE at >= :day AND by IS NULL), count(*) FILTER (WHERE at >= :week AND by IS NULL), count(*)
  FROM (SELECT at, entry -> 'details' ->> 'provider_id' AS by FROM bus.audit
         WHERE action = 'sign_in.refused' ORDER BY seq DESC LIMIT :most) AS newest
""")
_HEALTH: Final = text("""
SELECT (SELECT position FROM bus.ledger),
       (SELECT coalesce(extract(epoch FROM clock_timestamp() - min(at)), 0) FROM bus.revocations
         WHERE position IS NULL),
       (SELECT count(*) FROM admin.webhook_dead_letters),
       (SELECT count(*) FROM admin.dead_letter)
""")


@dataclass(frozen=True, slots=True)
class Concern:
    """Something that needs somebody. kind: what the template says about it.  what: its name.  path: where to go."""

    kind: str
    what: str | Text
    path: str
    detail: str | Text = ""
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class Health:
    """What the database knows of the ledger and of what was given up.

    signed_in, refused: in a day and in a week, as texts.  silent, behind: names of followers of the ledger.
    """

    signed_in: tuple[str, str]
    refused: tuple[str, str]
    followers: int
    silent: frozenset[str]
    behind: frozenset[str]
    waits_s: float
    webhook_letters: int
    event_letters: int


async def show_overview(console: Console, request: Request, visit: Visit) -> Response:
    """What needs attention, numbers of the last day, addresses, last events. An owner that is away is left out.

    Whoever administers organizations alone begins with these.
    """
    if not visit.is_everywhere:
        return console.go("/admin/organizations")
    now = console.parts.now()
    since = now - _DAY
    async with transaction(console.parts.database) as session:
        clients = await store.count_clients(session)
        providers = await store.count_providers(session)
        users = await store.count_users(session)
        found = await store.list_providers(session, after="", limit=500)
        health = await _health(session, now)
    saml = [each.id for each in found if document_of(each).kind_of == "saml"]
    calls, token = console.calls, visit.token
    sessions, denied, attempts, verifiers, keys, notices = await asyncio.gather(
        unless_away(calls.page(token, "sessions", seen.UserSession, limit=_MANY)),
        unless_away(calls.page(token, "decisions", seen.Decision, limit=_MANY, allowed="false")),
        unless_away(calls.page(token, "upstream/attempts", seen.Attempt, limit=_MANY)),
        unless_away(calls.page(token, "verifiers", seen.Verifier, limit=_MANY)),
        unless_away(calls.page(token, "keys", seen.Key, limit=_MANY)),
        unless_away(calls.page(token, "deliveries", seen.SignOutNotice, limit=_MANY, state="dead")),
    )
    turns = asyncio.Semaphore(_SAML_AT_ONCE)

    async def state_of(provider_id: str) -> seen.SamlState | None:
        async with turns:
            return await unless_away(calls.get(token, f"upstream/saml/{provider_id}", seen.SamlState))

    states = await asyncio.gather(*map(state_of, saml))
    ending, is_whole = await _ending_soon(calls, token, now, has_saml=bool(saml))
    failed = [each for each in attempts.items if each.at >= since] if attempts else []
    turned_away = [each for each in denied.items if each.at >= since] if denied else []
    names = await console.names(
        users=[each.user_id for each in turned_away[:_GLANCE]],
        clients=[each.client_id for each in turned_away[:_GLANCE]],
        providers=[*saml, *(each.provider_id for each in failed[:_GLANCE])],
    )
    issuer = console.parts.settings.issuer
    return console.render(
        request,
        visit,
        "overview.html",
        here="overview",
        clients=clients,
        providers=providers,
        users=users,
        sessions=_count(sessions),
        turned_away=turned_away[:_GLANCE],
        turned_away_count=_count(denied, len(turned_away)),
        failed=failed[:_GLANCE],
        failed_count=_count(attempts, len(failed)),
        concerns=[
            *_of_providers([each for each in states if each], names.providers),
            *_of_verifiers(verifiers.items if verifiers else []),
            *_of_keys(keys.items if keys else []),
            *_of_health(health),
            *_of_notices(notices, now - _WEEK),
            *ending,
        ],
        health=health,
        is_partial=any(each is None for each in (sessions, denied, attempts, verifiers, keys, notices)) or not is_whole,
        names=names,
        addresses={
            Text("Issuer"): issuer,
            Text("Discovery"): f"{issuer}/.well-known/openid-configuration",
            Text("Revocation feed"): f"{issuer}/revocations",
            Text("Administration API"): f"{issuer}/api/v1",
        },
        events=console.parts.live.recent()[:_GLANCE],
    )


async def _ending_soon(calls: Calls, token: str, now: datetime, *, has_saml: bool) -> tuple[list[Concern], bool]:
    """Tokens and our SAML key that end within a month; and whether everybody answered."""
    scim, api_keys, programs = await asyncio.gather(
        unless_away(calls.page(token, "scim-tokens", seen.ScimToken, limit=_MANY)),
        unless_away(calls.page(token, "api-keys", seen.ApiKey, limit=_MANY)),
        unless_away(calls.page(token, "registration-tokens", Program, limit=_MANY)),
    )
    # Asking makes the first key: without a provider there is nothing to ask about.
    saml_keys = await unless_away(calls.page(token, "upstream/saml-keys", seen.Certificate)) if has_saml else None
    found = [
        *(_ending("scim", each, "/admin/scim") for each in _soon(scim.items if scim else [], now)),
        *(_ending("api_key", each, "/admin/api-keys") for each in _soon(api_keys.items if api_keys else [], now)),
        *(
            _ending("registration", each, "/admin/registration-tokens")
            for each in _soon(programs.items if programs else [], now)
            if each.uses_left and each.revoked_at is None
        ),
        *(
            Concern(
                "ends_saml_key", each.subject, "/admin/saml-keys", f"{each.not_after:%Y-%m-%d}", each.not_after <= now
            )
            for each in (saml_keys.items if saml_keys else [])
            if each.state == "active" and each.not_after - now < _SOON
        ),
    ]
    asked = [scim, api_keys, programs, *([saml_keys] if has_saml else [])]
    return found, all(each is not None for each in asked)


async def _health(session: Session, now: datetime) -> Health:
    connection = await session.connection()
    moments = {"day": stamp(now - _DAY), "week": stamp(now - _WEEK), "most": _COUNTED}
    signed_in = (await connection.execute(_SIGN_INS, moments)).one()
    refused = (await connection.execute(_REFUSED, moments)).one()
    position, waits_s, webhook_letters, event_letters = (await connection.execute(_HEALTH)).one()
    behind = await followers.behind(session, position)
    return Health(
        signed_in=_bounded(*signed_in),
        refused=_bounded(*refused),
        followers=len(await followers.list_followers(session)),
        silent=frozenset(each.name for each in behind if each.is_unreachable),
        behind=frozenset(each.name for each in behind if not each.is_unreachable),
        waits_s=float(waits_s),
        webhook_letters=webhook_letters,
        event_letters=event_letters,
    )


def _bounded(day: int, week: int, read: int) -> tuple[str, str]:
    """Numbers of a day and a week; lower bounds where not all that there is was read."""
    more = "+" if read == _COUNTED else ""
    return str(day) + (more if day == week else ""), str(week) + more


def _soon(items: Iterable[E], now: datetime) -> Iterator[E]:
    """What ends within a month; of what was made for less than four, in the last quarter. What is over is left out."""
    for each in items:
        if each.expires_at is not None and timedelta(0) < each.expires_at - now < min(
            _SOON, (each.expires_at - each.created_at) / 4
        ):
            yield each


def _ending(kind: str, what: seen.ScimToken | seen.ApiKey | Program, path: str) -> Concern:
    return Concern(f"ends_{kind}", what.name, path, f"{what.expires_at:%Y-%m-%d}")


def _of_health(health: Health) -> Iterator[Concern]:
    if health.waits_s > _WAITS_S:
        yield Concern("leader", Text("Revocation feed"), "/admin/revocations", f"{health.waits_s:.0f}", urgent=True)
    for name in sorted(health.silent):
        yield Concern("silent", name, "/admin/verifiers")
    if health.webhook_letters:
        yield Concern("webhooks", str(health.webhook_letters), "/admin/webhooks")
    if health.event_letters:
        yield Concern("letters", str(health.event_letters), "/admin/events")


def _of_notices(notices: Listed[seen.SignOutNotice] | None, since: datetime) -> Iterator[Concern]:
    """Applications that could not be told lately that sessions are over."""
    lately = [each for each in notices.items if each.ended_at >= since] if notices else []
    if lately:
        yield Concern("notices", _count(notices, len(lately)), "/admin/deliveries?state=dead", _GIVEN_UP)


def _count(listed: Listed[D] | None, counted: int | None = None) -> str:
    """A number that may be a lower bound: one page was looked at."""
    if listed is None:
        return "–"
    number = len(listed.items) if counted is None else counted
    return f"{number}+" if listed.next and number == len(listed.items) else str(number)


def _of_providers(states: Iterable[seen.SamlState], names: Mapping[str, str]) -> list[Concern]:
    return [
        Concern(
            "provider",
            names.get(state.provider_id, state.provider_id),
            f"/admin/providers/{state.provider_id}",
            trouble.detail,
            urgent=trouble.urgent,
        )
        for state in states
        for trouble in state.troubles
    ]


def _of_verifiers(verifiers: Iterable[seen.Verifier]) -> list[Concern]:
    """Registered ones of which no instance is heard."""
    return [
        Concern("verifier", each.name, "/admin/keys#verifiers")
        for each in verifiers
        if each.is_registered and not any(one.is_reachable for one in each.instances)
    ]


def _of_keys(keys: Iterable[seen.Key]) -> list[Concern]:
    return [
        Concern("key", key.kid, "/admin/keys", ", ".join(key.waiting_for))
        for key in keys
        if key.state == "next" and key.waiting_for
    ]


GET: Final[Mapping[str, Handler]] = {"/admin": show_overview}
