"""Tables of the schema `directory`: what it owns first, then its copies."""

from datetime import datetime
from enum import StrEnum

from pydantic import JsonValue
from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    MetaData,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from watchword_database.audit import Audited, audit
from watchword_database.base import TIMESTAMP, CopyColumns, backbone


class Base(SQLModel, registry=registry(metadata=MetaData(schema="directory"))):
    """The schema `directory`."""


class User(Base, table=True):
    """A person. After deletion the row stays as a tombstone without personal data; ids are never used again.

    username and email stand in their canonical form. email: unique among verified addresses only, since an address
    that nobody verified reserves nothing.  claims_version: the version at which claims changed last.
    profile: standard claims besides e-mail and username (`name`, `picture`, …), never null values.
    attributes: further ones, each of a declared name and kind.
    organization_id: of the one that the person belongs to; what the person may there stands in assignments.
    password_set_at: when a password was last handed over to authz, which alone keeps it.
    external_id, scim: what a SCIM client said of the person, as `scim.people` keeps it.
    """

    __tablename__ = "users"
    __table_args__ = (
        Index("uq_users_username", text("lower(username)"), unique=True, postgresql_where=text("deleted_at IS NULL")),
        Index(
            "uq_users_email",
            text("lower(email)"),
            unique=True,
            postgresql_where=text("email_verified AND deleted_at IS NULL"),
        ),
        Index("ix_users_email", text("lower(email)")),
        # The name as a SCIM client said it is unique within an organization: nobody takes one that another's directory
        # will push. Filters by it, by address and by external id are fast.
        Index(
            "uq_users_scim_name_within",
            text("coalesce(organization_id, '')"),
            text("lower(coalesce(scim ->> 'userName', username))"),
            unique=True,
            postgresql_where=text("deleted_at IS NULL"),
        ),
        Index(
            "ix_users_scim_name",
            text("lower(coalesce(scim ->> 'userName', username))"),
            postgresql_where=text("deleted_at IS NULL"),
        ),
        Index(
            "ix_users_scim_emails",
            text("(lower((scim -> 'emails')::text)::jsonb) jsonb_path_ops"),
            postgresql_using="gin",
        ),
        Index("ix_users_external_id", "external_id", postgresql_where=text("external_id IS NOT NULL")),
        Index("ix_users_organization", "organization_id", "id", postgresql_where=text("organization_id IS NOT NULL")),
        CheckConstraint("username = lower(username) AND email = lower(email)", name="ck_users_canonical"),
        CheckConstraint("claims_version <= version", name="ck_users_claims_version"),
    )

    id: str = Field(primary_key=True, sa_type=Text)
    version: int = Field(sa_type=BigInteger)
    claims_version: int = Field(sa_type=BigInteger)
    username: str = Field(sa_type=Text)
    email: str | None = Field(default=None, sa_type=Text)
    email_verified: bool = Field(default=False, sa_type=Boolean)
    profile: dict[str, JsonValue] = Field(default_factory=dict, sa_type=JSONB)
    attributes: dict[str, JsonValue] = Field(default_factory=dict, sa_type=JSONB)
    active: bool = Field(default=True, sa_type=Boolean)
    organization_id: str | None = Field(
        default=None,
        sa_column_args=[ForeignKey("directory.organizations.id", name="fk_users_organization")],
        sa_type=Text,
    )
    provider_id: str | None = Field(default=None, sa_type=Text)
    password_set_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)
    external_id: str | None = Field(default=None, sa_type=Text)
    scim: dict[str, JsonValue] = Field(default_factory=dict, sa_type=JSONB)
    created_at: datetime = Field(sa_type=TIMESTAMP)
    updated_at: datetime = Field(sa_type=TIMESTAMP)
    deleted_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)


class IdentityLink(Base, table=True):
    """An external identity that leads to a user; the key is never an e-mail address."""

    __tablename__ = "identities"
    __table_args__ = (UniqueConstraint("provider_id", "issuer", "subject", name="uq_identities_key"),)

    id: str = Field(primary_key=True, sa_type=Text)
    user_id: str = Field(sa_column_args=[ForeignKey("directory.users.id")], sa_type=Text, index=True)
    provider_id: str = Field(sa_type=Text)
    issuer: str = Field(sa_type=Text)
    subject: str = Field(sa_type=Text)
    created_at: datetime = Field(sa_type=TIMESTAMP)
    last_used_at: datetime = Field(sa_type=TIMESTAMP)


class IdentityClaims(Base, table=True):
    """What a provider said of a person at the last sign-in, as `last_claims` keeps it.

    sealed: opened with the key "last-claims" and `identity_id` as associated data.
    """

    __tablename__ = "identity_claims"

    identity_id: str = Field(
        primary_key=True, sa_column_args=[ForeignKey("directory.identities.id", ondelete="CASCADE")], sa_type=Text
    )
    provider_id: str = Field(sa_type=Text)
    sealed: bytes = Field(sa_type=LargeBinary)
    said_at: datetime = Field(sa_type=TIMESTAMP)
    keep_until: datetime = Field(sa_type=TIMESTAMP, index=True)


class PendingLink(Base, table=True):
    """An identity that waits until the person has proved an existing account, bound to one flow of one browser.

    identity: what decides and what the sign-in goes on with; neither name nor address.  mapped: the roles and groups
    that the provider gives.
    """

    __tablename__ = "pending_links"

    id: str = Field(primary_key=True, sa_type=Text)
    flow: str = Field(sa_type=Text, index=True)
    binding: str = Field(sa_type=Text)
    user_id: str = Field(sa_type=Text)
    identity: dict[str, JsonValue] = Field(sa_type=JSONB)
    mapped: dict[str, JsonValue] = Field(default_factory=dict, sa_type=JSONB)
    expires_at: datetime = Field(sa_type=TIMESTAMP, index=True)


class Attribute(Base, table=True):
    """A name under which users may have an attribute of the installation's own, and what kind of value it is."""

    __tablename__ = "attributes"

    name: str = Field(primary_key=True, sa_type=Text)
    kind: str = Field(sa_type=Text)
    description: str | None = Field(default=None, sa_type=Text)
    created_at: datetime = Field(sa_type=TIMESTAMP)


class Organization(Base, table=True):
    """A customer, a company, a department. After deletion the row stays as a tombstone.

    short_name: stands in tokens and in the full names of its groups, and so never changes.  external_id, domain_id: of
    the system that it was imported from; a number there is a number here.
    """

    __tablename__ = "organizations"
    __table_args__ = (
        Index(
            "uq_organizations_short_name",
            text("lower(short_name)"),
            unique=True,
            postgresql_where=text("deleted_at IS NULL"),
        ),
        Index(
            "uq_organizations_external_id",
            text("(external_id #>> '{}')"),
            unique=True,
            postgresql_where=text("deleted_at IS NULL"),
        ),
    )

    id: str = Field(primary_key=True, sa_type=Text)
    version: int = Field(default=1, sa_type=BigInteger)
    short_name: str = Field(sa_type=Text)
    name: str = Field(sa_type=Text)
    external_id: int | str | None = Field(default=None, sa_type=JSONB(none_as_null=True))
    domain_id: int | str | None = Field(default=None, sa_type=JSONB(none_as_null=True))
    created_at: datetime = Field(sa_type=TIMESTAMP)
    updated_at: datetime = Field(sa_type=TIMESTAMP)
    deleted_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)


class OrganizationDomain(Base, table=True):
    """A domain that an organization says is its own. challenge: what its DNS has to say before that is believed.

    Any number of organizations may say so of one domain; one at most has proved it.
    """

    __tablename__ = "organization_domains"
    __table_args__ = (
        Index(
            "uq_organization_domains_verified",
            "domain",
            unique=True,
            postgresql_where=text("verified_at IS NOT NULL"),
        ),
    )

    organization_id: str = Field(
        primary_key=True, sa_column_args=[ForeignKey("directory.organizations.id")], sa_type=Text
    )
    domain: str = Field(primary_key=True, sa_type=Text)
    challenge: str = Field(sa_type=Text)
    created_at: datetime = Field(sa_type=TIMESTAMP)
    verified_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)


class Group(Base, table=True):
    """A group of users, of the whole installation or of one organization; a deleted one stays as a tombstone.

    full_name: what tokens and rules call it, `ops` or `acme/ops`: no organization's group can pass for another's.
    """

    __tablename__ = "groups"
    __table_args__ = (
        Index(
            "uq_groups_full_name", text("lower(full_name)"), unique=True, postgresql_where=text("deleted_at IS NULL")
        ),
        Index("ix_groups_organization", "organization_id", postgresql_where=text("organization_id IS NOT NULL")),
        Index("ix_groups_external_id", "external_id", postgresql_where=text("external_id IS NOT NULL")),
    )

    id: str = Field(primary_key=True, sa_type=Text)
    version: int = Field(default=1, sa_type=BigInteger)
    name: str = Field(sa_type=Text)
    full_name: str = Field(sa_type=Text)
    organization_id: str | None = Field(
        default=None, sa_column_args=[ForeignKey("directory.organizations.id")], sa_type=Text
    )
    description: str | None = Field(default=None, sa_type=Text)
    external_id: str | None = Field(default=None, sa_type=Text)
    created_at: datetime = Field(sa_type=TIMESTAMP)
    updated_at: datetime = Field(sa_type=TIMESTAMP)
    deleted_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)


class Nesting(Base, table=True):
    """One group lies in another: the members of `child_id` count as members of `parent_id`. There are no circles."""

    __tablename__ = "nestings"
    __table_args__ = (Index("ix_nestings_child", "child_id"),)

    parent_id: str = Field(primary_key=True, sa_column_args=[ForeignKey("directory.groups.id")], sa_type=Text)
    child_id: str = Field(primary_key=True, sa_column_args=[ForeignKey("directory.groups.id")], sa_type=Text)


class Membership(Base, table=True):
    """A user is in a group. provider_id: the provider that says so, None when it was given here."""

    __tablename__ = "memberships"
    __table_args__ = (Index("ix_memberships_user", "user_id"),)

    group_id: str = Field(primary_key=True, sa_column_args=[ForeignKey("directory.groups.id")], sa_type=Text)
    user_id: str = Field(primary_key=True, sa_column_args=[ForeignKey("directory.users.id")], sa_type=Text)
    provider_id: str | None = Field(default=None, sa_type=Text)
    created_at: datetime = Field(sa_type=TIMESTAMP)


class Role(Base, table=True):
    """A name for permissions that go together. is_built_in: Watchword's own; nobody changes those.

    A deleted one stays as a tombstone.
    """

    __tablename__ = "roles"
    __table_args__ = (
        Index("uq_roles_name", text("lower(name)"), unique=True, postgresql_where=text("deleted_at IS NULL")),
    )

    id: str = Field(primary_key=True, sa_type=Text)
    version: int = Field(default=1, sa_type=BigInteger)
    name: str = Field(sa_type=Text)
    description: str | None = Field(default=None, sa_type=Text)
    permissions: list[str] = Field(default_factory=list, sa_type=ARRAY(Text))
    is_built_in: bool = Field(default=False, sa_type=Boolean)
    created_at: datetime = Field(sa_type=TIMESTAMP)
    updated_at: datetime = Field(sa_type=TIMESTAMP)
    deleted_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)


class Assignment(Base, table=True):
    """A role that a user or a group has, everywhere or within one organization.

    provider_id: the provider that says so, None when it was given here.
    """

    __tablename__ = "assignments"
    __table_args__ = (
        CheckConstraint("num_nonnulls(user_id, group_id) = 1", name="ck_assignments_one_holder"),
        UniqueConstraint(
            "role_id",
            "user_id",
            "group_id",
            "organization_id",
            name="uq_assignments_key",
            postgresql_nulls_not_distinct=True,
        ),
        Index("ix_assignments_user", "user_id", postgresql_where=text("user_id IS NOT NULL")),
        Index("ix_assignments_group", "group_id", postgresql_where=text("group_id IS NOT NULL")),
        Index("ix_assignments_organization", "organization_id", postgresql_where=text("organization_id IS NOT NULL")),
    )

    id: str = Field(primary_key=True, sa_type=Text)
    role_id: str = Field(sa_column_args=[ForeignKey("directory.roles.id")], sa_type=Text)
    user_id: str | None = Field(default=None, sa_column_args=[ForeignKey("directory.users.id")], sa_type=Text)
    group_id: str | None = Field(default=None, sa_column_args=[ForeignKey("directory.groups.id")], sa_type=Text)
    organization_id: str | None = Field(
        default=None, sa_column_args=[ForeignKey("directory.organizations.id")], sa_type=Text
    )
    provider_id: str | None = Field(default=None, sa_type=Text)
    created_at: datetime = Field(sa_type=TIMESTAMP)


class ScimToken(Base, table=True):
    """With what another system pushes people and groups. Only the SHA-256 of the secret is kept.

    organization_id: whose people and groups it reaches, None for the installation's.  provider_id: a provider with
    which it ends.  created_by: a user or client.  rev: the position of the ledger before it was made.  A revoked one
    stays as a tombstone.
    """

    __tablename__ = "scim_tokens"

    id: str = Field(primary_key=True, sa_type=Text)
    version: int = Field(default=1, sa_type=BigInteger)
    name: str = Field(sa_type=Text)
    secret_hash: str = Field(sa_type=Text)
    organization_id: str | None = Field(
        default=None, sa_column_args=[ForeignKey("directory.organizations.id")], sa_type=Text
    )
    provider_id: str | None = Field(default=None, sa_type=Text)
    created_by: str | None = Field(default=None, sa_type=Text)
    rev: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})
    created_at: datetime = Field(sa_type=TIMESTAMP)
    expires_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)
    revoked_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)
    last_used_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)


class ScimFailure(Base, table=True):
    """A request of a SCIM token that was refused. path: below `/scim/v2`.  detail: what the caller was told."""

    __tablename__ = "scim_failures"
    __table_args__ = (Index("ix_scim_failures_token", "token_id", "id"),)

    id: int | None = Field(default=None, primary_key=True, sa_type=BigInteger, sa_column_args=[Identity(always=True)])
    token_id: str = Field(sa_column_args=[ForeignKey("directory.scim_tokens.id")], sa_type=Text)
    at: datetime = Field(sa_type=TIMESTAMP)
    method: str = Field(sa_type=Text)
    path: str = Field(sa_type=Text)
    status: int = Field(sa_type=BigInteger)
    detail: str = Field(sa_type=Text)


class Behind(StrEnum):
    """What a set of users stands behind: those in a group, those who have a role, those of an organization."""

    GROUP = "group"
    ROLE = "role"
    ORGANIZATION = "organization"


class ClaimsDue(Base, table=True):
    """Users whose claims changed with something that they stand behind, and whose versions have to rise yet.

    after: those up to this id have risen.
    """

    __tablename__ = "claims_due"

    id: int | None = Field(default=None, primary_key=True, sa_type=BigInteger, sa_column_args=[Identity(always=True)])
    behind: str = Field(sa_type=Text)
    behind_id: str = Field(sa_type=Text)
    after: str = Field(default="", sa_type=Text)
    created_at: datetime = Field(sa_type=TIMESTAMP)


class ProviderCopy(CopyColumns, Base, table=True):
    """Identity providers, owned by admin."""

    __tablename__ = "provider_copies"


class BrandingCopy(CopyColumns, Base, table=True):
    """How pages look, owned by admin."""

    __tablename__ = "branding_copies"


class ApiKeyCopy(CopyColumns, Base, table=True):
    """API keys, owned by token."""

    __tablename__ = "api_key_copies"


backbone(Base.metadata)
audit(
    Base.metadata,
    {
        "users": Audited("user", name="username", is_personal=True),
        "attributes": Audited("attribute", name="name"),
        "organizations": Audited("organization", name="name"),
        "organization_domains": Audited("organization_domain", name="domain"),
        "groups": Audited("group", name="full_name"),
        "nestings": Audited("nesting"),
        "memberships": Audited("membership"),
        "roles": Audited("role", name="name"),
        "assignments": Audited("assignment"),
        "scim_tokens": Audited("scim_token", name="name"),
    },
)
