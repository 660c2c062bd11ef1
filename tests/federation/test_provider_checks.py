"""Looking at a provider without anybody signing in."""

import asyncio
import secrets
from functools import partial
from typing import Any
from urllib.parse import urlencode

import pytest
from starlette.responses import JSONResponse, PlainTextResponse
from tests.federation.github import CLIENT_ID, CLIENT_SECRET, GitHub
from tests.federation.test_routes import configured

from watchword_admin import providers, store
from watchword_admin.provider_kinds import document_of
from watchword_database import bus
from watchword_database.engine import transaction
from watchword_events.handovers import ResetPassword
from watchword_events.names import Service
from watchword_runtime.clock import utc_now
from watchword_testkit.api import Api
from watchword_testkit.canary import Canary
from watchword_testkit.platform import Platform
from watchword_testkit.signin import Party, SignIn


async def found(api: Api, provider_id: str) -> dict[str, tuple[str, str]]:
    """Each check with its outcome and detail."""
    answer = await api.call("POST", f"/providers/{provider_id}/test", {})
    assert answer.status_code == 200, answer.text
    said = answer.json()
    outcomes = {each["outcome"] for each in said["checks"]}
    assert said["outcome"] == next(each for each in ("failed", "warning", "passed") if each in outcomes)
    return {each["check"]: (each["outcome"], each["detail"]) for each in said["checks"]}


async def test_a_provider_that_works(api: Api, upstream: Any) -> None:
    checks = await found(api, await configured(api, upstream))
    assert {name: outcome for name, (outcome, _) in checks.items()} == dict.fromkeys(
        ("settings", "discovery", "keys", "client", "callback"), "passed"
    )
    assert checks["callback"][1] == "registered: the provider answers to it"


@pytest.mark.parametrize(
    ("change", "check", "outcome"),
    [
        pytest.param({"metadata_answer": PlainTextResponse("gone", 404)}, "discovery", "failed", id="no discovery"),
        pytest.param({"metadata": {"issuer": "https://evil.test"}}, "discovery", "failed", id="another issuer"),
        pytest.param({"keys_answer": JSONResponse({"keys": []})}, "keys", "failed", id="no keys"),
        pytest.param({"keys_answer": PlainTextResponse("gone", 404)}, "keys", "failed", id="keys that cannot be read"),
        pytest.param(
            {"token_answer": JSONResponse({"error": "invalid_client"}, 401)}, "client", "failed", id="a wrong secret"
        ),
        pytest.param(
            {"token_answer": PlainTextResponse("oops", 500)}, "client", "warning", id="a token endpoint that fails"
        ),
        pytest.param({"registered": ["https://another.test/cb"]}, "callback", "failed", id="another callback"),
    ],
)
async def test_what_is_wrong_is_named(
    api: Api, upstream: Any, change: dict[str, Any], check: str, outcome: str
) -> None:
    provider_id = await configured(api, upstream)
    for name, value in change.items():
        setattr(upstream, name, value)
    assert (await found(api, provider_id))[check][0] == outcome


async def test_github_is_looked_at_the_same_way(api: Api, first_stage: Any) -> None:
    github = first_stage.play(GitHub())
    members = {"preset": "github", "client_id": CLIENT_ID, "url": github.issuer, "api_url": github.issuer}
    made = await api.create("/providers", id=f"GH-{secrets.token_hex(4)}", client_secret=CLIENT_SECRET, **members)
    checks = await found(api, str(made["id"]))
    assert (checks["client"][0], checks["callback"][0]) == ("passed", "passed")
    await api.change(f"/providers/{made['id']}", client_secret="another")
    assert (await found(api, str(made["id"])))["client"][0] == "failed"


async def test_a_saml_provider_without_metadata(api: Api, upstream: Any) -> None:
    made = await api.create(
        "/providers", id=f"S-{secrets.token_hex(4)}", preset="saml", display_name="S",
        metadata_url=f"{upstream.issuer}/no-such-metadata",
    )  # fmt: skip
    assert (await found(api, str(made["id"])))["metadata"][0] == "failed"


async def test_only_administrators_and_only_what_exists(api: Api, upstream: Any) -> None:
    assert (await api.call("POST", "/providers/no-such-provider/test", {})).status_code == 404


async def test_who_would_lose_their_only_way_in(platform: Platform, api: Api, upstream: Any, canary: Canary) -> None:
    """Before a provider goes: whose only identity is there, and who has a password."""
    name = f"lone-{secrets.token_hex(4)}"
    upstream.user = {"sub": name, "email": f"{name}@acme.test", "email_verified": True}
    provider_id, other = await configured(api, upstream), await configured(api, upstream)
    party = await Party.registered(api, platform.issuer, canary)
    async with platform.browser(canary) as browser:
        signing = SignIn(browser, party)
        await signing.start()
        page = await browser.click_soon(f"provider-{provider_id}")
        query = urlencode(upstream.authorize(page.location))
        await browser.open(f"{platform.issuer}/api/auth/sso/callback/{provider_id}?{query}")
        await signing.redeem()
    (lone,) = await items(api, f"/identities?provider_id={provider_id}&only=true")
    assert lone["subject"] == name
    state = await api.get(f"/credentials/{lone['user_id']}")
    assert (state["has_password"], state["passkeys"]) == (False, 0)
    assert await items(api, f"/identities?provider_id={other}&only=true") == []
    for method, path, body in (
        ("PATCH", f"/providers/{provider_id}?invite=true", {"enabled": False}),
        ("DELETE", f"/providers/{provider_id}?invite=true", None),
    ):
        refused = await api.call(method, path, body)
        assert (refused.status_code, refused.json()["detail"]) == (409, "There is no mail server.")
    assert (await api.get(f"/providers/{provider_id}"))["enabled"] is True, "nothing happened"
    await invited(platform, provider_id, str(lone["user_id"]))


async def invited(platform: Platform, provider_id: str, user_id: str) -> None:
    """The provider is closed as where there is a mail server, and the person has a link."""
    admin, authz = (platform.site.database.open(service, pool_size=1) for service in (Service.ADMIN, Service.AUTHZ))
    assert platform.process is not None
    feed, now = platform.process.shared.feed, utc_now()
    async with transaction(admin) as session:
        provider = await store.get_provider_for_change(session, provider_id)
        document = document_of(provider)
        secrets_of = {"client_secret": provider.client_secret, "exchange_secret": provider.exchange_secret}
        closing = partial(
            providers.change_provider, session, provider, document, **secrets_of, invite=True, feed=feed, now=now
        )
        with pytest.raises(providers.StillOpen):
            await closing(enabled=None)
        await closing(enabled=False)
    found = None
    async with asyncio.timeout(30):
        while found is None:
            await asyncio.sleep(0.02)
            async with transaction(authz) as session:
                found = await bus.peek_flow(session, ResetPassword, flow=f"reset:{user_id}", now=utc_now())
    assert found.payload.user_id == user_id
    async with transaction(admin) as session:
        await providers.remove_provider(session, provider_id, end_sessions=False, invite=True, feed=feed, now=now)


async def items(api: Api, path: str) -> list[dict[str, Any]]:
    found = (await api.get(path))["items"]
    assert isinstance(found, list)
    return found
