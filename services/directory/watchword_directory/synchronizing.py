"""Roles and groups follow what a provider says of a person. What was given here, or by another provider, stays."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog
from pydantic import TypeAdapter, ValidationError

from watchword_database import Session
from watchword_database.ids import new_id
from watchword_directory import group_table, organization_table, role_table
from watchword_directory.groups import SEPARATOR, Moved, ensure_groups, organization_of_name
from watchword_directory.mapping import Mapped
from watchword_directory.models import Assignment, Organization, User
from watchword_directory.ranks import Rank
from watchword_directory.roles import WrongPlace, announce, check_place
from watchword_directory.standing import rank_given_by
from watchword_directory.texts import Text
from watchword_events.exports import ProviderExport
from watchword_policy.administration import OWNER

log = structlog.get_logger()

_FULL_NAME: Final = TypeAdapter[str](Text)


@dataclass(frozen=True, slots=True)
class Synchronized:
    """What changed of a person's roles and groups."""

    moved: Moved
    given: tuple[Assignment, ...]
    taken: tuple[Assignment, ...]

    def __bool__(self) -> bool:
        return bool(self.moved or self.given or self.taken)

    def announce(self, session: Session, user: User) -> None:
        """Appends MembershipChanged and AssignmentChanged for each. user: at its new version."""
        self.moved.announce(session, user)
        for is_given, assignments in ((True, self.given), (False, self.taken)):
            for assignment in assignments:
                announce(session, assignment, is_given=is_given)


async def synchronize(
    session: Session, user: User, provider: ProviderExport, mapped: Mapped, *, now: datetime
) -> Synchronized:
    """Of the provider's roles and groups the user has exactly these now. user: locked, or just created.

    A role that does not exist is not given, a group is made. Appends GroupCreated; the user's own events are the
    caller's.
    """
    is_given = mapped.roles or mapped.groups or mapped.taken_over
    if not is_given and not await role_table.is_provided_anything(session, user.id, provider.id):
        return Synchronized(Moved(frozenset(), frozenset()), (), ())
    organization = await organization_of(session, provider)
    given, taken = await _roles(session, user, provider, mapped.roles, organization, now=now)
    names = await group_names(session, provider, mapped, organization)
    wanted = {group.id for group in await ensure_groups(session, names, now=now)}
    before = await group_table.provided_groups_of(session, user.id, provider.id)
    joined = [
        group_id
        for group_id in sorted(wanted - before)
        if await group_table.claim_provided_member(session, group_id, user.id, provider_id=provider.id, now=now)
    ]
    left = sorted(before - wanted)
    await group_table.drop_provided_members(session, left, user.id, provider_id=provider.id)
    return Synchronized(Moved(frozenset(joined), frozenset(left)), tuple(given), tuple(taken))


async def organization_of(session: Session, provider: ProviderExport) -> Organization | None:
    """The organization that the provider belongs to, which is not deleted before the end of the transaction."""
    if provider.organization is None:
        return None
    found = await organization_table.find_organization(session, provider.organization, stays=True)
    if found is None:
        log.warning("provider.organization_unknown", provider_id=provider.id)
    return found


async def _roles(
    session: Session,
    user: User,
    provider: ProviderExport,
    names: Iterable[str],
    organization: Organization | None,
    *,
    now: datetime,
) -> tuple[list[Assignment], list[Assignment]]:
    """The assignments that the user got, and those that were taken back."""
    organization_id = organization.id if organization is not None else None
    if provider.organization is not None and organization is None:
        names = ()  # what would hold within an organization must not hold everywhere
    wanted = await _role_ids(session, provider, names, within=organization_id is not None)
    held = {
        (each.role_id, each.organization_id): each
        for each in await role_table.provided_to(session, user.id, provider.id)
    }
    given = []
    for role_id in sorted(wanted):
        if (role_id, organization_id) not in held:
            made = Assignment(
                id=new_id(),
                role_id=role_id,
                user_id=user.id,
                organization_id=organization_id,
                provider_id=provider.id,
                created_at=now,
            )
            if await role_table.claim_assignment(session, made):
                given.append(made)
    over = [each for key, each in sorted(held.items(), key=str) if key not in {(r, organization_id) for r in wanted}]
    taken = [each for each in over if await role_table.claim_taken_assignment(session, each.id)]
    return given, taken


async def _role_ids(session: Session, provider: ProviderExport, names: Iterable[str], *, within: bool) -> set[str]:
    """The roles that may be given so; of others it is noted that they are not."""
    wanted = {name.lower() for name in names} - {OWNER}
    found = await role_table.find_roles_by_name(session, wanted)
    ids = set()
    for name in sorted(wanted):
        try:
            role = found[name]
            check_place(role, to_group=False, within=within)
        except (KeyError, WrongPlace):
            log.warning("provider.role_not_given", provider_id=provider.id, role=name)
        else:
            ids.add(role.id)
    return ids


async def group_names(
    session: Session, provider: ProviderExport, mapped: Mapped, organization: Organization | None
) -> list[str]:
    """The full names of the groups that the person comes into, whether or not they exist."""
    # A mapping that names an organization and no group of it means none.
    given = [name for name in mapped.groups if not name.endswith(SEPARATOR)]
    if provider.organization is not None and organization is None:
        return given
    taken_over = [name for each in mapped.taken_over if (name := await _name_here(session, each, organization))]
    found = {name: group.id for name, group in (await group_table.find_groups_by_name(session, taken_over)).items()}
    # Nobody comes near administration because a group elsewhere is called as one here.
    if await rank_given_by(session, sorted(found.values())) > Rank.NONE:
        powerful = {name for name, group_id in found.items() if await rank_given_by(session, [group_id]) > Rank.NONE}
        taken_over = [name for name in taken_over if name.lower() not in powerful]
    return [*given, *taken_over]


async def _name_here(session: Session, name: str, organization: Organization | None) -> str | None:
    """What a group elsewhere is called here; None where it would pass for an organization's, or is no name here."""
    if organization is not None:
        name = f"{organization.short_name}{SEPARATOR}{name}"
    elif await organization_of_name(session, name) is not None:
        return None
    try:
        return _FULL_NAME.validate_python(name)
    except ValidationError:
        return None
