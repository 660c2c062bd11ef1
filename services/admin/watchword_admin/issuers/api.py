"""HTTP edge of `/api/v1/issuers`."""

from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from watchword_admin.edge import Parts, not_found
from watchword_admin.issuers import changes, store
from watchword_admin.issuers.documents import IssuerDocument, IssuerView, document_of, view
from watchword_admin.issuers.refusals import check, issuer_refusals
from watchword_admin.merging import merged
from watchword_database import transaction
from watchword_runtime.access import Caller
from watchword_runtime.callers import actor
from watchword_runtime.receipts import Ending, RevokingRoute
from watchword_web.api import DEFAULT_LIMIT, MAX_LIMIT, Page

log = structlog.get_logger()

Id = Annotated[str, Field(max_length=64)]
Members = dict[str, JsonValue]


class IssuerListing(BaseModel):
    """Which page, or the one with an `iss`. cursor: the `next` of the page before."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    limit: int = Field(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT)
    cursor: str | None = Field(None, max_length=4096)
    iss: str | None = Field(None, max_length=2048)

    @property
    def name(self) -> str:
        """The list that a cursor belongs to: the filter is part of it."""
        return f"issuers:{self.iss or ''}"


def issuer_router(parts: Parts) -> APIRouter:
    """`/api/v1/issuers`, for administrators only."""
    router = APIRouter(prefix="/api/v1/issuers", route_class=RevokingRoute)
    administrator = Annotated[Caller, Depends(parts.callers.administrator)]

    @router.post("", status_code=201)
    async def trust_issuer(body: IssuerDocument, caller: administrator, response: Response) -> IssuerView:
        """An issuer whose tokens are exchanged for ours from now on, where access rules allow it."""
        with issuer_refusals():
            check(parts, body)
            async with transaction(parts.database) as session:
                shown = view(await changes.trust_issuer(session, body, now=parts.now()))
        log.info("issuer.trusted", issuer_id=shown.id, iss=shown.iss, **actor(caller))
        response.headers["Location"] = f"{parts.settings.public_url}/api/v1/issuers/{shown.id}"
        return shown

    @router.get("")
    async def list_issuers(listing: Annotated[IssuerListing, Query()], _caller: administrator) -> Page[IssuerView]:
        """Trusted issuers in the order of their `iss`."""
        after = str(parts.cursor.read(listing.name, listing.cursor)[0]) if listing.cursor else ""
        async with transaction(parts.database) as session:
            found = await store.list_issuers(session, after=after, limit=listing.limit + 1, iss=listing.iss)
        shown = [view(issuer) for issuer in found[: listing.limit]]
        more = len(found) > listing.limit
        return Page(items=shown, next=parts.cursor.make(listing.name, shown[-1].iss) if more else None)

    @router.get("/{issuer_id}")
    async def get_issuer(issuer_id: Id, _caller: administrator) -> IssuerView:
        """One trusted issuer."""
        async with transaction(parts.database) as session:
            issuer = await store.find_issuer(session, issuer_id)
        if issuer is None:
            raise not_found("issuer")
        return view(issuer)

    @router.put("/{issuer_id}")
    async def replace_issuer(issuer_id: Id, body: IssuerDocument, caller: administrator) -> IssuerView:
        """The issuer as described; what is left out returns to its default. `iss` cannot change."""
        with issuer_refusals():
            check(parts, body)
            async with transaction(parts.database) as session:
                issuer = await store.get_issuer_for_change(session, issuer_id)
                await changes.change_issuer(session, issuer, body, now=parts.now())
                shown = view(issuer)
        log.info("issuer.changed", issuer_id=issuer_id, fields=sorted(body.model_fields_set), **actor(caller))
        return shown

    @router.patch("/{issuer_id}")
    async def update_issuer(issuer_id: Id, body: Members, caller: administrator) -> IssuerView:
        """The members that are present change; null returns one to its default. Spec: RFC 7396 2."""
        with issuer_refusals():
            async with transaction(parts.database) as session:
                issuer = await store.get_issuer_for_change(session, issuer_id)
                document = IssuerDocument.model_validate(merged(document_of(issuer), body))
                check(parts, document)
                await changes.change_issuer(session, issuer, document, now=parts.now())
                shown = view(issuer)
        log.info("issuer.changed", issuer_id=issuer_id, fields=sorted(body), **actor(caller))
        return shown

    @router.delete("/{issuer_id}", status_code=204)
    async def remove_issuer(
        issuer_id: Id, caller: administrator, ending: Annotated[Ending, Depends(parts.endings)]
    ) -> None:
        """The issuer is trusted no more; every token that one of its tokens was exchanged for is refused at once."""
        with issuer_refusals():
            async with transaction(parts.database) as session:
                entries = await changes.remove_issuer(session, issuer_id, feed=parts.feed, now=parts.now())
            await ending.finish(entries)
        log.info("issuer.removed", issuer_id=issuer_id, **actor(caller))

    return router
