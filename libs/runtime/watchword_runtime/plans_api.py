"""HTTP edge of declared documents: `/api/v1/apply/<owner>`, the same at every owner."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

import structlog
from fastapi import APIRouter, Depends, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from watchword_events.names import Service
from watchword_runtime.access import Caller
from watchword_runtime.callers import Callers, actor
from watchword_runtime.declared import Application, Kind, Members, Plan
from watchword_runtime.plans import Plans
from watchword_runtime.receipts import Ending, Endings, RevokingRoute
from watchword_web.api import DEFAULT_LIMIT, MAX_LIMIT, Cursor, Page
from watchword_web.errors import FieldError, Problem
from watchword_web.forms import read_json

log = structlog.get_logger()

APPLY: Final = "/api/v1/apply"
MAX_BYTES: Final = 4 * 1024 * 1024  # 5,000 documents of a usual size


def _without_definitions(model: type[BaseModel]) -> dict[str, Any]:
    """A model's schema for a place where nothing can be referred to: any JSON value is `{}`."""
    schema = model.model_json_schema()
    schema.pop("$defs", None)
    schema["properties"]["documents"]["items"] = {"type": "object"}
    return schema


_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": _without_definitions(Application)}},
    }
}


class Listing(BaseModel):
    """Which documents. cursor: the `next` of the page before."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str = Field(max_length=64)
    limit: int = Field(DEFAULT_LIMIT, ge=1, le=MAX_LIMIT)
    cursor: str | None = Field(None, max_length=1024)


def apply_path(owner: Service) -> str:
    """Where the documents of an owner are applied and read."""
    return f"{APPLY}/{owner.value}"


def plan_router(owner: Service, plans: Plans, callers: Callers, endings: Endings, cursor: Cursor) -> APIRouter:
    """The documents of one owner; applying them is for administrators, their schema is for everybody."""
    router = APIRouter(prefix=apply_path(owner), route_class=RevokingRoute)
    administrator = Annotated[Caller, Depends(callers.administrator)]
    ending_of = Annotated[Ending, Depends(endings)]

    @router.post("", name=f"apply_{owner.value}_documents", openapi_extra=_BODY)
    async def apply_documents(request: Request, caller: administrator, ending: ending_of) -> Plan:
        """All of it happens or nothing; with `dry_run` it is only said what would."""
        try:
            asked = Application.model_validate(await read_json(request, MAX_BYTES))
        except ValidationError as invalid:
            problems = [{**each, "loc": ("body", *each["loc"])} for each in invalid.errors(include_input=False)]
            raise RequestValidationError(problems) from None
        plan = await plans.apply(asked, caller, ending)
        if plan.applied:
            done = [step for step in plan.steps if step.action != "unchanged"]
            log.info("documents.applied", count=len(plan.steps), changed=len(done), **actor(caller))
        return plan

    @router.get("", name=f"list_{owner.value}_documents")
    async def list_documents(listing: Annotated[Listing, Query()], _caller: administrator) -> Page[Members]:
        """What there is of a kind, as documents whose application changes nothing. Secrets are not among it."""
        if listing.kind not in plans.kinds:
            known = ", ".join(plans.kinds)
            raise Problem(
                400, "The request is not valid", errors=[FieldError(parameter="kind", detail=f"one of {known}")]
            )
        name = f"documents:{listing.kind}"
        after = str(cursor.read(name, listing.cursor)[0]) if listing.cursor else ""
        found, following = await plans.export(listing.kind, after, listing.limit)
        return Page(items=found, next=cursor.make(name, following) if following else None)

    @router.get("/schema", name=f"get_{owner.value}_document_schema", openapi_extra={"security": []})
    async def get_document_schema() -> dict[str, Any]:
        """JSON Schema of the documents, for editors."""
        return schema_of(plans.kinds)

    return router


def schema_of(kinds: Mapping[str, Kind[Any]]) -> dict[str, Any]:
    """JSON Schema (2020-12) of any document of these kinds."""
    definitions: dict[str, Any] = {}
    for kind in kinds.values():
        shapes = [_shape(kind, model, definitions) for model in kind.models()]
        definitions[kind.name] = shapes[0] if len(shapes) == 1 else {"oneOf": shapes}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "oneOf": [{"$ref": f"#/$defs/{name}"} for name in kinds],
        "$defs": definitions,
    }


def _shape(kind: Kind[Any], model: type[BaseModel], definitions: dict[str, Any]) -> dict[str, Any]:
    """JSON Schema of one shape of a kind; what it refers to is among the definitions afterwards."""
    schema = model.model_json_schema(ref_template=f"#/$defs/{kind.name}.{{model}}")
    for name, nested in schema.pop("$defs", {}).items():
        definitions[f"{kind.name}.{name}"] = nested
    for name in kind.secrets:
        if name in schema["properties"]:
            schema["properties"][name] = _reference_or(schema["properties"][name])
    schema["properties"] = {"kind": {"const": kind.name}, **schema["properties"]}
    schema["required"] = ["kind", *schema.get("required", [])]
    return schema


def _reference_or(secret: dict[str, Any]) -> dict[str, Any]:
    """A secret as itself or, better, by where it stands: `watchword apply` reads it there."""
    place = {"type": "object", "additionalProperties": False, "minProperties": 1, "maxProperties": 1}
    return {
        "description": "The secret, or {env: VARIABLE} or {file: path} to read it from",
        "anyOf": [secret, {**place, "properties": {"env": {"type": "string"}, "file": {"type": "string"}}}],
    }
