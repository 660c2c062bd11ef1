"""HTTP edge of `/api/v1/registration-tokens`."""

from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from watchword_admin.edge import Parts, not_found
from watchword_admin.registration import store
from watchword_admin.registration.initial import InitialTokenView, NewInitialToken, make_token, view, views
from watchword_admin.registration.usual import usual_terms
from watchword_database import transaction
from watchword_runtime.access import Caller
from watchword_runtime.callers import actor
from watchword_web.api import DEFAULT_LIMIT, MAX_LIMIT, Page

log = structlog.get_logger()

Id = Annotated[str, Field(max_length=64)]
_LISTING = "registration-tokens"


class TokenListing(BaseModel):
    """Which page. cursor: the `next` of the page before."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    limit: int = Field(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT)
    cursor: str | None = Field(None, max_length=1024)


def token_router(parts: Parts) -> APIRouter:
    """`/api/v1/registration-tokens`, for administrators only."""
    router = APIRouter(prefix="/api/v1/registration-tokens")
    administrator = Annotated[Caller, Depends(parts.callers.administrator)]

    @router.post("", status_code=201)
    async def create_registration_token(body: NewInitialToken, caller: administrator) -> InitialTokenView:
        """A new initial access token; its text is shown in this answer only."""
        rev = parts.feed.position
        async with transaction(parts.database) as session:
            made = await make_token(
                session,
                body,
                default_scope=(await usual_terms(session, parts.settings)).scope,
                by=caller.user_id or caller.client_id,
                rev=rev,
                now=parts.now(),
            )
        log.info("registration_token.created", token_id=made.id, uses=body.uses, **actor(caller))
        return made

    @router.get("")
    async def list_registration_tokens(
        listing: Annotated[TokenListing, Query()], _caller: administrator
    ) -> Page[InitialTokenView]:
        """Initial access tokens, oldest first, also those that are over."""
        after = str(parts.cursor.read(_LISTING, listing.cursor)[0]) if listing.cursor else ""
        async with transaction(parts.database) as session:
            await store.end_dead_tokens(session, now=parts.now())
            found = await store.list_initial_tokens(session, after=after, limit=listing.limit + 1)
        shown = views(found[: listing.limit])
        more = len(found) > listing.limit
        return Page(items=shown, next=parts.cursor.make(_LISTING, shown[-1].id) if more else None)

    @router.get("/{token_id}")
    async def get_registration_token(token_id: Id, _caller: administrator) -> InitialTokenView:
        """One initial access token, without its text."""
        async with transaction(parts.database) as session:
            await store.end_dead_tokens(session, now=parts.now())
            found = await store.find_initial_token(session, token_id)
        if found is None:
            raise not_found("registration token")
        return view(found)

    @router.delete("/{token_id}", status_code=204)
    async def revoke_registration_token(token_id: Id, caller: administrator) -> None:
        """The token registers nobody any more; clients that it registered stay."""
        async with transaction(parts.database) as session:
            revoked = await store.claim_revocation(session, token_id, now=parts.now())
            if not revoked and await store.find_initial_token(session, token_id) is None:
                raise not_found("registration token")
        log.info("registration_token.revoked", token_id=token_id, **actor(caller))

    return router
