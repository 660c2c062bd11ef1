"""What this installation offers, for clients to discover. Only what works is listed."""

from typing import Final

import orjson

from watchword_token.keys import SIGNING_ALGS
from watchword_token.profile import CLAIMS_BY_SCOPE

# With a path in the issuer (`https://host/auth`) the first stands behind it and the second in front of it
# (`/.well-known/oauth-authorization-server/auth`, RFC 8414 3.1); the gateway brings both here.
OPENID_PATH: Final = "/.well-known/openid-configuration"
OAUTH_PATH: Final = "/.well-known/oauth-authorization-server"
_SECRET_METHODS: Final = ["client_secret_basic", "client_secret_post"]


def metadata(issuer: str) -> bytes:
    """The JSON of both discovery documents. Spec: OpenID Connect Discovery 3; RFC 8414 2; RFC 9207 3."""
    oauth2 = f"{issuer}/oauth2"
    claims = {claim for names in CLAIMS_BY_SCOPE.values() for claim in names}
    return orjson.dumps(
        {
            "issuer": issuer,
            "authorization_endpoint": f"{oauth2}/authorize",
            "token_endpoint": f"{oauth2}/token",
            "userinfo_endpoint": f"{oauth2}/userinfo",
            "jwks_uri": f"{oauth2}/jwks",
            "introspection_endpoint": f"{oauth2}/introspect",
            "revocation_endpoint": f"{oauth2}/revoke",
            "end_session_endpoint": f"{oauth2}/logout",
            "scopes_supported": ["openid", *CLAIMS_BY_SCOPE, "offline_access"],
            "claims_supported": ["sub", *sorted(claims), "auth_time", "acr", "amr", "sid"],
            "claim_types_supported": ["normal"],
            "response_types_supported": ["code"],
            "response_modes_supported": ["query", "form_post"],
            "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": list(SIGNING_ALGS),
            "token_endpoint_auth_methods_supported": [*_SECRET_METHODS, "none"],
            "introspection_endpoint_auth_methods_supported": _SECRET_METHODS,
            "revocation_endpoint_auth_methods_supported": [*_SECRET_METHODS, "none"],
            "code_challenge_methods_supported": ["S256"],
            "prompt_values_supported": ["none", "login", "consent", "select_account"],
            "authorization_response_iss_parameter_supported": True,
            "claims_parameter_supported": False,
            "request_parameter_supported": False,
            "request_uri_parameter_supported": False,
        }
    )
