"""Tokens of a provider for an application: it shows a token of ours, of a person, and gets one of theirs elsewhere.

    application ──POST /api/auth/sso/token/{ProviderId}, our access token──▶ here ──the person's token──▶ provider
    application ◀──── another token, for what the administrator allows ─────  here ◀────────────────────  provider

Deny is the default: the provider names the applications, and what each may ask for. See docs/adr/0034.
Spec: RFC 8693 2.1, 2.2; RFC 7523 2.1; draft-ietf-oauth-identity-assertion-authz-grant 4.3.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import structlog
from pydantic import JsonValue

from watchword_events.exports import IdentityExport, ProviderExport, TokenAccessExport, TokenExchangeExport
from watchword_federation import vault
from watchword_federation.attempts import Trail
from watchword_federation.edge import Federation
from watchword_federation.failures import Failure, SignInFailed
from watchword_federation.vault import Kept
from watchword_runtime.access import Caller
from watchword_web.errors import OAuthError
from watchword_web.forms import Params

TOKEN_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_TYPE: Final = "urn:ietf:params:oauth:token-type:"
ACCESS_TOKEN: Final = f"{_TYPE}access_token"
ID_JAG: Final = f"{_TYPE}id-jag"
_PARAMETERS: Final = frozenset({"requested_token_type", "audience", "resource", "scope"})

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Asked:
    """What an application asks for, as it named it."""

    audience: str | None
    resource: str | None
    scope: frozenset[str]
    token_type: str | None

    @property
    def targets(self) -> tuple[str, ...]:
        """For whom the token shall be."""
        return tuple(each for each in (self.resource, self.audience) if each)


def read(form: Params) -> Asked:
    """A request in types. Raises OAuthError for what nobody here understands."""
    if unknown := sorted(set(form) - _PARAMETERS):
        raise OAuthError("invalid_request", f"Not understood: {', '.join(unknown)[:80]}")
    return Asked(
        audience=form.get("audience") or None,
        resource=form.get("resource") or None,
        scope=frozenset(form.get("scope", "").split()),
        token_type=form.get("requested_token_type") or None,
    )


async def exchange(
    federation: Federation, provider_id: str, caller: Caller, asked: Asked, trail: Trail
) -> dict[str, JsonValue]:
    """The answer to an application: a token of the provider, about the person whose token it showed.

    Raises OAuthError for what is not allowed, SignInFailed for what the provider does not give.
    """
    provider = await _usable(federation, provider_id)
    settings, access = admitted(provider, caller)
    check(settings, access, asked)
    trail.step("policy", f"{settings.way} for client {caller.client_id}")
    link = await _link(federation, provider, caller.person_id)
    trail.step("identity", "linked")
    kept = await vault.fresh(federation, provider, link, settings.user_token, trail)
    if settings.way == "kept":
        answer = given(kept, federation)
    else:
        answer = await _exchanged(federation, provider, settings, asked, kept)
    # Asking took its time: a provider that was switched off meanwhile gives nothing through us.
    await _usable(federation, provider_id)
    trail.step("exchange", "a token")
    federation.audit.note(
        "upstream_token.issued",
        user_id=caller.person_id,
        provider_id=provider.id,
        client_id=caller.client_id,
        way=settings.way,
        targets=list(asked.targets),
        scope=" ".join(sorted(asked.scope)),
    )
    log.info("upstream_token.issued", provider_id=provider.id, client_id=caller.client_id, user_id=caller.user_id)
    return answer


async def _usable(federation: Federation, provider_id: str) -> ProviderExport:
    """A provider that is enabled, to sign in through or for its tokens alone. Raises SignInFailed."""
    provider = await federation.known_provider(provider_id, federation.feed.position)
    if not provider.enabled:
        raise SignInFailed(Failure.PROVIDER_DISABLED, "not enabled")
    if provider.kind == "saml":
        raise SignInFailed(
            Failure.UPSTREAM_EXCHANGE_FAILED,
            "a SAML provider gives assertions, not tokens: there is nothing to exchange",
        )
    return provider


def admitted(provider: ProviderExport, caller: Caller) -> tuple[TokenExchangeExport, TokenAccessExport]:
    """What the provider's settings allow this application. Raises OAuthError."""
    settings = provider.oauth.exchange
    if settings is not None and provider.oauth.keep_tokens:
        for access in settings.clients:
            if access.client_id == caller.client_id:
                return settings, access
    raise OAuthError("unauthorized_client", "This client may not have tokens of that identity provider", 403)


def check(settings: TokenExchangeExport, access: TokenAccessExport, asked: Asked) -> None:
    """What is asked for can be given, and is no more than the application may have. Raises OAuthError."""
    wanted = ID_JAG if settings.way == "id_jag" else ACCESS_TOKEN
    if asked.token_type not in (None, wanted):
        raise OAuthError("invalid_request", f"requested_token_type can only be {wanted} here")
    if settings.way == "kept" and (asked.targets or asked.scope):
        raise OAuthError(
            "invalid_request", "The token is as the sign-in made it: neither audience nor scope can be chosen"
        )
    if not access.audiences.issuperset(asked.targets):
        raise OAuthError("invalid_target", "This client may not have tokens for that audience or resource")
    if not asked.scope <= access.scopes:
        raise OAuthError("invalid_scope", "The scope is wider than this client may have there")
    if settings.way == "id_jag" and asked.audience is None:
        raise OAuthError("invalid_target", "Say by audience for which authorization server the grant shall be")
    if settings.way == "entra_obo" and not asked.scope and not asked.targets:
        raise OAuthError("invalid_scope", "Say by scope, resource or audience what the token shall be for")


async def _link(federation: Federation, provider: ProviderExport, user_id: str) -> IdentityExport:
    """The identity of the person at the provider, as directory has it at this moment. Raises SignInFailed."""
    found = [link for link in await federation.identities_of(user_id) if link.provider_id == provider.id]
    if not found:
        raise SignInFailed(Failure.UPSTREAM_EXCHANGE_FAILED, "no identity of this provider leads to the person")
    # Of several accounts there, the one whose tokens are kept last would be a guess about who is meant.
    if len(found) > 1:
        raise SignInFailed(Failure.UPSTREAM_EXCHANGE_FAILED, "several identities of this provider lead to the person")
    return found[0]


def given(kept: Kept, federation: Federation) -> dict[str, JsonValue]:
    """The kept access token as an answer. Spec: RFC 8693 2.2.1."""
    answer: dict[str, JsonValue] = {
        "access_token": kept.access_token,
        "issued_token_type": ACCESS_TOKEN,
        "token_type": "Bearer",
    }
    if kept.expires_at is not None:
        answer["expires_in"] = max(0, int((kept.expires_at - federation.now()).total_seconds()))
    if kept.scope is not None:
        answer["scope"] = kept.scope
    return answer


async def _exchanged(
    federation: Federation, provider: ProviderExport, settings: TokenExchangeExport, asked: Asked, kept: Kept
) -> dict[str, JsonValue]:
    """What the provider gives in exchange. A refresh token that it adds stays here. Raises SignInFailed."""
    endpoints = await vault.endpoints_of(federation, provider)
    if settings.token_endpoint is not None:
        endpoints = replace(endpoints, token_endpoint=settings.token_endpoint)
    client = await federation.ways.to(provider)
    try:
        said = await federation.requests.ask(
            client, exchanger(provider, settings), endpoints, form_of(settings, asked, kept), now=federation.now()
        )
    except SignInFailed as error:
        raise SignInFailed(Failure.UPSTREAM_EXCHANGE_FAILED, error.reason) from error
    wanted = ID_JAG if settings.way == "id_jag" else ACCESS_TOKEN
    kind = str(said.get("token_type", "Bearer")).lower()
    issued = said.get("issued_token_type", ACCESS_TOKEN)
    if (issued == ID_JAG) != (wanted == ID_JAG) or (kind == "n_a") != (wanted == ID_JAG):
        raise SignInFailed(
            Failure.UPSTREAM_EXCHANGE_FAILED, "the provider gave a token of another type than was asked for"
        )
    answer: dict[str, JsonValue] = {
        "access_token": said["access_token"],
        "issued_token_type": wanted,
        "token_type": "N_A" if wanted == ID_JAG else "Bearer",
    }
    life, scope = said.get("expires_in"), said.get("scope")
    if isinstance(life, int) and not isinstance(life, bool):
        answer["expires_in"] = life
    if isinstance(scope, str):
        answer["scope"] = scope
    return answer


def form_of(settings: TokenExchangeExport, asked: Asked, kept: Kept) -> dict[str, str]:
    """The request to the provider's token endpoint, in the form that each way has.

    On behalf of: https://learn.microsoft.com/en-us/entra/identity-platform/v2-oauth2-on-behalf-of-flow.
    Spec: RFC 8693 2.1; draft-ietf-oauth-identity-assertion-authz-grant 4.3.
    """
    subject = (kept.id_token if settings.user_token == "id_token" else kept.access_token) or ""
    scope = " ".join(sorted(asked.scope))
    if settings.way == "entra_obo":
        return {
            "grant_type": JWT_BEARER,
            "assertion": subject,
            "requested_token_use": "on_behalf_of",
            "scope": scope or f"{asked.targets[0].rstrip('/')}/.default",
        }
    form: dict[str, str | None] = {
        "grant_type": TOKEN_EXCHANGE,
        "requested_token_type": ID_JAG if settings.way == "id_jag" else ACCESS_TOKEN,
        "subject_token": subject,
        "subject_token_type": f"{_TYPE}{settings.user_token}",
        "audience": asked.audience,
        "resource": asked.resource,
        "scope": scope or None,
    }
    return {name: value for name, value in form.items() if value is not None}


def exchanger(provider: ProviderExport, settings: TokenExchangeExport) -> ProviderExport:
    """The provider as the client sees it that exchanges: its own, where the settings name no other.

    The id says which secret is meant: that of the other client is sealed under a name of its own.
    """
    changed: dict[str, object] = {}
    oauth: dict[str, object] = {
        name: value
        for name, value in (
            ("private_key_id", settings.private_key_id),
            ("client_assertion_audience", settings.client_assertion_audience),
        )
        if value is not None
    }
    if settings.client_id is not None:
        changed["client_id"] = settings.client_id
    if settings.token_endpoint_auth_method is not None:
        changed["token_endpoint_auth_method"] = settings.token_endpoint_auth_method
        changed["client_secret"] = provider.exchange_secret
        changed["id"] = f"exchange:{provider.id}"
    return provider.model_copy(update={**changed, "oauth": provider.oauth.model_copy(update=oauth)})


def public(error: SignInFailed, reference: str) -> OAuthError:
    """A failure as an application reads it: its name, what can be done, and under which reference the steps are."""
    description = f"{error.title}. {error.message} Reference: {reference}"
    return OAuthError(error.code, description, 400 if error.status < 500 else 502, error.reason)


def answer_headers() -> Mapping[str, str]:
    """What goes with an answer that holds a token. Spec: RFC 6749 5.1."""
    return {"Cache-Control": "no-store", "Pragma": "no-cache"}
