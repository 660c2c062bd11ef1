"""Durable work on events: batches, back-off and dead letters for one consumer.

Each event reaches one instance. An event is acknowledged after its handler returned, offered again with growing
delays when it failed, and becomes a row of `<schema>.dead_letter` after the last try: never dropped, never for ever.
What then becomes of it is in `dead_letters`.
"""

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import orjson
import structlog
from faststream.exceptions import NackMessage, RejectMessage
from faststream.nats import NatsMessage
from opentelemetry.propagate import extract
from opentelemetry.trace import SpanKind, get_tracer
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from watchword_database.engine import Database, transaction
from watchword_events.catalogue import BY_TYPE
from watchword_events.contracts import Event
from watchword_events.envelope import UnknownEvent, open_event
from watchword_events.names import Service

log = structlog.get_logger()

BATCH: Final = 100
# Delays before the tries that follow; about 25 minutes in all, so that an owner's restart costs nothing but time.
BACK_OFF_S: Final = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 450.0, 600.0)
MAX_TRIES: Final = len(BACK_OFF_S) + 1
_GIVE_UP_AFTER: Final = 3  # failures in a row within one batch: then the cause is not in the events

_DEAD_LETTER: Final = """
INSERT INTO {schema}.dead_letter (consumer, stream_seq, subject, headers, body, error)
VALUES (:consumer, :seq, :subject, CAST(:headers AS jsonb), :body, :error) ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class Received:
    """An event as it arrived.

    event_id: the CloudEvents id, the same at each delivery.  seq: its place in the stream.
    """

    event_id: str
    type: str
    subject: str
    event: Event
    seq: int


Handler = Callable[[list[Received]], Awaitable[None]]


def received(headers: Mapping[str, str], body: bytes, *, subject: str, seq: int) -> Received:
    """The event in a message. Raises UnknownEvent."""
    return Received(
        event_id=headers.get("ce-id", ""),
        type=headers.get("ce-type", ""),
        subject=subject,
        event=open_event(headers, body),
        seq=seq,
    )


@dataclass(slots=True)
class _Waiting:
    """An event of a batch, and what became of it."""

    received: Received
    done: "asyncio.Future[None]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Worker:
    """Handles the events of one durable consumer in this instance."""

    def __init__(self, durable: str, subject: str, handler: Handler, database: Database) -> None:
        """subject: `auth.<owner>.…`; its owner names the stream."""
        self.durable = durable
        self.subject = subject
        self.stream = Service(subject.split(".")[1]).stream
        self._tracer = get_tracer("watchword")
        self._max_tries = MAX_TRIES
        self._handler = handler
        self._database = database
        self._waiting: list[_Waiting] = []
        self._drain: asyncio.Task[None] | None = None

    def limit_tries(self, max_deliver: int | None) -> None:
        """What the server offers only so often becomes a dead letter at its last try."""
        self._max_tries = min(MAX_TRIES, max_deliver) if max_deliver and max_deliver > 0 else MAX_TRIES

    async def on_message(self, message: NatsMessage) -> None:
        """The message has been dealt with; raises FastStream's NackMessage or RejectMessage where it was not."""
        raw = message.raw_message
        tries = raw.metadata.num_delivered
        try:
            event = received(raw.headers or {}, raw.data, subject=raw.subject, seq=raw.metadata.sequence.stream)
        except UnknownEvent as error:
            if (raw.headers or {}).get("ce-type", "") in BY_TYPE:
                await self._bury(message, error)
            log.info("work.ignored", consumer=self.durable, reason=str(error))
            return  # a type that only a newer release knows
        try:
            with self._tracer.start_as_current_span(
                f"process {self.subject}", context=extract(raw.headers or {}), kind=SpanKind.CONSUMER
            ):
                await self._handled(event)
        except Exception as error:
            log.warning(
                "work.failed",
                consumer=self.durable,
                type=event.type,
                event_id=event.event_id,
                tries=tries,
                error=place_of(error),
            )
            if tries >= self._max_tries:
                await self._bury(message, error)
            raise _later(tries) from None

    async def handle_again(self, event: Received) -> None:
        """An event that was given up has been dealt with. Raises what the handler does."""
        await self._handler([event])

    async def _handled(self, event: Received) -> None:
        """Events that arrive together are handled together."""
        waiting = _Waiting(event)
        self._waiting.append(waiting)
        if self._drain is None or self._drain.done():
            self._drain = asyncio.create_task(self._handle_waiting(), name=f"work-{self.durable}")
        await waiting.done

    async def _handle_waiting(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
            failure = await self._try(batch)
            if failure is None or len(batch) == 1:
                continue
            in_a_row = 0
            for index, waiting in enumerate(batch):
                failed = await self._try([waiting], final=True)
                in_a_row = in_a_row + 1 if failed else 0
                if failed and in_a_row >= _GIVE_UP_AFTER:
                    for rest in batch[index + 1 :]:
                        _settle(rest, failed)
                    break

    async def _try(self, batch: list[_Waiting], *, final: bool = False) -> Exception | None:
        """What went wrong, or None. A failure settles the event only when it is alone: it may be another's fault."""
        try:
            await self._handler([waiting.received for waiting in batch])
        except Exception as error:
            if final or len(batch) == 1:
                for waiting in batch:
                    _settle(waiting, error)
            return error
        except asyncio.CancelledError:
            for waiting in batch:
                waiting.done.cancel()
            raise
        for waiting in batch:
            _settle(waiting, None)
        return None

    async def _bury(self, message: NatsMessage, error: Exception) -> None:
        """The event is a dead letter and is not offered again; raises RejectMessage to say so."""
        raw = message.raw_message
        letter = {
            "consumer": self.durable,
            "seq": raw.metadata.sequence.stream,
            "subject": raw.subject,
            "headers": orjson.dumps(dict(raw.headers or {})).decode(),
            "body": raw.data.decode(errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}"),
            "error": place_of(error),
        }
        try:
            async with transaction(self._database) as session:
                connection = await session.connection()
                await connection.execute(text(_DEAD_LETTER.format(schema=self._database.schema)), letter)
        except (SQLAlchemyError, OSError) as failure:
            log.warning("work.dead_letter_failed", consumer=self.durable, error=type(failure).__name__)
            raise _later(raw.metadata.num_delivered) from None
        log.error("work.dead_letter", consumer=self.durable, subject=raw.subject, error=letter["error"])
        raise RejectMessage


def _later(tries: int) -> NackMessage:
    return NackMessage(delay=BACK_OFF_S[min(tries, len(BACK_OFF_S)) - 1])


def _settle(waiting: _Waiting, error: Exception | None) -> None:
    if waiting.done.done():  # its message was given up meanwhile
        return
    if error is None:
        waiting.done.set_result(None)
    else:
        waiting.done.set_exception(error)


def place_of(error: Exception) -> str:
    """Class and place of an error. Not its text: a database error's holds the row's values."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = next((frame for frame in reversed(frames) if "watchword" in frame.filename), frames[-1] if frames else None)
    where = f" at {ours.filename.rpartition('/')[2]}:{ours.lineno}" if ours else ""
    return type(error).__name__ + where
