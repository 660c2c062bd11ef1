"""Two instances rotate, or revoke, the same key at the same moment: one of them does it, and no good token fails."""

import asyncio
from collections import Counter

import pytest
from tests.chaos.conftest import Observe, assert_healed, assert_whole, until
from tests.chaos.sentries import Ring, refusal, ring_of

from watchword_events.contracts import KeyRevoked, KeyRotated
from watchword_testkit.api import Api
from watchword_testkit.events import expect_events
from watchword_testkit.factory import WorkerPlatform
from watchword_testkit.installations import PlatformFactory
from watchword_verifier import Reason
from watchword_verifier.tokens import take_apart

pytestmark = pytest.mark.chaos

ROUNDS = 3


async def states(api: Api) -> Counter[str]:
    """How many ES256 keys there are in each state."""
    items = (await api.get("/keys"))["items"]
    assert isinstance(items, list)
    return Counter(str(item["state"]) for item in items if item["alg"] == "ES256")


async def good_tokens(ring: Ring, over: asyncio.Event) -> int:
    """New tokens are shown to every verifier until it is over. How many; raises AssertionError when one is refused."""
    shown = 0
    while not over.is_set():
        token = await ring.token()
        for verifier in ring.verifiers:
            assert await refusal(verifier, token) is None, take_apart(token).kid
        shown += 1
        await asyncio.sleep(0.05)
    return shown


def doors(platform: WorkerPlatform) -> list[Api]:
    """The administrator at each worker."""
    return [Api(door, platform.admin.admin_token, platform.canary) for door in platform.doors]


async def test_two_instances_rotate_at_once(platform_factory: PlatformFactory, observed: Observe) -> None:
    platform = await platform_factory(workers=2, token_jwks_max_age_s="1")
    api, both = platform.api(), doors(platform)
    async with ring_of(platform) as ring, platform.nats_client() as client:
        ring.add_doors()
        await ring.add_verifier("verifier on HTTP")
        await ring.add_verifier("verifier on NATS", nats_at=platform.nats.url)
        over = asyncio.Event()
        showing = asyncio.create_task(good_tokens(ring, over))
        kids = [take_apart(await ring.token()).kid]
        async with expect_events(client, *[KeyRotated] * ROUNDS, within_s=20) as seen:
            for _ in range(ROUNDS):
                answers = await asyncio.gather(*[each.call("POST", "/keys/rotate", {"alg": "ES256"}) for each in both])
                assert [answer.status_code for answer in answers] == [200, 200]
                assert (await states(api))["next"] <= 1

                async def has_switched() -> bool:
                    return take_apart(await ring.token()).kid not in kids

                await until(has_switched, "the next key does not sign")
                kids.append(take_apart(await ring.token()).kid)
                assert (await states(api))["active"] == 1
        assert len(seen.of(KeyRotated.type_name())) == ROUNDS
        over.set()
        assert await showing > ROUNDS

        # Now both revoke the key that signs.
        doomed, kid = await ring.token(), kids[-1]
        await ring.all_accept(doomed)
        async with expect_events(client, KeyRevoked, within_s=20) as seen:
            answers = await asyncio.gather(*[each.call("POST", f"/keys/{kid}/revoke") for each in both])
            since = asyncio.get_running_loop().time()
            last_s = await ring.last_acceptance_s(doomed, since=since)
        assert sorted(answer.status_code for answer in answers) in ([200, 200], [200, 409])
        assert len(seen.of(KeyRevoked.type_name())) == 1
        assert (await states(api))["active"] == 1
        for verifier in ring.verifiers:
            assert await refusal(verifier, doomed) in {Reason.REVOKED, Reason.UNKNOWN_KEY}
        observed(last_s)
        await assert_healed(ring)
    for each in both:
        await each.close()
    await assert_whole(platform)
