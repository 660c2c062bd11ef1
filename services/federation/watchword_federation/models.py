"""Tables of the federation service: what it owns first, then its copy of providers."""

from datetime import datetime
from typing import Final

from pydantic import JsonValue
from sqlalchemy import BigInteger, Boolean, Index, Integer, LargeBinary, MetaData, Text, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from watchword_database.audit import Audited, audit
from watchword_database.base import TIMESTAMP, CopyColumns, backbone

_FALSE: Final = {"server_default": text("false")}


class Base(SQLModel, registry=registry(metadata=MetaData(schema="federation"))):
    """The schema `federation`."""


class UpstreamFlow(Base, table=True):
    """A person who was sent to a provider and is expected back, once, within ten minutes.

    state_hash: SHA-256 of `state`.  flow, binding: the sign-in at Watchword and the hash of its cookie's secret.
    configuration: SHA-256 of what the provider's settings were, so that an answer to other settings is refused.
    sealed: nonce and PKCE verifier, opened with the key "upstream-flow" and `state_hash` as associated data.
    rev: the ledger position that was applied before the provider was read.  ui_locales: the languages that the
    application asked for.
    """

    __tablename__ = "upstream_flow"

    state_hash: bytes = Field(primary_key=True, sa_type=LargeBinary)
    flow: str = Field(sa_type=Text)
    binding: str = Field(sa_type=Text)
    provider_id: str = Field(sa_type=Text)
    configuration: bytes = Field(sa_type=LargeBinary)
    response_mode: str = Field(sa_type=Text)
    max_age_s: int | None = Field(default=None, sa_type=Integer)
    sealed: bytes = Field(sa_type=LargeBinary)
    rev: int = Field(sa_type=BigInteger)
    created_at: datetime = Field(sa_type=TIMESTAMP)
    expires_at: datetime = Field(sa_type=TIMESTAMP)
    taken_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)
    ui_locales: list[str] = Field(
        default_factory=list, sa_type=ARRAY(Text), sa_column_kwargs={"server_default": text("'{}'")}
    )

    __table_args__ = (Index("ix_upstream_flow_expires_at", "expires_at"),)


class UpstreamDocument(Base, table=True):
    """A provider's discovery document or key set as last fetched; what is stored for another URL counts as absent.

    unverified: nobody vouched for the server, so that it counts only while the settings allow that.
    """

    __tablename__ = "upstream_document"

    provider_id: str = Field(primary_key=True, sa_type=Text)
    kind: str = Field(primary_key=True, sa_type=Text)
    url: str = Field(sa_type=Text)
    document: dict[str, JsonValue] = Field(sa_type=JSONB)
    fetched_at: datetime = Field(sa_type=TIMESTAMP)
    unverified: bool = Field(default=False, sa_type=Boolean, sa_column_kwargs=_FALSE)


class UpstreamArrival(Base, table=True):
    """A verified sign-in that began at the provider and waits for the person to confirm it.

    binding: SHA-256 (hex) of the secret in its cookie.  sealed: the identity, opened with the key "upstream-flow" and
    `id` as associated data.  rev: the ledger position that was applied before the provider was read.
    """

    __tablename__ = "upstream_arrival"

    id: str = Field(primary_key=True, sa_type=Text)
    binding: str = Field(sa_type=Text)
    provider_id: str = Field(sa_type=Text)
    configuration: bytes = Field(sa_type=LargeBinary)
    sealed: bytes = Field(sa_type=LargeBinary)
    rev: int = Field(sa_type=BigInteger)
    created_at: datetime = Field(sa_type=TIMESTAMP)
    expires_at: datetime = Field(sa_type=TIMESTAMP)
    confirmed_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)
    taken_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)

    __table_args__ = (Index("ix_upstream_arrival_expires_at", "expires_at"),)


class UpstreamSession(Base, table=True):
    """A session at a provider that sessions here came from: so that one can end with the other.

    subject_hash, session_hash: SHA-256 of how the provider names person and session.  sealed: what a sign-out there
    needs, opened with the key "upstream-flow" and `id` as associated data.
    """

    __tablename__ = "upstream_session"

    id: str = Field(primary_key=True, sa_type=Text)
    provider_id: str = Field(sa_type=Text)
    subject_hash: bytes = Field(sa_type=LargeBinary)
    session_hash: bytes | None = Field(default=None, sa_type=LargeBinary)
    sealed: bytes = Field(sa_type=LargeBinary)
    created_at: datetime = Field(sa_type=TIMESTAMP)
    keep_until: datetime = Field(sa_type=TIMESTAMP)

    __table_args__ = (
        Index("ix_upstream_session_subject", "provider_id", "subject_hash"),
        Index("ix_upstream_session_session", "provider_id", "session_hash"),
        Index("ix_upstream_session_keep_until", "keep_until"),
    )


class EndedUpstreamSession(Base, table=True):
    """What a provider ended: a sign-in that came from it and was on its way then is refused.

    subject_hash, session_hash: as in UpstreamSession; without a session all of the person's.
    """

    __tablename__ = "ended_upstream_session"

    id: str = Field(primary_key=True, sa_type=Text)
    provider_id: str = Field(sa_type=Text)
    subject_hash: bytes | None = Field(default=None, sa_type=LargeBinary)
    session_hash: bytes | None = Field(default=None, sa_type=LargeBinary)
    ended_at: datetime = Field(sa_type=TIMESTAMP)
    keep_until: datetime = Field(sa_type=TIMESTAMP)

    __table_args__ = (
        Index("ix_ended_upstream_session_provider", "provider_id", "ended_at"),
        Index("ix_ended_upstream_session_keep_until", "keep_until"),
    )


class UpstreamLogout(Base, table=True):
    """A sign-out on its way: asked of the provider by us (`return_to`), or of us by the provider (`answer`).

    id_hash: SHA-256 of the id under which the browser comes back.  answer: where it is sent then.
    """

    __tablename__ = "upstream_logout"

    id_hash: bytes = Field(primary_key=True, sa_type=LargeBinary)
    provider_id: str = Field(sa_type=Text)
    return_to: str | None = Field(default=None, sa_type=Text)
    answer: str | None = Field(default=None, sa_type=Text)
    created_at: datetime = Field(sa_type=TIMESTAMP)
    expires_at: datetime = Field(sa_type=TIMESTAMP)
    taken_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)

    __table_args__ = (Index("ix_upstream_logout_expires_at", "expires_at"),)


class UpstreamTokens(Base, table=True):
    """What a provider gave at a person's last sign-in, for applications that may have it.

    identity: SHA-256 of provider, issuer and subject.  subject_hash: SHA-256 of how the provider names the person when
    it ends their session.  link_id, user_id: whose identity it is, once directory has said.  sealed: as `vault.Kept`,
    opened with the key "upstream-flow" and `identity` as associated data.  is_offline: good beyond the session there.
    rev: the ledger position that was applied before the provider was read.
    """

    __tablename__ = "upstream_tokens"

    identity: bytes = Field(primary_key=True, sa_type=LargeBinary)
    provider_id: str = Field(sa_type=Text)
    subject_hash: bytes = Field(sa_type=LargeBinary)
    link_id: str | None = Field(default=None, sa_type=Text)
    user_id: str | None = Field(default=None, sa_type=Text)
    sealed: bytes = Field(sa_type=LargeBinary)
    is_offline: bool = Field(sa_type=Boolean)
    rev: int = Field(sa_type=BigInteger)
    kept_at: datetime = Field(sa_type=TIMESTAMP)
    keep_until: datetime = Field(sa_type=TIMESTAMP)

    __table_args__ = (
        Index("ix_upstream_tokens_provider", "provider_id", "subject_hash"),
        Index("ix_upstream_tokens_user", "user_id"),
        Index("ix_upstream_tokens_keep_until", "keep_until"),
    )


class SignInAttempt(Base, table=True):
    """The steps of a sign-in that failed, for administrators; without a word about the person.

    reference: what the person's page showed.  steps: as `attempts.Step`.
    """

    __tablename__ = "sign_in_attempt"

    id: str = Field(primary_key=True, sa_type=Text)
    reference: str = Field(sa_type=Text)
    provider_id: str = Field(sa_type=Text)
    at: datetime = Field(sa_type=TIMESTAMP)
    failure: str = Field(sa_type=Text)
    steps: list[dict[str, JsonValue]] = Field(sa_type=JSONB)

    __table_args__ = (
        Index("ix_sign_in_attempt_provider", "provider_id", "id"),
        Index("ix_sign_in_attempt_reference", "reference"),
    )


class Trial(Base, table=True):
    """A sign-in that an administrator tries: what came of it, and nothing follows from it.

    ticket_hash: SHA-256 of what the link carries.  steps: as `attempts.Step`.  sealed: the identity, opened with the
    key "upstream-flow" and `id` as associated data.
    """

    __tablename__ = "trial"

    id: str = Field(primary_key=True, sa_type=Text)
    ticket_hash: bytes = Field(sa_type=LargeBinary)
    provider_id: str = Field(sa_type=Text)
    created_at: datetime = Field(sa_type=TIMESTAMP)
    expires_at: datetime = Field(sa_type=TIMESTAMP)
    keep_until: datetime = Field(sa_type=TIMESTAMP)
    begun_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)
    finished_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)
    failure: str | None = Field(default=None, sa_type=Text)
    reference: str | None = Field(default=None, sa_type=Text)
    steps: list[dict[str, JsonValue]] | None = Field(default=None, sa_type=JSONB(none_as_null=True))
    sealed: bytes | None = Field(default=None, sa_type=LargeBinary)

    __table_args__ = (
        Index("uq_trial_ticket_hash", "ticket_hash", unique=True),
        Index("ix_trial_keep_until", "keep_until"),
    )


class SamlKey(Base, table=True):
    """A key of ours that signs SAML requests and opens encrypted assertions; it signs nothing else.

    state: `active`, `next`, `previous`.  sealed: PKCS #8, opened with the key "saml-keys" and `id` as associated data.
    """

    __tablename__ = "saml_key"

    id: str = Field(primary_key=True, sa_type=Text)
    state: str = Field(sa_type=Text)
    certificate: str = Field(sa_type=Text)
    sealed: bytes = Field(sa_type=LargeBinary)
    created_at: datetime = Field(sa_type=TIMESTAMP)
    changed_at: datetime = Field(sa_type=TIMESTAMP)

    __table_args__ = (
        Index("uq_saml_key_active", "state", unique=True, postgresql_where=text("state = 'active'")),
        Index("uq_saml_key_next", "state", unique=True, postgresql_where=text("state = 'next'")),
    )


class SamlProvider(Base, table=True):
    """What is known of a SAML provider beyond its settings: its metadata as last fetched, and what is wrong with it.

    document: as `IdpMetadata`; what is stored for another URL counts as absent.  failed_since, failure: of refreshing;
    the metadata of before stays in use.  alarmed_at: when it was last said that something needs an administrator.
    unverified: as in UpstreamDocument.
    """

    __tablename__ = "saml_provider"

    provider_id: str = Field(primary_key=True, sa_type=Text)
    url: str | None = Field(default=None, sa_type=Text)
    document: dict[str, JsonValue] | None = Field(default=None, sa_type=JSONB(none_as_null=True))
    fetched_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)
    tried_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)
    failed_since: datetime | None = Field(default=None, sa_type=TIMESTAMP)
    failure: str | None = Field(default=None, sa_type=Text)
    alarmed_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)
    unverified: bool = Field(default=False, sa_type=Boolean, sa_column_kwargs=_FALSE)


class ProviderCopy(CopyColumns, Base, table=True):
    """Identity providers, as `admin` exports them."""

    __tablename__ = "provider_copy"


class BrandingCopy(CopyColumns, Base, table=True):
    """How pages look, as `admin` exports it."""

    __tablename__ = "branding_copy"


backbone(Base.metadata)
audit(Base.metadata, {"saml_key": Audited("saml_key", name="state")})
