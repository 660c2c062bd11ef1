"""What an instance tells the others of itself: how far it has applied the ledger. Written behind, never waited for."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import asyncpg
import structlog

from watchword_database import followers
from watchword_verifier.clock import elapsed
from watchword_verifier.pace import Pace

log = structlog.get_logger()

EVERY_S: Final = 1.0
_PATIENCE_S: Final = 0.5  # a report must not keep its connection from reading the ledger


class Reports:
    """The reports of one instance. due: called when there is something to send."""

    def __init__(self, instance: str, name: str, *, bound_s: float, due: Callable[[], None]) -> None:
        self.kids: Callable[[], Sequence[str]] = tuple
        self._instance, self._name, self._bound_s, self._due = instance, name, bound_s, due
        self._sent_at = self.taken_at = float("-inf")  # the newest; the newest that was written
        self._planned: asyncio.TimerHandle | None = None
        self._wanted = False
        self._pace = Pace()
        self._said = ""

    def soon(self) -> None:
        """What changed is reported before long."""
        if self._planned is None:
            wait_s = max(0.0, self._sent_at + self._pace.pause_s - elapsed())
            self._planned = asyncio.get_running_loop().call_later(wait_s, self._want)

    def asked(self) -> None:
        """Somebody waits for the report."""
        self._pace.asked()
        if self._planned is not None:
            self._planned.cancel()
            self._planned = None
        self.soon()

    def _want(self) -> None:
        self._planned = None
        self._wanted = True
        self._due()

    @property
    def wait_s(self) -> float:
        """How long from now until a report is due in any case."""
        return max(0.0, self._sent_at + EVERY_S - elapsed())

    async def send_if_due(self, connection: "asyncpg.Connection", position: int) -> None:
        """What has not been reported is, if it is time. A failure is logged and tried again a second later."""
        if self._wanted or self.wait_s <= 0:
            await self.send(connection, position)

    async def send(self, connection: "asyncpg.Connection", position: int) -> None:
        """This instance is there, and stands at the position. A failure is logged and tried again a second later."""
        self._pace.reported(news=self._wanted)
        self._wanted = False
        self._sent_at = elapsed()
        kids = tuple(self.kids())
        said = followers.Report(
            self._instance, "service", self._name, position, self._bound_s, policy="refuse", kids=kids or None
        )
        try:
            await followers.report(connection, said, timeout=_PATIENCE_S)
        except (asyncpg.PostgresError, TimeoutError) as error:
            if self._said != type(error).__name__:
                self._said = type(error).__name__
                log.warning("feed.not_reported", error=self._said)
            return
        self._said, self.taken_at = "", self._sent_at

    async def leave(self, connection: "asyncpg.Connection") -> None:
        """Nobody waits for this instance any more."""
        if self._planned is not None:
            self._planned.cancel()
            self._planned = None
        try:
            await followers.leave(connection, self._instance, timeout=_PATIENCE_S)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            log.warning("feed.not_signed_off", error=type(error).__name__)
