"""The events. Each states a past fact about one aggregate by id and version.

A body never carries an e-mail address, a name or a secret: who needs the state pulls it from the owner. Consumers
ignore unknown fields, so that release N runs beside N-1; a breaking change is a new class with type `….v2`.
"""

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from watchword_events.names import Service


class Event(BaseModel):
    """A fact about the aggregate `id`, which stood at `version` after it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    owner: ClassVar[Service]
    entity: ClassVar[str]
    fact: ClassVar[str]
    public: ClassVar[bool] = True
    audited: ClassVar[bool] = False  # stands in the audit log, in the transaction of the fact

    id: str = Field(min_length=1, max_length=128)
    version: int = Field(ge=1)

    @classmethod
    def type_name(cls) -> str:
        """The CloudEvents type, for example `user.provisioned`."""
        return f"{cls.entity}.{cls.fact}"

    @classmethod
    def subject(cls) -> str:
        """The NATS subject, for example `auth.directory.user.provisioned`."""
        return f"auth.{cls.owner.value}.{cls.entity}.{cls.fact}"


# directory -----------------------------------------------------------------------------------------------------------


class UserEvent(Event):
    """A fact about a user; `claims_version` rises with anything that changes the person's claims."""

    owner = Service.DIRECTORY
    entity = "user"
    claims_version: int = Field(ge=1)


class UserProvisioned(UserEvent):
    """A user exists now. `origin` says who created it; `provider_id` is set for a first federated sign-in."""

    fact = "provisioned"
    origin: Literal["api", "sign-in", "bootstrap"]
    provider_id: str | None = None


class UserUpdated(UserEvent):
    """Profile, claims or a pending password of a user changed."""

    fact = "updated"


class UserDisabled(UserEvent):
    """A user may no longer sign in; the ledger holds the state that refuses every token."""

    fact = "disabled"


class UserEnabled(UserEvent):
    """A user may sign in again; tokens from before stay dead."""

    fact = "enabled"


class UserDeleted(UserEvent):
    """A user is gone for good; copies keep a tombstone."""

    fact = "deleted"


class IdentityLinked(Event):
    """An external identity now leads to a user. `id` is the link's id."""

    owner = Service.DIRECTORY
    entity = "identity"
    fact = "linked"
    audited = True
    user_id: str
    provider_id: str


class IdentityUnlinked(Event):
    """An external identity no longer leads to a user."""

    owner = Service.DIRECTORY
    entity = "identity"
    fact = "unlinked"
    audited = True
    user_id: str
    provider_id: str


class OrganizationEvent(Event):
    """A fact about an organization."""

    owner = Service.DIRECTORY
    entity = "organization"


class OrganizationCreated(OrganizationEvent):
    """An organization exists now."""

    fact = "created"


class OrganizationUpdated(OrganizationEvent):
    """An organization's name, imported ids or domains changed."""

    fact = "updated"


class OrganizationDeleted(OrganizationEvent):
    """An organization is gone for good."""

    fact = "deleted"


class GroupEvent(Event):
    """A fact about a group. `organization_id` is None for one of the whole installation."""

    owner = Service.DIRECTORY
    entity = "group"
    organization_id: str | None = None


class GroupCreated(GroupEvent):
    """A group exists now."""

    fact = "created"


class GroupUpdated(GroupEvent):
    """A group's name or description changed, or which groups it lies in; its members' own events follow."""

    fact = "updated"


class GroupDeleted(GroupEvent):
    """A group is gone for good; its members' own events follow."""

    fact = "deleted"


class RoleEvent(Event):
    """A fact about a role."""

    owner = Service.DIRECTORY
    entity = "role"


class RoleCreated(RoleEvent):
    """A role may be given now."""

    fact = "created"


class RoleUpdated(RoleEvent):
    """A role's name, description or permissions changed; the events of those who have it follow."""

    fact = "updated"


class RoleDeleted(RoleEvent):
    """A role is gone for good; the events of those who had it follow."""

    fact = "deleted"


class AssignmentChanged(Event):
    """A role was given to a user or a group, or taken from it.

    `id` is the assignment's. organization_id: within which the role counts, None for everywhere.
    """

    owner = Service.DIRECTORY
    entity = "assignment"
    fact = "changed"
    is_given: bool
    role_id: str
    user_id: str | None = None
    group_id: str | None = None
    organization_id: str | None = None


class MembershipChanged(Event):
    """A user came into a group or left it. `id` is the user's id, `version` the user's."""

    owner = Service.DIRECTORY
    entity = "membership"
    fact = "changed"
    is_member: bool
    group_id: str


# authz ---------------------------------------------------------------------------------------------------------------


class SessionStarted(Event):
    """A person signed in. `provider_id` is None for a local credential."""

    owner = Service.AUTHZ
    entity = "session"
    fact = "started"
    user_id: str
    provider_id: str | None = None
    amr: tuple[str, ...] = ()


class SessionEnded(Event):
    """A session is over. A cut of its own, or the entry that ended it, refuses what descends from it."""

    owner = Service.AUTHZ
    entity = "session"
    fact = "ended"
    user_id: str
    reason: Literal["sign-out", "idle", "expired", "administrator", "user-disabled", "replaced", "everywhere"]


class AccountLocked(Event):
    """Too many failed sign-ins for one user. `id` is the user's id."""

    owner = Service.AUTHZ
    entity = "account"
    fact = "locked"
    audited = True
    until_s: int


class CredentialChanged(Event):
    """A person's local credential was set or changed. `id` is the user's id."""

    owner = Service.AUTHZ
    entity = "credential"
    fact = "changed"
    audited = True
    kind: Literal["password", "totp", "recovery_codes", "passkey"]


class ConsentGranted(Event):
    """A person allowed a client a set of scopes. `id` is the consent's id."""

    owner = Service.AUTHZ
    entity = "consent"
    fact = "granted"
    audited = True
    user_id: str
    client_id: str
    scope: tuple[str, ...]


class ConsentWithdrawn(Event):
    """A person withdrew what a client was allowed."""

    owner = Service.AUTHZ
    entity = "consent"
    fact = "withdrawn"
    audited = True
    user_id: str
    client_id: str


# federation ----------------------------------------------------------------------------------------------------------


class UpstreamSessionEnded(Event):
    """A provider has ended a session of its own, and with it those here that came from it. `id` is federation's."""

    owner = Service.FEDERATION
    entity = "upstream_session"
    fact = "ended"
    public = False
    provider_id: str


class UpstreamTokensEvent(Event):
    """A fact about the tokens of a provider that are kept for a person. `id` is that of their identity there.

    version: milliseconds since 1970, so that it rises through rows that come and go.
    """

    owner = Service.FEDERATION
    entity = "upstream_tokens"
    user_id: str
    provider_id: str


class UpstreamTokensKept(UpstreamTokensEvent):
    """Tokens of a provider are kept for a person from now on."""

    fact = "kept"


class UpstreamTokensDropped(UpstreamTokensEvent):
    """No tokens of the provider are kept for the person any more."""

    fact = "dropped"
    reason: Literal["unlinked", "user-disabled", "user-deleted", "provider", "logout", "revoked", "refused", "expired"]


# token ---------------------------------------------------------------------------------------------------------------


class TokenRevoked(Event):
    """One access token was revoked before its time. `id` is its jti."""

    owner = Service.TOKEN
    entity = "token"
    fact = "revoked"
    client_id: str
    user_id: str | None = None


class GrantRevoked(Event):
    """A grant and every token of its family are dead. `id` is the gid."""

    owner = Service.TOKEN
    entity = "grant"
    fact = "revoked"
    client_id: str
    user_id: str | None = None
    reason: Literal[
        "client", "administrator", "refresh-token-reuse", "code-reuse", "user", "consent-withdrawn", "access-rules"
    ]


class RefreshTokenReused(Event):
    """A refresh token that had been replaced was presented again. `id` is the gid."""

    owner = Service.TOKEN
    entity = "refresh_token"
    fact = "reused"
    client_id: str
    user_id: str | None = None


class ApiKeyCreated(Event):
    """A personal API key exists now. `id` is the key's id."""

    owner = Service.TOKEN
    entity = "api_key"
    fact = "created"
    user_id: str


class ApiKeyRevoked(Event):
    """A personal API key works no more."""

    owner = Service.TOKEN
    entity = "api_key"
    fact = "revoked"
    user_id: str


class KeyEvent(Event):
    """A fact about a signing key. `id` is the kid."""

    owner = Service.TOKEN
    entity = "key"
    alg: str


class KeyPublished(KeyEvent):
    """A signing key stands in the JWKS; verifiers may learn it ahead of its first use."""

    fact = "published"
    public_jwk: dict[str, JsonValue]


class KeyRotated(KeyEvent):
    """The key makes tokens from now on. previous: the kid of the one that did, if there was one."""

    fact = "rotated"
    previous: str | None = None


class KeyRetired(KeyEvent):
    """Every token that the key made is over, and it has left the JWKS."""

    fact = "retired"


class KeyRevoked(KeyEvent):
    """Nothing that the key made is good any more. The ledger says the same, and sooner."""

    fact = "revoked"


# admin ---------------------------------------------------------------------------------------------------------------


class ClientEvent(Event):
    """A fact about a client. `id` is the client_id."""

    owner = Service.ADMIN
    entity = "client"


class ClientRegistered(ClientEvent):
    """A client may be used now."""

    fact = "registered"


class ClientUpdated(ClientEvent):
    """A client's settings or secrets changed."""

    fact = "updated"


class ClientDisabled(ClientEvent):
    """A client may no longer be used; its tokens are dead by the ledger."""

    fact = "disabled"


class ClientEnabled(ClientEvent):
    """A client may be used again; tokens from before stay dead."""

    fact = "enabled"


class ClientDeleted(ClientEvent):
    """A client is gone for good."""

    fact = "deleted"


class ProviderEvent(Event):
    """A fact about an upstream identity provider. `id` is the ProviderId."""

    owner = Service.ADMIN
    entity = "provider"


class ProviderConfigured(ProviderEvent):
    """An identity provider was added."""

    fact = "configured"


class ProviderUpdated(ProviderEvent):
    """An identity provider's settings changed, or it was enabled."""

    fact = "updated"


class ProviderDisabled(ProviderEvent):
    """An identity provider can no longer be used to sign in."""

    fact = "disabled"


class ProviderRemoved(ProviderEvent):
    """An identity provider was removed."""

    fact = "removed"


class ScopeChanged(Event):
    """A scope of the installation's own was added, changed or deleted."""

    owner = Service.ADMIN
    entity = "scope"
    fact = "changed"


class ResourceChanged(Event):
    """A resource server was added, changed or deleted."""

    owner = Service.ADMIN
    entity = "resource"
    fact = "changed"


class RuleChanged(Event):
    """An access rule was added, changed or deleted; it counts at the next sign-in, refresh or exchange."""

    owner = Service.ADMIN
    entity = "rule"
    fact = "changed"


class ServiceAccountChanged(Event):
    """A service account that rules lead to was added, changed or deleted. `id` is its name."""

    owner = Service.ADMIN
    entity = "service_account"
    fact = "changed"


class IssuerEvent(Event):
    """A fact about an issuer whose tokens are exchanged; who keeps a copy asks admin for the state."""

    owner = Service.ADMIN
    entity = "issuer"


class IssuerTrusted(IssuerEvent):
    """Tokens of an issuer are exchanged for ours from now on."""

    fact = "trusted"


class IssuerUpdated(IssuerEvent):
    """What is accepted of a trusted issuer, or where its keys are, changed."""

    fact = "updated"


class IssuerRemoved(IssuerEvent):
    """An issuer is trusted no more; the ledger holds the state that refuses what came of its tokens."""

    fact = "removed"


class BrandingChanged(Event):
    """Name, colour, logo or links of the installation's pages changed. `id` is always `installation`."""

    owner = Service.ADMIN
    entity = "branding"
    fact = "changed"
