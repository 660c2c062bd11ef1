"""What an application learns of a person: the claims of the scopes that it was granted, as they stand now."""

import base64
import json
import secrets

import pytest

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


async def told(platform: Platform, api: Api, canary: Canary, name: str, scope: str) -> tuple[dict[str, object], ...]:
    """What a new application is told of a person, in the ID token and at userinfo."""
    party = await Party.registered(api, platform.issuer, canary, scope=scope)
    async with platform.browser() as browser:
        tokens = await SignIn(browser, party, scope=scope).with_password(name, PASSWORD)
    return payload(tokens["id_token"]), (await party.userinfo(tokens["access_token"])).json()


@pytest.mark.seed(49, 50)
async def test_groups_as_a_text_and_the_home_organization(platform: Platform, api: Api, canary: Canary) -> None:
    number = secrets.randbelow(2**53)
    acme = await api.create("/organizations", short_name="claims-acme", name="Acme", external_id=number)
    await api.create("/users", username="claims-gil", groups=["ops", "dev"], organization=acme["id"], password=PASSWORD)
    for claims in await told(platform, api, canary, "claims-gil", "openid profile groupstring customer"):
        assert claims["username"] == "claims-gil"
        assert claims["groupstring"] == '["dev","ops"]'
        assert "groups" not in claims
        customer = {name: claims[name] for name in ("customer_id", "customer_shortname", "customer_name")}
        assert customer == {"customer_id": number, "customer_shortname": "claims-acme", "customer_name": "Acme"}
        assert claims["domain_id"] == number


async def test_who_has_no_organization_is_told_to_have_none(platform: Platform, api: Api, canary: Canary) -> None:
    await api.create("/users", username="claims-hal", password=PASSWORD)
    for claims in await told(platform, api, canary, "claims-hal", "openid groupstring customer"):
        assert not {"groupstring", "customer_id", "domain_id", "customer_shortname", "customer_name"} & set(claims)


async def test_a_scope_of_the_installations_own_tells_its_claims_where_it_says(
    platform: Platform, api: Api, canary: Canary
) -> None:
    scope = await api.create(
        "/scopes",
        name="claims:shift",
        description="See your shift",
        claims=[
            {"name": "on_call", "expression": "'ops' in groups"},
            {"name": "team_count", "expression": "size(groups)", "appears_in": ["userinfo"]},
            {"name": "shift", "expression": "claims.shift"},  # nobody has one: it is left out
        ],
    )
    await api.create("/users", username="claims-ida", groups=["ops", "dev"], password=PASSWORD)
    id_token, userinfo = await told(platform, api, canary, "claims-ida", "openid claims:shift")
    assert id_token["on_call"] is True
    assert userinfo["on_call"] is True
    assert userinfo["team_count"] == 2
    assert "team_count" not in id_token
    assert not {"shift"} & (set(id_token) | set(userinfo))
    id_token, userinfo = await told(platform, api, canary, "claims-ida", "openid")
    assert not {"on_call", "team_count"} & (set(id_token) | set(userinfo))

    await api.change(f"/scopes/{scope['id']}", claims=[{"name": "on_call", "expression": "'dev' in groups && false"}])
    for _ in range(200):
        id_token, userinfo = await told(platform, api, canary, "claims-ida", "openid claims:shift")
        if userinfo["on_call"] is False:
            break
    else:
        raise AssertionError("the scope that was changed tells the same as before")
    assert "team_count" not in userinfo
