"""Organizations, which `directory` owns: what is bound to one holds its id; people and documents say its short name."""

from collections.abc import Iterable, Mapping
from typing import Final

from sqlmodel import col, select

from watchword_admin.models import OrganizationCopy
from watchword_database import Session
from watchword_events.exports import OrganizationExport
from watchword_runtime.copies import Copy

# What somebody may concern themselves with: what belongs to one of these organizations; None for everything.
Reach = frozenset[str] | None
# The ids of those that there were.
GONE: Final = select(col(OrganizationCopy.id)).where(col(OrganizationCopy.deleted))


class NoSuchOrganization(Exception):
    """Something would be bound to an organization that there is not."""


class BeyondReach(Exception):
    """Something would count beyond the organizations that the caller administers."""


def is_within(reach: Reach, organization: str | None) -> bool:
    """Whether what is bound to an organization (None: to none) is within reach."""
    return reach is None or organization in reach


def require_within(reach: Reach, organization: str | None) -> None:
    """Raises BeyondReach."""
    if not is_within(reach, organization):
        raise BeyondReach


async def organization_id(organizations: Copy[OrganizationExport], named: str, reach: Reach = None) -> str:
    """The id of an organization within reach that is called by its id or its short name. Raises NoSuchOrganization."""
    found = await organizations.get(named) or await organizations.find(short_name=named)
    if found is None or not is_within(reach, found.id):
        raise NoSuchOrganization(named)
    return found.id


async def short_names(session: Session, ids: Iterable[str | None]) -> Mapping[str, str]:
    """The short name of each of these organizations that is known here."""
    wanted = {each for each in ids if each is not None}
    statement = select(col(OrganizationCopy.id), col(OrganizationCopy.short_name)).where(
        col(OrganizationCopy.id).in_(wanted), col(OrganizationCopy.short_name).is_not(None)
    )
    return {row[0]: str(row[1]) for row in (await session.exec(statement)).all()} if wanted else {}


async def is_gone(session: Session, organization: str) -> bool:
    """Whether there was an organization with this id."""
    return (await session.exec(GONE.where(col(OrganizationCopy.id) == organization))).first() is not None
