"""What may be said of a client: the names of RFC 7591 and ours, each checked, unknown ones refused by name."""

import re
import unicodedata
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from watchword_admin.models import Client, ClientSecret
from watchword_admin.uris import check_link, check_origin, check_redirect_uri
from watchword_events.exports import ClientExport, Exported
from watchword_events.exports import ClientSecret as ExportedSecret

MIN_SECRET: Final = 16
MAX_SECRET: Final = 1024
LONGEST_ACCESS_TOKEN_S: Final = 24 * 3600
LONGEST_GRANT_S: Final = 365 * 86_400
_MAX_URIS: Final = 64
# RFC 6749 3.3: scope-token = 1*( %x21 / %x23-5B / %x5D-7E )
_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+(?: [\x21\x23-\x5b\x5d-\x7e]+)*")
_AUDIENCE: Final = re.compile(r"[!-~]+")
_DEFAULT_LIFETIME_S: Final = {"jwt": 300, "opaque": 36_000}

Grant = Literal["authorization_code", "refresh_token", "client_credentials"]
AuthMethod = Literal["client_secret_basic", "client_secret_post", "none"]
Alg = Literal["ES256", "RS256", "EdDSA"]


def plain_text(value: str) -> str:
    """Text of one line that shows what it is. Raises ValueError for control and direction-changing characters."""
    if any(unicodedata.category(char) in {"Cc", "Cf", "Zl", "Zp"} for char in value):
        raise ValueError("control characters are not accepted")
    if not value.strip():
        raise ValueError("an empty text is not accepted: leave the field out, or send null")
    return value.strip()


def _scope(value: str) -> str:
    if value and not _SCOPE.fullmatch(value):
        raise ValueError("scope is a list of names, separated by single spaces")
    return " ".join(dict.fromkeys(value.split()))


def _audience(value: str) -> str:
    if not _AUDIENCE.fullmatch(value):
        raise ValueError("an audience is a name or URI without spaces")
    return value


def _secret(value: SecretStr) -> SecretStr:
    plain = value.get_secret_value()
    if not re.fullmatch(r"[ -~]+", plain):
        raise ValueError("a client secret consists of printable ASCII characters")
    if not MIN_SECRET <= len(plain) <= MAX_SECRET:
        raise ValueError(f"a chosen client secret has {MIN_SECRET} to {MAX_SECRET} characters")
    return value


def _unique(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


Name = Annotated[str, Field(max_length=128), AfterValidator(plain_text)]
ShortName = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$")]
Text = Annotated[str, Field(max_length=1024), AfterValidator(plain_text)]
Link = Annotated[str, AfterValidator(check_link)]
RedirectUri = Annotated[str, AfterValidator(check_redirect_uri)]
Origin = Annotated[str, AfterValidator(check_origin)]
Scope = Annotated[str, Field(max_length=2048), AfterValidator(_scope)]
Audience = Annotated[str, Field(max_length=255), AfterValidator(_audience)]
ChosenSecret = Annotated[SecretStr, AfterValidator(_secret)]


class ClientDocument(BaseModel):
    """The settings of a client. Spec: RFC 7591 2; RFC 9700 2.1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    client_name: Name
    short_name: ShortName | None = None
    description: Text | None = None
    main_uri: Link | None = None
    redirect_uris: Annotated[tuple[RedirectUri, ...], Field(max_length=_MAX_URIS), AfterValidator(_unique)] = ()
    post_logout_redirect_uris: Annotated[
        tuple[RedirectUri, ...], Field(max_length=_MAX_URIS), AfterValidator(_unique)
    ] = ()
    grant_types: Annotated[tuple[Grant, ...], Field(min_length=1), AfterValidator(_unique)] = ("authorization_code",)
    response_types: Annotated[tuple[Literal["code"], ...], AfterValidator(_unique)] | None = None
    token_endpoint_auth_method: AuthMethod = "client_secret_basic"
    scope: Scope = "openid profile email"
    audience: Annotated[tuple[Audience, ...], Field(max_length=16), AfterValidator(_unique)] = ()
    allowed_origins: Annotated[tuple[Origin, ...], Field(max_length=_MAX_URIS), AfterValidator(_unique)] = ()
    access_token_format: Literal["jwt", "opaque"] = "jwt"
    access_token_lifetime_s: Annotated[int, Field(ge=30, le=LONGEST_ACCESS_TOKEN_S)] | None = None
    refresh_idle_s: Annotated[int, Field(ge=60, le=LONGEST_GRANT_S)] = 14 * 86_400
    refresh_max_s: Annotated[int, Field(ge=60, le=LONGEST_GRANT_S)] = 90 * 86_400
    refresh_requires_session: bool = True
    require_consent: bool = True
    require_pkce: bool = True
    id_token_signed_response_alg: Alg = "ES256"
    access_token_signing_alg: Alg = "ES256"

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        """What only makes sense together. Raises ValueError with the name of the field that has to change."""
        interactive = "authorization_code" in self.grant_types
        if interactive and not self.redirect_uris:
            raise ValueError("redirect_uris: the grant type authorization_code needs at least one")
        if self.response_types is not None and bool(self.response_types) != interactive:
            raise ValueError("response_types: code belongs to the grant type authorization_code")  # RFC 7591 2.1
        if "refresh_token" in self.grant_types and not interactive:
            raise ValueError("grant_types: refresh_token needs authorization_code")
        if self.is_public and "client_credentials" in self.grant_types:
            raise ValueError("grant_types: a client without a secret cannot use client_credentials")  # RFC 6749 4.4
        if self.is_public and not self.require_pkce:
            raise ValueError("require_pkce: may be false only for a client with a secret")  # RFC 9700 2.1.1
        if self.refresh_idle_s > self.refresh_max_s:
            raise ValueError("refresh_idle_s: cannot be longer than refresh_max_s")
        return self

    @property
    def is_public(self) -> bool:
        """Has no secret."""
        return self.token_endpoint_auth_method == "none"

    @property
    def lifetime_s(self) -> int:
        """How long an access token lives."""
        return self.access_token_lifetime_s or _DEFAULT_LIFETIME_S[self.access_token_format]


class NewClient(ClientDocument):
    """A client as it is registered or replaced. enabled: when left out, a new one is enabled, another stays as it is.

    client_secret: chosen by the administrator; without it one is generated for a client that needs one.
    """

    client_secret: ChosenSecret | None = None
    enabled: bool | None = None

    @model_validator(mode="after")
    def _check_secret(self) -> Self:
        if self.is_public and self.client_secret is not None:
            raise ValueError("client_secret: a client with token_endpoint_auth_method none has no secret")
        return self

    def document(self) -> ClientDocument:
        """The settings alone."""
        return ClientDocument.model_construct(**{name: getattr(self, name) for name in ClientDocument.model_fields})


class SecretView(BaseModel):
    """A live secret, by its id."""

    id: str
    created_at: datetime


class ClientView(ClientDocument):
    """A client as the API shows it. client_secret: only in the answer to the call that generated it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    client_id: str
    enabled: bool
    version: int
    created_at: datetime
    updated_at: datetime
    secrets: tuple[SecretView, ...] = ()
    client_secret: str | None = None


def document_of(client: Client) -> ClientDocument:
    """The stored settings; they were checked when they were written."""
    return ClientDocument.model_validate(client.document)


def view(client: Client, secrets: Sequence[ClientSecret], *, secret: str | None = None) -> ClientView:
    """What the API answers about a client."""
    document = document_of(client)
    interactive: tuple[Literal["code"], ...] = ("code",) if "authorization_code" in document.grant_types else ()
    fields = document.model_dump() | {
        "response_types": interactive,
        "access_token_lifetime_s": document.lifetime_s,
        "client_id": client.id,
        "enabled": client.enabled,
        "version": client.version,
        "created_at": client.created_at,
        "updated_at": client.updated_at,
        "secrets": tuple(SecretView(id=each.id, created_at=each.created_at) for each in secrets),
        "client_secret": secret,
    }
    return ClientView.model_construct(**fields)


def export(client: Client, secrets: Sequence[ClientSecret]) -> Exported[ClientExport]:
    """What other services copy; a deleted client is a tombstone without data."""
    if client.deleted_at is not None:
        return Exported(id=client.id, version=client.version, deleted=True)
    document = document_of(client)
    shared = set(ClientExport.model_fields) & set(ClientDocument.model_fields)
    given: dict[str, object] = {name: getattr(document, name) for name in shared} | {
        "client_id": client.id,
        "enabled": client.enabled,
        "grant_types": frozenset(document.grant_types),
        "response_types": frozenset({"code"} if "authorization_code" in document.grant_types else ()),
        "scope": frozenset(document.scope.split()),
        "access_token_lifetime_s": document.lifetime_s,
        "secrets": tuple(ExportedSecret(id=each.id, hash=each.hash) for each in secrets),
    }
    return Exported(id=client.id, version=client.version, data=ClientExport.model_validate(given))
