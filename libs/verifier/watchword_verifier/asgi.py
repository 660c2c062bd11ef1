"""A small ASGI middleware: only who holds a good access token gets through."""

from collections.abc import Awaitable, Callable, MutableMapping
from datetime import timedelta
from typing import Any, Final
from urllib.parse import quote

from watchword_verifier.bearer import Asked, Challenge, Needs, admit
from watchword_verifier.resource import ProtectedResource
from watchword_verifier.verifier import Verifier

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
# The client's TLS certificate (DER) of a connection, None where there was none.
CertificateOf = Callable[[Scope], bytes | None]

CLAIMS: Final = "watchword.claims"


class RequireToken:
    """Puts the token's claims into `scope["watchword.claims"]`, or answers as RFC 6750 says.

    scope: scopes that the token must all have, separated by spaces.  acr, max_age: how well and how lately the person
    must have signed in.  under: path prefixes that are guarded; everything is, when none are named.  certificate_of:
    where the server or a trusted proxy says which certificate the client showed.  resource: what this server says about
    itself, which is served, and named to whoever is refused.
    Other requests and lifespan events pass.  A WebSocket is refused before it opens.
    Spec: RFC 6750 2.1, 3, 3.1; RFC 9449 7.1; RFC 9470 3; RFC 9728 3.1, 5.1.
    """

    def __init__(
        self,
        app: ASGIApp,
        verifier: Verifier,
        *,
        scope: str = "",
        acr: str = "",
        max_age: timedelta | None = None,
        under: tuple[str, ...] = (),
        certificate_of: CertificateOf | None = None,
        resource: ProtectedResource | None = None,
    ) -> None:
        self._app = app
        self._verifier = verifier
        self._needs = Needs(scope, acr, max_age)
        self._certificate_of = certificate_of
        self._resource = resource
        self._under = tuple(prefix.rstrip("/") for prefix in under)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        resource = self._resource
        if resource is not None and scope["type"] == "http" and scope["path"] == resource.path:
            await resource.serve(scope, receive, send)
            return
        if scope["type"] not in {"http", "websocket"} or not self._guards(scope):
            await self._app(scope, receive, send)
            return
        try:
            url = "" if resource is None else resource.url
            claims = await admit(self._verifier, asked_in(scope, self._certificate_of), self._needs, url)
        except Challenge as challenge:
            await _refuse(scope, challenge, send)
            return
        await self._app({**scope, CLAIMS: claims}, receive, send)

    def _guards(self, scope: Scope) -> bool:
        """Whether the path lies under a prefix, as it came or behind the place where the application is mounted."""
        whole = scope["path"]
        paths = {whole, whole.removeprefix(scope.get("root_path", ""))}
        return not self._under or any(f"{path}/".startswith(f"{prefix}/") for path in paths for prefix in self._under)


def asked_in(scope: Scope, certificate_of: CertificateOf | None) -> Asked:
    """What a connection says of who sent it. A WebSocket is opened by a GET."""
    raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    return Asked(
        authorization=_values(scope, b"authorization"),
        dpop=_values(scope, b"dpop"),
        method=scope.get("method", "GET"),
        path=raw.partition(b"?")[0].decode("latin-1"),
        certificate=certificate_of(scope) if certificate_of is not None else None,
    )


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


async def _refuse(scope: Scope, challenge: Challenge, send: Send) -> None:
    if scope["type"] == "websocket":
        # Before it was accepted a close is answered with 403; a status of our own is an extension not all servers have.
        await send({"type": "websocket.close", "code": 1008, "reason": challenge.error})
        return
    headers = [(name.lower().encode(), value.encode()) for name, value in challenge.headers.items()]
    body = b'{"error":"%b"}' % challenge.error.encode()
    headers += [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": challenge.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
