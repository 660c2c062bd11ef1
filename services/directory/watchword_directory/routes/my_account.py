"""`/api/v1/me`, what directory has of it: a person's own account, address, and the identities that lead to it."""

from datetime import datetime
from typing import Annotated, Final

import structlog
from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from watchword_database import bus, transaction
from watchword_directory import linking, store, users
from watchword_directory.edge import Listing, Parts
from watchword_directory.models import User
from watchword_directory.profiles import PROFILE, Profile, UserChanges, VouchedChanges
from watchword_directory.ranks import EVERYTHING
from watchword_directory.refusals import refusals
from watchword_directory.routes.identities import IdentityView, link_view, no_identity
from watchword_directory.standing import standing_of
from watchword_directory.texts import Id, Link, Locale, Text, ZoneInfo
from watchword_events.handovers import EmailProved
from watchword_runtime.access import Caller
from watchword_runtime.callers import actor
from watchword_runtime.receipts import Ending, RevokingRoute
from watchword_web.api import Page
from watchword_web.errors import Problem

log = structlog.get_logger()

# What a sign-in through the provider that brought somebody here writes again each time.
_FROM_PROVIDER: Final = frozenset({"name", "given_name", "family_name", "picture", "locale", "email"})
# Nobody stands above themselves.
_SELF: Final = EVERYTHING


class MyChanges(BaseModel):
    """What people may change of their own account: only the members that are present; null removes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Text | None = None
    given_name: Text | None = None
    family_name: Text | None = None
    nickname: Text | None = None
    website: Link | None = None
    picture: Link | None = None
    zoneinfo: ZoneInfo | None = None
    locale: Locale | None = None


class MyAccount(Profile):
    """The caller as directory has them. locked: members that another system looks after.

    groups, roles, permissions: with everything that follows; those that hold everywhere.
    may_delete: whether this installation lets people delete their account themselves.
    """

    id: str
    username: str
    email: str | None
    email_verified: bool
    organization: str | None
    groups: list[str]
    roles: list[str]
    permissions: list[str]
    attributes: dict[str, object]
    provider_id: str | None
    created_at: datetime
    updated_at: datetime
    locked: list[str]
    may_delete: bool


class MyIdentityListing(Listing):
    """The caller's own identities."""


class ProvedEmail(BaseModel):
    """An address that the caller has shown to be theirs. ticket: of authz, which sent the mail; good once."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ticket: str = Field(pattern=r"^[A-Za-z0-9_-]{43}$")


def routers(parts: Parts) -> list[APIRouter]:
    """For everybody, about nobody but the caller: nothing in a request says who is meant."""
    router = APIRouter(prefix="/api/v1/me", tags=["account"])
    ending_router = APIRouter(prefix="/api/v1/me", tags=["account"], route_class=RevokingRoute)
    person = Annotated[Caller, Depends(parts.callers.person)]
    recent = Annotated[Caller, Depends(parts.callers.recent_person)]
    ending_of = Annotated[Ending, Depends(parts.endings)]

    @router.get("/account")
    async def get_my_account(caller: person) -> MyAccount:
        """Everything that is said of the caller."""
        return await _shown(parts, caller.person_id)

    @router.patch("/account")
    async def update_my_account(body: MyChanges, caller: person) -> MyAccount:
        """The members that are present change. Refused (409) for those that another system looks after."""
        given = {name: getattr(body, name) for name in body.model_fields_set}
        locked = set((await _shown(parts, caller.person_id)).locked) & set(given)
        if locked:
            raise Problem(
                409,
                "Looked after elsewhere",
                errors=[
                    {"pointer": f"#/{each}", "detail": "is changed where it comes from"} for each in sorted(locked)
                ],
            )
        await _change(parts, caller, UserChanges.model_validate(given))
        return await _shown(parts, caller.person_id)

    @ending_router.delete("/account", status_code=204)
    async def delete_my_account(
        caller: recent,
        ending: ending_of,
        username: Annotated[str, Query(max_length=254, description="The caller's user name, so that nobody slips")],
    ) -> None:
        """The caller is gone, with everything that they had, as when an administrator deletes them.

        Refused (409) for the last owner, and where this installation does not let people delete themselves.
        """
        if not parts.settings.self_deletion:
            raise Problem(409, "Ask an administrator", "This installation does not let people delete themselves.")
        if username.strip().lower() != (await _shown(parts, caller.person_id)).username:
            wrong = "is not your user name"
            raise Problem(400, "The request is not valid", errors=[{"parameter": "username", "detail": wrong}])
        with refusals():
            async with transaction(parts.database) as session:
                entries = await users.delete_user(session, caller.person_id, by=_SELF, feed=parts.feed, now=parts.now())
        await ending.finish(entries)
        log.info("user.deleted", user_id=caller.person_id, **actor(caller))

    @router.put("/email")
    async def set_my_email(body: ProvedEmail, caller: recent) -> MyAccount:
        """The address is the caller's, verified. The one that they have may be verified wherever it came from."""
        async with transaction(parts.database) as session:
            seen = await bus.peek(session, EmailProved, body.ticket)
        if seen is None or seen.payload.user_id != caller.person_id:
            raise _not_proved()
        proved = seen.payload
        if not proved.current and "email" in (await _shown(parts, caller.person_id)).locked:
            raise Problem(409, "Looked after elsewhere", "The address is changed where it comes from.")
        async with transaction(parts.database) as session:
            if await bus.take(session, EmailProved, body.ticket, now=parts.now()) is None:
                raise _not_proved()
        if proved.current:
            await _verify(parts, caller, proved.email)
        else:
            await _change(parts, caller, VouchedChanges(email=proved.email, email_verified=True))
        return await _shown(parts, caller.person_id)

    @router.get("/identities")
    async def list_my_identities(listing: Annotated[MyIdentityListing, Query()], caller: person) -> Page[IdentityView]:
        """The external identities that lead to the caller, oldest link first."""
        async with transaction(parts.database) as session:
            found = await store.list_links(
                session, after=listing.after(parts.cursor), limit=listing.limit + 1, user_id=caller.person_id
            )
        shown = [link_view(link) for link in found[: listing.limit]]
        more = len(found) > listing.limit
        return Page(items=shown, next=parts.cursor.make(listing.name, shown[-1].id) if more else None)

    @ending_router.delete("/identities/{identity_id}", status_code=204)
    async def unlink_my_identity(identity_id: Id, caller: recent, ending: ending_of) -> None:
        """The identity leads nowhere any more; the caller's sessions and tokens end. Refused for the last way in."""
        has_way_in = await parts.has_way_in(caller.person_id)
        with refusals():
            async with transaction(parts.database) as session:
                link = await store.find_link_by_id(session, identity_id)
                if link is None or link.user_id != caller.person_id:
                    raise no_identity()
                entries = await linking.unlink(
                    session, identity_id, has_way_in=has_way_in, by=_SELF, feed=parts.feed, now=parts.now()
                )
        if entries is None:
            raise no_identity()
        await ending.finish(entries)
        log.info("identity.unlinked", identity_id=identity_id, **actor(caller))

    return [router, ending_router]


async def _shown(parts: Parts, user_id: str) -> MyAccount:
    with refusals():
        async with transaction(parts.database) as session:
            user = await store.find_user(session, user_id)
            if user is None:
                raise store.UnknownUser(user_id)
            standing = await standing_of(session, user_id)
    provider = await parts.providers.get(user.provider_id) if user.provider_id else None
    locked = _locked(user, has_provider=provider is not None and provider.enabled)
    fields = user.model_dump(include=set(MyAccount.model_fields) - set(PROFILE)) | user.profile
    return MyAccount.model_validate(
        fields
        | {
            "organization": user.organization_id,
            "groups": list(standing.groups),
            "roles": list(standing.roles),
            "permissions": list(standing.permissions),
            "locked": sorted(locked),
            "may_delete": parts.settings.self_deletion,
        }
    )


def _locked(user: User, *, has_provider: bool) -> frozenset[str]:
    """What the person cannot change here, because the next sign-in or synchronization would change it back."""
    if user.scim or user.external_id is not None:
        return frozenset({*MyChanges.model_fields, "email"})
    return _FROM_PROVIDER if has_provider else frozenset()


async def _change(parts: Parts, caller: Caller, changes: UserChanges) -> None:
    with refusals():
        async with transaction(parts.database) as session:
            await users.change_user(
                session, caller.person_id, changes, password_hash=None, by=_SELF, feed=parts.feed, now=parts.now()
            )
    log.info("user.changed", user_id=caller.person_id, fields=sorted(changes.model_fields_set), **actor(caller))


async def _verify(parts: Parts, caller: Caller, email: str) -> None:
    try:
        with refusals():
            async with transaction(parts.database) as session:
                await users.verify_email(session, caller.person_id, email, now=parts.now())
    except users.OtherEmail:
        raise _not_proved() from None
    log.info("user.email_verified", user_id=caller.person_id, **actor(caller))


def _not_proved() -> Problem:
    return Problem(400, "The request is not valid", errors=[{"pointer": "#/ticket", "detail": "is over, or another's"}])
