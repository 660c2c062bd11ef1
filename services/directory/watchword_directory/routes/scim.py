"""`/scim/v2`: SCIM 2.0 for whoever holds the scope `watchword:scim`. Spec: RFC 7644 3."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

import orjson
import structlog
from fastapi import APIRouter, Request, Response

from watchword_directory.edge import Parts
from watchword_directory.ranks import Rank, Reach, reach_of
from watchword_web.errors import Problem
from watchword_web.forms import parse_json

if TYPE_CHECKING:
    from functools import _lru_cache_wrapper

    from watchword_directory.scim.server import ScimServer

log = structlog.get_logger()

PREFIX: Final = "/scim/v2"
SCOPE: Final = "watchword:scim"
MEDIA_TYPE: Final = "application/scim+json"
MAX_BODY: Final = 1024 * 1024
_METHODS: Final = ["GET", "POST", "PUT", "PATCH", "DELETE"]
# What is told of the interface; the last route answers everything below the prefix.
_DESCRIBED: Final = (
    ("GET", "/ServiceProviderConfig", "scim_service_provider_config", "What this server offers over SCIM"),
    ("GET", "/ResourceTypes", "scim_resource_types", "Users and groups, and where they are"),
    ("GET", "/Schemas", "scim_schemas", "What can be said of them"),
    ("GET", "/Users", "scim_list_users", "Users that a filter means, by page or cursor"),
    ("POST", "/Users", "scim_create_user", "A new user, who signs in through a provider"),
    ("GET", "/Users/{id}", "scim_get_user", "One user"),
    ("PUT", "/Users/{id}", "scim_replace_user", "The user as described"),
    ("PATCH", "/Users/{id}", "scim_change_user", "The user changed; `active: false` ends every token at once"),
    ("DELETE", "/Users/{id}", "scim_delete_user", "The user is gone"),
    ("GET", "/Groups", "scim_list_groups", "Groups that a filter means"),
    ("POST", "/Groups", "scim_create_group", "A new group"),
    ("GET", "/Groups/{id}", "scim_get_group", "One group with its members"),
    ("PUT", "/Groups/{id}", "scim_replace_group", "The group as described"),
    ("PATCH", "/Groups/{id}", "scim_change_group", "The group or its members changed"),
    ("DELETE", "/Groups/{id}", "scim_delete_group", "The group is gone"),
    ("POST", "/Bulk", "scim_bulk", "Up to 200 operations, each for itself"),
)


def routers(parts: Parts) -> list[APIRouter]:
    """Each request is answered by the one server, which is made at the first of them."""
    router = APIRouter(prefix=PREFIX)

    @cache
    def server() -> "ScimServer":
        from watchword_directory.scim.server import ScimServer  # libraries of some megabytes, for those who use them

        return ScimServer(parts)

    async def answer(request: Request) -> Response:
        return await _answer(parts, server, request)

    for method, path, name, summary in _DESCRIBED:
        router.add_api_route(path, _named(answer, name), methods=[method], name=name, summary=summary)
    router.add_api_route("/{path:path}", answer, methods=_METHODS, include_in_schema=False)
    router.add_api_route("", answer, methods=_METHODS, include_in_schema=False)
    return [router]


def _named(answer: Callable[[Request], Awaitable[Response]], name: str) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        return await answer(request)

    endpoint.__name__ = name
    return endpoint


async def _answer(parts: Parts, server: "_lru_cache_wrapper[ScimServer]", request: Request) -> Response:
    try:
        caller = await parts.callers.holder(request, SCOPE, via="scim")
        if caller.user_id is not None and reach_of(caller).rank < Rank.ADMINISTRATOR:
            raise Problem(403, "Not allowed", "The person behind this credential does not administer.")
    except Problem as refused:
        return _error(refused)
    # Made in a thread: that takes a second, in which others are answered.
    serving = server() if server.cache_info().currsize else await asyncio.to_thread(server)
    from scim2_server.requests import ScimRequest

    path = request.url.path.partition(PREFIX)[2]
    body = await request.body()
    if body and "content-type" not in request.headers:
        parse_json(body)  # RFC 7644 3.8: it is JSON all the same, which nobody has looked at yet
    asked = ScimRequest(
        method=request.method,
        base_url=f"{parts.settings.public_url}{PREFIX}",
        path=path or "/",
        query=dict(parse_qsl(request.url.query, keep_blank_values=True)),  # the first cursor is an empty one
        headers=dict(request.headers),
        body=body,
    )
    # What happens through a system that is not a person is never above an administrator's.
    response = await serving.answer(asked, by=Reach(min(reach_of(caller).rank, Rank.ADMINISTRATOR)))
    log.info("scim.answered", method=request.method, status=int(response.status), by_key=caller.api_key_id)
    said = b"" if response.body is None else orjson.dumps(response.body)
    return Response(said, int(response.status), {"Cache-Control": "no-store", **response.headers})


def _error(refused: Problem) -> Response:
    """A refusal of the caller in SCIM's form. Spec: RFC 7644 3.12."""
    body = {
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
        "status": str(refused.status),
        "detail": refused.detail or HTTPStatus(refused.status).phrase,
    }
    return Response(orjson.dumps(body), refused.status, {**refused.headers, "Content-Type": MEDIA_TYPE})
