"""Discord and Bitbucket as their documentation describes them, on a real port.

https://docs.discord.com/developers/topics/oauth2, …/resources/user
https://support.atlassian.com/bitbucket-cloud/docs/use-oauth-on-bitbucket-cloud/,
https://developer.atlassian.com/cloud/bitbucket/rest/api-group-users/
"""

import base64
import secrets
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

CLIENT_ID, CLIENT_SECRET = "157730590492196864", "7w7_TvQ4xQz-server"


@dataclass
class Server:
    """One person's account, and an application. answers: by path of the API, with what scope each needs.

    members: of the token response beside the token.
    """

    authorize_path: str
    token_path: str
    answers: dict[str, tuple[str, Any]]
    members: dict[str, Any]
    scopes: frozenset[str] | None
    issuer: str = ""
    asked: list[str] = field(default_factory=list)
    _codes: dict[str, dict[str, str]] = field(default_factory=dict)
    _tokens: dict[str, frozenset[str]] = field(default_factory=dict)

    def authorize(self, url: str) -> dict[str, str]:
        """The parameters with which the person comes back."""
        request = dict(parse_qsl(urlsplit(url).query, strict_parsing=True))
        assert url.startswith(f"{self.issuer}{self.authorize_path}?")
        assert (request["client_id"], request["response_type"]) == (CLIENT_ID, "code")
        code = secrets.token_hex(10)
        self._codes[code] = request
        return {"code": code, "state": request["state"]}

    async def _token(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode(), strict_parsing=True))
        scheme, _, pair = request.headers.get("authorization", "").partition(" ")
        shown = unquote(base64.b64decode(pair).decode()) if scheme == "Basic" else ""
        if shown != f"{CLIENT_ID}:{CLIENT_SECRET}":
            return JSONResponse({"error": "invalid_client"}, 401)
        asked = self._codes.pop(form.get("code", ""), None)
        if form.get("grant_type") != "authorization_code" or asked is None:
            return JSONResponse({"error": "invalid_grant", "error_description": 'Invalid "code" in request.'}, 400)
        if form["redirect_uri"] != asked["redirect_uri"]:
            return JSONResponse({"error": "invalid_grant"}, 400)
        token = secrets.token_urlsafe(22)
        # What an application of Bitbucket's may is set where it is registered, not asked for.
        self._tokens[token] = frozenset(asked.get("scope", "").split()) if self.scopes is None else self.scopes
        return JSONResponse({"access_token": token, **self.members})

    async def _resource(self, request: Request) -> Response:
        self.asked.append(request.url.path)
        needed, answer = self.answers[request.url.path]
        scopes = self._tokens.get(request.headers.get("authorization", "").removeprefix("Bearer "))
        if scopes is None:
            return JSONResponse({"message": "401: Unauthorized", "code": 0}, 401)
        return JSONResponse(answer) if needed in scopes else JSONResponse({"message": "Missing Access"}, 403)

    def app(self) -> Starlette:
        """The server as a web application."""
        return Starlette(
            routes=[
                Route(self.token_path, self._token, methods=["POST"]),
                *(Route(path, self._resource) for path in self.answers),
            ]
        )


def discord() -> Server:
    """A member of two servers. Ids are texts, for they do not fit into the numbers of JavaScript."""
    user = {
        "id": "80351110224678912",
        "username": "nelly",
        "discriminator": "0",
        "global_name": "Nelly",
        "avatar": "8342729096ea3675442027381ff50dfe",
        "verified": True,
        "email": "nelly@discord.test",
        "flags": 64,
    }
    guilds = [{"id": "80351110224678913", "name": "1337 Krew"}, {"id": "80351110224678914", "name": "Ops"}]
    return Server(
        authorize_path="/oauth2/authorize",
        token_path="/api/oauth2/token",
        answers={"/api/users/@me": ("identify", user), "/api/users/@me/guilds": ("guilds", guilds)},
        members={"token_type": "Bearer", "expires_in": 604800, "refresh_token": "D43f5y", "scope": "identify email"},
        scopes=None,
    )


def bitbucket() -> Server:
    """Somebody of one workspace, with two addresses."""
    user = {
        "type": "user",
        "uuid": "{a54f16da-24e9-4d7f-a3a7-b1ba2cd98aa3}",
        "account_id": "557058:c0b72ad0",
        "nickname": "evzijst",
        "display_name": "Erik van Zijst",
        "links": {"avatar": {"href": "https://bitbucket.org/account/evzijst/avatar/32/"}},
    }
    emails = [
        {"type": "email", "email": "old@bitbucket.test", "is_primary": False, "is_confirmed": True},
        {"type": "email", "email": "erik@bitbucket.test", "is_primary": True, "is_confirmed": True},
    ]
    workspaces = [{"type": "workspace", "slug": "acme", "name": "Acme", "uuid": "{b0}"}]
    return Server(
        authorize_path="/site/oauth2/authorize",
        token_path="/site/oauth2/access_token",
        answers={
            "/2.0/user": ("account", user),
            "/2.0/user/emails": ("email", {"values": emails, "pagelen": 10, "size": 2, "page": 1}),
            "/2.0/workspaces": ("account", {"values": workspaces, "pagelen": 100, "size": 1, "page": 1}),
        },
        members={"token_type": "bearer", "expires_in": 7200, "refresh_token": "r", "scopes": "account email"},
        scopes=frozenset({"account", "email"}),
    )
