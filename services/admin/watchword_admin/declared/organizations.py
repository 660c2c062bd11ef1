"""Documents that belong to an organization: they name it by its short name, and are stored with its id."""

from watchword_admin.edge import Parts, refusals
from watchword_admin.organizations import NoSuchOrganization, is_gone, organization_id, short_names
from watchword_database import Session


async def organization_of(parts: Parts, named: str | None, *, is_rehearsal: bool) -> str | None:
    """The organization's id; in a rehearsal it may not exist yet, and keeps its name. Raises Problem."""
    if named is None:
        return None
    with refusals("organization"):
        try:
            return await organization_id(parts.organizations, named)
        except NoSuchOrganization:
            if is_rehearsal:
                return named
            raise


async def organization_called(session: Session, organization: str | None) -> str | None:
    """The short name of an organization, or else what is stored; None for one that is gone: nobody can name it."""
    if organization is None or await is_gone(session, organization):
        return None
    return (await short_names(session, [organization])).get(organization, organization)
