"""The audit log in the database: written with the change, chained, and nobody's to write by hand."""

import asyncio
import hashlib
from collections.abc import Callable

import orjson
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from watchword_database import Database, audit, transaction
from watchword_database.audit import Chain, Entry, Note, Origin, exported, imported
from watchword_events.names import Service
from watchword_testkit.databases import TestDatabase

ORIGIN = Origin(
    actor="u-1",
    via="api",
    method="POST",
    path="/api/v1/scopes",
    reference="AAAA-BBBB",
    name="Ada Byron",
    address="192.0.2.7",
)
_ADD = text("""
INSERT INTO admin.scopes (id, version, name, is_default, document, created_at, updated_at)
VALUES (:id, 1, :id, false, '{"name": "a", "description": "A", "client_secret": "x"}', now(), now())
""")
_CHANGE = text("""
UPDATE admin.scopes SET version = version + 1, updated_at = now(), document = document || '{"description": "B"}'
 WHERE id = :id
""")


async def entries(database: TestDatabase) -> list[Entry]:
    """Everything that stands in the log."""
    async with database.postgres.admin(database.name) as admin:
        rows = await admin.fetch("SELECT seq, entry::text, private::text, hash FROM bus.audit ORDER BY seq")
        return [Entry(*row) for row in rows]


async def change(database: Database, scope_id: str, *, origin: Origin | None = ORIGIN) -> None:
    """A scope is added and changed, each in a transaction."""
    with audit.acting_for_nobody():
        if origin is not None:
            audit.acting_for(origin)
        for statement in (_ADD, _CHANGE):
            async with transaction(database) as session:
                await (await session.connection()).execute(statement, {"id": scope_id})


async def test_a_change_is_written_down_with_it_and_secrets_are_not(database: TestDatabase) -> None:
    admin = database.open(Service.ADMIN)
    await change(admin, "s-1")
    added, changed = await entries(database)
    said = orjson.loads(changed.entry)
    assert {name: said[name] for name in ("action", "kind", "resource", "name", "actor", "reference", "service")} == {
        "action": "scope.updated",
        "kind": "scope",
        "resource": "s-1",
        "name": "s-1",
        "actor": "u-1",
        "reference": "AAAA-BBBB",
        "service": "watchword_admin",
    }
    assert said["changes"] == [{"field": "description", "before": "A", "after": "B"}]
    assert {"field": "client_secret", "is_secret": True} in orjson.loads(added.entry)["changes"]
    assert "Ada" not in changed.entry
    assert "192.0.2.7" not in changed.entry
    assert {"actor_name": "Ada Byron", "address": "192.0.2.7"}.items() <= orjson.loads(changed.private or "").items()


async def test_what_is_rolled_back_or_nobody_asked_for_leaves_nothing(database: TestDatabase) -> None:
    admin = database.open(Service.ADMIN)
    await change(admin, "s-1", origin=None)
    with audit.acting_for_nobody(), pytest.raises(ZeroDivisionError):
        audit.acting_for(ORIGIN)
        async with transaction(admin) as session:
            await (await session.connection()).execute(_CHANGE, {"id": "s-1"})
            raise ZeroDivisionError
    with audit.acting_for_nobody():
        audit.acting_for(ORIGIN)
        async with transaction(admin) as session:
            nothing = text("UPDATE admin.scopes SET version = version + 1, updated_at = now()")
            await (await session.connection()).execute(nothing)
    assert await entries(database) == []


async def test_entries_of_many_at_once_are_one_chain(database: TestDatabase) -> None:
    services = [database.open(service) for service in Service]

    async def note(database: Database, n: int) -> None:
        async with transaction(database) as session:
            await audit.note(session, [Note({"action": "test.done", "n": each}, {"n": each}) for each in range(n)])

    await asyncio.gather(*(note(each, n) for each in services for n in range(1, 5)))
    found = await entries(database)
    assert [entry.seq for entry in found] == list(range(1, 51))
    chain = Chain()
    for entry in found:
        chain.follow(imported(exported(entry)))
    async with database.postgres.admin(database.name) as admin:
        chain.end(*await admin.fetchrow("SELECT seq, hash FROM bus.audit_head"))
        assert await admin.fetchval("SELECT count(*) FROM bus.audit_pending") == 0
    assert chain.breaks == []


async def test_what_is_said_of_a_person_is_forgotten_and_the_chain_holds(database: TestDatabase) -> None:
    admin = database.open(Service.ADMIN)
    await change(admin, "s-1")
    async with transaction(admin) as session:
        await (await session.connection()).execute(text("SELECT bus.audit_forget('u-1')"))
    found = await entries(database)
    assert [entry.private for entry in found] == [None, None]
    chain = Chain()
    for entry in found:
        chain.follow(entry)
    assert (chain.breaks, chain.forgotten) == ([], 2)


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO bus.audit (seq, entry, hash) VALUES (1, '{}', 'x')",
        "INSERT INTO bus.audit_pending (entry, private) VALUES ('{}', '{}')",
        "UPDATE bus.audit SET private = NULL",
        "DELETE FROM bus.audit",
        "UPDATE bus.audit_head SET seq = 0",
        "SELECT bus.audit_add('{}', '{}')",
    ],
)
async def test_no_service_writes_the_log_by_hand(database_of: Callable[[Service], Database], statement: str) -> None:
    for service in (Service.ADMIN, Service.TOKEN):
        with pytest.raises(DBAPIError, match="permission denied"):
            async with transaction(database_of(service)) as session:
                await (await session.connection()).execute(text(statement))


def test_a_line_of_an_export_carries_the_entry_as_it_was_hashed() -> None:
    entry = '{"a": 1.10, "b": "\\u00e9 \\"}{", "c": {"d": []}}'
    private = '{"salt": "s", "name": "}"}'
    for each in (private, None):
        written = Entry(7, entry, each, hashlib.sha256(b"x").digest())
        assert imported(exported(written)) == written
