"""nats-server dies or stands still while people sign in: nobody notices, and no event is lost."""

import asyncio
import random
from collections.abc import Callable

import pytest
from tests.chaos.conftest import Crowd, assert_whole, frozen, is_back, until

from watchword_events.contracts import SessionStarted
from watchword_testkit.canary import Canary
from watchword_testkit.events import expect_events
from watchword_testkit.installations import PlatformFactory

pytestmark = pytest.mark.chaos

AT_ONCE = 3


@pytest.mark.parametrize("seed", [1, 2])
async def test_everybody_signs_in_while_nats_dies_and_comes_back(
    platform_factory: PlatformFactory, canary: Canary, seed: int
) -> None:
    chance = random.Random(seed)
    platform = await platform_factory(workers=2)
    crowd = await Crowd.gathered(platform, canary)
    wanted = [SessionStarted] * (4 * AT_ONCE)
    async with platform.nats_client() as client, expect_events(client, *wanted, within_s=60) as seen:
        await arrive(crowd)
        await asyncio.gather(arrive(crowd), after(chance.uniform(0, 1), platform.nats.kill))
        await arrive(crowd)
        await asyncio.gather(arrive(crowd), after(chance.uniform(0, 1), platform.nats.start))
        await is_back(client)
    assert crowd.sign_ins == len(wanted)
    sessions = [event.id for event in seen.of(SessionStarted.type_name())]
    assert len(set(sessions)) == len(sessions) == len(wanted)
    await assert_whole(platform)


async def test_everybody_signs_in_while_nats_hangs(platform_factory: PlatformFactory, canary: Canary) -> None:
    platform = await platform_factory(workers=2)
    crowd = await Crowd.gathered(platform, canary)
    with frozen(platform.nats):
        await arrive(crowd)
    await arrive(crowd)
    await assert_whole(platform)


async def test_a_revocation_needs_no_nats(platform_factory: PlatformFactory, canary: Canary) -> None:
    platform = await platform_factory(workers=2)
    crowd = await Crowd.gathered(platform, canary)
    tokens = [await crowd.sign_in(number) for number in range(2)]
    platform.nats.kill()
    answer = await crowd.party.ask("revoke", token=tokens[0]["access_token"])
    assert answer.status_code == 200

    async def is_refused() -> bool:
        return await crowd.is_refused(tokens[0]["access_token"])

    await until(is_refused, "a revoked token is accepted", within_s=5)
    for _ in range(5):
        assert (await crowd.party.userinfo(tokens[1]["access_token"])).status_code == 200
    platform.nats.start()
    await assert_whole(platform)
    assert await is_refused()


async def arrive(crowd: Crowd) -> None:
    """Some people sign in at the same time."""
    await asyncio.gather(*[crowd.sign_in(number) for number in range(AT_ONCE)])


async def after(seconds: float, act: Callable[[], None]) -> None:
    """The act is done some time from now."""
    await asyncio.sleep(seconds)
    act()
