"""Profiles: one switch that makes a client as strict as a published profile says, and refuses what that forbids."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, Protocol

from watchword_events.exports import ClientAuthMethod

ProfileName = Literal["fapi2"]

# FAPI 2.0 Security Profile 5.4: PS256, ES256 and EdDSA; this installation makes no PS256.
_ALGS: Final = frozenset({"ES256", "EdDSA", "Ed25519", "PS256", None})
_CERTIFICATE_METHODS: Final = frozenset({"tls_client_auth", "self_signed_tls_client_auth"})
_METHODS: Final = _CERTIFICATE_METHODS | {"private_key_jwt"}
_SIGNED: Final = (
    "access_token_signing_alg",
    "authorization_signed_response_alg",
    "id_token_signed_response_alg",
    "introspection_signed_response_alg",
    "request_object_signing_alg",
    "userinfo_signed_response_alg",
    "token_endpoint_auth_signing_alg",
)
_GRANTS: Final = frozenset({"authorization_code", "refresh_token", "client_credentials"})


class Profiled(Protocol):
    """The settings that a profile has something to say about."""

    @property
    def profile(self) -> ProfileName | None: ...
    @property
    def token_endpoint_auth_method(self) -> ClientAuthMethod: ...
    @property
    def grant_types(self) -> Sequence[str]: ...
    @property
    def types(self) -> Sequence[str]: ...
    @property
    def require_pkce(self) -> bool: ...
    @property
    def dpop_bound_access_tokens(self) -> bool: ...
    @property
    def tls_client_certificate_bound_access_tokens(self) -> bool: ...


def check_profile(client: Profiled) -> None:
    """The client sets nothing that its profile forbids. What the profile asks for beside that, `implied` switches on.

    Raises ValueError with the name of the field that has to change.
    Spec: FAPI 2.0 Security Profile 5.3.2.1, 5.3.2.2, 5.4.1.
    """
    if client.profile is None:
        return
    if client.token_endpoint_auth_method not in _METHODS:
        raise ValueError("token_endpoint_auth_method: fapi2 needs private_key_jwt or a TLS certificate")
    for grant in client.grant_types:
        if grant not in _GRANTS:
            raise ValueError(f"grant_types: fapi2 does without {grant}")
    if any(each != "code" for each in client.types):
        raise ValueError("response_types: fapi2 knows code alone")
    if not client.require_pkce:
        raise ValueError("require_pkce: fapi2 needs PKCE")
    for name in _SIGNED:
        if getattr(client, name) not in _ALGS:
            raise ValueError(f"{name}: fapi2 needs ES256, EdDSA or, of the client, PS256")


def implied(client: Profiled) -> Mapping[str, bool]:
    """What the profile switches on, whatever is stored.

    Spec: FAPI 2.0 Security Profile 5.3.2.1 (sender-constrained tokens), 5.3.2.2 (pushed requests).
    """
    if client.profile is None:
        return {}
    by_certificate = client.tls_client_certificate_bound_access_tokens or (
        client.token_endpoint_auth_method in _CERTIFICATE_METHODS and not client.dpop_bound_access_tokens
    )
    return {
        "require_pushed_authorization_requests": True,
        "tls_client_certificate_bound_access_tokens": by_certificate,
        "dpop_bound_access_tokens": not by_certificate,
    }
