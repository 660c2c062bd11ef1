"""What an application in a browser may call from its own origin, beside what `token` answers."""

import asyncio
import secrets

from watchword_testkit.api import Api
from watchword_testkit.canary import Canary
from watchword_testkit.http import http_client
from watchword_testkit.platform import Platform
from watchword_testkit.signin import Party, SignIn


async def test_requests_are_pushed_from_registered_origins(platform: Platform, api: Api, canary: Canary) -> None:
    origin = f"https://spa-{secrets.token_hex(4)}.example"
    party = await Party.registered(
        api, platform.issuer, canary, token_endpoint_auth_method="none", allowed_origins=[origin]
    )
    url = f"{platform.issuer}/oauth2/par"
    preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "dpop"}
    form = {**SignIn(platform.browser(canary), party).query, "client_id": party.client_id}
    async with http_client() as http:
        async with asyncio.timeout(10):
            while True:
                asked = await http.options(url, headers={"Origin": origin, **preflight})
                if asked.headers.get("access-control-allow-origin") == origin:
                    break
                await asyncio.sleep(0.05)
        assert asked.status_code == 204
        assert "dpop" in asked.headers["access-control-allow-headers"].lower()
        for answer, status in (
            (await http.post(url, data=form, headers={"Origin": origin}), 201),
            (await http.post(url, data={**form, "redirect_uri": "https://x.example"}, headers={"Origin": origin}), 400),
        ):
            assert answer.status_code == status, answer.text
            assert answer.headers["access-control-allow-origin"] == origin
            assert "access-control-allow-credentials" not in answer.headers
            if status == 201:
                canary.add("request_uri", answer.json()["request_uri"])
        stranger = {"Origin": "https://stranger.example"}
        for answer in (
            await http.options(url, headers=stranger | preflight),
            await http.post(url, data=form, headers=stranger),
        ):
            assert "access-control-allow-origin" not in answer.headers
            if answer.status_code == 201:
                canary.add("request_uri", answer.json()["request_uri"])
