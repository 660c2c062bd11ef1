"""A pairwise client from its sign-in to the end of the person, with a verifier that listens to the feed."""

import asyncio
import base64
import json

import pytest

from watchword_testkit.api import Api
from watchword_testkit.browser import Browser
from watchword_testkit.canary import Canary
from watchword_testkit.http import http_client
from watchword_testkit.platform import Platform
from watchword_testkit.signin import Party, SignIn
from watchword_verifier import ClientCredentials, HttpFeed, TokenRefused, Verifier

PASSWORD = "correct horse battery staple"
AUDIENCE = "https://pairwise.example"


def subject_of(token: str) -> str:
    part = token.split(".")[1]
    return str(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))["sub"])


@pytest.mark.spec("OpenID Connect Core 8.1; OpenID Connect RP-Initiated Logout 1.0 2")
async def test_disabling_a_person_ends_tokens_that_call_them_by_another_name(
    platform: Platform, api: Api, browser_session: Browser, canary: Canary
) -> None:
    party = await Party.registered(api, platform.issuer, canary, subject_type="pairwise", audience=[AUDIENCE])
    user = await api.create("/users", username="pairwise", password=PASSWORD)
    reader = await Party.registered(
        api,
        platform.issuer,
        canary,
        grant_types=["client_credentials"],
        redirect_uris=[],
        response_types=[],
        scope="revocations:read",
    )
    tokens = await SignIn(browser_session, party).with_password("pairwise", PASSWORD)
    subject = subject_of(tokens["id_token"])
    assert subject == subject_of(tokens["access_token"]) != user["id"]
    hinted = SignIn(browser_session, party, params={"prompt": "none", "id_token_hint": tokens["id_token"]})
    await hinted.start()
    assert "code" in hinted.outcome()  # the hint means the person who is signed in
    assert reader.client_secret is not None
    feed = HttpFeed(platform.issuer, ClientCredentials(platform.issuer, reader.client_id, reader.client_secret))
    async with Verifier(platform.issuer, AUDIENCE, feed=feed) as verifier:
        assert (await verifier.verify(tokens["access_token"])).subject == subject
        await api.change(f"/users/{user['id']}", active=False)
        assert (await party.userinfo(tokens["access_token"])).status_code == 401
        assert (await party.introspect(tokens["access_token"]))["active"] is False
        async with asyncio.timeout(30):
            while True:
                try:
                    await verifier.verify(tokens["access_token"])
                except TokenRefused:
                    break
                await asyncio.sleep(0.01)
    async with http_client() as http:
        document = (await http.get(f"{platform.issuer}/.well-known/openid-configuration")).json()
    assert document["subject_types_supported"] == ["public", "pairwise"]
