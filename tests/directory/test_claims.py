"""Versions rise with what people stand behind: in portions, after the change, and for everybody whom it concerns."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from watchword_database import Database, transaction
from watchword_database.ids import new_id
from watchword_directory import groups, roles
from watchword_directory.claims import PORTION, PORTIONS_AT_ONCE, ClaimsWorker, rise_portion
from watchword_directory.group_documents import GroupChanges, NewGroup
from watchword_directory.ranks import EVERYTHING
from watchword_directory.role_documents import NewAssignment, NewRole, RoleChanges
from watchword_directory.standing import standing_of
from watchword_events.contracts import UserUpdated
from watchword_events.envelope import open_event
from watchword_events.names import Service
from watchword_runtime.clock import utc_now
from watchword_testkit.databases import TestDatabase

OWNER = EVERYTHING


@pytest.fixture
async def directory(database: TestDatabase) -> AsyncIterator[Database]:
    """The directory's database, as the directory sees it."""
    opened = database.open(Service.DIRECTORY)
    yield opened
    await opened.dispose()


async def users(database: TestDatabase, count: int) -> list[str]:
    """Users who exist, by id, in order."""
    ids = sorted(new_id() for _ in range(count))
    async with database.postgres.admin(database.name) as connection:
        await connection.execute(
            "INSERT INTO directory.users (id, version, claims_version, username, email_verified, profile, attributes,"
            " active, created_at, updated_at) SELECT id, 1, 1, id, false, '{}', '{}', true, now(), now()"
            " FROM unnest($1::text[]) AS id",
            ids,
        )
    return ids


async def filled_group(database: TestDatabase, directory: Database, members: list[str]) -> str:
    async with transaction(directory) as session:
        group = await groups.create_group(session, NewGroup(name=new_id()), by=OWNER, now=utc_now())
    async with database.postgres.admin(database.name) as connection:
        await connection.execute(
            "INSERT INTO directory.memberships (group_id, user_id, created_at)"
            " SELECT $1, id, now() FROM unnest($2::text[]) AS id",
            group.id,
            members,
        )
    return group.id


async def versions(database: TestDatabase, user_ids: list[str]) -> set[tuple[int, int]]:
    async with database.postgres.admin(database.name) as connection:
        rows = await connection.fetch(
            "SELECT DISTINCT version, claims_version FROM directory.users WHERE id = ANY($1)", user_ids
        )
    return {(row["version"], row["claims_version"]) for row in rows}


async def rename(directory: Database, group_id: str) -> list[int]:
    async with transaction(directory) as session:
        _, due = await groups.change_group(session, group_id, GroupChanges(name=new_id()), by=OWNER, now=utc_now())
    return due


async def test_many_rise_in_portions_with_one_event_each(database: TestDatabase, directory: Database) -> None:
    members, outside = await users(database, 2 * PORTION + 7), await users(database, 3)
    group_id = await filled_group(database, directory, members)
    due = await rename(directory, group_id)
    assert await versions(database, members) == {(1, 1)}, "nobody was touched by the change itself"
    await ClaimsWorker(directory, now=utc_now).settle(due)
    assert await versions(database, members) == {(2, 2)}
    assert await versions(database, outside) == {(1, 1)}
    async with database.postgres.admin(database.name) as connection:
        rows = await connection.fetch(
            "SELECT xmin::text AS at, aggregate_id, aggregate_version, subject, body::text AS body"
            " FROM directory.outbox WHERE type = 'user.updated'"
        )
        assert await connection.fetchval("SELECT count(*) FROM directory.claims_due") == 0
    assert sorted(row["aggregate_id"] for row in rows) == members
    for row in rows:
        event = open_event({"ce-type": "user.updated"}, row["body"].encode())
        assert event == UserUpdated(id=row["aggregate_id"], version=2, claims_version=2)
    assert {(row["aggregate_version"], row["subject"]) for row in rows} == {(2, UserUpdated.subject())}
    portions = [row["at"] for row in rows]
    assert max(portions.count(each) for each in set(portions)) == PORTION


async def test_the_call_sees_to_a_part_and_the_worker_to_the_rest(database: TestDatabase, directory: Database) -> None:
    members = await users(database, PORTION * PORTIONS_AT_ONCE + PORTION)
    due = await rename(directory, await filled_group(database, directory, members))
    worker = ClaimsWorker(directory, now=utc_now, every_s=0.05)
    await worker.settle(due)
    assert await versions(database, members) == {(1, 1), (2, 2)}, "a call does not wait for all of so many"
    second = ClaimsWorker(directory, now=utc_now, every_s=0.05)  # another instance
    worker.start()
    second.start()
    async with asyncio.timeout(30):
        while await versions(database, members) != {(2, 2)}:
            await asyncio.sleep(0.05)
    await worker.stop()
    await second.stop()


async def test_whoever_comes_while_a_group_is_being_changed_rises_too(
    database: TestDatabase, directory: Database
) -> None:
    """The newcomer's version was given out before the change was committed: nobody else would make it rise."""
    (user_id,) = await users(database, 1)
    group_id = await filled_group(database, directory, [])
    async with transaction(directory) as renaming:
        group, due = await groups.change_group(
            renaming, group_id, GroupChanges(name=f"new {group_id}"), by=OWNER, now=utc_now()
        )
        async with transaction(directory) as joining:
            await groups.change_members(joining, group_id, add=[user_id], remove=[], by=OWNER, now=utc_now())
        async with transaction(directory) as reading:
            assert (await standing_of(reading, user_id)).groups != (group.full_name,), "what others have copied by now"
    assert await versions(database, [user_id]) == {(2, 2)}
    await ClaimsWorker(directory, now=utc_now).settle(due)
    assert await versions(database, [user_id]) == {(3, 3)}


async def test_nobody_waits_for_a_portion_but_those_in_it(database: TestDatabase, directory: Database) -> None:
    members = await users(database, PORTION + 5)
    due = await rename(directory, await filled_group(database, directory, members))
    async with transaction(directory) as portion:
        assert await rise_portion(portion, now=utc_now(), due_id=due[0])
        async with asyncio.timeout(30), transaction(directory) as other:
            connection = await other.connection()
            await connection.exec_driver_sql(
                f"UPDATE directory.users SET active = false WHERE id = '{members[-1]}'"  # not in the first portion
            )
    assert await versions(database, members) == {(1, 1), (2, 2)}


async def test_what_was_begun_is_taken_up_by_another(database: TestDatabase, directory: Database) -> None:
    members = await users(database, PORTION + 5)
    due = await rename(directory, await filled_group(database, directory, members))
    with pytest.raises(RuntimeError, match="dies"):
        async with transaction(directory) as session:
            assert await rise_portion(session, now=utc_now(), due_id=due[0])
            raise RuntimeError("the instance dies")
    assert await versions(database, members) == {(1, 1)}
    await ClaimsWorker(directory, now=utc_now).settle(due)
    assert await versions(database, members) == {(2, 2)}


async def test_a_deleted_group_and_role_leave_nothing_behind(database: TestDatabase, directory: Database) -> None:
    members = await users(database, PORTION + 5)
    group_id = await filled_group(database, directory, members)
    async with transaction(directory) as session:
        role = await roles.create_role(session, NewRole(name="reader", permissions=["a"]), now=utc_now())
        await roles.give_role(session, NewAssignment(role=role.id, group=group_id), by=OWNER, now=utc_now())
        for user_id in members[:3]:
            await roles.give_role(session, NewAssignment(role=role.id, user=user_id), by=OWNER, now=utc_now())
    worker = ClaimsWorker(directory, now=utc_now)
    async with transaction(directory) as session:
        due = await roles.delete_role(session, role.id, now=utc_now())
        due += await groups.delete_group(session, group_id, by=OWNER, now=utc_now())
    async with transaction(directory) as session:
        for user_id in (members[0], members[-1]):
            standing = await standing_of(session, user_id)
            assert (standing.groups, standing.roles) == ((), ()), "gone at once, however many have to be told"
    await worker.settle(due)
    async with transaction(directory) as session:
        while await rise_portion(session, now=utc_now()):  # what giving the role had noted
            pass
    async with database.postgres.admin(database.name) as connection:
        for table in ("memberships", "assignments", "nestings"):
            assert await connection.fetchval(f"SELECT count(*) FROM directory.{table}") == 0, table


async def test_a_role_reaches_those_who_have_it_by_any_way(database: TestDatabase, directory: Database) -> None:
    direct, by_group, below, nobody = await users(database, 4)
    upper = await filled_group(database, directory, [by_group])
    lower = await filled_group(database, directory, [below])
    async with transaction(directory) as session:
        upper_name = (await groups.change_group(session, upper, GroupChanges(), by=OWNER, now=utc_now()))[0].full_name
        await groups.change_group(session, lower, GroupChanges(parents=[upper_name]), by=OWNER, now=utc_now())
        role = await roles.create_role(session, NewRole(name="reader"), now=utc_now())
        await roles.give_role(session, NewAssignment(role=role.id, group=upper), by=OWNER, now=utc_now())
        await roles.give_role(session, NewAssignment(role=role.id, user=direct), by=OWNER, now=utc_now())
    worker = ClaimsWorker(directory, now=utc_now)
    async with transaction(directory) as session:
        while await rise_portion(session, now=utc_now()):
            pass
    before = await versions(database, [nobody])
    async with transaction(directory) as session:
        _, due = await roles.change_role(session, role.id, RoleChanges(permissions=["orders.read"]), now=utc_now())
    await worker.settle(due)
    async with transaction(directory) as session:
        for user_id in (direct, by_group, below):
            assert (await standing_of(session, user_id)).permissions == ("orders.read",)
    assert await versions(database, [nobody]) == before == {(1, 1)}
    assert all(version > 1 for version, _ in await versions(database, [direct, by_group, below]))
