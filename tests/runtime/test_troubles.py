"""What nobody caught: PostgreSQL that is away, a conflict with somebody else, or a defect of ours."""

import asyncio

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import TimeoutError as PoolTimeout

from watchword_database import Database, transaction
from watchword_events.names import Service
from watchword_runtime.internal import Unreachable
from watchword_runtime.passwords import Busy
from watchword_runtime.troubles import trouble_of
from watchword_testkit.databases import TestDatabase
from watchword_testkit.servers import free_port
from watchword_web.failures import Trouble

AWAY, CONFLICT, DEFECT = Trouble.AWAY, Trouble.CONFLICT, None
STATES = {
    "connection_does_not_exist": ("08003", AWAY),
    "disk_full": ("53100", AWAY),
    "too_many_connections": ("53300", AWAY),
    "admin_shutdown": ("57P01", AWAY),
    "cannot_connect_now": ("57P03", AWAY),
    "query_canceled": ("57014", AWAY),
    "io_error": ("58030", AWAY),
    "unique_violation": ("23505", CONFLICT),
    "exclusion_violation": ("23P01", CONFLICT),
    "foreign_key_violation": ("23503", CONFLICT),
    "serialization_failure": ("40001", CONFLICT),
    "deadlock_detected": ("40P01", CONFLICT),
    "lock_not_available": ("55P03", CONFLICT),
    "check_violation": ("23514", DEFECT),
    "not_null_violation": ("23502", DEFECT),
    "string_data_right_truncation": ("22001", DEFECT),
    "division_by_zero": ("22012", DEFECT),
    "undefined_table": ("42P01", DEFECT),
    "insufficient_privilege": ("42501", DEFECT),
    "read_only_sql_transaction": ("25006", DEFECT),
    "internal_error": ("XX000", DEFECT),
}
DEFECTS = {
    "a table that is not there": "SELECT 1 FROM directory.nothing",
    "no SQL": "SELEC 1",
    "a table of another service": "SELECT 1 FROM authz.session",
}


@pytest.fixture
def directory(database: TestDatabase) -> Database:
    return database.open(Service.DIRECTORY, pool_size=1)


async def raised(database: Database, statement: str, *, plain: bool, **values: object) -> Exception:
    """What a statement ends in: through SQLAlchemy, or as a plain one."""
    try:
        if plain:
            await (await database.raw_pool(1)).execute(statement, *values.values())
        else:
            async with transaction(database) as session:
                await (await session.connection()).execute(text(statement), values)
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize("plain", [False, True], ids=["session", "plain"])
@pytest.mark.parametrize("state", STATES)
async def test_states_of_postgresql(directory: Database, state: str, plain: bool) -> None:
    code, trouble = STATES[state]
    statement = f"DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{code}'; END $$"
    assert trouble_of(await raised(directory, statement, plain=plain)) is trouble


@pytest.mark.parametrize("plain", [False, True], ids=["session", "plain"])
@pytest.mark.parametrize("what", DEFECTS)
async def test_a_wrong_statement_is_a_defect(directory: Database, what: str, plain: bool) -> None:
    assert trouble_of(await raised(directory, DEFECTS[what], plain=plain)) is DEFECT


@pytest.mark.parametrize("plain", [False, True], ids=["session", "plain"])
async def test_a_value_that_cannot_be_sent_is_a_defect(directory: Database, plain: bool) -> None:
    place = "$1" if plain else ":number"
    error = await raised(directory, f"SELECT CAST({place} AS bigint)", plain=plain, number="many")
    assert trouble_of(error) is DEFECT


@pytest.mark.parametrize("plain", [False, True], ids=["session", "plain"])
async def test_a_connection_that_ends_is_an_outage(directory: Database, plain: bool) -> None:
    error = await raised(directory, "SELECT pg_terminate_backend(pg_backend_pid())", plain=plain)
    assert trouble_of(error) is AWAY


@pytest.mark.parametrize("plain", [False, True], ids=["session", "plain"])
async def test_a_server_that_does_not_run_is_an_outage(plain: bool) -> None:
    nowhere = Database(f"postgresql://nobody:none@127.0.0.1:{free_port()}/none", service=Service.DIRECTORY)
    assert trouble_of(await raised(nowhere, "SELECT 1", plain=plain)) is AWAY
    await nowhere.dispose()


async def test_a_name_that_leads_nowhere_is_an_outage() -> None:
    with pytest.raises(OSError) as resolving:  # noqa: PT011 - whatever the resolver says
        await asyncio.open_connection("nowhere.invalid", 5432)
    assert trouble_of(resolving.value) is AWAY


@pytest.mark.parametrize(
    "error", [PoolTimeout(), Busy(), Unreachable("token"), TimeoutError(), asyncpg.InterfaceError("pool is closed")]
)
def test_what_else_is_an_outage(error: Exception) -> None:
    assert trouble_of(error) is AWAY


@pytest.mark.parametrize("error", [RuntimeError(), KeyError("x"), PermissionError("file"), ValueError()])
def test_what_is_a_defect(error: Exception) -> None:
    assert trouble_of(error) is DEFECT
