"""PostgreSQL dies and comes back: clear refusals meanwhile, no wrong answer afterwards, and no worker is restarted."""

import asyncio
import random
import time

import httpx2
import pytest
from tests.chaos.conftest import HEALS_WITHIN_S, Crowd, Observe, assert_healed, assert_whole, until
from tests.chaos.sentries import Ring, ring_of

from watchword.embedded.postgres import PostgresServer
from watchword_testkit.canary import Canary
from watchword_testkit.factory import WorkerPlatform
from watchword_testkit.installations import PlatformFactory
from watchword_testkit.signin import SignIn

pytestmark = pytest.mark.chaos


def server_of(platform: WorkerPlatform) -> PostgresServer:
    """The server, which the test has for itself."""
    assert platform.postgres is not None
    return platform.postgres


async def signs_in_again(crowd: Crowd) -> None:
    """Returns when somebody can sign in; nobody was told anything."""

    async def can_sign_in() -> bool:
        try:
            await crowd.sign_in()
        except (AssertionError, httpx2.TransportError):
            return False
        return True

    await until(can_sign_in, f"no sign-in within {HEALS_WITHIN_S} s")


def assert_clear(answer: httpx2.Response, *, member: str) -> None:
    """A refusal that says that the server, not the asker, is in trouble."""
    assert answer.status_code == 503, answer.text
    assert answer.json()[member]
    assert "Traceback" not in answer.text
    assert "asyncpg" not in answer.text


async def test_refusals_are_clear_and_nothing_is_forgotten(platform_factory: PlatformFactory, canary: Canary) -> None:
    platform = await platform_factory(workers=2, own_postgres=True)
    pids = [worker.pid for worker in platform.workers]
    crowd = await Crowd.gathered(platform, canary)
    live, dead = await crowd.sign_in(0), await crowd.sign_in(1)
    assert (await crowd.party.ask("revoke", token=dead["access_token"])).status_code == 200
    async with platform.browser(canary) as browser:
        begun = SignIn(browser, crowd.party)
        await begun.start()
        await begun.enter(crowd.usernames[2], "correct horse battery staple")
        await begun.decide()
        server_of(platform).kill()

        # Nobody is let in, and nobody is told that they did something wrong.
        redeem = {
            "grant_type": "authorization_code",
            "code": await begun.code(),
            "redirect_uri": crowd.party.redirect_uri,
            "code_verifier": begun.verifier,
        }
        for _ in range(4):
            assert_clear(await crowd.party.ask("token", **redeem), member="error")
        api = platform.api(canary)
        for method, path, body in (("GET", "/users", None), ("POST", "/users", {"username": "late", "name": "Late"})):
            assert_clear(await api.call(method, path, body), member="title")
        async with platform.browser(canary) as other:
            page = await SignIn(other, crowd.party).start()
            assert page.status == 503
            assert page.error_code
            assert page.texts.get("reference")
        # What memory still knows may be said; what is dead stays dead.
        assert (await crowd.party.userinfo(dead["access_token"])).status_code in {401, 503}
        assert (await crowd.party.userinfo(live["access_token"])).status_code in {200, 503}

        server_of(platform).start()
        await signs_in_again(crowd)

        answer = await crowd.party.ask("token", **redeem)
        assert answer.status_code in {200, 400}, "the code was used once at most"
        if answer.status_code == 200:
            assert (await crowd.party.ask("token", **redeem)).status_code == 400
    assert await crowd.is_refused(dead["access_token"])
    assert (await crowd.party.introspect(dead["access_token"]))["active"] is False
    if answer.status_code == 400:
        assert answer.json()["error"] == "invalid_grant"
    assert (await crowd.party.userinfo(live["access_token"])).status_code == 200
    assert [worker.pid for worker in platform.workers] == pids
    assert all(worker.is_alive for worker in platform.workers)
    await assert_whole(platform)


@pytest.mark.parametrize("seed", [1, 2])
async def test_what_was_acknowledged_survives_a_death_at_any_moment(
    platform_factory: PlatformFactory, canary: Canary, seed: int
) -> None:
    chance = random.Random(seed)
    platform = await platform_factory(workers=2, own_postgres=True)
    crowd = await Crowd.gathered(platform, canary)
    revoked: list[str] = []
    made: list[str] = []
    over = asyncio.Event()

    async def work(number: int) -> None:
        api = platform.api(canary)
        count = 0
        while not over.is_set():
            count += 1
            try:
                made.append(str((await api.create("/users", username=f"user-{seed}-{number}-{count}", name="U"))["id"]))
                tokens = await crowd.sign_in(number)
                if (await crowd.party.ask("revoke", token=tokens["access_token"])).status_code == 200:
                    revoked.append(tokens["access_token"])
            except (AssertionError, httpx2.TransportError):
                await asyncio.sleep(0.1)

    tasks = [asyncio.create_task(work(number)) for number in range(2)]
    for _ in range(2):
        await asyncio.sleep(chance.uniform(1.0, 3.0))
        server_of(platform).kill()
        await asyncio.sleep(chance.uniform(0.0, 1.0))
        server_of(platform).start()
    await signs_in_again(crowd)
    over.set()
    await asyncio.gather(*tasks)
    api = platform.api(canary)
    for user_id in made:
        await api.get(f"/users/{user_id}")
    for token in revoked:
        assert await crowd.is_refused(token)
    await assert_whole(platform)


async def test_a_clean_restart_heals_without_another(platform_factory: PlatformFactory, canary: Canary) -> None:
    platform = await platform_factory(workers=2, own_postgres=True)
    crowd = await Crowd.gathered(platform, canary)
    tokens = await crowd.sign_in()
    server_of(platform).restart()
    await signs_in_again(crowd)
    assert (await crowd.party.userinfo(tokens["access_token"])).status_code == 200
    await platform.until_ready()
    await assert_whole(platform)


@pytest.mark.parametrize("seed", [1])
async def test_revocations_around_a_restart_are_obeyed_within_the_bound(
    platform_factory: PlatformFactory, observed: Observe, seed: int
) -> None:
    """A revocation that was acknowledged is obeyed; one that was not can be made again."""
    chance = random.Random(seed)
    platform = await platform_factory(workers=2, own_postgres=True)
    async with ring_of(platform) as ring:
        ring.add_doors()
        await ring.add_verifier("verifier on HTTP")
        await ring.add_verifier("verifier on NATS", nats_at=platform.nats.url)
        tokens = [await ring.token() for _ in range(12)]
        looking: list[asyncio.Task[float]] = []
        restarting = asyncio.create_task(restart_after(platform, chance.uniform(0.1, 0.5)))
        for token in tokens:
            since = await revoked_at_last(ring, token)
            looking.append(asyncio.create_task(ring.last_acceptance_s(token, since=since)))
        await restarting
        observed(*await asyncio.gather(*looking))
        await assert_healed(ring)
        for token in tokens:
            assert not any([await sentry.accepts(token) for sentry in ring.sentries])
    await assert_whole(platform)


async def restart_after(platform: WorkerPlatform, seconds: float) -> None:
    """PostgreSQL stops in order and starts, in a thread, so that everybody else goes on."""
    await asyncio.sleep(seconds)
    await asyncio.to_thread(server_of(platform).restart)


async def revoked_at_last(ring: Ring, token: str) -> float:
    """When a revoking call was acknowledged; it is made again until then."""

    async def is_acknowledged() -> bool:
        try:
            return (await ring.machine.ask("revoke", token=token)).status_code == 200
        except httpx2.TransportError:
            return False

    await until(is_acknowledged, "nobody can revoke")
    return time.monotonic()
