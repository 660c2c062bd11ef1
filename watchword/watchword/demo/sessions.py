"""Sessions of the demo application: kept on the server, named by a cookie that says nothing else."""

import secrets
from collections import OrderedDict
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE: Final = "watchword-demo"
RENEW: Final = "renew"  # set in a session: it gets another name with this answer, as after a sign-in
_MOST: Final = 1000

Session = dict[str, Any]
Kept = OrderedDict[str, Session]  # by the name that the cookie says


class ServerSessions:
    """ASGI: `request.session` is a dictionary of this process; an empty one is not kept."""

    def __init__(self, app: ASGIApp, kept: Kept) -> None:
        self._app = app
        self._kept = kept

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        name = _cookie(scope)
        session: Session = self._kept.get(name, {})
        scope["session"] = session

        async def send_with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start":
                cookie = self._keep(name, session)
                if cookie:
                    message = {**message, "headers": [*message["headers"], (b"set-cookie", cookie.encode())]}
            await send(message)

        await self._app(scope, receive, send_with_cookie)

    def _keep(self, name: str, session: Session) -> str:
        """The Set-Cookie header for what the session is now; "" when nothing about its name changes."""
        known = name in self._kept
        renewed = session.pop(RENEW, False)
        if not session:
            self._kept.pop(name, None)
            return f"{COOKIE}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax" if known else ""
        if known and not renewed:
            self._kept.move_to_end(name)
            return ""
        self._kept.pop(name, None)
        fresh = secrets.token_urlsafe(32)
        self._kept[fresh] = session
        if len(self._kept) > _MOST:
            self._kept.popitem(last=False)
        return f"{COOKIE}={fresh}; Path=/; HttpOnly; SameSite=Lax"


def _cookie(scope: Scope) -> str:
    for header, value in scope["headers"]:
        if header == b"cookie":
            try:
                found = SimpleCookie(value.decode("latin-1")).get(COOKIE)
            except CookieError:
                return ""
            return found.value if found else ""
    return ""
