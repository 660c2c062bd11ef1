"""HTTP edge of `/oauth2/register`, for programs; no cookie plays a part, so any origin may call it."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Path, Request, Response

from watchword_admin.edge import Parts
from watchword_admin.registration import clients
from watchword_runtime.receipts import PARAMETERS
from watchword_web.errors import OAuthError
from watchword_web.forms import Params, read_json, read_query
from watchword_web.surfaces import Surface

REGISTER: Final = "/oauth2/register"
METHODS: Final = ("GET", "POST", "PUT", "DELETE")
_NO_STORE: Final[dict[str, str]] = {"Cache-Control": "no-store", "Pragma": "no-cache"}
_METADATA: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "description": "Client metadata of RFC 7591 section 2",
                    "properties": {"redirect_uris": {"type": "array", "items": {"type": "string", "format": "uri"}}},
                }
            }
        },
    }
}
Id = Annotated[str, Path(max_length=64)]


def register_router(parts: Parts) -> APIRouter:
    """Registration and management of oneself. Spec: RFC 7591 3.1; RFC 7592 2.1, 2.2, 2.3."""
    router = APIRouter(prefix=REGISTER, tags=["registration"])
    public_url = parts.settings.public_url

    def limit(request: Request) -> Params:
        query = read_query(request)
        parts.registrations.check(parts.address(request), parts.now(), Surface.OAUTH)
        return query

    @router.post("", status_code=201, openapi_extra=_METADATA, summary="Register a client")
    async def register(request: Request) -> Response:
        limit(request)
        metadata = await _metadata(request)
        registered = await clients.register(parts, metadata, _bearer(request))
        return _answer(registered.information(public_url), 201)

    @router.get("/{client_id}", summary="What is registered about oneself")
    async def read_registration(client_id: Id, request: Request) -> Response:
        limit(request)
        return _answer((await clients.read(parts, client_id, _bearer(request))).information(public_url))

    @router.put("/{client_id}", openapi_extra=_METADATA, summary="Change what is registered about oneself")
    async def change_registration(client_id: Id, request: Request) -> Response:
        limit(request)
        metadata = await _metadata(request)
        return _answer((await clients.change(parts, client_id, metadata, _bearer(request))).information(public_url))

    @router.delete("/{client_id}", status_code=204, summary="Delete oneself", openapi_extra={"parameters": PARAMETERS})
    async def delete_registration(client_id: Id, request: Request) -> Response:
        ending = parts.endings.asked(limit(request))
        await clients.delete(parts, client_id, _bearer(request), ending)
        return Response(status_code=204, headers=_NO_STORE | ending.headers)

    return router


def _bearer(request: Request) -> str | None:
    """The one bearer token of the request. Raises OAuthError for several, or for another scheme."""
    values = request.headers.getlist("authorization")
    if not values:
        return None
    scheme, _, token = values[0].partition(" ")
    if len(values) > 1 or scheme.lower() != "bearer":
        raise OAuthError("invalid_request", "Send one bearer token")
    return token.strip()


async def _metadata(request: Request) -> Mapping[str, object]:
    found = await read_json(request)
    if not isinstance(found, dict):
        raise OAuthError("invalid_client_metadata", "Client metadata are a JSON object")
    return found


def _answer(document: Mapping[str, object], status: int = 200) -> Response:
    return Response(orjson.dumps(document), status, _NO_STORE, "application/json")
