"""Roles and who has them: the changes that administrators make, each with its events and with whoever learns of it."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.exc import IntegrityError

from watchword_database import Session
from watchword_database.ids import new_id
from watchword_directory import group_table, organization_table, role_table, store
from watchword_directory.claims import Source, rise_behind
from watchword_directory.delegation import BeyondReach, require_below, require_reach
from watchword_directory.models import Assignment, Behind, Role, User
from watchword_directory.ranks import BUILT_IN, Rank, Reach, rank_of, require_rank
from watchword_directory.role_documents import NewAssignment, NewRole, RoleChanges
from watchword_directory.role_table import UnknownRole
from watchword_directory.users import LastOwner, rise
from watchword_events.contracts import AssignmentChanged, RoleCreated, RoleDeleted, RoleUpdated, UserUpdated
from watchword_policy.administration import ORGANIZATION_ADMINISTRATOR, OWNER


class RoleExists(Exception):
    """Another role has this name already, in whatever letters, or it is one of Watchword's own."""


class BuiltInRole(Exception):
    """One of Watchword's own roles, which nobody changes."""


class WrongPlace(Exception):
    """The role cannot be given so. The message says how it can."""


class NoSuchRoles(LookupError):
    """Names that are no role's. places: which of the given ones."""

    def __init__(self, places: Sequence[int]) -> None:
        super().__init__(str(places))
        self.places = places


async def create_role(session: Session, new: NewRole, *, now: datetime) -> Role:
    """The role may be given. Raises RoleExists. Appends RoleCreated."""
    if new.name.lower() in BUILT_IN:
        raise RoleExists(new.name)
    role = Role(
        id=new_id(),
        version=1,
        name=new.name,
        description=new.description,
        permissions=new.permissions,
        created_at=now,
        updated_at=now,
    )
    if not await role_table.claim_new_role(session, role):
        raise RoleExists(new.name)
    session.emit(RoleCreated(id=role.id, version=1))
    return role


async def change_role(session: Session, role_id: str, changes: RoleChanges, *, now: datetime) -> tuple[Role, list[int]]:
    """The role as changed, and who is due to learn of it; nothing happens when nothing differs.

    Raises UnknownRole, RoleExists, BuiltInRole. Appends RoleUpdated.
    """
    role = await role_table.get_role_for_change(session, role_id)
    if role.is_built_in:
        raise BuiltInRole(role_id)
    before = (role.name, role.permissions)
    described = role.description
    if changes.name is not None:
        if changes.name.lower() in BUILT_IN:
            raise RoleExists(changes.name)
        role.name = changes.name
    if changes.permissions is not None:
        role.permissions = changes.permissions
    if "description" in changes.model_fields_set:
        role.description = changes.description
    learns = before != (role.name, role.permissions)
    if not learns and described == role.description:
        return role, []
    await _rise(session, role, now=now)
    session.emit(RoleUpdated(id=role_id, version=role.version))
    return role, await rise_behind(session, await _holders(session, role_id), now=now) if learns else []


async def delete_role(session: Session, role_id: str, *, now: datetime) -> list[int]:
    """The role is gone; whoever had it loses it within moments. Returns who is due. Doing it again changes nothing.

    Raises UnknownRole for one that never was, BuiltInRole. Appends RoleDeleted.
    """
    try:
        role = await role_table.get_role_for_change(session, role_id)
    except UnknownRole:
        if await role_table.is_deleted_role(session, role_id):
            return []
        raise
    if role.is_built_in:
        raise BuiltInRole(role_id)
    holders = await _holders(session, role_id)
    await role_table.take_from_groups(session, role_id)
    role.deleted_at = now
    await _rise(session, role, now=now)
    session.emit(RoleDeleted(id=role_id, version=role.version))
    return await rise_behind(session, holders, now=now)


async def give_role(
    session: Session, new: NewAssignment, *, by: Reach, now: datetime
) -> tuple[Assignment, bool, list[int]]:
    """The assignment, whether it was made now, and who is due to learn of it.

    by: the caller's reach. Raises UnknownRole, UnknownUser, UnknownGroup, UnknownOrganization, WrongPlace,
    AboveOwnRank, BeyondReach. Appends AssignmentChanged, and UserUpdated for a user.
    """
    user = await store.get_user_for_change(session, new.user) if new.user is not None else None
    if user is not None:
        require_reach(user, by)
        await require_below(session, [user.id], by)
    role = await role_table.get_role(session, new.role)
    organization_id = None
    if new.organization is not None:
        organization_id = (await organization_table.get_organization(session, new.organization)).id
        if not by.has(organization_id):
            raise organization_table.UnknownOrganization(new.organization)
    elif by.organizations is not None:
        raise BeyondReach("a role is given within one", field="organization")
    check_place(role, to_group=new.group is not None, within=organization_id is not None)
    require_rank(rank_of([role.name]), by)
    if new.group is not None and await group_table.find_group(session, new.group, by=by) is None:
        raise group_table.UnknownGroup(new.group)
    made = Assignment(
        id=new_id(),
        role_id=role.id,
        user_id=new.user,
        group_id=new.group,
        organization_id=organization_id,
        created_at=now,
    )
    if not await role_table.claim_assignment(session, made):
        return await role_table.find_same_assignment(session, made) or made, False, []
    announce(session, made, is_given=True)
    return made, True, await _learn(session, made, user, now=now)


async def take_role(session: Session, assignment_id: str, *, by: Reach, now: datetime) -> list[int] | None:
    """Who is due to learn that the role was taken back; None when there is no such assignment.

    by: the caller's reach. Raises LastOwner, AboveOwnRank. Appends AssignmentChanged, and UserUpdated for a user.
    """
    found = await role_table.find_assignment(session, assignment_id, by=by)
    if found is None:
        return None
    if found.role_id == OWNER and found.user_id is not None:
        await _keep_an_owner(session, found.user_id)
    user = await store.get_user_for_change(session, found.user_id) if found.user_id is not None else None
    await require_below(session, [user.id] if user is not None else [], by)
    role = await role_table.get_role(session, found.role_id)
    require_rank(rank_of([role.name]), by)
    if not await role_table.claim_taken_assignment(session, assignment_id):
        return None
    announce(session, found, is_given=False)
    return await _learn(session, found, user, now=now)


async def set_user_roles(session: Session, user_id: str, names: Sequence[str], *, by: Reach, now: datetime) -> User:
    """The user itself has exactly these roles everywhere.

    Raises UnknownUser, NoSuchRoles, WrongPlace, LastOwner, AboveOwnRank. Appends AssignmentChanged for each role that
    was given or taken, and UserUpdated.
    """
    others = await role_table.count_other_owners(session, user_id)
    user = await store.get_user_for_change(session, user_id)
    wanted = await _named(session, names)
    held = await role_table.given_everywhere(session, user_id)
    if OWNER in held and OWNER not in wanted and user.active and not others:
        raise LastOwner(user_id)
    given, taken = wanted.keys() - held.keys(), held.keys() - wanted.keys()
    for role_id in sorted(given):
        check_place(wanted[role_id], to_group=False, within=False)
        require_rank(rank_of([wanted[role_id].name]), by)
        made = Assignment(id=new_id(), role_id=role_id, user_id=user_id, created_at=now)
        if await role_table.claim_assignment(session, made):
            announce(session, made, is_given=True)
    for role_id in sorted(taken):
        require_rank(BUILT_IN.get(role_id, Rank.NONE), by)
        await role_table.claim_taken_assignment(session, held[role_id].id)
        announce(session, held[role_id], is_given=False)
    if given or taken:
        rise(user, claims=True, now=now)
        session.emit(UserUpdated(id=user.id, version=user.version, claims_version=user.claims_version))
    return user


async def make_owner(session: Session, user_id: str, *, now: datetime) -> bool:
    """True when the user is an owner now and was not before. Appends AssignmentChanged; UserUpdated is the caller's."""
    made = Assignment(id=new_id(), role_id=OWNER, user_id=user_id, created_at=now)
    if not await role_table.claim_assignment(session, made):
        return False
    announce(session, made, is_given=True)
    return True


def announce(session: Session, assignment: Assignment, *, is_given: bool) -> None:
    """Appends AssignmentChanged."""
    event = AssignmentChanged(
        id=assignment.id,
        version=1 if is_given else 2,
        is_given=is_given,
        role_id=assignment.role_id,
        user_id=assignment.user_id,
        group_id=assignment.group_id,
        organization_id=assignment.organization_id,
    )
    session.emit(event)


def check_place(role: Role, *, to_group: bool, within: bool) -> None:
    """Raises WrongPlace where one of Watchword's own roles would say something that it does not mean.

    Owners are users themselves, everywhere: so the last one can be told.
    """
    if not role.is_built_in:
        return
    if role.id == OWNER and to_group:
        raise WrongPlace("only a user can be an owner, not a group")
    if (role.id == ORGANIZATION_ADMINISTRATOR) is not within:
        raise WrongPlace(f"{role.name} is a role {'everywhere, not within' if within else 'within'} an organization")


async def _keep_an_owner(session: Session, user_id: str) -> None:
    others = await role_table.count_other_owners(session, user_id)
    user = await store.find_user(session, user_id)
    if user is not None and user.active and not others:
        raise LastOwner(user_id)


async def _learn(session: Session, assignment: Assignment, user: User | None, *, now: datetime) -> list[int]:
    """A user learns of it at once, the members of a group within moments."""
    if user is not None:
        rise(user, claims=True, now=now)
        session.emit(UserUpdated(id=user.id, version=user.version, claims_version=user.claims_version))
        return []
    if assignment.group_id is None:
        return []
    below = await group_table.groups_below(session, [assignment.group_id])
    return await rise_behind(session, [Source(Behind.GROUP, group_id) for group_id in sorted(below)], now=now)


async def _holders(session: Session, role_id: str) -> list[Source]:
    groups = await group_table.groups_below(session, await role_table.groups_with_role(session, role_id))
    return [Source(Behind.ROLE, role_id), *(Source(Behind.GROUP, group_id) for group_id in sorted(groups))]


async def _named(session: Session, names: Sequence[str]) -> dict[str, Role]:
    """The roles with these ids or names, by id. Raises NoSuchRoles."""
    found, missing = dict[str, Role](), list[int]()
    for place, name in enumerate(names):
        try:
            role = await role_table.get_role(session, name)
        except UnknownRole:
            missing.append(place)
        else:
            found[role.id] = role
    if missing:
        raise NoSuchRoles(missing)
    return found


async def _rise(session: Session, role: Role, *, now: datetime) -> None:
    name = role.name
    role.version += 1
    role.updated_at = now
    try:
        await session.flush()
    except IntegrityError as error:
        raise RoleExists(name) from error
