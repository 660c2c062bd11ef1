"""Tables of the schema `admin`: what it owns first, then its copies."""

from datetime import datetime

from pydantic import JsonValue
from sqlalchemy import BigInteger, Boolean, ForeignKey, Index, Integer, LargeBinary, MetaData, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from watchword_database.base import TIMESTAMP, CopyColumns, backbone


class Base(SQLModel, registry=registry(metadata=MetaData(schema="admin"))):
    """The schema `admin`."""


class Client(Base, table=True):
    """An application. `document` is a `ClientDocument`; after deletion the row stays as a tombstone without one."""

    __tablename__ = "clients"
    __table_args__ = (
        Index("ix_clients_name", text("lower(client_name)"), "id", postgresql_where=text("deleted_at IS NULL")),
        Index(
            "uq_clients_short_name",
            text("lower(short_name)"),
            unique=True,
            postgresql_where=text("deleted_at IS NULL"),
        ),
    )

    id: str = Field(primary_key=True, sa_type=Text)
    version: int = Field(sa_type=BigInteger)
    client_name: str = Field(sa_type=Text)
    short_name: str | None = Field(default=None, sa_type=Text)
    enabled: bool = Field(default=True, sa_type=Boolean)
    document: dict[str, JsonValue] = Field(sa_type=JSONB)
    created_at: datetime = Field(sa_type=TIMESTAMP)
    updated_at: datetime = Field(sa_type=TIMESTAMP)
    deleted_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)


class ClientSecret(Base, table=True):
    """A secret of a client. hash: `sha256:<hex>` of a generated one, an argon2id hash of a chosen one."""

    __tablename__ = "client_secrets"

    id: str = Field(primary_key=True, sa_type=Text)
    client_id: str = Field(sa_column_args=[ForeignKey("admin.clients.id")], sa_type=Text, index=True)
    hash: str = Field(sa_type=Text)
    created_at: datetime = Field(sa_type=TIMESTAMP)


class Provider(Base, table=True):
    """An identity provider. `document` is a `ProviderDocument`; a removed one stays as a tombstone without one.

    client_secret: sealed with the key "provider-secrets", bound to the id.  distrusted: the ledger holds a state
    against everything that came through it, which enabling or configuring it again lifts.
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
    created_at: datetime = Field(sa_type=TIMESTAMP)
    updated_at: datetime = Field(sa_type=TIMESTAMP)
    deleted_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)


class ConsoleSession(Base, table=True):
    """An administrator's session at the console, which lives no longer than the sign-in that it came from.

    secret_hash: SHA-256 of the cookie.  rev, sid, gid: position and lineage of the token that opened it.
    """

    __tablename__ = "console_sessions"

    secret_hash: bytes = Field(primary_key=True, sa_type=LargeBinary)
    user_id: str = Field(sa_type=Text, index=True)
    sid: str | None = Field(default=None, sa_type=Text)
    gid: str | None = Field(default=None, sa_type=Text)
    idp: str | None = Field(default=None, sa_type=Text)
    rev: int = Field(sa_type=BigInteger)
    created_at: datetime = Field(sa_type=TIMESTAMP)
    used_at: datetime = Field(sa_type=TIMESTAMP)
    expires_at: datetime = Field(sa_type=TIMESTAMP, index=True)


class UserCopy(CopyColumns, Base, table=True):
    """Users, owned by directory."""

    __tablename__ = "user_copies"


class ApiKeyCopy(CopyColumns, Base, table=True):
    """API keys, owned by token."""

    __tablename__ = "api_key_copies"


backbone(Base.metadata)
