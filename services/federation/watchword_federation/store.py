"""Named SQL of the federation service; each claim is one conditional statement."""

from collections.abc import Collection
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from pydantic import JsonValue
from sqlalchemy import delete, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select

from watchword_database import Session, bus
from watchword_federation.models import UpstreamDocument, UpstreamFlow

# How long a flow stays after its expiry: a late repetition is recognised and led back to its sign-in.
KEEP_FLOWS: Final = timedelta(hours=1)
_SWEPT_AT_ONCE: Final = 20


class DocumentKind(StrEnum):
    """What is fetched from a provider and kept."""

    METADATA = "metadata"
    KEYS = "keys"


async def sweep(session: Session, *, now: datetime) -> None:
    """A few flows and tickets that are long over are gone. Each new flow sweeps, so that tables follow the load."""
    over = (
        select(col(UpstreamFlow.state_hash))
        .where(col(UpstreamFlow.expires_at) < now - KEEP_FLOWS)
        .limit(_SWEPT_AT_ONCE)
        .with_for_update(skip_locked=True)
    )
    await session.exec(delete(UpstreamFlow).where(col(UpstreamFlow.state_hash).in_(over)))
    await bus.sweep_handovers(session, now=now, most=_SWEPT_AT_ONCE)


async def find_flow(session: Session, state_hash: bytes) -> UpstreamFlow | None:
    """The flow behind a state, whether open, taken or over; None when unknown."""
    return await session.get(UpstreamFlow, state_hash)


async def claim_flow(session: Session, state_hash: bytes, *, now: datetime) -> bool:
    """True for the one caller that may go on with the flow; False when it was claimed before or is over."""
    statement = (
        update(UpstreamFlow)
        .where(
            col(UpstreamFlow.state_hash) == state_hash,
            col(UpstreamFlow.taken_at).is_(None),
            col(UpstreamFlow.expires_at) > now,
        )
        .values(taken_at=now)
        .returning(col(UpstreamFlow.state_hash))
    )
    return (await session.exec(statement)).one_or_none() is not None


async def find_document(
    session: Session, provider_id: str, kind: DocumentKind, url: str, *, fresh_since: datetime
) -> dict[str, JsonValue] | None:
    """What was last fetched for the provider from this very URL, unless that was before `fresh_since`."""
    statement = select(col(UpstreamDocument.document)).where(
        col(UpstreamDocument.provider_id) == provider_id,
        col(UpstreamDocument.kind) == kind.value,
        col(UpstreamDocument.url) == url,
        col(UpstreamDocument.fetched_at) >= fresh_since,
    )
    return (await session.exec(statement)).one_or_none()


async def put_document(
    session: Session,
    provider_id: str,
    kind: DocumentKind,
    url: str,
    document: dict[str, JsonValue],
    *,
    fetched_at: datetime,
) -> None:
    """The document is stored, unless another instance stored one that was fetched later."""
    statement = insert(UpstreamDocument).values(
        provider_id=provider_id, kind=kind.value, url=url, document=document, fetched_at=fetched_at
    )
    new = statement.excluded
    await session.exec(
        statement.on_conflict_do_update(
            index_elements=["provider_id", "kind"],
            set_={"url": new.url, "document": new.document, "fetched_at": new.fetched_at},
            where=col(UpstreamDocument.fetched_at) <= new.fetched_at,
        )
    )


async def drop_documents(session: Session, provider_ids: Collection[str]) -> None:
    """Nothing fetched for these providers is kept."""
    await session.exec(delete(UpstreamDocument).where(col(UpstreamDocument.provider_id).in_(provider_ids)))
