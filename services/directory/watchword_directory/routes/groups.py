"""`/api/v1/groups`, with their members."""

from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Query, Response
from pydantic import Field

from watchword_database import Session, transaction
from watchword_directory import group_table, groups
from watchword_directory.delegation import named_organization
from watchword_directory.edge import Listing, Parts
from watchword_directory.group_documents import (
    GroupChanges,
    GroupView,
    MemberChanges,
    MemberView,
    NewGroup,
    group_view,
    member_view,
)
from watchword_directory.models import Group
from watchword_directory.ranks import Reach, reach_of
from watchword_directory.refusals import refusals
from watchword_directory.texts import Id, Text
from watchword_runtime.access import Caller
from watchword_runtime.callers import actor
from watchword_web.api import Page
from watchword_web.errors import FieldError, Problem

log = structlog.get_logger()


class GroupListing(Listing):
    """Groups by full name, or of one organization. search: a part of the full name or of the description."""

    search: Text | None = None
    full_name: str | None = Field(None, max_length=320)
    organization: Id | None = None


class MemberListing(Listing):
    """Members of a group."""


def routers(parts: Parts) -> list[APIRouter]:
    """For administrators; of an organization, for its groups alone."""
    router = APIRouter(prefix="/api/v1/groups")
    administrator = Annotated[Caller, Depends(parts.callers.administrator)]

    @router.post("", status_code=201)
    async def create_group(body: NewGroup, caller: administrator, response: Response) -> GroupView:
        """A new group, without members."""
        with refusals("group"):
            async with transaction(parts.database) as session:
                group = await groups.create_group(session, body, by=reach_of(caller), now=parts.now())
                shown = await _shown(session, group, reach_of(caller))
        log.info("group.created", group_id=group.id, **actor(caller))
        response.headers["Location"] = f"{parts.settings.public_url}/api/v1/groups/{group.id}"
        return shown

    @router.get("")
    async def list_groups(listing: Annotated[GroupListing, Query()], caller: administrator) -> Page[GroupView]:
        """Groups in the order of their full names."""
        async with transaction(parts.database) as session:
            found = await group_table.list_groups(
                session,
                after=listing.after(parts.cursor),
                limit=listing.limit + 1,
                by=reach_of(caller),
                full_name=listing.full_name,
                organization_id=listing.organization,
                search=listing.search,
            )
            shown = found[: listing.limit]
            parents = await group_table.parents_of(session, [group.id for group in shown], by=reach_of(caller))
        more = len(found) > listing.limit
        return Page(
            items=[group_view(group, parents[group.id]) for group in shown],
            next=parts.cursor.make(listing.name, shown[-1].full_name.lower()) if more else None,
        )

    @router.get("/{group_id}")
    async def get_group(group_id: Id, caller: administrator) -> GroupView:
        """One group."""
        with refusals("group"):
            async with transaction(parts.database) as session:
                group = await group_table.find_group(session, group_id, by=reach_of(caller))
                if group is None:
                    raise group_table.UnknownGroup(group_id)
                return await _shown(session, group, reach_of(caller))

    async def change(
        group_id: str, changes: GroupChanges, caller: Caller, organization: str | None = None
    ) -> GroupView:
        async with transaction(parts.database) as session:
            group, due = await groups.change_group(session, group_id, changes, by=reach_of(caller), now=parts.now())
            if organization is not None:
                await _check_organization(session, group, organization, reach_of(caller))
            shown = await _shown(session, group, reach_of(caller))
        await parts.claims.settle(due)
        log.info("group.changed", group_id=group_id, fields=sorted(changes.model_fields_set), **actor(caller))
        return shown

    @router.put("/{group_id}")
    async def replace_group(group_id: Id, body: NewGroup, caller: administrator) -> GroupView:
        """The group as described; what is left out is removed, except its organization, which stays for ever."""
        with refusals("group"):
            return await change(group_id, body.as_changes(), caller, body.organization)

    @router.patch("/{group_id}")
    async def update_group(group_id: Id, body: GroupChanges, caller: administrator) -> GroupView:
        """The fields that are present change; members learn of it at once, a great many of them within moments."""
        with refusals("group"):
            return await change(group_id, body, caller)

    @router.delete("/{group_id}", status_code=204)
    async def delete_group(group_id: Id, caller: administrator) -> None:
        """The group is gone, with its roles; nobody is in it any more."""
        with refusals("group"):
            async with transaction(parts.database) as session:
                due = await groups.delete_group(session, group_id, by=reach_of(caller), now=parts.now())
        await parts.claims.settle(due)
        log.info("group.deleted", group_id=group_id, **actor(caller))

    @router.get("/{group_id}/members")
    async def list_group_members(
        group_id: Id, listing: Annotated[MemberListing, Query()], caller: administrator
    ) -> Page[MemberView]:
        """Users who were put in the group itself, in the order of their ids."""
        with refusals("group"):
            async with transaction(parts.database) as session:
                if await group_table.find_group(session, group_id, by=reach_of(caller)) is None:
                    raise group_table.UnknownGroup(group_id)
                name = f"{listing.name}:{group_id}"
                after = str(parts.cursor.read(name, listing.cursor)[0]) if listing.cursor else ""
                found = await group_table.list_members(
                    session, group_id, after=after, limit=listing.limit + 1, by=reach_of(caller)
                )
        shown = [member_view(membership) for membership in found[: listing.limit]]
        more = len(found) > listing.limit
        return Page(items=shown, next=parts.cursor.make(name, shown[-1].user_id) if more else None)

    @router.post("/{group_id}/members", status_code=204)
    async def change_group_members(group_id: Id, body: MemberChanges, caller: administrator) -> None:
        """Users come into the group and leave it: all of them, or none when one to add does not exist."""
        with refusals("group"):
            async with transaction(parts.database) as session:
                await groups.change_members(
                    session,
                    group_id,
                    add=body.add,
                    remove=body.remove,
                    by=reach_of(caller),
                    now=parts.now(),
                )
        log.info(
            "group.members_changed", group_id=group_id, added=len(body.add), removed=len(body.remove), **actor(caller)
        )

    return [router]


async def _shown(session: Session, group: Group, by: Reach) -> GroupView:
    await session.flush()
    return group_view(group, (await group_table.parents_of(session, [group.id], by=by))[group.id])


async def _check_organization(session: Session, group: Group, reference: str, by: Reach) -> None:
    """Raises Problem unless that is the group's organization, UnknownOrganization for one beyond reach."""
    named = await named_organization(session, reference, by)
    if named is None or named.id != group.organization_id:
        error: FieldError = {"pointer": "#/organization", "detail": "a group stays where it was made"}
        raise Problem(409, "A group stays in its organization", errors=[error])
