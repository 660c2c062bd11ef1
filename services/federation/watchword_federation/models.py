"""Tables of the federation service: upstream flows and fetched documents first, then its copy of providers."""

from datetime import datetime

from pydantic import JsonValue
from sqlalchemy import BigInteger, Index, Integer, LargeBinary, MetaData, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from watchword_database.base import TIMESTAMP, CopyColumns, backbone


class Base(SQLModel, registry=registry(metadata=MetaData(schema="federation"))):
    """The schema `federation`."""


class UpstreamFlow(Base, table=True):
    """A person who was sent to a provider and is expected back, once, within ten minutes.

    state_hash: SHA-256 of `state`.  flow, binding: the sign-in at Watchword and the hash of its cookie's secret.
    configuration: SHA-256 of what the provider's settings were, so that an answer to other settings is refused.
    sealed: nonce and PKCE verifier, opened with the key "upstream-flow" and `state_hash` as associated data.
    rev: the ledger position that was applied before the provider was read.
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

    __table_args__ = (Index("ix_upstream_flow_expires_at", "expires_at"),)


class UpstreamDocument(Base, table=True):
    """A provider's discovery document or key set as last fetched; what is stored for another URL counts as absent."""

    __tablename__ = "upstream_document"

    provider_id: str = Field(primary_key=True, sa_type=Text)
    kind: str = Field(primary_key=True, sa_type=Text)
    url: str = Field(sa_type=Text)
    document: dict[str, JsonValue] = Field(sa_type=JSONB)
    fetched_at: datetime = Field(sa_type=TIMESTAMP)


class ProviderCopy(CopyColumns, Base, table=True):
    """Identity providers, as `admin` exports them."""

    __tablename__ = "provider_copy"


backbone(Base.metadata)
