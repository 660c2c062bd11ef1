"""GitHub as its documentation describes it, on a real port: OAuth with PKCE, and an API behind the token.

https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps
"""

import base64
import hashlib
import secrets
from dataclasses import dataclass, field
from html import escape
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

CLIENT_ID, CLIENT_SECRET = "Iv1.0123456789abcdef", "github-secret-4711"


@dataclass
class GitHub:
    """One person's account, and an OAuth app. scopes: what the person granted, if not what was asked for."""

    issuer: str = ""
    user: dict[str, Any] = field(
        default_factory=lambda: {
            "id": 583231,
            "login": "octocat",
            "name": "Mona",
            "email": None,
            "avatar_url": "https://a.test/u",
        }
    )
    emails: list[dict[str, Any]] = field(
        default_factory=lambda: [
            {"email": "old@acme.test", "primary": False, "verified": True, "visibility": None},
            {"email": "octocat@acme.test", "primary": True, "verified": True, "visibility": "private"},
        ]
    )
    orgs: list[str] = field(default_factory=lambda: ["acme", "widgets"])
    teams: list[tuple[str, str]] = field(default_factory=lambda: [("acme", "ops")])
    token_answer: Response | None = None
    asked: list[str] = field(default_factory=list)
    _codes: dict[str, dict[str, str]] = field(default_factory=dict)
    _tokens: dict[str, frozenset[str]] = field(default_factory=dict)

    def authorize(self, url: str) -> dict[str, str]:
        """The parameters with which the person comes back."""
        request = dict(parse_qsl(urlsplit(url).query, strict_parsing=True))
        assert url.startswith(f"{self.issuer}/login/oauth/authorize?")
        assert request["client_id"] == CLIENT_ID
        code = secrets.token_hex(10)
        self._codes[code] = request
        return {"code": code, "state": request["state"]}

    async def _sign_in(self, request: Request) -> Response:
        return RedirectResponse(f"{self.issuer}/login?{urlencode({'return_to': str(request.url)})}", 302)

    async def _login(self, request: Request) -> Response:
        """The page at which the person says yes."""
        back = escape(request.query_params["return_to"], quote=True)
        return HTMLResponse(
            f'<!doctype html><title>GitHub</title><form method="post"><input type="hidden" name="url" value="{back}">'
            '<button id="authorize">Authorize</button></form>'
        )

    async def _authorized(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode(), strict_parsing=True))
        params = self.authorize(form["url"])
        return RedirectResponse(f"{self._codes[params['code']]['redirect_uri']}?{urlencode(params)}", 302)

    async def _token(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode(), strict_parsing=True))
        asked = self._codes.pop(form.get("code", ""), None)
        if form.get("client_id") != CLIENT_ID or form.get("client_secret") != CLIENT_SECRET:
            return self._answer(request, {"error": "incorrect_client_credentials"})
        if asked is None or form["redirect_uri"] != asked["redirect_uri"] or not _proves(form, asked):
            return self._answer(request, {"error": "bad_verification_code", "error_description": "…"})
        token = f"gho_{secrets.token_hex(12)}"
        self._tokens[token] = frozenset(asked["scope"].split())
        granted = ",".join(asked["scope"].split())
        return self.token_answer or self._answer(
            request, {"access_token": token, "scope": granted, "token_type": "bearer"}
        )

    def _answer(self, request: Request, members: dict[str, str]) -> Response:
        """A form, unless JSON is asked for; status 200 also for errors, as GitHub does it."""
        if "application/json" in request.headers.get("accept", ""):
            return JSONResponse(members)
        return Response(urlencode(members), media_type="application/x-www-form-urlencoded")

    def _scopes(self, request: Request) -> frozenset[str] | None:
        self.asked.append(request.url.path)
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        return self._tokens.get(token) if scheme.lower() in {"bearer", "token"} else None

    async def _user(self, request: Request) -> Response:
        if self._scopes(request) is None:
            return JSONResponse({"message": "Bad credentials"}, 401)
        return JSONResponse(self.user)

    async def _emails(self, request: Request) -> Response:
        scopes = self._scopes(request)
        if scopes is None or not scopes & {"user", "user:email"}:
            return JSONResponse({"message": "Not Found"}, 404)
        return JSONResponse(self.emails)

    async def _orgs(self, request: Request) -> Response:
        return self._page(request, [{"login": name, "id": place} for place, name in enumerate(self.orgs)])

    async def _teams(self, request: Request) -> Response:
        return self._page(request, [{"slug": team, "organization": {"login": org}} for org, team in self.teams])

    def _page(self, request: Request, items: list[dict[str, Any]]) -> Response:
        """One item a page, so that pages have to be followed."""
        scopes = self._scopes(request)
        if scopes is None or "read:org" not in scopes:
            return JSONResponse({"message": "Forbidden"}, 403)
        page = int(request.query_params.get("page", "1"))
        path = f"{self.issuer}{request.url.path}"
        more = f'<{path}?page={page + 1}>; rel="next", <{path}?page={len(items)}>; rel="last"'
        return JSONResponse(items[page - 1 : page], headers={"link": more} if page < len(items) else {})

    def app(self) -> Starlette:
        """GitHub as a web application."""
        return Starlette(
            routes=[
                Route("/login/oauth/authorize", self._sign_in),
                Route("/login", self._login),
                Route("/login", self._authorized, methods=["POST"]),
                Route("/login/oauth/access_token", self._token, methods=["POST"]),
                Route("/user", self._user),
                Route("/user/emails", self._emails),
                Route("/user/orgs", self._orgs),
                Route("/user/teams", self._teams),
            ]
        )


def _proves(form: dict[str, str], asked: dict[str, str]) -> bool:
    if "code_challenge" not in asked:
        return True
    assert asked["code_challenge_method"] == "S256", "GitHub knows no other"
    digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == asked["code_challenge"]
