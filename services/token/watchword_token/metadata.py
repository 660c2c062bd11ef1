"""What this installation offers, for clients to discover. Only what works is listed."""

from typing import Final

import orjson
from pydantic import JsonValue

from watchword_policy.assurance import LEVELS
from watchword_policy.claims import CLAIMS_BY_SCOPE
from watchword_policy.rules import CLAIMS as RULE_CLAIMS
from watchword_runtime.client_assertions import KEY_ALGS, SECRET_ALGS
from watchword_runtime.public_keys import CONTENT_ENCRYPTION, KEY_MANAGEMENT
from watchword_token.grants.device_code import GRANT_TYPE as DEVICE_CODE
from watchword_token.grants.jwt_bearer import GRANT_TYPE as JWT_BEARER
from watchword_token.grants.token_exchange import GRANT_TYPE as TOKEN_EXCHANGE
from watchword_token.key_material import SIGNING_ALGS
from watchword_token.own_claims import NO_CLAIMS, OwnClaims
from watchword_verifier.dpop import ALGORITHMS
from watchword_web.texts import LANGUAGES

# With a path in the issuer (`https://host/auth`) the first stands behind it and the second in front of it
# (`/.well-known/oauth-authorization-server/auth`, RFC 8414 3.1); the gateway brings both here.
OPENID_PATH: Final = "/.well-known/openid-configuration"
JWKS_ALIAS: Final = "/.well-known/jwks.json"  # where libraries look that read no discovery
OAUTH_PATH: Final = "/.well-known/oauth-authorization-server"
_METHODS: Final = ("client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt")
# Other types than code, and other modes than query and form_post, are for clients that an administrator allowed them.
_RESPONSE_TYPES: Final = [
    "code", "id_token", "token", "id_token token", "code id_token", "code token", "code id_token token"
]  # fmt: skip
_RESPONSE_MODES: Final = ["query", "fragment", "form_post", "query.jwt", "fragment.jwt", "form_post.jwt", "jwt"]


def metadata(
    issuer: str,
    *,
    registration: bool = False,
    client_documents: bool = False,
    certificates: bool = False,
    authorities: bool = False,
    detail_types: frozenset[str] = frozenset(),
    own_claims: OwnClaims = NO_CLAIMS,
    tos_uri: str | None = None,
) -> bytes:
    """The JSON of both discovery documents.

    registration: whether clients may register themselves.  client_documents: whether one may be a document on the web.
    certificates: whether a proxy passes on those of clients.  authorities: whether somebody vouches for them.
    detail_types: of rich authorization requests that some client may make.  own_claims: of scopes of
    the installation's own.  tos_uri: the terms of use. `op_policy_uri` is not given: it is about what applications
    may do with the data, and not what people are told of theirs.
    Spec: OpenID Connect Discovery 3; RFC 8414 2; RFC 9101 10.5; RFC 9126 5; RFC 9207 3; RFC 9396 10; JARM 4.
    """
    oauth2 = f"{issuer}/oauth2"
    own = {claim for _, names in own_claims for claim in names}
    claims = own.union(*CLAIMS_BY_SCOPE.values())
    return orjson.dumps(
        {
            "issuer": issuer,
            "authorization_endpoint": f"{oauth2}/authorize",
            "pushed_authorization_request_endpoint": f"{oauth2}/par",
            "require_pushed_authorization_requests": False,
            "token_endpoint": f"{oauth2}/token",
            "userinfo_endpoint": f"{oauth2}/userinfo",
            "jwks_uri": f"{oauth2}/jwks",
            "introspection_endpoint": f"{oauth2}/introspect",
            "revocation_endpoint": f"{oauth2}/revoke",
            "device_authorization_endpoint": f"{oauth2}/device_authorization",
            "end_session_endpoint": f"{oauth2}/logout",
            **({"registration_endpoint": f"{oauth2}/register"} if registration else {}),
            **({"client_id_metadata_document_supported": True} if client_documents else {}),
            **({"op_tos_uri": tos_uri} if tos_uri else {}),
            "scopes_supported": ["openid", *CLAIMS_BY_SCOPE, "offline_access", *(name for name, _ in own_claims)],
            "claims_supported": ["sub", *sorted(claims), "auth_time", "acr", "amr", "sid", *RULE_CLAIMS],
            "claim_types_supported": ["normal"],
            "response_types_supported": _RESPONSE_TYPES,
            "response_modes_supported": _RESPONSE_MODES,
            "grant_types_supported": [
                "authorization_code",
                "implicit",
                "refresh_token",
                "client_credentials",
                DEVICE_CODE,
                TOKEN_EXCHANGE,
                JWT_BEARER,
            ],
            "acr_values_supported": list(LEVELS),
            "subject_types_supported": ["public", "pairwise"],
            "id_token_signing_alg_values_supported": list(SIGNING_ALGS),
            "userinfo_signing_alg_values_supported": list(SIGNING_ALGS),
            "introspection_signing_alg_values_supported": list(SIGNING_ALGS),
            **_encryption(),
            "authorization_signing_alg_values_supported": list(SIGNING_ALGS),
            **_authentication(certificates=certificates, authorities=authorities),
            **({"authorization_details_types_supported": sorted(detail_types)} if detail_types else {}),
            "code_challenge_methods_supported": ["S256"],
            "dpop_signing_alg_values_supported": list(ALGORITHMS),
            "prompt_values_supported": ["none", "login", "consent", "select_account"],
            "authorization_response_iss_parameter_supported": True,
            "backchannel_logout_supported": True,
            "backchannel_logout_session_supported": True,
            "frontchannel_logout_supported": True,
            "frontchannel_logout_session_supported": True,
            "claims_parameter_supported": True,
            "ui_locales_supported": [*LANGUAGES],
            "request_parameter_supported": True,
            "request_object_signing_alg_values_supported": list(KEY_ALGS),
            "require_signed_request_object": False,
            "request_uri_parameter_supported": False,
        }
    )


def _authentication(*, certificates: bool, authorities: bool) -> dict[str, JsonValue]:
    """How clients prove who they are, at each endpoint that asks them. Spec: RFC 8414 2; RFC 8705 3.3."""
    methods = [*_METHODS]
    if certificates:
        methods.append("self_signed_tls_client_auth")
        if authorities:
            methods.append("tls_client_auth")
    members: dict[str, JsonValue] = {"tls_client_certificate_bound_access_tokens": certificates}
    for endpoint in ("token", "introspection", "revocation"):
        # A public client may ask about nothing: its name proves nothing.
        named = methods if endpoint == "introspection" else [*methods, "none"]
        members[f"{endpoint}_endpoint_auth_methods_supported"] = [*named]
        members[f"{endpoint}_endpoint_auth_signing_alg_values_supported"] = [*KEY_ALGS, *SECRET_ALGS]
    return members


def _encryption() -> dict[str, JsonValue]:
    """What can be encrypted for a client. Spec: OpenID Connect Discovery 3; RFC 9701 7."""
    members: dict[str, JsonValue] = {}
    for what in ("id_token", "userinfo", "introspection"):
        members[f"{what}_encryption_alg_values_supported"] = [*KEY_MANAGEMENT]
        members[f"{what}_encryption_enc_values_supported"] = [*CONTENT_ENCRYPTION]
    return members
