"""What may be said of a client: the names of RFC 7591 and ours, each checked, unknown ones refused by name."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Final, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from watchword_admin.client_claims import ClientClaims
from watchword_admin.client_formats import ClientFormats, SigningAlg, check_formats, encryptions
from watchword_admin.client_proofs import ClientProofs
from watchword_admin.exchange_policies import TOKEN_EXCHANGE, ExchangeRows
from watchword_admin.models import Client, ClientKind, ClientSecret
from watchword_admin.profiles import ProfileName, check_profile, implied
from watchword_admin.response_types import (
    ResponseMode,
    check_responses,
    response_modes_of,
    response_type,
    response_types_of,
)
from watchword_admin.sectors import check_sector, sector_of
from watchword_admin.uris import (
    check_called_uri,
    check_frame_uri,
    check_link,
    check_origin,
    check_redirect_uri,
    origin_of,
)
from watchword_events.exports import ClientExport, Exported
from watchword_events.exports import ClientSecret as ExportedSecret
from watchword_policy.administration import is_administrative
from watchword_policy.details import MAX_TYPE
from watchword_policy.permissions import check_permission
from watchword_policy.rules import Access

T = TypeVar("T")

MIN_SECRET: Final = 16
MIN_SIGNING_SECRET: Final = 32
MAX_SECRET: Final = 1024
LONGEST_ACCESS_TOKEN_S: Final = 24 * 3600
LONGEST_GRANT_S: Final = 365 * 86_400
_MAX_URIS: Final = 64
_MAX_TYPES: Final = 32
# RFC 6749 3.3: scope-token = 1*( %x21 / %x23-5B / %x5D-7E )
_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+(?: [\x21\x23-\x5b\x5d-\x7e]+)*")
_AUDIENCE: Final = re.compile(r"[!-~]+")
# Members that RFC 7591 calls otherwise.
OUR_NAMES: Final = {"client_uri": "main_uri"}
_DEFAULT_LIFETIME_S: Final = {"jwt": 300, "opaque": 36_000}

DEVICE_CODE: Final = "urn:ietf:params:oauth:grant-type:device_code"
Grant = Literal[
    "authorization_code",
    "implicit",
    "refresh_token",
    "client_credentials",
    "urn:ietf:params:oauth:grant-type:device_code",
    "urn:ietf:params:oauth:grant-type:token-exchange",
    "urn:ietf:params:oauth:grant-type:jwt-bearer",
]


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
        raise ValueError("it is a name or URI without spaces")
    return value


def _secret(value: SecretStr) -> SecretStr:
    plain = value.get_secret_value()
    if not re.fullmatch(r"[ -~]+", plain):
        raise ValueError("a client secret consists of printable ASCII characters")
    if not MIN_SECRET <= len(plain) <= MAX_SECRET:
        raise ValueError(f"a chosen client secret has {MIN_SECRET} to {MAX_SECRET} characters")
    return value


def _scoped_permission(value: str) -> str:
    """A permission of the application's, or one to administer Watchword: nobody gets more by it than they have."""
    return value if is_administrative(value) else check_permission(value)


def _unique(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


Name = Annotated[str, Field(max_length=128), AfterValidator(plain_text)]
ShortName = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$")]
Text = Annotated[str, Field(max_length=1024), AfterValidator(plain_text)]
Contact = Annotated[str, Field(max_length=254), AfterValidator(plain_text)]
Software = Annotated[str, Field(max_length=255), AfterValidator(plain_text)]
Link = Annotated[str, AfterValidator(check_link)]
RedirectUri = Annotated[str, AfterValidator(check_redirect_uri)]
LogoutUri = Annotated[str, AfterValidator(check_called_uri)]
Origin = Annotated[str, AfterValidator(check_origin)]
Scope = Annotated[str, Field(max_length=2048), AfterValidator(_scope)]
Permission = Annotated[str, AfterValidator(check_permission)]
ScopedPermission = Annotated[str, AfterValidator(_scoped_permission)]
Audience = Annotated[str, Field(max_length=255), AfterValidator(_audience)]
DetailType = Annotated[str, Field(max_length=MAX_TYPE), AfterValidator(_audience)]
FrameUri = Annotated[str, AfterValidator(check_frame_uri)]
ResponseType = Annotated[str, AfterValidator(response_type)]
ChosenSecret = Annotated[SecretStr, AfterValidator(_secret)]


class ClientDocument(ClientProofs, ClientFormats, ClientClaims):
    """The settings of a client.

    Spec: RFC 7591 2; RFC 9101 10.5; RFC 9126 6; RFC 9396 10; RFC 9700 2.1; OpenID Connect Back-Channel Logout 1.0 2.2;
    OpenID Connect Front-Channel Logout 1.0 2.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    client_name: Name
    short_name: ShortName | None = None
    description: Text | None = None
    main_uri: Link | None = None
    logo_uri: Link | None = None
    policy_uri: Link | None = None
    tos_uri: Link | None = None
    contacts: Annotated[tuple[Contact, ...], Field(max_length=16), AfterValidator(_unique)] = ()
    software_id: Software | None = None
    software_version: Software | None = None
    redirect_uris: Annotated[tuple[RedirectUri, ...], Field(max_length=_MAX_URIS), AfterValidator(_unique)] = ()
    post_logout_redirect_uris: Annotated[
        tuple[RedirectUri, ...], Field(max_length=_MAX_URIS), AfterValidator(_unique)
    ] = ()
    backchannel_logout_uri: LogoutUri | None = None
    backchannel_logout_session_required: bool = False
    frontchannel_logout_uri: FrameUri | None = None
    frontchannel_logout_session_required: bool = False
    grant_types: Annotated[tuple[Grant, ...], Field(min_length=1), AfterValidator(_unique)] = ("authorization_code",)
    response_types: Annotated[tuple[ResponseType, ...], AfterValidator(_unique)] | None = None
    response_modes: Annotated[tuple[ResponseMode, ...], AfterValidator(_unique)] | None = None
    authorization_signed_response_alg: SigningAlg = "ES256"
    authorization_details_types: Annotated[
        tuple[DetailType, ...], Field(max_length=_MAX_TYPES), AfterValidator(_unique)
    ] = ()
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
    require_pushed_authorization_requests: bool = False
    require_signed_request_object: bool = False
    request_object_signing_alg: Literal["ES256", "RS256", "PS256", "EdDSA", "Ed25519"] | None = None
    access_token_signing_alg: SigningAlg = "ES256"
    userinfo_claims_only: bool = False
    organization: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    required_permission: Permission | None = None
    permission_scope: Annotated[tuple[ScopedPermission, ...], Field(max_length=256), AfterValidator(_unique)] | None = (
        None
    )
    personal_credentials: bool = False
    bind_session_ip: bool = False
    access: Access = Access.AUTO
    profile: ProfileName | None = None
    exchange_policies: ExchangeRows = ()
    subject_type: Literal["public", "pairwise"] = "public"
    sector_identifier_uri: LogoutUri | None = None

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        """What only makes sense together. Raises ValueError with the name of the field that has to change."""
        check_responses(self.types, self.modes, self.grant_types)
        check_profile(self)
        check_formats(self)
        check_sector(self)
        if self.types and not self.redirect_uris:
            raise ValueError("redirect_uris: the grant types authorization_code and implicit need at least one")
        if self.request_object_signing_alg is not None and self.jwks is None and self.jwks_uri is None:
            raise ValueError("request_object_signing_alg: request objects need keys, in jwks or behind jwks_uri")
        if self.require_signed_request_object and self.request_object_signing_alg is None:
            raise ValueError("require_signed_request_object: needs request_object_signing_alg")
        if self.is_bound and any("token" in each.split() for each in self.types):
            # RFC 9449 5: a binding needs a proof, and the authorization endpoint receives none.
            raise ValueError("response_types: tokens that are bound to a key come from the token endpoint only")
        if "refresh_token" in self.grant_types and not {"authorization_code", DEVICE_CODE} & set(self.grant_types):
            raise ValueError("grant_types: refresh_token needs authorization_code or device_code")
        if self.exchange_policies and TOKEN_EXCHANGE not in self.grant_types:
            raise ValueError("exchange_policies: mean nothing without the grant type token-exchange")
        if self.exchange_policies and self.is_public:
            # RFC 8693 5: whoever got hold of a token could exchange it, if nobody had to prove who they are.
            raise ValueError("exchange_policies: only a client with a secret exchanges tokens of this installation")
        if self.is_public and "client_credentials" in self.grant_types and not self.personal_credentials:
            raise ValueError("grant_types: a client without a secret cannot use client_credentials")  # RFC 6749 4.4
        if self.personal_credentials and "client_credentials" not in self.grant_types:
            raise ValueError("personal_credentials: mean nothing without the grant type client_credentials")
        if self.bind_session_ip and not self.client_ip_ranges:
            raise ValueError("bind_session_ip: needs client_ip_ranges, from where the client says for whom it asks")
        if self.is_public and not self.require_pkce:
            raise ValueError("require_pkce: may be false only for a client with a secret")  # RFC 9700 2.1.1
        if self.backchannel_logout_session_required and self.backchannel_logout_uri is None:
            raise ValueError("backchannel_logout_session_required: means nothing without backchannel_logout_uri")
        if self.frontchannel_logout_session_required and self.frontchannel_logout_uri is None:
            raise ValueError("frontchannel_logout_session_required: means nothing without frontchannel_logout_uri")
        if self.frontchannel_logout_uri is not None and origin_of(self.frontchannel_logout_uri) not in {
            origin_of(uri) for uri in self.redirect_uris
        }:
            # Front-Channel Logout 1.0 2: scheme, host and port are those of a registered redirect URI.
            raise ValueError("frontchannel_logout_uri: it must have the origin of one of the redirect_uris")
        if self.refresh_idle_s > self.refresh_max_s:
            raise ValueError("refresh_idle_s: cannot be longer than refresh_max_s")
        return self

    @property
    def types(self) -> tuple[str, ...]:
        """The response types that count."""
        return response_types_of(self.response_types, self.grant_types)

    @property
    def modes(self) -> tuple[ResponseMode, ...]:
        """The response modes that count."""
        return response_modes_of(self.response_modes, self.types)

    @property
    def lifetime_s(self) -> int:
        """How long an access token lives."""
        usual = _DEFAULT_LIFETIME_S["jwt" if self.personal_credentials else self.access_token_format]
        return self.access_token_lifetime_s or usual


def in_our_names(members: Mapping[str, T]) -> dict[str, T]:
    """The members, those that RFC 7591 calls otherwise by our name."""
    return {OUR_NAMES.get(name, name): value for name, value in members.items()}


class NewClient(ClientDocument):
    """A client as it is registered or replaced. enabled: when left out, a new one is enabled, another stays as it is.

    client_secret: chosen by the administrator; without it one is generated for a client that needs one.
    """

    client_secret: ChosenSecret | None = None
    enabled: bool | None = None

    @model_validator(mode="before")
    @classmethod
    def _name(cls, members: object) -> object:
        if not isinstance(members, Mapping):
            return members
        for name, ours in OUR_NAMES.items():
            if name in members and ours in members:
                raise ValueError(f"{name}: is the same as {ours}")
        return in_our_names(members)

    @model_validator(mode="after")
    def _check_secret(self) -> Self:
        method, chosen = self.token_endpoint_auth_method, self.client_secret
        if chosen is None:
            return self
        if not self.needs_secret:
            raise ValueError(f"client_secret: a client with token_endpoint_auth_method {method} has no secret")
        if self.signs_with_secret and len(chosen.get_secret_value()) < MIN_SIGNING_SECRET:
            # RFC 7518 3.2: a key of the size of the hash at least.
            raise ValueError(f"client_secret: one that signs has {MIN_SIGNING_SECRET} characters or more")
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
    kind: ClientKind
    enabled: bool
    version: int
    created_at: datetime
    updated_at: datetime
    used_at: datetime | None = None
    secrets: tuple[SecretView, ...] = ()
    client_secret: str | None = None


class ReplacedClient(NewClient):
    """A client as it is replaced: what only the server says of it, as GET shows it, may stand there too."""

    @model_validator(mode="before")
    @classmethod
    def _leave_out(cls, members: object) -> object:
        if not isinstance(members, Mapping):
            return members
        shown = ClientView.model_fields.keys() - NewClient.model_fields.keys()
        return {name: value for name, value in members.items() if name not in shown}


def document_of(client: Client) -> ClientDocument:
    """The stored settings; they were checked when they were written."""
    return ClientDocument.model_validate(client.document)


def view(client: Client, secrets: Sequence[ClientSecret], *, secret: str | None = None) -> ClientView:
    """What the API answers about a client."""
    document = document_of(client)
    fields = document.model_dump() | {
        "response_types": document.types,
        "response_modes": document.modes,
        "access_token_lifetime_s": document.lifetime_s,
        **implied(document),
        "client_id": client.id,
        "kind": ClientKind(client.kind),
        "enabled": client.enabled,
        "exchange_policies": document.exchange_policies,
        "version": client.version,
        "created_at": client.created_at,
        "updated_at": client.updated_at,
        "used_at": client.used_at,
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
        "kind": client.kind,
        "expires_at_s": None if client.expires_at is None else int(client.expires_at.timestamp()),
        "enabled": client.enabled,
        "grant_types": frozenset(document.grant_types),
        "response_types": frozenset(document.types),
        "response_modes": frozenset(document.modes),
        "authorization_details_types": frozenset(document.authorization_details_types),
        "scope": frozenset(document.scope.split()),
        "exchange_policies": tuple(each.export() for each in document.exchange_policies),
        "permission_scope": None if document.permission_scope is None else frozenset(document.permission_scope),
        "access_token_lifetime_s": document.lifetime_s,
        **implied(document),
        **encryptions(document),
        "sector": sector_of(document),
        "secrets": tuple(ExportedSecret(id=each.id, hash=each.hash) for each in secrets),
    }
    return Exported(id=client.id, version=client.version, data=ClientExport.model_validate(given))
