"""A worker dies between its commit and the publication: the event arrives all the same, once."""

import asyncio
import random
import secrets

import httpx2
import pytest
from tests.chaos.conftest import assert_whole, frozen, is_back, make_impatient, ready_again, revive

from watchword_events.contracts import UserProvisioned
from watchword_testkit.api import Api
from watchword_testkit.canary import Canary
from watchword_testkit.events import expect_events
from watchword_testkit.factory import WorkerPlatform
from watchword_testkit.installations import PlatformFactory

pytestmark = pytest.mark.chaos


async def test_an_event_that_could_not_be_published_before_the_worker_died_arrives_once(
    platform_factory: PlatformFactory, canary: Canary
) -> None:
    platform = await platform_factory(workers=2)
    await make_impatient(platform)
    async with platform.nats_client() as client, expect_events(client, UserProvisioned, exactly=True) as seen:
        platform.nats.kill()
        user_id = await provisioned(platform, canary)
        for worker in platform.workers:
            worker.kill()
        platform.nats.start()
        await revived(platform)
        await is_back(client)
    assert [event.id for event in seen.events] == [user_id]
    await assert_whole(platform)


async def test_an_event_whose_publication_was_under_way_when_the_worker_died_arrives_once(
    platform_factory: PlatformFactory, canary: Canary
) -> None:
    platform = await platform_factory(workers=2)
    await make_impatient(platform)
    async with platform.nats_client() as client, expect_events(client, UserProvisioned, exactly=True) as seen:
        with frozen(platform.nats):  # what is sent waits in the server's socket, and is read when nobody awaits the ack
            user_id = await provisioned(platform, canary)
            await asyncio.sleep(0.5)  # the relay is woken by its poll, at the latest after 250 ms
            for worker in platform.workers:
                worker.kill()
        await revived(platform)
        await is_back(client)
    assert [event.id for event in seen.events] == [user_id]
    await assert_whole(platform)


@pytest.mark.parametrize("seed", [1, 2])
async def test_nothing_is_lost_or_doubled_when_workers_die_at_any_moment(
    platform_factory: PlatformFactory, canary: Canary, seed: int
) -> None:
    chance = random.Random(seed)
    platform = await platform_factory(workers=2)
    await make_impatient(platform)
    made: list[str] = []
    over = asyncio.Event()

    async def make_users() -> None:
        api = platform.api(canary)
        while not over.is_set():
            name = f"user-{secrets.token_hex(6)}"
            try:
                made.append(str((await api.create("/users", username=name, name="A User"))["id"]))
            except (httpx2.TransportError, AssertionError):  # its worker died, or the next was not ready
                await asyncio.sleep(0.05)

    makers = [asyncio.create_task(make_users()) for _ in range(2)]
    for _ in range(3):
        await asyncio.sleep(chance.uniform(0.05, 0.8))
        victim = chance.choice(platform.workers)
        victim.kill()
        revive(platform, victim)
        if chance.random() < 0.5:
            await ready_again(platform)
    await ready_again(platform)
    over.set()
    await asyncio.gather(*makers)
    api = platform.api(canary)
    assert made
    for user_id in made:
        await api.get(f"/users/{user_id}")
    await assert_whole(platform)


async def provisioned(platform: WorkerPlatform, canary: Canary) -> str:
    """The id of a new user: the answer says that it was committed."""
    api: Api = platform.api(canary)
    return str((await api.create("/users", username=f"user-{secrets.token_hex(6)}", name="A User"))["id"])


async def revived(platform: WorkerPlatform) -> None:
    """Every worker that died has been replaced."""
    for worker in platform.workers:
        revive(platform, worker)
    await ready_again(platform)
