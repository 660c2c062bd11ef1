"""Tables of the token service: what it owns first, then its copies of users and clients."""

from datetime import datetime
from enum import StrEnum

from pydantic import JsonValue
from sqlalchemy import BigInteger, Boolean, Index, Integer, LargeBinary, MetaData, Text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from watchword_database.base import TIMESTAMP, CopyColumns, backbone


class Base(SQLModel, registry=registry(metadata=MetaData(schema="token"))):
    """The schema `token`."""


class KeyUse(StrEnum):
    """What a key is for: signatures that everyone can check, or opaque tokens that only this service reads."""

    SIG = "sig"
    ENC = "enc"


class KeyState(StrEnum):
    """`active`: signs or encrypts. `revoked`: nothing that it made is accepted, for ever."""

    ACTIVE = "active"
    REVOKED = "revoked"


class Key(Base, table=True):
    """A signing or encryption key. `sealed` opens with a derived key and the kid as associated data."""

    __tablename__ = "keys"

    kid: str = Field(primary_key=True, sa_type=Text)
    version: int = Field(default=1, sa_type=BigInteger)
    use: str = Field(sa_type=Text)
    alg: str = Field(sa_type=Text)
    state: str = Field(default=KeyState.ACTIVE.value, sa_type=Text)
    public_jwk: dict[str, JsonValue] | None = Field(default=None, sa_type=JSONB(none_as_null=True))
    sealed: bytes = Field(sa_type=LargeBinary)
    created_at: datetime = Field(sa_type=TIMESTAMP)


class Grant(Base, table=True):
    """What a person allowed a client, and the head of its refresh-token family.

    Refreshing changes this one row in place (HOT: no indexed column changes, fillfactor 70 leaves room), so that the
    table does not grow with use. `cur_hash` and `prev_hash` are SHA-256 of the newest refresh token and of the one
    before. `sid` is lineage only when `session_bound`. `rev` is the position at which it was granted. Scope,
    resource and amr are joined by spaces, as they travel.
    """

    __tablename__ = "grants"

    id: str = Field(primary_key=True, sa_type=Text)
    version: int = Field(default=1, sa_type=BigInteger)
    user_id: str = Field(sa_type=Text)
    client_id: str = Field(sa_type=Text)
    sid: str = Field(sa_type=Text)
    session_bound: bool = Field(sa_type=Boolean)
    idp: str | None = Field(default=None, sa_type=Text)
    scope: str = Field(sa_type=Text)
    resource: str = Field(default="", sa_type=Text)
    rev: int = Field(sa_type=BigInteger)
    auth_time: datetime = Field(sa_type=TIMESTAMP)
    amr: str = Field(default="", sa_type=Text)
    acr: str | None = Field(default=None, sa_type=Text)
    code_hash: bytes = Field(sa_type=LargeBinary)
    created_at: datetime = Field(sa_type=TIMESTAMP)
    expires_at: datetime = Field(sa_type=TIMESTAMP)
    revoked_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)
    seq: int = Field(default=0, sa_type=Integer)
    cur_hash: bytes | None = Field(default=None, sa_type=LargeBinary)
    prev_hash: bytes | None = Field(default=None, sa_type=LargeBinary)
    rotated_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)
    idle_at: datetime = Field(sa_type=TIMESTAMP)

    __table_args__ = (
        Index("ix_grants_user_client", "user_id", "client_id"),
        Index("ix_grants_client", "client_id", "id"),
        Index("ix_grants_code_hash", "code_hash", unique=True),
        Index("ix_grants_expires_at", "expires_at"),
        {"postgresql_with": {"fillfactor": 70}},
    )


class ApiKey(Base, table=True):
    """A personal API key. Only the SHA-256 of its secret is kept; a revoked one stays as a tombstone."""

    __tablename__ = "api_keys"

    id: str = Field(primary_key=True, sa_type=Text)
    version: int = Field(default=1, sa_type=BigInteger)
    user_id: str = Field(sa_type=Text, index=True)
    name: str = Field(sa_type=Text)
    secret_hash: str = Field(sa_type=Text)
    scope: list[str] = Field(sa_type=ARRAY(Text))
    rev: int = Field(sa_type=BigInteger)
    created_at: datetime = Field(sa_type=TIMESTAMP)
    expires_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)
    revoked_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)


class UserCopy(CopyColumns, Base, table=True):
    """Users, as `directory` exports them."""

    __tablename__ = "user_copy"
    __table_args__ = (Index("ix_user_copy_copied_at", "copied_at"),)


class ClientCopy(CopyColumns, Base, table=True):
    """Clients, as `admin` exports them."""

    __tablename__ = "client_copy"
    __table_args__ = (Index("ix_client_copy_copied_at", "copied_at"),)


backbone(Base.metadata)
