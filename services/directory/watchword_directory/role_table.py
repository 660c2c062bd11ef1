"""Named SQL of roles and assignments. `get_` raises, `find_` may return None, `claim_` changes exactly once."""

from collections.abc import Iterable, Sequence

from sqlalchemy import delete, func, text
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select

from watchword_database import Session
from watchword_database.searching import holds
from watchword_directory.models import Assignment, Role, User
from watchword_directory.ranks import EVERYTHING, Reach
from watchword_policy.administration import OWNER

_STANDS = col(Role.deleted_at).is_(None)
_IS_PROVIDED = text("""
SELECT EXISTS (SELECT FROM directory.assignments WHERE user_id = :user_id AND provider_id = :provider_id)
    OR EXISTS (SELECT FROM directory.memberships WHERE user_id = :user_id AND provider_id = :provider_id)
""")


class UnknownRole(LookupError):
    """There is no such role, or no more."""


async def find_role(session: Session, role_id: str) -> Role | None:
    """The role, unless unknown or deleted."""
    return (await session.exec(select(Role).where(col(Role.id) == role_id, _STANDS))).one_or_none()


async def get_role(session: Session, reference: str) -> Role:
    """The role with this id or else name, in whatever letters. Raises UnknownRole."""
    found = await find_role(session, reference)
    if found is None:
        found = (await find_roles_by_name(session, [reference])).get(reference.lower())
    if found is None:
        raise UnknownRole(reference)
    return found


async def find_roles_by_name(session: Session, names: Iterable[str]) -> dict[str, Role]:
    """The roles with these names, in whatever letters, by the name in small ones."""
    wanted = [name.lower() for name in names]
    if not wanted:  # as most providers say nothing
        return {}
    statement = select(Role).where(func.lower(col(Role.name)).in_(wanted), _STANDS)
    return {role.name.lower(): role for role in (await session.exec(statement)).all()}


async def get_role_for_change(session: Session, role_id: str) -> Role:
    """The role, locked until the end of the transaction. Raises UnknownRole."""
    statement = select(Role).where(col(Role.id) == role_id, _STANDS).with_for_update(key_share=True)
    role = (await session.exec(statement)).one_or_none()
    if role is None:
        raise UnknownRole(role_id)
    return role


async def is_deleted_role(session: Session, role_id: str) -> bool:
    """Whether there was such a role, which has been deleted."""
    statement = select(col(Role.id)).where(col(Role.id) == role_id, col(Role.deleted_at).is_not(None))
    return (await session.exec(statement)).one_or_none() is not None


async def claim_new_role(session: Session, role: Role) -> bool:
    """True when the role exists now; False when its name belongs to another."""
    statement = insert(Role).values(**role.model_dump()).on_conflict_do_nothing().returning(col(Role.id))
    return (await session.exec(statement)).scalar_one_or_none() is not None


async def list_roles(
    session: Session, *, after: str, limit: int, name: str | None = None, search: str | None = None
) -> Sequence[Role]:
    """Roles in the order of their names, those after `after`. search: a part of the name or of the description."""
    key = func.lower(col(Role.name))
    statement = select(Role).where(_STANDS, key > after).order_by(key).limit(limit)
    if name is not None:
        statement = statement.where(key == name.lower())
    if search is not None:
        statement = statement.where(holds(search, col(Role.name), col(Role.description)))
    return (await session.exec(statement)).all()


async def list_own_by_id(session: Session, *, after: str, limit: int) -> Sequence[Role]:
    """Roles that are not Watchword's own in the order of their ids, those after `after`."""
    statement = select(Role).where(_STANDS, ~col(Role.is_built_in), col(Role.id) > after)
    return (await session.exec(statement.order_by(col(Role.id)).limit(limit))).all()


# assignments ---------------------------------------------------------------------------------------------------------


async def claim_assignment(session: Session, assignment: Assignment) -> bool:
    """True when the role is given now; False when it was before."""
    statement = (
        insert(Assignment).values(**assignment.model_dump()).on_conflict_do_nothing().returning(col(Assignment.id))
    )
    return (await session.exec(statement)).scalar_one_or_none() is not None


async def find_assignment(session: Session, assignment_id: str, *, by: Reach = EVERYTHING) -> Assignment | None:
    """The assignment, unless it was taken back, its role was deleted, or it counts beyond reach."""
    statement = (
        select(Assignment)
        .join(Role, col(Role.id) == col(Assignment.role_id))
        .where(col(Assignment.id) == assignment_id, _STANDS)
    )
    found = (await session.exec(statement)).one_or_none()
    return found if found is not None and by.has(found.organization_id) else None


async def find_same_assignment(session: Session, like: Assignment) -> Assignment | None:
    """The assignment of the same role to the same holder, within the same organization."""
    statement = select(Assignment).where(
        col(Assignment.role_id) == like.role_id,
        col(Assignment.user_id).is_not_distinct_from(like.user_id),
        col(Assignment.group_id).is_not_distinct_from(like.group_id),
        col(Assignment.organization_id).is_not_distinct_from(like.organization_id),
    )
    return (await session.exec(statement)).one_or_none()


async def claim_taken_assignment(session: Session, assignment_id: str) -> bool:
    """True for the one transaction that takes the role back."""
    statement = delete(Assignment).where(col(Assignment.id) == assignment_id).returning(col(Assignment.id))
    return (await session.exec(statement)).scalar_one_or_none() is not None


async def list_assignments(
    session: Session,
    *,
    after: str,
    limit: int,
    by: Reach,
    role_id: str | None = None,
    user_id: str | None = None,
    group_id: str | None = None,
    organization_id: str | None = None,
) -> Sequence[Assignment]:
    """Assignments that count within reach in the order of their ids, those after `after`."""
    statement = (
        select(Assignment)
        .join(Role, col(Role.id) == col(Assignment.role_id))
        .where(_STANDS, col(Assignment.id) > after)
        .order_by(col(Assignment.id))
        .limit(limit)
    )
    if by.organizations is not None:
        statement = statement.where(col(Assignment.organization_id).in_(by.organizations))
    wanted = (
        (col(Assignment.role_id), role_id),
        (col(Assignment.user_id), user_id),
        (col(Assignment.group_id), group_id),
        (col(Assignment.organization_id), organization_id),
    )
    for column, value in wanted:
        if value is not None:
            statement = statement.where(column == value)
    return (await session.exec(statement)).all()


async def list_declared_assignments(session: Session, *, after: str, limit: int) -> Sequence[Assignment]:
    """Assignments that no provider made, but what users themselves are everywhere; by id, those after `after`."""
    statement = (
        select(Assignment)
        .join(Role, col(Role.id) == col(Assignment.role_id))
        .where(
            _STANDS,
            col(Assignment.provider_id).is_(None),
            col(Assignment.group_id).is_not(None) | col(Assignment.organization_id).is_not(None),
            col(Assignment.id) > after,
        )
        .order_by(col(Assignment.id))
        .limit(limit)
    )
    return (await session.exec(statement)).all()


async def given_everywhere(session: Session, user_id: str) -> dict[str, Assignment]:
    """The assignments of roles that the user itself has everywhere, by the role's id."""
    statement = (
        select(Assignment)
        .join(Role, col(Role.id) == col(Assignment.role_id))
        .where(col(Assignment.user_id) == user_id, col(Assignment.organization_id).is_(None), _STANDS)
    )
    return {each.role_id: each for each in (await session.exec(statement)).all()}


async def provided_to(session: Session, user_id: str, provider_id: str) -> Sequence[Assignment]:
    """What the user has because this provider says so."""
    statement = select(Assignment).where(col(Assignment.user_id) == user_id, col(Assignment.provider_id) == provider_id)
    return (await session.exec(statement)).all()


async def is_provided_anything(session: Session, user_id: str, provider_id: str) -> bool:
    """Whether the user has a role, or is in a group, because this provider says so."""
    connection = await session.connection()
    given = {"user_id": user_id, "provider_id": provider_id}
    return bool((await connection.execute(_IS_PROVIDED, given)).scalar_one())


async def groups_with_role(session: Session, role_id: str) -> Sequence[str]:
    """The ids of the groups that have the role, anywhere."""
    statement = select(col(Assignment.group_id)).where(
        col(Assignment.role_id) == role_id, col(Assignment.group_id).is_not(None)
    )
    return [group_id for group_id in (await session.exec(statement.distinct())).all() if group_id is not None]


async def take_from_groups(session: Session, role_id: str) -> None:
    """No group has the role."""
    statement = delete(Assignment).where(col(Assignment.role_id) == role_id, col(Assignment.group_id).is_not(None))
    await session.exec(statement)


async def take_all_from(session: Session, user_id: str) -> None:
    """The user has no role of its own."""
    await session.exec(delete(Assignment).where(col(Assignment.user_id) == user_id))


async def count_other_owners(session: Session, user_id: str) -> int:
    """How many other active owners there are; they stay so until the end of the transaction.

    Users and assignments are locked, in one order, so that two owners who remove each other cannot both succeed.
    """
    statement = (
        select(col(User.id))
        .join(Assignment, col(Assignment.user_id) == col(User.id))
        .where(col(Assignment.role_id) == OWNER, col(User.active), col(User.deleted_at).is_(None))
        .order_by(col(User.id))
        .with_for_update(key_share=True)
    )
    return sum(found != user_id for found in (await session.exec(statement)).all())
