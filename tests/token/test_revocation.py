"""Revocation by clients."""

import asyncio

import pytest
from tests.token.conftest import Site, instance

from watchword_events.revocations import Claim
from watchword_verifier.tokens import take_apart


@pytest.mark.spec("RFC 7009 2")
@pytest.mark.parametrize("access_token_format", ["jwt", "opaque"])
async def test_a_revoked_access_token_is_dead_and_its_family_lives(site: Site, access_token_format: str) -> None:
    app = await site.client(access_token_format=access_token_format)
    tokens = await site.sign_in(app)
    other = (await site.token(app, grant_type="refresh_token", refresh_token=tokens["refresh_token"])).json()
    answer = await site.post("/oauth2/revoke", app, {"token": tokens["access_token"]})
    assert answer.status_code == 200
    assert not await site.is_active(app, tokens["access_token"])
    assert (await site.userinfo(tokens["access_token"])).status_code == 401
    assert await site.is_active(app, other["access_token"])
    last = (await site.events("token.revoked"))[-1]
    assert last["client_id"] == app.id


@pytest.mark.spec("RFC 7009 2.1")
async def test_a_revoked_refresh_token_takes_its_family_with_it(site: Site) -> None:
    app = await site.client()
    tokens = await site.sign_in(app)
    assert (await site.post("/oauth2/revoke", app, {"token": tokens["refresh_token"]})).status_code == 200
    assert not await site.is_active(app, tokens["access_token"])
    refused = await site.token(app, grant_type="refresh_token", refresh_token=tokens["refresh_token"])
    assert refused.json()["error"] == "invalid_grant"
    assert (await site.events("grant.revoked"))[-1]["reason"] == "client"
    assert (await site.post("/oauth2/revoke", app, {"token": tokens["refresh_token"]})).status_code == 200


async def test_a_public_client_may_revoke_its_own(site: Site) -> None:
    app = await site.client(token_endpoint_auth_method="none")
    tokens = await site.sign_in(app)
    assert (await site.post("/oauth2/revoke", app, {"token": tokens["access_token"]})).status_code == 200
    assert (await site.userinfo(tokens["access_token"])).status_code == 401


@pytest.mark.spec("RFC 7009 2.2.1")
async def test_who_cannot_prove_who_they_are_does_not_wait(site: Site) -> None:
    """Each waiting call asks the database again and again; a public client's name is known to everybody."""
    app = await site.client(token_endpoint_auth_method="none")
    tokens = await site.sign_in(app)
    answer = await site.post("/oauth2/revoke?wait=all", app, {"token": tokens["access_token"]})
    assert (answer.status_code, answer.json()["error"]) == (400, "unauthorized_client")
    assert (await site.userinfo(tokens["access_token"])).status_code == 200


@pytest.mark.spec("RFC 7009 2.2")
async def test_what_is_no_token_is_answered_like_a_revoked_one(site: Site) -> None:
    app = await site.client()
    tokens = await site.sign_in(app)
    for nothing in ("x", "a.b.c", "a.b.c.d.e", tokens["id_token"], "x" * 5000):
        answer = await site.post("/oauth2/revoke", app, {"token": nothing, "token_type_hint": "access_token"})
        assert answer.status_code == 200
    assert await site.is_active(app, tokens["access_token"])
    empty = await site.post("/oauth2/revoke", app, {})
    assert (empty.status_code, empty.json()["error"]) == (400, "invalid_request")


@pytest.mark.spec("RFC 7009 2.1")
async def test_another_clients_tokens_cannot_be_revoked(site: Site) -> None:
    app, thief = await site.client(), await site.client()
    tokens = await site.sign_in(app)
    for kind in ("access_token", "refresh_token"):
        answer = await site.post("/oauth2/revoke", thief, {"token": tokens[kind]})
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    assert await site.is_active(app, tokens["access_token"])
    assert await site.is_active(app, tokens["refresh_token"])


@pytest.mark.parametrize("with_nats", [True, False])
async def test_every_instance_obeys_a_revocation(own_site: Site, with_nats: bool) -> None:
    app = await own_site.client()
    if not with_nats:
        assert own_site.nats is not None
        own_site.nats.kill()
    async with instance(
        own_site.database, own_site.nats_url, own_site.clock, own_site.canary, owners=own_site.owners
    ) as second:
        for revoking, other in ((own_site, second), (second, own_site)):
            tokens = await own_site.sign_in(app)
            assert await other.is_active(app, tokens["access_token"])
            assert (await revoking.post("/oauth2/revoke", app, {"token": tokens["access_token"]})).status_code == 200
            assert not await revoking.is_active(app, tokens["access_token"])
            async with asyncio.timeout(30):
                while await other.is_active(app, tokens["access_token"]):
                    await asyncio.sleep(0.01)


async def test_a_revocation_that_was_rolled_back_is_made_again(site: Site) -> None:
    """The first call failed at its commit: the token counts as dead here for a while, and the ledger knows nothing."""
    app = await site.client()
    token = (await site.sign_in(app))["access_token"]
    jti = str(take_apart(token).claims()["jti"])
    site.feed.pend(10**9, Claim.JTI, jti)
    assert not await site.is_active(app, token)
    for _ in range(3):
        assert (await site.post("/oauth2/revoke", app, {"token": token})).status_code == 200
    async with site.database.postgres.admin(site.database.name) as connection:
        found = await connection.fetchval("SELECT count(*) FROM bus.revocations WHERE value = $1", jti)
    assert found == 1, "acknowledged means written, once"
