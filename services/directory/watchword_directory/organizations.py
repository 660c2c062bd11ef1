"""Organizations and their domains: the changes that administrators make, each with its events."""

import secrets
from datetime import datetime

from sqlalchemy.exc import IntegrityError

from watchword_database import Session
from watchword_database.ids import new_id
from watchword_database.turns import take_turn
from watchword_directory import group_table, organization_table, scim_tokens
from watchword_directory.claims import Source, rise_behind
from watchword_directory.models import Behind, Organization, OrganizationDomain
from watchword_directory.organization_documents import NewOrganization, OrganizationChanges
from watchword_directory.organization_table import UnknownOrganization
from watchword_events.contracts import OrganizationCreated, OrganizationDeleted, OrganizationUpdated


class OrganizationExists(Exception):
    """Another organization has this short name or imported id. field: which of them."""

    def __init__(self, field: str) -> None:
        super().__init__(field)
        self.field = field


class ShortNameStays(Exception):
    """A short name stands in tokens and rules, and so is never changed."""


class NotEmpty(Exception):
    """The organization has people, groups or roles yet."""


class DomainTaken(Exception):
    """Another organization has proved to control this domain."""


async def create_organization(session: Session, new: NewOrganization, *, now: datetime) -> Organization:
    """The organization exists. Raises OrganizationExists. Appends OrganizationCreated."""
    await take_turn(session, group_table.NAMES)
    if await group_table.has_groups_named_under(session, new.short_name):
        raise OrganizationExists("short_name")  # a group of before would pass for one of the organization's
    organization = Organization(
        id=new_id(),
        version=1,
        short_name=new.short_name,
        name=new.name,
        external_id=new.external_id,
        domain_id=new.domain_id,
        created_at=now,
        updated_at=now,
    )
    if not await organization_table.claim_new_organization(session, organization):
        taken = await organization_table.find_by_short_name(session, new.short_name)
        raise OrganizationExists("short_name" if taken else "external_id")
    session.emit(OrganizationCreated(id=organization.id, version=1))
    return organization


async def change_organization(
    session: Session, organization_id: str, changes: OrganizationChanges, *, now: datetime
) -> tuple[Organization, list[int]]:
    """The organization as changed, and who is due to learn of it; nothing happens when nothing differs.

    Raises UnknownOrganization, OrganizationExists, ShortNameStays. Appends OrganizationUpdated.
    """
    organization = await organization_table.get_organization_for_change(session, organization_id)
    given = changes.model_fields_set
    if changes.short_name is not None and changes.short_name != organization.short_name:
        raise ShortNameStays(organization_id)
    before = (organization.name, organization.external_id, organization.domain_id)
    if changes.name is not None:
        organization.name = changes.name
    if "external_id" in given:
        organization.external_id = changes.external_id
    if "domain_id" in given:
        organization.domain_id = changes.domain_id
    after = (organization.name, organization.external_id, organization.domain_id)
    # 5 and "5" are two ids, but 5 == 5.0 == True in Python: compared with their types.
    if [(type(each), each) for each in before] == [(type(each), each) for each in after]:
        return organization, []
    await _rise(session, organization, now=now)
    session.emit(OrganizationUpdated(id=organization_id, version=organization.version))
    return organization, await rise_behind(session, [Source(Behind.ORGANIZATION, organization_id)], now=now)


async def delete_organization(session: Session, organization_id: str, *, now: datetime) -> None:
    """The organization is gone. Doing it again changes nothing.

    Raises UnknownOrganization for one that never was, NotEmpty. Appends OrganizationDeleted.
    """
    try:
        organization = await organization_table.get_organization_for_change(session, organization_id, deletes=True)
    except UnknownOrganization:
        if await organization_table.is_deleted_organization(session, organization_id):
            return
        raise
    if await group_table.has_groups(session, organization_id):
        raise NotEmpty(organization_id)
    if await organization_table.is_anybodys(session, organization_id):
        raise NotEmpty(organization_id)
    await organization_table.drop_domains(session, organization_id)
    await scim_tokens.revoke_tokens_of(session, organization_id, now=now)
    organization.deleted_at = now
    await _rise(session, organization, now=now)
    session.emit(OrganizationDeleted(id=organization_id, version=organization.version))


async def add_domain(session: Session, organization_id: str, domain: str, *, now: datetime) -> OrganizationDomain:
    """The organization says that the domain is its own; what proves it is asked of the DNS. As before if it did before.

    Raises UnknownOrganization.
    """
    await organization_table.get_organization_for_change(session, organization_id)
    made = OrganizationDomain(
        organization_id=organization_id, domain=domain, challenge=secrets.token_urlsafe(24), created_at=now
    )
    if await organization_table.claim_new_domain(session, made):
        return made
    found = await organization_table.find_domain(session, organization_id, domain)
    return found if found is not None else made


async def prove_domain(session: Session, organization_id: str, domain: str, challenge: str, *, now: datetime) -> bool:
    """Whether the organization has proved the domain with this challenge, now or before.

    Raises UnknownOrganization, DomainTaken. Appends OrganizationUpdated when it is proved now.
    """
    organization = await organization_table.get_organization_for_change(session, organization_id)
    try:
        proved = await organization_table.claim_proof(session, organization_id, domain, challenge, now=now)
    except IntegrityError as error:
        raise DomainTaken(domain) from error
    if not proved:
        found = await organization_table.find_domain(session, organization_id, domain)
        return found is not None and found.verified_at is not None
    await _rise(session, organization, now=now)
    session.emit(OrganizationUpdated(id=organization_id, version=organization.version))
    return True


async def remove_domain(session: Session, organization_id: str, domain: str, *, now: datetime) -> bool:
    """Whether the domain was the organization's; it is no more. Raises UnknownOrganization.

    Appends OrganizationUpdated for one that was proved.
    """
    organization = await organization_table.get_organization_for_change(session, organization_id)
    removed = await organization_table.claim_removed_domain(session, organization_id, domain)
    if removed is None:
        return False
    if removed.verified_at is not None:
        await _rise(session, organization, now=now)
        session.emit(OrganizationUpdated(id=organization_id, version=organization.version))
    return True


async def _rise(session: Session, organization: Organization, *, now: datetime) -> None:
    organization.version += 1
    organization.updated_at = now
    try:
        await session.flush()
    except IntegrityError as error:
        raise OrganizationExists("external_id") from error
