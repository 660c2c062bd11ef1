"""Introspection."""

import pytest
from tests.token.conftest import ISSUER, Site

from watchword_events.names import Service
from watchword_events.revocations import Claim


@pytest.mark.spec("RFC 7662 2.2")
@pytest.mark.parametrize("access_token_format", ["jwt", "opaque"])
async def test_a_live_token_is_described(site: Site, access_token_format: str) -> None:
    app, user = await site.client(access_token_format=access_token_format), await site.user()
    tokens = await site.sign_in(app, user)
    found = await site.introspect(app, tokens["access_token"])
    assert found["active"] is True
    assert found["token_type"] == "Bearer"
    assert (found["iss"], found["sub"], found["client_id"]) == (ISSUER, user.id, app.id)
    assert found["aud"] == [app.id, ISSUER]
    assert found["scope"] == "openid profile email"
    assert found["exp"] - found["iat"] == 300
    answer = await site.post("/oauth2/introspect", app, {"token": tokens["access_token"]})
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.row(24)
@pytest.mark.spec("RFC 7662 4")
async def test_only_those_it_was_meant_for_learn_of_a_token(site: Site) -> None:
    resource, stranger = await site.client(), await site.client()
    anybody = await site.client(scope=["introspect:any"])
    for token_format in ("jwt", "opaque"):
        app = await site.client(audience=[resource.id, "https://api.test"], access_token_format=token_format)
        token = await site.machine_token(app)
        seen = {who.id: await site.introspect(who, token) for who in (app, resource, stranger, anybody)}
        assert [seen[who.id]["active"] for who in (app, resource, anybody)] == [True] * 3
        assert seen[stranger.id] == {"active": False}
        only = await site.machine_token(app, resource="https://api.test")
        assert [(await site.introspect(who, only))["active"] for who in (app, resource)] == [True, False]


@pytest.mark.row(21)
@pytest.mark.spec("RFC 7662 2.1")
async def test_who_may_ask(site: Site) -> None:
    app, public = await site.client(), await site.client(token_endpoint_auth_method="none")
    tokens = await site.sign_in(app)
    refused = await site.post("/oauth2/introspect", public, {"token": tokens["access_token"]})
    assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")
    nobody = await site.http.post("/oauth2/introspect", data={"token": tokens["access_token"]})
    assert nobody.status_code == 401
    empty = await site.post("/oauth2/introspect", app, {})
    assert (empty.status_code, empty.json()["error"]) == (400, "invalid_request")
    hinted = await site.post("/oauth2/introspect", app, {"token": tokens["access_token"], "token_type_hint": "odd"})
    assert hinted.json()["active"]


async def test_a_client_may_ask_about_its_own_refresh_tokens(site: Site) -> None:
    app, other = await site.client(), await site.client(scope=["introspect:any"])
    tokens = await site.sign_in(app)
    found = await site.introspect(app, tokens["refresh_token"])
    assert found["active"]
    assert found["client_id"] == app.id
    assert "token_type" not in found
    assert await site.introspect(other, tokens["refresh_token"]) == {"active": False}
    newer = (await site.token(app, grant_type="refresh_token", refresh_token=tokens["refresh_token"])).json()
    assert not await site.is_active(app, tokens["refresh_token"])
    assert await site.is_active(app, newer["refresh_token"])
    await site.revoke(Claim.SUB, found["sub"], by=Service.AUTHZ)
    assert not await site.is_active(app, newer["refresh_token"])
