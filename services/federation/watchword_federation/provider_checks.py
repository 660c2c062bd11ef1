"""Whether a provider would work, looked at from here without anybody signing in: each part with what was found.

Nothing that a person did is needed: discovery, keys and certificates are read anew, the client authenticates with a
code that nobody gave out, and the authorization endpoint is asked without a browser (`prompt=none`).
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal
from urllib.parse import urlsplit

from httpx2 import HTTPError
from pydantic import BaseModel

from watchword_events.exports import ProviderExport
from watchword_federation.attempts import Trail
from watchword_federation.connectors import Wishes
from watchword_federation.connectors.oidc import prover_of
from watchword_federation.connectors.saml_idp import idp_of
from watchword_federation.connectors.saml_sources import metadata_in
from watchword_federation.connectors.saml_watch import troubles_of
from watchword_federation.edge import Federation
from watchword_federation.failures import SignInFailed
from watchword_federation.fetched import reason_of
from watchword_federation.flows import new_secrets, new_state
from watchword_federation.metadata import Endpoints

Outcome = Literal["passed", "warning", "failed"]

_NOW: Final = timedelta(0)
_MADE_UP: Final = "watchword-asks-whether-this-client-is-known"
# What a token endpoint says of a code that it never gave out, to a client that it knows; the second is GitHub's word.
_CODE_REFUSED: Final = frozenset({"invalid_grant", "bad_verification_code", "invalid_code"})
_CLIENT_REFUSED: Final = frozenset({"invalid_client", "unauthorized_client", "incorrect_client_credentials"})


class Check(BaseModel):
    """One part of a provider. detail: what was found, or what to do about it."""

    check: Literal["settings", "discovery", "keys", "metadata", "certificate", "client", "callback"]
    outcome: Outcome
    detail: str


class ProviderTest(BaseModel):
    """What was found. outcome: the worst of the checks.  callback_url: to be registered there, letter by letter."""

    provider_id: str
    outcome: Outcome
    callback_url: str
    checks: list[Check]


@dataclass(slots=True)
class _Found:
    checks: list[Check]

    def note(self, check: str, outcome: Outcome, detail: str) -> None:
        self.checks.append(Check.model_validate({"check": check, "outcome": outcome, "detail": detail[:500]}))

    @property
    def worst(self) -> Outcome:
        outcomes = {each.outcome for each in self.checks}
        return "failed" if "failed" in outcomes else "warning" if "warning" in outcomes else "passed"


async def check_provider(federation: Federation, provider: ProviderExport) -> ProviderTest:
    """Every check that its kind has, in the order in which a sign-in would come upon them."""
    found = _Found([])
    _settings(provider, found)
    if provider.kind == "saml":
        await _saml(federation, provider, found)
    else:
        endpoints = await _endpoints(federation, provider, found)
        if endpoints is not None:
            await _client(federation, provider, endpoints, found)
            await _callback(federation, provider, found)
    return ProviderTest(
        provider_id=provider.id,
        outcome=found.worst,
        callback_url=federation.callback_of(provider),
        checks=found.checks,
    )


def _settings(provider: ProviderExport, found: _Found) -> None:
    if provider.insecure_skip_verify:
        found.note("settings", "warning", "insecure_skip_verify: anybody on the way can be this provider")
    elif not provider.enabled:
        found.note("settings", "warning", "it is not enabled: nobody can sign in through it yet")
    elif not provider.sign_in:
        found.note("settings", "passed", "its tokens may be exchanged; nobody signs in through it")
    else:
        found.note("settings", "passed", "enabled for sign-in")


async def _endpoints(federation: Federation, provider: ProviderExport, found: _Found) -> Endpoints | None:
    """Where the provider is spoken to; None when that cannot be known."""
    try:
        if provider.kind == "oauth2":
            return federation.oauth2.endpoints(provider)
        endpoints = await federation.oidc.endpoints(provider, max_age=_NOW)
        found.note("discovery", "passed", f"issuer {endpoints.issuer}, tokens at {endpoints.token_endpoint}")
        keys = await federation.oidc.keys(provider, endpoints, _NOW)
    except SignInFailed as error:
        found.note("keys" if len(found.checks) > 1 else "discovery", "failed", error.reason)
        return None
    if keys:
        found.note("keys", "passed", f"{len(keys)} that ID tokens may be signed with")
    else:
        found.note("keys", "failed", "none that an ID token may be signed with: RS256, PS256, ES256 or EdDSA is needed")
    return endpoints


async def _client(federation: Federation, provider: ProviderExport, endpoints: Endpoints, found: _Found) -> None:
    """Whether the token endpoint knows the client: it has to refuse the code, and not us."""
    try:
        await federation.requests.redeem(
            await federation.ways.to(provider),
            provider,
            endpoints,
            _MADE_UP,
            verifier=new_secrets().verifier,
            callback=federation.callback_of(provider),
            prover=prover_of(provider, endpoints, federation.now()),
            now=federation.now(),
        )
    except SignInFailed as error:
        code = error.reason.rpartition(": ")[2].partition(" ")[0]
        if code in _CODE_REFUSED:
            found.note("client", "passed", "the provider knows the client ID and its secret or key")
        elif code in _CLIENT_REFUSED:
            found.note("client", "failed", f"{code}: client ID, secret, key or method of authentication is wrong")
        else:
            found.note("client", "warning", f"the token endpoint said neither yes nor no ({error.reason})")
    else:
        found.note("client", "failed", "the token endpoint gave tokens for a code that nobody gave out")


async def _callback(federation: Federation, provider: ProviderExport, found: _Found) -> None:
    """Whether the provider accepts the request, callback URL included, as far as that shows without a person."""
    callback = federation.callback_of(provider)
    wishes = Wishes(prompt=("none",)) if provider.kind == "oidc" else Wishes()
    try:
        url = await federation.connectors[provider.kind].depart(
            provider, wishes, secrets=new_secrets(), state=new_state(), callback=callback, trail=Trail()
        )
        client = await federation.ways.to(provider)
        response = await client.get(url, headers={"Accept": "text/html"})
    except SignInFailed as error:
        found.note("callback", "failed", error.reason)
        return
    except (HTTPError, TimeoutError) as error:
        found.note("callback", "warning", f"the authorization endpoint cannot be asked from here: {reason_of(error)}")
        return
    to = response.headers.get("location", "")
    if to.startswith(f"{callback}?"):
        found.note("callback", "passed", "registered: the provider answers to it")
    elif response.is_redirect or response.is_success:
        found.note("callback", "passed", f"the provider goes on with the sign-in at {urlsplit(to or url).netloc}")
    else:
        detail = f"the provider answered {response.status_code}: register {callback} there, letter by letter"
        found.note("callback", "failed", detail)


async def _saml(federation: Federation, provider: ProviderExport, found: _Found) -> None:
    sources, now = federation.saml.sources, federation.now()
    await sources.refresh(provider, unless_since=now)
    known = await sources.known(provider)
    idp = idp_of(provider, metadata_in(known))
    if idp is None:
        reason = (known.failure if known else None) or "neither metadata nor fields say where the provider is"
        found.note("metadata", "failed", reason)
        return
    failure = known.failure if known else None
    outcome: Outcome = "passed" if failure is None else "warning"
    found.note("metadata", outcome, failure or f"entity {idp.entity_id}, sign-in at {idp.sso_url}")
    for trouble in troubles_of(provider, known, now):
        found.note("certificate", "failed" if trouble.is_urgent else "warning", f"{trouble.code}: {trouble.detail}")
    if not any(each.check == "certificate" for each in found.checks):
        last = min(each.not_after for each in idp.certificates)
        found.note("certificate", "passed", f"{len(idp.certificates)}, the first of them until {last.date()}")
    found.note("callback", "passed", f"give the provider {federation.callback_of(provider)} as ACS, or our metadata")
