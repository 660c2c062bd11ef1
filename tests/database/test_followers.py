"""Who follows the ledger: nobody is further than the ledger, nobody writes for another, each step leaves a receipt."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from watchword_database import Database, followers, transaction
from watchword_database.followers import Follower, Report
from watchword_database.ids import new_id
from watchword_events.names import Service, position_of

FIRST = position_of(1, 0)
Databases = dict[Service, Database]


def said(follower_id: str, position: int = FIRST, **given: object) -> Report:
    return Report(
        **{"id": follower_id, "kind": "service", "name": "authz", "position": position, "bound_s": 5, **given}
    )


async def report(databases: Databases, report: Report, service: Service = Service.AUTHZ) -> None:
    await followers.report(await databases[service].raw_pool(), report)


async def behind(databases: Databases, position: int) -> dict[str, Follower]:
    async with transaction(databases[Service.TOKEN]) as session:
        return {each.id: each for each in await followers.behind(session, position)}


async def silent_for(admin: asyncpg.Connection, interval: str) -> None:
    """Nobody has reported for so long."""
    await admin.execute("ALTER TABLE bus.followers DISABLE TRIGGER USER")
    await admin.execute("UPDATE bus.followers SET heard_at = heard_at - $1::text::interval", interval)
    await admin.execute("ALTER TABLE bus.followers ENABLE TRIGGER USER")


@pytest.fixture
async def admin(bus_database: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(bus_database)
    await connection.execute("TRUNCATE bus.followers, bus.receipts")
    await connection.execute("UPDATE bus.ledger SET position = $1", FIRST + 10)
    yield connection
    await connection.close()


async def test_a_follower_is_behind_until_it_reports_the_position(
    databases: Databases, admin: asyncpg.Connection
) -> None:
    one = new_id()
    await report(databases, said(one, FIRST + 3))
    assert one in await behind(databases, FIRST + 4)
    assert not (await behind(databases, FIRST + 4))[one].is_unreachable
    await report(databases, said(one, FIRST + 4))
    assert one not in await behind(databases, FIRST + 4)


async def test_a_position_from_the_future_counts_as_the_head(databases: Databases, admin: asyncpg.Connection) -> None:
    one = new_id()
    await report(databases, said(one, (1 << 63) - 1))
    assert one not in await behind(databases, FIRST + 10)
    await admin.execute("UPDATE bus.ledger SET position = $1", FIRST + 11)
    assert (await behind(databases, FIRST + 11))[one].position == FIRST + 10


async def test_who_is_silent_for_its_bound_and_a_second_is_unreachable(
    databases: Databases, admin: asyncpg.Connection
) -> None:
    quiet, patient = new_id(), new_id()
    await report(databases, said(quiet, bound_s=5))
    await report(databases, said(patient, bound_s=6))
    await silent_for(admin, "6.5 seconds")
    found = await behind(databases, FIRST + 1)
    assert {each.id: each.is_unreachable for each in found.values()} == {quiet: True, patient: False}
    await report(databases, said(quiet))
    assert not (await behind(databases, FIRST + 1))[quiet].is_unreachable


async def test_each_step_forward_leaves_a_receipt(databases: Databases, admin: asyncpg.Connection) -> None:
    one = new_id()
    for position in (FIRST, FIRST + 2, FIRST + 2, FIRST + 1, FIRST + 5):
        await report(databases, said(one, position))
    rows = await admin.fetch("SELECT after, position FROM bus.receipts WHERE follower = $1 ORDER BY id", one)
    assert [tuple(row) for row in rows] == [(0, FIRST), (FIRST, FIRST + 2), (FIRST + 1, FIRST + 5)]
    async with transaction(databases[Service.TOKEN]) as session:
        (receipt,) = await followers.applied(session, FIRST + 2)
        assert (receipt.id, receipt.name) == (one, "authz")
        assert await followers.applied(session, FIRST + 6) == []


async def test_who_vanished_stays_known_to_have_vanished(databases: Databases, admin: asyncpg.Connection) -> None:
    one, began = new_id(), await admin.fetchval("SELECT clock_timestamp()")
    await report(databases, said(one, FIRST + 2))
    await silent_for(admin, "2 hours")
    await admin.execute(f"DELETE FROM bus.followers WHERE {followers.FORGOTTEN['bus.followers']}")
    async with transaction(databases[Service.TOKEN]) as session:
        assert [each.id for each in await followers.lost(session, FIRST + 3, began)] == [one]
        assert await followers.lost(session, FIRST + 2, began) == []
        assert await followers.list_followers(session) == []


@pytest.mark.parametrize(("policy", "is_known"), [("accept", True), ("introspect", False), ("refuse", False)])
async def test_who_accepts_while_it_is_silent_is_never_forgotten(
    databases: Databases, admin: asyncpg.Connection, policy: str, is_known: bool
) -> None:
    one = f"billing/{new_id()}"
    await report(databases, said(one, kind="verifier", name="billing", policy=policy))
    await silent_for(admin, "100 days")
    await admin.execute(f"DELETE FROM bus.followers WHERE {followers.FORGOTTEN['bus.followers']}")
    found = await behind(databases, FIRST + 1)
    assert (one in found) is is_known
    assert all(each.may_accept for each in found.values())
    assert await followers.leave(await databases[Service.AUTHZ].raw_pool(), one) is is_known


async def test_a_registered_verifier_is_unreachable_until_an_instance_of_it_is_heard(
    databases: Databases, admin: asyncpg.Connection
) -> None:
    await report(databases, said("billing", followers.UNHEARD, kind="verifier", name="billing"))
    found = await behind(databases, FIRST)
    assert (found["billing"].is_unreachable, found["billing"].heard_at, found["billing"].may_accept) == (
        True,
        None,
        False,
    )
    await report(databases, said("billing/1", FIRST, kind="verifier", name="billing", policy="accept"))
    assert set(await behind(databases, FIRST + 1)) == {"billing/1"}
    await silent_for(admin, "7 seconds")
    found = await behind(databases, FIRST + 1)
    assert (found["billing/1"].is_unreachable, found["billing/1"].may_accept) == (True, True)


async def test_receipts_leave_with_the_entries_that_they_cover(databases: Databases, admin: asyncpg.Connection) -> None:
    one = new_id()
    for position in (FIRST + 1, FIRST + 2, FIRST + 3):
        await report(databases, said(one, position))
    await admin.execute("UPDATE bus.receipts SET at = now() - interval '2 hours'")
    await admin.execute(
        "INSERT INTO bus.revocations (position, claim, value, kind, until, keep_until, reason, written_by)"
        " VALUES ($1, 'jti', 'x', 'cut', now(), now(), 'test', 'watchword_token')",
        FIRST + 2,
    )
    await admin.execute(f"DELETE FROM bus.receipts WHERE {followers.FORGOTTEN['bus.receipts']}")
    rows = await admin.fetch("SELECT position FROM bus.receipts WHERE follower = $1", one)
    assert [row["position"] for row in rows] == [FIRST + 2]
    await admin.execute("DELETE FROM bus.revocations")


async def test_nobody_writes_for_another_service(databases: Databases, admin: asyncpg.Connection) -> None:
    one = new_id()
    await report(databases, said(one, FIRST + 1))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await report(databases, said(one, FIRST + 9), Service.ADMIN)
    pool = await databases[Service.ADMIN].raw_pool()
    assert not await followers.leave(pool, one)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await pool.execute(
            "INSERT INTO bus.followers (id, kind, name, position, bound_s, written_by)"
            " VALUES ('x', 'service', 'authz', 0, 5, 'watchword_authz')"
        )
    assert (await behind(databases, FIRST + 9))[one].position == FIRST + 1


@pytest.mark.parametrize("service", list(Service))
async def test_no_service_writes_a_receipt_by_itself(
    databases: Databases, admin: asyncpg.Connection, service: Service
) -> None:
    pool = await databases[service].raw_pool()
    for statement in (
        "INSERT INTO bus.receipts (follower, kind, name, after, position, at)"
        " VALUES ('x', 'service', 'x', 0, 1, now())",
        "UPDATE bus.receipts SET at = now()",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await pool.execute(statement)


async def test_who_leaves_is_not_waited_for(databases: Databases, admin: asyncpg.Connection) -> None:
    one = new_id()
    await report(databases, said(one))
    assert await followers.leave(await databases[Service.AUTHZ].raw_pool(), one)
    assert one not in await behind(databases, FIRST + 1)


async def test_a_rotation_waits_for_those_who_check_signatures(databases: Databases, admin: asyncpg.Connection) -> None:
    knows, lacks, checks_none = new_id(), new_id(), new_id()
    await report(databases, said(knows, kids=["old", "new"]))
    await report(databases, said(lacks, kids=["old"]))
    await report(databases, said(checks_none))
    async with transaction(databases[Service.TOKEN]) as session:
        assert [each.id for each in await followers.lacking_key(session, "new")] == [lacks]
