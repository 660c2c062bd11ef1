"""The running platform: a person signs in, events arrive, and nothing that was issued is found anywhere."""

from watchword_events.contracts import ClientRegistered, SessionEnded, SessionStarted, UserDisabled, UserProvisioned
from watchword_testkit.api import Api
from watchword_testkit.browser import Browser
from watchword_testkit.canary import Canary
from watchword_testkit.events import expect_events
from watchword_testkit.installations import PlatformFactory
from watchword_testkit.platform import Platform
from watchword_testkit.signin import Party, SignIn

PASSWORD = "a long enough password"


async def test_a_person_signs_in_with_a_password(
    platform: Platform, api: Api, browser_session: Browser, canary: Canary
) -> None:
    party = await Party.registered(api, platform.issuer, canary)
    async with platform.nats_client() as client, expect_events(client, UserProvisioned, SessionStarted) as seen:
        user = await api.create("/users", username="kit-alice", email="kit-alice@example.com", password=PASSWORD)
        tokens = await SignIn(browser_session, party).with_password("kit-alice", PASSWORD)
    assert seen.of("user.provisioned")[0].id == user["id"]
    info = await party.userinfo(tokens["access_token"])
    assert info.json()["sub"] == user["id"]
    assert (await party.introspect(tokens["access_token"]))["active"] is True


async def test_a_disabled_user_is_refused_at_once(
    platform: Platform, api: Api, browser_session: Browser, canary: Canary
) -> None:
    party = await Party.registered(api, platform.issuer, canary)
    user = await api.create("/users", username="kit-bob", email="kit-bob@example.com", password=PASSWORD)
    tokens = await SignIn(browser_session, party).with_password("kit-bob", PASSWORD)
    async with platform.nats_client() as client, expect_events(client, (UserDisabled, str(user["id"])), SessionEnded):
        await api.change(f"/users/{user['id']}", active=False)
    assert (await party.userinfo(tokens["access_token"])).status_code == 401
    assert await party.introspect(tokens["access_token"]) == {"active": False}


async def test_what_was_configured_a_moment_ago_works(platform: Platform, api: Api, canary: Canary) -> None:
    async with platform.nats_client() as client, expect_events(client, ClientRegistered):
        party = await Party.registered(api, platform.issuer, canary, grant_types=["client_credentials"], scope="a b")
        tokens = await party.tokens(grant_type="client_credentials", scope="a")
    assert tokens["token_type"] == "Bearer"


async def test_worker_processes_agree(platform_factory: PlatformFactory, canary: Canary) -> None:
    running = await platform_factory(2, path="/auth")
    assert running.issuer.endswith("/auth")
    api = running.api(canary)
    await api.create("/users", username="kit-carol", email="kit-carol@example.com", password=PASSWORD)
    party = await Party.registered(api, running.issuer, canary)
    tokens = await SignIn(running.browser(canary), party).with_password("kit-carol", PASSWORD)
    running.workers[0].kill()
    assert (await party.userinfo(tokens["access_token"])).status_code == 200
    await running.check_secrets()
