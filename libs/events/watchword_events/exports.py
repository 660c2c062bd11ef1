"""What an owner answers when another service pulls its copy: the state behind the events."""

from typing import Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue

from watchword_events.names import Service


class Export(BaseModel):
    """State of one entity. Consumers ignore fields that they do not know."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class UserExport(Export):
    """A user. `username` and `email` are the canonical forms; `claims` are the standard claims as they stand.

    claims: standard and custom claims by name (`name`, `email`, `email_verified`, `picture`, …), never null values.
    """

    id: str
    username: str
    email: str | None = None
    email_verified: bool = False
    active: bool = True
    claims: dict[str, JsonValue] = {}
    claims_version: int
    groups: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    organization: str | None = None


class ClientSecret(Export):
    """A stored client secret: `sha256:<hex>` of a generated one, or an argon2id hash of a chosen one."""

    id: str
    hash: str


class ClientExport(Export):
    """A client by its RFC 7591 names, with ours."""

    client_id: str
    client_name: str
    enabled: bool = True
    redirect_uris: tuple[str, ...] = ()
    post_logout_redirect_uris: tuple[str, ...] = ()
    grant_types: frozenset[str] = frozenset({"authorization_code"})
    response_types: frozenset[str] = frozenset({"code"})
    token_endpoint_auth_method: Literal["client_secret_basic", "client_secret_post", "none"] = "client_secret_basic"
    secrets: tuple[ClientSecret, ...] = ()
    scope: frozenset[str] = frozenset()
    audience: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    access_token_format: Literal["jwt", "opaque"] = "jwt"
    access_token_lifetime_s: int = 300
    refresh_idle_s: int = 14 * 86_400
    refresh_max_s: int = 90 * 86_400
    refresh_requires_session: bool = True
    require_consent: bool = True
    require_pkce: bool = True
    id_token_signed_response_alg: Literal["ES256", "RS256", "EdDSA"] = "ES256"
    access_token_signing_alg: Literal["ES256", "RS256", "EdDSA"] = "ES256"
    main_uri: str | None = None
    description: str | None = None


class ProviderExport(Export):
    """An upstream identity provider. `client_secret` is sealed with the key "provider-secrets" (AAD: the id)."""

    id: str
    preset: str
    kind: Literal["oidc"]
    display_name: str
    enabled: bool = True
    sign_in: bool = True
    order: int = 0
    issuer: str
    client_id: str
    client_secret: str | None = None
    token_endpoint_auth_method: Literal["client_secret_basic", "client_secret_post", "none"] = "client_secret_basic"
    scopes: tuple[str, ...] = ("openid", "email", "profile")
    pkce: bool = True
    discovery_url: str | None = None
    authorization_endpoint: str | None = None
    token_endpoint: str | None = None
    userinfo_endpoint: str | None = None
    jwks_uri: str | None = None
    userinfo: Literal["never", "merge", "required"] = "merge"
    response_mode: Literal["query", "form_post"] = "query"
    groups_claim: str | None = None
    domains: tuple[str, ...] = ()


class ApiKeyExport(Export):
    """A personal API key. `secret_hash` is the SHA-256 (hex) of the secret part; `rev` its position at creation."""

    id: str
    user_id: str
    name: str
    secret_hash: str
    scope: frozenset[str]
    rev: int
    created_at_s: int
    expires_at_s: int | None = None


ENTITIES: dict[str, tuple[Service, type[Export]]] = {
    "user": (Service.DIRECTORY, UserExport),
    "client": (Service.ADMIN, ClientExport),
    "provider": (Service.ADMIN, ProviderExport),
    "api_key": (Service.TOKEN, ApiKeyExport),
}

E = TypeVar("E", bound=Export)


class Exported(BaseModel, Generic[E]):
    """One exported entity; a deleted one is a tombstone without data."""

    model_config = ConfigDict(frozen=True)

    id: str
    version: int
    deleted: bool = False
    data: E | None = None


class ExportPage(BaseModel, Generic[E]):
    """An answer to a pull: `next` is the cursor of the following page, None at the end."""

    items: list[Exported[E]]
    next: str | None = None
