"""Groups: made, changed and filled, each change with its events and with whoever learns of it by a version."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy.exc import IntegrityError

from watchword_database import Session
from watchword_database.ids import new_id
from watchword_database.turns import share_turn
from watchword_directory import group_table, organization_table, store
from watchword_directory.claims import Source, announce_members, lock_users, rise_behind, rise_together
from watchword_directory.delegation import named_organization, require_below, require_groups
from watchword_directory.group_documents import GroupChanges, NewGroup
from watchword_directory.group_table import UnknownGroup
from watchword_directory.models import Behind, Group, Organization, User
from watchword_directory.ranks import Reach, require_rank
from watchword_directory.standing import rank_given_by
from watchword_events.contracts import GroupCreated, GroupDeleted, GroupUpdated, MembershipChanged

SEPARATOR: Final = "/"
MAX_NAME: Final = 256


class GroupExists(Exception):
    """Another group has this name already, in whatever letters."""


class NamedAsAnothers(Exception):
    """A group of the installation would be called as the groups of an organization are."""


class NameTooLong(Exception):
    """A group that is to be made would have a name that no group has."""


class Circle(Exception):
    """A group would lie in itself."""


class NoSuchGroups(LookupError):
    """Names that are no group's. places: which of the given ones."""

    def __init__(self, places: Sequence[int]) -> None:
        super().__init__(str(places))
        self.places = places


class NoSuchUsers(LookupError):
    """Ids that are nobody's. places: which of the given ones."""

    def __init__(self, places: Sequence[int]) -> None:
        super().__init__(str(places))
        self.places = places


@dataclass(frozen=True, slots=True)
class Moved:
    """Groups that a user came into, and groups that the user left, by id."""

    joined: frozenset[str]
    left: frozenset[str]

    def __bool__(self) -> bool:
        return bool(self.joined or self.left)

    def announce(self, session: Session, user: User) -> None:
        """Appends MembershipChanged for each. user: at its new version."""
        for is_member, group_ids in ((True, self.joined), (False, self.left)):
            for group_id in sorted(group_ids):
                event = MembershipChanged(id=user.id, version=user.version, is_member=is_member, group_id=group_id)
                session.emit(event)


async def create_group(session: Session, new: NewGroup, *, by: Reach, now: datetime) -> Group:
    """The group exists, without members. by: the caller's reach.

    Raises GroupExists, NamedAsAnothers, NoSuchGroups, UnknownOrganization, WhichOrganization, AboveOwnRank. Appends
    GroupCreated.
    """
    organization = await named_organization(session, new.organization, by)
    if organization is None:
        await _check_nobodys(session, new.name)
    organization_id, short_name = (organization.id, organization.short_name) if organization else (None, None)
    group = _group(new.name, short_name, organization_id, now=now)
    group.description = new.description
    if not await group_table.claim_new_group(session, group):
        raise GroupExists(group.full_name)
    if new.parents:
        await group_table.lock_nesting(session)
        parents = await _named(session, new.parents, by)
        require_rank(await rank_given_by(session, parents, by), by)
        await group_table.put_parents(session, group.id, parents)
    session.emit(GroupCreated(id=group.id, version=1, organization_id=organization_id))
    return group


async def change_group(
    session: Session, group_id: str, changes: GroupChanges, *, by: Reach, now: datetime
) -> tuple[Group, list[int]]:
    """The group as changed, and who is due to learn of it; nothing happens when nothing differs.

    Groups beyond the caller's reach, in which it lies, stay as they are.
    Raises UnknownGroup, GroupExists, NamedAsAnothers, NoSuchGroups, Circle, AboveOwnRank. Appends GroupUpdated.
    """
    given = changes.model_fields_set
    if changes.parents is not None:
        await group_table.lock_nesting(session)
    group = await group_table.get_group_for_change(session, group_id, by=by)
    below = await group_table.groups_below(session, [group_id])
    before, learns = (group.name, group.description), False
    if changes.name is not None and changes.name != group.name:
        if group.organization_id is None:
            await _check_nobodys(session, changes.name)
        prefix = group.full_name[: len(group.full_name) - len(group.name)]
        group.name, group.full_name, learns = changes.name, prefix + changes.name, True
        await _claim_name(session, group.full_name)
    if "description" in given:
        group.description = changes.description
    if changes.parents is not None:
        moved = await _put_parents(session, group_id, changes.parents, below=below, by=by)
        learns = learns or moved
    if not learns and before == (group.name, group.description):
        return group, []
    require_rank(await rank_given_by(session, [group_id], by), by)
    await _rise(session, group, now=now)
    session.emit(GroupUpdated(id=group_id, version=group.version, organization_id=group.organization_id))
    return group, await rise_behind(session, _members_of(below), now=now) if learns else []


async def _put_parents(
    session: Session, group_id: str, names: Sequence[str], *, below: Sequence[str], by: Reach
) -> bool:
    """Whether the group lies in other groups than before."""
    parents = set(await _named(session, names, by))
    if not parents.isdisjoint(below):
        raise Circle(group_id)
    old = await group_table.parent_ids_of(session, group_id)
    parents |= {parent_id for parent_id, organization_id in old.items() if not by.has(organization_id)}
    if old.keys() == parents:
        return False
    require_rank(await rank_given_by(session, sorted(old.keys() ^ parents), by), by)
    await group_table.put_parents(session, group_id, sorted(parents))
    return True


async def delete_group(session: Session, group_id: str, *, by: Reach, now: datetime) -> list[int]:
    """The group is gone with its roles; its members leave it within moments. Returns who is due.

    Doing it again changes nothing. Raises UnknownGroup for one that never was, AboveOwnRank. Appends GroupDeleted.
    """
    await group_table.lock_nesting(session)
    try:
        group = await group_table.get_group_for_change(session, group_id, by=by)
    except UnknownGroup:
        if by.organizations is None and await group_table.is_deleted_group(session, group_id):
            return []
        raise
    require_rank(await rank_given_by(session, [group_id], by), by)
    below = await group_table.groups_below(session, [group_id])
    await group_table.drop_nestings(session, group_id)
    await group_table.drop_assignments_of(session, group_id)
    group.deleted_at = now
    await _rise(session, group, now=now)
    session.emit(GroupDeleted(id=group_id, version=group.version, organization_id=group.organization_id))
    return await rise_behind(session, _members_of(below), now=now)


async def change_members(
    session: Session, group_id: str, *, add: Sequence[str], remove: Sequence[str], by: Reach, now: datetime
) -> None:
    """The users are in the group, or are not any more; those of whom it was true already are left alone.

    Raises UnknownGroup, NoSuchUsers for one to add who does not exist, AboveOwnRank. Appends MembershipChanged and
    UserUpdated for each whose membership changed.
    """
    if await group_table.find_group(session, group_id, by=by) is None:
        raise UnknownGroup(group_id)
    locked = await lock_users(session, [*add, *remove])
    known = await store.within_reach(session, locked, by)
    if missing := [place for place, user_id in enumerate(add) if user_id not in known]:
        raise NoSuchUsers(missing)
    remove = [user_id for user_id in remove if user_id in known]
    await require_below(session, [*add, *remove], by)
    require_rank(await rank_given_by(session, [group_id], by), by)
    joined = await group_table.claim_members(session, group_id, add, now=now) if add else []
    left = await group_table.claim_left_members(session, group_id, remove) if remove else []
    await rise_together(session, [*joined, *left], now=now)
    for is_member, user_ids in ((True, joined), (False, left)):
        if user_ids:
            await announce_members(session, group_id, user_ids, is_member=is_member)


async def change_children(
    session: Session, group_id: str, *, add: Sequence[str], remove: Sequence[str], by: Reach, now: datetime
) -> list[int]:
    """These groups lie in the group, or do not any more; returns who is due to learn of it.

    add, remove: groups that exist, within the caller's reach. Raises UnknownGroup, Circle, AboveOwnRank. Appends
    GroupUpdated for each that moved.
    """
    await group_table.lock_nesting(session)
    if await group_table.find_group(session, group_id, by=by) is None:
        raise UnknownGroup(group_id)
    if group_id in await group_table.groups_below(session, add):
        raise Circle(group_id)
    require_rank(await rank_given_by(session, [group_id], by), by)
    moved = await group_table.claim_children(session, group_id, add) if add else []
    moved += await group_table.claim_left_children(session, group_id, remove) if remove else []
    for child_id in sorted(moved):
        child = await group_table.get_group_for_change(session, child_id)
        await _rise(session, child, now=now)
        session.emit(GroupUpdated(id=child_id, version=child.version, organization_id=child.organization_id))
    return await rise_behind(session, _members_of(await group_table.groups_below(session, moved)), now=now)


async def put_user_in(session: Session, user: User, names: Sequence[str], *, by: Reach, now: datetime) -> Moved:
    """The user is in exactly these groups; those that do not exist yet are made. user: locked, or just created.

    Groups beyond the caller's reach stay as they are. Raises AboveOwnRank, BeyondReach. Appends GroupCreated; the
    user's own events are the caller's.
    """
    groups = await ensure_groups(session, names, now=now)
    require_groups(groups, by)
    wanted = {group.id for group in groups}
    before = await group_table.groups_of(session, user.id, by=by)
    moved = Moved(frozenset(wanted - before), frozenset(before - wanted))
    require_rank(await rank_given_by(session, sorted(moved.joined | moved.left), by), by)
    for group_id in sorted(moved.joined):
        await group_table.claim_members(session, group_id, [user.id], now=now)
    for group_id in sorted(moved.left):
        await group_table.claim_left_members(session, group_id, [user.id])
    return moved


async def ensure_groups(session: Session, names: Iterable[str], *, now: datetime) -> list[Group]:
    """The groups with these full names. One that does not exist is made: of the organization that it begins with, or
    else of the installation. Raises NamedAsAnothers for an organization without a name, NameTooLong. Appends
    GroupCreated.
    """
    wanted = {name.lower(): name for name in names}
    found = await group_table.find_groups_by_name(session, wanted)
    missing = [await _made(session, wanted[key], now=now) for key in sorted(wanted.keys() - found.keys())]
    for group in missing:
        if await group_table.claim_new_group(session, group):
            session.emit(GroupCreated(id=group.id, version=1, organization_id=group.organization_id))
    found |= await group_table.find_groups_by_name(session, [group.full_name for group in missing])
    return [found[key] for key in sorted(found)]


async def organization_of_name(session: Session, full_name: str) -> Organization | None:
    """The organization whose groups are called so; until the end of the transaction, that stays so.

    Else an organization and a group that begins with its short name could be made at one moment.
    """
    short_name, separator, _ = full_name.partition(SEPARATOR)
    if not separator:
        return None
    await share_turn(session, group_table.NAMES)
    return await organization_table.find_by_short_name(session, short_name, stays=True)


async def _check_nobodys(session: Session, full_name: str) -> None:
    """Raises NamedAsAnothers for a group of the installation with a name of an organization's."""
    if await organization_of_name(session, full_name) is not None:
        raise NamedAsAnothers(full_name)


async def _made(session: Session, full_name: str, *, now: datetime) -> Group:
    organization = await organization_of_name(session, full_name)
    name = full_name if organization is None else full_name.partition(SEPARATOR)[2].strip()
    if not name:
        raise NamedAsAnothers(full_name)
    if len(name) > MAX_NAME:
        raise NameTooLong
    if organization is None:
        return _group(full_name, None, None, now=now)
    return _group(name, organization.short_name, organization.id, now=now)


def _group(name: str, short_name: str | None, organization_id: str | None, *, now: datetime) -> Group:
    full_name = name if short_name is None else f"{short_name}{SEPARATOR}{name}"
    return Group(
        id=new_id(),
        version=1,
        name=name,
        full_name=full_name,
        organization_id=organization_id,
        created_at=now,
        updated_at=now,
    )


async def _named(session: Session, names: Sequence[str], by: Reach) -> list[str]:
    """The ids of the groups within reach with these full names. Raises NoSuchGroups."""
    everywhere = await group_table.find_groups_by_name(session, names)
    found = {name: group for name, group in everywhere.items() if by.has(group.organization_id)}
    if missing := [place for place, name in enumerate(names) if name.lower() not in found]:
        raise NoSuchGroups(missing)
    return sorted({found[name.lower()].id for name in names})


def _members_of(group_ids: Iterable[str]) -> list[Source]:
    return [Source(Behind.GROUP, group_id) for group_id in sorted(group_ids)]


async def _rise(session: Session, group: Group, *, now: datetime) -> None:
    group.version += 1
    group.updated_at = now
    await session.flush()


async def _claim_name(session: Session, full_name: str) -> None:
    """The group that was given the name has it, before anything else is asked for: a query would claim it as well."""
    try:
        await session.flush()
    except IntegrityError as error:
        raise GroupExists(full_name) from error
