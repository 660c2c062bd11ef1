"""Cross-origin calls to machine endpoints: for the origins that clients registered, and never with credentials.

Cookies play no part at these endpoints, so `Access-Control-Allow-Credentials` is never sent and an allowed origin gains
nothing but the right to read answers. Spec: Fetch Standard 3.3 (HTTP CORS protocol).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from watchword_web.surfaces import route_path

Headers = Sequence[tuple[bytes, bytes]]
IsAllowed = Callable[[str], bool]

_MAX_ORIGIN = 255
_VARY = (b"vary", b"Origin")
_EXPOSED = (b"access-control-expose-headers", b"WWW-Authenticate, DPoP-Nonce, Retry-After")
_PREFLIGHT = (
    (b"access-control-allow-headers", b"Authorization, Content-Type, DPoP"),
    (b"access-control-max-age", b"600"),
)


def request_origin(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The one Origin of a request; None when there is none, when it is `null`, or when there are two."""
    origins = [value for name, value in headers if name == b"origin"]
    if len(origins) != 1 or len(origins[0]) > _MAX_ORIGIN or origins[0] == b"null":
        return None
    return origins[0].decode("latin-1")


def cors_headers(headers: Iterable[tuple[bytes, bytes]], is_allowed: IsAllowed) -> Headers:
    """What to add to an answer: always `Vary: Origin`, and the permission when some client registered the origin."""
    origin = request_origin(headers)
    if origin is None or not is_allowed(origin):
        return (_VARY,)
    return (_VARY, (b"access-control-allow-origin", origin.encode("latin-1")), _EXPOSED)


def preflight_headers(headers: Iterable[tuple[bytes, bytes]], is_allowed: IsAllowed, methods: Iterable[str]) -> Headers:
    """The headers of the answer (204, no body) to an OPTIONS request; no client need be known for it."""
    origin = request_origin(headers)
    if origin is None or not is_allowed(origin):
        return (_VARY,)
    return (
        _VARY,
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-allow-methods", ", ".join(methods).encode("ascii")),
        *_PREFLIGHT,
    )


class CrossOrigin:
    """Middleware: scripts of other origins may call what lies under these prefixes."""

    __slots__ = ("_app", "_prefixes")

    def __init__(self, app: ASGIApp, prefixes: Mapping[str, Sequence[str]], is_allowed: IsAllowed | None) -> None:
        """prefixes: whole path segments, with the methods below them.  is_allowed: None for every origin."""
        self._app = app
        allowed = is_allowed or _anybody
        self._prefixes = {prefix: WithCors(app, allowed, methods) for prefix, methods in prefixes.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = route_path(scope)
            for prefix, app in self._prefixes.items():
                if path == prefix or path.startswith(f"{prefix}/"):
                    await app(scope, receive, send)
                    return
        await self._app(scope, receive, send)


def _anybody(_origin: str) -> bool:
    return True


class WithCors:
    """An ASGI endpoint that answers preflights itself and adds the CORS headers to the answers of another."""

    __slots__ = ("_app", "_is_allowed", "_methods")

    def __init__(self, app: ASGIApp, is_allowed: IsAllowed, methods: Sequence[str] = ("POST",)) -> None:
        self._app = app
        self._is_allowed = is_allowed
        self._methods = (*methods, "OPTIONS")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_headers: list[tuple[bytes, bytes]] = scope["headers"]
        if scope["method"] == "OPTIONS":
            added = preflight_headers(request_headers, self._is_allowed, self._methods)
            allow = (b"allow", ", ".join(self._methods).encode("ascii"))
            await send({"type": "http.response.start", "status": 204, "headers": [allow, *added]})
            await send({"type": "http.response.body", "body": b""})
            return
        added = cors_headers(request_headers, self._is_allowed)

        async def send_with_cors(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *added]}
            await send(message)

        await self._app(scope, receive, send_with_cors)
