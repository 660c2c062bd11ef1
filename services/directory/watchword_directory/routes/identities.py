"""`/api/v1/identities`: the external identities that lead to users."""

from datetime import datetime
from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field, JsonValue

from watchword_database import transaction
from watchword_directory import linking, store
from watchword_directory.edge import Listing, Parts
from watchword_directory.models import IdentityLink
from watchword_directory.previews import Arriving, Preview, preview
from watchword_directory.ranks import reach_of
from watchword_directory.refusals import refusals
from watchword_directory.texts import Id
from watchword_runtime.access import Caller
from watchword_runtime.callers import actor
from watchword_runtime.receipts import Ending, RevokingRoute
from watchword_web.api import Page
from watchword_web.errors import Problem

log = structlog.get_logger()


class IdentityListing(Listing):
    """Identities of a user or of a provider. only: of people who have none of another one that is open for sign-ins."""

    user_id: str | None = Field(None, max_length=64)
    provider_id: str | None = Field(None, max_length=64)
    only: bool = False


class IdentityView(BaseModel):
    """An external identity that leads to a user."""

    id: str
    user_id: str
    provider_id: str
    issuer: str
    subject: str
    created_at: datetime
    last_used_at: datetime


class ClaimsView(BaseModel):
    """What the provider said at the last sign-in. cut: claims that were too long to be kept as a whole.

    Tokens and secrets among them are replaced. keep_until: after which nobody can read it.
    """

    identity_id: str
    user_id: str
    provider_id: str
    said_at: datetime
    keep_until: datetime
    claims: dict[str, JsonValue]
    cut: list[str]


def routers(parts: Parts) -> list[APIRouter]:
    """For administrators only."""
    router = APIRouter(prefix="/api/v1/identities", route_class=RevokingRoute)
    administrator = Annotated[Caller, Depends(parts.callers.administrator)]
    ending_of = Annotated[Ending, Depends(parts.endings)]

    @router.get("")
    async def list_identities(
        listing: Annotated[IdentityListing, Query()], _caller: administrator
    ) -> Page[IdentityView]:
        """External identities, oldest link first."""
        async with transaction(parts.database) as session:
            found = await store.list_links(
                session,
                after=listing.after(parts.cursor),
                limit=listing.limit + 1,
                user_id=listing.user_id,
                provider_id=listing.provider_id,
                only=listing.only,
            )
        shown = [link_view(link) for link in found[: listing.limit]]
        more = len(found) > listing.limit
        return Page(items=shown, next=parts.cursor.make(listing.name, shown[-1].id) if more else None)

    @router.post("/preview")
    async def preview_identity(body: Arriving, _caller: administrator) -> Preview:
        """What would become of somebody who came through a provider with these claims. Nothing changes."""
        provider = await parts.providers.get(body.provider_id)
        if provider is None:
            wrong = "there is no such provider"
            raise Problem(400, "The request is not valid", errors=[{"pointer": "#/provider_id", "detail": wrong}])
        async with transaction(parts.database) as session:
            return await preview(session, parts.mapper, provider, body, has_way_in=parts.has_way_in, now=parts.now())

    @router.get("/{identity_id}")
    async def get_identity(identity_id: Id, _caller: administrator) -> IdentityView:
        """One external identity."""
        async with transaction(parts.database) as session:
            link = await store.find_link_by_id(session, identity_id)
        if link is None:
            raise no_identity()
        return link_view(link)

    @router.get("/{identity_id}/claims")
    async def get_identity_claims(identity_id: Id, caller: administrator) -> ClaimsView:
        """What the provider said of the person at the last sign-in through it, let in or not. Kept for some weeks."""
        async with transaction(parts.database) as session:
            link = await store.find_link_by_id(session, identity_id)
            said = await store.find_claims(session, identity_id, now=parts.now())
        if link is None:
            raise no_identity()
        if said is None or await parts.providers.get(link.provider_id) is None:
            raise Problem(404, "Nothing is kept", "Nothing of a sign-in through this identity is kept, or no more.")
        log.info("identity.claims_read", identity_id=identity_id, **actor(caller))
        kept = parts.last_claims.opened(said)
        about = {"user_id": link.user_id, **said.model_dump(exclude={"sealed"})}
        return ClaimsView.model_validate({**about, "claims": kept.claims, "cut": kept.cut})

    @router.delete("/{identity_id}", status_code=204)
    async def unlink_identity(identity_id: Id, caller: administrator, ending: ending_of) -> None:
        """The identity leads nowhere any more; the user's sessions and tokens end. Refused for the last way in."""
        async with transaction(parts.database) as session:
            link = await store.find_link_by_id(session, identity_id)
        if link is None:
            raise no_identity()
        has_way_in = await parts.has_way_in(link.user_id)
        with refusals():
            async with transaction(parts.database) as session:
                entries = await linking.unlink(
                    session,
                    identity_id,
                    has_way_in=has_way_in,
                    by=reach_of(caller),
                    feed=parts.feed,
                    now=parts.now(),
                )
        if entries is None:
            raise no_identity()
        await ending.finish(entries)
        log.info("identity.unlinked", identity_id=identity_id, **actor(caller))

    return [router]


def link_view(link: IdentityLink) -> IdentityView:
    """What the API answers about an identity."""
    return IdentityView.model_validate(link.model_dump())


def no_identity() -> Problem:
    """There is none with this id that the caller may know of."""
    return Problem(404, "No such identity", "There is no identity with this id.")
