"""NATS or the ledger's leader fails in the middle of revocations: each is obeyed within the bound all the same."""

import asyncio
import contextlib
import random
import time

import asyncpg
import httpx2
import pytest
from tests.chaos.conftest import (
    Observe,
    assert_whole,
    frozen,
    leader_of,
    provisioner,
    ready_again,
    replace_killed,
    suspended,
    until,
    wipe,
)
from tests.chaos.sentries import BOUND_S, Ring

from watchword_testkit.factory import WorkerPlatform
from watchword_token.ledger import PAUSED_MS

pytestmark = pytest.mark.chaos


async def one_by_one(ring: Ring, count: int, chance: random.Random) -> list[float]:
    """Tokens are revoked at irregular moments. How long after each revocation it was still accepted."""
    pending = []
    for _ in range(count):
        token = await ring.token()
        await asyncio.sleep(chance.uniform(0.0, 0.2))
        pending.append(asyncio.create_task(ring.last_acceptance_s(token, since=await ring.revoke(token))))
    return list(await asyncio.gather(*pending))


@pytest.mark.parametrize("seed", [1, 2])
async def test_nats_dies_and_comes_back(ring: Ring, installation: WorkerPlatform, observed: Observe, seed: int) -> None:
    chance = random.Random(seed)
    revoking = asyncio.create_task(one_by_one(ring, 12, chance))
    await asyncio.sleep(chance.uniform(0.1, 0.6))
    installation.nats.kill()
    await asyncio.sleep(chance.uniform(0.5, 1.5))
    installation.nats.start()
    observed(*await revoking)


async def test_nats_restarts_in_order(ring: Ring, installation: WorkerPlatform, observed: Observe) -> None:
    revoking = asyncio.create_task(one_by_one(ring, 8, random.Random(3)))
    await asyncio.sleep(0.3)
    installation.nats.restart()
    observed(*await revoking)


async def test_nats_stands_still(ring: Ring, installation: WorkerPlatform, observed: Observe) -> None:
    with frozen(installation.nats):
        taken = await one_by_one(ring, 4, random.Random(4))
    observed(*taken)


async def test_nats_comes_back_with_nothing_stored(ring: Ring, installation: WorkerPlatform, observed: Observe) -> None:
    """The streams are made again and refilled from the outboxes; the ledger never was in NATS alone."""
    dead = await ring.token()
    await ring.revoke(dead)
    revoking = asyncio.create_task(one_by_one(ring, 8, random.Random(5)))
    installation.nats.kill()
    wipe(installation)
    await asyncio.sleep(0.5)
    installation.nats.start()
    async with provisioner(installation):
        observed(*await revoking)
        await assert_whole(installation)
    assert await ring.last_acceptance_s(dead, since=time.monotonic()) == 0, "what was dead came to life"


async def test_a_leader_that_stands_still_is_replaced_and_harmless_when_it_wakes(
    ring: Ring, installation: WorkerPlatform, observed: Observe
) -> None:
    """Its process keeps the lock's connection open: PostgreSQL ends the session of who does not ask."""
    token, kept = await ring.token(), await ring.token()
    await ring.all_accept(token)
    leader = leader_of(installation)
    standing = [each for each in ring.sentries if each.name != leader.name]
    everybody, ring.sentries = ring.sentries, standing
    with suspended(leader):
        since = await ring.revoke(token)
        taken = await ring.last_acceptance_s(token, since=since)

        async def is_numbered() -> bool:
            return await waiting(installation) == 0

        await until(is_numbered, "nobody numbers the ledger", within_s=int(PAUSED_MS) / 1000 + BOUND_S)
        assert leader_of(installation) is not leader
        more = await one_by_one(ring, 3, random.Random(6))
        await asyncio.sleep(max(0.0, since + BOUND_S + 0.5 - time.monotonic()))
    # Whoever slept for longer than the bound asks before it answers.
    ring.sentries = everybody
    woken = await ring.last_acceptance_s(token, since=time.monotonic())
    assert woken == 0, "the leader woke and accepted what had been revoked"
    observed(taken, *more)
    await ring.all_accept(kept)
    await assert_dense(installation)


async def test_the_leader_dies(ring: Ring, installation: WorkerPlatform, observed: Observe) -> None:
    token = await ring.token()
    replace_killed(ring, installation, leader_of(installation))
    since = await ring.revoke(token)
    observed(await ring.last_acceptance_s(token, since=since), *await one_by_one(ring, 4, random.Random(7)))
    await ready_again(installation)
    await assert_dense(installation)


async def test_whoever_holds_the_relay_dies(ring: Ring, installation: WorkerPlatform, observed: Observe) -> None:
    """Another publishes what was committed; revocations do not need it at all."""
    holder = leader_of(installation, "relay.leading", service="directory")
    api = installation.api()
    revoking = asyncio.create_task(one_by_one(ring, 6, random.Random(8)))
    users = []
    for number in range(8):
        if number == 3:
            replace_killed(ring, installation, holder)
        for attempt in range(50):
            with contextlib.suppress(httpx2.TransportError):  # asked of the one who died
                answer = await api.call("POST", "/users", {"username": f"relay-{number}-{attempt}", "name": "A User"})
                if answer.status_code == 201:
                    users.append(str(answer.json()["id"]))
                    break
            await asyncio.sleep(0.1)
    observed(*await revoking)
    await ready_again(installation)
    assert len(users) == 8
    await assert_whole(installation)


async def waiting(platform: WorkerPlatform) -> int:
    """How many entries of the ledger have no position."""
    return int(await ask(platform, "SELECT count(*) FROM bus.revocations WHERE position IS NULL"))


async def assert_dense(platform: WorkerPlatform) -> None:
    """Positions go on without a gap and without two of the same."""
    sql = """
    SELECT count(*) FROM (SELECT position - lag(position) OVER (ORDER BY position) AS step FROM bus.revocations
     WHERE position IS NOT NULL) AS steps WHERE step <> 1
    """
    assert await ask(platform, sql) == 0
    sql = "SELECT (SELECT position FROM bus.ledger) - (SELECT max(position) FROM bus.revocations)"
    assert await ask(platform, sql) == 0


async def ask(platform: WorkerPlatform, sql: str) -> int:
    """A number from the database."""
    connection = await asyncpg.connect(platform.database.admin_url)
    try:
        return int(await connection.fetchval(sql))
    finally:
        await connection.close()
