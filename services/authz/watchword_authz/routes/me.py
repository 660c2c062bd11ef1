"""`/api/v1/me`: who calls, and the applications that are theirs to use."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel

from watchword_authz.applications import usable
from watchword_authz.context import Context
from watchword_authz.routes.edge import address_of
from watchword_events.exports import UserExport
from watchword_runtime.access import Caller
from watchword_web.api import DEFAULT_LIMIT, MAX_LIMIT, Page, ProblemDocument
from watchword_web.errors import Problem

_ERRORS: dict[int | str, dict[str, object]] = {401: {"model": ProblemDocument}, 403: {"model": ProblemDocument}}


class Me(BaseModel):
    """Who calls. groups: by full name.  roles, permissions: those that hold everywhere.

    client_id: through which client; null for an API key.
    """

    id: str
    username: str
    name: str | None
    email: str | None
    email_verified: bool
    organization: str | None
    groups: list[str]
    roles: list[str]
    permissions: list[str]
    client_id: str | None


class Application(BaseModel):
    """A client that the caller may use. main_uri: where it begins."""

    client_id: str
    client_name: str
    short_name: str | None
    description: str | None
    main_uri: str | None


def router(context: Context) -> APIRouter:
    """For every person, about nobody else."""
    api = APIRouter(prefix="/api/v1/me", tags=["account"], responses=_ERRORS)
    person = Annotated[Caller, Depends(context.callers.person)]

    @api.get("", summary="Who calls")
    async def get_me(caller: person) -> Me:
        user = await _user(context, caller)
        name = user.claims.get("name")
        return Me(
            id=user.id,
            username=user.username,
            name=name if isinstance(name, str) else None,
            email=user.email,
            email_verified=user.email_verified,
            organization=user.organization,
            groups=list(user.groups),
            roles=list(user.roles),
            permissions=list(user.permissions),
            client_id=caller.client_id,
        )

    @api.get("/applications", summary="List the applications that the caller may use")
    async def list_my_applications(
        request: Request,
        caller: person,
        cursor: Annotated[str | None, Query(min_length=1, max_length=1024)] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
    ) -> Page[Application]:
        """In the order of their ids: those with the required permission, where access rules let the person in."""
        user = await _user(context, caller)
        after = "" if cursor is None else str(context.cursor.read("applications", cursor)[0])
        found: list[Application] = []
        async for client in usable(context, user, after=after, address=address_of(context, request)):
            found.append(Application.model_validate(client, from_attributes=True))
            if len(found) > limit:
                break
        more = context.cursor.make("applications", found[limit - 1].client_id) if len(found) > limit else None
        return Page(items=found[:limit], next=more)

    return api


async def _user(context: Context, caller: Caller) -> UserExport:
    user = await context.users.get(caller.person_id)
    if user is None:
        raise Problem(401, "Not signed in", "The credential is unknown, expired or revoked.")
    return user
