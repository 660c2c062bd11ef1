"""`/api/v1/organizations`, with their domains."""

from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel, Field

from watchword_database import Session, transaction
from watchword_directory import organization_table, organizations
from watchword_directory.edge import Listing, Parts
from watchword_directory.models import Organization, OrganizationDomain
from watchword_directory.organization_documents import (
    DomainName,
    DomainView,
    NewDomain,
    NewOrganization,
    OrganizationChanges,
    OrganizationView,
    domain_view,
    organization_view,
)
from watchword_directory.ranks import Reach, reach_of
from watchword_directory.refusals import refusals
from watchword_directory.texts import Id, Text
from watchword_runtime.access import Caller
from watchword_runtime.callers import actor
from watchword_web.api import Page
from watchword_web.errors import Problem
from watchword_web.surfaces import Surface

log = structlog.get_logger()


class OrganizationListing(Listing):
    """Organizations by short name. search: a part of the name, of the short name or of a domain."""

    search: Text | None = None
    short_name: str | None = Field(None, max_length=64)


class DomainViews(BaseModel):
    """All domains of an organization."""

    items: list[DomainView]
    next: None = None


def routers(parts: Parts) -> list[APIRouter]:
    """For administrators; of an organization, to look at it."""
    router = APIRouter(prefix="/api/v1/organizations")
    administrator = Annotated[Caller, Depends(parts.callers.administrator)]
    domain_name = Annotated[DomainName, Path()]

    @router.post("", status_code=201)
    async def create_organization(body: NewOrganization, caller: administrator, response: Response) -> OrganizationView:
        """A new organization."""
        with refusals("organization"):
            async with transaction(parts.database) as session:
                organization = await organizations.create_organization(session, body, now=parts.now())
                shown = await _shown(session, organization)
        log.info("organization.created", organization_id=organization.id, **actor(caller))
        response.headers["Location"] = f"{parts.settings.public_url}/api/v1/organizations/{organization.id}"
        return shown

    @router.get("")
    async def list_organizations(
        listing: Annotated[OrganizationListing, Query()], caller: administrator
    ) -> Page[OrganizationView]:
        """Organizations in the order of their short names."""
        async with transaction(parts.database) as session:
            found = await organization_table.list_organizations(
                session,
                after=listing.after(parts.cursor),
                limit=listing.limit + 1,
                by=reach_of(caller),
                short_name=listing.short_name,
                search=listing.search,
            )
            shown = found[: listing.limit]
            domains = await organization_table.domains_of(session, [each.id for each in shown])
        more = len(found) > listing.limit
        return Page(
            items=[organization_view(each, domains[each.id]) for each in shown],
            next=parts.cursor.make(listing.name, shown[-1].short_name.lower()) if more else None,
        )

    @router.get("/{organization_id}")
    async def get_organization(organization_id: Id, caller: administrator) -> OrganizationView:
        """One organization."""
        with refusals("organization"):
            async with transaction(parts.database) as session:
                return await _shown(session, await _found(session, organization_id, reach_of(caller)))

    async def change(organization_id: str, changes: OrganizationChanges, caller: Caller) -> OrganizationView:
        with refusals("organization"):
            async with transaction(parts.database) as session:
                organization, due = await organizations.change_organization(
                    session, organization_id, changes, now=parts.now()
                )
                shown = await _shown(session, organization)
        await parts.claims.settle(due)
        fields = sorted(changes.model_fields_set)
        log.info("organization.changed", organization_id=organization_id, fields=fields, **actor(caller))
        return shown

    @router.put("/{organization_id}")
    async def replace_organization(
        organization_id: Id, body: NewOrganization, caller: administrator
    ) -> OrganizationView:
        """The organization as described; imported ids that are left out are removed. The short name stays."""
        return await change(organization_id, body.as_changes(), caller)

    @router.patch("/{organization_id}")
    async def update_organization(
        organization_id: Id, body: OrganizationChanges, caller: administrator
    ) -> OrganizationView:
        """The fields that are present change."""
        return await change(organization_id, body, caller)

    @router.delete("/{organization_id}", status_code=204)
    async def delete_organization(organization_id: Id, caller: administrator) -> None:
        """The organization is gone. Refused while it has people, groups or roles."""
        with refusals("organization"):
            async with transaction(parts.database) as session:
                await organizations.delete_organization(session, organization_id, now=parts.now())
        log.info("organization.deleted", organization_id=organization_id, **actor(caller))

    @router.get("/{organization_id}/domains")
    async def list_organization_domains(organization_id: Id, caller: administrator) -> DomainViews:
        """Every domain that the organization says is its own, each with the record that proves it."""
        with refusals("organization"):
            async with transaction(parts.database) as session:
                await _found(session, organization_id, reach_of(caller))
                found = await organization_table.list_domains(session, organization_id)
        return DomainViews(items=[domain_view(each) for each in found])

    @router.post("/{organization_id}/domains", status_code=201)
    async def add_organization_domain(organization_id: Id, body: NewDomain, caller: administrator) -> DomainView:
        """The organization says that a domain is its own. The answer has the DNS record that proves it."""
        with refusals("organization"):
            async with transaction(parts.database) as session:
                added = await organizations.add_domain(session, organization_id, body.domain, now=parts.now())
        log.info("organization.domain_added", organization_id=organization_id, domain=body.domain, **actor(caller))
        return domain_view(added)

    @router.post("/{organization_id}/domains/{domain}/verify")
    async def verify_organization_domain(
        organization_id: Id, domain: domain_name, caller: administrator, request: Request
    ) -> DomainView:
        """The DNS is asked now whether it has the record; `verified_at` says whether it has.

        Refused for a domain that another organization has proved.
        """
        parts.dns_questions.check(parts.address(request), parts.now(), Surface.API)
        with refusals("organization"):
            async with transaction(parts.database) as session:
                await _found(session, organization_id, reach_of(caller))
                known = await organization_table.find_domain(session, organization_id, domain)
            if known is None:
                raise _no_domain()
            if known.verified_at is None and known.challenge in await parts.domains.challenges(domain):
                known = await _proved(parts, known)
        is_proved = known.verified_at is not None
        log.info("organization.domain_looked_at", organization_id=organization_id, proved=is_proved, **actor(caller))
        return domain_view(known)

    @router.delete("/{organization_id}/domains/{domain}", status_code=204)
    async def remove_organization_domain(organization_id: Id, domain: domain_name, caller: administrator) -> None:
        """The domain is not the organization's any more."""
        with refusals("organization"):
            async with transaction(parts.database) as session:
                removed = await organizations.remove_domain(session, organization_id, domain, now=parts.now())
        if not removed:
            raise _no_domain()
        log.info("organization.domain_removed", organization_id=organization_id, domain=domain, **actor(caller))

    return [router]


async def _found(session: Session, organization_id: str, by: Reach) -> Organization:
    found = await organization_table.find_organization(session, organization_id, by=by)
    if found is None:
        raise organization_table.UnknownOrganization(organization_id)
    return found


async def _shown(session: Session, organization: Organization) -> OrganizationView:
    await session.flush()
    domains = await organization_table.domains_of(session, [organization.id])
    return organization_view(organization, domains[organization.id])


async def _proved(parts: Parts, known: OrganizationDomain) -> OrganizationDomain:
    """The domain as it stands once its proof was found. Raises DomainTaken."""
    async with transaction(parts.database) as session:
        await organizations.prove_domain(session, known.organization_id, known.domain, known.challenge, now=parts.now())
    async with transaction(parts.database) as session:
        found = await organization_table.find_domain(session, known.organization_id, known.domain)
    if found is None:
        raise _no_domain()
    return found


def _no_domain() -> Problem:
    return Problem(404, "No such domain", "The organization has not said that this domain is its own.")
