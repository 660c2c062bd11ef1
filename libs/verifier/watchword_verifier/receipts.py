"""Receipts: this verifier tells the issuer how far it has applied the feed, and which keys it knows.

So a revoking call can wait until nobody accepts what it ended, and a new key signs when everyone knows it. A report
that fails hurts nobody but the one who waits for it.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

import structlog

from watchword_verifier.client import IssuerUnavailable
from watchword_verifier.feeds import HttpFeed
from watchword_verifier.pace import Pace
from watchword_verifier.staleness import Policies

log = structlog.get_logger()

EVERY_S: Final = 1.0
_AFTER_FAILURE_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a verifier stands: what it has applied, the keys that it would accept, whether it is within its bound."""

    position: int
    kids: list[str]
    fresh: bool


class Receipts:
    """Reports whenever something was applied, and once a second."""

    def __init__(
        self,
        http: HttpFeed,
        *,
        name: str,
        bound_s: float,
        policies: Policies,
        standing: Callable[[], Standing],
    ) -> None:
        """name: as registered at the issuer, or any other, which is then this client's own.

        Of several policies the most lenient is reported: who accepts anything while it is stale is waited for.
        """
        audience, policy = policies.most_lenient()
        self._http = http
        self.instance = uuid4().hex
        self._about = {
            "name": name,
            "instance": self.instance,
            "audience": audience,
            "staleness_bound_s": bound_s,
            "policy": policy.value,
        }
        self._standing = standing
        self._stirred = asyncio.Event()
        self._said = False

    def soon(self) -> None:
        """Something was applied or learned."""
        self._stirred.set()

    async def run(self) -> None:
        """Reports until cancelled."""
        pace = Pace()
        while True:
            pace.reported(news=self._stirred.is_set())
            self._stirred.clear()
            now = self._standing()
            try:
                if now.position:  # before the first snapshot there is nothing to say
                    await self._http.report(
                        {**self._about, "position": now.position, "kids": now.kids, "fresh": now.fresh}
                    )
                self._said = False
            except IssuerUnavailable as error:
                if not self._said:
                    log.info("receipts.not_taken", error=str(error))
                self._said = True
                await asyncio.sleep(_AFTER_FAILURE_S)
            await asyncio.sleep(pace.pause_s)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EVERY_S):
                    await self._stirred.wait()

    async def leave(self) -> None:
        """Nobody waits for this verifier any more."""
        with contextlib.suppress(IssuerUnavailable, TimeoutError):
            async with asyncio.timeout(1.0):
                await self._http.leave(self.instance)
