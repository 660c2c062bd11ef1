"""`/api/v1/me/api-keys`: somebody's own API keys, with which scripts act for them."""

from typing import Annotated, Final

import structlog
from fastapi import APIRouter, Depends, Query, Response
from pydantic import Field

from watchword_database import key_uses, transaction
from watchword_runtime.access import Caller
from watchword_runtime.callers import actor
from watchword_runtime.receipts import Ending, RevokingRoute
from watchword_token import api_keys
from watchword_token.edge import Parts
from watchword_token.routes.views import (
    OWN_SCOPES,
    ApiKeyView,
    CreatedApiKey,
    NewOwnApiKey,
    OwnApiKeyListing,
    api_key_view,
)
from watchword_web.api import Page
from watchword_web.errors import Problem

log = structlog.get_logger()

Id = Annotated[str, Field(max_length=64)]
MOST: Final = 50  # of one person; nobody needs more, and a program that makes one per run is stopped


def my_key_router(parts: Parts) -> APIRouter:
    """For everybody, about nobody but the caller: nothing in a request says whose keys are meant."""
    router = APIRouter(prefix="/api/v1/me/api-keys", route_class=RevokingRoute)
    person = Annotated[Caller, Depends(parts.callers.person)]

    @router.post("", status_code=201)
    async def create_my_api_key(body: NewOwnApiKey, caller: person, response: Response) -> CreatedApiKey:
        """A new key of the caller's own. With `public_jwk` the key is the caller's, and no secret is made."""
        now = parts.now()
        if body.expires_at is not None and body.expires_at <= now:
            raise _wrong("#/expires_at", "lies in the past")
        if not body.scope <= OWN_SCOPES:
            raise _wrong("#/scope", f"a key of your own may have {', '.join(sorted(OWN_SCOPES))}")
        rev = parts.feed.position
        async with transaction(parts.database) as session:
            if await api_keys.count_api_keys(session, caller.person_id) >= MOST:
                raise Problem(409, "Too many API keys", f"One person has at most {MOST}. Revoke one that is not used.")
            key, shown = api_keys.create_api_key(
                session,
                user_id=caller.person_id,
                name=body.name,
                scope=body.scope,
                rev=rev,
                now=now,
                expires_at=body.expires_at,
                public_jwk=body.public_jwk,
            )
        log.info("api_key.created", key_id=key.id, **actor(caller))
        response.headers["Location"] = f"{parts.settings.public_url}/api/v1/me/api-keys/{key.id}"
        return CreatedApiKey(key=shown or None, **api_key_view(key).model_dump())

    @router.get("")
    async def list_my_api_keys(listing: Annotated[OwnApiKeyListing, Query()], caller: person) -> Page[ApiKeyView]:
        """The caller's keys that were not revoked, oldest first."""
        name = f"{listing.name}:{caller.person_id}"
        after = str(parts.cursor.read(name, listing.cursor)[0]) if listing.cursor else ""
        async with transaction(parts.database) as session:
            rows = await api_keys.list_api_keys(session, after=after, limit=listing.limit + 1, user_id=caller.person_id)
            shown = rows[: listing.limit]
            uses = await key_uses.last(session, [row.id for row in shown])
        cursor = parts.cursor.make(name, shown[-1].id) if len(rows) > listing.limit else None
        return Page(items=[api_key_view(row, uses) for row in shown], next=cursor)

    @router.delete("/{key_id}", status_code=204)
    async def revoke_my_api_key(key_id: Id, caller: person, ending: Annotated[Ending, Depends(parts.endings)]) -> None:
        """The key, and every token that was issued with it, are dead before this answers."""
        async with transaction(parts.database) as session:
            entry_id = await api_keys.revoke_api_key(
                session, key_id, feed=parts.feed, now=parts.now(), user_id=caller.person_id
            )
        if entry_id is None:
            raise Problem(404, "No such API key", "You have no API key with this id, or it was revoked.")
        await ending.finish([entry_id])
        log.info("api_key.revoked", key_id=key_id, **actor(caller))

    return router


def _wrong(pointer: str, detail: str) -> Problem:
    return Problem(400, "The request is not valid", errors=[{"pointer": pointer, "detail": detail}])
