"""Query parameters of `/api/v1`: what a route does not know is refused, so that a mistyped `dry_run` ends nothing."""

from collections.abc import Iterator

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import BaseModel

from watchword_web.errors import FieldError, Problem


def check_parameters(request: Request) -> None:
    """Raises Problem (400) that names each parameter which the route of the request does not have."""
    route = request.scope["route"]
    if not request.scope["query_string"] or not isinstance(route, APIRoute):
        return
    unknown = sorted(set(request.query_params) - set(_names(route.dependant)))
    if unknown:
        errors: list[FieldError] = [{"parameter": name, "detail": "there is no such parameter"} for name in unknown]
        raise Problem(400, "The request is not valid", "Some parameters are not known here.", errors=errors)


def _names(dependant: Dependant) -> Iterator[str]:
    for each in dependant.query_params:
        kind = each.field_info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from (field.alias or name for name, field in kind.model_fields.items())
        else:
            yield each.alias
    for each_dependency in dependant.dependencies:
        yield from _names(each_dependency)
