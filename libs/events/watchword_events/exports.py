"""What an owner answers when another service pulls its copy: the state behind the events."""

from datetime import datetime
from typing import Final, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue

from watchword_events.names import Service

LARGEST_NUMBER: Final = 2**53 - 1  # the largest that every reader of JSON reads as it is (RFC 8259 6)


class Export(BaseModel):
    """State of one entity. Consumers ignore fields that they do not know."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class HomeOrganization(Export):
    """The organization that a user belongs to, as tokens tell of it.

    external_id, domain_id: of the system that it was imported from; a number there is a number here.
    """

    id: str
    short_name: str
    name: str
    external_id: int | str | None = None
    domain_id: int | str | None = None


class OrganizationRights(Export):
    """What a user is and may within one organization, beside what holds everywhere."""

    organization: str
    roles: tuple[str, ...] = ()
    permissions: tuple[str, ...] = ()


class UserExport(Export):
    """A user. `username` and `email` are the canonical forms; `claims` are the standard claims as they stand.

    claims: standard claims by name (`name`, `email`, `email_verified`, `picture`, …), never null values.
    groups: by full name (`ops`, `acme/ops`), those that contain one of the user's included.  roles, permissions: those
    that hold everywhere; what holds within one organization only stands in `organizations`.  organization: the id of
    `home`.  attributes: further ones, as the installation declared them.
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
    permissions: tuple[str, ...] = ()
    organization: str | None = None
    home: HomeOrganization | None = None
    organizations: tuple[OrganizationRights, ...] = ()
    attributes: dict[str, JsonValue] = {}

    @property
    def locale(self) -> str | None:
        """The language that the person wants to be spoken to in, as a tag."""
        locale = self.claims.get("locale")
        return locale if isinstance(locale, str) else None

    def roles_in(self, organization: str | None) -> frozenset[str]:
        """The roles that count within an organization (None: outside of any): those that hold everywhere included."""
        return frozenset(self.roles).union(*(o.roles for o in self.organizations if o.organization == organization))

    def permissions_in(self, organization: str | None) -> frozenset[str]:
        """As roles_in, for permissions."""
        within = (o.permissions for o in self.organizations if o.organization == organization)
        return frozenset(self.permissions).union(*within)


class OrganizationExport(Export):
    """An organization. domains: those that it has proved to control."""

    id: str
    short_name: str
    name: str
    external_id: int | str | None = None
    domain_id: int | str | None = None
    domains: tuple[str, ...] = ()


ClientAuthMethod = Literal[
    "client_secret_basic",
    "client_secret_post",
    "client_secret_jwt",
    "private_key_jwt",
    "tls_client_auth",
    "self_signed_tls_client_auth",
    "none",
]


class ClientSecret(Export):
    """A stored client secret: `sha256:<hex>` of a generated one, or an argon2id hash of a chosen one.

    `sealed:<base64>` of one that signs assertions: sealed with the key "client-secrets" (AAD: the client's id).
    """

    id: str
    hash: str


class ExchangePolicy(Export):
    """A permission to exchange tokens of ours. subject_clients: whose; empty for those meant for the exchanging client.

    audiences, scope: what the new ones may be for, and the most that they may carry.  actor: whether who acts for the
    subject shows a token, too.
    """

    audiences: frozenset[str]
    scope: frozenset[str] = frozenset()
    subject_clients: frozenset[str] = frozenset()
    actor: Literal["none", "optional", "required"] = "none"


class ClientExport(Export):
    """A client by its RFC 7591 names, with ours.

    sector: the host whose clients know people by names of their own, None for a client that learns their ids.
    kind: `registered` by an administrator; nobody here vouches for a `dynamic` one, which registered itself, nor for a
    `document` on the web, which counts as read until `expires_at_s`.
    organization: the id of the one that it is bound to.  required_permission: without it nobody uses the client; held
    within the client's organization where it has one.  permission_scope: the most that anybody may through the client,
    None for no bound.  access: whether access rules decide who may use it (`watchword_policy.rules.Access`).
    exchange_policies: what it may exchange tokens of ours for.
    personal_credentials: whether scripts of persons may name it.  bind_session_ip: whether what its people get is good
    for their address only, where the client says for whom it asks.
    groups_claim, groups_filter: the name under which it is told of groups, and regular expressions (RE2) that choose
    which.  max_token_bytes: the longest token that it can keep.
    policy_uri, tos_uri: where it says what it does with the data of its people, and on which terms.
    """

    client_id: str
    client_name: str
    short_name: str | None = None
    kind: Literal["registered", "dynamic", "document"] = "registered"
    expires_at_s: int | None = None
    enabled: bool = True
    redirect_uris: tuple[str, ...] = ()
    post_logout_redirect_uris: tuple[str, ...] = ()
    grant_types: frozenset[str] = frozenset({"authorization_code"})
    response_types: frozenset[str] = frozenset({"code"})
    authorization_details_types: frozenset[str] = frozenset()
    response_modes: frozenset[str] = frozenset({"query", "form_post"})
    authorization_signed_response_alg: Literal["ES256", "RS256", "EdDSA"] = "ES256"
    token_endpoint_auth_method: ClientAuthMethod = "client_secret_basic"
    token_endpoint_auth_signing_alg: str | None = None
    jwks: dict[str, JsonValue] | None = None
    jwks_uri: str | None = None
    tls_client_auth_subject_dn: str | None = None
    tls_client_auth_san_dns: str | None = None
    tls_client_auth_san_uri: str | None = None
    tls_client_auth_san_ip: str | None = None
    tls_client_auth_san_email: str | None = None
    client_ip_ranges: tuple[str, ...] = ()
    bind_session_ip: bool = False
    personal_credentials: bool = False
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
    require_pushed_authorization_requests: bool = False
    require_signed_request_object: bool = False
    request_object_signing_alg: Literal["ES256", "RS256", "PS256", "EdDSA", "Ed25519"] | None = None
    id_token_signed_response_alg: Literal["ES256", "RS256", "EdDSA"] = "ES256"
    id_token_encrypted_response_alg: str | None = None
    id_token_encrypted_response_enc: str = "A128CBC-HS256"
    userinfo_signed_response_alg: Literal["ES256", "RS256", "EdDSA"] | None = None
    userinfo_encrypted_response_alg: str | None = None
    userinfo_encrypted_response_enc: str = "A128CBC-HS256"
    introspection_signed_response_alg: Literal["ES256", "RS256", "EdDSA"] = "ES256"
    introspection_encrypted_response_alg: str | None = None
    introspection_encrypted_response_enc: str = "A128CBC-HS256"
    access_token_signing_alg: Literal["ES256", "RS256", "EdDSA"] = "ES256"
    profile: Literal["fapi2"] | None = None
    sector: str | None = None
    dpop_bound_access_tokens: bool = False
    tls_client_certificate_bound_access_tokens: bool = False
    backchannel_logout_uri: str | None = None
    backchannel_logout_session_required: bool = False
    frontchannel_logout_uri: str | None = None
    frontchannel_logout_session_required: bool = False
    main_uri: str | None = None
    description: str | None = None
    organization: str | None = None
    required_permission: str | None = None
    permission_scope: frozenset[str] | None = None
    access: Literal["auto", "rules", "open"] = "auto"
    groups_claim: str = "groups"
    groups_filter: tuple[str, ...] = ()
    max_token_bytes: int | None = None
    userinfo_claims_only: bool = False
    exchange_policies: tuple[ExchangePolicy, ...] = ()
    policy_uri: str | None = None
    tos_uri: str | None = None

    @property
    def is_bound(self) -> bool:
        """Gets no token that is good in anybody's hands."""
        return self.dpop_bound_access_tokens or self.tls_client_certificate_bound_access_tokens

    def is_open_to(self, user: UserExport) -> bool:
        """Whether this person may use the client at all."""
        needed = self.required_permission
        return needed is None or needed in user.permissions_in(self.organization)

    def permissions_of(self, user: UserExport) -> frozenset[str]:
        """What the person may through this client: never more than the client's scope, never more than the person."""
        held = user.permissions_in(self.organization)
        return held if self.permission_scope is None else held & self.permission_scope


class SamlExport(Export):
    """What is particular to a SAML provider. Addresses and certificates that are missing stand in its metadata.

    certificates: PEM, pinned; several while the provider changes its key.  signature: what of a response is signed.
    sign_requests: None for as the metadata asks.  …_attribute: names of attributes.  authn_context: class references
    of which one has to be kept; empty for any.
    """

    metadata_url: str | None = None
    sso_url: str | None = None
    slo_url: str | None = None
    slo_response_url: str | None = None
    certificates: tuple[str, ...] = ()
    signature: Literal["assertion", "response", "either"] = "assertion"
    require_encryption: bool = False
    sign_requests: bool | None = None
    single_logout: bool = True
    idp_initiated: bool = False
    name_id_format: str = "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified"
    authn_context: tuple[str, ...] = ()
    sp_entity_id: str | None = None
    acs_url: str | None = None
    sp_metadata_xml: str | None = None
    subject_attribute: str | None = None
    email_attribute: str = "email"
    first_name_attribute: str = "firstName"
    last_name_attribute: str = "lastName"
    name_attribute: str | None = None
    username_attribute: str | None = None
    groups_attribute: str | None = None


class RoleRuleExport(Export):
    """Whoever the expression is true of has the roles, which are named."""

    name: str | None = None
    expression: str
    roles: tuple[str, ...] = ()


class RoleMappingExport(Export):
    """Rules, of which the first that is true decides. strict: whoever none is true of is not let in."""

    rules: tuple[RoleRuleExport, ...] = ()
    strict: bool = False


class GroupRuleExport(Export):
    """Whoever the expression is true of is in the groups, which are named as here."""

    expression: str
    groups: tuple[str, ...] = ()


class GroupSyncExport(Export):
    """Groups that a provider brings. claim: where it names them.  names: what they are called here.

    pattern: those whose name it matches (RE2) come over under that name.
    """

    claim: str | None = None
    names: dict[str, str] = {}
    pattern: str | None = None
    rules: tuple[GroupRuleExport, ...] = ()


class EmailLookup(Export):
    """A further request for a person's e-mail addresses. items: where in the answer their list is, "" for the answer.

    address, primary, verified: paths within an item; those that are missing are said of none.
    """

    endpoint: str
    items: str = ""
    address: str = "email"
    primary: str | None = None
    verified: str | None = None


class GroupLookup(Export):
    """A further request for groups that a person is in. items: where in the answer their list is, "" for the answer.

    name: paths within an item in braces, `{organization.login}:{slug}`; "" for an item that is the name itself.
    scope: it is made only where this one is asked for.  when: `overage` where the token has no room for groups.
    body: of a POST, in place of a GET.
    """

    endpoint: str
    items: str = ""
    name: str = ""
    scope: str | None = None
    when: Literal["always", "overage"] = "always"
    body: dict[str, JsonValue] | None = None


class TokenAccessExport(Export):
    """An application that may have tokens of a provider's people, and the most that it may ask for there.

    audiences: what it may name as `audience` or `resource`.
    """

    client_id: str
    audiences: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()


class TokenExchangeExport(Export):
    """How applications get tokens of a provider's people: those that are kept, or others in exchange for them.

    clients: who may; nobody else.  user_token: which of the kept ones is exchanged.  client_id …
    client_assertion_audience: of the client that exchanges, None for as the provider's own.
    """

    way: Literal["kept", "rfc8693", "entra_obo", "id_jag"] = "kept"
    clients: tuple[TokenAccessExport, ...] = ()
    user_token: Literal["access_token", "id_token"] = "access_token"
    client_id: str | None = None
    token_endpoint: str | None = None
    token_endpoint_auth_method: (
        Literal["client_secret_basic", "client_secret_post", "private_key_jwt", "none"] | None
    ) = None
    private_key_id: str | None = None
    client_assertion_audience: str | None = None


class OAuthExport(Export):
    """What is particular to a provider that is spoken to by OAuth 2.0, with OpenID Connect or without.

    claims: our names of claims with the paths at which the provider tells them.  email_trust: what makes an address a
    verified one.  required_claims: values of which one has to be there.  nonce, dpop, par, issuer_template,
    issuer_aliases, back_channel_base, single_logout: as `OidcDocument` of admin.  private_key_id: of the key in place
    of a secret.  client_assertion_issuer: who signs, if not the client.  client_assertion_audience: `token_endpoint`,
    `issuer`, or the audience itself.  keep_tokens: for applications that `exchange` names.
    """

    claims: dict[str, str] = {}
    email_trust: Literal["claim", "claim_or_text", "google", "always", "never"] = "claim"
    required_claims: dict[str, tuple[str, ...]] = {}
    emails: EmailLookup | None = None
    group_lookups: tuple[GroupLookup, ...] = ()
    authorization_parameters: dict[str, str] = {}
    private_key_id: str | None = None
    client_assertion_issuer: str | None = None
    client_assertion_audience: str = "token_endpoint"
    nonce: Literal["required", "optional", "off"] = "required"
    dpop: Literal["auto", "required", "off"] = "auto"
    par: Literal["auto", "required", "off"] = "auto"
    issuer_template: str | None = None
    issuer_claim: str = "tid"
    issuer_aliases: tuple[str, ...] = ()
    back_channel_base: str | None = None
    pushed_authorization_request_endpoint: str | None = None
    end_session_endpoint: str | None = None
    single_logout: bool = True
    logout_redirect_parameter: str = "post_logout_redirect_uri"
    clock_skew_s: int = 60
    keep_tokens: bool = False
    exchange: TokenExchangeExport | None = None


class ProviderExport(Export):
    """An upstream identity provider. `client_secret` is sealed with the key "provider-secrets" (AAD: the id), as is
    `exchange_secret` (AAD: `exchange:` and the id), with which its tokens are exchanged for applications.

    kind: the protocol (`oidc`, `oauth2`, `saml`); a service that does not know one uses the provider for nothing.
    issuer: for SAML the entity id, "" for that of the metadata.  organization: the id of the one that it belongs to.
    root_ca: PEM; who alone vouches for its servers.  default_role … sync: what people become who come through it
    (`docs/directory.md`).
    """

    id: str
    preset: str
    kind: str
    display_name: str
    enabled: bool = True
    sign_in: bool = True
    order: int = 0
    issuer: str = ""
    client_id: str = ""
    client_secret: str | None = None
    exchange_secret: str | None = None
    token_endpoint_auth_method: Literal[
        "client_secret_basic", "client_secret_post", "private_key_jwt", "apple_jwt", "none"
    ] = "client_secret_basic"
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
    organization: str | None = None
    default_role: str | None = None
    role_mapping: RoleMappingExport | None = None
    group_sync: GroupSyncExport | None = None
    allowed_email_domains: tuple[str, ...] = ()
    linking: Literal["prove", "verified", "trusted"] = "prove"
    sync: Literal["every", "once"] = "every"
    root_ca: str | None = None
    insecure_skip_verify: bool = False
    oauth: OAuthExport = OAuthExport()
    saml: SamlExport | None = None


class RuleExport(Export):
    """An access rule. roles: its own and those of its service account.  clients: ids, empty for every client.

    organization: None for a rule of the installation.  organization_name: its short name.
    """

    id: str
    name: str
    expression: str
    precedence: int = 0
    service_account: str | None = None
    roles: tuple[str, ...] = ()
    clients: frozenset[str] = frozenset()
    organization: str | None = None
    organization_name: str | None = None
    enabled: bool = True


class IssuerExport(Export):
    """An issuer whose tokens are exchanged. jwks: its keys, where they were given.  root_ca: certificates in PEM.

    subject_prefix: what stands before each of its subjects, with the separator.
    """

    id: str
    iss: str
    aud: frozenset[str]
    token_expiry_s: int
    subject_prefix: str
    jwks_uri: str | None = None
    jwks: dict[str, JsonValue] | None = None
    root_ca: str | None = None


class ScopeClaim(Export):
    """A claim that a scope opens: a CEL expression over what is known of a person, and where the claim appears."""

    name: str
    expression: str
    appears_in: frozenset[str] = frozenset({"id_token", "userinfo"})


class ScopeExport(Export):
    """A scope of the installation's own. description: what the person is asked to allow."""

    id: str
    name: str
    description: str
    claims: tuple[ScopeClaim, ...] = ()


class ResourceExport(Export):
    """A resource server: an audience of access tokens (RFC 8707).

    scopes: of tokens for it, any where there are none.  any_client: whether every client may ask for such tokens, and
    not only those that list it.  access_token_…: in place of what the client says.
    """

    id: str
    identifier: str
    name: str
    scopes: frozenset[str] = frozenset()
    any_client: bool = False
    access_token_format: Literal["jwt", "opaque"] | None = None
    access_token_lifetime_s: int | None = None
    access_token_signing_alg: Literal["ES256", "RS256", "EdDSA"] | None = None


class BrandingExport(Export):
    """What the installation's pages look like. primary_color: `#rrggbb` or None for ours.  logo: as a data URL."""

    name: str
    primary_color: str | None = None
    logo: str | None = None
    policy_uri: str | None = None
    tos_uri: str | None = None
    support_uri: str | None = None


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


class IdentityExport(Export):
    """An external identity that leads to a user: whom a provider calls `subject`."""

    id: str
    user_id: str
    provider_id: str
    issuer: str
    subject: str


class InvitationExport(Export):
    """Whether people can be invited to choose a password, and whether that can be sent to them."""

    are_allowed: bool
    are_sent: bool


class ClientUseExport(Export):
    """Whether a client is in use. used_at: when a grant of it was made or refreshed last."""

    client_id: str
    has_live_grants: bool
    used_at: datetime | None = None


class SessionExport(Export):
    """A browser session that is not over, as the ledger compares it; what it is counted by before it is ended."""

    id: str
    user_id: str
    provider_id: str | None = None
    rev: int
    auth_time: datetime


class CredentialExport(Export):
    """How a user can sign in without a provider. id: the user's.

    has_password: one that was set but never used included.
    """

    id: str
    has_password: bool = False
    passkeys: int = 0

    @property
    def is_way_in(self) -> bool:
        """Whether the user gets in with it."""
        return self.has_password or self.passkeys > 0


ENTITIES: dict[str, tuple[Service, type[Export]]] = {
    "user": (Service.DIRECTORY, UserExport),
    "organization": (Service.DIRECTORY, OrganizationExport),
    "identity": (Service.DIRECTORY, IdentityExport),
    "client": (Service.ADMIN, ClientExport),
    "provider": (Service.ADMIN, ProviderExport),
    "scope": (Service.ADMIN, ScopeExport),
    "resource": (Service.ADMIN, ResourceExport),
    "rule": (Service.ADMIN, RuleExport),
    "issuer": (Service.ADMIN, IssuerExport),
    "branding": (Service.ADMIN, BrandingExport),
    "api_key": (Service.TOKEN, ApiKeyExport),
    "client_use": (Service.TOKEN, ClientUseExport),
    "session": (Service.AUTHZ, SessionExport),
    "credential": (Service.AUTHZ, CredentialExport),
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
