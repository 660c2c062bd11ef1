"""What an address can be asked: HEAD wherever GET, and refusals that name every method."""

from collections.abc import Iterable
from typing import Final

from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")


class Heads:
    """A HEAD is answered as a GET would be, without content; a stream ends where it would begin.

    Whoever is outside sees the HEAD again when the answer begins. Spec: RFC 9110 9.3.2.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        is_over = False

        async def send_head(message: Message) -> None:
            nonlocal is_over
            scope["method"] = "HEAD"
            if message["type"] != "http.response.body":
                await send(message)
                return
            if not is_over:
                is_over = True
                await send({"type": "http.response.body", "body": b""})
            if message.get("more_body", False):
                raise ClientDisconnect

        scope["method"] = "GET"
        await self._app(scope, receive, send_head)


def allowed(routes: Iterable[BaseRoute], scope: Scope) -> list[str]:
    """The methods that some route knows at the address of the request. Spec: RFC 9110 15.5.6."""
    found = [
        method
        for method in _METHODS
        if any(route.matches({**scope, "method": method})[0] is Match.FULL for route in routes)
    ]
    return ["GET", "HEAD", *found[1:]] if found[:1] == ["GET"] else found
