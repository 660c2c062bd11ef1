"""Waiting for all: for whoever may still accept what was ended, and for nobody else."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from watchword_database import Database, followers, transaction
from watchword_database.followers import SILENCE_S, Report
from watchword_events.names import Service, position_of
from watchword_events.revocations import Claim
from watchword_runtime.receipts import Ending, Receipts, receipts_at, until_all
from watchword_testkit.databases import TestDatabase

from .conftest import BrokerFor
from .test_feed import Leader, following

FIRST = position_of(1, 0)
BOUND_S = 5.0
SAID = Report("billing/one", "verifier", "billing", FIRST, BOUND_S)


@pytest.fixture
async def admin(database: TestDatabase) -> AsyncIterator[asyncpg.Connection]:
    async with database.postgres.admin(database.name) as connection:
        await connection.execute("UPDATE bus.ledger SET position = $1", FIRST + 1)
        yield connection


async def report(db: Database, *, position: int, policy: str) -> None:
    said = Report(SAID.id, SAID.kind, SAID.name, position, BOUND_S, policy=policy)
    await followers.report(await db.raw_pool(), said)


async def looked(db: Database, admin: asyncpg.Connection, silent_s: float) -> tuple[Receipts, float]:
    """The receipts of FIRST + 1 with followers that were heard so long ago, and how long ago that was afterwards."""
    async with admin.transaction():
        await admin.execute("SET LOCAL session_replication_role = replica")  # heard_at is a trigger's to say
        heard_at = await admin.fetchval(
            "UPDATE bus.followers SET heard_at = clock_timestamp() - $1 * interval '1 second' RETURNING heard_at",
            silent_s,
        )
    async with transaction(db) as session:
        receipts = await receipts_at(session, FIRST + 1)
    return receipts, (await admin.fetchval("SELECT clock_timestamp()") - heard_at).total_seconds()


@pytest.mark.parametrize("policy", ["introspect", "refuse", "accept"])
async def test_whoever_is_behind_is_waited_for_until_its_bound_and_a_second_are_over(
    database: TestDatabase, admin: asyncpg.Connection, policy: str
) -> None:
    db = database.open(Service.TOKEN)
    await report(db, position=FIRST, policy=policy)
    for silent_s in (0.0, BOUND_S - 1, BOUND_S, BOUND_S + SILENCE_S / 2):
        for _ in range(20):  # a machine that stood still while it was looked makes the silence longer
            receipts, at_most_s = await looked(db, admin, silent_s)
            if at_most_s < BOUND_S + 1:
                break
        assert at_most_s < BOUND_S + 1
        assert (receipts.complete, [each.name for each in receipts.behind]) == (False, ["billing"]), silent_s
        assert receipts.unreachable == []
    for silent_s in (BOUND_S + 1, BOUND_S + 2, 30 * 86400.0):
        receipts, _ = await looked(db, admin, silent_s)
        silent = receipts.behind if policy == "accept" else receipts.unreachable
        assert [each.name for each in silent] == ["billing"], silent_s
        assert len(receipts.behind) + len(receipts.unreachable) == 1
        assert receipts.complete is (policy != "accept")


async def test_the_bound_is_the_followers_own(database: TestDatabase, admin: asyncpg.Connection) -> None:
    db = database.open(Service.TOKEN)
    pool = await db.raw_pool()
    for bound_s in (5.0, 300.0):
        said = Report(f"v/{bound_s:g}", "verifier", "v", FIRST, bound_s, policy="refuse")
        await followers.report(pool, said)
    receipts, _ = await looked(db, admin, 100.0)
    assert [each.instance for each in receipts.behind] == ["300"]
    assert [each.instance for each in receipts.unreachable] == ["5"]
    assert not receipts.complete


@pytest.mark.parametrize("silent_s", [0.0, BOUND_S + 1, 86400.0])
@pytest.mark.parametrize("policy", ["introspect", "refuse", "accept"])
async def test_nobody_waits_for_who_has_applied_it(
    database: TestDatabase, admin: asyncpg.Connection, policy: str, silent_s: float
) -> None:
    db = database.open(Service.TOKEN)
    await report(db, position=FIRST + 1, policy=policy)
    receipts, _ = await looked(db, admin, silent_s)
    assert (receipts.complete, receipts.behind, receipts.unreachable) == (True, [], [])
    assert [each.name for each in receipts.applied] == ["billing"]


async def test_an_entry_without_a_position_was_applied_by_nobody(
    database: TestDatabase, admin: asyncpg.Connection
) -> None:
    leader = Leader(database, admin)
    entry_id = await leader.write(Claim.SUB, "ada")
    receipts = await until_all(leader.db, [entry_id], 0.0)
    assert (receipts.complete, receipts.applied) == (False, [])
    await leader.number()
    assert (await until_all(leader.db, [entry_id], 0.0)).complete, "there is nobody"


async def test_who_finds_nothing_to_end_waits_for_all_that_was_committed(
    database: TestDatabase, admin: asyncpg.Connection, broker_for: BrokerFor
) -> None:
    leader = Leader(database, admin)
    numbered = await leader.revoke(Claim.SUB, "ada")
    unnumbered = [await leader.write(Claim.SUB, name) for name in ("bob", "cay")]
    async with following(broker_for) as feed:
        ending = Ending(feed, leader.db, everywhere=True, timeout_s=0.0)
        await ending.finish([])
        assert sorted(ending.entries) == sorted([numbered.id, *unnumbered])
        assert ending.receipts is not None
        assert not ending.receipts.complete
        await leader.number()
        ending = Ending(feed, leader.db, everywhere=True, timeout_s=30.0)
        await ending.finish([])
        assert ending.entries == unnumbered[-1:]
        assert ending.receipts is not None
        assert ending.receipts.complete
        assert feed.position == FIRST + 4
        ending = Ending(feed, leader.db)
        await ending.finish([])
        assert (ending.receipts, ending.headers, ending.entries) == (None, {}, [])
