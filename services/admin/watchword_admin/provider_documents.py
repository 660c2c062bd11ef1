"""What may be said of an identity provider, each part checked, unknown ones refused by name."""

import re
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from watchword_admin.client_documents import AuthMethod, plain_text
from watchword_admin.models import Provider
from watchword_admin.uris import InvalidUri, Network, check_endpoint, check_issuer
from watchword_events.exports import Exported, ProviderExport

# Case-sensitive: it stands in the callback URL that is registered at the provider.
ID_PATTERN: Final = r"^[A-Za-z0-9_-]{1,64}$"
ENDPOINTS: Final = (
    "discovery_url",
    "authorization_endpoint",
    "token_endpoint",
    "userinfo_endpoint",
    "jwks_uri",
)
_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")


class InvalidAddress(Exception):
    """An address that Watchword would not call. field: its member."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field


def _scope(value: str) -> str:
    if not _SCOPE.fullmatch(value):
        raise ValueError("a scope is a name without spaces")
    return value


def _printable(value: str) -> str:
    if not re.fullmatch(r"[ -~]+", value):
        raise ValueError("only printable ASCII characters are accepted")
    return value


def _secret(value: SecretStr) -> SecretStr:
    _printable(value.get_secret_value())
    return value


Url = Annotated[str, Field(max_length=2048)]
Scope = Annotated[str, Field(max_length=256), AfterValidator(_scope)]


class ProviderDocument(BaseModel):
    """The settings of a provider. The client secret is never among them. Spec: OpenID Connect Core 3.1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: Literal["oidc"] = "oidc"
    display_name: Annotated[str, Field(max_length=64), AfterValidator(plain_text)]
    order: Annotated[int, Field(ge=-1000, le=1000)] = 0
    sign_in: bool = True
    issuer: Url
    client_id: Annotated[str, Field(max_length=512), AfterValidator(_printable)]
    token_endpoint_auth_method: AuthMethod = "client_secret_basic"
    scopes: Annotated[tuple[Scope, ...], Field(max_length=32)] = ("openid", "email", "profile")
    pkce: bool = True
    response_mode: Literal["query", "form_post"] = "query"
    userinfo: Literal["never", "merge", "required"] = "merge"
    discovery_url: Url | None = None
    authorization_endpoint: Url | None = None
    token_endpoint: Url | None = None
    userinfo_endpoint: Url | None = None
    jwks_uri: Url | None = None

    @model_validator(mode="after")
    def _check_scopes(self) -> Self:
        if "openid" not in self.scopes:
            raise ValueError("scopes: openid is needed, without it there is no ID token")
        return self

    def check_addresses(self, *, allowed: Sequence[Network], demo: bool) -> None:
        """Raises InvalidAddress for the first address that this installation would not call."""
        field = "issuer"
        try:
            check_issuer(self.issuer, allowed=allowed, demo=demo)
            for field in ENDPOINTS:
                value: str | None = getattr(self, field)
                if value is not None:
                    check_endpoint(value, allowed=allowed, demo=demo)
        except InvalidUri as error:
            raise InvalidAddress(field, str(error)) from error


class ProviderSettings(ProviderDocument):
    """A provider as it is replaced. client_secret and enabled: when left out, they stay as they are."""

    client_secret: Annotated[SecretStr, Field(min_length=1, max_length=1024), AfterValidator(_secret)] | None = None
    enabled: bool | None = None

    def document(self) -> ProviderDocument:
        """The settings alone."""
        return ProviderDocument.model_construct(**{name: getattr(self, name) for name in ProviderDocument.model_fields})


class NewProvider(ProviderSettings):
    """A provider as it is configured first, under an id of the administrator's choice."""

    id: Annotated[str, Field(pattern=ID_PATTERN)]


class ProviderView(ProviderDocument):
    """A provider as the API shows it; never its secret. callback_url: to be registered at the provider."""

    id: str
    kind: Literal["oidc"] = "oidc"
    enabled: bool
    has_client_secret: bool
    callback_url: str
    version: int
    created_at: datetime
    updated_at: datetime


def document_of(provider: Provider) -> ProviderDocument:
    """The stored settings; they were checked when they were written."""
    return ProviderDocument.model_validate(provider.document)


def callback_url(public_url: str, provider_id: str) -> str:
    """Where the provider sends people back to."""
    return f"{public_url}/api/auth/sso/callback/{provider_id}"


def view(provider: Provider, public_url: str) -> ProviderView:
    """What the API answers about a provider."""
    fields = document_of(provider).model_dump() | {
        "id": provider.id,
        "enabled": provider.enabled,
        "has_client_secret": provider.client_secret is not None,
        "callback_url": callback_url(public_url, provider.id),
        "version": provider.version,
        "created_at": provider.created_at,
        "updated_at": provider.updated_at,
    }
    return ProviderView.model_validate(fields)


def export(provider: Provider) -> Exported[ProviderExport]:
    """What other services copy; a removed provider is a tombstone without data."""
    if provider.deleted_at is not None:
        return Exported(id=provider.id, version=provider.version, deleted=True)
    sealed = provider.client_secret
    fields = document_of(provider).model_dump() | {
        "id": provider.id,
        "kind": "oidc",
        "enabled": provider.enabled,
        "client_secret": None if sealed is None else urlsafe_b64encode(sealed).decode().rstrip("="),
    }
    return Exported(id=provider.id, version=provider.version, data=ProviderExport.model_validate(fields))
