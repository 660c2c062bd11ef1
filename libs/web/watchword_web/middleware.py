"""The middleware of every service: four small pure ASGI classes, outermost first as `create_app` lists them.

None derives from BaseHTTPMiddleware, which costs a task for each request and breaks context variables.
"""

import re
from collections.abc import Mapping
from urllib.parse import unquote_to_bytes

from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from watchword_web.csp import NOTHING
from watchword_web.errors import BODY_LIMIT_BYTES, BadRequest, BodyTooLarge
from watchword_web.failures import Judge, answer
from watchword_web.forms import check_length, parse_json
from watchword_web.hosts import is_public_host, loopback_redirect, seen_host
from watchword_web.pages import Pages
from watchword_web.references import reference_of
from watchword_web.settings import WebSettings
from watchword_web.surfaces import Surface, route_path, surface_of

_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")

_DEFAULT_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", NOTHING.encode()),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)


class SecurityHeaders:
    """Adds the security headers that an answer does not set itself, so that a forgotten one is the strict one.

    Strict-Transport-Security is left to whoever terminates TLS: it binds every port of the host, ours or not.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                present = {name.lower() for name, _ in headers}
                headers += [pair for pair in _DEFAULT_HEADERS if pair[0] not in present]
                message = {**message, "headers": headers}
            await send(message)

        await self._app(scope, receive, send_with_headers)


class Failures:
    """Gives the request its reference id, and turns whatever escapes from below into an answer without details."""

    def __init__(self, app: ASGIApp, pages: Pages, judge: Judge) -> None:
        self._app = app
        self._pages = pages
        self._judge = judge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        reference = reference_of(scope)
        started = False

        async def send_noting_start(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message = {**message, "headers": [*message.get("headers", ()), (b"x-request-id", reference.encode())]}
            await send(message)

        try:
            await self._app(scope, receive, send_noting_start)
        except ClientDisconnect:
            return
        except Exception as error:
            response = answer(scope, error, self._pages, self._judge)
            if started:
                raise  # half an answer is out; the server must break the connection off
            await response(scope, receive, send_noting_start)


class RequestGuard:
    """Refuses URLs and bodies that nothing below could read the same way twice.

    Broken percent-encoding, text that is not UTF-8, NUL characters, bodies above 64 KiB, and JSON that is malformed or
    nested deeper than 20 levels end here as a 400 or 413; below, frameworks would replace, overflow or fail.
    """

    def __init__(
        self,
        app: ASGIApp,
        limit_bytes: int = BODY_LIMIT_BYTES,
        *,
        large: Mapping[str, int] | None = None,
        large_below: Mapping[str, int] | None = None,
    ) -> None:
        """large: other limits by path, whose routes check the JSON themselves once they know who sends it.

        large_below: other limits for paths that begin so.
        """
        self._app = app
        self._limit_bytes = limit_bytes
        self._large = large or {}
        self._large_below = tuple((large_below or {}).items())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        _check_url(scope)
        path = route_path(scope) if self._large or self._large_below else ""
        large = self._large.get(path)
        limit_bytes = large or next((most for prefix, most in self._large_below if path.startswith(prefix)), 0)
        limit_bytes = limit_bytes or self._limit_bytes
        content_type = ""
        for name, value in scope["headers"]:
            if name == b"content-length":
                check_length(value, limit_bytes)
            if name == b"content-type":
                content_type = value.decode("latin-1").partition(";")[0].strip().lower()
        receive = _limited(receive, limit_bytes)
        if large is not None:
            await self._app(scope, receive, send)
            return
        if content_type == "application/json" or content_type.endswith("+json"):
            receive = await _checked_json(receive)
        await self._app(scope, receive, send)


def _limited(receive: Receive, limit_bytes: int) -> Receive:
    size_bytes = 0

    async def receive_limited() -> Message:
        nonlocal size_bytes
        message = await receive()
        size_bytes += len(message.get("body", b""))
        if size_bytes > limit_bytes:
            raise BodyTooLarge(limit_bytes)
        return message

    return receive_limited


def _check_url(scope: Scope) -> None:
    query: bytes = scope["query_string"]
    raw_path: bytes = scope.get("raw_path") or b""
    for raw in (raw_path, query):
        if _BAD_ESCAPE.search(raw):
            raise BadRequest("The address has a malformed percent-encoding")
        if b"%00" in raw:
            raise BadRequest("The address has a NUL character")
    path: str = scope["path"]
    # The server decodes the path leniently: what was not UTF-8 arrives as U+FFFD.
    if "\ufffd" in path or "\x00" in path:
        raise BadRequest("The address is not valid UTF-8")
    if not _is_utf8(query):
        raise BadRequest("The address is not valid UTF-8")


def _is_utf8(query: bytes) -> bool:
    try:
        unquote_to_bytes(query).decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


async def _checked_json(receive: Receive) -> Receive:
    """Reads the whole body, refuses what is not JSON, and hands it on in one piece."""
    body = b""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += message.get("body", b"")
        more = message.get("more_body", False)
    if body:
        parse_json(body)
    handed_on = False

    async def receive_body() -> Message:
        nonlocal handed_on
        if handed_on:
            return await receive()
        handed_on = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_body


class PublicHost:
    """Explains itself to a person who opened a page under another name than the public URL.

    Cookies and redirects would fail there in ways that nobody understands. Programs are not asked: health checks and
    protocol endpoints work under internal names.
    """

    def __init__(self, app: ASGIApp, settings: WebSettings, pages: Pages) -> None:
        self._app = app
        self._settings = settings
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or surface_of(route_path(scope)) is not Surface.PAGE:
            await self._app(scope, receive, send)
            return
        host = seen_host(scope, self._settings)
        if is_public_host(host, self._settings):
            await self._app(scope, receive, send)
            return
        target = loopback_redirect(scope, host, self._settings)
        if target is not None:
            await RedirectResponse(target, 302)(scope, receive, send)
            return
        scheme = "https" if self._settings.secure else "http"
        suggestion = f"{scheme}://{host}{self._settings.base_path}"
        page = self._pages.render(Request(scope), "wrong_host.html", status=421, host=host, suggestion=suggestion)
        await page(scope, receive, send)
