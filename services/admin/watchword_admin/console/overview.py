"""The console's first page: what needs somebody, how many signed in, and what was last seen."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, TypeVar

from fastapi import Request, Response

from watchword_admin import store
from watchword_admin.console import documents as seen
from watchword_admin.console.pages import Console, Handler
from watchword_admin.console.sessions import Visit
from watchword_admin.provider_kinds import document_of
from watchword_database import transaction
from watchword_runtime.calls import Document, Listed, unless_away
from watchword_web.texts import Text

D = TypeVar("D", bound=Document)

_DAY: Final = timedelta(days=1)
_MANY: Final = "200"
_GLANCE: Final = 6
_SAML_AT_ONCE: Final = 20  # providers whose standing is asked for on one page


@dataclass(frozen=True, slots=True)
class Concern:
    """Something that needs somebody. kind: what the template says about it.  what: its name.  path: where to go."""

    kind: str
    what: str
    path: str
    detail: str = ""
    urgent: bool = False


async def show_overview(console: Console, request: Request, visit: Visit) -> Response:
    """What needs attention, numbers of the last day, addresses, last events. An owner that is away is left out.

    Whoever administers organizations alone begins with these.
    """
    if not visit.is_everywhere:
        return console.go("/admin/organizations")
    since = console.parts.now() - _DAY
    async with transaction(console.parts.database) as session:
        clients = await store.count_clients(session)
        providers = await store.count_providers(session)
        users = await store.count_users(session)
        found = await store.list_providers(session, after="", limit=500)
    saml = [each.id for each in found if document_of(each).kind_of == "saml"]
    calls, token = console.calls, visit.token
    sessions, denied, attempts, verifiers, keys = await asyncio.gather(
        unless_away(calls.page(token, "sessions", seen.UserSession, limit=_MANY)),
        unless_away(calls.page(token, "decisions", seen.Decision, limit=_MANY, allowed="false")),
        unless_away(calls.page(token, "upstream/attempts", seen.Attempt, limit=_MANY)),
        unless_away(calls.page(token, "verifiers", seen.Verifier, limit=_MANY)),
        unless_away(calls.page(token, "keys", seen.Key, limit=_MANY)),
    )
    states = await asyncio.gather(
        *(unless_away(calls.get(token, f"upstream/saml/{each}", seen.SamlState)) for each in saml[:_SAML_AT_ONCE])
    )
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
        ],
        is_partial=any(each is None for each in (sessions, denied, attempts, verifiers, keys)),
        names=names,
        addresses={
            Text("Issuer"): issuer,
            Text("Discovery"): f"{issuer}/.well-known/openid-configuration",
            Text("Revocation feed"): f"{issuer}/revocations",
            Text("Administration API"): f"{issuer}/api/v1",
        },
        events=console.parts.live.recent()[:_GLANCE],
    )


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
