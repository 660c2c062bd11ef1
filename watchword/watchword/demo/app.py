"""The demo application: signs people in with Watchword and shows what it learned.

A relying party as any application could be: Authlib's client for Starlette, a session on the server, and the words of
the specifications. It trusts nothing but Watchword's discovery document and its client secret.
Spec: OpenID Connect Core 3.1; RFC 9207 2.4; OpenID Connect RP-Initiated Logout 2.
"""

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qs, urlsplit

import httpx2
import uvicorn
from authlib.integrations.starlette_client import OAuth, OAuthError
from joserfc.errors import JoseError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from watchword.demo import HOST
from watchword.demo.listener import Happened, Listener
from watchword.demo.logout import concerns, read_logout_token
from watchword.demo.pages import Pages, static
from watchword.demo.sessions import RENEW, Kept, ServerSessions
from watchword.demo.shown import Person, pretty, rows, shown

SCOPE: Final = "openid profile email groups"
_QUIET_S: Final = 15.0
_MOST_EVENTS: Final = 50
_MOST_BYTES: Final = 16 * 1024
_NOT_KEPT: Final = {"Cache-Control": "no-store"}


@dataclass(frozen=True)
class Orders:
    """What the application is told at its start. mail_url: where the demo's mail is shown, "" for nowhere."""

    port: int
    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    mail_url: str = ""

    @property
    def url(self) -> str:
        """Where the application is."""
        return f"http://{HOST}:{self.port}"


def create_app(orders: Orders) -> Starlette:
    """The application, which listens to Watchword's events while it runs."""
    listener = Listener(orders.issuer, orders.client_id, orders.client_secret)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        following = asyncio.create_task(listener.follow(), name="listener")
        yield
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)

    kept = Kept()
    routes = [*_Routes(orders, listener, kept).all(), static()]
    return Starlette(routes=routes, middleware=[Middleware(ServerSessions, kept=kept)], lifespan=lifespan)


class _Routes:
    def __init__(self, orders: Orders, listener: Listener, kept: Kept) -> None:
        self._orders = orders
        self._listener = listener
        self._kept = kept
        origin = "{0.scheme}://{0.netloc}".format(urlsplit(orders.issuer))
        self._pages = Pages(form_action=f"'self' {origin}", issuer=orders.issuer, mail_url=orders.mail_url)
        oauth = OAuth()
        oauth.register(
            "watchword",
            client_id=orders.client_id,
            client_secret=orders.client_secret,
            server_metadata_url=f"{orders.issuer}/.well-known/openid-configuration",
            client_kwargs={"scope": SCOPE, "code_challenge_method": "S256", "trust_env": False},
        )
        self._watchword = oauth.create_client("watchword")

    def all(self) -> list[Route]:
        """Where the application answers."""
        return [
            Route("/", self.home),
            Route("/sign-in", self.sign_in),
            Route("/callback", self.callback),
            Route("/sign-out", self.sign_out, methods=["POST"]),
            Route("/backchannel-logout", self.backchannel_logout, methods=["POST"]),
            Route("/status", self.status),
            Route("/events", self.events),
            Route("/healthz", self.healthz),
        ]

    async def home(self, request: Request) -> HTMLResponse:
        """Who is signed in, with everything that Watchword said; or the button to sign in."""
        person = _person(request)
        if person is None:
            return self._pages.render("signed_out.html")
        return self._pages.render(
            "signed_in.html",
            person=person,
            claims=rows(person.claims),
            token={name: pretty(part) for name, part in person.token_parts.items()},
            userinfo=await self._userinfo(person),
            told=request.session.get("told", ""),
            events=[shown(event) for event in reversed(self._about(person)[-_MOST_EVENTS:])],
        )

    async def sign_in(self, request: Request) -> Response:
        """To Watchword. `hint`: who is about to sign in.  `choose`: the provider shall ask."""
        wishes = {}
        if hint := request.query_params.get("hint", "")[:100]:
            wishes["login_hint"] = hint
        if "choose" in request.query_params:
            wishes["prompt"] = "select_account"
        request.session["since"] = time.time()
        answer: Response = await self._watchword.authorize_redirect(request, f"{self._orders.url}/callback", **wishes)
        return answer

    async def callback(self, request: Request) -> Response:
        """Back from Watchword: the code becomes tokens, and the session gets a new name."""
        error = request.query_params.get("error")
        # RFC 9207 2.4: Watchword names itself in every answer; anything else is somebody else's answer.
        if request.query_params.get("iss") != self._orders.issuer:
            return self._failed("issuer_mismatch", "The answer did not come from Watchword.")
        try:
            token = await self._watchword.authorize_access_token(request)
        except OAuthError as refusal:
            return self._failed(str(refusal.error), error or "Watchword did not accept the sign-in.")
        except (JoseError, httpx2.HTTPError, ValueError, TypeError, KeyError) as failure:
            return self._failed(type(failure).__name__, "The answer could not be verified, or was used before.")
        since = float(request.session.get("since", time.time()))
        request.session.clear()
        request.session["person"] = Person(dict(token["userinfo"]), token["id_token"], token["access_token"], since)
        request.session[RENEW] = True
        return RedirectResponse("/", 303)

    async def sign_out(self, request: Request) -> Response:
        """Out here, then out at Watchword, then back."""
        person = _person(request)
        request.session.clear()
        if person is None or request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
            return RedirectResponse("/", 303)
        metadata = await self._watchword.load_server_metadata()
        query = httpx2.QueryParams(
            id_token_hint=person.id_token,
            client_id=self._orders.client_id,
            post_logout_redirect_uri=f"{self._orders.url}/",
        )
        return RedirectResponse(f"{metadata['end_session_endpoint']}?{query}", 303)

    async def backchannel_logout(self, request: Request) -> Response:
        """Watchword says that a session is over there: whoever came from it is somebody who was signed in, here."""
        form = parse_qs((await request.body())[:_MOST_BYTES].decode("latin-1"))
        metadata = await self._watchword.load_server_metadata()
        try:
            (token,) = form.get("logout_token", [])
            claims = await read_logout_token(
                token, issuer=self._orders.issuer, client_id=self._orders.client_id, jwks_uri=metadata["jwks_uri"]
            )
        except (ValueError, httpx2.HTTPError) as error:
            return JSONResponse({"error": "invalid_request", "error_description": str(error)}, 400, _NOT_KEPT)
        for session in self._kept.values():
            if concerns(session, claims):
                session["told"] = time.strftime("%H:%M:%S")
        return Response(status_code=200, headers=_NOT_KEPT)

    async def status(self, request: Request) -> JSONResponse:
        """Whether Watchword accepts the access token, asked now. told: when it said that the session is over."""
        person = _person(request)
        if person is None:
            return JSONResponse({"error": "signed out"}, 401)
        return JSONResponse({**await self._userinfo(person), "told": request.session.get("told", "")})

    async def events(self, request: Request) -> Response:
        """Events about the person and their session as they happen; those of others never leave this process."""
        person = _person(request)
        if person is None:
            return Response(status_code=401)
        return StreamingResponse(
            self._stream(person), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )

    async def healthz(self, _request: Request) -> JSONResponse:
        """Ready when the events of Watchword arrive."""
        return JSONResponse({"listening": self._listener.connected}, 200 if self._listener.connected else 503)

    async def _stream(self, person: Person) -> AsyncIterator[str]:
        number = self._listener.heard
        yield "retry: 2000\n\n"
        while True:
            heard = await self._listener.after(number, _QUIET_S)
            number = heard[-1].number if heard else number
            for event in heard:
                if event.concerns(person.sub, person.sid):
                    yield f"data: {json.dumps(shown(event))}\n\n"
            if not heard:
                yield ": still here\n\n"

    async def _userinfo(self, person: Person) -> dict[str, str | bool]:
        """What the userinfo endpoint answers to the access token now."""
        metadata = await self._watchword.load_server_metadata()
        headers = {"Authorization": f"Bearer {person.access_token}"}
        with contextlib.suppress(httpx2.HTTPError):
            async with httpx2.AsyncClient(trust_env=False, timeout=5.0) as client:
                answer = await client.get(metadata["userinfo_endpoint"], headers=headers)
            live = answer.status_code == httpx2.codes.OK
            state = "Watchword accepts the token." if live else "Watchword refuses the token: it is revoked or expired."
            return {"live": live, "state": state, "text": pretty(answer.json())}
        return {"live": False, "state": "Watchword cannot be asked at the moment.", "text": "{}"}

    def _about(self, person: Person) -> list[Happened]:
        return self._listener.about(person.sub, person.sid, person.since)

    def _failed(self, code: str, message: str) -> HTMLResponse:
        return self._pages.render("failed.html", 400, code=code, message=message)


def _person(request: Request) -> Person | None:
    found = request.session.get("person")
    return found if isinstance(found, Person) else None


def main() -> None:
    """Serves as the orders on standard input say."""
    orders = Orders(**json.load(sys.stdin))
    uvicorn.run(
        create_app(orders),
        host=HOST,
        port=orders.port,
        access_log=False,  # query strings carry codes
        log_level="warning",
        timeout_graceful_shutdown=1,
    )


if __name__ == "__main__":
    main()
