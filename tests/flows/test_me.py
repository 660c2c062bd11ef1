"""`/api/v1/me`: who calls, and the applications that are theirs to use."""

import asyncio
import secrets
from typing import Any

import pytest

from watchword_testkit.api import Api
from watchword_testkit.canary import Canary
from watchword_testkit.http import http_client
from watchword_testkit.platform import Platform
from watchword_testkit.signin import Party, SignIn

PASSWORD = "a password for myself"


async def call(platform: Platform, token: str, path: str, **params: str) -> dict[str, Any]:
    """An answer of `/api/v1/me` to somebody's token."""
    async with http_client() as http:
        answer = await http.get(
            f"{platform.issuer}/api/v1{path}", params=params, headers={"Authorization": f"Bearer {token}"}
        )
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def applications(platform: Platform, token: str, limit: int = 200) -> list[dict[str, Any]]:
    """All pages."""
    found: list[dict[str, Any]] = []
    params = {"limit": str(limit)}
    while True:
        page = await call(platform, token, "/me/applications", **params)
        assert len(page["items"]) <= limit
        found += page["items"]
        if page["next"] is None:
            return found
        params["cursor"] = page["next"]


@pytest.mark.seed(35)
async def test_people_see_themselves_and_the_applications_that_they_may_use(
    platform: Platform, api: Api, canary: Canary
) -> None:
    tag = secrets.token_hex(4)
    role = await api.create("/roles", name=f"user-{tag}", permissions=[f"use:{tag}"])
    person = await api.create(
        "/users",
        username=f"me-{tag}",
        name="Mia",
        groups=[f"ops-{tag}"],
        email=f"me-{tag}@x.example",
        password=PASSWORD,
    )
    await api.create("/assignments", role=role["id"], user=person["id"])
    made = {
        "open": await api.create("/clients", client_name="Open", redirect_uris=["https://a.example/cb"],
                                 short_name=f"open-{tag}", main_uri="https://a.example/", description="A"),
        "permitted": await api.create("/clients", client_name="Permitted", redirect_uris=["https://a.example/cb"],
                                      required_permission=f"use:{tag}"),
        "forbidden": await api.create("/clients", client_name="Forbidden", redirect_uris=["https://a.example/cb"],
                                      required_permission=f"other:{tag}"),
        "ruled in": await api.create("/clients", client_name="Ruled in", redirect_uris=["https://a.example/cb"]),
        "ruled out": await api.create("/clients", client_name="Ruled out", redirect_uris=["https://a.example/cb"]),
        "machine": await api.create("/clients", client_name="Machine", grant_types=["client_credentials"]),
        "disabled": await api.create("/clients", client_name="Off", redirect_uris=["https://a.example/cb"],
                                     enabled=False),
        "administers": await api.create("/clients", client_name="Administers", scope="openid watchword:admin",
                                        redirect_uris=["https://a.example/cb"]),
    }  # fmt: skip
    for name, group in (("ruled in", f"ops-{tag}"), ("ruled out", f"others-{tag}")):
        await api.create(
            "/rules", name=f"{name.replace(' ', '-')}-{tag}", expression=f"'{group}' in groups",
            clients=[made[name]["client_id"]],
        )  # fmt: skip
    portal = await Party.registered(
        api, platform.issuer, canary, scope="openid", permission_scope=["watchword:me:read"]
    )
    async with platform.browser(canary) as browser:
        tokens = await SignIn(browser, portal, scope="openid").with_password(f"me-{tag}", PASSWORD)
    token = tokens["access_token"]
    me = await call(platform, token, "/me")
    assert (me["id"], me["username"], me["name"]) == (person["id"], f"me-{tag}", "Mia")
    assert (me["email"], me["groups"], me["client_id"]) == (f"me-{tag}@x.example", [f"ops-{tag}"], portal.client_id)
    assert (me["roles"], me["permissions"]) == ([f"user-{tag}"], [f"use:{tag}"])
    ids = {client["client_id"]: name for name, client in made.items()}
    expected = {"open", "permitted", "ruled in"}
    async with asyncio.timeout(20):  # rules and clients need some milliseconds to every copy
        while True:
            found = await applications(platform, token)
            if {ids[each["client_id"]] for each in found if each["client_id"] in ids} == expected:
                break
            await asyncio.sleep(0.1)
    (shown,) = [each for each in found if each["client_id"] == made["open"]["client_id"]]
    assert shown == {
        "client_id": made["open"]["client_id"],
        "client_name": "Open",
        "short_name": f"open-{tag}",
        "description": "A",
        "main_uri": "https://a.example/",
    }
    paged = [each["client_id"] for each in await applications(platform, token, limit=3)]
    assert paged == sorted(paged) == [each["client_id"] for each in found]
    for client in made.values():
        await api.delete(f"/clients/{client['client_id']}")
