"""Work that one instance at a time does: whoever holds an advisory lock leads, the others stand by."""

import asyncio
from abc import ABC, abstractmethod
from typing import Final

import asyncpg
import structlog

from watchword_database.engine import Database
from watchword_database.outages import note_interruption
from watchword_database.tasks import end, woken

log = structlog.get_logger()

POLL_S: Final = 0.25  # the net for lost hints, and how often who stands by asks for the lock


class Leader(ABC):
    """Leads while it holds the lock, on a connection of its own; after an interruption it tries again."""

    def __init__(
        self, database: Database, *, name: str, lock: tuple[int, int], paused_ms: str, service: str | None = None
    ) -> None:
        """name: with which log lines begin.  lock: class and number.

        paused_ms: who asks nothing for so long stands still, and loses the lock; a process that does keeps its
        connections.
        """
        self._database = database
        self._name, self._about = name, {} if service is None else {"service": service}
        self._lock = lock
        self._paused_ms = paused_ms
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._said = ""
        self.leads = False

    @abstractmethod
    async def _work(self, connection: asyncpg.Connection) -> None:
        """What the leader does, for ever."""

    def wake(self) -> None:
        """The leader looks for work at once."""
        self._wake.set()

    def start(self) -> None:
        """Leads, or stands by, in the background until stop()."""
        self._task = asyncio.create_task(self._run(), name=self._name)

    async def stop(self) -> None:
        """The work has ended, and the lock is free for another instance."""
        await end(self._task)
        self._task = None

    async def _woken(self) -> None:
        """Somebody has called wake(), or it is time to look without that."""
        await woken(self._wake, POLL_S)

    async def _run(self) -> None:
        while True:
            try:
                await self._lead()
            except Exception as error:
                if self._said != type(error).__name__:  # an outage is told once, not four times a second
                    self._said = type(error).__name__
                    note_interruption(f"{self._name}.interrupted", error, **self._about)
            await asyncio.sleep(POLL_S)

    async def _lead(self) -> None:
        connection = await asyncpg.connect(
            self._database.dsn,
            command_timeout=5,
            timeout=5,
            server_settings={
                # The lock of a lost host is free after ten seconds, not after hours.
                "tcp_keepalives_idle": "5",
                "tcp_keepalives_interval": "2",
                "tcp_keepalives_count": "2",
                "idle_session_timeout": self._paused_ms,
                "idle_in_transaction_session_timeout": self._paused_ms,
            },
        )
        try:
            while not await connection.fetchval("SELECT pg_try_advisory_lock($1, $2)", *self._lock):
                await asyncio.sleep(POLL_S)
            self.leads, self._said = True, ""
            log.info(f"{self._name}.leading", **self._about)
            await self._work(connection)
        finally:
            self.leads = False
            connection.terminate()
