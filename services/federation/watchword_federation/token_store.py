"""Named SQL about tokens of providers that are kept for applications."""

from datetime import datetime

from sqlalchemy import ColumnElement, delete, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select

from watchword_database import Session
from watchword_events.contracts import UpstreamTokensDropped, UpstreamTokensKept
from watchword_events.exports import IdentityExport
from watchword_federation.models import UpstreamTokens


async def find_tokens(session: Session, identity: bytes) -> UpstreamTokens | None:
    """What is kept for an identity."""
    return await session.get(UpstreamTokens, identity)


async def find_tokens_for_change(session: Session, identity: bytes) -> UpstreamTokens | None:
    """As above, locked: whoever comes second finds what the first one made of it."""
    statement = select(UpstreamTokens).where(col(UpstreamTokens.identity) == identity).with_for_update()
    return (await session.exec(statement)).one_or_none()


async def put_tokens(session: Session, kept: UpstreamTokens) -> None:
    """These tokens are kept in place of the identity's earlier ones; whose they are stays."""
    statement = insert(UpstreamTokens).values(**kept.model_dump(exclude={"link_id", "user_id"}))
    new = statement.excluded
    names = ("subject_hash", "sealed", "is_offline", "rev", "kept_at", "keep_until")
    await session.exec(
        statement.on_conflict_do_update(index_elements=["identity"], set_={name: new[name] for name in names})
    )


async def claim_owner(session: Session, identity: bytes, link: IdentityExport, *, now: datetime) -> None:
    """The tokens of an identity are this person's. Appends UpstreamTokensKept when that is new."""
    statement = (
        update(UpstreamTokens)
        .where(
            col(UpstreamTokens.identity) == identity,
            col(UpstreamTokens.link_id).is_distinct_from(link.id),
        )
        .values(link_id=link.id, user_id=link.user_id)
    )
    if (await session.exec(statement)).rowcount == 1:
        session.emit(
            UpstreamTokensKept(id=link.id, version=_version(now), user_id=link.user_id, provider_id=link.provider_id)
        )


async def drop_identity(session: Session, identity: bytes, *, reason: str, now: datetime) -> int:
    """Nothing is kept for an identity. Appends UpstreamTokensDropped."""
    return await _drop(session, col(UpstreamTokens.identity) == identity, reason=reason, now=now)


async def drop_link(session: Session, link_id: str, *, now: datetime) -> int:
    """Nothing is kept for an identity that leads nowhere any more. Appends as above."""
    return await _drop(session, col(UpstreamTokens.link_id) == link_id, reason="unlinked", now=now)


async def drop_user(session: Session, user_id: str, *, reason: str, now: datetime) -> int:
    """Nothing is kept for a person. Appends as above, for each of their identities."""
    return await _drop(session, col(UpstreamTokens.user_id) == user_id, reason=reason, now=now)


async def drop_provider(session: Session, provider_id: str, *, now: datetime) -> int:
    """Nothing of a provider is kept. Appends as above, for each identity."""
    return await _drop(session, col(UpstreamTokens.provider_id) == provider_id, reason="provider", now=now)


async def drop_expired(session: Session, *, now: datetime) -> int:
    """Nothing is kept that nobody asked for in a long time. Appends as above, for each identity."""
    return await _drop(session, col(UpstreamTokens.keep_until) < now, reason="expired", now=now)


async def drop_session_bound(session: Session, provider_id: str, subject_hash: bytes, *, now: datetime) -> int:
    """What depended on a person's session at the provider is not kept. Appends as above.

    Spec: OpenID Connect Back-Channel Logout 2.7.
    """
    of_person = (
        (col(UpstreamTokens.provider_id) == provider_id)
        & (col(UpstreamTokens.subject_hash) == subject_hash)
        & col(UpstreamTokens.is_offline).is_(False)
    )
    return await _drop(session, of_person, reason="logout", now=now)


async def _drop(session: Session, which: ColumnElement[bool], *, reason: str, now: datetime) -> int:
    """How many are gone; each says so whose owner was known."""
    statement = (
        delete(UpstreamTokens)
        .where(which)
        .returning(col(UpstreamTokens.link_id), col(UpstreamTokens.user_id), col(UpstreamTokens.provider_id))
    )
    gone = (await session.exec(statement)).all()
    for link_id, user_id, provider_id in gone:
        if link_id is not None:
            fields = {"id": link_id, "user_id": user_id, "provider_id": provider_id, "reason": reason}
            session.emit(UpstreamTokensDropped.model_validate({**fields, "version": _version(now)}))
    return len(gone)


def _version(now: datetime) -> int:
    return int(now.timestamp() * 1000)
