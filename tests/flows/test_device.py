"""A device without a browser: it shows a code, somebody allows it elsewhere, it gets tokens; sign-out ends them."""

from watchword_testkit.api import Api
from watchword_testkit.browser import Browser
from watchword_testkit.canary import Canary
from watchword_testkit.platform import Platform
from watchword_testkit.signin import Party

GRANT = "urn:ietf:params:oauth:grant-type:device_code"
PASSWORD = "correct horse battery staple"


async def test_a_device_is_connected_and_ends_with_the_session(
    platform: Platform, api: Api, browser_session: Browser, canary: Canary
) -> None:
    party = await Party.registered(
        api,
        platform.issuer,
        canary,
        client_name="Television",
        redirect_uris=[],
        grant_types=[GRANT, "refresh_token"],
        token_endpoint_auth_method="none",
        scope="openid profile",
    )
    user = await api.create("/users", username="device-gail", name="Gail", password=PASSWORD)
    codes = (await party.ask("device_authorization", scope="openid profile")).json()
    browser = browser_session
    await browser.open(codes["verification_uri"])
    await browser.submit("user_code", "continue", user_code=codes["user_code"])
    await browser.submit("username", "sign-in", username="device-gail", password=PASSWORD)
    assert browser.page.texts["client-name"] == "Television"
    await browser.submit("decision", "allow")
    tokens = await party.tokens(grant_type=GRANT, device_code=codes["device_code"])
    told = (await party.userinfo(tokens["access_token"])).json()
    assert (told["sub"], told["name"]) == (user["id"], "Gail")

    await browser.open(f"{platform.issuer}/oauth2/logout")
    await browser.submit("sign-out", "sign-out")
    assert (await party.userinfo(tokens["access_token"])).status_code == 401
    refused = await party.ask("token", grant_type="refresh_token", refresh_token=tokens["refresh_token"])
    assert refused.json()["error"] == "invalid_grant"
