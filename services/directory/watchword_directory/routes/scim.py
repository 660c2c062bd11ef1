"""`/scim/v2`: SCIM 2.0 for whoever holds a SCIM token, or the scope `watchword:scim`. Spec: RFC 7644 3."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

import orjson
import structlog
from fastapi import APIRouter, Request, Response

from watchword_database import transaction
from watchword_directory import scim_tokens
from watchword_directory.edge import Parts
from watchword_directory.models import ScimFailure
from watchword_directory.ranks import Rank, Reach, reach_of
from watchword_policy.scopes import SCIM_SCOPE
from watchword_runtime.access import API_KEY_HEADERS, Caller
from watchword_runtime.receipts import PARAMETERS, Ending
from watchword_web.errors import BadRequest, Problem
from watchword_web.forms import parse_json, read_query

if TYPE_CHECKING:
    from functools import _lru_cache_wrapper

    from watchword_directory.scim.server import ScimServer

log = structlog.get_logger()

PREFIX: Final = "/scim/v2"
MEDIA_TYPE: Final = "application/scim+json"
MAX_BODY: Final = 1024 * 1024
_MAX_PATH: Final = 128
_MAX_DETAIL: Final = 512
_METHODS: Final = ["GET", "POST", "PUT", "PATCH", "DELETE"]
_ENDS: Final = ("/Users", "/Bulk")  # what is written there may end something
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
        waits = {"parameters": PARAMETERS} if method != "GET" and path.startswith(_ENDS) else None
        router.add_api_route(
            path, _named(answer, name), methods=[method], name=name, summary=summary, openapi_extra=waits
        )
    router.add_api_route("/{path:path}", answer, methods=_METHODS, include_in_schema=False)
    router.add_api_route("", answer, methods=_METHODS, include_in_schema=False)
    return [router]


def _named(answer: Callable[[Request], Awaitable[Response]], name: str) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        return await answer(request)

    endpoint.__name__ = name
    return endpoint


async def _answer(parts: Parts, server: "_lru_cache_wrapper[ScimServer]", request: Request) -> Response:
    query = dict(parse_qsl(request.url.query, keep_blank_values=True))  # the first cursor is an empty one
    try:
        caller, by = await _caller(parts, request)
        ending = _ending(parts, request, query)
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
        query=query,
        headers=dict(request.headers),
        body=body,
    )
    response = await serving.answer(asked, by=by, ending=ending)
    status = int(response.status)
    log.info("scim.answered", method=request.method, status=status, by_key=caller.api_key_id)
    said = b"" if response.body is None else orjson.dumps(response.body)
    if caller.user_id is None and caller.api_key_id is not None:
        await _note(parts, caller.api_key_id, request.method, path, status, response.body)
    return Response(said, int(response.status), {"Cache-Control": "no-store", **response.headers})


async def _caller(parts: Parts, request: Request) -> tuple[Caller, Reach]:
    """Who calls, and how far they reach: with a SCIM token, or as an administrator's key or a client does.

    What happens through a system that is not a person is never above an administrator's. Raises Problem.
    """
    scheme, _, presented = request.headers.get("authorization", "").partition(" ")
    presented = presented.strip()
    if scheme.lower() == "bearer" and presented.startswith(scim_tokens.PREFIX):
        return await _token_holder(parts, request, presented)
    caller = await parts.callers.holder(request, SCIM_SCOPE, via="scim")
    if caller.user_id is not None and reach_of(caller).rank < Rank.ADMINISTRATOR:
        raise Problem(403, "Not allowed", "The person behind this credential does not administer.")
    return caller, Reach(min(reach_of(caller).rank, Rank.ADMINISTRATOR))


async def _token_holder(parts: Parts, request: Request, presented: str) -> tuple[Caller, Reach]:
    """The holder of a SCIM token, who reaches its organization; without one everything below administration.

    A token of a provider ends with it, and is of its organization. Raises Problem, FeedAway.
    """
    read_query(request)  # a repeated parameter is refused before two readers could each see another value
    if any(name in request.headers for name in API_KEY_HEADERS):
        raise Problem(401, "Not signed in", "Send one credential, not several.")
    async with transaction(parts.database) as session:
        token = await scim_tokens.find_live(session, presented, now=parts.now())
    if token is not None and token.provider_id is not None:
        provider = await parts.providers.get(token.provider_id)
        is_open = parts.feed.is_live({"idp": token.provider_id, "rev": parts.feed.position})
        if provider is None or not (provider.enabled and is_open) or provider.organization != token.organization_id:
            token = None
    if token is None or parts.feed.is_revoked(scim_tokens.source_of(token)):
        raise parts.callers.unknown(request)
    reach = None if token.organization_id is None else frozenset({token.organization_id})
    caller = Caller(None, None, frozenset({SCIM_SCOPE}), api_key_id=token.id, name=token.name, reach=reach)
    parts.callers.act(caller, request, via="scim")
    return caller, Reach(Rank.NONE if reach is None else Rank.ORGANIZATION, reach)


def _ending(parts: Parts, request: Request, query: Mapping[str, str]) -> Ending:
    """How the request ends what it ends; one that only reads waits for nobody. Raises Problem."""
    try:
        return parts.endings.asked({} if request.method == "GET" else query)
    except BadRequest as wrong:
        raise Problem(wrong.status, "The request is not valid", wrong.description) from None


async def _note(parts: Parts, token_id: str, method: str, path: str, status: int, body: object) -> None:
    """What was refused is kept for whoever looks why it does not arrive; of a bulk request, its first operation."""
    refused: list[tuple[int, object]] = [(status, body)]
    if status < HTTPStatus.BAD_REQUEST:
        operations = body.get("Operations", []) if isinstance(body, dict) else []
        answers = [(int(each.get("status", 0)), each.get("response")) for each in operations]
        refused = [answer for answer in answers if answer[0] >= HTTPStatus.BAD_REQUEST]
    if not refused:
        return
    first, told = refused[0]
    detail = str(told.get("detail") or "") if isinstance(told, dict) else ""
    if len(refused) > 1:
        detail = f"{len(refused)} operations; the first: {detail}"
    failure = ScimFailure(
        token_id=token_id,
        at=parts.now(),
        method=method,
        path=clipped(path, _MAX_PATH),
        status=first,
        detail=clipped(detail, _MAX_DETAIL),
    )
    async with transaction(parts.database) as session:
        await scim_tokens.note_failure(session, failure)


def clipped(text: str, most: int) -> str:
    """As much of the text as is kept, without what PostgreSQL does not keep."""
    return text[:most].replace("\x00", "").encode(errors="replace").decode()


def _error(refused: Problem) -> Response:
    """A refusal of the caller in SCIM's form. Spec: RFC 7644 3.12."""
    body = {
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
        "status": str(refused.status),
        "detail": refused.detail or HTTPStatus(refused.status).phrase,
    }
    return Response(orjson.dumps(body), refused.status, {**refused.headers, "Content-Type": MEDIA_TYPE})
