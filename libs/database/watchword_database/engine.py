"""Database and transaction(): the only place that commits."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import orjson
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

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
            pool_pre_ping=True,
            pool_timeout=10,
            hide_parameters=True,  # an error message must not carry a hash or a payload into a log
            json_serializer=_dumps,
            json_deserializer=orjson.loads,
        )
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

    async def dispose(self) -> None:
        """Every connection is closed."""
        if self._pool is not None:
            await self._pool.close()
            self._pool = None
        await self.engine.dispose()


async def _keep(_connection: object) -> None:
    """Hot-path statements leave nothing behind on a connection, so its reset round trip is saved."""


async def _json_as_objects(connection: asyncpg.Connection) -> None:
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=_dumps, decoder=orjson.loads)


class Session(AsyncSession):
    """A session whose events are published if, and only if, its transaction commits."""

    def emit(self, event: Event, *, traceparent: str | None = None) -> None:
        """The event leaves with this transaction. Its owner must be the service of this database.

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
                "body": event.model_dump_json(),
                "traceparent": traceparent,
            }
        )

    def hint(self, subject: str) -> None:
        """After the commit whoever listens on the subject is woken."""
        self.info["hints"].add(subject)


_INSERT_OUTBOX = """
INSERT INTO {schema}.outbox (type, subject, aggregate_id, aggregate_version, body, traceparent)
VALUES (:type, :subject, :aggregate_id, :aggregate_version, CAST(:body AS jsonb), :traceparent)
"""


@asynccontextmanager
async def transaction(database: Database) -> AsyncIterator[Session]:
    """A session in one transaction, which commits at the end of the block with the events that it emitted.

    An exception rolls everything back. A refusal that must leave a trace returns from the block, then raises.
    """
    async with Session(database.engine, expire_on_commit=False) as session:
        session.info.update(database=database, events=[], hints=set())
        async with session.begin():
            yield session
            await session.flush()
            if events := session.info["events"]:
                connection = await session.connection()
                await connection.execute(text(_INSERT_OUTBOX.format(schema=database.schema)), events)
                session.hint(OUTBOX_HINT + database.schema)
        for subject in session.info["hints"]:
            database.hint(subject)
