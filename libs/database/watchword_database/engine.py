"""Database and transaction(): the only place that commits."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any, Final

import asyncpg
import orjson
from opentelemetry import trace
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.event import listen
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

from watchword_database import audit
from watchword_events.catalogue import row_of
from watchword_events.contracts import Event
from watchword_events.names import Service

OUTBOX_HINT = "sys.hint.outbox."
LEDGER_HINT = "sys.hint.revocations"


def _dumps(value: Any) -> str:
    return orjson.dumps(value).decode()


class Database:
    """One service's access to PostgreSQL: an engine for the control plane and, on demand, a raw pool for hot paths.

    url: `postgresql://role:password@host:port/database`; `?host=/directory` for a UNIX socket.
    hint: called with a NATS subject after a commit that left something to publish; it must not block or raise.
    """

    def __init__(self, url: str, *, service: Service, pool_size: int = 4) -> None:
        self.service = service
        self.schema = service.value
        self.dsn = url
        self.hint: Callable[[str], None] = lambda _subject: None
        self.engine: AsyncEngine = create_async_engine(
            make_url(url).set(drivername="postgresql+asyncpg"),
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_timeout=10,
            hide_parameters=True,  # an error message must not carry a hash or a payload into a log
            json_serializer=_dumps,
            json_deserializer=orjson.loads,
        )
        listen(self.engine.sync_engine, "checkout", _refuse_closed)
        self.insert_outbox = text(_INSERT_OUTBOX.format(schema=self.schema))
        self._pool: asyncpg.Pool | None = None
        self._making_pool = asyncio.Lock()

    async def raw_pool(self, size: int = 4) -> asyncpg.Pool:
        """The pool of plain asyncpg connections for hot paths, made at the first call with at most `size`."""
        if self._pool is None:
            async with self._making_pool:  # of two first callers the second waits for the first one's pool
                if self._pool is None:
                    self._pool = await asyncpg.create_pool(
                        self.dsn, min_size=1, max_size=size, command_timeout=10, reset=_keep, init=_json_as_objects
                    )
        return self._pool

    async def ask(self, question: str, *values: Any) -> Any:
        """The first value that one plain statement finds, for a tenth of what a session costs. values: for $1, $2 …"""
        return await (await self.raw_pool()).fetchval(question, *values)

    async def dispose(self) -> None:
        """Every connection is closed."""
        if self._pool is not None:
            await self._pool.close()
            self._pool = None
        await self.engine.dispose()


def _refuse_closed(connection: Any, _record: object, _proxy: object) -> None:
    """A connection that its server has closed is not taken; nor are those that were opened before it.

    asyncpg hears of that at once. Asking the server each time (`pool_pre_ping`) would be three round trips more for
    every transaction.
    """
    if connection.driver_connection.is_closed():
        raise InvalidatePoolError


async def _keep(_connection: object) -> None:
    """Hot-path statements leave nothing behind on a connection, so its reset round trip is saved."""


async def _json_as_objects(connection: asyncpg.Connection) -> None:
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=_dumps, decoder=orjson.loads)


def _traceparent() -> str | None:
    """The trace that is being recorded, if one is. Spec: W3C Trace Context 3.2."""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


class Session(AsyncSession):
    """A session whose events are published if, and only if, its transaction commits."""

    def emit(self, event: Event) -> None:
        """The event leaves with this transaction, in the trace of whoever asked for it. Its owner must be the service.

        Raises KeyError for an event that is not in the catalogue.
        """
        database: Database = self.info["database"]
        row = row_of(event)
        if row.owner is not database.service:
            raise ValueError(f"{database.service} may not publish {row.type}")
        self.info["events"].append(
            {
                "type": row.type,
                "subject": row.subject,
                "aggregate_id": event.id,
                "aggregate_version": event.version,
                "body": orjson.Fragment(event.model_dump_json()),
                "traceparent": _traceparent(),
            }
        )
        if event.audited:
            self.info["notes"].append(audit.note_of(event))

    def wrote_events(self, entity: str, last_row: int) -> None:
        """Events about the entity were written into the outbox by a statement, the last of them as this row."""
        database: Database = self.info["database"]
        self.info["written"][database.schema, entity] = last_row
        self.hint(OUTBOX_HINT + database.schema)

    def hint(self, subject: str) -> None:
        """After the commit whoever listens on the subject is woken."""
        self.info["hints"].add(subject)


# Of any number of events one statement, in their order.
_INSERT_OUTBOX = """
INSERT INTO {schema}.outbox (type, subject, aggregate_id, aggregate_version, body, traceparent)
SELECT type, subject, aggregate_id, aggregate_version, body, traceparent
  FROM ROWS FROM (jsonb_to_recordset(CAST(:events AS jsonb)) AS (
           type text, subject text, aggregate_id text, aggregate_version bigint, body jsonb, traceparent text
       )) WITH ORDINALITY AS e (type, subject, aggregate_id, aggregate_version, body, traceparent, place)
 ORDER BY place
RETURNING id
"""
_NOTING: Final[ContextVar[dict[tuple[str, str], int] | None]] = ContextVar("watchword.noting_events", default=None)
_WORKS_FOR = text("SELECT set_config('watchword.origin', :origin, true)")


@contextmanager
def noting_events() -> Iterator[dict[tuple[str, str], int]]:
    """Inside, by owner and entity: the last row of the outbox that this task's transactions wrote."""
    noted: dict[tuple[str, str], int] = {}
    token = _NOTING.set(noted)
    try:
        yield noted
    finally:
        _NOTING.reset(token)


@asynccontextmanager
async def transaction(database: Database) -> AsyncIterator[Session]:
    """A session in one transaction, which commits at the end of the block with the events that it emitted.

    An exception rolls everything back. A refusal that must leave a trace returns from the block, then raises. What it
    changes for somebody who asked (`audit.acting_for`) is audited with it, and so are events that the catalogue says.
    """
    async with Session(database.engine, expire_on_commit=False) as session:
        session.info.update(database=database, events=[], notes=[], hints=set(), written={})
        async with session.begin():
            if (origin := audit.acting()) is not None:
                works_for = {"origin": audit.as_json(origin.members())}
                await (await session.connection()).execute(_WORKS_FOR, works_for)
            yield session
            await session.flush()
            if events := session.info["events"]:
                connection = await session.connection()
                rows = (await connection.execute(database.insert_outbox, {"events": audit.as_json(events)})).scalars()
                await audit.note(session, session.info["notes"])
                for written, row_id in zip(events, rows, strict=True):
                    session.wrote_events(written["subject"].split(".")[2], row_id)
            if (noted := _NOTING.get()) is not None:
                noted |= session.info["written"]
        for subject in session.info["hints"]:
            database.hint(subject)
