"""Two accounts of one person become one: what led to the other leads here, and what the other had is had here."""

from datetime import datetime

from sqlalchemy import update
from sqlmodel import col, select

from watchword_database import Session
from watchword_database.ids import new_id
from watchword_directory import group_table, role_table, store
from watchword_directory.groups import Moved
from watchword_directory.models import Assignment, IdentityLink, Membership, User
from watchword_directory.ranks import Reach, require_rank
from watchword_directory.roles import announce
from watchword_directory.standing import standing_of
from watchword_directory.users import delete_user, release_emails, rise
from watchword_events.contracts import IdentityLinked, UserUpdated
from watchword_runtime.feed import Feed


class SameUser(Exception):
    """Nobody is merged with themselves."""


async def merge_users(
    session: Session, user_id: str, other_id: str, *, by: Reach, feed: Feed, now: datetime
) -> tuple[User, list[int]]:
    """The user, to whom the other's identities lead now, in the other's groups and with its roles; the other is gone.

    Name, address and password stay the user's own; an address that the other had proved is taken over where there was
    none, and is proved where it is the same. Returns the ledger entries to settle: everything that the other had
    started is refused.  by: the caller's reach, above which neither may stand. Raises UnknownUser, SameUser, LastOwner,
    AboveOwnRank. Appends UserUpdated, IdentityLinked, MembershipChanged and AssignmentChanged for what came over, and
    what a deletion appends.
    """
    if user_id == other_id:
        raise SameUser(user_id)
    await role_table.count_other_owners(session, other_id)  # owners are locked first, always in one order
    locked = {each: await store.get_user_for_change(session, each) for each in sorted((user_id, other_id))}
    user, other = locked[user_id], locked[other_id]
    for each in (user, other):
        require_rank((await standing_of(session, each.id)).rank(by), by)
    links = list(await store.list_links(session, after="", limit=1000, user_id=other_id))
    email = other.email if other.email_verified else None
    joined, given = await _groups(session, user_id, other_id), await _roles(session, user_id, other_id, now=now)
    entries = await delete_user(session, other_id, by=by, feed=feed, now=now)
    for link in links:
        await _link(session, link, user_id, now=now)
    if email is not None and user.email in (None, email):
        user.email, user.email_verified = email, True
    rise(user, claims=True, now=now)
    await session.flush()
    await release_emails(session, [user], now=now)
    Moved(frozenset(joined), frozenset()).announce(session, user)
    for assignment in given:
        announce(session, assignment, is_given=True)
    session.emit(UserUpdated(id=user.id, version=user.version, claims_version=user.claims_version))
    return user, entries


async def _groups(session: Session, user_id: str, other_id: str) -> list[str]:
    """The groups that the user came into: those of the other in which the user was not."""
    own = await group_table.groups_of(session, user_id)
    new = sorted(await group_table.groups_of(session, other_id) - own)
    moved = update(Membership).where(col(Membership.user_id) == other_id, col(Membership.group_id).in_(new))
    await session.exec(moved.values(user_id=user_id).execution_options(synchronize_session=False))
    return new


async def _roles(session: Session, user_id: str, other_id: str, *, now: datetime) -> list[Assignment]:
    """The assignments that the user got: those of the other that the user did not have."""
    held = (await session.exec(select(Assignment).where(col(Assignment.user_id) == other_id))).all()
    given = []
    for each in held:
        made = Assignment(
            id=new_id(),
            role_id=each.role_id,
            user_id=user_id,
            organization_id=each.organization_id,
            provider_id=each.provider_id,
            created_at=now,
        )
        if await role_table.claim_assignment(session, made):
            given.append(made)
    return given


async def _link(session: Session, link: IdentityLink, user_id: str, *, now: datetime) -> None:
    made = IdentityLink(
        id=new_id(),
        user_id=user_id,
        provider_id=link.provider_id,
        issuer=link.issuer,
        subject=link.subject,
        created_at=now,
        last_used_at=link.last_used_at,
    )
    if await store.claim_link(session, made):
        session.emit(IdentityLinked(id=made.id, version=1, user_id=user_id, provider_id=made.provider_id))
