"""Tables of the authz service: what it owns first, then its copies of what other services own."""

from datetime import datetime
from enum import StrEnum

from pydantic import JsonValue
from sqlalchemy import BigInteger, Boolean, Index, Integer, LargeBinary, MetaData, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from watchword_database.audit import Audited, audit
from watchword_database.base import TIMESTAMP, CopyColumns, backbone


class Base(SQLModel, registry=registry(metadata=MetaData(schema="authz"))):
    """The schema `authz`."""


class EndReason(StrEnum):
    """Why a session is over; the values of SessionEnded.reason."""

    SIGN_OUT = "sign-out"
    IDLE = "idle"
    EXPIRED = "expired"
    ADMINISTRATOR = "administrator"
    USER_DISABLED = "user-disabled"
    REPLACED = "replaced"
    EVERYWHERE = "everywhere"


class UserSession(Base, table=True):
    """A person who is signed in, in one browser. `id` is the sid; the cookie's secret is stored as its SHA-256 only.

    rev: the ledger position applied before the user was read.  ends_at: when it is idle too long, at most expires_at.
    issuer: as the provider calls itself, for access rules.  version: of the events about it.  upstream_session:
    federation's name for the provider's session that it came from.  is_remembered: in place of a second factor.
    """

    __tablename__ = "session"
    __table_args__ = (
        Index("ix_session_user_id", "user_id"),
        Index("ix_session_ends_at", "ends_at", postgresql_where=text("ended_at IS NULL")),
        Index("ix_session_ended_at", "ended_at", postgresql_where=text("ended_at IS NOT NULL")),
        Index(
            "ix_session_upstream_session",
            "upstream_session",
            postgresql_where=text("upstream_session IS NOT NULL"),
        ),
    )

    id: str = Field(primary_key=True, sa_type=Text)
    version: int = Field(default=1, sa_type=BigInteger)
    secret_hash: bytes = Field(unique=True, sa_type=LargeBinary)
    user_id: str = Field(sa_type=Text)
    provider_id: str | None = Field(default=None, sa_type=Text)
    issuer: str | None = Field(default=None, sa_type=Text)
    auth_time: datetime = Field(sa_type=TIMESTAMP)
    amr: list[str] = Field(default_factory=list, sa_type=ARRAY(Text))
    acr: str | None = Field(default=None, sa_type=Text)
    rev: int = Field(sa_type=BigInteger)
    address: str = Field(default="", sa_type=Text)
    user_agent: str = Field(default="", sa_type=Text)
    created_at: datetime = Field(sa_type=TIMESTAMP)
    seen_at: datetime = Field(sa_type=TIMESTAMP)
    ends_at: datetime = Field(sa_type=TIMESTAMP)
    expires_at: datetime = Field(sa_type=TIMESTAMP)
    ended_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)
    end_reason: str | None = Field(default=None, sa_type=Text)
    upstream_session: str | None = Field(default=None, sa_type=Text)
    is_remembered: bool = Field(default=False, sa_type=Boolean)


class Flow(Base, table=True):
    """One sign-in on its way, in one browser. It is the server-side handle of where the person returns to.

    binding: SHA-256 (hex) of the secret in the flow's cookie; it travels in every hand-over.  request: the checked
    authorization request, or None for a sign-in that returns to a page of ours (`return_to`).  proof: the account that
    has to be proved before an identity is linked to it.  sid: the session that signed in in this flow; chosen_sid: the
    one that the person chose to go on with; again: the person wants to sign in although a session exists.
    held: who has passed the first factor and not yet the second; passed: who has passed the second (`held.py`).
    is_renewal: the page that it returns to asks for a sign-in of this very moment.
    """

    __tablename__ = "flow"
    __table_args__ = (Index("ix_flow_expires_at", "expires_at"),)

    id: str = Field(primary_key=True, sa_type=Text)
    binding: str = Field(sa_type=Text)
    rev: int = Field(sa_type=BigInteger)
    client_id: str | None = Field(default=None, sa_type=Text)
    request: dict[str, JsonValue] | None = Field(default=None, sa_type=JSONB)
    return_to: str | None = Field(default=None, sa_type=Text)
    proof: dict[str, JsonValue] | None = Field(default=None, sa_type=JSONB)
    sid: str | None = Field(default=None, sa_type=Text)
    chosen_sid: str | None = Field(default=None, sa_type=Text)
    again: bool = Field(default=False, sa_type=Boolean)
    held: dict[str, JsonValue] | None = Field(default=None, sa_type=JSONB(none_as_null=True))
    passed: dict[str, JsonValue] | None = Field(default=None, sa_type=JSONB(none_as_null=True))
    is_renewal: bool = Field(default=False, sa_type=Boolean)
    created_at: datetime = Field(sa_type=TIMESTAMP)
    expires_at: datetime = Field(sa_type=TIMESTAMP)
    finished_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)


class PushedRequest(Base, table=True):
    """An authorization request that a client pushed, to be used once. Only the hash of its reference is stored.

    asked: `pushed.Pushed`.  rev: the ledger position at which it was pushed.
    """

    __tablename__ = "pushed_request"
    __table_args__ = (Index("ix_pushed_request_expires_at", "expires_at"),)

    reference_hash: bytes = Field(primary_key=True, sa_type=LargeBinary)
    client_id: str = Field(sa_type=Text)
    asked: dict[str, JsonValue] = Field(sa_type=JSONB)
    rev: int = Field(sa_type=BigInteger)
    created_at: datetime = Field(sa_type=TIMESTAMP)
    expires_at: datetime = Field(sa_type=TIMESTAMP)
    used_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)


class DeviceRequest(Base, table=True):
    """A device without a browser that asks to be connected. The user code is stored as a keyed hash only.

    flow_id: the flow, and so the browser, in which the code was entered.  address: of the device.  details: rich
    authorization requests.
    """

    __tablename__ = "device_request"
    __table_args__ = (
        Index("ix_device_request_user_code_hash", "user_code_hash", unique=True),
        Index("ix_device_request_expires_at", "expires_at"),
    )

    id: str = Field(primary_key=True, sa_type=Text)
    user_code_hash: bytes = Field(sa_type=LargeBinary)
    client_id: str = Field(sa_type=Text)
    scope: list[str] = Field(sa_type=ARRAY(Text))
    resource: list[str] = Field(sa_type=ARRAY(Text))
    details: list[dict[str, JsonValue]] = Field(
        default_factory=list, sa_type=JSONB, sa_column_kwargs={"server_default": "[]"}
    )
    rev: int = Field(sa_type=BigInteger)
    address: str = Field(sa_type=Text)
    flow_id: str | None = Field(default=None, sa_type=Text)
    created_at: datetime = Field(sa_type=TIMESTAMP)
    expires_at: datetime = Field(sa_type=TIMESTAMP)
    decided_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)


class Credential(Base, table=True):
    """A person's password, as an argon2id hash; authz alone keeps it."""

    __tablename__ = "credential"

    user_id: str = Field(primary_key=True, sa_type=Text)
    version: int = Field(default=1, sa_type=BigInteger)
    password_hash: str = Field(sa_type=Text)
    changed_at: datetime = Field(sa_type=TIMESTAMP)


class Authenticator(Base, table=True):
    """An authenticator app of a person, who has one at most.

    secret: opened with the key "authenticators" and `id` as associated data.  last_step: the newest time step whose
    code was accepted.  confirmed_at: when its first code was seen; until then it counts for nothing.
    """

    __tablename__ = "authenticator"

    user_id: str = Field(primary_key=True, sa_type=Text)
    id: str = Field(sa_type=Text)
    secret: bytes = Field(sa_type=LargeBinary)
    last_step: int = Field(default=0, sa_type=BigInteger)
    created_at: datetime = Field(sa_type=TIMESTAMP)
    confirmed_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)
    used_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)


class RecoveryCode(Base, table=True):
    """A code for a person who lost the authenticator, to be used once. Only its SHA-256 is stored."""

    __tablename__ = "recovery_code"

    user_id: str = Field(primary_key=True, sa_type=Text)
    code_hash: bytes = Field(primary_key=True, sa_type=LargeBinary)
    created_at: datetime = Field(sa_type=TIMESTAMP)
    used_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)


class RememberedDevice(Base, table=True):
    """A browser in which a person proved the second factor and wants not to be asked for a while (`remembered.py`)."""

    __tablename__ = "remembered_device"
    __table_args__ = (
        Index("ix_remembered_device_user_id", "user_id"),
        Index("ix_remembered_device_expires_at", "expires_at"),
    )

    id: str = Field(primary_key=True, sa_type=Text)
    user_id: str = Field(sa_type=Text)
    secret_hash: bytes = Field(unique=True, sa_type=LargeBinary)
    user_agent: str = Field(sa_type=Text)
    address: str = Field(sa_type=Text)
    created_at: datetime = Field(sa_type=TIMESTAMP)
    used_at: datetime = Field(sa_type=TIMESTAMP)
    expires_at: datetime = Field(sa_type=TIMESTAMP)


class Passkey(Base, table=True):
    """A passkey of a person. public_key: in COSE.  sign_count: the highest that it said.

    is_synced: it may leave its device, for others of the same person.
    """

    __tablename__ = "passkey"
    __table_args__ = (Index("ix_passkey_user_id", "user_id"),)

    credential_id: bytes = Field(primary_key=True, sa_type=LargeBinary)
    user_id: str = Field(sa_type=Text)
    public_key: bytes = Field(sa_type=LargeBinary)
    sign_count: int = Field(sa_type=BigInteger)
    name: str = Field(sa_type=Text)
    is_synced: bool = Field(sa_type=Boolean)
    created_at: datetime = Field(sa_type=TIMESTAMP)
    used_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)


class FactorRequirement(Base, table=True):
    """A second factor is demanded of somebody: `requirements.AppliesTo`. entity_id: "" for the installation."""

    __tablename__ = "factor_requirement"
    __table_args__ = (UniqueConstraint("applies_to", "entity_id", name="uq_factor_requirement_of"),)

    id: str = Field(primary_key=True, sa_type=Text)
    applies_to: str = Field(sa_type=Text)
    entity_id: str = Field(sa_type=Text)
    created_at: datetime = Field(sa_type=TIMESTAMP)


class Mail(Base, table=True):
    """A mail on its way. sealed: who gets it and what it says, opened with the key "authenticators" and `id`."""

    __tablename__ = "mail"
    __table_args__ = (Index("ix_mail_due_at", "due_at"),)

    id: str = Field(primary_key=True, sa_type=Text)
    sealed: bytes = Field(sa_type=LargeBinary)
    attempts: int = Field(default=0, sa_type=Integer)
    due_at: datetime = Field(sa_type=TIMESTAMP)
    created_at: datetime = Field(sa_type=TIMESTAMP)


class ClosedProvider(Base, table=True):
    """A provider whose people are being invited. version: its own then.  after: the last identity looked at."""

    __tablename__ = "closed_provider"

    provider_id: str = Field(primary_key=True, sa_type=Text)
    version: int = Field(sa_type=BigInteger)
    after: str = Field(default="", sa_type=Text)


class Consent(Base, table=True):
    """What a person allowed a client to see and do. A withdrawn one keeps its row, so that versions only rise.

    scope: without a resource.  scope_at: by resource (RFC 8707).
    """

    __tablename__ = "consent"
    __table_args__ = (UniqueConstraint("user_id", "client_id", name="uq_consent_user_client"),)

    id: str = Field(primary_key=True, sa_type=Text)
    version: int = Field(default=1, sa_type=BigInteger)
    user_id: str = Field(sa_type=Text)
    client_id: str = Field(sa_type=Text)
    scope: list[str] = Field(default_factory=list, sa_type=ARRAY(Text))
    scope_at: dict[str, list[str]] = Field(
        default_factory=dict, sa_type=JSONB, sa_column_kwargs={"server_default": "{}"}
    )
    granted_at: datetime = Field(sa_type=TIMESTAMP)
    withdrawn_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)


class IssuedGrant(Base, table=True):
    """The id of a grant that a code of ours led to: what withdrawing a consent or changing a password ends."""

    __tablename__ = "issued_grant"
    __table_args__ = (
        Index("ix_issued_grant_user_client", "user_id", "client_id"),
        Index("ix_issued_grant_keep_until", "keep_until"),
    )

    gid: str = Field(primary_key=True, sa_type=Text)
    user_id: str = Field(sa_type=Text)
    client_id: str = Field(sa_type=Text)
    sid: str = Field(sa_type=Text)
    offline: bool = Field(default=False, sa_type=Boolean)
    issued_at: datetime = Field(sa_type=TIMESTAMP)
    keep_until: datetime = Field(sa_type=TIMESTAMP)


class Throttle(Base, table=True):
    """How often something tried to sign in of late. `key` is a kind and a SHA-256: no name and no address is stored."""

    __tablename__ = "throttle"
    __table_args__ = (Index("ix_throttle_expires_at", "expires_at"),)

    key: str = Field(primary_key=True, sa_type=Text)
    attempts: int = Field(sa_type=Integer)
    not_before: datetime = Field(sa_type=TIMESTAMP)
    expires_at: datetime = Field(sa_type=TIMESTAMP)


class UserCopy(CopyColumns, Base, table=True):
    """directory's users."""

    __tablename__ = "user_copy"
    __table_args__ = (Index("ix_user_copy_username", "username"), Index("ix_user_copy_email", "email"))

    username: str | None = Field(default=None, sa_type=Text)
    email: str | None = Field(default=None, sa_type=Text)


class ClientCopy(CopyColumns, Base, table=True):
    """admin's clients."""

    __tablename__ = "client_copy"


class ProviderCopy(CopyColumns, Base, table=True):
    """admin's identity providers."""

    __tablename__ = "provider_copy"


class RuleCopy(CopyColumns, Base, table=True):
    """admin's access rules."""

    __tablename__ = "rule_copy"


class ScopeCopy(CopyColumns, Base, table=True):
    """admin's scopes."""

    __tablename__ = "scope_copy"


class ResourceCopy(CopyColumns, Base, table=True):
    """admin's resource servers."""

    __tablename__ = "resource_copy"


class BrandingCopy(CopyColumns, Base, table=True):
    """What admin says of how pages look."""

    __tablename__ = "branding_copy"


class ApiKeyCopy(CopyColumns, Base, table=True):
    """token's personal API keys, with which administrators call `/api/v1`."""

    __tablename__ = "api_key_copy"


backbone(Base.metadata)
audit(
    Base.metadata,
    {
        "session": Audited("session", name="user_id", ignored=frozenset({"seen_at", "ends_at"}), is_personal=True),
        "factor_requirement": Audited("factor_requirement", name="entity_id"),
    },
)
