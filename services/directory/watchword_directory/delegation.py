"""What the administrator of an organization may say of its people: nothing that counts anywhere else.

A caller who reaches everything passes each of these checks. For the others, whatever is not their organization's is as
if it were not there; what would count beyond it is refused.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Final

from pydantic import JsonValue

from watchword_database import Session
from watchword_directory import group_table, organization_table
from watchword_directory.models import Group, Organization, User
from watchword_directory.names import RESERVED
from watchword_directory.organization_table import UnknownOrganization
from watchword_directory.profiles import NewUser, UserChanges
from watchword_directory.ranks import Reach, require_rank
from watchword_directory.standing import Standing, standings
from watchword_directory.store import UnknownUser

# Claims that applications take for proved when somebody who administers entered them.
_VOUCHED: Final = ("phone_number",)


class BeyondReach(Exception):
    """It would count beyond the caller's organization. The message says what.

    field: the member of the document that says it; "" for the whole.
    """

    def __init__(self, what: str, *, field: str = "") -> None:
        super().__init__(f"{field}: {what}" if field else what)
        self.what = what
        self.field = field


class WhichOrganization(Exception):
    """The caller administers several, and did not say which one is meant."""


def require_reach(user: User, by: Reach) -> None:
    """Raises UnknownUser for somebody whose home is beyond reach."""
    if not by.has(user.organization_id):
        raise UnknownUser(user.id)


async def named_organization(session: Session, reference: str | None, by: Reach) -> Organization | None:
    """The organization that something new belongs to, by id or short name; when nothing is said, the caller's only one.

    Raises UnknownOrganization, WhichOrganization.
    """
    if reference is None:
        if by.organizations is None:
            return None
        if len(by.organizations) != 1:
            raise WhichOrganization
        reference = next(iter(by.organizations))
    found = await organization_table.get_organization(session, reference)
    if not by.has(found.id):
        raise UnknownOrganization(reference)
    return found


async def check_new(
    session: Session, new: NewUser, organization_id: str | None, by: Reach, *, vouches: bool = True
) -> None:
    """Raises BeyondReach for what an organization's administrator cannot say of somebody new.

    vouches: whether the address counts as verified.
    """
    if by.organizations is None:
        return
    if new.username in RESERVED:
        raise BeyondReach("this name is one of those that an installation uses itself", field="username")
    _check_same("attributes", new.attributes, {})
    for name in _VOUCHED:
        _check_same(name, getattr(new, name), None)
    if vouches:
        await _check_address(session, new.email, organization_id)


async def check_changes(session: Session, user: User, changes: UserChanges, standing: Standing, by: Reach) -> None:
    """Raises UnknownUser, or BeyondReach for what an organization's administrator cannot change.

    How somebody gets in (password, address, being enabled) is changed only of those who have nothing beyond the
    organization: whoever holds the account holds all that it may.
    """
    require_reach(user, by)
    if by.organizations is None:
        return
    given = changes.model_fields_set
    if changes.username is not None:
        _check_same("username", changes.username, user.username)
    if "organization" in given and changes.organization is not None:
        named = await named_organization(session, changes.organization, by)
        _check_same("organization", named.id if named is not None else None, user.organization_id)
    elif "organization" in given:
        raise BeyondReach("people stay in theirs", field="organization")
    if changes.attributes is not None:
        _check_same("attributes", changes.attributes, user.attributes)
    for name in given.intersection(_VOUCHED):
        _check_same(name, getattr(changes, name), user.profile.get(name))
    email, is_verified = changes.address_of(user)
    is_address_new = (email, is_verified) != (user.email, user.email_verified)
    if is_address_new and is_verified:
        await _check_address(session, email, user.organization_id)
    if is_address_new or changes.password is not None or (changes.active is True and not user.active):
        await require_nothing_beyond(session, user, standing, by)


async def require_nothing_beyond(session: Session, user: User, standing: Standing, by: Reach) -> None:
    """Raises UnknownUser, or BeyondReach for somebody who has a role or group that is not the organization's."""
    require_reach(user, by)
    if by.organizations is None:
        return
    elsewhere = [each for each in standing.organizations if not by.has(each.organization)]
    groups = (await group_table.find_groups_by_name(session, standing.member_of)).values()
    has_groups = not all(by.has(group.organization_id) for group in groups)
    if standing.roles or standing.permissions or elsewhere or has_groups:
        raise BeyondReach("the person has rights beyond the organization")


async def require_below(session: Session, user_ids: Collection[str], by: Reach) -> None:
    """Raises AboveOwnRank when an organization's administrator would touch somebody who stands above them."""
    if by.organizations is None:
        return
    for standing in (await standings(session, user_ids)).values():
        require_rank(standing.rank(by), by)


def require_groups(groups: Collection[Group], by: Reach) -> None:
    """Raises BeyondReach for a group of somebody else."""
    if not all(by.has(group.organization_id) for group in groups):
        raise BeyondReach("only those of the organization, which begin with its short name", field="groups")


async def within(session: Session, standings: Mapping[str, Standing], by: Reach) -> Mapping[str, Standing]:
    """Where people stand, without the groups and rights of other organizations and the installation's groups."""
    if by.organizations is None:
        return standings
    names = {name for each in standings.values() for name in each.groups}
    groups = (await group_table.find_groups_by_name(session, names)).values()
    own = {group.full_name for group in groups if by.has(group.organization_id)}
    return {
        user_id: replace(
            each,
            member_of=tuple(name for name in each.member_of if name in own),
            groups=tuple(name for name in each.groups if name in own),
            organizations=tuple(rights for rights in each.organizations if by.has(rights.organization)),
        )
        for user_id, each in standings.items()
    }


async def _check_address(session: Session, email: str | None, organization_id: str | None) -> None:
    """An address that somebody enters who administers counts as verified: of a proved domain, or none."""
    if email is None or organization_id is None:
        return
    if not await organization_table.has_proved(session, organization_id, email):
        raise BeyondReach("only an address in a domain that the organization has proved", field="email")


def _check_same(field: str, value: JsonValue, before: JsonValue) -> None:
    if value != before:
        raise BeyondReach("only an administrator of the installation says that", field=field)
