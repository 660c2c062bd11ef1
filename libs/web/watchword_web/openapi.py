"""The OpenAPI 3.1 document of a service, as it really answers."""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from watchword_web.api import ProblemDocument

_PROBLEM = {
    "description": "Refused, with the reason",
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
}
_CREDENTIALS = {
    "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "at+jwt"},
    "apiKey": {"type": "apiKey", "in": "header", "name": "Watchword-API-Key"},
}
# Of clients, at protocol endpoints.
_OF_CLIENTS = {"client_secret_basic": {"type": "http", "scheme": "basic"}}


def describe(app: FastAPI, service: str, extra_paths: Mapping[str, Mapping[str, object]]) -> None:
    """Makes the application's document: errors as problem+json, the service as tag, credentials, hot paths included.

    extra_paths: OpenAPI path items of endpoints that FastAPI does not know.
    """
    built: dict[str, Any] = {}

    def document() -> dict[str, Any]:
        if not built:
            built.update(_document(app, service, extra_paths))
        return built

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's documented way to extend the document


def _document(app: FastAPI, service: str, extra_paths: Mapping[str, Mapping[str, object]]) -> dict[str, Any]:
    document = get_openapi(
        title=app.title, version=app.version, openapi_version="3.1.0", routes=app.routes, servers=app.servers
    )
    for path, path_item in document["paths"].items():
        for operation in path_item.values():
            operation.setdefault("tags", [service])
            operation["responses"].pop("422", None)  # we answer 400
            if path.startswith("/api/v1"):
                operation["responses"]["default"] = _PROBLEM
                operation.setdefault("security", [{name: []} for name in _CREDENTIALS])
    document["paths"] |= extra_paths
    components = document.setdefault("components", {})
    components["securitySchemes"] = _CREDENTIALS | _OF_CLIENTS
    schemas = components.setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    problem = ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= problem.pop("$defs")
    schemas["ProblemDocument"] = problem
    return document
