"""Receipts: this verifier tells the issuer how far it has applied the feed, and which keys it knows.

So a revoking call can wait until nobody accepts what it ended, and a new key signs when everyone knows it. The answer
dates what is known here: whoever is fresh was heard, and is waited for.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from uuid import uuid4

from watchword_verifier.client import IssuerUnavailable
from watchword_verifier.feeds import HttpFeed
from watchword_verifier.follower import Newest
from watchword_verifier.staleness import Policies


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a verifier stands: what it has applied, the keys that it would accept, whether it is within its bound."""

    position: int
    kids: list[str]
    fresh: bool


class Receipts:
    """The reports of one verifier."""

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
        self._under_way = 0  # receipts that were sent and not answered yet
        self._all_answered = asyncio.Event()
        self._all_answered.set()
        self._has_left = False

    async def exchange(self) -> Newest:
        """The issuer knows where we stand, at 0 before the first snapshot, and tells how far it is.

        Raises IssuerUnavailable, also where the receipt is refused.
        """
        if self._has_left:
            raise IssuerUnavailable("the verifier is closed")
        now = self._standing()
        self._under_way += 1
        self._all_answered.clear()
        try:
            return await self._http.report(
                {**self._about, "position": now.position, "kids": now.kids, "fresh": now.fresh}
            )
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._all_answered.set()

    async def leave(self) -> None:
        """Nobody waits for this verifier any more. Receipts end before: one that came later would make it known again.

        Call it before what sends them is cancelled.
        """
        self._has_left = True
        with contextlib.suppress(IssuerUnavailable, TimeoutError):
            async with asyncio.timeout(1.0):
                await self._all_answered.wait()
                await self._http.leave(self.instance)
