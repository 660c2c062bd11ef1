"""HTTP edge of `/api/v1/me/activity`: what the log says of the caller."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, JsonValue

from watchword_admin.api import Listing
from watchword_admin.audit import store
from watchword_admin.audit.documents import AuditEntry, view
from watchword_admin.edge import Parts
from watchword_database import transaction
from watchword_runtime.access import Caller
from watchword_web.api import Page


class MyActivityListing(Listing):
    """The caller's own entries, the newest first."""


class Activity(BaseModel):
    """What the caller did, or what was done to their account. seq: the entry's number.

    is_own: whether the caller did it; where and with what stands there only then, because otherwise it says something
    about somebody else.  fields: the names of members that were changed.
    """

    seq: int
    at: datetime
    action: str
    is_own: bool
    via: str | None = None
    client_id: str | None = None
    address: str | None = None
    user_agent: str | None = None
    details: dict[str, JsonValue] = {}
    fields: list[str] = []


def my_activity_router(parts: Parts) -> APIRouter:
    """For everybody, about nobody but the caller."""
    router = APIRouter(prefix="/api/v1/me/activity", tags=["account"])
    person = Annotated[Caller, Depends(parts.callers.person)]

    @router.get("")
    async def list_my_activity(listing: Annotated[MyActivityListing, Query()], caller: person) -> Page[Activity]:
        """Sign-ins, failed ones included, and changes of the caller's account, by whomever."""
        # The cursor of one person is nothing for another.
        name = f"{listing.name}:{caller.person_id}"
        before = int(parts.cursor.read(name, listing.cursor)[0]) if listing.cursor else None
        async with transaction(parts.database) as session:
            found = await store.list_entries(
                session, before=before, limit=listing.limit + 1, equal={}, about=caller.person_id
            )
        shown = [view(each, issuer=parts.settings.issuer, issuers={}) for each in found[: listing.limit]]
        more = parts.cursor.make(name, shown[-1].seq) if len(found) > listing.limit else None
        return Page(items=[_activity(each, caller.person_id) for each in shown], next=more)

    return router


def _activity(entry: AuditEntry, user_id: str) -> Activity:
    is_change = entry.action.endswith(".updated")  # what is new has everything
    said = Activity(
        seq=entry.seq,
        at=entry.at,
        action=entry.action,
        is_own=entry.actor.sub == user_id,
        fields=[each.field for each in entry.changes if not each.is_secret] if is_change else [],
    )
    if not said.is_own:
        return said
    return said.model_copy(
        update={
            "via": entry.via,
            "client_id": entry.actor.client_id,
            "address": entry.address,
            "user_agent": entry.user_agent,
            "details": entry.details,
        }
    )
