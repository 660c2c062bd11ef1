"""A resource server with the verifier, against the running platform: over NATS, with opaque tokens, and while stale."""

import asyncio
import secrets
from datetime import timedelta
from typing import Annotated, Final

import httpx2
import pytest
from fastapi import Depends, FastAPI

from watchword_events.names import Service
from watchword_testkit.api import Api
from watchword_testkit.canary import Canary
from watchword_testkit.platform import Platform
from watchword_testkit.signin import Party
from watchword_verifier import Claims, ClientCredentials, HttpFeed, NatsFeed, Reason, TokenRefused, Verifier, WhenStale
from watchword_verifier.fastapi import require
from watchword_verifier.pace import Pace

AUDIENCE: Final = "https://orders.example"
NEVER_FRESH: Final = timedelta(microseconds=1)


@pytest.fixture
async def shop(platform: Platform, api: Api, canary: Canary) -> Party:
    """A machine that may call the resource server."""
    return await machine(platform, api, canary, scope="orders:read", audience=[AUDIENCE])


@pytest.fixture
async def feed(platform: Platform, api: Api, canary: Canary) -> HttpFeed:
    """The resource server's own client: it reads the feed and may introspect any token."""
    made = await machine(platform, api, canary, scope="revocations:read introspect:any")
    assert made.client_secret is not None
    return HttpFeed(platform.issuer, ClientCredentials(platform.issuer, made.client_id, made.client_secret))


async def machine(platform: Platform, api: Api, canary: Canary, **metadata: object) -> Party:
    return await Party.registered(
        api,
        platform.issuer,
        canary,
        grant_types=["client_credentials"],
        redirect_uris=[],
        response_types=[],
        **metadata,
    )


async def new_token(party: Party) -> str:
    return (await party.tokens(grant_type="client_credentials", scope="orders:read"))["access_token"]


async def refused(verifier: Verifier, token: str) -> Reason | None:
    try:
        await verifier.verify(token)
    except TokenRefused as error:
        return error.reason
    return None


async def becomes_refused(verifier: Verifier, token: str) -> None:
    """The promise is milliseconds; the bound here only tells a slow machine from a broken one."""
    async with asyncio.timeout(30):
        while await refused(verifier, token) is not Reason.REVOKED:
            await asyncio.sleep(0.005)


@pytest.mark.spec("RFC 9068 4")
async def test_a_program_on_nats_obeys_a_revocation(platform: Platform, shop: Party, feed: HttpFeed) -> None:
    seed = platform.site.installation.seeds[Service.ADMIN]
    over_nats = NatsFeed(platform.nats.url, feed, seed=seed, inbox_prefix="_INBOX_admin")
    async with Verifier(platform.issuer, AUDIENCE, feed=over_nats) as verifier:
        token, other = await new_token(shop), await new_token(shop)
        assert (await verifier.verify(token)).client_id == shop.client_id
        await shop.ask("revoke", token=token)
        await becomes_refused(verifier, token)
        assert await refused(verifier, other) is None
        await asyncio.sleep(1.5)
        assert verifier.is_fresh


@pytest.mark.parametrize("over_nats", [True, False], ids=["NATS", "HTTP"])
async def test_who_waits_for_all_asks_for_receipts(
    platform: Platform, api: Api, feed: HttpFeed, monkeypatch: pytest.MonkeyPatch, over_nats: bool
) -> None:
    """Receipts are seldom while much is revoked: here no verifier would send another in this minute by itself."""
    monkeypatch.setattr(Pace, "reported", lambda pace, *, news: setattr(pace, "pause_s", 60.0))
    seed = platform.site.installation.seeds[Service.ADMIN]
    nats = NatsFeed(platform.nats.url, feed, seed=seed, inbox_prefix="_INBOX_admin")
    bound = timedelta(seconds=30)
    async with Verifier(platform.issuer, AUDIENCE, feed=nats if over_nats else feed, staleness_bound=bound):
        for name in ("ann", "bob"):
            body = {"claim": "sub", "value": name}
            answer = await api.call("POST", "/revocations", body, wait="all", timeout_s="15")
            assert answer.status_code == 201, answer.text


async def test_an_opaque_token_is_accepted_until_it_is_revoked(
    platform: Platform, api: Api, canary: Canary, feed: HttpFeed
) -> None:
    shop = await machine(platform, api, canary, scope="orders:read", audience=[AUDIENCE], access_token_format="opaque")
    async with Verifier(platform.issuer, AUDIENCE, feed=feed) as verifier:
        token = await new_token(shop)
        claims = await verifier.verify(token)
        assert (claims.client_id, claims.scope) == (shop.client_id, frozenset({"orders:read"}))
        await shop.ask("revoke", token=token)
        await becomes_refused(verifier, token)


@pytest.mark.spec("RFC 7662 2")
async def test_a_verifier_that_cannot_know_asks_the_issuer(platform: Platform, shop: Party, feed: HttpFeed) -> None:
    async with Verifier(platform.issuer, AUDIENCE, feed=feed, staleness_bound=NEVER_FRESH) as verifier:
        token = await new_token(shop)
        assert not verifier.is_fresh
        assert await refused(verifier, token) is None
        await shop.ask("revoke", token=token)
        assert await refused(verifier, token) is Reason.REVOKED


async def test_a_verifier_that_may_not_ask_refuses(platform: Platform, shop: Party, feed: HttpFeed) -> None:
    made = Verifier(platform.issuer, AUDIENCE, feed=feed, staleness_bound=NEVER_FRESH, when_stale=WhenStale.REFUSE)
    async with made as verifier:
        assert await refused(verifier, await new_token(shop)) is Reason.STALE


@pytest.mark.spec("RFC 6750 3.1")
async def test_an_application_lets_in_who_holds_the_scope(platform: Platform, shop: Party, feed: HttpFeed) -> None:
    async with Verifier(platform.issuer, AUDIENCE, feed=feed) as verifier:
        app = FastAPI()

        @app.get("/orders")
        async def list_orders(
            claims: Annotated[Claims, Depends(require(scope="orders:read", verifier=verifier))],
        ) -> str:
            return claims.client_id

        @app.delete("/orders")
        async def delete_orders(
            claims: Annotated[Claims, Depends(require(scope="orders:write", verifier=verifier))],
        ) -> None:
            raise AssertionError("not reached")

        transport = httpx2.ASGITransport(app)
        headers = {"Authorization": f"Bearer {await new_token(shop)}"}
        async with httpx2.AsyncClient(transport=transport, base_url="http://orders", headers=headers) as client:
            assert (await client.get("/orders")).json() == shop.client_id
            assert (await client.delete("/orders")).status_code == 403


async def test_a_token_for_another_service_is_refused(
    platform: Platform, api: Api, canary: Canary, feed: HttpFeed
) -> None:
    elsewhere = await machine(platform, api, canary, scope="orders:read", audience=["https://other.example"])
    async with Verifier(platform.issuer, AUDIENCE, feed=feed) as verifier:
        assert await refused(verifier, await new_token(elsewhere)) is Reason.WRONG_AUDIENCE


async def test_a_revoking_call_waits_for_the_verifier(
    platform: Platform, api: Api, shop: Party, feed: HttpFeed
) -> None:
    name = f"orders-{secrets.token_hex(4)}"
    async with Verifier(platform.issuer, AUDIENCE, feed=feed, name=name) as verifier:
        token = await new_token(shop)
        await verifier.verify(token)
        answer = await api.call("POST", "/revocations?wait=all", {"claim": "client_id", "value": shop.client_id})
        assert answer.status_code == 201, answer.text
        assert await refused(verifier, token) is Reason.REVOKED
        entry = (await api.call("GET", f"/revocations/{answer.json()['id']}")).json()
        assert entry["complete"]
        kinds = {receipt["kind"] for receipt in entry["applied"]}
        assert kinds == {"service", "verifier"}
        assert any(receipt["name"].endswith(f":{name}") for receipt in entry["applied"])
        (mine,) = [each for each in await api.all("/verifiers") if str(each["name"]).endswith(f":{name}")]
        assert (mine["audience"], mine["policy"], mine["is_registered"]) == (AUDIENCE, "introspect", False)
    # It has said good-bye: nobody waits for it any more.
    gone = (await api.call("GET", f"/verifiers/{mine['id']}")).json()
    assert gone["instances"] == []


async def test_a_verifier_confirms_a_new_key_within_seconds(platform: Platform, api: Api, feed: HttpFeed) -> None:
    async with Verifier(platform.issuer, AUDIENCE, feed=feed):
        (made,) = (await api.call("POST", "/keys/rotate", {"alg": "RS256"})).json()["items"]
        async with asyncio.timeout(20):
            while not (found := (await api.call("GET", f"/keys/{made['kid']}")).json())["confirmed_at"]:
                await asyncio.sleep(0.1)
        assert (found["state"], found["waiting_for"]) == ("next", [])
