"""Tables of the schema `admin`: what it owns first, then its copies."""

from datetime import datetime
from enum import StrEnum

from pydantic import JsonValue
from sqlalchemy import BigInteger, Boolean, ForeignKey, Identity, Index, Integer, LargeBinary, MetaData, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from watchword_database.audit import Audited, audit
from watchword_database.base import TIMESTAMP, CopyColumns, backbone


class Base(SQLModel, registry=registry(metadata=MetaData(schema="admin"))):
    """The schema `admin`."""


class ClientKind(StrEnum):
    """Who vouches for a client: an administrator, or nobody (it registered itself, or is a document on the web)."""

    REGISTERED = "registered"
    DYNAMIC = "dynamic"
    DOCUMENT = "document"


class Client(Base, table=True):
    """An application. `document` is a `ClientDocument`; after deletion the row stays as a tombstone without one.

    used_at: when somebody last signed in to it, as far as was asked.  expires_at: until when a client-ID metadata
    document counts as read.  registration: the `Terms` under which a client registered itself, and
    registration_token: SHA-256 of the registration access token with which it manages itself.
    """

    __tablename__ = "clients"
    __table_args__ = (
        Index("ix_clients_name", text("lower(client_name)"), "id", postgresql_where=text("deleted_at IS NULL")),
        Index(
            "uq_clients_short_name",
            text("lower(short_name)"),
            unique=True,
            postgresql_where=text("deleted_at IS NULL"),
        ),
        Index(
            "ix_clients_not_vouched_for",
            "id",
            postgresql_where=text("kind <> 'registered' AND deleted_at IS NULL"),
        ),
    )

    id: str = Field(primary_key=True, sa_type=Text)
    version: int = Field(sa_type=BigInteger)
    client_name: str = Field(sa_type=Text)
    short_name: str | None = Field(default=None, sa_type=Text)
    enabled: bool = Field(default=True, sa_type=Boolean)
    kind: str = Field(
        default=ClientKind.REGISTERED.value, sa_type=Text, sa_column_kwargs={"server_default": "registered"}
    )
    document: dict[str, JsonValue] = Field(sa_type=JSONB)
    created_at: datetime = Field(sa_type=TIMESTAMP)
    updated_at: datetime = Field(sa_type=TIMESTAMP)
    used_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)
    expires_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)
    registration: dict[str, JsonValue] | None = Field(default=None, sa_type=JSONB(none_as_null=True))
    registration_token: bytes | None = Field(default=None, sa_type=LargeBinary)
    deleted_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)


class ClientSecret(Base, table=True):
    """A secret of a client. hash: `sha256:<hex>` of a generated one, an argon2id hash of a chosen one."""

    __tablename__ = "client_secrets"

    id: str = Field(primary_key=True, sa_type=Text)
    client_id: str = Field(sa_column_args=[ForeignKey("admin.clients.id")], sa_type=Text, index=True)
    hash: str = Field(sa_type=Text)
    created_at: datetime = Field(sa_type=TIMESTAMP)


class RegistrationToken(Base, table=True):
    """An initial access token: who holds it may register clients, so many times, under its `Terms`.

    secret_hash: SHA-256.  uses_left: rows are kept when nothing is left, so that a list can say so.  rev: the position
    of the ledger before it was made.
    """

    __tablename__ = "registration_tokens"

    id: str = Field(primary_key=True, sa_type=Text)
    name: str = Field(sa_type=Text)
    secret_hash: bytes = Field(sa_type=LargeBinary)
    terms: dict[str, JsonValue] = Field(sa_type=JSONB)
    uses_left: int = Field(sa_type=Integer)
    rev: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})
    created_by: str | None = Field(default=None, sa_type=Text)
    created_at: datetime = Field(sa_type=TIMESTAMP)
    expires_at: datetime = Field(sa_type=TIMESTAMP)
    revoked_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)


class Provider(Base, table=True):
    """An identity provider. `document` is a `ProviderDocument`; a removed one stays as a tombstone without one.

    client_secret, exchange_secret: sealed with the key "provider-secrets", bound to the id.  distrusted: the ledger
    holds a state against everything that came through it, which enabling or configuring it again lifts.
    """

    __tablename__ = "providers"

    id: str = Field(primary_key=True, sa_type=Text)
    version: int = Field(sa_type=BigInteger)
    display_name: str = Field(sa_type=Text)
    order: int = Field(default=0, sa_type=Integer)
    enabled: bool = Field(default=True, sa_type=Boolean)
    distrusted: bool = Field(default=False, sa_type=Boolean)
    document: dict[str, JsonValue] = Field(sa_type=JSONB)
    client_secret: bytes | None = Field(default=None, sa_type=LargeBinary)
    exchange_secret: bytes | None = Field(default=None, sa_type=LargeBinary)
    created_at: datetime = Field(sa_type=TIMESTAMP)
    updated_at: datetime = Field(sa_type=TIMESTAMP)
    deleted_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)


class AccessRule(Base, table=True):
    """Who may use clients, and as what. `document` is a `RuleDocument`; a deleted one stays as a tombstone."""

    __tablename__ = "access_rules"
    __table_args__ = (
        Index(
            "uq_access_rules_name",
            text("coalesce(organization, '')"),
            "name",
            unique=True,
            postgresql_where=text("deleted_at IS NULL"),
        ),
        Index("ix_access_rules_service_account", "service_account"),
    )

    id: str = Field(primary_key=True, sa_type=Text)
    version: int = Field(sa_type=BigInteger)
    name: str = Field(default="", sa_type=Text)
    organization: str | None = Field(default=None, sa_type=Text)
    precedence: int = Field(default=0, sa_type=Integer)
    service_account: str | None = Field(default=None, sa_type=Text)
    enabled: bool = Field(default=True, sa_type=Boolean)
    document: dict[str, JsonValue] = Field(default_factory=dict, sa_type=JSONB)
    created_at: datetime = Field(sa_type=TIMESTAMP)
    updated_at: datetime = Field(sa_type=TIMESTAMP)
    deleted_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)


class ServiceAccount(Base, table=True):
    """A name that rules lead to, with roles. `document` is an `AccountDocument`."""

    __tablename__ = "service_accounts"

    name: str = Field(primary_key=True, sa_type=Text)
    version: int = Field(sa_type=BigInteger)
    document: dict[str, JsonValue] = Field(sa_type=JSONB)
    created_at: datetime = Field(sa_type=TIMESTAMP)
    updated_at: datetime = Field(sa_type=TIMESTAMP)


class TrustedIssuer(Base, table=True):
    """An issuer whose tokens are exchanged. `document` is an `IssuerDocument`; a removed one stays as a tombstone.

    prefix: what stands before its subjects, no other issuer's.
    """

    __tablename__ = "trusted_issuers"
    __table_args__ = (
        Index("uq_trusted_issuers_iss", "iss", unique=True, postgresql_where=text("deleted_at IS NULL")),
        Index("uq_trusted_issuers_prefix", "prefix", unique=True, postgresql_where=text("deleted_at IS NULL")),
    )

    id: str = Field(primary_key=True, sa_type=Text)
    version: int = Field(sa_type=BigInteger)
    iss: str = Field(sa_type=Text)
    prefix: str = Field(sa_type=Text)
    document: dict[str, JsonValue] = Field(sa_type=JSONB)
    created_at: datetime = Field(sa_type=TIMESTAMP)
    updated_at: datetime = Field(sa_type=TIMESTAMP)
    deleted_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)


class Scope(Base, table=True):
    """A scope of the installation's own. `document` is a `ScopeDocument`; a deleted one stays as a tombstone."""

    __tablename__ = "scopes"
    __table_args__ = (Index("uq_scopes_name", "name", unique=True, postgresql_where=text("deleted_at IS NULL")),)

    id: str = Field(primary_key=True, sa_type=Text)
    version: int = Field(sa_type=BigInteger)
    name: str = Field(sa_type=Text)
    is_default: bool = Field(default=False, sa_type=Boolean)
    document: dict[str, JsonValue] = Field(sa_type=JSONB)
    created_at: datetime = Field(sa_type=TIMESTAMP)
    updated_at: datetime = Field(sa_type=TIMESTAMP)
    deleted_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)


class Resource(Base, table=True):
    """A resource server, by its identifier. `document` is a `ResourceDocument`; a deleted one stays as a tombstone."""

    __tablename__ = "resources"
    __table_args__ = (Index("uq_resources_name", "name", unique=True, postgresql_where=text("deleted_at IS NULL")),)

    id: str = Field(primary_key=True, sa_type=Text)
    version: int = Field(sa_type=BigInteger)
    name: str = Field(sa_type=Text)
    document: dict[str, JsonValue] = Field(sa_type=JSONB)
    created_at: datetime = Field(sa_type=TIMESTAMP)
    updated_at: datetime = Field(sa_type=TIMESTAMP)
    deleted_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)


class Branding(Base, table=True):
    """What pages and mails look like, of which there is one. `document` is a `BrandingDocument` without the logo."""

    __tablename__ = "branding"

    id: str = Field(primary_key=True, sa_type=Text)
    version: int = Field(sa_type=BigInteger)
    document: dict[str, JsonValue] = Field(sa_type=JSONB)
    logo: bytes | None = Field(default=None, sa_type=LargeBinary)
    updated_at: datetime = Field(sa_type=TIMESTAMP)


class ConsoleSession(Base, table=True):
    """An administrator's session at the console, which lives no longer than the sign-in that it came from.

    secret_hash: SHA-256 of the cookie.  rev, sid, gid: position and lineage of the token that opened it.
    sealed_token: that token, which only the cookie opens; None for a session of a release that kept none.
    """

    __tablename__ = "console_sessions"

    secret_hash: bytes = Field(primary_key=True, sa_type=LargeBinary)
    user_id: str = Field(sa_type=Text, index=True)
    sid: str | None = Field(default=None, sa_type=Text)
    gid: str | None = Field(default=None, sa_type=Text)
    idp: str | None = Field(default=None, sa_type=Text)
    rev: int = Field(sa_type=BigInteger)
    sealed_token: bytes | None = Field(default=None, sa_type=LargeBinary)
    created_at: datetime = Field(sa_type=TIMESTAMP)
    used_at: datetime = Field(sa_type=TIMESTAMP)
    expires_at: datetime = Field(sa_type=TIMESTAMP, index=True)


class AuditSeal(Base, table=True):
    """The audit log's chain as it stood at an entry, signed. mac: by a key that is not in the database."""

    __tablename__ = "audit_seals"

    seq: int = Field(primary_key=True, sa_type=BigInteger)
    hash: bytes = Field(sa_type=LargeBinary)
    sealed_at: datetime = Field(sa_type=TIMESTAMP)
    mac: bytes = Field(sa_type=LargeBinary)


class Webhook(Base, table=True):
    """Where what happens is sent to. `document` is a `WebhookDocument` without name and enabled.

    secret: sealed with the key "webhook-secrets", bound to the id.  after: number of the last entry or event that was
    dealt with.  attempts: of what follows it, which fails since failing_since.  locked_until: whoever sends has it till
    then.
    """

    __tablename__ = "webhooks"

    id: str = Field(primary_key=True, sa_type=Text)
    name: str = Field(sa_type=Text, unique=True)
    enabled: bool = Field(default=True, sa_type=Boolean)
    document: dict[str, JsonValue] = Field(sa_type=JSONB)
    secret: bytes = Field(sa_type=LargeBinary)
    after: int = Field(sa_type=BigInteger)
    attempts: int = Field(default=0, sa_type=Integer)
    next_attempt_at: datetime = Field(sa_type=TIMESTAMP)
    locked_until: datetime | None = Field(default=None, sa_type=TIMESTAMP)
    failing_since: datetime | None = Field(default=None, sa_type=TIMESTAMP)
    error: str | None = Field(default=None, sa_type=Text)
    delivered_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)
    created_at: datetime = Field(sa_type=TIMESTAMP)
    updated_at: datetime = Field(sa_type=TIMESTAMP)


class WebhookDeadLetter(Base, table=True):
    """A batch that a webhook's receiver did not take for too long: what is behind `after`, up to `until`."""

    __tablename__ = "webhook_dead_letters"

    id: str = Field(primary_key=True, sa_type=Text)
    webhook_id: str = Field(sa_type=Text, index=True)
    after: int = Field(sa_type=BigInteger)
    until: int = Field(sa_type=BigInteger)
    error: str = Field(sa_type=Text)
    at: datetime = Field(sa_type=TIMESTAMP)


class WebhookEvent(Base, table=True):
    """A public event, kept for webhooks. Numbers become visible in their order."""

    __tablename__ = "webhook_events"

    id: int | None = Field(default=None, primary_key=True, sa_type=BigInteger, sa_column_args=[Identity(always=True)])
    event_id: str = Field(sa_type=Text, unique=True)
    type: str = Field(sa_type=Text)
    subject: str = Field(sa_type=Text)
    body: dict[str, JsonValue] = Field(sa_type=JSONB)
    at: datetime = Field(sa_type=TIMESTAMP, index=True)


class UserCopy(CopyColumns, Base, table=True):
    """Users, owned by directory."""

    __tablename__ = "user_copies"


class OrganizationCopy(CopyColumns, Base, table=True):
    """Organizations, owned by directory."""

    __tablename__ = "organization_copies"

    short_name: str | None = Field(default=None, sa_type=Text, index=True)


class ApiKeyCopy(CopyColumns, Base, table=True):
    """API keys, owned by token."""

    __tablename__ = "api_key_copies"


backbone(Base.metadata)
audit(
    Base.metadata,
    {
        "clients": Audited("client", name="client_name"),
        "client_secrets": Audited("client_secret", name="client_id"),
        "registration_tokens": Audited("registration_token", name="name"),
        "providers": Audited("provider", name="display_name"),
        "access_rules": Audited("rule", name="name"),
        "service_accounts": Audited("service_account", name="name"),
        "trusted_issuers": Audited("issuer", name="iss"),
        "scopes": Audited("scope", name="name"),
        "resources": Audited("resource", name="name"),
        "branding": Audited("branding", name="id"),
        "webhooks": Audited("webhook", name="name", ignored=frozenset({"next_attempt_at"})),
    },
)
