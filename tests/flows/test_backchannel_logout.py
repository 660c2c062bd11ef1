"""A session that ends anywhere is told to the application over the back channel, in the running platform."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qs

import pytest
import uvicorn
from joserfc import jwt
from joserfc.jwk import KeySet
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from watchword_testkit.api import Api
from watchword_testkit.canary import Canary
from watchword_testkit.http import http_client
from watchword_testkit.platform import Platform
from watchword_testkit.signin import Party, SignIn

PASSWORD = "correct horse battery staple"


@dataclass
class Application:
    """Where an application hears of logouts."""

    uri: str = ""
    heard: "asyncio.Queue[str]" = field(default_factory=asyncio.Queue)

    async def logout(self, request: Request) -> Response:
        (token,) = parse_qs((await request.body()).decode())["logout_token"]
        await self.heard.put(token)
        return Response(status_code=200)


@pytest.fixture
async def application() -> AsyncIterator[Application]:
    listening = socket.create_server(("127.0.0.1", 0))
    made = Application(uri=f"http://127.0.0.1:{listening.getsockname()[1]}/logout")
    app = Starlette(routes=[Route("/logout", made.logout, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    yield made
    server.should_exit = True
    await serving


async def end_session(api: Api, user_id: str) -> None:
    items = (await api.get("/sessions", user_id=user_id))["items"]
    assert isinstance(items, list)
    await api.delete(f"/sessions/{items[0]['id']}")


async def disable_user(api: Api, user_id: str) -> None:
    await api.change(f"/users/{user_id}", active=False)


@pytest.mark.parametrize("ending", [end_session, disable_user])
async def test_the_application_hears_of_it(
    platform: Platform,
    application: Application,
    canary: Canary,
    ending: Callable[[Api, str], Awaitable[None]],
) -> None:
    api = platform.api(canary)
    party = await Party.registered(api, platform.issuer, canary, backchannel_logout_uri=application.uri)
    name = f"{ending.__name__}-{party.client_id[:8]}"
    user = await api.create("/users", username=name, email=f"{name}@example.com", password=PASSWORD)
    tokens = await SignIn(platform.browser(canary), party).with_password(name, PASSWORD)
    async with http_client(base_url=platform.issuer) as http:
        offered = (await http.get("/.well-known/openid-configuration")).json()
        key_set = KeySet.import_key_set((await http.get("/oauth2/jwks")).json())
    assert offered["backchannel_logout_supported"]
    assert offered["backchannel_logout_session_supported"]
    await ending(api, str(user["id"]))
    async with asyncio.timeout(30):
        token = await application.heard.get()
    canary.add("logout token", token)
    logout = jwt.decode(token, key_set, algorithms=["ES256"])
    signed_in = jwt.decode(tokens["id_token"], key_set, algorithms=["ES256"]).claims
    assert logout.header["typ"] == "logout+jwt"
    assert [logout.claims[name] for name in ("iss", "sub", "sid")] == [
        signed_in[name] for name in ("iss", "sub", "sid")
    ]
    assert logout.claims["aud"] == party.client_id
