"""The data plane: endpoints that are found by one dictionary look-up, before any middleware or router.

A hot endpoint is a plain ASGI callable. It reads with `read_body` and `parse_form`, answers with `send_json`, and
raises `OAuthError` or `BadRequest` *before* it sends anything. Why: docs/performance.md.
"""

from collections.abc import Iterable, Mapping

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from watchword_web.errors import BODY_LIMIT_BYTES, BadRequest, BodyTooLarge, OAuthError
from watchword_web.failures import oauth_answer
from watchword_web.forms import check_length
from watchword_web.surfaces import route_path

_PRIVATE_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"pragma", b"no-cache"),
    (b"x-content-type-options", b"nosniff"),
)
_JSON_HEADERS = ((b"content-type", b"application/json"), *_PRIVATE_HEADERS)


class HotPaths:
    """An ASGI application: the hot endpoint of the request's path where there is one, else the application behind.

    hot: path without the installation's base path -> endpoint, which answers every method itself.
    """

    __slots__ = ("_app", "_hot")

    def __init__(self, app: ASGIApp, hot: Mapping[str, ASGIApp]) -> None:
        self._app = app
        self._hot = dict(hot)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self._hot.get(route_path(scope)) if scope["type"] == "http" else None
        if endpoint is None:
            await self._app(scope, receive, send)
            return
        try:
            await endpoint(scope, receive, send)
        except ClientDisconnect:
            return
        except Exception as error:  # the edge: nothing may leave as a stack trace or a closed connection
            await oauth_answer(scope, error)(scope, receive, send)


async def read_body(scope: Scope, receive: Receive, limit_bytes: int = BODY_LIMIT_BYTES) -> bytes:
    """The whole body. Raises BodyTooLarge above the limit, before reading it where the length was announced."""
    announced = header(scope, b"content-length")
    if announced is not None:
        check_length(announced, limit_bytes)
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        part: bytes = message.get("body", b"")
        body += part
        if len(body) > limit_bytes:
            raise BodyTooLarge(limit_bytes)
        if not message.get("more_body", False):
            return body


def header(scope: Scope, name: bytes) -> bytes | None:
    """The value of a header (name in lower case), None when it is absent. Raises BadRequest when it was sent twice."""
    found: bytes | None = None
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    for key, value in headers:
        if key == name:
            if found is not None:
                raise BadRequest(f"The header {name.decode('ascii')} was sent more than once")
            found = value
    return found


async def send_json(send: Send, body: bytes, status: int = 200, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """Sends a JSON document that nobody may store."""
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [*_JSON_HEADERS, (b"content-length", b"%d" % len(body)), *headers],
        }
    )
    await send({"type": "http.response.body", "body": body})


async def send_private(send: Send, body: bytes, media_type: bytes, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
    """Sends a document of another type that nobody may store."""
    own = ((b"content-type", media_type), (b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": 200, "headers": [*own, *_PRIVATE_HEADERS, *headers]})
    await send({"type": "http.response.body", "body": body})


def method_not_allowed(*allowed: str) -> OAuthError:
    """The 405 of a hot endpoint."""
    return OAuthError(
        "invalid_request", "This endpoint does not know that method", 405, headers={"Allow": ", ".join(allowed)}
    )
