"""Named SQL of the federation service; each claim is one conditional statement. What SAML alone needs: `saml_store`."""

from collections.abc import Collection
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from pydantic import JsonValue
from sqlalchemy import ColumnElement, delete, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select

from watchword_database import Database, Session
from watchword_database.ids import new_id
from watchword_database.turns import share_turn, take_turn
from watchword_events.exports import ProviderExport
from watchword_federation.models import (
    EndedUpstreamSession,
    ProviderCopy,
    SignInAttempt,
    Trial,
    UpstreamArrival,
    UpstreamDocument,
    UpstreamFlow,
    UpstreamLogout,
    UpstreamSession,
)

# How long a flow stays after its expiry: a late repetition is recognised and led back to its sign-in.
KEEP_FLOWS: Final = timedelta(hours=1)
_SWEPT_AT_ONCE: Final = 20
# On the way of each sign-in, as plain statements: a session costs ten times as much.
_FIND_FLOW: Final = f"SELECT {', '.join(UpstreamFlow.model_fields)} FROM federation.upstream_flow WHERE state_hash = $1"
_CLAIM_FLOW: Final = """
UPDATE federation.upstream_flow SET taken_at = $2
 WHERE state_hash = $1 AND taken_at IS NULL AND expires_at > $2 RETURNING true
"""
_FIND_DOCUMENT: Final = """
SELECT document FROM federation.upstream_document
 WHERE provider_id = $1 AND kind = $2 AND url = $3 AND fetched_at >= $4 AND (NOT unverified OR $5)
"""
# Sessions of a provider begin beside each other; while some end, none begins.
_TURN: Final = "federation.session:"  # and the provider


class DocumentKind(StrEnum):
    """What is fetched from a provider and kept."""

    METADATA = "metadata"
    KEYS = "keys"


async def find_flow(database: Database, state_hash: bytes) -> UpstreamFlow | None:
    """The flow behind a state, whether open, taken or over; None when unknown."""
    row = await (await database.raw_pool()).fetchrow(_FIND_FLOW, state_hash)
    return None if row is None else UpstreamFlow(**row)


async def claim_flow(database: Database, state_hash: bytes, *, now: datetime) -> bool:
    """True for the one caller that may go on with the flow; False when it was claimed before or is over."""
    return await database.ask(_CLAIM_FLOW, state_hash, now) is not None


async def find_document(
    database: Database,
    provider_id: str,
    kind: DocumentKind,
    url: str,
    *,
    fresh_since: datetime,
    unverified: bool = False,
) -> dict[str, JsonValue] | None:
    """What was last fetched for the provider from this very URL, unless that was before `fresh_since`.

    unverified: whether it counts, too, when nobody vouched for the server.
    """
    asked = (provider_id, kind.value, url, fresh_since, unverified)
    found: dict[str, JsonValue] | None = await database.ask(_FIND_DOCUMENT, *asked)
    return found


async def put_document(
    session: Session,
    provider_id: str,
    kind: DocumentKind,
    url: str,
    document: dict[str, JsonValue],
    *,
    fetched_at: datetime,
    unverified: bool = False,
) -> None:
    """The document is stored, unless another instance stored one that was fetched later."""
    statement = insert(UpstreamDocument).values(
        provider_id=provider_id,
        kind=kind.value,
        url=url,
        document=document,
        fetched_at=fetched_at,
        unverified=unverified,
    )
    new = statement.excluded
    await session.exec(
        statement.on_conflict_do_update(
            index_elements=["provider_id", "kind"],
            set_={name: new[name] for name in ("url", "document", "fetched_at", "unverified")},
            where=col(UpstreamDocument.fetched_at) <= new.fetched_at,
        )
    )


async def drop_documents(session: Session, provider_ids: Collection[str]) -> None:
    """Nothing fetched for these providers is kept."""
    await session.exec(delete(UpstreamDocument).where(col(UpstreamDocument.provider_id).in_(provider_ids)))


# providers -----------------------------------------------------------------------------------------------------------


async def list_providers(session: Session, *, kind: str) -> list[ProviderExport]:
    """Our copies of all providers of a kind that were not removed."""
    found = await session.exec(
        select(col(ProviderCopy.data)).where(
            col(ProviderCopy.deleted).is_(False), col(ProviderCopy.data)["kind"].as_string() == kind
        )
    )
    return [ProviderExport.model_validate(data) for data in found]


# attempts ------------------------------------------------------------------------------------------------------------


async def drop_old_attempts(session: Session, provider_id: str, failure: str, *, keep: int) -> None:
    """All but the newest attempts at a provider that failed in this way are gone."""
    newest = (
        select(col(SignInAttempt.id))
        .where(col(SignInAttempt.provider_id) == provider_id, col(SignInAttempt.failure) == failure)
        .order_by(col(SignInAttempt.id).desc())
        .offset(keep)
        .limit(_SWEPT_AT_ONCE)
    )
    await session.exec(delete(SignInAttempt).where(col(SignInAttempt.id).in_(newest)))


async def list_attempts(
    session: Session, *, provider_id: str | None, reference: str | None, before: str, limit: int
) -> list[SignInAttempt]:
    """Failed sign-ins, newest first, before the one with this id; only a provider's, or those with a reference."""
    statement = select(SignInAttempt).order_by(col(SignInAttempt.id).desc()).limit(limit)
    if provider_id is not None:
        statement = statement.where(col(SignInAttempt.provider_id) == provider_id)
    if reference is not None:
        statement = statement.where(col(SignInAttempt.reference) == reference)
    if before:
        statement = statement.where(col(SignInAttempt.id) < before)
    return list(await session.exec(statement))


# trials --------------------------------------------------------------------------------------------------------------


async def find_trial(session: Session, trial_id: str, *, now: datetime) -> Trial | None:
    """A trial that is still kept."""
    statement = select(Trial).where(col(Trial.id) == trial_id, col(Trial.keep_until) > now)
    return (await session.exec(statement)).one_or_none()


async def claim_trial(session: Session, ticket_hash: bytes, provider_id: str, *, now: datetime) -> str | None:
    """The id of the trial that this statement begins; None when there is none, it is over, or was begun before."""
    statement = (
        update(Trial)
        .where(
            col(Trial.ticket_hash) == ticket_hash,
            col(Trial.provider_id) == provider_id,
            col(Trial.begun_at).is_(None),
            col(Trial.expires_at) > now,
        )
        .values(begun_at=now)
        .returning(col(Trial.id))
    )
    return (await session.exec(statement)).scalar_one_or_none()


async def claim_trial_end(
    session: Session,
    trial_id: str,
    *,
    reference: str,
    steps: list[dict[str, JsonValue]],
    now: datetime,
    failure: str | None = None,
    sealed: bytes | None = None,
) -> bool:
    """True when the trial ends with this statement."""
    statement = (
        update(Trial)
        .where(col(Trial.id) == trial_id, col(Trial.finished_at).is_(None))
        .values(finished_at=now, failure=failure, reference=reference, steps=steps, sealed=sealed)
    )
    return (await session.exec(statement)).rowcount == 1


# arrivals ------------------------------------------------------------------------------------------------------------


async def find_arrival(session: Session, arrival_id: str, *, now: datetime) -> UpstreamArrival | None:
    """A sign-in that began at its provider and is not over."""
    statement = select(UpstreamArrival).where(
        col(UpstreamArrival.id) == arrival_id,
        col(UpstreamArrival.taken_at).is_(None),
        col(UpstreamArrival.expires_at) > now,
    )
    return (await session.exec(statement)).one_or_none()


async def claim_confirmation(session: Session, arrival_id: str, *, now: datetime) -> bool:
    """True when the person has confirmed the sign-in with this statement."""
    statement = (
        update(UpstreamArrival)
        .where(
            col(UpstreamArrival.id) == arrival_id,
            col(UpstreamArrival.confirmed_at).is_(None),
            col(UpstreamArrival.taken_at).is_(None),
            col(UpstreamArrival.expires_at) > now,
        )
        .values(confirmed_at=now)
    )
    return (await session.exec(statement)).rowcount == 1


async def claim_arrival(session: Session, arrival_id: str, *, now: datetime) -> bool:
    """True for the one caller that may go on with a confirmed sign-in."""
    statement = (
        update(UpstreamArrival)
        .where(
            col(UpstreamArrival.id) == arrival_id,
            col(UpstreamArrival.confirmed_at).is_not(None),
            col(UpstreamArrival.taken_at).is_(None),
            col(UpstreamArrival.expires_at) > now,
        )
        .values(taken_at=now)
    )
    return (await session.exec(statement)).rowcount == 1


# sessions at providers -----------------------------------------------------------------------------------------------


async def find_upstream_session(session: Session, session_id: str, provider_id: str) -> UpstreamSession | None:
    """A session at a provider, by its id here."""
    found = await session.get(UpstreamSession, session_id)
    return found if found is not None and found.provider_id == provider_id else None


async def list_upstream_sessions(
    session: Session, provider_id: str, subject_hash: bytes, session_hashes: Collection[bytes]
) -> list[str]:
    """Ids of a person's sessions at a provider: those that are named, or all when none is."""
    statement = select(col(UpstreamSession.id)).where(
        col(UpstreamSession.provider_id) == provider_id, col(UpstreamSession.subject_hash) == subject_hash
    )
    if session_hashes:
        statement = statement.where(col(UpstreamSession.session_hash).in_(session_hashes))
    return list(await session.exec(statement))


async def note_ended(
    session: Session, provider_id: str, *, subject_hash: bytes | None, session_hash: bytes | None, now: datetime
) -> None:
    """Sign-ins that come from what the provider ended, and begin here before this commits, have begun or never do."""
    await take_turn(session, _TURN + provider_id)
    session.add(
        EndedUpstreamSession(
            id=new_id(),
            provider_id=provider_id,
            subject_hash=subject_hash,
            session_hash=session_hash,
            ended_at=now,
            keep_until=now + KEEP_FLOWS,
        )
    )


async def has_ended(
    session: Session, provider_id: str, *, subject_hash: bytes, session_hash: bytes | None, since: datetime
) -> bool:
    """Whether the provider ended the session since then. It ends none until this transaction is over.

    A session without a name counts as the one that is named.
    """
    await share_turn(session, _TURN + provider_id)
    ended = EndedUpstreamSession
    the_person: ColumnElement[bool] = col(ended.subject_hash).is_(None) | (col(ended.subject_hash) == subject_hash)
    named: ColumnElement[bool] = col(ended.session_hash).is_(None)
    if session_hash is not None:
        named = named | (col(ended.session_hash) == session_hash)
    else:
        named = named | col(ended.subject_hash).is_not(None)
    statement = select(col(ended.id)).where(
        col(ended.provider_id) == provider_id, col(ended.ended_at) >= since, the_person, named
    )
    return (await session.exec(statement.limit(1))).one_or_none() is not None


async def claim_ended_sessions(
    session: Session, provider_id: str, *, subject_hash: bytes | None, session_hash: bytes | None
) -> list[str]:
    """Ids of sessions at a provider that are gone with this statement: the one that is named, or all of a person's.

    A session of the person that never had a name counts as the one that is named.
    """
    statement = delete(UpstreamSession).where(col(UpstreamSession.provider_id) == provider_id)
    named = col(UpstreamSession.session_hash) == session_hash
    if subject_hash is not None:
        statement = statement.where(col(UpstreamSession.subject_hash) == subject_hash)
        named = named | col(UpstreamSession.session_hash).is_(None)
    if session_hash is not None:
        statement = statement.where(named)
    return list((await session.exec(statement.returning(col(UpstreamSession.id)))).scalars())


async def claim_logout(session: Session, id_hash: bytes, provider_id: str, *, now: datetime) -> UpstreamLogout | None:
    """The sign-out that a browser comes back to, once; None when unknown, over, or somebody else's."""
    statement = (
        update(UpstreamLogout)
        .where(
            col(UpstreamLogout.id_hash) == id_hash,
            col(UpstreamLogout.provider_id) == provider_id,
            col(UpstreamLogout.taken_at).is_(None),
            col(UpstreamLogout.expires_at) > now,
        )
        .values(taken_at=now)
        .returning(UpstreamLogout)
    )
    return (await session.exec(statement)).scalar_one_or_none()
