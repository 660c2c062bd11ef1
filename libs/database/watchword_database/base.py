"""Columns that tables of every service share, and the backbone tables of a schema."""

from datetime import datetime
from typing import Any

from pydantic import JsonValue
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Identity,
    Index,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

TIMESTAMP: Any = DateTime(timezone=True)  # SQLModel's sa_type takes a class or an instance, but is typed as a class


class CopyColumns(SQLModel):
    """Another service's entity as this one last pulled it; a deleted one stays as a tombstone."""

    id: str = Field(primary_key=True, sa_type=Text)
    version: int = Field(sa_type=BigInteger)
    deleted: bool = Field(default=False, sa_type=Boolean)
    data: dict[str, JsonValue] = Field(default_factory=dict, sa_type=JSONB)
    copied_at: datetime = Field(sa_type=TIMESTAMP, sa_column_kwargs={"server_default": func.now()})


def backbone(metadata: MetaData) -> None:
    """The schema of `metadata` has outbox, relay state, inbox, dead letters and the state of its copies."""
    Table(
        "outbox",
        metadata,
        Column("id", BigInteger, Identity(always=True), primary_key=True),
        Column("event_id", Uuid, nullable=False, server_default=text("gen_random_uuid()")),
        Column("type", Text, nullable=False),
        Column("subject", Text, nullable=False),
        Column("aggregate_id", Text, nullable=False),
        Column("aggregate_version", BigInteger, nullable=False),
        Column("body", JSONB, nullable=False),
        Column("traceparent", Text),
        Column("created_at", TIMESTAMP, nullable=False, server_default=text("clock_timestamp()")),
        Column("published_at", TIMESTAMP),
        Column("stream_seq", BigInteger),
        Index("ix_outbox_unpublished", "id", postgresql_where=text("published_at IS NULL")),
        Index("ix_outbox_stream_seq", "stream_seq"),
    )
    Table(
        "relay_state",
        metadata,
        Column("stream", Text, primary_key=True),
        Column("last_seq", BigInteger, nullable=False),
    )
    Table(
        "inbox",
        metadata,
        Column("consumer", Text, primary_key=True),
        Column("event_id", Uuid, primary_key=True),
        Column("done_at", TIMESTAMP, nullable=False, server_default=func.now()),
    )
    Table(
        "dead_letter",
        metadata,
        Column("id", BigInteger, Identity(always=True), primary_key=True),
        Column("consumer", Text, nullable=False),
        Column("stream_seq", BigInteger, nullable=False),
        Column("subject", Text, nullable=False),
        Column("headers", JSONB, nullable=False),
        Column("body", Text, nullable=False),
        Column("error", Text, nullable=False),
        Column("at", TIMESTAMP, nullable=False, server_default=func.now()),
        UniqueConstraint("consumer", "stream_seq", name="uq_dead_letter_consumer_seq"),
    )
    Table(
        "copy_state",
        metadata,
        Column("entity", Text, primary_key=True),
        Column("filled_at", TIMESTAMP, nullable=False),
    )
