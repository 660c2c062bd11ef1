"""What an application learns of a person: the claims of the scopes that it was granted, as they stand now."""

import base64
import json

from watchword_testkit.api import Api
from watchword_testkit.browser import Browser
from watchword_testkit.canary import Canary
from watchword_testkit.platform import Platform
from watchword_testkit.signin import Party, SignIn

PASSWORD = "correct horse battery staple"


def payload(token: str) -> dict[str, object]:
    """The claims of a JWT, unverified."""
    part = token.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))


async def test_groups_reach_the_application_and_follow_the_directory(
    platform: Platform, api: Api, browser_session: Browser, canary: Canary
) -> None:
    party = await Party.registered(api, platform.issuer, canary, scope="openid profile groups")
    user = await api.create("/users", username="claims-erin", groups=["ops", "dev", "ops"], password=PASSWORD)
    assert user["groups"] == ["dev", "ops"]

    tokens = await SignIn(browser_session, party, scope="openid profile groups").with_password("claims-erin", PASSWORD)
    assert payload(tokens["id_token"])["groups"] == ["dev", "ops"]
    assert (await party.userinfo(tokens["access_token"])).json()["groups"] == ["dev", "ops"]

    await api.change(f"/users/{user['id']}", groups=["dev"])
    for _ in range(200):
        if (await party.userinfo(tokens["access_token"])).json()["groups"] == ["dev"]:
            break
    else:
        raise AssertionError("the application still sees a group that the person left")


async def test_a_scope_that_was_not_granted_tells_nothing(
    platform: Platform, api: Api, browser_session: Browser, canary: Canary
) -> None:
    party = await Party.registered(api, platform.issuer, canary, scope="openid")
    await api.create("/users", username="claims-finn", groups=["ops"], name="Finn", password=PASSWORD)
    tokens = await SignIn(browser_session, party, scope="openid profile groups").with_password("claims-finn", PASSWORD)
    told = payload(tokens["id_token"]) | (await party.userinfo(tokens["access_token"])).json()
    assert not {"name", "groups", "email", "preferred_username"} & set(told)
