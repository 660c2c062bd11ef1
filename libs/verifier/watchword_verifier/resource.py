"""What a resource server says about itself, so that a client that knows only its address finds out where to sign in.

Spec: RFC 9728 2, 3, 5.1.
"""

import json
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

WELL_KNOWN: Final = "/.well-known/oauth-protected-resource"
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
# The document is public, and no cookie plays a part: scripts of every origin may read it.
_ANYBODY: Final = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", b"GET, HEAD"),
    (b"access-control-allow-headers", b"MCP-Protocol-Version"),
)

Message = MutableMapping[str, Any]


@dataclass(frozen=True, slots=True)
class ProtectedResource:
    """A resource server. identifier: its https URL, which is the audience of its tokens.  issuer: who makes them.

    scopes: that its routes need.  name, documentation: for people.  Raises ValueError for what is no identifier.
    Spec: RFC 9728 1.2, 2.
    """

    identifier: str
    issuer: str
    scopes: tuple[str, ...] = ()
    name: str | None = None
    documentation: str | None = None

    def __post_init__(self) -> None:
        parts = urlsplit(self.identifier)
        is_secure = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
        if not is_secure or not parts.hostname or parts.query or "#" in self.identifier or "@" in parts.netloc:
            raise ValueError("a resource is identified by an https URL without query and fragment")

    @property
    def path(self) -> str:
        """Where the document is served: the well-known name goes in front of the path. Spec: RFC 9728 3."""
        return WELL_KNOWN + urlsplit(self.identifier).path.removesuffix("/")

    @property
    def url(self) -> str:
        """The document's address, for `resource_metadata` in a challenge. Spec: RFC 9728 5.1."""
        parts = urlsplit(self.identifier)
        return f"{parts.scheme}://{parts.netloc}{self.path}"

    def document(self) -> dict[str, Any]:
        """The metadata. Spec: RFC 9728 2, 3.2."""
        said: dict[str, Any] = {
            "resource": self.identifier,
            "authorization_servers": [self.issuer],
            "bearer_methods_supported": ["header"],
        }
        if self.scopes:
            said["scopes_supported"] = list(self.scopes)
        if self.name is not None:
            said["resource_name"] = self.name
        if self.documentation is not None:
            said["resource_documentation"] = self.documentation
        return said

    async def serve(
        self,
        scope: MutableMapping[str, Any],
        _receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """An ASGI endpoint for `path`: the document, for everybody. Spec: RFC 9728 3.1, 3.2."""
        body = json.dumps(self.document()).encode()
        status, headers = 200, [(b"content-type", b"application/json"), (b"cache-control", b"public, max-age=3600")]
        if scope["method"] == "OPTIONS":
            status, headers, body = 204, [], b""
        elif scope["method"] not in {"GET", "HEAD"}:
            status, headers, body = 405, [(b"allow", b"GET, HEAD, OPTIONS")], b""
        headers = [*headers, *_ANYBODY, (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
