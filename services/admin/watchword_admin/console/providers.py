"""Identity providers at the console: a card for each preset, what each needs, trying one, closing one."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fastapi import Request, Response
from pydantic import JsonValue

from watchword_admin import provider_kinds, store
from watchword_admin.console import documents as seen
from watchword_admin.console.pages import Console, Handler, named, read_provider
from watchword_admin.console.sessions import Visit
from watchword_admin.presets import Preset
from watchword_admin.provider_kinds import ProviderView
from watchword_database import transaction
from watchword_runtime.calls import Listed, Refused, together, unless_away
from watchword_web.errors import MalformedJson
from watchword_web.forms import parse_json, read_query
from watchword_web.texts import Text

_MANY: Final = "200"
_ATTEMPTS: Final = "10"
_SAML_AT_ONCE: Final = 50
_PROVIDER: Final = "/admin/providers/{provider_id}"


@dataclass(frozen=True, slots=True)
class Card:
    """A preset, and the providers that were configured from it."""

    preset: Preset
    providers: Sequence[ProviderView]


async def list_providers(console: Console, request: Request, visit: Visit) -> Response:
    """A card for each provider and for each preset that has none yet, the configured ones first."""
    public_url = console.parts.settings.public_url
    async with transaction(console.parts.database) as session:
        found = await store.list_providers(session, after="", limit=500)
    providers = [provider_kinds.view(each, public_url) for each in found]
    saml = [each.id for each in providers if each.kind == "saml"][:_SAML_AT_ONCE]
    states = await asyncio.gather(
        *(unless_away(console.calls.get(visit.token, f"upstream/saml/{each}", seen.SamlState)) for each in saml)
    )
    cards = [
        Card(preset, [each for each in providers if console.preset(each.preset) is preset])
        for preset in console.parts.presets.all
    ]
    return console.render(
        request,
        visit,
        "providers.html",
        here="providers",
        cards=sorted(cards, key=lambda card: not card.providers),
        states={state.provider_id: state for state in states if state is not None},
    )


async def show_test(
    console: Console,
    request: Request,
    visit: Visit,
    *,
    tested: seen.ProviderTest | None = None,
    resolved: seen.Resolved | None = None,
    claims: str = "",
    errors: Mapping[str, str] | None = None,
) -> Response:
    """How to try a provider, what failed there last, and for SAML how it stands. tested: what was just found.

    resolved: what would come of somebody with the typed claims.
    """
    provider = await read_provider(console, str(request.path_params["provider_id"]))
    attempts = console.calls.page(
        visit.token, "upstream/attempts", seen.Attempt, limit=_ATTEMPTS, provider_id=provider.id
    )
    path = f"upstream/saml/{named(request)['provider_id']}"
    found, standing = await asyncio.gather(
        unless_away(attempts),
        unless_away(console.calls.get(visit.token, path, seen.SamlState) if provider.kind == "saml" else _nothing()),
    )
    return console.form(
        request,
        visit,
        "provider_test.html",
        here="providers",
        provider=provider,
        tested=tested,
        resolved=resolved,
        claims=claims,
        errors=errors,
        attempts=found.items if found else [],
        standing=standing,
    )


async def test(console: Console, request: Request, visit: Visit) -> Response:
    """Everything about the provider that can be looked at without a person was looked at."""
    await console.sessions.read_form(request, visit)
    path = f"providers/{named(request)['provider_id']}/test"
    return await show_test(
        console, request, visit, tested=await console.calls.post(visit.token, path, seen.ProviderTest, {})
    )


async def preview(console: Console, request: Request, visit: Visit) -> Response:
    """What would come of somebody who arrived with the typed claims; nothing is stored."""
    form = await console.sessions.read_form(request, visit)
    claims = form.get("claims", "")
    try:
        said = parse_json(claims.encode())
        body = {"provider_id": str(request.path_params["provider_id"]), "claims": said}
        resolved = await console.calls.post(visit.token, "identities/preview", seen.Resolved, body)
    except MalformedJson:
        return await show_test(console, request, visit, claims=claims, errors={"claims": Text("not JSON")})
    except Refused as refused:
        wrong = {"claims": " ".join(refused.errors.values())}
        return await show_test(console, request, visit, claims=claims, errors=wrong)
    return await show_test(console, request, visit, claims=claims, resolved=resolved)


async def begin_trial(console: Console, request: Request, visit: Visit) -> Response:
    """A link with which one browser may try to sign in; nobody is signed in or created by it."""
    await console.sessions.read_form(request, visit)
    body = {"provider_id": str(request.path_params["provider_id"])}
    trial = await console.calls.post(visit.token, "upstream/trials", seen.Trial, body)
    return await _trial(console, request, visit, trial)


async def show_trial(console: Console, request: Request, visit: Visit) -> Response:
    """What came of a trial."""
    path = f"upstream/trials/{named(request)['trial_id']}"
    return await _trial(console, request, visit, await console.calls.get(visit.token, path, seen.Trial))


async def _trial(console: Console, request: Request, visit: Visit, trial: seen.Trial) -> Response:
    """The trial; once somebody came back, with what would become of them here, and which rules decide that."""
    provider = await read_provider(console, str(request.path_params["provider_id"]))
    client_id = read_query(request).get("client_id", "")
    arrival = tried = clients = None
    if trial.identity is not None:
        claims = _claims(trial.identity)
        body: dict[str, JsonValue] = {"provider_id": provider.id, "claims": claims}
        arrival, clients = await asyncio.gather(
            unless_away(console.calls.post(visit.token, "identities/preview", seen.Arrival, body)),
            unless_away(console.calls.page(visit.token, "clients", seen.Client, limit=_MANY)),
        )
        if arrival is not None and arrival.outcome != "refused":
            facts = _facts(trial.identity, arrival, claims)
            body = {"facts": facts, "client": client_id}
            tried = await unless_away(console.calls.post(visit.token, "rules/test", seen.Tried, body))
    return console.render(
        request,
        visit,
        "provider_trial.html",
        here="providers",
        provider=provider,
        trial=trial,
        arrival=arrival,
        tried=tried,
        clients=clients.items if clients else [],
        client_id=client_id,
    )


def _claims(identity: seen.TrialIdentity) -> dict[str, JsonValue]:
    """What a provider said, as directory's rules see it: with what was understood of it."""
    return {
        **identity.claims,
        "iss": identity.issuer,
        "sub": identity.subject,
        "email": identity.email,
        "email_verified": identity.email_verified,
    }


def _facts(identity: seen.TrialIdentity, arrival: seen.Arrival, claims: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """What access rules would see of the person: with the groups and roles that the provider gives here."""
    groups: list[JsonValue] = [*arrival.groups]
    who = arrival.user_id or ""
    named: dict[str, JsonValue] = {
        "sub": who,
        "username": identity.preferred_username,
        "preferred_username": identity.preferred_username,
    }
    given: dict[str, JsonValue] = {"groups": groups, "roles": [*arrival.roles]}
    return {
        "sub": who,
        "iss": identity.issuer,
        "email": identity.email or "",
        "groups": groups,
        "claims": {**claims, **named, **given},
    }


async def read_metadata_again(console: Console, request: Request, visit: Visit) -> Response:
    """The provider's SAML metadata were fetched now."""
    await console.sessions.read_form(request, visit)
    provider_id = named(request)["provider_id"]
    await console.calls.send(visit.token, "POST", f"upstream/saml/{provider_id}/refresh")
    return console.go(f"/admin/providers/{provider_id}/test")


async def enable(console: Console, request: Request, visit: Visit) -> Response:
    """People may sign in through it."""
    await console.sessions.read_form(request, visit)
    await console.calls.send(visit.token, "PATCH", f"providers/{named(request)['provider_id']}", {"enabled": True})
    return console.go("/admin/providers")


async def disable(console: Console, request: Request, visit: Visit) -> Response:
    """Nobody signs in through it until it is enabled again; what came through it ends where that was asked for."""
    form = await console.sessions.read_form(request, visit)
    asked = {name: "true" for name in ("end_sessions", "invite") if name in form}
    path = f"providers/{named(request)['provider_id']}"
    await console.calls.send(visit.token, "PATCH", path, {"enabled": False}, **asked)
    return console.go("/admin/providers")


async def remove(console: Console, request: Request, visit: Visit) -> Response:
    """The provider is gone, and with it everything that came through it."""
    form = await console.sessions.read_form(request, visit)
    asked = {"invite": "true"} if "invite" in form else {}
    await console.calls.send(visit.token, "DELETE", f"providers/{named(request)['provider_id']}", None, **asked)
    return console.go("/admin/providers")


def ask(deed: str) -> Handler:
    """The question before, with how many people it concerns and what they hold."""

    async def ask_first(console: Console, request: Request, visit: Visit) -> Response:
        provider = await read_provider(console, str(request.path_params["provider_id"]))
        meant = {"claim": "idp", "value": provider.id}
        of_it = {"limit": _MANY, "provider_id": provider.id}
        preview, linked, lone, invitation = await together(
            console.calls.post(visit.token, "revocations", seen.Preview, meant, dry_run="true"),
            console.calls.page(visit.token, "identities", seen.Identity, **of_it),
            console.calls.page(visit.token, "identities", seen.Identity, only="true", **of_it),
            unless_away(console.parts.invitation()),
        )
        return console.render(
            request,
            visit,
            "provider_question.html",
            here="providers",
            provider=provider,
            deed=deed,
            preview=preview,
            linked=_count(linked),
            lone=_count(lone),
            invitation=invitation,
        )

    return ask_first


def _count(found: Listed[seen.Identity]) -> str:
    return f"{len(found.items)}{'+' if found.next else ''}"


async def _nothing() -> None:
    return None


GET: Final[Mapping[str, Handler]] = {
    "/admin/providers": list_providers,
    f"{_PROVIDER}/test": show_test,
    f"{_PROVIDER}/trials/{{trial_id}}": show_trial,
    f"{_PROVIDER}/disable": ask("disable"),
    f"{_PROVIDER}/remove": ask("remove"),
}
POST: Final[Mapping[str, Handler]] = {
    f"{_PROVIDER}/test": test,
    f"{_PROVIDER}/trials": begin_trial,
    f"{_PROVIDER}/preview": preview,
    f"{_PROVIDER}/enable": enable,
    f"{_PROVIDER}/disable": disable,
    f"{_PROVIDER}/remove": remove,
    f"{_PROVIDER}/metadata": read_metadata_again,
}
