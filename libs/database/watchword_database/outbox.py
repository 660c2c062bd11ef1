"""The relay: publishes an owner's outbox in order, one leader at a time.

Truth is the row. The relay publishes rows in the order of their ids with `Nats-Msg-Id` (a second copy is dropped) and
`Nats-Expected-Last-Sequence` (a zombie leader is refused), and notes the stream's sequence after the PubAck. Rows stay
longer than the stream keeps them: a wiped or rolled-back stream is republished from them.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta

import asyncpg
import structlog
from nats.aio.client import Client
from nats.js import JetStreamContext

from watchword_database.engine import OUTBOX_HINT, Database
from watchword_database.leader import Leader
from watchword_events.envelope import headers_of
from watchword_events.names import Service

log = structlog.get_logger()

BATCH = 200
SWEEP_EVERY = 60.0  # seconds
SWEPT_AT_ONCE = 1000
KEEP = timedelta(days=8)  # a day longer than the streams keep events
PAUSED_MS = "10000"  # longer than any wait for NATS between two statements
_WAITING = """
SELECT o.*, (SELECT last_seq FROM {schema}.relay_state WHERE stream = $1) AS last_seq
  FROM (SELECT id, event_id, type, subject, aggregate_id, aggregate_version, body, traceparent, created_at
          FROM {schema}.outbox WHERE published_at IS NULL ORDER BY id LIMIT $2) AS o ORDER BY o.id
"""
_NOTE = """
INSERT INTO {schema}.relay_state (stream, last_seq) VALUES ($1, $2)
ON CONFLICT (stream) DO UPDATE SET last_seq = excluded.last_seq
"""
# Rows and their places in the stream, and of the last row the same for whoever waits for it.
_PUBLISHED = """
WITH acked AS (SELECT * FROM unnest($3::bigint[], $4::bigint[]) AS a(id, seq)),
     marked AS (UPDATE {schema}.outbox AS o SET published_at = clock_timestamp(), stream_seq = a.seq
                  FROM acked AS a WHERE o.id = a.id),
     noted AS ({note})
INSERT INTO bus.published (owner, row_id, stream_seq) SELECT $5, id, seq FROM acked ORDER BY id DESC LIMIT 1
ON CONFLICT (owner) DO UPDATE SET row_id = excluded.row_id, stream_seq = excluded.stream_seq
"""
# A piece at a time: a week of events is more than one statement may take.
_LOST = """
WITH lost AS (
    UPDATE {schema}.outbox SET published_at = NULL, stream_seq = NULL
     WHERE id IN (SELECT id FROM {schema}.outbox WHERE stream_seq > $1 LIMIT 1000) RETURNING 1)
SELECT count(*) FROM lost
"""
_REWOUND = "UPDATE bus.published SET stream_seq = least(stream_seq, $2) WHERE owner = $1"
LOCK_CLASS = 0x5757_01  # advisory locks of relays: (class, number of the service)


class Relay(Leader):
    """The relay of one instance.

    nats: the current connection, or None while there is none.
    """

    def __init__(self, database: Database, nats: Callable[[], Client | None]) -> None:
        lock = (LOCK_CLASS, list(Service).index(database.service))
        super().__init__(database, name="relay", lock=lock, paused_ms=PAUSED_MS, service=database.schema)
        self._nats = nats
        self._stream = database.service.stream
        self._schema = database.schema
        self._lost = _LOST.format(schema=database.schema)
        self._waiting = _WAITING.format(schema=database.schema)
        self._note = _NOTE.format(schema=database.schema)
        self._published = _PUBLISHED.format(schema=database.schema, note=self._note)
        self.published = 0  # from here, since the start

    @property
    def hint_subject(self) -> str:
        """The subject on which a committed transaction wakes the leader."""
        return OUTBOX_HINT + self._schema

    async def _work(self, connection: asyncpg.Connection) -> None:
        """Publishes what waits, and deletes what was published long ago."""
        verified = False
        swept_at = 0.0
        while True:
            self._wake.clear()
            nats = self._nats()
            if nats is None or not nats.is_connected:
                verified = False
            else:
                js = nats.jetstream(timeout=2)
                try:
                    if not verified:
                        await self._verify(connection, js)
                        verified = True
                    while await self._publish_batch(connection, js):
                        pass
                except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
                    raise
                except Exception as error:  # any NATS failure: look at the stream again, then go on from the table
                    log.warning("relay.publish_failed", service=self._schema, error=type(error).__name__)
                    verified = False
            await self._woken()
            if time.monotonic() - swept_at > SWEEP_EVERY and not await self._sweep(connection):
                swept_at = time.monotonic()

    async def _verify(self, connection: asyncpg.Connection, js: JetStreamContext) -> None:
        """The table knows what the stream really holds; what the stream lost is published again."""
        last_seq = (await js.stream_info(self._stream)).state.last_seq
        async with connection.transaction():
            noted = await connection.fetchval(
                f"SELECT last_seq FROM {self._schema}.relay_state WHERE stream = $1", self._stream
            )
            if noted is not None and last_seq < noted:
                lost = 0
                while marked := await connection.fetchval(self._lost, last_seq):
                    lost += marked
                log.warning("relay.stream_rewound", service=self._schema, lost=lost)
                await connection.execute(_REWOUND, self._schema, last_seq)
            await connection.execute(self._note, self._stream, last_seq)

    async def _publish_batch(self, connection: asyncpg.Connection, js: JetStreamContext) -> bool:
        """True when there may be more to publish. Raises when the stream refused or did not answer."""
        rows = await connection.fetch(self._waiting, self._stream, BATCH)
        if not rows:
            return False
        last_seq = rows[0]["last_seq"]
        acked: list[tuple[int, int]] = []
        failure: BaseException | None = None
        # The first row proves that the stream stands where the table says; one connection keeps the order of the
        # rest, and once one is refused the expected sequence refuses all that follow it.
        for part in (rows[:1], rows[1:]):
            answers = await asyncio.gather(
                *[self._publish(js, row, last_seq + k) for k, row in enumerate(part)], return_exceptions=True
            )
            for row, answer in zip(part, answers, strict=True):
                if isinstance(answer, BaseException):
                    failure = failure or answer
                elif failure is None:
                    acked.append((row["id"], answer))
                    last_seq = max(last_seq, answer)
            if failure is not None:
                break
        if acked:
            ids, places = zip(*acked, strict=True)
            await connection.execute(self._published, self._stream, last_seq, ids, places, self._schema)
            self.published += len(acked)
        if failure is not None:
            raise failure
        return len(rows) == BATCH

    async def _publish(self, js: JetStreamContext, row: asyncpg.Record, expected_last_seq: int) -> int:
        """The sequence at which the stream holds the row; the old one when it had it already."""
        headers = headers_of(
            row["type"],
            self._database.service,
            event_id=str(row["event_id"]),
            aggregate_id=row["aggregate_id"],
            version=row["aggregate_version"],
            at=row["created_at"],
            traceparent=row["traceparent"],
        )
        headers["Nats-Expected-Last-Sequence"] = str(expected_last_seq)
        ack = await js.publish(row["subject"], row["body"].encode(), stream=self._stream, headers=headers)
        return int(ack.seq)

    async def _sweep(self, connection: asyncpg.Connection) -> bool:
        """True when there may be more to delete. Only the oldest rows are looked at: they are published in order."""
        deleted = await connection.execute(
            f"DELETE FROM {self._schema}.outbox WHERE published_at < now() - $1::interval"
            f" AND id IN (SELECT id FROM {self._schema}.outbox ORDER BY id LIMIT {SWEPT_AT_ONCE})",
            KEEP,
        )
        return bool(deleted == f"DELETE {SWEPT_AT_ONCE}")
