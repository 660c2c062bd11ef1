"""HTTP edge of `/api/v1/audit`."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse
from pydantic import Field

from watchword_admin import store as configuration
from watchword_admin.api import Listing
from watchword_admin.audit import store
from watchword_admin.audit.documents import AuditEntry, Verification, view
from watchword_admin.audit.seals import Seals
from watchword_admin.audit.verifying import verify
from watchword_admin.edge import Parts
from watchword_database import transaction
from watchword_database.audit import exported
from watchword_runtime.access import Caller
from watchword_web.api import Moment, Page


class AuditListing(Listing):
    """Entries, the newest first. action: a name, or the beginning of several with a star behind it: `client.*`.

    kind, resource: of what changed.  actor: who did it, a user's or a client's id.  reference: of one call.
    """

    action: str | None = Field(None, max_length=128)
    kind: str | None = Field(None, max_length=64)
    resource: str | None = Field(None, max_length=512)
    actor: str | None = Field(None, max_length=512)
    reference: str | None = Field(None, max_length=64)
    since: Moment | None = None
    until: Moment | None = None


def audit_router(parts: Parts, seals: Seals) -> APIRouter:
    """`/api/v1/audit`, for administrators; of an organization, for what its people did to themselves and each other."""
    router = APIRouter(prefix="/api/v1/audit")
    administrator = Annotated[Caller, Depends(parts.callers.administrator)]

    @router.get("")
    async def list_audit_entries(listing: Annotated[AuditListing, Query()], caller: administrator) -> Page[AuditEntry]:
        """Who changed what, before and after, when and from where; sign-ins and credential events as well."""
        before = int(parts.cursor.read(listing.name, listing.cursor)[0]) if listing.cursor else None
        wanted = listing.model_dump(include={"action", "kind", "resource", "actor", "reference"}, exclude_none=True)
        prefix = wanted.pop("action")[:-1] if (listing.action or "").endswith("*") else None
        async with transaction(parts.database) as session:
            found = await store.list_entries(
                session,
                before=before,
                limit=listing.limit + 1,
                equal=wanted,
                action_prefix=prefix,
                since=listing.since,
                until=listing.until,
                organizations=caller.reach,
            )
            issuers = await configuration.issuers_of_providers(session)
        shown = found[: listing.limit]
        more = len(found) > listing.limit
        return Page(
            items=[view(each, issuer=parts.settings.issuer, issuers=issuers) for each in shown],
            next=parts.cursor.make(listing.name, shown[-1].seq) if more else None,
        )

    @router.get("/export", response_class=StreamingResponse)
    async def export_audit_log(
        _caller: administrator,
        after: Annotated[int, Query(ge=0, lt=2**63, description="Only entries behind this number")] = 0,
    ) -> StreamingResponse:
        """The log as it is stored, a line of JSON for each entry, for `watchword audit verify --file` and others."""
        return StreamingResponse(exported_lines(parts, after), media_type="application/x-ndjson")

    @router.get("/verification")
    async def verify_audit_log(_caller: administrator) -> Verification:
        """Whether every entry is what was written: none changed, removed or put in between."""
        async with transaction(parts.database) as session:
            await store.in_one_moment(session)
            return await verify(session, seals)

    return router


async def exported_lines(parts: Parts, after: int = 0) -> AsyncIterator[str]:
    """The log as it is stored, a line of JSON for each entry behind the number `after`."""
    seq = after
    while True:
        async with transaction(parts.database) as session:
            page = await store.entries_after(session, seq)
        if not page:
            return
        seq = page[-1].seq
        yield "".join(f"{exported(entry)}\n" for entry in page)
