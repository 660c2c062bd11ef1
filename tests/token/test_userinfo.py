"""Userinfo."""

from typing import Any

import pytest
from tests.token.conftest import Site

from watchword_events.names import Service
from watchword_events.revocations import Claim


@pytest.mark.spec("OpenID Connect Core 5.3")
@pytest.mark.spec("OpenID Connect Core 5.4")
async def test_each_scope_opens_its_claims(site: Site) -> None:
    user = await site.user(
        username="ada",
        email="ada@example.test",
        email_verified=True,
        groups=["ops"],
        claims={"name": "Ada", "picture": "https://x.test/a.png", "phone_number": "+1", "shoe_size": 7},
    )
    app = await site.client(scope=["openid", "profile", "email", "phone", "groups", "groupstring", "read"])
    expected: dict[str, dict[str, Any]] = {
        "profile": {"name": "Ada", "picture": "https://x.test/a.png", "preferred_username": "ada", "username": "ada"},
        "email": {"email": "ada@example.test", "email_verified": True},
        "phone": {"phone_number": "+1"},
        "groups": {"groups": ["ops"]},
        "groupstring": {"groupstring": '["ops"]'},
        "read": {},
    }
    for token_format in ("jwt", "opaque"):
        app = await site.client(
            scope=["openid", "profile", "email", "phone", "groups", "groupstring", "read"],
            access_token_format=token_format,
        )
        for scope, claims in expected.items():
            token = (await site.sign_in(app, user, scope=("openid", scope)))["access_token"]
            assert (await site.userinfo(token)).json() == {"sub": user.id, **claims}
    everything = (await site.sign_in(app, user, scope=("openid", *expected)))["access_token"]
    merged = {name: value for claims in expected.values() for name, value in claims.items()}
    assert (await site.userinfo(everything)).json() == {"sub": user.id, **merged}


@pytest.mark.spec("RFC 6750 2; RFC 6750 2.2; OpenID Connect Core 5.3.1")
async def test_the_token_comes_in_the_header_or_in_a_form(site: Site) -> None:
    token = (await site.sign_in(await site.client()))["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    assert (await site.http.get("/oauth2/userinfo", headers=headers)).status_code == 200
    assert (await site.http.post("/oauth2/userinfo", headers=headers)).status_code == 200
    assert (await site.http.post("/oauth2/userinfo", data={"access_token": token})).status_code == 200
    lower = await site.http.get("/oauth2/userinfo", headers={"Authorization": f"bearer {token}"})
    assert lower.status_code == 200
    assert lower.headers["cache-control"] == "no-store"


@pytest.mark.spec("RFC 6750 3.1")
async def test_refusals_carry_the_right_challenge(site: Site) -> None:
    app = await site.client()
    token = (await site.sign_in(app))["access_token"]
    machine = await site.machine_token(app)
    without = (await site.sign_in(app, scope=("read",)))["access_token"]
    own = await site.client(scope=["read", "watchword:admin"])
    no_openid = await site.machine_token(own)
    bearer = {"Authorization": f"Bearer {token}"}
    rows = [
        (await site.http.get("/oauth2/userinfo"), 401, None),
        (await site.http.get("/oauth2/userinfo", params={"access_token": token}), 401, None),
        (await site.http.get("/oauth2/userinfo", headers={"Authorization": "Basic YTpi"}), 401, None),
        (await site.http.get("/oauth2/userinfo", headers={"Authorization": "Bearer"}), 401, "invalid_token"),
        (await site.userinfo("garbage"), 401, "invalid_token"),
        (await site.userinfo(machine), 403, "insufficient_scope"),
        (await site.userinfo(without), 403, "insufficient_scope"),
        (await site.userinfo(no_openid), 403, "insufficient_scope"),
        (
            await site.http.post("/oauth2/userinfo", headers=bearer, data={"access_token": token}),
            400,
            "invalid_request",
        ),
    ]
    for answer, status, error in rows:
        assert answer.status_code == status
        if status == 400:
            continue
        challenge = answer.headers["www-authenticate"]
        assert challenge.startswith("Bearer ")
        if error is None:
            assert "error=" not in challenge
        else:
            assert f'error="{error}"' in challenge


async def test_a_token_for_another_resource_alone_is_refused(site: Site) -> None:
    app = await site.client(audience=["https://api.test"])
    tokens = await site.sign_in(app, scope=("read",), resource=("https://api.test",))
    assert (await site.userinfo(tokens["access_token"])).status_code == 403


async def test_a_person_who_is_gone_or_disabled_is_refused(site: Site) -> None:
    app, user = await site.client(), await site.user()
    token = (await site.sign_in(app, user))["access_token"]
    await site.revoke(Claim.SUB, user.id, by=Service.DIRECTORY)
    assert (await site.userinfo(token)).status_code == 401
