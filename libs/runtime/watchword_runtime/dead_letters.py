"""Events that were given up: tried again when an operator says so, and forgotten in the end.

A row of `<schema>.dead_letter` whose `error` is empty is to be tried again; `watchword events retry` empties it.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

import asyncpg
import orjson
import structlog
from sqlalchemy import text

from watchword_database.engine import Database, transaction
from watchword_runtime.rounds import Rounds
from watchword_runtime.work import Worker, place_of, received

log = structlog.get_logger()

KEPT: Final = timedelta(days=90)
_CONNECT_S: Final = 5.0

_ANY: Final = """
SELECT EXISTS (SELECT FROM {schema}.dead_letter
                WHERE error = '' AND consumer = ANY (:consumers) OR at < clock_timestamp() - CAST(:kept AS interval))
"""
# Another instance that tries one has its row.
_NEXT: Final = """
SELECT id, consumer, stream_seq, subject, headers::text AS headers, body FROM {schema}.dead_letter
 WHERE error = '' AND consumer = ANY ($1) ORDER BY stream_seq, id LIMIT 1 FOR UPDATE SKIP LOCKED
"""
_DONE: Final = "DELETE FROM {schema}.dead_letter WHERE id = $1"
_FAILED: Final = "UPDATE {schema}.dead_letter SET error = $2, at = clock_timestamp() WHERE id = $1"
_OLD: Final = "DELETE FROM {schema}.dead_letter WHERE at < clock_timestamp() - $1::interval"


async def retry(database: Database, workers: Mapping[str, Worker]) -> None:
    """What is to be tried again was, by the handler that gave it up: it is gone, or says why it failed anew.

    workers: by the name of their durable. The row is locked meanwhile, so no two instances handle it at once; what one
    that dies in between had handled comes again, as an event from the stream does.
    """
    names, schema = list(workers), database.schema
    async with transaction(database) as session:
        asked = text(_ANY.format(schema=schema))
        if not (await (await session.connection()).execute(asked, {"consumers": names, "kept": KEPT})).scalar_one():
            return
    # One of its own, like the relay's: a handler may need all that the pool has.
    connection = await asyncpg.connect(database.dsn, timeout=_CONNECT_S, command_timeout=_CONNECT_S)
    try:
        await connection.execute(_OLD.format(schema=schema), KEPT)
        while True:
            async with connection.transaction():
                row = await connection.fetchrow(_NEXT.format(schema=schema), names)
                if row is None:
                    return
                if (error := await _tried(workers[row["consumer"]], row)) is None:
                    await connection.execute(_DONE.format(schema=schema), row["id"])
                else:
                    await connection.execute(_FAILED.format(schema=schema), row["id"], error)
    finally:
        await connection.close()


class Retries(Rounds):
    """Looks every few seconds whether an operator wants one tried again; that needs no NATS."""

    def __init__(self, database: Database, workers: Mapping[str, Worker], *, every_s: float) -> None:
        """workers: as of `retry`."""
        super().__init__(every_s=every_s, failure="work.not_retried", rests_first=True)
        self._database, self._workers = database, workers

    async def once(self) -> None:
        """What was to be tried again was."""
        await retry(self._database, self._workers)


async def _tried(worker: Worker, row: asyncpg.Record) -> str | None:
    """Why it failed, or None."""
    try:
        headers = orjson.loads(row["headers"])
        event = received(headers, row["body"].encode(), subject=row["subject"], seq=row["stream_seq"])
        await worker.handle_again(event)
    except Exception as error:
        log.error("work.retry_failed", consumer=worker.durable, error=place_of(error))
        return place_of(error)
    log.info("work.retried", consumer=worker.durable, type=event.type, event_id=event.event_id)
    return None
