"""Sessions that an entry of the ledger ended are over in the table as well, a second later, and said to be.

Whoever writes such an entry (an administrator by hand, directory, admin) knows no session. They are refused from that
moment by the entry alone; applications, webhooks and the audit hear of it by this.

Every instance looks at each entry twice: when it has applied it, and a minute later, when no sign-in is on its way any
more that began before the entry. Which instance ends a session is decided by its row. An instance that starts looks at
whatever can have ended a session that is open, so that nobody has to remember how far the others had come.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

import structlog

from watchword_authz import closing_store, sessions
from watchword_authz.closing_store import Entry
from watchword_authz.models import EndReason
from watchword_database.engine import Database, transaction
from watchword_events.revocations import Claim, RevocationKind
from watchword_runtime.clock import Clock
from watchword_runtime.feed import Feed
from watchword_runtime.rounds import Rounds

log = structlog.get_logger()

AGAIN_AFTER: Final = timedelta(minutes=1)
_LOOK_EVERY_S: Final = 1.0  # at a number in memory, as long as nothing is revoked
_ENTRIES_AT_ONCE: Final = 500
_SESSIONS_AT_ONCE: Final = 200


class Closing(Rounds):
    """Ends what the ledger ended, in the background; any number of instances may."""

    def __init__(self, database: Database, *, feed: Feed, now: Clock) -> None:
        super().__init__(every_s=_LOOK_EVERY_S, failure="closing.interrupted")
        self._database, self._feed, self._now = database, feed, now
        self._looked: int | None = None  # at entries up to here; None before the first round
        self._again_from = self._again_to = 0
        self._again_at = now()

    async def once(self) -> None:
        """Every session that the applied entries ended is over."""
        if not self._feed.ready:  # nobody is live then, and nobody is dead
            return
        position = self._feed.position
        if self._looked is None:
            async with transaction(self._database) as session:
                oldest = await closing_store.oldest_rev(session)
            self._looked = self._again_from = self._again_to = position if oldest is None else oldest
        if position > self._looked:
            await self._go_through(self._looked, position)
            self._looked = position
        if (now := self._now()) >= self._again_at:
            await self._go_through(self._again_from, self._again_to)
            self._again_from, self._again_to = self._again_to, self._looked
            self._again_at = now + AGAIN_AFTER

    async def _go_through(self, after: int, upto: int) -> None:
        while after < upto:
            async with transaction(self._database) as session:
                entries = await closing_store.entries_between(session, after, upto, limit=_ENTRIES_AT_ONCE)
            for (claim, reason, issued_before), named in _alike(entries).items():
                await self._close(claim, reason, issued_before, named)
            after = entries[-1].position if len(entries) == _ENTRIES_AT_ONCE else upto

    async def _close(
        self, claim: Claim, reason: EndReason, issued_before: datetime | None, named: dict[str, int]
    ) -> None:
        """The sessions that entries of one claim ended are over. named: the newest position, by value."""
        after, closed = "", 0
        while True:
            async with transaction(self._database) as session:
                found = await closing_store.lock_named(
                    session,
                    claim,
                    named,
                    before=max(named.values()),
                    issued_before=issued_before,
                    after=after,
                    limit=_SESSIONS_AT_ONCE,
                )
                closed += await sessions.end_dead(session, found, reason, feed=self._feed, now=self._now())
            if len(found) < _SESSIONS_AT_ONCE:
                break
            after = found[-1].id
        if closed:
            log.info("sessions.closed", claim=claim.value, reason=reason.value, count=closed)


def _alike(entries: Iterable[Entry]) -> dict[tuple[Claim, EndReason, datetime | None], dict[str, int]]:
    """Entries that one statement finds the sessions of: the newest position, by value."""
    found: dict[tuple[Claim, EndReason, datetime | None], dict[str, int]] = {}
    for entry in entries:
        found.setdefault((entry.claim, _reason(entry), entry.issued_before), {})[entry.value] = entry.position
    return found


def _reason(entry: Entry) -> EndReason:
    if entry.claim is not Claim.SUB:
        return EndReason.ADMINISTRATOR
    return EndReason.USER_DISABLED if entry.kind is RevocationKind.STATE else EndReason.EVERYWHERE
