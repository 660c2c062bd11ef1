"""Named SQL of groups, nesting and memberships. `get_` raises, `find_` may return None, `claim_` changes once."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, delete, func, text
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.types import Text
from sqlmodel import col, select

from watchword_database import Session
from watchword_database.base import TIMESTAMP
from watchword_database.searching import holds
from watchword_directory.models import Assignment, Group, Membership, Nesting, User
from watchword_directory.ranks import EVERYTHING, Reach

_STANDS = col(Group.deleted_at).is_(None)
_IDS: Final = bindparam("ids", type_=ARRAY(Text))
# Nesting is changed by one at a time: two changes that are each harmless could make a circle together.
_LOCK_NESTING: Final = text("SELECT pg_advisory_xact_lock(hashtext('directory.nestings'))")
# What a group is called, and whose groups are called so: one of them waits until the other stands.
NAMES: Final = "directory.full_names"
_BELOW: Final = text("""
WITH RECURSIVE below AS (
    SELECT unnest(:ids) AS group_id
    UNION
    SELECT n.child_id FROM below b JOIN directory.nestings n ON n.parent_id = b.group_id
)
SELECT group_id FROM below
""").bindparams(_IDS)
_JOIN: Final = text("""
INSERT INTO directory.memberships (group_id, user_id, created_at) SELECT :group_id, unnest(:ids), :now
    ON CONFLICT DO NOTHING RETURNING user_id
""").bindparams(_IDS, bindparam("now", type_=TIMESTAMP))

_SAID_HERE: Final = text("""
UPDATE directory.memberships SET provider_id = NULL
 WHERE group_id = :group_id AND user_id = ANY(:ids) AND provider_id IS NOT NULL
""").bindparams(_IDS)
_LEAVE: Final = text("""
DELETE FROM directory.memberships WHERE group_id = :group_id AND user_id = ANY(:ids) RETURNING user_id
""").bindparams(_IDS)


class UnknownGroup(LookupError):
    """There is no such group, or no more."""


async def find_group(session: Session, group_id: str, *, by: Reach = EVERYTHING) -> Group | None:
    """The group, unless unknown, deleted or beyond reach."""
    group = (await session.exec(select(Group).where(col(Group.id) == group_id, _STANDS))).one_or_none()
    return group if group is not None and by.has(group.organization_id) else None


async def get_group_for_change(session: Session, group_id: str, *, by: Reach = EVERYTHING) -> Group:
    """The group, locked until the end of the transaction. Raises UnknownGroup."""
    statement = select(Group).where(col(Group.id) == group_id, _STANDS).with_for_update(key_share=True)
    group = (await session.exec(statement)).one_or_none()
    if group is None or not by.has(group.organization_id):
        raise UnknownGroup(group_id)
    return group


async def is_deleted_group(session: Session, group_id: str) -> bool:
    """Whether there was such a group, which has been deleted."""
    statement = select(col(Group.id)).where(col(Group.id) == group_id, col(Group.deleted_at).is_not(None))
    return (await session.exec(statement)).one_or_none() is not None


async def find_groups_by_name(session: Session, full_names: Iterable[str]) -> dict[str, Group]:
    """The groups with these full names, in whatever letters, by the full name in small ones."""
    wanted = [name.lower() for name in full_names]
    if not wanted:  # as most providers say nothing
        return {}
    statement = select(Group).where(func.lower(col(Group.full_name)).in_(wanted), _STANDS)
    return {group.full_name.lower(): group for group in (await session.exec(statement)).all()}


async def claim_new_group(session: Session, group: Group) -> bool:
    """True when the group exists now; False when its full name belongs to another."""
    statement = insert(Group).values(**group.model_dump()).on_conflict_do_nothing().returning(col(Group.id))
    return (await session.exec(statement)).scalar_one_or_none() is not None


async def list_groups(
    session: Session,
    *,
    after: str,
    limit: int,
    by: Reach,
    full_name: str | None = None,
    organization_id: str | None = None,
    search: str | None = None,
) -> Sequence[Group]:
    """Groups within reach in the order of their full names, those after `after`.

    search: a part of the full name or of the description.
    """
    name = func.lower(col(Group.full_name))
    statement = select(Group).where(_STANDS, name > after).order_by(name).limit(limit)
    if by.organizations is not None:
        statement = statement.where(col(Group.organization_id).in_(by.organizations))
    if full_name is not None:
        statement = statement.where(name == full_name.lower())
    if organization_id is not None:
        statement = statement.where(col(Group.organization_id) == organization_id)
    if search is not None:
        statement = statement.where(holds(search, col(Group.full_name), col(Group.description)))
    return (await session.exec(statement)).all()


async def list_by_id(session: Session, *, after: str, limit: int) -> Sequence[Group]:
    """Groups in the order of their ids, those after `after`."""
    statement = select(Group).where(_STANDS, col(Group.id) > after).order_by(col(Group.id)).limit(limit)
    return (await session.exec(statement)).all()


async def has_groups(session: Session, organization_id: str) -> bool:
    """Whether the organization has a group."""
    statement = select(col(Group.id)).where(col(Group.organization_id) == organization_id, _STANDS).limit(1)
    return (await session.exec(statement)).one_or_none() is not None


async def has_groups_named_under(session: Session, short_name: str) -> bool:
    """Whether a group's full name looks as if it were of an organization with this short name."""
    prefix = f"{short_name.lower()}/"
    name = func.lower(col(Group.full_name))
    statement = select(col(Group.id)).where(_STANDS, name.startswith(prefix, autoescape=True)).limit(1)
    return (await session.exec(statement)).one_or_none() is not None


# nesting -------------------------------------------------------------------------------------------------------------


async def lock_nesting(session: Session) -> None:
    """Nobody else changes which groups lie in which until the end of the transaction."""
    await (await session.connection()).execute(_LOCK_NESTING)


async def groups_below(session: Session, group_ids: Iterable[str]) -> list[str]:
    """These groups and all that lie in them, however deep: whose members are theirs."""
    connection = await session.connection()
    return list((await connection.execute(_BELOW, {"ids": list(group_ids)})).scalars())


async def parents_of(session: Session, group_ids: Sequence[str], *, by: Reach = EVERYTHING) -> dict[str, list[str]]:
    """The full names of the groups within reach in which each lies, sorted."""
    found: dict[str, list[str]] = {group_id: [] for group_id in group_ids}
    statement = (
        select(col(Nesting.child_id), col(Group.full_name))
        .join(Group, col(Group.id) == col(Nesting.parent_id))
        .where(col(Nesting.child_id).in_(group_ids))
        .order_by(col(Group.full_name))
    )
    if by.organizations is not None:
        statement = statement.where(col(Group.organization_id).in_(by.organizations))
    for child_id, full_name in (await session.exec(statement)).all():
        found[child_id].append(full_name)
    return found


async def parent_ids_of(session: Session, group_id: str) -> dict[str, str | None]:
    """The ids of the groups in which the group lies, each with that of its organization."""
    statement = (
        select(col(Group.id), col(Group.organization_id))
        .join(Nesting, col(Nesting.parent_id) == col(Group.id))
        .where(col(Nesting.child_id) == group_id)
    )
    return {row[0]: row[1] for row in (await session.exec(statement)).all()}


async def put_parents(session: Session, group_id: str, parent_ids: Sequence[str]) -> None:
    """The group lies in these groups and in no other."""
    await session.exec(delete(Nesting).where(col(Nesting.child_id) == group_id))
    if parent_ids:
        rows = [{"parent_id": parent_id, "child_id": group_id} for parent_id in parent_ids]
        await session.exec(insert(Nesting).values(rows))


async def standing_groups(session: Session, ids: Sequence[str], *, by: Reach = EVERYTHING) -> set[str]:
    """Those of the ids that are a group's within reach."""
    statement = select(col(Group.id)).where(col(Group.id).in_(ids), _STANDS)
    if by.organizations is not None:
        statement = statement.where(col(Group.organization_id).in_(by.organizations))
    return set((await session.exec(statement)).all())


async def children_of(session: Session, group_ids: Sequence[str]) -> dict[str, list[str]]:
    """The ids of the groups that lie in each, sorted; of those in which one does."""
    found: dict[str, list[str]] = {}
    statement = select(Nesting).where(col(Nesting.parent_id).in_(group_ids)).order_by(col(Nesting.child_id))
    for each in (await session.exec(statement)).all():
        found.setdefault(each.parent_id, []).append(each.child_id)
    return found


async def child_ids_of(session: Session, group_id: str) -> list[str]:
    """The ids of the groups that lie in the group, sorted."""
    return (await children_of(session, [group_id])).get(group_id, [])


async def claim_children(session: Session, group_id: str, child_ids: Sequence[str]) -> list[str]:
    """The groups that came into the group by this."""
    rows = [{"parent_id": group_id, "child_id": child_id} for child_id in child_ids]
    statement = insert(Nesting).values(rows).on_conflict_do_nothing().returning(col(Nesting.child_id))
    return list((await session.exec(statement)).scalars())


async def claim_left_children(session: Session, group_id: str, child_ids: Sequence[str]) -> list[str]:
    """The groups that left the group by this."""
    here = (col(Nesting.parent_id) == group_id) & col(Nesting.child_id).in_(child_ids)
    statement = delete(Nesting).where(here).returning(col(Nesting.child_id))
    return list((await session.exec(statement.execution_options(synchronize_session=False))).scalars())


async def drop_nestings(session: Session, group_id: str) -> None:
    """The group lies in no other, and no other in it."""
    either = (col(Nesting.child_id) == group_id) | (col(Nesting.parent_id) == group_id)
    await session.exec(delete(Nesting).where(either))


# memberships ---------------------------------------------------------------------------------------------------------


async def list_members(session: Session, group_id: str, *, after: str, limit: int, by: Reach) -> Sequence[Membership]:
    """Memberships of people within reach in the order of the users' ids, those after `after`."""
    statement = (
        select(Membership)
        .where(col(Membership.group_id) == group_id, col(Membership.user_id) > after)
        .order_by(col(Membership.user_id))
        .limit(limit)
    )
    if by.organizations is not None:
        home = col(User.organization_id).in_(by.organizations)
        statement = statement.join(User, col(User.id) == col(Membership.user_id)).where(home)
    return (await session.exec(statement)).all()


async def claim_members(session: Session, group_id: str, user_ids: Sequence[str], *, now: datetime) -> list[str]:
    """The users who came into the group by this; where a provider said so before, it is said here from now on."""
    connection = await session.connection()
    ids = {"group_id": group_id, "ids": list(user_ids)}
    await connection.execute(_SAID_HERE, ids)
    return list((await connection.execute(_JOIN, {**ids, "now": now})).scalars())


async def claim_left_members(session: Session, group_id: str, user_ids: Sequence[str]) -> list[str]:
    """The users who left the group by this."""
    connection = await session.connection()
    return list((await connection.execute(_LEAVE, {"group_id": group_id, "ids": list(user_ids)})).scalars())


async def groups_of(session: Session, user_id: str, *, by: Reach = EVERYTHING) -> set[str]:
    """The ids of the groups within reach that the user was put in."""
    statement = (
        select(col(Membership.group_id))
        .join(Group, col(Group.id) == col(Membership.group_id))
        .where(col(Membership.user_id) == user_id, _STANDS)
    )
    if by.organizations is not None:
        statement = statement.where(col(Group.organization_id).in_(by.organizations))
    return set((await session.exec(statement)).all())


async def drop_memberships_of(session: Session, user_id: str) -> None:
    """The user is in no group."""
    statement = delete(Membership).where(col(Membership.user_id) == user_id)
    await session.exec(statement.execution_options(synchronize_session=False))


async def drop_assignments_of(session: Session, group_id: str) -> None:
    """The group has no role."""
    statement = delete(Assignment).where(col(Assignment.group_id) == group_id)
    await session.exec(statement.execution_options(synchronize_session=False))


# memberships that a provider says -------------------------------------------------------------------------------------


async def provided_groups_of(session: Session, user_id: str, provider_id: str) -> set[str]:
    """The ids of the groups that the user is in because this provider says so."""
    statement = select(col(Membership.group_id)).where(
        col(Membership.user_id) == user_id, col(Membership.provider_id) == provider_id
    )
    return set((await session.exec(statement)).all())


async def claim_provided_member(
    session: Session, group_id: str, user_id: str, *, provider_id: str, now: datetime
) -> bool:
    """True when the user came into the group by this; False when it is so already, whoever said it."""
    made = Membership(group_id=group_id, user_id=user_id, provider_id=provider_id, created_at=now)
    statement = (
        insert(Membership).values(**made.model_dump()).on_conflict_do_nothing().returning(col(Membership.user_id))
    )
    return (await session.exec(statement)).scalar_one_or_none() is not None


async def drop_provided_members(session: Session, group_ids: Sequence[str], user_id: str, *, provider_id: str) -> None:
    """The user is in none of these groups any more because of what this provider said."""
    if not group_ids:
        return
    statement = delete(Membership).where(
        col(Membership.group_id).in_(group_ids),
        col(Membership.user_id) == user_id,
        col(Membership.provider_id) == provider_id,
    )
    await session.exec(statement.execution_options(synchronize_session=False))
