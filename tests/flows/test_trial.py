"""Trying an application for somebody: it says what a real sign-in then does, and leaves nothing behind."""

import json
import re
import secrets

import pytest
from tests.flows.test_claims import payload

from watchword_testkit.api import Api
from watchword_testkit.canary import Canary
from watchword_testkit.platform import Platform
from watchword_testkit.signin import Party, SignIn

PASSWORD = "correct horse battery staple"
SCOPE = "email groups offline_access openid profile"
# What each sign-in has of its own.
OWN = {"jti", "gid", "sid", "rev", "nonce", "at_hash", "exp", "iat", "auth_time", "acr"}


async def tried(api: Api, client_id: str, user_id: object, **more: object) -> tuple[dict[str, object], ...]:
    """What would become of it, and what the client would be told."""
    ends = await api.create("/decisions/trial", client_id=client_id, user_id=user_id, **more)
    told = await api.create("/grants/trial", client_id=client_id, user_id=user_id, scope=ends["scope"])
    return ends, told


def lasting(claims: object) -> dict[str, object]:
    assert isinstance(claims, dict)
    return {name: value for name, value in claims.items() if name not in OWN}


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({}, id="usual"),
        pytest.param({"userinfo_claims_only": True}, id="told at userinfo only"),
        pytest.param({"subject_type": "pairwise"}, id="pairwise"),
        pytest.param({"groups_claim": "teams", "groups_filter": ["^ops$"]}, id="some groups, by another name"),
        pytest.param({"permission_scope": ["watchword:users:read"]}, id="administers"),
    ],
)
async def test_what_is_foretold_is_what_is_told(
    platform: Platform, api: Api, canary: Canary, settings: dict[str, object]
) -> None:
    name = f"trial-{secrets.token_hex(4)}"
    user = await api.create("/users", username=name, name="Try", email=f"{name}@demo.test", groups=["dev", "ops"], password=PASSWORD)  # fmt: skip  # noqa: E501
    party = await Party.registered(api, platform.issuer, canary, scope=SCOPE, **settings)
    rule = await api.create(
        "/rules",
        name=name,
        expression="'ops' in groups",
        clients=[party.client_id],
        roles=["editor"],
        service_account="robot",
    )
    ends, told = await tried(api, party.client_id, user["id"])
    assert ends["lets_in"] is True, ends
    assert ends["scope"] == SCOPE.split()
    assert ends["asks_consent"] is False
    assert ends["decision"]["rule"] == name  # type: ignore[index]  # an object
    async with platform.browser(canary) as browser:
        tokens = await SignIn(browser, party, scope=SCOPE).with_password(name, PASSWORD)
    assert lasting(told["id_token"]) == lasting(payload(tokens["id_token"]))
    access = told["access_token"]
    assert isinstance(access, dict)
    assert lasting(access["claims"]) == lasting(payload(tokens["access_token"]))
    assert access["lifetime_s"] == tokens["expires_in"]
    assert told["userinfo"] == (await party.userinfo(tokens["access_token"])).json()
    assert told["refresh_token"] is ("refresh_token" in tokens)
    await api.delete(f"/rules/{rule['id']}")


async def test_nothing_is_left_behind(platform: Platform, api: Api, canary: Canary) -> None:
    user = await api.create("/users", username=f"trial-{secrets.token_hex(4)}")
    party = await Party.registered(api, platform.issuer, canary, scope=SCOPE, require_consent=True)
    ends, told = await tried(api, party.client_id, user["id"])
    assert ends["asks_consent"] is True
    asked = ends["consent"]
    assert isinstance(asked, list)
    assert {line["scope"] for line in asked} == set(SCOPE.split())
    assert told["allowed"] is True
    assert not {"jti", "sid", "gid"} & set(told["access_token"]["claims"])  # type: ignore[index]  # an object
    assert not re.search(r"eyJ[\w-]+\.", json.dumps([ends, told])), "nothing like a token"
    for path in ("/grants", "/sessions", "/consents", "/decisions"):
        assert (await api.get(path, user_id=str(user["id"])))["items"] == []


async def test_who_is_not_let_in_is_told_why(platform: Platform, api: Api, canary: Canary) -> None:
    user = await api.create("/users", username=f"trial-{secrets.token_hex(4)}")
    party = await Party.registered(api, platform.issuer, canary, access="rules")
    ends, told = await tried(api, party.client_id, user["id"])
    assert (ends["lets_in"], told["allowed"]) == (False, False)
    assert ends["decision"]["outcome"] == "no_match"  # type: ignore[index]  # an object
    await api.change(f"/clients/{party.client_id}", access="open", required_permission="wiki:read")
    ends, told = await tried(api, party.client_id, user["id"])
    assert (ends["lets_in"], ends["has_permission"], told["allowed"]) == (False, False, False)
    await api.change(f"/clients/{party.client_id}", required_permission=None)
    await api.change(f"/users/{user['id']}", active=False)
    ends, told = await tried(api, party.client_id, user["id"])
    assert (ends["lets_in"], ends["active"], told["allowed"]) == (False, False, False)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"redirect_uri": "https://evil.example/"}, "invalid_redirect_uri"),
        ({"scope": "nothing"}, "invalid_scope"),
        ({"scope": "o\\k"}, "invalid_scope"),
        ({"resource": ["https://api.example"]}, "invalid_target"),
    ],
)
async def test_a_request_that_would_be_refused_says_so(
    platform: Platform, api: Api, canary: Canary, changes: dict[str, object], error: str
) -> None:
    user = await api.create("/users", username=f"trial-{secrets.token_hex(4)}")
    party = await Party.registered(api, platform.issuer, canary)
    ends = await api.create("/decisions/trial", client_id=party.client_id, user_id=user["id"], **changes)
    assert ends["lets_in"] is False
    assert ends["refusal"]["error"] == error  # type: ignore[index]  # an object


@pytest.mark.parametrize("path", ["/decisions/trial", "/grants/trial"])
@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"client_id": "nobody"}, 404),
        ({"user_id": "nobody"}, 404),
        ({"client_id": ""}, 400),
        ({"user_id": "x" * 513}, 400),
        ({"user_id": "\x00"}, 400),
        ({"resource": "https://api.example"}, 400),
        ({"unknown": True}, 400),
    ],
)
async def test_what_cannot_be_tried_is_refused(
    platform: Platform, api: Api, path: str, changes: dict[str, object], status: int
) -> None:
    body: dict[str, object] = {"client_id": "watchword-console", "user_id": platform.admin.username, "scope": []}
    if path == "/decisions/trial":
        body["scope"] = "openid"
    answer = await api.call("POST", path, body | changes)
    assert answer.status_code == status, answer.text


@pytest.mark.parametrize(
    ("path", "changes", "status"),
    [
        ("/decisions/trial", {"provider_id": "nobody"}, 404),
        ("/decisions/trial", {"address": "here"}, 400),
        ("/grants/trial", {"scope": ["two words"]}, 400),
        ("/grants/trial", {"resource": ["https://api.example"]}, 400),
    ],
)
async def test_nor_what_is_not_there(
    platform: Platform, api: Api, canary: Canary, path: str, changes: dict[str, object], status: int
) -> None:
    user = await api.create("/users", username=f"trial-{secrets.token_hex(4)}")
    party = await Party.registered(api, platform.issuer, canary)
    body = {"client_id": party.client_id, "user_id": user["id"], "scope": "openid" if "decisions" in path else []}
    answer = await api.call("POST", path, body | changes)
    assert answer.status_code == status, answer.text
