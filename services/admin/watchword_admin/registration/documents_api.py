"""HTTP edge of `/api/v1/client-documents`: which documents on the web are clients here, and which may not be."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime
from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from watchword_admin import changes, store
from watchword_admin.client_documents import document_of
from watchword_admin.edge import Parts, not_found, refusals
from watchword_admin.models import Client, ClientKind
from watchword_database import transaction
from watchword_runtime.access import Caller
from watchword_runtime.callers import actor
from watchword_runtime.receipts import Ending, RevokingRoute
from watchword_web.api import DEFAULT_LIMIT, MAX_LIMIT, Page

log = structlog.get_logger()

Id = Annotated[str, Field(max_length=256)]
_WHAT = "client document"


class DocumentListing(BaseModel):
    """Which page. cursor: the `next` of the page before.  client_id: the one at this URL."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    limit: int = Field(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT)
    cursor: str | None = Field(None, max_length=1024)
    client_id: str | None = Field(None, max_length=2048)
    enabled: bool | None = None

    @property
    def name(self) -> str:
        """The list that a cursor belongs to: the filters are part of it."""
        return f"{_WHAT}:{self.model_dump_json(exclude={'limit', 'cursor'})}"


class DocumentSwitch(BaseModel):
    """What an administrator decides about a document: whether anybody may sign in to it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool


class DocumentView(BaseModel):
    """A document as it was read last, which counts until `expires_at`. id: its URL in base64url, to fit into a path."""

    id: str
    client_id: str
    client_name: str
    redirect_uris: tuple[str, ...]
    scope: str
    enabled: bool
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None
    used_at: datetime | None


def document_router(parts: Parts) -> APIRouter:
    """`/api/v1/client-documents`, for administrators only."""
    router = APIRouter(prefix="/api/v1/client-documents", route_class=RevokingRoute)
    administrator = Annotated[Caller, Depends(parts.callers.administrator)]
    ending_of = Annotated[Ending, Depends(parts.endings)]

    async def find(document_id: str) -> Client:
        async with transaction(parts.database) as session:
            client = await store.find_client(session, _url(document_id))
        if client is None or client.kind != ClientKind.DOCUMENT.value:
            raise not_found(_WHAT)
        return client

    @router.get("")
    async def list_client_documents(
        listing: Annotated[DocumentListing, Query()], _caller: administrator
    ) -> Page[DocumentView]:
        """Documents that somebody signed in to, in the order of their names."""
        after = ("", "")
        if listing.cursor:
            name, client_id = parts.cursor.read(listing.name, listing.cursor)
            after = (str(name), str(client_id))
        async with transaction(parts.database) as session:
            found = await store.list_clients(
                session,
                after=after,
                limit=listing.limit + 1,
                client_id=listing.client_id,
                kind=ClientKind.DOCUMENT,
                enabled=listing.enabled,
            )
        shown = found[: listing.limit]
        last = shown[-1] if len(found) > listing.limit else None
        return Page(
            items=[_view(client) for client in shown],
            next=parts.cursor.make(listing.name, last.client_name.lower(), last.id) if last else None,
        )

    @router.get("/{document_id}")
    async def get_client_document(document_id: Id, _caller: administrator) -> DocumentView:
        """One document, as it was read last."""
        return _view(await find(document_id))

    @router.patch("/{document_id}")
    async def switch_client_document(
        document_id: Id, body: DocumentSwitch, caller: administrator, ending: ending_of
    ) -> DocumentView:
        """Switched off, nobody signs in to it, and all that it was issued is refused at once."""
        client = await find(document_id)
        with refusals(_WHAT):
            await changes.update_client(parts, client.id, {"enabled": body.enabled}, ending)
        log.info("client_document.switched", client_id=client.id, enabled=body.enabled, **actor(caller))
        return _view(await find(document_id))

    @router.delete("/{document_id}", status_code=204)
    async def delete_client_document(document_id: Id, caller: administrator, ending: ending_of) -> None:
        """All that it was issued is refused at once. The next sign-in reads it anew: to keep it away, switch it off."""
        client = await find(document_id)
        with refusals(_WHAT):
            await changes.delete_client(parts, client.id, ending)
        log.info("client_document.deleted", client_id=client.id, **actor(caller))

    return router


def _view(client: Client) -> DocumentView:
    document = document_of(client)
    return DocumentView(
        id=urlsafe_b64encode(client.id.encode()).decode().rstrip("="),
        client_id=client.id,
        client_name=client.client_name,
        redirect_uris=document.redirect_uris,
        scope=document.scope,
        enabled=client.enabled,
        created_at=client.created_at,
        updated_at=client.updated_at,
        expires_at=client.expires_at,
        used_at=client.used_at,
    )


def _url(document_id: str) -> str:
    """The URL behind an id. Raises Problem 404 for what is none."""
    try:
        return urlsafe_b64decode(document_id.encode("ascii") + b"=" * (-len(document_id) % 4)).decode("ascii")
    except ValueError:
        raise not_found(_WHAT) from None
