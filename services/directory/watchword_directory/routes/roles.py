"""`/api/v1/roles` and `/api/v1/assignments`."""

from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Query, Response
from pydantic import Field

from watchword_database import transaction
from watchword_directory import role_table, roles
from watchword_directory.edge import Listing, Parts
from watchword_directory.ranks import reach_of
from watchword_directory.refusals import refusals
from watchword_directory.role_documents import (
    AssignmentView,
    NewAssignment,
    NewRole,
    RoleChanges,
    RoleView,
    assignment_view,
    role_view,
)
from watchword_directory.texts import Id, Text
from watchword_runtime.access import Caller
from watchword_runtime.callers import actor
from watchword_web.api import Page
from watchword_web.errors import Problem

log = structlog.get_logger()


class RoleListing(Listing):
    """Roles by name. search: a part of the name or of the description."""

    search: Text | None = None
    name_: str | None = Field(None, max_length=128, alias="name")


class AssignmentListing(Listing):
    """Who has a role, what somebody has, or what counts within an organization; all by id."""

    role: Id | None = None
    user: Id | None = None
    group: Id | None = None
    organization: Id | None = None


def routers(parts: Parts) -> list[APIRouter]:
    """For administrators; of an organization, to see all roles, and to give them within it."""
    return [_role_router(parts), _assignment_router(parts)]


def _role_router(parts: Parts) -> APIRouter:
    router = APIRouter(prefix="/api/v1/roles")
    administrator = Annotated[Caller, Depends(parts.callers.administrator)]

    @router.post("", status_code=201)
    async def create_role(body: NewRole, caller: administrator, response: Response) -> RoleView:
        """A new role, which nobody has yet."""
        with refusals("role"):
            async with transaction(parts.database) as session:
                role = await roles.create_role(session, body, now=parts.now())
        log.info("role.created", role_id=role.id, **actor(caller))
        response.headers["Location"] = f"{parts.settings.public_url}/api/v1/roles/{role.id}"
        return role_view(role)

    @router.get("")
    async def list_roles(listing: Annotated[RoleListing, Query()], _caller: administrator) -> Page[RoleView]:
        """Roles in the order of their names, Watchword's own among them."""
        async with transaction(parts.database) as session:
            found = await role_table.list_roles(
                session,
                after=listing.after(parts.cursor),
                limit=listing.limit + 1,
                name=listing.name_,
                search=listing.search,
            )
        shown = [role_view(role) for role in found[: listing.limit]]
        more = len(found) > listing.limit
        return Page(items=shown, next=parts.cursor.make(listing.name, shown[-1].name.lower()) if more else None)

    @router.get("/{role_id}")
    async def get_role(role_id: Id, _caller: administrator) -> RoleView:
        """One role."""
        with refusals("role"):
            async with transaction(parts.database) as session:
                role = await role_table.find_role(session, role_id)
                if role is None:
                    raise role_table.UnknownRole(role_id)
        return role_view(role)

    async def change(role_id: str, changes: RoleChanges, caller: Caller) -> RoleView:
        with refusals("role"):
            async with transaction(parts.database) as session:
                role, due = await roles.change_role(session, role_id, changes, now=parts.now())
        await parts.claims.settle(due)
        log.info("role.changed", role_id=role_id, fields=sorted(changes.model_fields_set), **actor(caller))
        return role_view(role)

    @router.put("/{role_id}")
    async def replace_role(role_id: Id, body: NewRole, caller: administrator) -> RoleView:
        """The role as described; whoever has it learns of it at once, a great many of them within moments."""
        return await change(role_id, body.as_changes(), caller)

    @router.patch("/{role_id}")
    async def update_role(role_id: Id, body: RoleChanges, caller: administrator) -> RoleView:
        """The fields that are present change."""
        return await change(role_id, body, caller)

    @router.delete("/{role_id}", status_code=204)
    async def delete_role(role_id: Id, caller: administrator) -> None:
        """The role is gone; nobody has it any more."""
        with refusals("role"):
            async with transaction(parts.database) as session:
                due = await roles.delete_role(session, role_id, now=parts.now())
        await parts.claims.settle(due)
        log.info("role.deleted", role_id=role_id, **actor(caller))

    return router


def _assignment_router(parts: Parts) -> APIRouter:
    router = APIRouter(prefix="/api/v1/assignments")
    administrator = Annotated[Caller, Depends(parts.callers.administrator)]

    @router.post("", status_code=201)
    async def give_role(body: NewAssignment, caller: administrator, response: Response) -> AssignmentView:
        """A user or a group has a role, everywhere or within one organization; 200 when it had it before."""
        with refusals("assignment"):
            async with transaction(parts.database) as session:
                given, is_new, due = await roles.give_role(session, body, by=reach_of(caller), now=parts.now())
        await parts.claims.settle(due)
        log.info("role.given", assignment_id=given.id, role_id=given.role_id, is_new=is_new, **actor(caller))
        response.status_code = 201 if is_new else 200
        response.headers["Location"] = f"{parts.settings.public_url}/api/v1/assignments/{given.id}"
        return assignment_view(given)

    @router.get("")
    async def list_assignments(
        listing: Annotated[AssignmentListing, Query()], caller: administrator
    ) -> Page[AssignmentView]:
        """Assignments, oldest first."""
        async with transaction(parts.database) as session:
            found = await role_table.list_assignments(
                session,
                after=listing.after(parts.cursor),
                limit=listing.limit + 1,
                by=reach_of(caller),
                role_id=listing.role,
                user_id=listing.user,
                group_id=listing.group,
                organization_id=listing.organization,
            )
        shown = [assignment_view(each) for each in found[: listing.limit]]
        more = len(found) > listing.limit
        return Page(items=shown, next=parts.cursor.make(listing.name, shown[-1].id) if more else None)

    @router.get("/{assignment_id}")
    async def get_assignment(assignment_id: Id, caller: administrator) -> AssignmentView:
        """One assignment."""
        async with transaction(parts.database) as session:
            found = await role_table.find_assignment(session, assignment_id, by=reach_of(caller))
        if found is None:
            raise _no_assignment()
        return assignment_view(found)

    @router.delete("/{assignment_id}", status_code=204)
    async def take_role(assignment_id: Id, caller: administrator) -> None:
        """The user or group does not have the role any more."""
        with refusals("assignment"):
            async with transaction(parts.database) as session:
                due = await roles.take_role(session, assignment_id, by=reach_of(caller), now=parts.now())
        if due is None:
            raise _no_assignment()
        await parts.claims.settle(due)
        log.info("role.taken", assignment_id=assignment_id, **actor(caller))

    return router


def _no_assignment() -> Problem:
    return Problem(404, "No such assignment", "There is no assignment with this id.")
