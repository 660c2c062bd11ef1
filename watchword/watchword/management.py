"""The management port: is the process alive, is it ready, and what Prometheus asks for."""

import asyncio
import json
import time
from collections.abc import Awaitable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from sqlalchemy import text

from watchword.composition import Process
from watchword.ends import End, look, soonest
from watchword_database import Database, followers, transaction
from watchword_database.outages import note_interruption
from watchword_events.names import EPOCH_SHIFT
from watchword_runtime.service import Receive, Scope, Send
from watchword_runtime.telemetry import counter, gauge

if TYPE_CHECKING:
    from prometheus_client.core import Metric

_ENDS_EVERY_S: Final = 300.0
_PATIENCE_S: Final = 2.0  # a scrape is not held up by a database that is away
_LEDGER: Final = text("SELECT position FROM bus.ledger")
_OUTBOX: Final = """
SELECT (SELECT count(*) FROM {schema}.outbox WHERE published_at IS NULL),
       (SELECT coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0) FROM {schema}.outbox
         WHERE published_at IS NULL),
       (SELECT count(*) FROM {schema}.dead_letter)
"""


class Management:
    """ASGI: GET /livez, /startupz, /readyz (also /healthz) and /metrics, on a port of its own, never by the gateway.

    /startupz is /readyz until that was well once: a start that takes long is no reason to start again.
    """

    def __init__(self, process: Process) -> None:
        self._process = process
        self._was_ready = False
        self._ends: tuple[float, list[End]] = (-_ENDS_EVERY_S, [])

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Answers 200, or 503 with the reasons when the process is not ready."""
        match scope["path"]:
            case "/livez":
                await _answer(send, 200, "application/json", b'{"status":"alive"}')
            case "/startupz" if self._was_ready:
                await _answer(send, 200, "application/json", b'{"status":"started"}')
            case "/readyz" | "/healthz" | "/startupz":
                waiting = self._process.waiting_for()
                self._was_ready = self._was_ready or not waiting
                body = {"status": "waiting" if waiting else "ready", "waiting_for": waiting}
                await _answer(send, 503 if waiting else 200, "application/json", json.dumps(body).encode())
            case "/metrics":
                facts = [*self._known(), *await self._asked()]
                await _answer(send, 200, "text/plain; version=0.0.4", self._process.shared.telemetry.text(facts))
            case _:
                await _answer(send, 404, "application/json", b'{"status":"not found"}')

    def _known(self) -> "Iterator[Metric]":
        """What this process knows without asking."""
        feed = self._process.shared.feed
        ready = {(each.name.value,): float(not each.ready()) for each in self._process.services}
        yield gauge("watchword_ready", "Whether the service is ready here", ready, "service")
        yield gauge("watchword_feed_position", "Position of the ledger that is applied here", {(): feed.position})
        yield gauge("watchword_feed_ready", "Whether it is known here what was revoked", {(): float(feed.ready)})
        numbered = feed.position % (1 << EPOCH_SHIFT)
        yield counter("watchword_revocations", "Entries of the ledger in its epoch", {(): numbered})
        relayed = {(each.name.value,): each.relayed() for each in self._process.services}
        yield counter("watchword_events_relayed", "Events published from here", relayed, "service")

    async def _asked(self) -> "list[Metric]":
        """What PostgreSQL knows; nothing while it is away."""
        asked: list[Awaitable[list[Metric]]] = [self._ledger(), self._outboxes(), self._ending()]
        try:
            async with asyncio.timeout(_PATIENCE_S):
                return [metric for found in await asyncio.gather(*asked) for metric in found]
        except Exception as error:
            note_interruption("metrics.incomplete", error)
            return []

    async def _ledger(self) -> "list[Metric]":
        async with transaction(self._process.database) as session:
            position = int((await (await session.connection()).execute(_LEDGER)).scalar_one())
            behind = await followers.behind(session, position)
        lag = max(0, position - self._process.shared.feed.position)
        silent = sum(each.is_unreachable for each in behind)
        return [
            gauge("watchword_feed_lag_entries", "Entries of the ledger that are not applied here", {(): lag}),
            gauge("watchword_receipts_behind", "Followers that have not applied all of it", {(): len(behind) - silent}),
            gauge("watchword_receipts_silent", "Followers that were not heard for too long", {(): silent}),
        ]

    async def _outboxes(self) -> "list[Metric]":
        rows = {
            (each.name.value,): await _outbox(each.database)
            for each in self._process.services
            if each.database is not None
        }
        names = (
            ("watchword_outbox_pending", "Events that are committed and not published"),
            ("watchword_outbox_oldest_seconds", "Age of the oldest of them"),
            ("watchword_dead_letters", "Events that no consumer could deal with"),
        )
        return [
            gauge(name, said, {labels: row[n] for labels, row in rows.items()}, "service")
            for n, (name, said) in enumerate(names)
        ]

    async def _ending(self) -> "list[Metric]":
        """They change by hand, so they are not looked for at each scrape."""
        looked_at, ends = self._ends
        if time.monotonic() - looked_at >= _ENDS_EVERY_S:
            databases = [each.database for each in self._process.services if each.database is not None]
            ends = await look(databases, datetime.now(UTC))
            self._ends = (time.monotonic(), ends)
        said = "When the first of a kind of certificate or token ends"
        return [gauge("watchword_first_end_timestamp_seconds", said, soonest(ends), "kind")]


async def _outbox(database: Database) -> tuple[float, ...]:
    async with transaction(database) as session:
        row = (await (await session.connection()).execute(text(_OUTBOX.format(schema=database.schema)))).one()
    return tuple(float(value) for value in row)


async def _answer(send: Send, status: int, media: str, body: bytes) -> None:
    headers = [(b"content-type", media.encode()), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
