"""Follows the revocation feed: snapshot, then stream; gaps, new epochs and staleness are noticed here.

What arrives live (SSE or NATS) is a hint about the next entry. It is applied when it continues what is applied already;
anything else makes us ask over HTTP. What came over NATS counts at once but is read again from the issuer within a
second, and a lift, which makes something live again, is only ever taken from there. So a lost, repeated, reordered or
forged message costs a request and can hide nothing.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

import structlog

from watchword_events.names import Position, epoch_of
from watchword_events.revocations import Claim, RevocationEntry, RevocationKind
from watchword_verifier.client import IssuerUnavailable
from watchword_verifier.pace import SOON_S, Pace
from watchword_verifier.revocations import RevocationSet

log = structlog.get_logger()

ASK_EVERY_S: Final = 1.0
# A snapshot may hold 100,000 entries: requests go on between pieces of about 2 ms.
_APPLY_AT_ONCE: Final = 500
_BELIEVED: Final = frozenset({RevocationKind.CUT.value, RevocationKind.STATE.value})
_RETRY_S: Final = (0.2, 5.0)
_RELOAD_WHEN_UNREADABLE_S: Final = 30.0
# Entries go a minute later than they might: clocks of issuer and verifier differ a little.
_RESERVE_S: Final = 60.0
# An entry's id alone does not tell it from another: after a back-up came back the same numbers are given out again.
_Identity = tuple[int, datetime]


@dataclass(frozen=True, slots=True)
class Page:
    """Entries as they came, and the position as of which they are complete."""

    position: Position
    entries: Sequence[Mapping[str, object]]


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest position, and how old that knowledge was when it was told. jwks: which JWKS the issuer has now."""

    position: Position
    age_s: float
    jwks: str = ""


class Ledger(Protocol):
    """Where snapshots and missing entries come from. All raise IssuerUnavailable."""

    async def snapshot(self) -> Page: ...
    async def after(self, position: int) -> Page: ...


class Follower:
    """The state of the feed in memory, and how old it may be."""

    def __init__(
        self,
        ledger: Ledger,
        exchange: Callable[[], Awaitable[Newest]],
        *,
        bound_s: float,
        leeway_s: float,
        now: Callable[[], float],
        elapsed: Callable[[], float],
        on_key: Callable[[], None],
        on_revoked_key: Callable[[], None] = lambda: None,
        on_jwks: Callable[[str], None] = lambda _jwks: None,
    ) -> None:
        """exchange: tells the issuer where we stand, then what is newest there.  bound_s: how old the state may be.

        on_key: called when something may have happened to a signing key.  on_revoked_key: when an entry says that one
        was revoked.  on_jwks: with the name of the issuer's present JWKS, once a second.
        """
        self.revoked = RevocationSet(tokens_only=True)
        self.loaded = asyncio.Event()
        self.has_loaded = False  # ever: what was known then may still be better than nothing
        self.is_closed = False
        self.on_key = on_key
        self._on_revoked_key = on_revoked_key
        self._on_jwks = on_jwks
        self._ledger = ledger
        self._exchange = exchange
        self._bound_s = bound_s
        self._leeway_s = leeway_s
        self._now = now
        self._elapsed = elapsed
        self._as_of = float("-inf")  # everything revoked before this moment of our own clock is applied
        self._answers: list[tuple[int, float]] = []  # (position, as of when) not covered yet
        self._behind_since: float | None = None
        self._unreadable_since: float | None = None
        self._heard = 0
        self._read = 0  # up to here the issuer itself has told us
        self._read_last: _Identity | None = None  # of the entry there, where it was told
        self._has_lost = False  # the ledger has something else there now: nothing of this epoch is taken any more
        self._believed: dict[int, _Identity] = {}  # by position, of what came over NATS since
        self._confirmed_at = float("-inf")  # when what came over NATS was last asked for at the issuer
        self._wanted = asyncio.Event()
        self._stirred = asyncio.Event()
        self._is_asked = asyncio.Event()
        self._pace = Pace()
        self._was_fresh = False

    @property
    def is_fresh(self) -> bool:
        """Whether all that was revoked longer ago than the bound has been applied here."""
        return self._elapsed() - self._as_of <= self._bound_s and self.revoked.stale_reason is None

    def close(self) -> None:
        """Stale for good: from now on nobody is told how far it is, so nobody waits for it."""
        self.is_closed, self._bound_s = True, float("-inf")

    async def run(self) -> None:
        """Keeps the state complete and dated, until cancelled."""
        self._wanted.set()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep())
            group.create_task(self._ask())

    def received(self, body: bytes, *, from_issuer: bool) -> None:
        """A live message said that this entry came next.  from_issuer: it came over HTTP, not from a broker."""
        try:
            entry = RevocationEntry.model_validate_json(body)
        except ValueError:
            self.look()
            return
        applied = self.revoked.position
        if not self.loaded.is_set():
            self._heard = max(self._heard, entry.position)
        elif entry.position == applied + 1 and from_issuer and self._read == applied:
            self._apply(entry)
            self._read, self._read_last = entry.position, _identity(entry)
            self._cover()
        elif entry.position == applied + 1 and not from_issuer and entry.kind in _BELIEVED:
            self._apply(entry)
            self._believed[entry.position] = _identity(entry)
        elif entry.position > applied:
            self.look()
        elif self._believed.get(entry.position, _identity(entry)) != _identity(entry):
            self._reload("contradiction")

    def heard(self, position: int) -> None:
        """A live message said that the feed has got this far."""
        if position > self.revoked.position:
            self.look()

    def look(self) -> None:
        """There may be something new: ask for it now."""
        self._wanted.set()

    def report_soon(self) -> None:
        """Something was applied or learned: the issuer is told before long."""
        self._stirred.set()

    def asked(self) -> None:
        """Somebody waits for our receipt: the issuer is told now."""
        self._pace.asked()
        self._stirred.set()
        self._is_asked.set()

    def _apply(self, entry: RevocationEntry) -> None:
        self.revoked.apply(entry)
        self.report_soon()
        if entry.claim == Claim.KID:
            self._on_revoked_key()

    def _reload(self, why: str) -> None:
        """Nothing is fresh until a snapshot has been loaded again."""
        log.warning("revocation_feed.reload", why=why, position=self.revoked.position)
        self.loaded.clear()
        self._as_of = float("-inf")
        self._answers.clear()
        self._behind_since = self._unreadable_since = None
        self._wanted.set()

    async def _keep(self) -> None:
        """Loads and fills whenever that is wanted, and tries again for as long as it takes."""
        delay_s = _RETRY_S[0]
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                await (self._fill() if self.loaded.is_set() else self._load())
                delay_s = _RETRY_S[0]
            except IssuerUnavailable as error:
                log.info("revocation_feed.unavailable", error=str(error))
                await asyncio.sleep(delay_s)
                delay_s = min(2 * delay_s, _RETRY_S[1])
                self._wanted.set()

    async def _load(self) -> None:
        """Note the newest position, load a snapshot that is not older, and follow from there.

        Nor may it be older than what the issuer told us before: a ledger that lost entries (a back-up came back) knows
        less than we do, until a new epoch ends everything that was made before.
        """
        asked = self._elapsed()
        noted = await self._exchange()
        page = await self._ledger.snapshot()
        if page.position < noted.position:
            raise IssuerUnavailable("the snapshot is older than the feed")
        if page.position < self._read or (self._has_lost and epoch_of(page.position) == epoch_of(Position(self._read))):
            raise IssuerUnavailable("the ledger has lost entries: `watchword restore` makes it whole")
        fresh, last = RevocationSet(tokens_only=True), None
        for start in range(0, len(page.entries), _APPLY_AT_ONCE):
            for raw in page.entries[start : start + _APPLY_AT_ONCE]:
                entry = _read(raw, fresh)
                if entry is not None:
                    fresh.apply(entry)
                    last = _identity(entry) if entry.position == page.position else last
            await asyncio.sleep(0)
        # Loading much may take longer than the bound: date the state once more, so that it does not start out stale.
        asked_again = self._elapsed()
        newest = await self._exchange()
        self.revoked.adopt(fresh, page.position)
        self.report_soon()
        self._read, self._read_last, self._has_lost = page.position, last, False
        self._believed.clear()
        self._as_of = asked - noted.age_s
        self._answers = [(newest.position, asked_again - newest.age_s)]
        self._cover()
        self.loaded.set()
        self.has_loaded = True
        self.on_key()
        log.info("revocation_feed.loaded", position=page.position, values=len(self.revoked))
        self.heard(max(self._heard, newest.position))
        self._heard = 0

    async def _fill(self) -> None:
        """What came after what the issuer told us last is fetched and applied; when that was a part, soon the rest."""
        unconfirmed, before, was, last = set(self._believed), self._read, self._read_last, None
        self._confirmed_at = self._elapsed()
        page = await self._ledger.after(max(0, before - 1))  # the last one once more: it must be what it was
        if epoch_of(page.position) > epoch_of(self.revoked.position):
            self._reload("epoch")
            return
        for raw in page.entries:
            entry = _read(raw, self.revoked)
            if entry is None:
                continue
            if entry.position == before:
                if was not in {None, _identity(entry)}:
                    self._has_lost = True
                    self._reload("roll-back")
                    return
                continue
            if self._believed.pop(entry.position, _identity(entry)) != _identity(entry):
                self._reload("contradiction")
                return
            self._apply(entry)
            last = entry
        is_all = page.position <= before
        if any(is_all or position <= page.position for position in unconfirmed & self._believed.keys()):
            # It was published after it had been committed, so it should have been there.
            self._reload("contradiction")
            return
        if page.position > self._read:  # the stream may have told us more meanwhile
            self._read = page.position
            self._read_last = _identity(last) if last is not None and last.position == page.position else None
        self.revoked.advance(page.position)
        self.report_soon()
        self._cover()
        if self._read > before and self._answers:
            self.look()

    async def _ask(self) -> None:
        """Soon after something was applied, and once a second: the issuer is told, and tells the newest position.

        It is dated by our own clock at the moment of asking, less its stated age.
        """
        while True:
            self._is_asked.clear()
            self._pace.reported(news=self._stirred.is_set())
            self._stirred.clear()
            if self.loaded.is_set():
                asked = self._elapsed()
                try:
                    newest = await self._exchange()
                except IssuerUnavailable as error:
                    log.debug("revocation_feed.unanswered", error=str(error))
                    await asyncio.sleep(ASK_EVERY_S - self._pace.pause_s)
                else:
                    self._answered(newest, asked)
                    self._on_jwks(newest.jwks)
            self.revoked.drop_expired(_date(self._now() - self._leeway_s - _RESERVE_S))
            self._report()
            await asyncio.sleep(SOON_S)
            await woken(self._is_asked, self._pace.pause_s - SOON_S)
            await woken(self._stirred, ASK_EVERY_S)

    def _answered(self, newest: Newest, asked: float) -> None:
        applied = self.revoked.position
        if not self.loaded.is_set():
            return
        if epoch_of(newest.position) > epoch_of(applied):
            self._reload("epoch")
            return
        # Another instance may be a moment behind the one that told us last; only what lasts is a roll-back.
        if newest.position >= applied:
            self._behind_since = None
        elif self._behind_since is None:
            self._behind_since = asked
        elif asked - self._behind_since > self._bound_s:
            self._reload("roll-back")
            return
        if self.revoked.stale_reason is None:
            self._unreadable_since = None
        elif self._unreadable_since is None:
            self._unreadable_since = asked
        elif asked - self._unreadable_since > _RELOAD_WHEN_UNREADABLE_S:
            self._reload("unreadable entry")
            return
        if newest.position >= self._read:  # who knows less than we were told dates nothing
            self._answers = [*self._answers[-20:], (newest.position, asked - newest.age_s)]
        if self._believed and asked - self._confirmed_at >= ASK_EVERY_S:
            self.look()
        self.heard(newest.position)
        self._cover()

    def _cover(self) -> None:
        """Date the state by the youngest answer that is covered by what the issuer itself has told us."""
        covered = [as_of for position, as_of in self._answers if position <= self._read]
        self._answers = [(position, as_of) for position, as_of in self._answers if position > self._read]
        self._as_of = max([self._as_of, *covered])

    def _report(self) -> None:
        if self.is_fresh != self._was_fresh:
            self._was_fresh = not self._was_fresh
            if self._was_fresh:
                self.on_key()  # who was silent was not waited for by a key that signs now
            event = "revocation_feed.fresh" if self._was_fresh else "revocation_feed.stale"
            log.warning(event, position=self.revoked.position, reason=self.revoked.stale_reason)


async def woken(event: asyncio.Event, within_s: float) -> None:
    """Somebody has set the event, or the time is over."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            await event.wait()


def _read(raw: Mapping[str, object], into: RevocationSet) -> RevocationEntry | None:
    """The entry; one that cannot be read at all makes the set stale, as one of an unknown kind does."""
    try:
        return RevocationEntry.model_validate(raw)
    except ValueError:
        into.stale_reason = "an entry cannot be read"
        return None


def _identity(entry: RevocationEntry) -> _Identity:
    return entry.id, entry.at


def _date(seconds: float) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
