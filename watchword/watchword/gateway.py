"""One origin for all services of a process: routes by path, hides what is internal, takes off the base path."""

import re
from collections.abc import Iterable, Mapping

from watchword_runtime.service import ASGIApp, Message, Receive, Scope, Send

_INTERNAL = "/internal"
# RFC 8414 3.1 puts the well-known name in front of the issuer's path.
_METADATA = "/.well-known/oauth-authorization-server"
# RFC 9728 3.1 does so for resources, whose paths need not lie below ours.
_RESOURCES = "/.well-known/oauth-protected-resource"


class Gateway:
    """ASGI: the service that claims the longest prefix of the path answers; a prefix matches whole segments.

    A `*` in a prefix is one segment; such a claim goes before those without. What nobody claims goes to `default`.
    """

    __slots__ = ("_default", "_home", "_internal", "_patterns", "_prefixes")

    def __init__(
        self, prefixes: Mapping[str, ASGIApp], *, default: ASGIApp, internal: bool = False, home: str = ""
    ) -> None:
        """internal: whether /internal (the pulls of other services) may be reached; it belongs to `default` then.

        home: the URL to which `/` leads; "" when it is like any other path.
        """
        self._prefixes = {prefix: app for prefix, app in prefixes.items() if "*" not in prefix}
        self._patterns = [(_pattern(prefix), app) for prefix, app in prefixes.items() if "*" in prefix]
        self._default, self._internal = default, internal
        self._home = _leading_to(home) if home else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The owner of the path answers."""
        await self._owner(scope["path"])(scope, receive, send)

    def _owner(self, path: str) -> ASGIApp:
        if _is_internal(path):
            return self._default if self._internal else _not_found
        if path == "/" and self._home is not None:
            return self._home
        head = path.rstrip("/")
        for pattern, owner in self._patterns:
            if pattern.match(head):
                return owner
        while head:
            if (app := self._prefixes.get(head)) is not None:
                return app
            head = head.rpartition("/")[0]
        return self._prefixes.get("", self._default)


class BasePath:
    """ASGI: takes the path of the public URL ("/auth") off before anybody looks at a path.

    What lies outside it is not found, except the metadata that RFC 8414 and RFC 9728 put there and the pulls of other
    services, which know no public URL.  Spec: RFC 8414 3.1; RFC 9728 3.1.
    """

    __slots__ = ("_app", "_base")

    def __init__(self, app: ASGIApp, base: str) -> None:
        self._app, self._base = app, base

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application answers as if it stood at the root."""
        path, app = scope["path"], self._app
        if path == self._base or path.startswith(f"{self._base}/"):
            raw_path: bytes = scope.get("raw_path") or path.encode()
            scope = {
                **scope,
                "path": path.removeprefix(self._base) or "/",
                "raw_path": raw_path.removeprefix(self._base.encode()) or b"/",
            }
        elif path == f"{_METADATA}{self._base}":
            scope = {**scope, "path": _METADATA, "raw_path": _METADATA.encode()}
        elif not (_is_internal(path) or path == _RESOURCES or path.startswith(f"{_RESOURCES}/")):
            app = _not_found
        await app(scope, receive, send)


def by_prefix(claims: Iterable[tuple[tuple[str, ...], ASGIApp]]) -> dict[str, ASGIApp]:
    """Each claimed prefix with its application. Raises ValueError when two services claim the same."""
    found: dict[str, ASGIApp] = {}
    for paths, app in claims:
        for path in paths:
            if found.setdefault(path.rstrip("/"), app) is not app:
                raise ValueError(f"{path} is claimed by two services")
    return found


def _pattern(prefix: str) -> re.Pattern[str]:
    return re.compile(re.escape(prefix).replace(r"\*", "[^/]+") + r"(?:/|\Z)")


def _is_internal(path: str) -> bool:
    return path == _INTERNAL or path.startswith(f"{_INTERNAL}/")


def _leading_to(url: str) -> ASGIApp:
    async def redirect(_scope: Scope, _receive: Receive, send: Send) -> None:
        headers = [(b"location", url.encode()), (b"cache-control", b"no-store"), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    return redirect


async def _not_found(_scope: Scope, _receive: Receive, send: Send) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store")]
    start: Message = {"type": "http.response.start", "status": 404, "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": b"There is nothing here.\n"})
