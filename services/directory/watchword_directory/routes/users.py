"""`/api/v1/users`."""

from collections.abc import Collection, Sequence
from typing import Annotated, Final

import structlog
from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict

from watchword_database import Session, transaction
from watchword_directory import merging, roles, store, users
from watchword_directory.delegation import within
from watchword_directory.edge import Listing, Parts
from watchword_directory.models import User
from watchword_directory.profiles import NewUser, Password, UserChanges, UserView, VouchedChanges, view
from watchword_directory.ranks import Reach, reach_of
from watchword_directory.refusals import refusals
from watchword_directory.role_documents import RightsView, UserRoles, rights_view
from watchword_directory.standing import standing_of, standings
from watchword_directory.texts import Email, Id, Text, Username
from watchword_policy.administration import permission_of
from watchword_runtime.access import Caller
from watchword_runtime.callers import actor
from watchword_runtime.receipts import Ending, RevokingRoute
from watchword_web.api import Page
from watchword_web.errors import Problem

log = structlog.get_logger()

_GROUPS: Final = permission_of("PATCH", "/api/v1/groups")
_RIGHTS: Final = frozenset({"groups", "organization", "attributes"})


class UserListing(Listing):
    """Users by name or address, of an organization, or those who are active or not.

    search: a part of the user name, of the address or of the name.
    """

    search: Text | None = None
    username: Username | None = None
    email: Email | None = None
    organization: Id | None = None
    active: bool | None = None


class Other(BaseModel):
    """Another account. user: its id."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    user: Id


def routers(parts: Parts) -> list[APIRouter]:
    """For administrators; of an organization, for its people alone."""
    router = APIRouter(prefix="/api/v1/users", route_class=RevokingRoute)
    administrator = Annotated[Caller, Depends(parts.callers.administrator)]
    ending_of = Annotated[Ending, Depends(parts.endings)]

    @router.post("", status_code=201)
    async def create_user(body: NewUser, caller: administrator, response: Response, ending: ending_of) -> UserView:
        """A new user, who may sign in at once."""
        check_reach(caller, body.model_fields_set)
        password_hash = await hashed(parts, body.password)
        with refusals():
            async with transaction(parts.database) as session:
                user, entries = await users.create_user(
                    session,
                    body,
                    password_hash=password_hash,
                    by=reach_of(caller),
                    feed=parts.feed,
                    now=parts.now(),
                )
                shown = await _shown(session, user, reach_of(caller))
        await ending.finish(entries)
        log.info("user.created", user_id=user.id, **actor(caller))
        response.headers["Location"] = f"{parts.settings.public_url}/api/v1/users/{user.id}"
        return shown

    @router.get("")
    async def list_users(listing: Annotated[UserListing, Query()], caller: administrator) -> Page[UserView]:
        """Users in the order of their names."""
        async with transaction(parts.database) as session:
            found = await store.list_users(
                session,
                after=listing.after(parts.cursor),
                limit=listing.limit + 1,
                by=reach_of(caller),
                username=listing.username,
                email=listing.email,
                organization_id=listing.organization,
                active=listing.active,
                search=listing.search,
            )
            shown = await _shown_all(session, found[: listing.limit], reach_of(caller))
        more = len(found) > listing.limit
        return Page(items=shown, next=parts.cursor.make(listing.name, shown[-1].username) if more else None)

    @router.get("/{user_id}")
    async def get_user(user_id: Id, caller: administrator) -> UserView:
        """One user."""
        with refusals():
            async with transaction(parts.database) as session:
                user = await store.find_user(session, user_id, by=reach_of(caller))
                if user is None:
                    raise store.UnknownUser(user_id)
                return await _shown(session, user, reach_of(caller))

    @router.get("/{user_id}/rights")
    async def get_user_rights(user_id: Id, caller: administrator) -> RightsView:
        """What the user is and may, with everything that follows from groups and roles."""
        with refusals():
            async with transaction(parts.database) as session:
                if await store.find_user(session, user_id, by=reach_of(caller)) is None:
                    raise store.UnknownUser(user_id)
                found = await within(session, {user_id: await standing_of(session, user_id)}, reach_of(caller))
        return rights_view(found[user_id])

    async def change(
        user_id: str, changes: UserChanges, caller: Caller, ending: Ending, *, end_sessions: bool
    ) -> UserView:
        check_reach(caller, changes.model_fields_set)
        password_hash = await hashed(parts, changes.password)
        with refusals():
            async with transaction(parts.database) as session:
                user, entries = await users.change_user(
                    session,
                    user_id,
                    changes,
                    password_hash=password_hash,
                    end_sessions=end_sessions,
                    by=reach_of(caller),
                    feed=parts.feed,
                    now=parts.now(),
                )
                shown = await _shown(session, user, reach_of(caller))
        await ending.finish(entries)
        log.info("user.changed", user_id=user_id, fields=sorted(changes.model_fields_set), **actor(caller))
        return shown

    @router.put("/{user_id}")
    async def replace_user(
        user_id: Id, body: NewUser, caller: administrator, ending: ending_of, end_sessions: bool = False
    ) -> UserView:
        """The user as described; what is left out is removed, except password and `active`, which stay."""
        return await change(user_id, body.as_changes(), caller, ending, end_sessions=end_sessions)

    @router.patch("/{user_id}")
    async def update_user(
        user_id: Id, body: UserChanges, caller: administrator, ending: ending_of, end_sessions: bool = False
    ) -> UserView:
        """The fields that are present change. `{"active": false}` ends every session and token at once.

        end_sessions: whether every session and token of the user ends, for example with a new password.
        """
        return await change(user_id, body, caller, ending, end_sessions=end_sessions)

    @router.post("/{user_id}/vouch")
    async def vouch_for_address(user_id: Id, caller: administrator) -> UserView:
        """The person's address counts as verified: whoever calls this knows that it is theirs."""
        vouched = VouchedChanges(email_verified=True)
        return await change(user_id, vouched, caller, parts.endings.here(), end_sessions=False)

    @router.put("/{user_id}/roles")
    async def set_user_roles(user_id: Id, body: UserRoles, caller: administrator) -> UserView:
        """The user itself has exactly these roles everywhere. What it has otherwise stays: see assignments."""
        with refusals():
            async with transaction(parts.database) as session:
                user = await roles.set_user_roles(session, user_id, body.roles, by=reach_of(caller), now=parts.now())
                shown = await _shown(session, user, reach_of(caller))
        log.info("user.roles_set", user_id=user_id, roles=shown.roles, **actor(caller))
        return shown

    @router.post("/{user_id}/merge")
    async def merge_user(user_id: Id, body: Other, caller: administrator, ending: ending_of) -> UserView:
        """Another account of the same person becomes part of this one: its identities, groups and roles. It is gone."""
        with refusals():
            async with transaction(parts.database) as session:
                user, entries = await merging.merge_users(
                    session, user_id, body.user, by=reach_of(caller), feed=parts.feed, now=parts.now()
                )
                shown = await _shown(session, user, reach_of(caller))
        await ending.finish(entries)
        log.info("user.merged", user_id=user_id, other_id=body.user, **actor(caller))
        return shown

    @router.delete("/{user_id}", status_code=204)
    async def delete_user(user_id: Id, caller: administrator, ending: ending_of) -> None:
        """The user and every link are gone; sessions and tokens are refused at once."""
        with refusals():
            async with transaction(parts.database) as session:
                entries = await users.delete_user(
                    session, user_id, by=reach_of(caller), feed=parts.feed, now=parts.now()
                )
        await ending.finish(entries)
        log.info("user.deleted", user_id=user_id, **actor(caller))

    return [router]


def check_reach(caller: Caller, fields: Collection[str]) -> None:
    """Raises Problem 403 for fields that decide what a person may do, when the caller only helps people to sign in.

    What an organization's administrator may say is looked at where it is known whom it concerns: `delegation`.
    """
    if caller.reach is None and not caller.may(_GROUPS) and not _RIGHTS.isdisjoint(fields):
        raise Problem(
            403,
            "Not allowed",
            "Groups, organization and attributes decide what a person may do: an administrator changes them.",
        )


async def _shown(session: Session, user: User, by: Reach) -> UserView:
    await session.flush()
    return (await _shown_all(session, [user], by))[0]


async def _shown_all(session: Session, found: Sequence[User], by: Reach) -> list[UserView]:
    known = await within(session, await standings(session, [user.id for user in found]), by)
    return [view(user, known[user.id]) for user in found]


async def hashed(parts: Parts, password: Password | None) -> str | None:
    """The argon2id hash of a password, made before any transaction is open."""
    return None if password is None else await parts.passwords.hash(password.get_secret_value())
