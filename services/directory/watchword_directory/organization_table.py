"""Named SQL of organizations and their domains. `get_` raises, `find_` may return None, `claim_` changes once."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, func, or_, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select
from sqlmodel.sql.expression import SelectOfScalar

from watchword_database import Session
from watchword_database.searching import holds
from watchword_directory.models import Assignment, Organization, OrganizationDomain, User
from watchword_directory.ranks import EVERYTHING, Reach

_STANDS = col(Organization.deleted_at).is_(None)
_PROVED = col(OrganizationDomain.verified_at).is_not(None)


class UnknownOrganization(LookupError):
    """There is no such organization, or no more."""


async def find_organization(
    session: Session, organization_id: str, *, by: Reach = EVERYTHING, stays: bool = False
) -> Organization | None:
    """The organization, unless unknown, deleted or beyond reach.

    stays: it is not deleted before the end of the transaction, so that something may be made that belongs to it.
    """
    statement = select(Organization).where(col(Organization.id) == organization_id, _STANDS)
    return await _found(session, statement, stays=stays) if by.has(organization_id) else None


async def find_by_short_name(session: Session, short_name: str, *, stays: bool = False) -> Organization | None:
    """The organization with this short name, in whatever letters. stays: as for `find_organization`."""
    statement = select(Organization).where(func.lower(col(Organization.short_name)) == short_name.lower(), _STANDS)
    return await _found(session, statement, stays=stays)


async def _found(session: Session, statement: SelectOfScalar[Organization], *, stays: bool) -> Organization | None:
    # Whoever makes something of it waits for whoever deletes it and finds none then, or is waited for and found.
    lasting = statement.with_for_update(read=True, key_share=True) if stays else statement
    return (await session.exec(lasting)).one_or_none()


async def get_organization(session: Session, reference: str) -> Organization:
    """The organization with this id or else short name, which is not deleted before the end of the transaction.

    Raises UnknownOrganization.
    """
    found = await find_organization(session, reference, stays=True)
    found = found or await find_by_short_name(session, reference, stays=True)
    if found is None:
        raise UnknownOrganization(reference)
    return found


async def get_organization_for_change(session: Session, organization_id: str, *, deletes: bool = False) -> Organization:
    """The organization, locked until the end of the transaction. Raises UnknownOrganization.

    deletes: after everybody who makes something that belongs to it.
    """
    statement = select(Organization).where(col(Organization.id) == organization_id, _STANDS)
    organization = (await session.exec(statement.with_for_update(key_share=not deletes))).one_or_none()
    if organization is None:
        raise UnknownOrganization(organization_id)
    return organization


async def is_deleted_organization(session: Session, organization_id: str) -> bool:
    """Whether there was such an organization, which has been deleted."""
    statement = select(col(Organization.id)).where(
        col(Organization.id) == organization_id, col(Organization.deleted_at).is_not(None)
    )
    return (await session.exec(statement)).one_or_none() is not None


async def claim_new_organization(session: Session, organization: Organization) -> bool:
    """True when the organization exists now; False when its short name or imported id belongs to another."""
    values = organization.model_dump()
    statement = insert(Organization).values(**values).on_conflict_do_nothing().returning(col(Organization.id))
    return (await session.exec(statement)).scalar_one_or_none() is not None


async def list_organizations(
    session: Session, *, after: str, limit: int, by: Reach, short_name: str | None = None, search: str | None = None
) -> Sequence[Organization]:
    """Organizations within reach in the order of their short names, those after `after`.

    search: a part of the name, of the short name or of a domain.
    """
    name = func.lower(col(Organization.short_name))
    statement = select(Organization).where(_STANDS, name > after).order_by(name).limit(limit)
    if by.organizations is not None:
        statement = statement.where(col(Organization.id).in_(by.organizations))
    if short_name is not None:
        statement = statement.where(name == short_name.lower())
    if search is not None:
        with_domain = select(col(OrganizationDomain.organization_id)).where(
            holds(search, col(OrganizationDomain.domain))
        )
        named = holds(search, col(Organization.name), col(Organization.short_name))
        statement = statement.where(or_(named, col(Organization.id).in_(with_domain)))
    return (await session.exec(statement)).all()


async def list_by_id(session: Session, *, after: str, limit: int) -> Sequence[Organization]:
    """Organizations in the order of their ids, those after `after`."""
    statement = select(Organization).where(_STANDS, col(Organization.id) > after).order_by(col(Organization.id))
    return (await session.exec(statement.limit(limit))).all()


async def export_organizations(
    session: Session, *, ids: Sequence[str], after: str, limit: int
) -> Sequence[Organization]:
    """Organizations by their ids or, without ids, the page after an id, tombstones included."""
    statement = select(Organization).order_by(col(Organization.id)).limit(limit)
    statement = statement.where(col(Organization.id).in_(ids)) if ids else statement.where(col(Organization.id) > after)
    return (await session.exec(statement)).all()


async def is_anybodys(session: Session, organization_id: str) -> bool:
    """Whether the organization is somebody's home, or somebody has a role within it."""
    home = select(col(User.id)).where(col(User.organization_id) == organization_id).limit(1)
    within = select(col(Assignment.id)).where(col(Assignment.organization_id) == organization_id).limit(1)
    return any([(await session.exec(home)).first() is not None, (await session.exec(within)).first() is not None])


# domains -------------------------------------------------------------------------------------------------------------


async def domains_of(session: Session, organization_ids: Sequence[str]) -> dict[str, list[str]]:
    """The domains that each has proved to control, sorted."""
    found: dict[str, list[str]] = {organization_id: [] for organization_id in organization_ids}
    statement = (
        select(OrganizationDomain)
        .where(col(OrganizationDomain.organization_id).in_(organization_ids), _PROVED)
        .order_by(col(OrganizationDomain.domain))
    )
    for each in (await session.exec(statement)).all():
        found[each.organization_id].append(each.domain)
    return found


async def has_proved(session: Session, organization_id: str, email: str) -> bool:
    """Whether the address is in a domain that the organization has proved to control."""
    return email.rpartition("@")[2] in (await domains_of(session, [organization_id]))[organization_id]


async def list_domains(session: Session, organization_id: str) -> Sequence[OrganizationDomain]:
    """Every domain that the organization says is its own, sorted."""
    statement = (
        select(OrganizationDomain)
        .where(col(OrganizationDomain.organization_id) == organization_id)
        .order_by(col(OrganizationDomain.domain))
    )
    return (await session.exec(statement)).all()


async def find_domain(session: Session, organization_id: str, domain: str) -> OrganizationDomain | None:
    """One of them."""
    return await session.get(OrganizationDomain, (organization_id, domain))


async def claim_new_domain(session: Session, domain: OrganizationDomain) -> bool:
    """True when the organization says so now; False when it did before."""
    statement = (
        insert(OrganizationDomain)
        .values(**domain.model_dump())
        .on_conflict_do_nothing()
        .returning(col(OrganizationDomain.domain))
    )
    return (await session.exec(statement)).scalar_one_or_none() is not None


async def claim_proof(session: Session, organization_id: str, domain: str, challenge: str, *, now: datetime) -> bool:
    """True for the one transaction that makes the domain a proved one.

    challenge: what was found; another one than the present one proves nothing. Raises IntegrityError when another
    organization has proved the domain.
    """
    statement = (
        update(OrganizationDomain)
        .where(
            col(OrganizationDomain.organization_id) == organization_id,
            col(OrganizationDomain.domain) == domain,
            col(OrganizationDomain.challenge) == challenge,
            ~_PROVED,
        )
        .values(verified_at=now)
        .returning(col(OrganizationDomain.domain))
    )
    return (await session.exec(statement)).scalar_one_or_none() is not None


async def claim_removed_domain(session: Session, organization_id: str, domain: str) -> OrganizationDomain | None:
    """The domain, which is the organization's no more; None when it was not."""
    statement = (
        delete(OrganizationDomain)
        .where(col(OrganizationDomain.organization_id) == organization_id, col(OrganizationDomain.domain) == domain)
        .returning(OrganizationDomain)
    )
    return (await session.exec(statement)).scalar_one_or_none()


async def drop_domains(session: Session, organization_id: str) -> None:
    """The organization has no domain."""
    await session.exec(delete(OrganizationDomain).where(col(OrganizationDomain.organization_id) == organization_id))
