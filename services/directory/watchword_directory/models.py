"""Tables of the schema `directory`: what it owns first, then its copies."""

from datetime import datetime
from typing import Final

from pydantic import JsonValue
from sqlalchemy import BigInteger, Boolean, CheckConstraint, ForeignKey, Index, MetaData, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from watchword_database.base import TIMESTAMP, CopyColumns, backbone

# As text, in the index and in the query: only a literal condition can use a partial index.
IS_ADMINISTRATOR: Final = "roles @> '[\"administrator\"]'::jsonb"


class Base(SQLModel, registry=registry(metadata=MetaData(schema="directory"))):
    """The schema `directory`."""


class User(Base, table=True):
    """A person. After deletion the row stays as a tombstone without personal data; ids are never used again.

    username and email stand in their canonical form. email: unique among verified addresses only, since an address
    that nobody verified reserves nothing.  claims_version: the version at which claims changed last.
    profile: standard claims besides e-mail and username (`name`, `picture`, …), never null values.
    password_set_at: when a password was last handed over to authz, which alone keeps it.
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
        Index("ix_users_administrators", "id", postgresql_where=text(IS_ADMINISTRATOR)),
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
    active: bool = Field(default=True, sa_type=Boolean)
    roles: list[str] = Field(default_factory=list, sa_type=JSONB)
    groups: list[str] = Field(default_factory=list, sa_type=JSONB)
    provider_id: str | None = Field(default=None, sa_type=Text)
    password_set_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)
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


class PendingLink(Base, table=True):
    """An identity that waits until the person has proved an existing account, bound to one flow of one browser.

    identity: what decides and what the sign-in goes on with; neither name nor address.
    """

    __tablename__ = "pending_links"

    id: str = Field(primary_key=True, sa_type=Text)
    flow: str = Field(sa_type=Text, index=True)
    binding: str = Field(sa_type=Text)
    user_id: str = Field(sa_type=Text)
    identity: dict[str, JsonValue] = Field(sa_type=JSONB)
    expires_at: datetime = Field(sa_type=TIMESTAMP, index=True)


class ProviderCopy(CopyColumns, Base, table=True):
    """Identity providers, owned by admin."""

    __tablename__ = "provider_copies"


class ApiKeyCopy(CopyColumns, Base, table=True):
    """API keys, owned by token."""

    __tablename__ = "api_key_copies"


backbone(Base.metadata)
