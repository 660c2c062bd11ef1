"""Administration while a server is away: a clear answer without PostgreSQL, and no difference at all without NATS."""

import asyncio
import secrets

import pytest

from watchword_events.contracts import ClientDisabled, ClientRegistered, UserDisabled, UserProvisioned
from watchword_runtime.feed import Feed
from watchword_testkit.events import expect_events
from watchword_testkit.factory import WorkerPlatform
from watchword_testkit.http import http_client
from watchword_testkit.installations import PlatformFactory
from watchword_testkit.platform import Platform

pytestmark = pytest.mark.chaos

PATHS = [
    "/api/v1/users",
    "/api/v1/identities",
    "/api/v1/clients",
    "/api/v1/providers",
    "/login/identity?ticket=" + "a" * 43,
    "/admin",
]


async def asked(platform: WorkerPlatform) -> dict[str, int]:
    """What each path answers to an administrator with a program and a cookie."""
    headers = {"Watchword-API-Key": platform.admin.admin_token, "Cookie": f"ww-console={'a' * 43}"}
    async with http_client(timeout=30, headers=headers) as http:
        answers = {path: await http.get(f"{platform.issuer}{path}") for path in PATHS}
    return {path: answer.status_code for path, answer in answers.items()}


async def test_without_postgresql_every_call_says_so_and_afterwards_all_is_as_before(
    platform_factory: PlatformFactory,
) -> None:
    platform = await platform_factory(1, own_postgres=True)
    assert platform.postgres is not None
    before = await asked(platform)
    platform.postgres.kill()
    assert set((await asked(platform)).values()) == {503}
    platform.postgres.start()
    seen: list[dict[str, int]] = []
    for _ in range(100):
        seen.append(await asked(platform))
        if seen[-1] == before:
            break
        await asyncio.sleep(0.1)
    assert seen[-1] == before
    wrong = {answer for answers in seen for path, answer in answers.items() if answer not in {503, before[path]}}
    assert not wrong, "a live credential is never called dead"


async def test_without_nats_administration_goes_on_and_the_events_follow(own_platform: Platform) -> None:
    api = own_platform.api()
    assert own_platform.process is not None
    feed: Feed = own_platform.process.shared.feed
    async with (
        own_platform.nats_client() as client,
        expect_events(client, UserProvisioned, UserDisabled, ClientRegistered, ClientDisabled, within_s=20.0),
    ):
        own_platform.nats.kill()
        user = await api.create("/users", username=f"off-{secrets.token_hex(4)}")
        made = await api.create("/clients", client_name="Off", redirect_uris=["https://off.example.com/cb"])
        await api.change(f"/users/{user['id']}", active=False)
        await api.change(f"/clients/{made['client_id']}", enabled=False)
        assert not feed.is_live({"sub": user["id"], "rev": feed.position})
        assert not feed.is_live({"client_id": made["client_id"], "rev": feed.position})
        own_platform.nats.start()
