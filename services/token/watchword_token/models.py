"""Tables of the token service: what it owns first, then its copies of what other services own."""

from datetime import datetime
from enum import StrEnum

from pydantic import JsonValue
from sqlalchemy import BigInteger, Boolean, Double, Index, Integer, LargeBinary, MetaData, Text, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from watchword_database.audit import Audited, audit
from watchword_database.base import TIMESTAMP, CopyColumns, backbone


class Base(SQLModel, registry=registry(metadata=MetaData(schema="token"))):
    """The schema `token`."""


class KeyUse(StrEnum):
    """What a key is for: signatures that everyone can check, or opaque tokens that only this service reads."""

    SIG = "sig"
    ENC = "enc"


class KeyState(StrEnum):
    """`active` makes tokens; `next` is published and will, `retiring` did and is still accepted, `retired` is over.

    `revoked`: nothing that it made is accepted, for ever.
    """

    NEXT = "next"
    ACTIVE = "active"
    RETIRING = "retiring"
    RETIRED = "retired"
    REVOKED = "revoked"


class Key(Base, table=True):
    """A signing or encryption key. `sealed` opens with a derived key and the kid as associated data; then it is empty.

    confirmed_at: when everyone who checks tokens knew it.  retire_at: when the last token that it made is over.
    """

    __tablename__ = "keys"

    kid: str = Field(primary_key=True, sa_type=Text)
    version: int = Field(default=1, sa_type=BigInteger)
    use: str = Field(sa_type=Text)
    alg: str = Field(sa_type=Text)
    state: str = Field(default=KeyState.ACTIVE.value, sa_type=Text)
    public_jwk: dict[str, JsonValue] | None = Field(default=None, sa_type=JSONB(none_as_null=True))
    sealed: bytes = Field(sa_type=LargeBinary)
    created_at: datetime = Field(sa_type=TIMESTAMP)
    confirmed_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)
    activated_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)
    retire_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)


class Grant(Base, table=True):
    """What a person allowed a client, and the head of its refresh-token family.

    Refreshing changes this one row in place (HOT: no indexed column changes, fillfactor 70 leaves room), so that the
    table does not grow with use. `cur_hash` and `prev_hash` are SHA-256 of the newest refresh token and of the one
    before. `sid` is lineage only when `session_bound`. `bound_to`: a key (`jkt:…`, `x5t#S256:…`) without whose proof a
    public client refreshes nothing. `rev` is the position at which it was granted. Scope, resource and amr are joined
    by spaces, as they travel. `issuer` and `address`, of the provider and of the person at the sign-in, are what access
    rules look at when the grant is used again. `details` and `claims` are JSON: `particulars`.
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
    details: str | None = Field(default=None, sa_type=Text)
    claims: str | None = Field(default=None, sa_type=Text)
    rev: int = Field(sa_type=BigInteger)
    auth_time: datetime = Field(sa_type=TIMESTAMP)
    amr: str = Field(default="", sa_type=Text)
    acr: str | None = Field(default=None, sa_type=Text)
    bound_to: str | None = Field(default=None, sa_type=Text)
    code_hash: bytes = Field(sa_type=LargeBinary)
    created_at: datetime = Field(sa_type=TIMESTAMP)
    expires_at: datetime = Field(sa_type=TIMESTAMP)
    revoked_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)
    seq: int = Field(default=0, sa_type=Integer)
    cur_hash: bytes | None = Field(default=None, sa_type=LargeBinary)
    prev_hash: bytes | None = Field(default=None, sa_type=LargeBinary)
    rotated_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)
    idle_at: datetime = Field(sa_type=TIMESTAMP)
    issuer: str | None = Field(default=None, sa_type=Text)
    address: str = Field(default="", sa_type=Text, sa_column_kwargs={"server_default": ""})

    __table_args__ = (
        Index("ix_grants_user_client", "user_id", "client_id"),
        Index("ix_grants_client", "client_id", "id"),
        Index("ix_grants_code_hash", "code_hash", unique=True),
        Index("ix_grants_sid", "sid"),
        Index("ix_grants_expires_at", "expires_at"),
        {"postgresql_with": {"fillfactor": 70}},
    )


class DevicePoll(Base, table=True):
    """When a device last asked about its code, and how long it has to wait in between.

    hasty: the last time it did not wait as long.
    """

    __tablename__ = "device_polls"
    __table_args__ = (Index("ix_device_polls_expires_at", "expires_at"),)

    code_hash: bytes = Field(primary_key=True, sa_type=LargeBinary)
    polled_at: datetime = Field(sa_type=TIMESTAMP)
    interval_s: int = Field(sa_type=Integer)
    hasty: bool = Field(sa_type=Boolean)
    expires_at: datetime = Field(sa_type=TIMESTAMP)


class ApiKey(Base, table=True):
    """A personal API key. Only the SHA-256 of its secret is kept; a revoked one stays as a tombstone.

    public_jwk: of a key that its owner keeps and signs with; then there is no secret, and its hash is "".
    """

    __tablename__ = "api_keys"

    id: str = Field(primary_key=True, sa_type=Text)
    version: int = Field(default=1, sa_type=BigInteger)
    user_id: str = Field(sa_type=Text, index=True)
    name: str = Field(sa_type=Text)
    secret_hash: str = Field(sa_type=Text)
    public_jwk: dict[str, JsonValue] | None = Field(default=None, sa_type=JSONB(none_as_null=True))
    scope: list[str] = Field(sa_type=ARRAY(Text))
    rev: int = Field(sa_type=BigInteger)
    created_at: datetime = Field(sa_type=TIMESTAMP)
    expires_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)
    revoked_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)


class Verifier(Base, table=True):
    """A program that verifies our tokens by itself. client_id: who reports for it, None until somebody did.

    is_registered: by an administrator; the others named themselves `<client_id>:<name>` in a report.
    """

    __tablename__ = "verifiers"

    id: str = Field(primary_key=True, sa_type=Text)
    name: str = Field(sa_type=Text)
    audience: str = Field(sa_type=Text)
    staleness_bound_s: float = Field(sa_type=Double)
    policy: str = Field(sa_type=Text)
    client_id: str | None = Field(default=None, sa_type=Text)
    is_registered: bool = Field(sa_type=Boolean)
    created_at: datetime = Field(sa_type=TIMESTAMP)

    __table_args__ = (
        Index("ix_verifiers_name", "name", unique=True),
        Index("ix_verifiers_client_id", "client_id"),
    )


class DeliveryState(StrEnum):
    """`pending`: to be tried, again perhaps. `dead`: given up; an administrator may have it tried again."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"


class Delivery(Base, table=True):
    """A client is to be told that a session ended, once for each session and client.

    locked_until: whoever tries it has it until then.  error: why the last attempt failed.
    """

    __tablename__ = "deliveries"

    id: str = Field(primary_key=True, sa_type=Text)
    sid: str = Field(sa_type=Text)
    client_id: str = Field(sa_type=Text)
    user_id: str = Field(sa_type=Text)
    state: str = Field(default=DeliveryState.PENDING.value, sa_type=Text)
    attempts: int = Field(default=0, sa_type=Integer)
    created_at: datetime = Field(sa_type=TIMESTAMP)
    next_attempt_at: datetime = Field(sa_type=TIMESTAMP)
    give_up_at: datetime = Field(sa_type=TIMESTAMP)
    locked_until: datetime | None = Field(default=None, sa_type=TIMESTAMP)
    ended_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)
    error: str | None = Field(default=None, sa_type=Text)

    __table_args__ = (
        Index("ix_deliveries_sid_client", "sid", "client_id", unique=True),
        Index("ix_deliveries_due", "next_attempt_at", postgresql_where=text("state = 'pending'")),
    )


class PairwiseSubject(Base, table=True):
    """What a user is called towards the clients of a sector. Each name stands here before a token carries it."""

    __tablename__ = "pairwise_subjects"

    subject: str = Field(primary_key=True, sa_type=Text)
    sector: str = Field(sa_type=Text)
    user_id: str = Field(sa_type=Text)

    __table_args__ = (Index("ix_pairwise_subjects_user_id", "user_id"),)


class UserCopy(CopyColumns, Base, table=True):
    """Users, as `directory` exports them."""

    __tablename__ = "user_copy"
    __table_args__ = (Index("ix_user_copy_copied_at", "copied_at"),)


class ClientCopy(CopyColumns, Base, table=True):
    """Clients, as `admin` exports them."""

    __tablename__ = "client_copy"
    __table_args__ = (Index("ix_client_copy_copied_at", "copied_at"),)


class RuleCopy(CopyColumns, Base, table=True):
    """Access rules, as `admin` exports them."""

    __tablename__ = "rule_copy"


class IssuerCopy(CopyColumns, Base, table=True):
    """Trusted issuers, as `admin` exports them, found by their `iss`."""

    __tablename__ = "issuer_copy"
    __table_args__ = (Index("ix_issuer_copy_iss", "iss"),)

    iss: str | None = Field(default=None, sa_type=Text)


class ScopeCopy(CopyColumns, Base, table=True):
    """Scopes of the installation's own, as `admin` exports them."""

    __tablename__ = "scope_copy"


class BrandingCopy(CopyColumns, Base, table=True):
    """How pages look, as `admin` exports it."""

    __tablename__ = "branding_copy"


class ResourceCopy(CopyColumns, Base, table=True):
    """Resource servers, as `admin` exports them."""

    __tablename__ = "resource_copy"


backbone(Base.metadata)
audit(
    Base.metadata,
    {
        "keys": Audited("key", name="alg"),
        "api_keys": Audited("api_key", name="name", ignored=frozenset({"rev"})),
        "verifiers": Audited("verifier", name="name"),
    },
)
