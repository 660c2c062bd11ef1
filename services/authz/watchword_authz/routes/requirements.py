"""`/api/v1/factor-requirements`: of whom a second factor is demanded."""

from datetime import datetime
from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, ConfigDict, Field, model_validator

from watchword_authz import requirement_store, requirements
from watchword_authz.context import Context
from watchword_authz.models import FactorRequirement
from watchword_authz.requirements import AppliesTo
from watchword_database.engine import transaction
from watchword_runtime.access import Caller
from watchword_runtime.callers import actor
from watchword_runtime.receipts import Ending, RevokingRoute
from watchword_web.api import Page, ProblemDocument
from watchword_web.errors import Problem

log = structlog.get_logger()

_ERRORS: dict[int | str, dict[str, object]] = {
    401: {"model": ProblemDocument},
    403: {"model": ProblemDocument},
    404: {"model": ProblemDocument},
    409: {"model": ProblemDocument},
}


class NewRequirement(BaseModel):
    """Of whom. entity_id: of the organization or the client; left out for the whole installation."""

    model_config = ConfigDict(extra="forbid")

    applies_to: AppliesTo
    entity_id: str = Field("", max_length=2048)

    @model_validator(mode="after")
    def _check_entity(self) -> "NewRequirement":
        if bool(self.entity_id) is (self.applies_to is AppliesTo.INSTALLATION):
            raise ValueError("entity_id belongs to an organization or a client, and to nothing else")
        return self


class RequirementItem(BaseModel):
    """A requirement that counts."""

    id: str
    applies_to: AppliesTo
    entity_id: str
    created_at: datetime


def router(context: Context) -> APIRouter:
    """For administrators only."""
    api = APIRouter(
        prefix="/api/v1/factor-requirements",
        tags=["administration"],
        responses=_ERRORS,
        route_class=RevokingRoute,
    )
    administrator = Annotated[Caller, Depends(context.callers.administrator)]

    @api.get("", summary="List of whom a second factor is demanded")
    async def list_factor_requirements(_caller: administrator) -> Page[RequirementItem]:
        async with transaction(context.database) as session:
            rows = await requirement_store.list_requirements(session)
        return Page(items=[_item(row) for row in rows], next=None)

    @api.post("", status_code=201, summary="Demand a second factor; what was granted without one ends")
    async def demand_factor(
        body: NewRequirement, caller: administrator, ending: Annotated[Ending, Depends(context.endings)]
    ) -> RequirementItem:
        async with transaction(context.database) as session:
            made = await requirements.demand(
                session, body.applies_to, body.entity_id, feed=context.feed, now=context.now()
            )
        if made is None:
            raise Problem(409, "This is demanded already")
        row, entries = made
        await ending.finish(entries)
        log.info("factor.demanded", applies_to=row.applies_to, ended=len(entries), **actor(caller))
        return _item(row)

    @api.delete("/{requirement_id}", status_code=204, summary="Demand a second factor no more")
    async def drop_factor_requirement(
        requirement_id: Annotated[str, Path(max_length=64)], caller: administrator
    ) -> None:
        async with transaction(context.database) as session:
            is_dropped = await requirement_store.delete_requirement(session, requirement_id)
        if not is_dropped:
            raise Problem(404, "There is no such requirement")
        log.info("factor.not_demanded", requirement_id=requirement_id, **actor(caller))

    return api


def _item(row: FactorRequirement) -> RequirementItem:
    return RequirementItem.model_validate(row, from_attributes=True)
