"""Grafana's generic OAuth as its documentation describes it, told by nothing but the `grafana.ini` that is pasted in.

https://grafana.com/docs/grafana/latest/setup-grafana/configure-security/configure-authentication/generic-oauth/
"""

import base64
import configparser
import hashlib
import secrets
from html import escape
from typing import Any
from urllib.parse import quote, urlencode

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from watchword_testkit.http import http_client

Session = dict[str, Any]


class Grafana:
    """One Grafana. Whoever is signed in sees on its first page whether the access token still counts."""

    def __init__(self) -> None:
        self._told: dict[str, str] = {}
        self._sessions: dict[str, Session] = {}

    def configure(self, ini: str) -> None:
        """What an administrator does with the text."""
        parsed = configparser.ConfigParser(interpolation=None)
        parsed.read_string(ini)
        self._told = dict(parsed["auth.generic_oauth"]) | {"root_url": parsed["server"]["root_url"]}

    @property
    def _callback(self) -> str:
        return f"{self._told['root_url']}login/generic_oauth"

    async def home(self, request: Request) -> Response:
        """Who is signed in, and what the API of the provider says of the token now."""
        session = self._sessions.get(request.cookies.get("grafana_session", ""), {})
        if "access_token" not in session:
            return HTMLResponse('<a id="sign-in" href="/login/generic_oauth">Sign in with Watchword</a>')
        person = await self._person(session["access_token"])
        if person is None:
            return HTMLResponse('<p id="refused">Your token is refused.</p>', 401)
        name = person[self._told["login_attribute_path"]]
        groups = ", ".join(person[self._told["groups_attribute_path"]])
        return HTMLResponse(f'<p id="who">{escape(name)}</p><p id="groups">{escape(groups)}</p>')

    async def login(self, request: Request) -> Response:
        """To the provider, and back from it."""
        if "state" not in request.query_params:
            return self._leave()
        session = self._sessions.get(request.cookies.get("grafana_session", ""), {})
        if request.query_params["state"] != session.get("state"):
            return HTMLResponse('<p id="failed">login.OAuthLogin(state mismatch)</p>', 400)
        if "error" in request.query_params:
            said = " ".join(request.query_params.get(name, "") for name in ("error", "error_description"))
            return HTMLResponse(f'<p id="failed">{escape(said)}</p>', 401)
        form = {
            "grant_type": "authorization_code",
            "code": request.query_params["code"],
            "redirect_uri": self._callback,
            "code_verifier": session.pop("verifier"),
        }
        # auth_style is AutoDetect: the header is tried first
        login = (quote(self._told["client_id"], safe=""), quote(self._told["client_secret"], safe=""))
        async with http_client(auth=login) as http:
            answer = await http.post(self._told["token_url"], data=form)
        assert answer.status_code == 200, answer.text
        session["access_token"] = answer.json()["access_token"]
        return RedirectResponse("/", 302)

    def _leave(self) -> Response:
        name, verifier = secrets.token_urlsafe(16), secrets.token_urlsafe(48)
        self._sessions[name] = {"state": secrets.token_urlsafe(16), "verifier": verifier}
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        assert self._told["use_pkce"] == "true"
        query = {
            "client_id": self._told["client_id"],
            "response_type": "code",
            "redirect_uri": self._callback,
            "scope": self._told["scopes"],
            "state": self._sessions[name]["state"],
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        answer = RedirectResponse(f"{self._told['auth_url']}?{urlencode(query)}", 302)
        answer.set_cookie("grafana_session", name, httponly=True, samesite="lax")
        return answer

    async def _person(self, access_token: str) -> dict[str, Any] | None:
        async with http_client(headers={"Authorization": f"Bearer {access_token}"}) as http:
            answer = await http.get(self._told["api_url"])
        return dict(answer.json()) if answer.status_code == 200 else None

    def app(self) -> Starlette:
        """Grafana as a web application."""
        return Starlette(routes=[Route("/", self.home), Route("/login/generic_oauth", self.login)])
