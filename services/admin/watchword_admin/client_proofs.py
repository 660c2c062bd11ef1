"""How a client proves who it is, where its requests come from and what its tokens are bound to."""

from functools import partial
from ipaddress import ip_network
from typing import Annotated, Final, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, model_validator

from watchword_admin.uris import check_called_uri
from watchword_events.exports import ClientAuthMethod
from watchword_runtime.certificates import SubjectKind, check_subject
from watchword_runtime.public_keys import MAX_KEYS, usable_keys

AssertionAlg = Literal["ES256", "EdDSA", "Ed25519", "PS256", "RS256", "HS256"]
SECRET_METHODS: Final = frozenset({"client_secret_basic", "client_secret_post", "client_secret_jwt"})
SUBJECTS: Final[tuple[SubjectKind, ...]] = get_args(SubjectKind)
MAX_RANGES: Final = 64
_KEY_METHODS: Final = frozenset({"private_key_jwt", "self_signed_tls_client_auth"})
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


def _network(value: str) -> str:
    try:
        return str(ip_network(value))
    except ValueError:
        raise ValueError(f"{value[:64]!r} is no network: 192.0.2.0/24, 2001:db8::/32, or one address") from None


def _jwks(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """A set of public keys; those of kinds that are not used here are ignored. Spec: RFC 7517 5; RFC 7591 2."""
    listed = value.get("keys")
    if set(value) != {"keys"} or not isinstance(listed, list) or not 0 < len(listed) <= MAX_KEYS:
        raise ValueError(f'a key set is {{"keys": […]}} with 1 to {MAX_KEYS} keys')
    for at, key in enumerate(listed):
        if not isinstance(key, dict):
            raise ValueError(f"key {at} is no object")
        if not _PRIVATE.isdisjoint(key) or key.get("kty") == "oct":
            raise ValueError(f"key {at} is not public: register public keys only")
    return value


def _subject(kind: SubjectKind, value: str) -> str:
    try:
        return check_subject(kind, value)
    except ValueError as error:
        raise ValueError(f"no certificate can say this: {error}") from None


def _field(kind: SubjectKind) -> AfterValidator:
    return AfterValidator(partial(_subject, kind))


_Name = Annotated[str, Field(min_length=1, max_length=1024)]
Jwks = Annotated[dict[str, JsonValue], AfterValidator(_jwks)]
CalledUri = Annotated[str, AfterValidator(check_called_uri)]
Network = Annotated[str, Field(max_length=64), AfterValidator(_network)]


class ClientProofs(BaseModel):
    """The part of a client's settings that says how it is recognised. Spec: RFC 7591 2; RFC 8705 2, 3.4; RFC 9449 5.2.

    client_ip_ranges: the only addresses from which it may call as itself; anywhere when there are none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    token_endpoint_auth_method: ClientAuthMethod = "client_secret_basic"
    token_endpoint_auth_signing_alg: AssertionAlg | None = None
    jwks: Jwks | None = None
    jwks_uri: CalledUri | None = None
    tls_client_auth_subject_dn: Annotated[_Name, _field("tls_client_auth_subject_dn")] | None = None
    tls_client_auth_san_dns: Annotated[_Name, _field("tls_client_auth_san_dns")] | None = None
    tls_client_auth_san_uri: Annotated[_Name, _field("tls_client_auth_san_uri")] | None = None
    tls_client_auth_san_ip: Annotated[_Name, _field("tls_client_auth_san_ip")] | None = None
    tls_client_auth_san_email: Annotated[_Name, _field("tls_client_auth_san_email")] | None = None
    client_ip_ranges: Annotated[tuple[Network, ...], Field(max_length=MAX_RANGES)] = ()
    dpop_bound_access_tokens: bool = False
    tls_client_certificate_bound_access_tokens: bool = False

    @model_validator(mode="after")
    def _check_proofs(self) -> Self:
        """What only makes sense together. Raises ValueError with the name of the field that has to change."""
        method = self.token_endpoint_auth_method
        if self.jwks is not None and self.jwks_uri is not None:
            raise ValueError("jwks_uri: keys are registered by value or behind a URL, not both")
        if method in _KEY_METHODS and self.jwks is None and self.jwks_uri is None:
            raise ValueError(f"jwks: {method} needs keys, in jwks or behind jwks_uri")
        self._check_keys()
        named = [kind for kind in SUBJECTS if getattr(self, kind) is not None]
        if method == "tls_client_auth" and len(named) != 1:
            raise ValueError(f"tls_client_auth_subject_dn: {method} needs exactly one name of the certificate")
        if method != "tls_client_auth" and named:
            raise ValueError(f"{named[0]}: means nothing without token_endpoint_auth_method tls_client_auth")
        if self.dpop_bound_access_tokens and self.tls_client_certificate_bound_access_tokens:
            raise ValueError("dpop_bound_access_tokens: tokens are bound to one key, that of DPoP or the certificate's")
        return self

    def _check_keys(self) -> None:
        method, alg = self.token_endpoint_auth_method, self.token_endpoint_auth_signing_alg
        signs = {"client_secret_jwt": alg == "HS256", "private_key_jwt": alg != "HS256"}
        if alg is not None and not signs.get(method, False):
            raise ValueError(f"token_endpoint_auth_signing_alg: {alg} does not go with {method}")
        if self.jwks is None:
            return
        if method == "private_key_jwt" and not any(
            alg is None or alg in key.algorithms for key in usable_keys(self.jwks)
        ):
            raise ValueError("jwks: no key of the set may sign with this algorithm")
        listed = self.jwks["keys"]
        chains = [key.get("x5c") for key in listed if isinstance(key, dict)] if isinstance(listed, list) else []
        if method == "self_signed_tls_client_auth" and not any(chains):
            raise ValueError("jwks: self_signed_tls_client_auth needs the certificate, as x5c of its key")

    @property
    def is_public(self) -> bool:
        """Proves nothing. Spec: RFC 6749 2.1."""
        return self.token_endpoint_auth_method == "none"

    @property
    def needs_secret(self) -> bool:
        """Proves itself by a secret."""
        return self.token_endpoint_auth_method in SECRET_METHODS

    @property
    def signs_with_secret(self) -> bool:
        """Needs its secret kept so that it can be read: an HMAC is checked with the secret itself."""
        return self.token_endpoint_auth_method == "client_secret_jwt"

    @property
    def is_bound(self) -> bool:
        """Gets no token that is good in anybody's hands."""
        return self.dpop_bound_access_tokens or self.tls_client_certificate_bound_access_tokens
