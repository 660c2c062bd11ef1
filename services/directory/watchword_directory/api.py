"""HTTP edge of `/api/v1/users` and `/api/v1/identities`."""

from datetime import datetime
from typing import Annotated, Literal

import structlog
from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from watchword_database import transaction
from watchword_directory import linking, store, users
from watchword_directory.edge import Parts, actor, refusals
from watchword_directory.models import IdentityLink, User
from watchword_directory.profiles import Email, NewUser, Password, UserChanges, Username, UserView, view
from watchword_runtime.access import Caller
from watchword_web.api import DEFAULT_LIMIT, MAX_LIMIT, Page
from watchword_web.errors import Problem

log = structlog.get_logger()


class Listing(BaseModel):
    """Which page of a list. cursor: the `next` of the page before."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    limit: int = Field(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT)
    cursor: str | None = Field(None, max_length=1024)

    @property
    def name(self) -> str:
        """The list that a cursor belongs to: the filters are part of it."""
        return f"{type(self).__name__}:{self.model_dump_json(exclude={'limit', 'cursor'})}"


class UserListing(Listing):
    """Users by name or address, or those who are active or not."""

    username: Username | None = None
    email: Email | None = None
    active: bool | None = None


class IdentityListing(Listing):
    """Identities of a user or of a provider."""

    user_id: str | None = Field(None, max_length=64)
    provider_id: str | None = Field(None, max_length=64)


class IdentityView(BaseModel):
    """An external identity that leads to a user."""

    id: str
    user_id: str
    provider_id: str
    issuer: str
    subject: str
    created_at: datetime
    last_used_at: datetime


class Roles(BaseModel):
    """All roles of a user."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    roles: list[Literal["administrator"]] = Field(max_length=16)


Id = Annotated[str, Field(max_length=64)]


def user_router(parts: Parts) -> APIRouter:
    """`/api/v1/users`, for administrators only."""
    router = APIRouter(prefix="/api/v1/users")
    administrator = Annotated[Caller, Depends(parts.administrator)]

    @router.post("", status_code=201)
    async def create_user(body: NewUser, caller: administrator, response: Response) -> UserView:
        """A new user, who may sign in at once."""
        password_hash = await hashed(parts, body.password)
        with refusals():
            async with transaction(parts.database) as session:
                user, entries = await users.create_user(
                    session, body, password_hash=password_hash, feed=parts.feed, now=parts.now()
                )
        await parts.feed.settle(entries)
        log.info("user.created", user_id=user.id, **actor(caller))
        response.headers["Location"] = f"{parts.settings.public_url}/api/v1/users/{user.id}"
        return view(user)

    @router.get("")
    async def list_users(listing: Annotated[UserListing, Query()], _caller: administrator) -> Page[UserView]:
        """Users in the order of their names."""
        after = str(parts.cursor.read(listing.name, listing.cursor)[0]) if listing.cursor else ""
        async with transaction(parts.database) as session:
            found = await store.list_users(
                session,
                after=after,
                limit=listing.limit + 1,
                username=listing.username,
                email=listing.email,
                active=listing.active,
            )
        shown = [view(user) for user in found[: listing.limit]]
        more = len(found) > listing.limit
        return Page(items=shown, next=parts.cursor.make(listing.name, shown[-1].username) if more else None)

    @router.get("/{user_id}")
    async def get_user(user_id: Id, _caller: administrator) -> UserView:
        """One user."""
        with refusals():
            async with transaction(parts.database) as session:
                user = await store.find_user(session, user_id)
                if user is None:
                    raise store.UnknownUser(user_id)
        return view(user)

    async def change(user_id: str, changes: UserChanges, caller: Caller, *, end_sessions: bool) -> User:
        password_hash = await hashed(parts, changes.password)
        with refusals():
            async with transaction(parts.database) as session:
                user, entries = await users.change_user(
                    session,
                    user_id,
                    changes,
                    password_hash=password_hash,
                    end_sessions=end_sessions,
                    feed=parts.feed,
                    now=parts.now(),
                )
        await parts.feed.settle(entries)
        log.info("user.changed", user_id=user_id, fields=sorted(changes.model_fields_set), **actor(caller))
        return user

    @router.put("/{user_id}")
    async def replace_user(user_id: Id, body: NewUser, caller: administrator, end_sessions: bool = False) -> UserView:
        """The user as described; what is left out is removed, except password and `active`, which stay."""
        return view(await change(user_id, body.as_changes(), caller, end_sessions=end_sessions))

    @router.patch("/{user_id}")
    async def update_user(
        user_id: Id, body: UserChanges, caller: administrator, end_sessions: bool = False
    ) -> UserView:
        """The fields that are present change. `{"active": false}` ends every session and token at once.

        end_sessions: whether every session and token of the user ends, for example with a new password.
        """
        return view(await change(user_id, body, caller, end_sessions=end_sessions))

    @router.put("/{user_id}/roles")
    async def set_user_roles(user_id: Id, body: Roles, caller: administrator) -> UserView:
        """The user has exactly these roles."""
        with refusals():
            async with transaction(parts.database) as session:
                user = await users.set_roles(session, user_id, list(set(body.roles)), now=parts.now())
        log.info("user.roles_set", user_id=user_id, roles=user.roles, **actor(caller))
        return view(user)

    @router.delete("/{user_id}", status_code=204)
    async def delete_user(user_id: Id, caller: administrator) -> None:
        """The user and every link are gone; sessions and tokens are refused at once."""
        with refusals():
            async with transaction(parts.database) as session:
                entries = await users.delete_user(session, user_id, feed=parts.feed, now=parts.now())
        await parts.feed.settle(entries)
        log.info("user.deleted", user_id=user_id, **actor(caller))

    return router


def identity_router(parts: Parts) -> APIRouter:
    """`/api/v1/identities`, for administrators only."""
    router = APIRouter(prefix="/api/v1/identities")
    administrator = Annotated[Caller, Depends(parts.administrator)]

    @router.get("")
    async def list_identities(
        listing: Annotated[IdentityListing, Query()], _caller: administrator
    ) -> Page[IdentityView]:
        """External identities, oldest link first."""
        after = str(parts.cursor.read(listing.name, listing.cursor)[0]) if listing.cursor else ""
        async with transaction(parts.database) as session:
            found = await store.list_links(
                session,
                after=after,
                limit=listing.limit + 1,
                user_id=listing.user_id,
                provider_id=listing.provider_id,
            )
        shown = [_link_view(link) for link in found[: listing.limit]]
        more = len(found) > listing.limit
        return Page(items=shown, next=parts.cursor.make(listing.name, shown[-1].id) if more else None)

    @router.get("/{identity_id}")
    async def get_identity(identity_id: Id, _caller: administrator) -> IdentityView:
        """One external identity."""
        async with transaction(parts.database) as session:
            link = await store.find_link_by_id(session, identity_id)
        if link is None:
            raise _no_identity()
        return _link_view(link)

    @router.delete("/{identity_id}", status_code=204)
    async def unlink_identity(identity_id: Id, caller: administrator) -> None:
        """The identity leads nowhere any more; the user's sessions and tokens end. Refused for the last way in."""
        with refusals():
            async with transaction(parts.database) as session:
                entries = await linking.unlink(session, identity_id, feed=parts.feed, now=parts.now())
        if entries is None:
            raise _no_identity()
        await parts.feed.settle(entries)
        log.info("identity.unlinked", identity_id=identity_id, **actor(caller))

    return router


async def hashed(parts: Parts, password: Password | None) -> str | None:
    """The argon2id hash of a password, made before any transaction is open."""
    return None if password is None else await parts.passwords.hash(password.get_secret_value())


def _link_view(link: IdentityLink) -> IdentityView:
    return IdentityView.model_validate(link.model_dump())


def _no_identity() -> Problem:
    return Problem(404, "No such identity", "There is no identity with this id.")
