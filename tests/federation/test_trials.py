"""Trial sign-ins: every check, everything said, and nobody created."""

import secrets
from typing import Any
from urllib.parse import urlencode

import pytest
from tests.federation.test_routes import configured

from watchword_testkit.api import Api
from watchword_testkit.browser import Browser
from watchword_testkit.platform import Platform


async def tried(platform: Platform, browser: Browser, upstream: Any, trial: dict[str, Any], **answer: str) -> Any:
    """The page at the end of a trial."""
    page = await browser.open(str(trial["url"]))
    assert page.status == 303, page.error_code
    params = upstream.authorize(page.location) | answer
    return await browser.open(f"{platform.issuer}/api/auth/sso/callback/{trial['provider_id']}?{urlencode(params)}")


async def test_it_shows_what_the_provider_says_and_creates_nobody(
    platform: Platform, api: Api, browser_session: Browser, upstream: Any
) -> None:
    email = f"{secrets.token_hex(6)}@acme.test"
    upstream.user = {"sub": "trial-1", "email": email, "email_verified": True, "team": {"names": ["ops"]}}
    provider_id = await configured(api, upstream, groups_claim="team.names")
    await api.change(f"/providers/{provider_id}", enabled=False)
    trial: dict[str, Any] = await api.create("/upstream/trials", provider_id=provider_id)
    assert trial["state"] == "waiting"
    page = await tried(platform, browser_session, upstream, trial)
    assert page.status == 200
    assert page.texts["subject"] == "trial-1"
    assert email in page.body
    said: dict[str, Any] = await api.get(f"/upstream/trials/{trial['id']}")
    assert (said["state"], said["url"]) == ("succeeded", None)
    identity = said["identity"]
    assert (identity["subject"], identity["email_verified"], identity["groups"]) == ("trial-1", True, ["ops"])
    assert identity["claims"]["team"] == {"names": ["ops"]}
    assert [step["step"] for step in said["steps"]][-2:] == ["userinfo", "groups"]
    assert (await api.get(f"/users?email={email}"))["items"] == []


async def test_the_same_failures_as_of_a_sign_in(
    platform: Platform, api: Api, browser_session: Browser, upstream: Any
) -> None:
    provider_id = await configured(api, upstream)
    trial: dict[str, Any] = await api.create("/upstream/trials", provider_id=provider_id)
    upstream.alter = lambda claims: {**claims, "nonce": "another"}
    page = await tried(platform, browser_session, upstream, trial)
    assert page.error_code == "id_token_invalid"
    said: dict[str, Any] = await api.get(f"/upstream/trials/{trial['id']}")
    assert (said["state"], said["failure"], said["identity"]) == ("failed", "id_token_invalid", None)
    assert said["reference"] == page.texts["reference"]
    assert said["steps"][-1]["step"] == "refused"


async def test_a_link_works_once_in_one_browser(
    platform: Platform, api: Api, browser_session: Browser, upstream: Any
) -> None:
    provider_id = await configured(api, upstream)
    trial: dict[str, Any] = await api.create("/upstream/trials", provider_id=provider_id)
    async with platform.browser() as another:
        page = await another.open(str(trial["url"]))
        params = urlencode(upstream.authorize(page.location))
        assert (await browser_session.open(str(trial["url"]))).error_code == "state_mismatch"
        callback = f"{platform.issuer}/api/auth/sso/callback/{provider_id}?{params}"
        assert (await browser_session.open(callback)).error_code == "state_mismatch", "it is another browser's"
        assert (await another.open(callback)).status == 200
    other = await configured(api, upstream)
    again: dict[str, Any] = await api.create("/upstream/trials", provider_id=provider_id)
    moved = str(again["url"]).replace(provider_id, other)
    assert (await browser_session.open(moved)).error_code == "state_mismatch", "the link is for its provider"


@pytest.mark.parametrize("path", ["/upstream/trials/no-such-trial"])
async def test_what_does_not_exist(api: Api, path: str) -> None:
    assert (await api.call("GET", path)).status_code == 404
    assert (await api.call("POST", "/upstream/trials", {"provider_id": "no-such"})).status_code == 404
    assert (await api.call("POST", "/upstream/trials", {"provider": "no-such"})).status_code == 400
