"""Named SQL of the directory. `get_` raises, `find_` may return None, `claim_` changes exactly once."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import delete, func, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select

from watchword_database import Session, bus
from watchword_directory.models import IS_ADMINISTRATOR, IdentityLink, PendingLink, User
from watchword_events.handovers import VerifiedIdentity

ADMINISTRATOR: Final = "administrator"
_STANDING = col(User.deleted_at).is_(None)
_AT_ONCE: Final = 1000


class UnknownUser(LookupError):
    """There is no such user, or no more."""


async def find_user(session: Session, user_id: str) -> User | None:
    """The user, unless unknown or deleted."""
    return (await session.exec(select(User).where(col(User.id) == user_id, _STANDING))).one_or_none()


async def get_user_for_change(session: Session, user_id: str) -> User:
    """The user, locked until the end of the transaction. Raises UnknownUser."""
    statement = select(User).where(col(User.id) == user_id, _STANDING).with_for_update()
    user = (await session.exec(statement)).one_or_none()
    if user is None:
        raise UnknownUser(user_id)
    return user


async def is_tombstone(session: Session, user_id: str) -> bool:
    """Whether there was such a user, who has been deleted."""
    statement = select(col(User.id)).where(col(User.id) == user_id, col(User.deleted_at).is_not(None))
    return (await session.exec(statement)).one_or_none() is not None


async def find_user_by_username(session: Session, username: str) -> User | None:
    """The user with this canonical name."""
    statement = select(User).where(func.lower(col(User.username)) == username, _STANDING)
    return (await session.exec(statement)).one_or_none()


async def find_user_by_email(session: Session, email: str) -> User | None:
    """The user whose verified address this is, in canonical form."""
    statement = select(User).where(func.lower(col(User.email)) == email, col(User.email_verified), _STANDING)
    return (await session.exec(statement)).one_or_none()


async def claim_new_user(session: Session, user: User) -> bool:
    """True when the user exists now; False when name or verified address belong to somebody already."""
    values = user.model_dump()
    statement = insert(User).values(**values).on_conflict_do_nothing().returning(col(User.id))
    return (await session.exec(statement)).scalar_one_or_none() is not None


async def drop_unused_user(session: Session, user_id: str) -> None:
    """A user whom this same transaction created, and nobody saw, is gone."""
    await session.exec(delete(User).where(col(User.id) == user_id))


async def list_users(
    session: Session,
    *,
    after: str,
    limit: int,
    username: str | None = None,
    email: str | None = None,
    active: bool | None = None,
) -> Sequence[User]:
    """Users in the order of their names, those after `after`. email: verified or not, in canonical form."""
    name = func.lower(col(User.username))
    statement = select(User).where(_STANDING, name > after).order_by(name).limit(limit)
    if username is not None:
        statement = statement.where(name == username)
    if email is not None:
        statement = statement.where(func.lower(col(User.email)) == email)
    if active is not None:
        statement = statement.where(col(User.active) == active)
    return (await session.exec(statement)).all()


async def export_users(session: Session, *, ids: Sequence[str], after: str, limit: int) -> Sequence[User]:
    """Users by their ids or, without ids, the page after an id, tombstones included."""
    statement = select(User).order_by(col(User.id)).limit(limit)
    statement = statement.where(col(User.id).in_(ids)) if ids else statement.where(col(User.id) > after)
    return (await session.exec(statement)).all()


async def count_other_administrators(session: Session, user_id: str) -> int:
    """How many other active administrators there are; they stay so until the end of the transaction.

    The rows are locked in one order, so that two administrators who remove each other cannot both succeed.
    """
    statement = (
        select(col(User.id))
        .where(text(IS_ADMINISTRATOR), col(User.active), _STANDING)
        .order_by(col(User.id))
        .with_for_update()
    )
    return sum(found != user_id for found in (await session.exec(statement)).all())


async def release_unverified_email(session: Session, email: str, *, besides: str, now: datetime) -> list[User]:
    """Nobody but `besides` shows this address any more unless it is verified; returns whom it was taken from."""
    statement = (
        update(User)
        .where(func.lower(col(User.email)) == email, ~col(User.email_verified), col(User.id) != besides, _STANDING)
        .values(email=None, version=col(User.version) + 1, claims_version=col(User.version) + 1, updated_at=now)
        .returning(User)
    )
    return list((await session.exec(statement)).scalars().all())


async def find_link(session: Session, identity: VerifiedIdentity) -> IdentityLink | None:
    """The link of exactly this provider, issuer and subject."""
    statement = select(IdentityLink).where(
        col(IdentityLink.provider_id) == identity.provider_id,
        col(IdentityLink.issuer) == identity.issuer,
        col(IdentityLink.subject) == identity.subject,
    )
    return (await session.exec(statement)).one_or_none()


async def claim_link(session: Session, link: IdentityLink) -> bool:
    """True when the link exists now; False when its identity leads to a user already.

    Waits for another transaction that links the same identity at this moment.
    """
    statement = (
        insert(IdentityLink).values(**link.model_dump()).on_conflict_do_nothing().returning(col(IdentityLink.id))
    )
    return (await session.exec(statement)).scalar_one_or_none() is not None


async def touch_link(session: Session, link_id: str, *, now: datetime) -> None:
    """The link was used now."""
    await session.exec(update(IdentityLink).where(col(IdentityLink.id) == link_id).values(last_used_at=now))


async def list_links(
    session: Session, *, after: str, limit: int, user_id: str | None = None, provider_id: str | None = None
) -> Sequence[IdentityLink]:
    """Links in the order of their ids, those after `after`."""
    statement = select(IdentityLink).where(col(IdentityLink.id) > after).order_by(col(IdentityLink.id)).limit(limit)
    if user_id is not None:
        statement = statement.where(col(IdentityLink.user_id) == user_id)
    if provider_id is not None:
        statement = statement.where(col(IdentityLink.provider_id) == provider_id)
    return (await session.exec(statement)).all()


async def find_link_by_id(session: Session, link_id: str) -> IdentityLink | None:
    """The link with this id."""
    return await session.get(IdentityLink, link_id)


async def claim_links_of(session: Session, user_id: str) -> Sequence[IdentityLink]:
    """Every link of a user, removed."""
    statement = delete(IdentityLink).where(col(IdentityLink.user_id) == user_id).returning(IdentityLink)
    return (await session.exec(statement)).scalars().all()


async def claim_removed_link(session: Session, link_id: str) -> bool:
    """True for the one transaction that removes the link."""
    statement = delete(IdentityLink).where(col(IdentityLink.id) == link_id).returning(col(IdentityLink.id))
    return (await session.exec(statement)).scalar_one_or_none() is not None


async def put_pending_link(session: Session, pending: PendingLink) -> None:
    """The link waits for its proof; an older one of the same flow is gone."""
    await session.exec(delete(PendingLink).where(col(PendingLink.flow) == pending.flow))
    await session.exec(insert(PendingLink).values(**pending.model_dump()))


async def delete_expired(session: Session, *, now: datetime) -> None:
    """Some of what waits no more, and of the tickets that told who somebody is, are gone."""
    over = select(col(PendingLink.id)).where(col(PendingLink.expires_at) <= now).limit(_AT_ONCE)
    await session.exec(delete(PendingLink).where(col(PendingLink.id).in_(over.with_for_update(skip_locked=True))))
    await bus.sweep_handovers(session, now=now, most=_AT_ONCE)


async def find_pending_provider(session: Session, pending_id: str) -> str | None:
    """The provider of an identity that waits for its proof."""
    pending = await session.get(PendingLink, pending_id)
    return None if pending is None else VerifiedIdentity.model_validate(pending.identity).provider_id


async def claim_pending_link(
    session: Session, pending_id: str, *, flow: str, binding: str, user_id: str, now: datetime
) -> VerifiedIdentity | None:
    """The identity that waited for exactly this proof, once; None when it is another's, used or expired."""
    statement = (
        delete(PendingLink)
        .where(
            col(PendingLink.id) == pending_id,
            col(PendingLink.flow) == flow,
            col(PendingLink.binding) == binding,
            col(PendingLink.user_id) == user_id,
            col(PendingLink.expires_at) > now,
        )
        .returning(col(PendingLink.identity))
    )
    found = (await session.exec(statement)).scalar_one_or_none()
    return None if found is None else VerifiedIdentity.model_validate(found)
