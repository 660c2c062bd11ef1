"""The OpenAPI 3.1 document of a service, as it really answers."""

from collections.abc import Mapping

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from watchword_web.api import ProblemDocument

_PROBLEM = {
    "description": "Refused",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
}


def describe(app: FastAPI, service: str, extra_paths: Mapping[str, Mapping[str, object]]) -> None:
    """Makes the application's document: errors as problem+json, the service as tag, hot paths included.

    extra_paths: OpenAPI path items of endpoints that FastAPI does not know.
    """
    built: dict[str, object] = {}

    def document() -> dict[str, object]:
        if not built:
            built.update(_document(app, service, extra_paths))
        return built

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's documented way to extend the document


def _document(app: FastAPI, service: str, extra_paths: Mapping[str, Mapping[str, object]]) -> dict[str, object]:
    document = get_openapi(
        title=app.title,
        version=app.version,
        openapi_version="3.1.0",
        routes=app.routes,
        servers=app.servers,
    )
    paths: dict[str, dict[str, dict[str, object]]] = document.setdefault("paths", {})
    for path_item in paths.values():
        for operation in path_item.values():
            operation.setdefault("tags", [service])
            responses = operation.get("responses")
            if isinstance(responses, dict):
                responses.pop("422", None)  # we answer 400
                responses["default"] = _PROBLEM
    for path, item in extra_paths.items():
        document["paths"][path] = item
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    problem = ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= problem.pop("$defs", {})
    schemas["ProblemDocument"] = problem
    return document
