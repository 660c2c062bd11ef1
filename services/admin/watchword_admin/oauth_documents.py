"""What may be said of every provider that is spoken to by OAuth 2.0, with OpenID Connect or without."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from watchword_admin.provider_documents import InvalidAddress, ProviderDocument, Url, printable, wrong
from watchword_admin.provisioning_documents import ClaimPath
from watchword_admin.token_exchange_documents import TokenExchange
from watchword_admin.uris import InvalidUri, Network, check_endpoint, check_issuer
from watchword_events.exports import EmailLookup, GroupLookup, OAuthExport

_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")
# What the request itself says, and no setting may say instead.
_RESERVED: Final = frozenset(
    {
        "client_id",
        "client_secret",
        "redirect_uri",
        "response_type",
        "response_mode",
        "scope",
        "state",
        "nonce",
        "code_challenge",
        "code_challenge_method",
        "request",
        "request_uri",
    }
)


def _scope(value: str) -> str:
    if not _SCOPE.fullmatch(value):
        raise ValueError("a scope is a name without spaces")
    return value


def _secret(value: SecretStr) -> SecretStr:
    printable(value.get_secret_value())
    return value


def _private_key(value: SecretStr) -> SecretStr:
    """A key in PEM that ES256 or RS256 can sign with."""
    try:
        key = load_pem_private_key(value.get_secret_value().strip().encode(), password=None)
    except (ValueError, TypeError) as error:
        raise ValueError("a private key in PEM, without a password, is expected") from error
    fits = isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1)
    if not fits and not (isinstance(key, rsa.RSAPrivateKey) and key.key_size >= 2048):
        raise ValueError("the key must be of the curve P-256, or an RSA key of at least 2048 bits")
    return value


def _accepted(value: object) -> object:
    """The accepted values of each claim: a list, or a text with commas."""
    if not isinstance(value, Mapping):
        return value
    return {
        name: [each.strip() for each in values.split(",") if each.strip()] if isinstance(values, str) else values
        for name, values in value.items()
    }


Scope = Annotated[str, Field(max_length=256), AfterValidator(_scope)]
Secret = Annotated[SecretStr, Field(min_length=1, max_length=1024), AfterValidator(_secret)]
PrivateKey = Annotated[SecretStr, Field(min_length=1, max_length=8192), AfterValidator(_private_key)]
Word = Annotated[str, Field(min_length=1, max_length=256), AfterValidator(printable)]
Value = Annotated[str, Field(min_length=1, max_length=256)]
Accepted = Annotated[tuple[Value, ...], Field(min_length=1, max_length=64)]


class OAuthDocument(ProviderDocument):
    """The settings of a provider that is spoken to by OAuth 2.0.

    claims: what the provider calls a claim of ours (`sub`, `email`, `email_verified`, `name`, …), each a path.
    required_claims: values of which each of these claims has to have one.
    emails, group_lookups: further requests that tell a person's addresses and groups.
    keep_tokens: what the provider gave at the sign-in is kept, sealed, for the applications that `exchange` names.
    """

    callback = "/api/auth/sso/callback/"
    addresses: ClassVar[tuple[str, ...]] = ("authorization_endpoint", "token_endpoint", "userinfo_endpoint")

    client_id: Annotated[str, Field(max_length=512), AfterValidator(printable)]
    token_endpoint_auth_method: Literal[
        "client_secret_basic", "client_secret_post", "private_key_jwt", "apple_jwt", "none"
    ] = "client_secret_basic"
    private_key_id: Word | None = None
    client_assertion_issuer: Word | None = None
    scopes: Annotated[tuple[Scope, ...], Field(max_length=32)] = ()
    pkce: bool = True
    response_mode: Literal["query", "form_post"] = "query"
    authorization_endpoint: Url | None = None
    token_endpoint: Url | None = None
    userinfo_endpoint: Url | None = None
    authorization_parameters: Annotated[dict[Word, Word], Field(max_length=16)] = Field(default_factory=dict)
    claims: Annotated[dict[Word, ClaimPath], Field(max_length=32)] = Field(default_factory=dict)
    email_trust: Literal["claim", "claim_or_text", "google", "always", "never"] = "claim"
    required_claims: Annotated[dict[Word, Accepted], Field(max_length=16), BeforeValidator(_accepted)] = Field(
        default_factory=dict
    )
    emails: EmailLookup | None = None
    group_lookups: Annotated[tuple[GroupLookup, ...], Field(max_length=8)] = ()
    keep_tokens: bool = False
    exchange: TokenExchange | None = None

    @model_validator(mode="after")
    def _check_parameters(self) -> Self:
        if taken := sorted(_RESERVED & set(self.authorization_parameters)):
            raise wrong("authorization_parameters", f"{', '.join(taken)} is not for settings to say")
        return self

    @model_validator(mode="after")
    def _check_exchange(self) -> Self:
        if self.exchange is not None and not self.keep_tokens:
            raise wrong("exchange", "keep_tokens is needed: what is not kept cannot be exchanged")
        if self.keep_tokens and getattr(self, "dpop", "off") == "required":
            raise wrong("keep_tokens", "tokens that are bound to a key of the sign-in are of no use to an application")
        return self

    def check_addresses(self, *, allowed: Sequence[Network], demo: bool) -> None:
        """As for every provider; an issuer has no query."""
        issuer: str | None = getattr(self, "issuer", None)
        try:
            if issuer is not None:
                check_issuer(issuer, allowed=allowed, demo=demo)
        except InvalidUri as error:
            raise InvalidAddress("issuer", str(error)) from error
        super().check_addresses(allowed=allowed, demo=demo)
        looked_up = [("group_lookups", each.endpoint) for each in self.group_lookups]
        if self.exchange is not None and self.exchange.token_endpoint is not None:
            looked_up.append(("exchange", self.exchange.token_endpoint))
        if self.emails is not None:
            looked_up.append(("emails", self.emails.endpoint))
        for field, endpoint in looked_up:
            try:
                check_endpoint(endpoint, allowed=allowed, demo=demo)
            except InvalidUri as error:
                raise InvalidAddress(field, str(error)) from error

    def exported(self) -> dict[str, Any]:
        """The settings as members of ProviderExport."""
        fields = self.model_dump()
        return fields | {"oauth": {name: fields.pop(name) for name in OAuthExport.model_fields if name in fields}}


class OAuthSecrets(OAuthDocument):
    """Such a provider with what is not stored beside its settings. When left out, they stay.

    private_key: PEM; instead of a secret, where the client authenticates with it.  exchange_…: the same of the client
    that exchanges tokens for applications.
    """

    client_secret: Secret | None = None
    private_key: PrivateKey | None = None
    exchange_client_secret: Secret | None = None
    exchange_private_key: PrivateKey | None = None
    enabled: bool | None = None

    @model_validator(mode="after")
    def _check_secret(self) -> Self:
        signs = self.token_endpoint_auth_method in {"private_key_jwt", "apple_jwt"}
        if self.client_secret is not None and signs:
            raise wrong("client_secret", f"{self.token_endpoint_auth_method} authenticates with private_key")
        if self.private_key is not None and not signs:
            raise wrong("private_key", "only private_key_jwt and apple_jwt authenticate with a key")
        return self

    @model_validator(mode="after")
    def _check_exchange_secret(self) -> Self:
        method = self.exchange.token_endpoint_auth_method if self.exchange is not None else None
        signs = method == "private_key_jwt"
        if self.exchange_client_secret is not None and (signs or method in {None, "none"}):
            raise wrong("exchange_client_secret", "exchange.token_endpoint_auth_method says that there is no secret")
        if self.exchange_private_key is not None and not signs:
            raise wrong("exchange_private_key", "exchange.token_endpoint_auth_method is not private_key_jwt")
        return self

    @property
    def given_exchange_secret(self) -> SecretStr | None:
        """What the client authenticates with that exchanges tokens, if it was said."""
        return self.exchange_client_secret or self.exchange_private_key

    @property
    def says_exchange_secret(self) -> bool:
        """Whether it was said, if only to take it away."""
        return bool({"exchange_client_secret", "exchange_private_key"} & self.model_fields_set)

    @property
    def given_secret(self) -> SecretStr | None:
        """What the client authenticates with, if it was said."""
        return self.client_secret or self.private_key

    @property
    def says_secret(self) -> bool:
        """Whether it was said, if only to take it away."""
        return bool({"client_secret", "private_key"} & self.model_fields_set)
