"""Documents that everyone may read and keep for a while: JWKS and both discovery documents."""

import hashlib
from collections.abc import Callable

from starlette.types import Receive, Scope, Send

from watchword_web.hot import header, method_not_allowed


class Document:
    """GET and HEAD of a JSON document. content: asked at each request, because keys change.  max_age_s: for caches.

    Who has the present one already is told so. Spec: RFC 9110 8.8.3, 13.1.2; RFC 9111 5.2.2.1.
    """

    def __init__(self, content: Callable[[], bytes], *, max_age_s: int, media_type: str = "application/json") -> None:
        self._content = content
        self._headers = (
            (b"content-type", media_type.encode()),
            (b"cache-control", b"public, max-age=%d" % max_age_s),
            (b"vary", b"Origin"),
            (b"x-content-type-options", b"nosniff"),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in {"GET", "HEAD"}:
            raise method_not_allowed("GET", "HEAD")
        body = self._content()
        etag = b'"%b"' % hashlib.sha256(body).hexdigest()[:32].encode()
        known = header(scope, b"if-none-match") or b""
        headers = [*self._headers, (b"etag", etag)]
        if etag in (each.strip().removeprefix(b"W/") for each in known.split(b",")):
            await send({"type": "http.response.start", "status": 304, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            return
        headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
