"""`/api/v1/deliveries`: which clients have been told that sessions ended, and trying again."""

from datetime import datetime
from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field
from sqlmodel import col, select

from watchword_database import transaction
from watchword_runtime.access import Caller
from watchword_runtime.callers import actor
from watchword_token.edge import Parts
from watchword_token.models import Delivery, DeliveryState
from watchword_token.routes.views import Listing
from watchword_web.api import Page
from watchword_web.errors import Problem

log = structlog.get_logger()

Id = Annotated[str, Field(max_length=64)]


class DeliveryListing(Listing):
    """Deliveries in a state, to a client, or all."""

    state: DeliveryState | None = None
    client_id: str | None = Field(None, max_length=128)


class DeliveryView(BaseModel):
    """One client that is told of one session. error: why the last attempt failed."""

    id: str
    sid: str
    client_id: str
    user_id: str
    state: DeliveryState
    attempts: int
    created_at: datetime
    next_attempt_at: datetime
    give_up_at: datetime
    ended_at: datetime | None
    error: str | None


def delivery_router(parts: Parts) -> APIRouter:
    """Back-channel logouts."""
    router = APIRouter(prefix="/api/v1/deliveries")
    administrator = Annotated[Caller, Depends(parts.callers.administrator)]

    @router.get("")
    async def list_deliveries(
        listing: Annotated[DeliveryListing, Query()], _caller: administrator
    ) -> Page[DeliveryView]:
        """Deliveries, newest first; those of the last days."""
        before = str(parts.cursor.read(listing.name, listing.cursor)[0]) if listing.cursor else ""
        statement = select(Delivery).order_by(col(Delivery.id).desc()).limit(listing.limit + 1)
        if before:
            statement = statement.where(col(Delivery.id) < before)
        if listing.state is not None:
            statement = statement.where(col(Delivery.state) == listing.state.value)
        if listing.client_id is not None:
            statement = statement.where(col(Delivery.client_id) == listing.client_id)
        async with transaction(parts.database) as session:
            rows = (await session.exec(statement)).all()
        shown = rows[: listing.limit]
        cursor = parts.cursor.make(listing.name, shown[-1].id) if len(rows) > listing.limit else None
        return Page(items=[_view(row) for row in shown], next=cursor)

    @router.post("/{delivery_id}/replay", status_code=202)
    async def replay_delivery(delivery_id: Id, caller: administrator) -> DeliveryView:
        """One that was given up is tried again, for as long as a new one."""
        async with transaction(parts.database) as session:
            row = await session.get(Delivery, delivery_id)
            if row is None:
                raise Problem(404, "No such delivery", "There is no delivery with this id, or it has been forgotten.")
            if not await parts.deliveries.replay(session, delivery_id):
                raise Problem(409, "Not given up", f"This delivery is {row.state}: only a dead one can be replayed.")
            await session.refresh(row)
            shown = _view(row)
        parts.deliveries.look()
        log.info("delivery.replayed", delivery_id=delivery_id, **actor(caller))
        return shown

    return router


def _view(row: Delivery) -> DeliveryView:
    return DeliveryView.model_validate(row.model_dump(exclude={"locked_until"}))
