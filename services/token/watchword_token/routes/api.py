"""`/api/v1/{grants,api-keys}`, for administrators."""

from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Query, Response
from pydantic import Field

from watchword_database import key_uses, transaction
from watchword_runtime.access import Caller
from watchword_runtime.callers import actor
from watchword_runtime.receipts import Ending, RevokingRoute
from watchword_token import api_keys, store
from watchword_token.edge import Parts
from watchword_token.models import Grant
from watchword_token.routes.deliveries import delivery_router
from watchword_token.routes.keys import key_router
from watchword_token.routes.my_keys import my_key_router
from watchword_token.routes.revocations import revocation_router, verifier_router
from watchword_token.routes.views import (
    KEY_SCOPES,
    ApiKeyListing,
    ApiKeyView,
    CreatedApiKey,
    GrantListing,
    GrantView,
    NewApiKey,
    api_key_view,
    grant_view,
)
from watchword_token.store import source_of
from watchword_token.trial import Told, Tried
from watchword_web.api import Page
from watchword_web.errors import Problem

log = structlog.get_logger()

Id = Annotated[str, Field(max_length=64)]


def api_routers(parts: Parts) -> list[APIRouter]:
    """The parts of `/api/v1` that are this service's."""
    return [
        key_router(parts),
        grant_router(parts),
        api_key_router(parts),
        my_key_router(parts),
        delivery_router(parts),
        revocation_router(parts),
        verifier_router(parts),
    ]


def grant_router(parts: Parts) -> APIRouter:
    """What people granted to clients."""
    router = APIRouter(prefix="/api/v1/grants", route_class=RevokingRoute)
    administrator = Annotated[Caller, Depends(parts.callers.administrator)]

    @router.get("")
    async def list_grants(listing: Annotated[GrantListing, Query()], _caller: administrator) -> Page[GrantView]:
        """Live grants, newest first."""
        after = str(parts.cursor.read(listing.name, listing.cursor)[0]) if listing.cursor else ""
        async with transaction(parts.database) as session:
            rows = await store.list_grants(
                session,
                after=after,
                limit=listing.limit + 1,
                user_id=listing.user_id,
                client_id=listing.client_id,
                now=parts.now(),
            )
        shown = rows[: listing.limit]
        cursor = parts.cursor.make(listing.name, shown[-1].id) if len(rows) > listing.limit else None
        return Page(items=[grant_view(row) for row in shown if _is_live(parts, row)], next=cursor)

    @router.post("/trial")
    async def try_grant(tried: Tried, _caller: administrator) -> Told:
        """What a client would be told of a person who signed in now; nothing is granted."""
        return await parts.trials.of(tried, parts.now())

    @router.get("/{grant_id}")
    async def get_grant(grant_id: Id, _caller: administrator) -> GrantView:
        """One live grant."""
        async with transaction(parts.database) as session:
            row = await session.get(Grant, grant_id)
        if row is None or row.revoked_at is not None or row.expires_at <= parts.now() or not _is_live(parts, row):
            raise _no_grant()
        return grant_view(row)

    @router.delete("/{grant_id}", status_code=204)
    async def revoke_grant(
        grant_id: Id, caller: administrator, ending: Annotated[Ending, Depends(parts.endings)]
    ) -> None:
        """The grant and every token of its family are dead before this answers."""
        async with transaction(parts.database) as session:
            entry_id = await parts.revoking.end_grant(session, grant_id, reason="administrator")
        if entry_id is None:
            raise _no_grant()
        await ending.finish([entry_id])
        log.info("grant.revoked_by_hand", gid=grant_id, **actor(caller))

    return router


def api_key_router(parts: Parts) -> APIRouter:
    """Personal API keys. A key is always made for who calls: nothing in a body says whose it is."""
    router = APIRouter(prefix="/api/v1/api-keys", route_class=RevokingRoute)
    administrator = Annotated[Caller, Depends(parts.callers.administrator)]

    @router.post("", status_code=201)
    async def create_api_key(body: NewApiKey, caller: administrator, response: Response) -> CreatedApiKey:
        """A new key of the caller's own, with no more rights than the caller shows."""
        if caller.user_id is None:
            raise Problem(403, "Not allowed", "An API key belongs to a person; a client uses its own credentials.")
        now = parts.now()
        if body.expires_at is not None and body.expires_at <= now:
            raise _wrong("#/expires_at", "lies in the past")
        if not body.scope <= KEY_SCOPES:
            raise _wrong("#/scope", f"a key may have {', '.join(sorted(KEY_SCOPES))}")
        rev = parts.feed.position
        async with transaction(parts.database) as session:
            key, shown = api_keys.create_api_key(
                session,
                user_id=caller.user_id,
                name=body.name,
                scope=body.scope,
                rev=rev,
                now=now,
                expires_at=body.expires_at,
            )
        log.info("api_key.created", key_id=key.id, **actor(caller))
        response.headers["Location"] = f"{parts.settings.public_url}/api/v1/api-keys/{key.id}"
        return CreatedApiKey(key=shown, **api_key_view(key).model_dump())

    @router.get("")
    async def list_api_keys(listing: Annotated[ApiKeyListing, Query()], _caller: administrator) -> Page[ApiKeyView]:
        """Keys that were not revoked, oldest first."""
        after = str(parts.cursor.read(listing.name, listing.cursor)[0]) if listing.cursor else ""
        async with transaction(parts.database) as session:
            rows = await api_keys.list_api_keys(session, after=after, limit=listing.limit + 1, user_id=listing.user_id)
            shown = rows[: listing.limit]
            uses = await key_uses.last(session, [row.id for row in shown])
        cursor = parts.cursor.make(listing.name, shown[-1].id) if len(rows) > listing.limit else None
        return Page(items=[api_key_view(row, uses) for row in shown], next=cursor)

    @router.get("/{key_id}")
    async def get_api_key(key_id: Id, _caller: administrator) -> ApiKeyView:
        """One key."""
        async with transaction(parts.database) as session:
            row = await api_keys.find_api_key(session, key_id)
            uses = await key_uses.last(session, [key_id])
        if row is None:
            raise _no_api_key()
        return api_key_view(row, uses)

    @router.delete("/{key_id}", status_code=204)
    async def revoke_api_key(
        key_id: Id, caller: administrator, ending: Annotated[Ending, Depends(parts.endings)]
    ) -> None:
        """The key is dead before this answers."""
        async with transaction(parts.database) as session:
            entry_id = await api_keys.revoke_api_key(session, key_id, feed=parts.feed, now=parts.now())
        if entry_id is None:
            raise _no_api_key()
        await ending.finish([entry_id])
        log.info("api_key.revoked", key_id=key_id, **actor(caller))

    return router


def _is_live(parts: Parts, row: Grant) -> bool:
    """Whether nothing that it descends from was revoked; its own end stands in the row."""
    return parts.feed.is_live(source_of(row))


def _no_grant() -> Problem:
    return Problem(404, "No such grant", "There is no live grant with this id.")


def _no_api_key() -> Problem:
    return Problem(404, "No such API key", "There is no API key with this id, or it was revoked.")


def _wrong(pointer: str, detail: str) -> Problem:
    return Problem(400, "The request is not valid", errors=[{"pointer": pointer, "detail": detail}])
