"""A session that ends anywhere is told to the application over the back channel, in the running platform."""

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs

import pytest
import uvicorn
from joserfc import jwt
from joserfc.jwk import KeySet
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from watchword_events.names import Service
from watchword_testkit.api import Api
from watchword_testkit.browser import Browser
from watchword_testkit.canary import Canary
from watchword_testkit.clock import TestClock
from watchword_testkit.http import http_client
from watchword_testkit.platform import Platform
from watchword_testkit.signin import Party, SignIn
from watchword_testkit.upstream import configure_mock
from watchword_token.sweeper import sweep


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


@dataclass(frozen=True)
class Person:
    """Somebody who signed in through a provider. claims: what the application was told."""

    platform: Platform
    api: Api
    party: Party
    browser: Browser
    provider_id: str
    claims: dict[str, Any]

    @property
    def user_id(self) -> str:
        """The subject, which is the user's id for an application without a sector."""
        return str(self.claims["sub"])

    @property
    def sid(self) -> str:
        """The session."""
        return str(self.claims["sid"])

    async def change(self, path: str, **members: object) -> None:
        """A PATCH that ends sessions."""
        answer = await self.api.call("PATCH", path, members, end_sessions="true")
        assert answer.status_code == 200, answer.text


async def end_session(person: Person) -> None:
    await person.api.delete(f"/sessions/{person.sid}")


async def disable_user(person: Person) -> None:
    await person.api.change(f"/users/{person.user_id}", active=False)


async def revoke_the_person(person: Person) -> None:
    await person.api.create("/revocations", claim="sub", value=person.user_id)


async def revoke_the_session(person: Person) -> None:
    await person.api.create("/revocations", claim="sid", value=person.sid)


async def revoke_the_provider(person: Person) -> None:
    await person.api.create("/revocations", claim="idp", value=person.provider_id)


async def change_the_password(person: Person) -> None:
    await person.change(f"/users/{person.user_id}", password=secrets.token_urlsafe(16))


async def unlink_the_identity(person: Person) -> None:
    await person.api.change(f"/users/{person.user_id}", password=secrets.token_urlsafe(16))  # not the last way in
    items = (await person.api.get("/identities", user_id=person.user_id))["items"]
    assert isinstance(items, list)
    await person.api.delete(f"/identities/{items[0]['id']}")


async def distrust_the_provider(person: Person) -> None:
    await person.change(f"/providers/{person.provider_id}", enabled=False)


async def remove_the_provider(person: Person) -> None:
    await person.api.delete(f"/providers/{person.provider_id}")


async def revoke_everything(person: Person) -> None:
    await person.api.create("/revocations", claim="all")


async def rotate_with_sessions(person: Person) -> None:
    answer = await person.api.call("POST", "/keys/rotate", {"use": "sig", "revoke": True, "sessions": True})
    assert answer.status_code == 200, answer.text


Ending = Callable[[Person], Awaitable[None]]


async def keys_of(platform: Platform) -> KeySet:
    """The published keys."""
    async with http_client(base_url=platform.issuer) as http:
        return KeySet.import_key_set((await http.get("/oauth2/jwks")).json())


async def signed_in(
    platform: Platform, application: Application, canary: Canary, mock_issuer: str, **metadata: object
) -> Person:
    """Somebody who has just signed in at an application that wants to hear of the end. metadata: of the application."""
    api, browser = platform.api(canary), platform.browser(canary)
    party = await Party.registered(api, platform.issuer, canary, backchannel_logout_uri=application.uri, **metadata)
    provider_id = await configure_mock(api, mock_issuer)
    tokens = await SignIn(browser, party).through(provider_id, sub=secrets.token_hex(8))
    claims = jwt.decode(tokens["id_token"], await keys_of(platform), algorithms=["ES256"]).claims
    return Person(platform, api, party, browser, provider_id, claims)


async def hears(person: Person, application: Application, canary: Canary) -> None:
    """The application is told that this session of this person is over."""
    async with asyncio.timeout(30):
        token = await application.heard.get()
    canary.add("logout token", token)
    logout = jwt.decode(token, await keys_of(person.platform), algorithms=["ES256"])
    assert logout.header["typ"] == "logout+jwt"
    assert [logout.claims[name] for name in ("iss", "sub", "sid")] == [
        person.claims[name] for name in ("iss", "sub", "sid")
    ]
    assert logout.claims["aud"] == person.party.client_id


async def test_it_is_offered(platform: Platform) -> None:
    async with http_client(base_url=platform.issuer) as http:
        offered = (await http.get("/.well-known/openid-configuration")).json()
    assert offered["backchannel_logout_supported"]
    assert offered["backchannel_logout_session_supported"]


@pytest.mark.parametrize(
    "ending",
    [
        end_session,
        disable_user,
        revoke_the_person,
        revoke_the_session,
        revoke_the_provider,
        change_the_password,
        unlink_the_identity,
        distrust_the_provider,
        remove_the_provider,
    ],
)
async def test_the_application_hears_of_it(
    platform: Platform, application: Application, canary: Canary, mock_issuer: str, ending: Ending
) -> None:
    person = await signed_in(platform, application, canary, mock_issuer)
    await ending(person)
    await hears(person, application, canary)


@pytest.mark.parametrize("ending", [revoke_everything, rotate_with_sessions])
async def test_the_application_hears_of_it_when_it_is_the_end_of_everything(
    own_platform: Platform, application: Application, canary: Canary, mock_issuer: str, ending: Ending
) -> None:
    person = await signed_in(own_platform, application, canary, mock_issuer)
    await ending(person)
    await hears(person, application, canary)


async def test_the_application_hears_of_the_end_of_a_session_that_outlived_its_tokens(
    own_platform: Platform, application: Application, canary: Canary, mock_issuer: str, clock: TestClock
) -> None:
    """Its grant without refresh was over after a day, and is swept a day later; the session lasts for seven."""
    metadata = {"grant_types": ["authorization_code"], "scope": "openid profile email"}
    person = await signed_in(own_platform, application, canary, mock_issuer, **metadata)
    other = await Party.registered(person.api, own_platform.issuer, canary)
    database = own_platform.database.open(Service.TOKEN)
    for _ in range(5):
        clock.advance(timedelta(hours=20))
        page = await SignIn(person.browser, other, params={"prompt": "none"}).start()
        assert "code=" in page.location, page.location
        await sweep(database, now=clock())
    await end_session(person)
    await hears(person, application, canary)
