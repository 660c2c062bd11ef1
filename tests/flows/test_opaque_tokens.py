"""Opaque access tokens at `/api/v1`: each service takes them, and they are worth what an equal client's JWT is."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any, Final, NamedTuple

import httpx2
import pytest

from watchword_policy.administration import AUDITOR
from watchword_testkit.api import Api
from watchword_testkit.canary import Canary
from watchword_testkit.holder import Holder
from watchword_testkit.http import http_client
from watchword_testkit.platform import Platform
from watchword_testkit.signin import Party, SignIn

PASSWORD: Final = "a password for opaque tokens"
FORMATS: Final = ("opaque", "jwt")
# One route or more of each service: of directory, admin, authz, token and federation.
ROUTES: Final = (
    "/me",
    "/users",
    "/me/applications",
    "/clients",
    "/sessions",
    "/me/api-keys",
    "/grants",
    "/upstream/attempts",
)
OWN: Final = frozenset({"/me", "/me/applications", "/me/api-keys"})
READ: Final = [f"watchword:{area}:read" for area in ("me", "users", "clients", "sessions", "grants", "upstream")]


class Person(NamedTuple):
    """Somebody, with a token of each format, and how to ask with one of them."""

    username: str
    tokens: dict[str, dict[str, str]]
    parties: dict[str, Party]
    http: httpx2.AsyncClient

    async def answer(self, path: str, token: str) -> httpx2.Response:
        return await self.http.get(f"/api/v1{path}", headers={"Authorization": f"Bearer {token}"})

    async def statuses(self, token: str) -> dict[str, int]:
        return {path: (await self.answer(path, token)).status_code for path in ROUTES}


async def signed_in(platform: Platform, api: Api, canary: Canary, http: httpx2.AsyncClient, *roles: str) -> Person:
    """A new person with these roles, at two clients that are equal but for the format of their tokens."""
    name = f"opaque-{secrets.token_hex(4)}"
    user = await api.create("/users", username=name, password=PASSWORD)
    for role in roles:
        await api.create("/assignments", role=role, user=user["id"])
    parties, tokens = {}, {}
    for kind in FORMATS:
        parties[kind] = await Party.registered(
            api, platform.issuer, canary, scope="openid profile", permission_scope=READ, access_token_format=kind
        )
        async with platform.browser(canary) as browser:
            tokens[kind] = await SignIn(browser, parties[kind], scope="profile").with_password(name, PASSWORD)
        assert tokens[kind]["access_token"].count(".") == (4 if kind == "opaque" else 2)
    return Person(name, tokens, parties, http)


@pytest.fixture
async def http(platform: Platform) -> AsyncIterator[httpx2.AsyncClient]:
    """A connection to the installation."""
    async with http_client(base_url=platform.issuer, timeout=20.0) as made:
        yield made


@pytest.mark.spec("RFC 6750 2.1; RFC 9068 4")
@pytest.mark.parametrize("roles", [(), (AUDITOR,)], ids=["nobody", "auditor"])
async def test_each_service_takes_an_opaque_token_as_a_jwt(
    platform: Platform, api: Api, canary: Canary, http: httpx2.AsyncClient, roles: tuple[str, ...]
) -> None:
    person = await signed_in(platform, api, canary, http, *roles)
    opaque, jwt = (person.tokens[kind]["access_token"] for kind in FORMATS)
    expected = {path: 200 if roles or path in OWN else 403 for path in ROUTES}
    async with asyncio.timeout(30):  # what a role gives is known everywhere within moments
        while await person.statuses(jwt) != expected:
            await asyncio.sleep(0.05)
    assert await person.statuses(opaque) == expected
    me, same = [(await person.answer("/me", token)).json() for token in (opaque, jwt)]
    assert (me.pop("client_id"), same.pop("client_id")) == tuple(person.parties[kind].client_id for kind in FORMATS)
    assert me == same
    assert me["username"] == person.username
    answers = [(await person.answer("/me/applications?limit=200", token)).json() for token in (opaque, jwt)]
    assert answers[0] == answers[1]
    refused = await http.post("/api/v1/users", headers={"Authorization": f"Bearer {opaque}"}, json={"username": "x"})
    assert refused.status_code == 403, "what the client may not"


@pytest.mark.row(15)
async def test_a_revoked_opaque_token_is_refused_by_each_service(
    platform: Platform, api: Api, canary: Canary, http: httpx2.AsyncClient
) -> None:
    person = await signed_in(platform, api, canary, http)
    token = person.tokens["opaque"]["access_token"]
    assert set((await person.statuses(token)).values()) == {200, 403}, "what it says is known to each"
    await person.parties["opaque"].ask("revoke", token=token)
    async with asyncio.timeout(10):
        while set((await person.statuses(token)).values()) != {401}:
            await asyncio.sleep(0.01)


@pytest.mark.row(15)
async def test_what_is_no_opaque_token_of_ours_is_refused_by_each_service(
    platform: Platform, api: Api, canary: Canary, http: httpx2.AsyncClient
) -> None:
    person = await signed_in(platform, api, canary, http)
    token = person.tokens["opaque"]["access_token"]
    header, _, nonce, text, tag = token.split(".")
    elsewhere = await Party.registered(
        api, platform.issuer, canary, scope="profile", audience=["https://a.example"], access_token_format="opaque"
    )
    async with platform.browser(canary) as browser:
        signed_in_there = await SignIn(browser, elsewhere, scope="profile").with_password(person.username, PASSWORD)
    bad = {
        "truncated": token[:-4],
        "with a part less of it": f"{header}..{nonce}.{text[:-4]}.{tag}",
        "altered": f"{header}..{nonce}.{'B' if text[0] == 'A' else 'A'}{text[1:]}.{tag}",
        "with a key of its own": f"{header}.AAAA.{nonce}.{text}.{tag}",
        "of a stranger": ".".join((header, "", *map(secrets.token_urlsafe, (12, 80, 16)))),
        "under another header": f"eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..{nonce}.{text}.{tag}",
        "nothing": "....",
        "for another audience": signed_in_there["access_token"],
    }
    for name, presented in bad.items():
        assert (name, set((await person.statuses(presented)).values())) == (name, {401})
    assert set((await person.statuses(token)).values()) == {200, 403}


@pytest.mark.spec("RFC 9449 7.2")
@pytest.mark.parametrize("kind", FORMATS)
async def test_a_bound_token_is_no_bearer_token_in_either_format(
    platform: Platform, api: Api, canary: Canary, http: httpx2.AsyncClient, kind: str
) -> None:
    machine: dict[str, Any] = {"grant_types": ["client_credentials"], "redirect_uris": [], "response_types": []}
    party = await Party.registered(
        api, platform.issuer, canary, scope="watchword:admin", access_token_format=kind, **machine
    )
    free = (await party.tokens(grant_type="client_credentials"))["access_token"]
    headers = {"Authorization": f"Bearer {free}"}
    assert (await http.get("/api/v1/users", headers=headers)).status_code == 200
    holder, endpoint = Holder(), f"{platform.issuer}/oauth2/token"
    nonce: str | None = None
    for _ in range(2):
        proof = holder.proof("POST", endpoint, nonce=nonce)
        assert party.client_secret is not None
        answer = await http.post(
            "/oauth2/token",
            data={"grant_type": "client_credentials"},
            auth=(party.client_id, party.client_secret),
            headers={"DPoP": proof},
        )
        nonce = answer.headers["dpop-nonce"]
    bound = answer.json()
    assert bound["token_type"] == "DPoP", bound
    canary.add("token", bound["access_token"])
    for path in ROUTES:
        url = f"{platform.issuer}/api/v1{path}"
        proof = holder.proof("GET", url, token=bound["access_token"])
        for scheme in ("Bearer", "DPoP"):
            headers = {"Authorization": f"{scheme} {bound['access_token']}", "DPoP": proof}
            assert (path, (await http.get(url, headers=headers)).status_code) == (path, 401)
