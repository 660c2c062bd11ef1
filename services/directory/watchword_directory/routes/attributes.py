"""`/api/v1/attributes`: which attributes of the installation's own a user may have."""

from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Path, Response
from pydantic import BaseModel

from watchword_database import transaction
from watchword_directory import attributes
from watchword_directory.attributes import AttributeName, AttributeView, Declaration, attribute_view
from watchword_directory.edge import Parts
from watchword_directory.refusals import refusals
from watchword_runtime.access import Caller
from watchword_runtime.callers import actor
from watchword_web.errors import Problem

log = structlog.get_logger()


class AttributeViews(BaseModel):
    """All declared attributes."""

    items: list[AttributeView]
    next: None = None


def routers(parts: Parts) -> list[APIRouter]:
    """For administrators only."""
    router = APIRouter(prefix="/api/v1/attributes")
    administrator = Annotated[Caller, Depends(parts.callers.administrator)]
    attribute_name = Annotated[AttributeName, Path()]

    @router.get("")
    async def list_attributes(_caller: administrator) -> AttributeViews:
        """Every declared attribute, by name."""
        async with transaction(parts.database) as session:
            found = await attributes.list_attributes(session)
        return AttributeViews(items=[attribute_view(each) for each in found])

    @router.put("/{name}")
    async def declare_attribute(
        name: attribute_name, body: Declaration, caller: administrator, response: Response
    ) -> AttributeView:
        """Users may have this attribute, with this kind of value, which stays. 201 when it is new."""
        with refusals("attribute"):
            async with transaction(parts.database) as session:
                declared, is_new = await attributes.declare(session, name, body, now=parts.now())
        log.info("attribute.declared", attribute=name, kind=body.kind, is_new=is_new, **actor(caller))
        response.status_code = 201 if is_new else 200
        return attribute_view(declared)

    @router.delete("/{name}", status_code=204)
    async def withdraw_attribute(name: attribute_name, caller: administrator) -> None:
        """No user may have this attribute any more. Refused while one has it."""
        with refusals("attribute"):
            async with transaction(parts.database) as session:
                withdrawn = await attributes.withdraw(session, name)
        if not withdrawn:
            raise Problem(404, "No such attribute", "No attribute with this name is declared.")
        log.info("attribute.withdrawn", attribute=name, **actor(caller))

    return [router]
