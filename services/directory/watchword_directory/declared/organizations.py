"""Organizations as declared documents."""

from collections.abc import Sequence

from watchword_database import Session
from watchword_directory import organization_table, organizations
from watchword_directory.edge import Parts
from watchword_directory.models import Organization
from watchword_directory.organization_documents import NewOrganization
from watchword_directory.refusals import refusals
from watchword_runtime.declared import Existing, Kind, Run, Written


class Organizations(Kind[NewOrganization]):
    """Organizations, by their short name. Their domains are proved with the DNS, not declared."""

    name = "Organization"
    model = NewOrganization

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def find(self, run: Run, wanted: NewOrganization) -> Existing | None:
        """By `short_name`."""
        found = await organization_table.find_by_short_name(run.session, wanted.short_name)
        return None if found is None else _existing(found)

    async def create(self, run: Run, wanted: NewOrganization, prepared: None) -> Written:
        """It exists, without people."""
        with refusals("organization"):
            return Written(_existing(await organizations.create_organization(run.session, wanted, now=run.now)))

    async def change(self, run: Run, existing: Existing, wanted: NewOrganization, prepared: None) -> Written:
        """As `PUT` does."""
        with refusals("organization"):
            changed, due = await organizations.change_organization(
                run.session, existing.id, wanted.as_changes(), now=run.now
            )
        run.afterwards.append(lambda: self._parts.claims.settle(due))
        return Written(_existing(changed))

    async def delete(self, run: Run, existing: Existing) -> None:
        """It is gone, if nobody and nothing belongs to it."""
        with refusals("organization"):
            await organizations.delete_organization(run.session, existing.id, now=run.now)

    async def page(self, session: Session, after: str, limit: int) -> Sequence[Existing]:
        """All of them."""
        return [_existing(each) for each in await organization_table.list_by_id(session, after=after, limit=limit)]


def _existing(organization: Organization) -> Existing:
    members = organization.model_dump(mode="json", include=set(NewOrganization.model_fields))
    return Existing(organization.id, organization.short_name, members)
