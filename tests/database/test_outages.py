"""What ends work in the background for a moment is noted in a line; a traceback is for what nobody expects."""

import asyncio
import time
from typing import Any

import asyncpg

from watchword_database.outages import note_interruption
from watchword_testkit.servers import Postgres


async def failure_after_standing_still(dsn: str, turns: int) -> Exception:
    """What a connection says whose process stood still until PostgreSQL ended the session.

    turns: how often the event loop looks for what has arrived before something is asked.
    """
    connection = await asyncpg.connect(dsn, server_settings={"idle_session_timeout": "100"})
    try:
        time.sleep(1)  # noqa: ASYNC251  # as under SIGSTOP
        for _ in range(turns):
            await asyncio.sleep(0)
        await connection.fetchval("SELECT 1")
    except Exception as error:
        return error
    finally:
        connection.terminate()
    raise AssertionError("the session was not ended")


async def test_a_session_that_ended_while_the_process_stood_still_is_an_outage(
    postgres: Postgres, log_lines: list[dict[str, Any]]
) -> None:
    """Whether its farewell, the end of its connection or neither has been read by then."""
    errors = [await failure_after_standing_still(postgres.admin_url, turns) for turns in range(5)]
    assert asyncpg.InternalClientError in {type(error) for error in errors}
    for error in errors:
        note_interruption("interrupted", error)
    noted = [line for line in log_lines if line["event"] == "interrupted"]
    assert [line["error"] for line in noted] == [type(error).__name__ for error in errors]
    assert [line["exception"] for line in noted if "exception" in line] == []


async def test_what_nobody_expects_has_a_traceback(log_lines: list[dict[str, Any]]) -> None:
    note_interruption("interrupted", KeyError("a defect"))
    (line,) = log_lines
    assert line["error"] == "KeyError"
    assert "a defect" in line["exception"]
