"""Composition of the hot path: the endpoints that are found before any middleware."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from watchword_database import Database
from watchword_events.exports import ScopeExport
from watchword_runtime.books import Book
from watchword_runtime.client_assertions import Assertions
from watchword_runtime.connections import Proxies
from watchword_runtime.jwks import JWKS_PATH
from watchword_runtime.key_uses import KeyUses
from watchword_runtime.receipts import Endings
from watchword_runtime.service import ASGIApp
from watchword_runtime.shared import Shared
from watchword_token.access import AccessRules
from watchword_token.approvals import Approvals
from watchword_token.binding import Bindings
from watchword_token.clients import Clients
from watchword_token.consumers import Memory
from watchword_token.families import Families
from watchword_token.grants import Grant
from watchword_token.grants.authorization_code import AuthorizationCodeGrant
from watchword_token.grants.client_credentials import ClientCredentialsGrant
from watchword_token.grants.device_code import GRANT_TYPE as DEVICE_CODE
from watchword_token.grants.device_code import DeviceCodeGrant
from watchword_token.grants.jwt_bearer import GRANT_TYPE as JWT_BEARER
from watchword_token.grants.jwt_bearer import JwtBearerGrant
from watchword_token.grants.personal import PersonalCredentials
from watchword_token.grants.refresh_token import RefreshTokenGrant
from watchword_token.grants.token_exchange import GRANT_TYPE as TOKEN_EXCHANGE
from watchword_token.grants.token_exchange import TokenExchangeGrant
from watchword_token.introspection import Introspection
from watchword_token.issuing import Issuing
from watchword_token.metadata import JWKS_ALIAS, OAUTH_PATH, OPENID_PATH, metadata
from watchword_token.own_claims import OwnClaims, Scopes, names_of
from watchword_token.persons import Persons
from watchword_token.revocation import Revoking
from watchword_token.routes.documents import Document
from watchword_token.routes.hot import Answer, HotEndpoint
from watchword_token.routes.protocol import (
    IntrospectionEndpoint,
    RevocationEndpoint,
    TokenEndpoint,
    UserinfoEndpoint,
)
from watchword_token.settings import TokenSettings
from watchword_token.store import HotStore
from watchword_token.subjects import Subjects
from watchword_token.throttle import Throttle
from watchword_token.userinfo import Userinfo
from watchword_token.workloads import Workloads
from watchword_web.branding import Branding
from watchword_web.cors import IsAllowed, WithCors

METADATA_MAX_AGE_S: Final = 3600


def hot_endpoints(
    settings: TokenSettings,
    *,
    bindings: Bindings,
    proxies: Proxies,
    assertions: Assertions,
    scopes: Book[ScopeExport, Scopes],
    branding: Branding,
    clients: Clients,
    throttle: Throttle,
    memory: Memory,
    issuing: Issuing,
    approvals: Approvals,
    workloads: Workloads,
    families: Families,
    revoking: Revoking,
    endings: Endings,
    store: HotStore,
    access_rules: AccessRules,
    database: Database,
    key_uses: KeyUses,
    shared: Shared,
) -> dict[str, ASGIApp]:
    """The endpoints that are found before any middleware, by path."""
    now, tokens, users = shared.now, issuing.tokens, memory.users
    subjects = Subjects(issuing, store, users)
    persons = Persons(settings.issuer, database, subjects, assertions, key_uses)
    personal = PersonalCredentials(issuing, persons, users, access_rules)
    grants: Mapping[str, Grant] = {
        "authorization_code": AuthorizationCodeGrant(approvals, database, store, revoking),
        "refresh_token": RefreshTokenGrant(issuing, store, families, revoking, users, access_rules),
        "client_credentials": ClientCredentialsGrant(issuing, personal),
        DEVICE_CODE: DeviceCodeGrant(approvals, database, store, revoking),
        TOKEN_EXCHANGE: TokenExchangeGrant(issuing, subjects, workloads, access_rules),
        JWT_BEARER: JwtBearerGrant(workloads),
    }
    introspection = Introspection(tokens, families, store, shared.feed, issuing.formats, issuing.subjects, proxies)

    @lru_cache(maxsize=4)
    def document(detail_types: frozenset[str], own_claims: OwnClaims, tos_uri: str | None) -> bytes:
        return metadata(
            settings.issuer,
            registration=settings.registration != "off",
            client_documents=bool(settings.client_document_hosts),
            certificates=bool(settings.client_certificate_header),
            authorities=settings.client_ca_file is not None,
            detail_types=detail_types,
            own_claims=own_claims,
            tos_uri=tos_uri,
        )

    discovery = Document(
        lambda: document(memory.detail_types.known, names_of(scopes.page), branding.brand.tos_uri),
        max_age_s=METADATA_MAX_AGE_S,
    )
    jwks = Document(
        lambda: memory.keys.jwks, max_age_s=settings.token_jwks_max_age_s, media_type="application/jwk-set+json"
    )
    token = TokenEndpoint(clients, throttle, issuing, bindings, grants, proxies, shared.telemetry)
    introspect = IntrospectionEndpoint(clients, throttle, introspection)
    revoke = RevocationEndpoint(
        clients,
        throttle,
        tokens=tokens,
        families=families,
        revoking=revoking,
        endings=endings,
        subjects=issuing.subjects,
    )
    userinfo = Userinfo(
        tokens, shared.feed, users, memory.clients, bindings, issuing.formats, issuing.subjects, proxies
    )
    is_allowed = memory.origins.has

    def hot(answer: Answer, *methods: str, is_allowed: IsAllowed | None = is_allowed) -> ASGIApp:
        return HotEndpoint(answer, throttle=throttle, now=now, methods=methods, is_allowed=is_allowed)

    return {
        "/oauth2/token": hot(token.answer, "POST"),
        "/oauth2/introspect": hot(introspect.answer, "POST", is_allowed=None),
        "/oauth2/revoke": hot(revoke.answer, "POST"),
        "/oauth2/userinfo": hot(UserinfoEndpoint(userinfo, proxies).answer, "GET", "POST"),
        JWKS_PATH: WithCors(jwks, is_allowed, ("GET",)),
        JWKS_ALIAS: WithCors(jwks, is_allowed, ("GET",)),
        OPENID_PATH: WithCors(discovery, is_allowed, ("GET",)),
        OAUTH_PATH: WithCors(discovery, is_allowed, ("GET",)),
    }
