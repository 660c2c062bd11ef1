"""Groups as declared documents, with the roles that they have. Who is in one stands with the people."""

from collections.abc import Sequence

from watchword_database import Session
from watchword_directory import group_table, groups, organization_table
from watchword_directory.edge import Parts
from watchword_directory.group_documents import NewGroup
from watchword_directory.models import Group
from watchword_directory.ranks import reach_of
from watchword_directory.refusals import refusals
from watchword_runtime.declared import Existing, Kind, Members, Run, Written
from watchword_web.errors import FieldError, Problem


class Groups(Kind[NewGroup]):
    """Groups, by organization and name."""

    name = "Group"
    model = NewGroup
    after = ("Organization",)

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def called(self, wanted: NewGroup) -> Sequence[str]:
        """By its full name."""
        return [groups.SEPARATOR.join(filter(None, (wanted.organization, wanted.name))).lower()]

    def needs(self, wanted: NewGroup) -> Sequence[str]:
        """The groups in which it lies."""
        return [name.lower() for name in wanted.parents]

    async def find(self, run: Run, wanted: NewGroup) -> Existing | None:
        """By `organization` and `name`."""
        full_name = wanted.name
        if wanted.organization is not None:
            with refusals("group"):
                organization = await organization_table.get_organization(run.session, wanted.organization)
            full_name = f"{organization.short_name}{groups.SEPARATOR}{wanted.name}"
        found = (await group_table.find_groups_by_name(run.session, [full_name])).get(full_name.lower())
        if found is None:
            return None
        if wanted.organization is None and found.organization_id is not None:
            error: FieldError = {"pointer": "#/organization", "detail": "it is of an organization: name that"}
            raise Problem(409, "A group of an organization", errors=[error])
        return await _existing(run.session, found)

    async def create(self, run: Run, wanted: NewGroup, prepared: None) -> Written:
        """It exists, without members."""
        with refusals("group"):
            made = await groups.create_group(run.session, wanted, by=reach_of(run.caller), now=run.now)
        return Written(await _existing(run.session, made))

    async def change(self, run: Run, existing: Existing, wanted: NewGroup, prepared: None) -> Written:
        """As `PUT` does."""
        with refusals("group"):
            changed, due = await groups.change_group(
                run.session, existing.id, wanted.as_changes(), by=reach_of(run.caller), now=run.now
            )
        run.afterwards.append(lambda: self._parts.claims.settle(due))
        return Written(await _existing(run.session, changed))

    async def delete(self, run: Run, existing: Existing) -> None:
        """It is gone with its roles, and nobody is in it."""
        with refusals("group"):
            due = await groups.delete_group(run.session, existing.id, by=reach_of(run.caller), now=run.now)
        run.afterwards.append(lambda: self._parts.claims.settle(due))

    async def page(self, session: Session, after: str, limit: int) -> Sequence[Existing]:
        """All of them."""
        return [
            await _existing(session, each) for each in await group_table.list_by_id(session, after=after, limit=limit)
        ]


async def _existing(session: Session, group: Group) -> Existing:
    await session.flush()
    prefix = group.full_name[: len(group.full_name) - len(group.name)].rstrip(groups.SEPARATOR)
    members: Members = {
        "name": group.name,
        "organization": prefix or None,
        "description": group.description,
        "parents": list((await group_table.parents_of(session, [group.id]))[group.id]),
    }
    return Existing(group.id, group.full_name, members)
