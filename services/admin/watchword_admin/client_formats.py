"""What a client gets in another form than everybody else: signed, encrypted, or both."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, Protocol

from pydantic import BaseModel, ConfigDict, JsonValue

from watchword_runtime.public_keys import reader_key

SigningAlg = Literal["ES256", "RS256", "EdDSA"]
KeyManagement = Literal["RSA-OAEP-256", "ECDH-ES", "ECDH-ES+A256KW"]
ContentEncryption = Literal["A128CBC-HS256", "A128GCM", "A256GCM"]
_DEFAULT: Final = "A128CBC-HS256"  # OpenID Connect Registration 2
_ENCRYPTED: Final = ("id_token", "userinfo", "introspection")


class ClientFormats(BaseModel):
    """The part of a client's settings that says in which form it gets documents.

    Spec: OpenID Connect Registration 2; RFC 9701 6.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id_token_signed_response_alg: SigningAlg = "ES256"
    id_token_encrypted_response_alg: KeyManagement | None = None
    id_token_encrypted_response_enc: ContentEncryption | None = None
    userinfo_signed_response_alg: SigningAlg | None = None
    userinfo_encrypted_response_alg: KeyManagement | None = None
    userinfo_encrypted_response_enc: ContentEncryption | None = None
    introspection_signed_response_alg: SigningAlg = "ES256"
    introspection_encrypted_response_alg: KeyManagement | None = None
    introspection_encrypted_response_enc: ContentEncryption | None = None


class Formatted(Protocol):
    """The settings that a format depends on."""

    @property
    def jwks(self) -> Mapping[str, JsonValue] | None: ...
    @property
    def jwks_uri(self) -> str | None: ...


def check_formats(client: Formatted) -> None:
    """Whatever shall be encrypted has a key. Raises ValueError with the name of the field that has to change."""
    for what in _ENCRYPTED:
        alg = getattr(client, f"{what}_encrypted_response_alg")
        if alg is None and getattr(client, f"{what}_encrypted_response_enc") is not None:
            raise ValueError(f"{what}_encrypted_response_enc: means nothing without {what}_encrypted_response_alg")
        if alg is None or client.jwks_uri is not None:
            continue
        if client.jwks is None:
            raise ValueError(f"jwks: {what}_encrypted_response_alg needs a key, in jwks or behind jwks_uri")
        if reader_key(_listed(client.jwks), alg) is None:
            raise ValueError(f"jwks: no key of the set is for {alg}")


def encryptions(client: Formatted) -> dict[str, str]:
    """How what is encrypted is encrypted, for those who do it: a default for what was left out."""
    names = (f"{what}_encrypted_response_enc" for what in _ENCRYPTED)
    return {name: getattr(client, name) or _DEFAULT for name in names}


def _listed(jwks: Mapping[str, JsonValue]) -> Sequence[Mapping[str, JsonValue]]:
    listed = jwks.get("keys")
    return [key for key in listed if isinstance(key, dict)] if isinstance(listed, list) else []
