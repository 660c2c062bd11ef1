"""The first administrator."""

import asyncio

import pytest

from watchword_database import bus, transaction
from watchword_directory import role_table, store
from watchword_directory.bootstrap import ensure_administrator
from watchword_directory.standing import standing_of
from watchword_events.handovers import SetPassword
from watchword_events.names import Service
from watchword_policy.identifiers import InvalidUsername
from watchword_runtime.clock import utc_now
from watchword_runtime.passwords import Passwords
from watchword_testkit.databases import TestDatabase

PASSWORD = "correct horse battery staple"


async def test_the_administrator_is_made_once_however_often_it_is_asked_for(database: TestDatabase) -> None:
    directory, authz = database.open(Service.DIRECTORY), database.open(Service.AUTHZ)
    passwords = Passwords()
    made = await asyncio.gather(
        *(
            ensure_administrator(directory, username="Admin", password=PASSWORD, passwords=passwords, now=utc_now())
            for _ in range(4)
        )
    )
    assert len({each.user_id for each in made}) == 1
    assert [each.created for each in made].count(True) == 1
    async with transaction(directory) as session:
        user = await store.find_user_by_username(session, "admin")
        assert user is not None
        standing = await standing_of(session, user.id)
    assert standing.given == ("owner",)
    assert standing.roles == ("administrator", "owner"), "an owner is an administrator"
    async with transaction(authz) as session:
        (taken,) = await bus.take_flow(session, SetPassword, flow=f"user:{user.id}", now=utc_now())
    assert (await passwords.verify(taken.payload.password_hash, PASSWORD)).ok
    passwords.close()


async def test_an_existing_user_gets_the_role_but_keeps_the_password(database: TestDatabase) -> None:
    directory, authz = database.open(Service.DIRECTORY), database.open(Service.AUTHZ)
    passwords = Passwords()

    async def ensure() -> bool:
        made = await ensure_administrator(
            directory, username="admin", password=PASSWORD, passwords=passwords, now=utc_now(), email="a@corp.example"
        )
        return made.created

    assert await ensure()
    async with transaction(directory) as session:
        known = await store.find_user_by_username(session, "admin")
        assert known is not None
        await role_table.take_all_from(session, known.id)
    assert not await ensure()
    async with transaction(directory) as session:
        again = await store.find_user_by_username(session, "admin")
        assert again is not None
        assert (await standing_of(session, again.id)).given == ("owner",)
    assert again.version == 2
    async with transaction(authz) as session:
        assert len(await bus.take_flow(session, SetPassword, flow=f"user:{again.id}", now=utc_now())) == 1
    passwords.close()


async def test_a_name_that_is_none_is_refused(database: TestDatabase) -> None:
    passwords = Passwords()
    with pytest.raises(InvalidUsername):
        await ensure_administrator(
            database.open(Service.DIRECTORY), username="the boss", password=PASSWORD, passwords=passwords, now=utc_now()
        )
    passwords.close()
