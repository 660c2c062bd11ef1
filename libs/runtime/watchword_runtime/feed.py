"""What has been revoked, as this instance knows it. The table is the truth, NATS only brings it sooner.

Positions are dense: an entry that continues what was applied is applied as it is heard, anything else makes this
instance read the table, and the table is read every second in any case, four times as often while NATS is away. What
was heard and does not stand in the table is thrown away with a reload. A lift, which makes something live again, is
taken from the table only. What has been applied is reported to the others (`bus.followers`), behind the applying.

A table that ends before what was read from it has lost entries: a back-up was restored, or PostgreSQL failed over to a
server that lagged. Nothing is live then until `watchword restore` has begun a new epoch.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg
import structlog
from pydantic import ValidationError

from watchword_database.engine import Database
from watchword_database.ids import new_id
from watchword_database.outages import note_interruption
from watchword_database.tasks import end
from watchword_events.names import Position, epoch_of
from watchword_events.revocations import Claim, RevocationEntry, RevocationKind
from watchword_events.teams import RECEIPTS_SUBJECT
from watchword_runtime.broker import Broker
from watchword_runtime.clock import Clock, utc_now
from watchword_runtime.ledger import ALL, HEAD, NEWS, entry_of
from watchword_runtime.reports import Reports
from watchword_verifier.clock import elapsed
from watchword_verifier.revocations import RevocationSet

log = structlog.get_logger()

SUBJECT: Final = "feed.revocation"
POLL_S: Final = 1.0
POLL_WITHOUT_NATS_S: Final = 0.25
POLL_WHILE_SETTLING_S: Final = 0.05
# Who has not seen the table for so long cannot know what was revoked, and refuses (design section 4).
STALE_S: Final = 5.0
_START_S: Final = 5.0
_STOP_S: Final = 1.0
_COMMAND_S: Final = 2.0
_ROLLED_BACK_S: Final = 10.0  # an announced entry that the table does not show by then will not come
_UNASKED: Final = 1_000  # applied entries that nobody has asked about with settle() yet
_BELIEVED: Final = frozenset({RevocationKind.CUT.value, RevocationKind.STATE.value})
_CLAIMS: Final = frozenset(claim.value for claim in Claim)
_CHUNK: Final = 1_000  # rows at a time: a long ledger must not hold up the event loop


# What tells an entry from another that was given its position after the table had lost it: id and time.
_Identity = tuple[int, datetime]


@dataclass(slots=True)
class _Announced:
    """An entry without a position yet: written here in an open transaction, or seen in the table."""

    claim: str
    value: str
    since: float


class FeedAway(ConnectionError):
    """What has been revoked cannot be known at this moment: nobody is taken for live, and nobody for dead."""


class Feed:
    """The revocation ledger in memory. Nothing is live before the table was loaded, or when it cannot be followed.

    instance, name: as whom it reports: the name of the process and, for people, what it serves.
    """

    def __init__(
        self, database: Database, broker: Broker, now: Clock = utc_now, *, instance: str = "", name: str = ""
    ) -> None:
        self._database = database
        self._broker = broker
        self._now = now
        self._set = RevocationSet()
        self._loaded = asyncio.Event()
        self._reload = True
        self._read = 0  # the position up to which the table itself was read
        self._read_last: _Identity | None = None  # of the entry there, if it is known
        self._rolled_back = False
        self._known_at = float("-inf")  # when the reading of what is known began
        self._heard: dict[int, RevocationEntry] = {}  # by position: what was applied from NATS and not yet read
        self._announced: dict[int, _Announced] = {}
        self._settling: dict[int, asyncio.Future[None]] = {}
        self._said = ""
        self._stirred = asyncio.Event()
        self._looking = False
        self._read_at = float("-inf")
        self._on_epoch: list[Callable[[], None]] = []
        self._on_key: list[Callable[[], None]] = []
        self._leaving = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._reports = Reports(
            instance or new_id(), name or database.service.value, bound_s=STALE_S, due=self._stirred.set
        )
        broker.listen(SUBJECT, self._on_heard)
        broker.listen(RECEIPTS_SUBJECT, lambda _data: self._reports.asked())
        broker.on_connected(self._look)

    @property
    def kids(self) -> Callable[[], Sequence[str]]:
        """The keys that this instance accepts, reported with its position; none unless somebody sets it."""
        return self._reports.kids

    @kids.setter
    def kids(self, kids: Callable[[], Sequence[str]]) -> None:
        self._reports.kids = kids

    def on_epoch(self, call: Callable[[], None]) -> None:
        """`call` when a new epoch has begun: a back-up came back, and what was read before it may never have been."""
        self._on_epoch.append(call)

    def on_key(self, call: Callable[[], None]) -> None:
        """`call` when an entry about a key was applied."""
        self._on_key.append(call)

    def report_soon(self) -> None:
        """What `kids` says has changed: it is reported at once, not at the next second."""
        self._reports.soon()

    @property
    def position(self) -> Position:
        """The position applied here. Note it BEFORE reading the state you decide on; stamp it as `rev`."""
        return self._set.position

    @property
    def ready(self) -> bool:
        """True when the table was loaded and is being followed."""
        return self._loaded.is_set() and self._is_fresh and self._set.stale_reason is None

    @property
    def _is_fresh(self) -> bool:
        """Who was not heard is not waited for, so it must not decide either."""
        return elapsed() <= min(self._known_at, self._reports.taken_at) + STALE_S

    def require(self) -> None:
        """Nothing is decided by an instance that cannot know what was revoked. Raises FeedAway (503)."""
        if not self.ready:
            raise FeedAway

    def is_live(self, claims: Mapping[str, object], kid: str | None = None) -> bool:
        """Whether nothing revoked matches. claims: as `RevocationSet.is_live`.

        A claim that is missing is not matched; without `rev` any cut that matches kills. False while not ready.
        """
        return self._is_fresh and self._set.stale_reason is None and self._set.is_live(claims, kid)

    def is_revoked(self, claims: Mapping[str, object], kid: str | None = None) -> bool:
        """The opposite of is_live, for answers that say why. Raises FeedAway: nobody is revoked while nobody knows."""
        live = self.is_live(claims, kid)
        if not live:
            self.require()
        return not live

    def is_ended(self, claim: Claim, value: str) -> bool:
        """Whether a state holds exactly this value dead, whatever else was revoked. Raises FeedAway."""
        self.require()
        return self._set.is_ended(claim, value)

    def is_cut(self, claim: Claim, value: str, rev: int) -> bool:
        """Whether the ledger holds a cut of exactly this value after `rev`: whoever wants it dead need not write again.

        Not the opposite of is_live: what is announced counts as dead and may yet be rolled back.
        """
        return self.ready and self._set.is_cut(claim, value, rev)

    def pend(self, entry_id: int, claim: Claim, value: str) -> None:
        """From now on the value counts as dead here, until the entry has been applied or was rolled back.

        Call it inside the transaction that wrote the entry, directly after `bus.revoke`.
        """
        self._settling.setdefault(entry_id, asyncio.get_running_loop().create_future())
        self._announce(entry_id, claim, value)

    async def settle(self, entry_ids: Iterable[int], timeout: float = 1.0) -> bool:
        """Waits until this instance has applied the entries; False when that took longer (they still count as dead).

        Call it after the transaction.
        """
        loop = asyncio.get_running_loop()
        wanted = {entry_id: self._settling.setdefault(entry_id, loop.create_future()) for entry_id in entry_ids}
        if not wanted:
            return True
        # Normally the leader numbers and publishes an entry within milliseconds; else look for it.
        delay = POLL_WHILE_SETTLING_S if self._broker.connected else 0.0
        looking = loop.call_later(delay, self._look)
        _done, missing = await asyncio.wait(wanted.values(), timeout=timeout)
        looking.cancel()
        for entry_id in wanted:
            self._settling.pop(entry_id, None)
        return not missing

    async def start(self) -> None:
        """The table is loaded if PostgreSQL answers; the feed is followed in the background."""
        self._task = asyncio.create_task(self._follow(), name="feed")
        try:
            await asyncio.wait_for(self._loaded.wait(), _START_S)
        except TimeoutError:
            log.warning("feed.not_loaded", waited_s=_START_S)

    async def stop(self) -> None:
        """The feed is no longer followed; nothing is live, and nobody waits for this instance."""
        self._leaving.set()
        self._known_at = float("-inf")
        self._stirred.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=_STOP_S)
        await end(self._task)
        self._task = None

    def _look(self) -> None:
        """The table is read at once."""
        self._looking = True
        self._stirred.set()

    # What is heard ---------------------------------------------------------------------------------------------------

    def _on_heard(self, data: bytes) -> None:
        if not self._loaded.is_set():
            self._look()
            return
        try:
            entry = RevocationEntry.model_validate_json(data)
        except ValidationError:
            log.warning("feed.not_understood")
            self._look()
            return
        if entry.position == self._set.position + 1 and entry.kind in _BELIEVED and entry.claim in _CLAIMS:
            self._heard[entry.position] = entry
            self._apply(entry)
        elif entry.position > self._set.position:
            self._look()
        elif self._heard.get(entry.position, entry).id != entry.id:
            self._contradicted(entry.position)

    def _contradicted(self, position: int) -> None:
        """Something that was heard is not so: forget everything that was not read."""
        log.error("feed.contradicted", position=position)
        self._reload = True
        self._look()

    def _apply(self, entry: RevocationEntry) -> None:
        self._set.apply(entry)
        self._reports.soon()
        self._announced.pop(entry.id, None)
        settling = self._settling.get(entry.id)
        if settling is not None and not settling.done():
            settling.set_result(None)
        for call in self._on_key if entry.claim == Claim.KID else ():
            call()

    # What is announced -----------------------------------------------------------------------------------------------

    def _announce(self, entry_id: int, claim: str, value: str) -> None:
        if entry_id not in self._announced:
            self._set.pend(claim, value, entry_id)
            self._announced[entry_id] = _Announced(claim, value, elapsed())

    def _forget_announced(self, still_there: frozenset[int]) -> None:
        """What was announced and neither stands in the table nor was applied has been rolled back."""
        before = elapsed() - _ROLLED_BACK_S
        for entry_id, announced in list(self._announced.items()):
            if entry_id in still_there:
                announced.since = elapsed()
            elif announced.since < before:
                self._set.unpend(announced.claim, announced.value, entry_id)
                del self._announced[entry_id]
                self._settling.pop(entry_id, None)
        if len(self._settling) > _UNASKED:
            self._settling = {i: future for i, future in self._settling.items() if not future.done()}

    # What is read ----------------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        said = False
        while not self._leaving.is_set():
            try:
                connection = await asyncpg.connect(
                    self._database.dsn,
                    command_timeout=_COMMAND_S,
                    timeout=_COMMAND_S,
                    # Before the table's first ANALYZE a long ledger looks costly: compiling took 230 ms for each read.
                    server_settings={"jit": "off"},
                )
                try:
                    self._looking = True
                    while not self._leaving.is_set():
                        if not self._is_fresh:
                            # Who waits for all must know of an instance before it begins to accept anything.
                            await self._reports.send(connection, self.position)
                        if self._looking or self._wait_s <= 0:
                            await self._read_news(connection)
                            said = False
                        await self._reports.send_if_due(connection, self.position)
                        await self._wait()
                    await self._reports.leave(connection)
                    return
                finally:
                    connection.terminate()
            except Exception as error:
                if not said:
                    note_interruption("feed.not_followed", error)
                said = True
            await asyncio.sleep(POLL_WITHOUT_NATS_S)

    @property
    def _wait_s(self) -> float:
        """How long from now until the table is read in any case."""
        # What was heard and not read is not known to have been there when PostgreSQL comes back without it.
        if self._heard or any(not future.done() for future in self._settling.values()):
            interval = POLL_WHILE_SETTLING_S
        else:
            interval = POLL_S if self._broker.connected else POLL_WITHOUT_NATS_S
        return max(0.0, self._read_at + interval - elapsed())

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(min(self._wait_s, self._reports.wait_s)):
                await self._stirred.wait()
        except TimeoutError:
            return
        finally:
            self._stirred.clear()

    async def _read_news(self, connection: asyncpg.Connection) -> None:
        """Everything that was committed before the call has been applied."""
        self._looking = False
        started = elapsed()
        if self._reload:
            await self._load(connection)
        elif not await self._catch_up(connection):
            self._reload = True
            await self._load(connection)
        self._read_at = elapsed()
        if self._known_at > float("-inf") and not self._is_fresh:
            log.warning("feed.was_stale", read_s_ago=round(started - self._known_at, 1))
        if not self._leaving.is_set():
            self._known_at = started
        self._set.drop_expired(self._now())
        if self._set.stale_reason is not None and self._set.stale_reason != self._said:
            self._said = self._set.stale_reason
            log.error("feed.stale", reason=self._said)

    async def _load(self, connection: asyncpg.Connection) -> None:
        """The set holds exactly what the table holds at one moment, and what was heard to follow that since."""
        fresh, last = RevocationSet(), None
        self._heard.clear()
        unpositioned: list[asyncpg.Record] = []
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            head = await connection.fetchval(HEAD)
            if self._has_lost_entries(head):
                return
            cursor = await connection.cursor(ALL)
            while rows := await cursor.fetch(_CHUNK):
                for row in rows:
                    if row["position"] is None:
                        unpositioned.append(row)
                    else:
                        fresh.apply(entry_of(row))
                        self._announced.pop(row["id"], None)
                        last = _identity_at(head, row) or last
        if self._heard or self._settling:
            self._look()  # what was heard during the load is looked up again
        self._reload = False
        followed, heard, self._heard = head, self._heard, {}
        for position, entry in heard.items():
            if position == followed + 1:
                fresh.apply(entry)
                self._heard[position] = entry
                followed = position
        self._set.adopt(fresh, followed)
        self._reports.soon()
        is_new_epoch = self._loaded.is_set() and epoch_of(Position(head)) != epoch_of(Position(self._read))
        self._read, self._read_last = head, last
        self._announce_rows(unpositioned)
        self._loaded.set()
        for call in self._on_epoch if is_new_epoch else ():
            call()
        log.info("feed.loaded", position=head, entries=len(self._set))

    async def _catch_up(self, connection: asyncpg.Connection) -> bool:
        """False when the table does not continue what was applied: another epoch, a restored one, a false message."""
        applied_before = self._set.position
        settling = [entry_id for entry_id, future in self._settling.items() if not future.done()]
        rows = await connection.fetch(NEWS, self._read, settling)
        head: int = rows[0]["head"]
        here = next((_identity_at(self._read, row) for row in rows if row["position"] == self._read), None)
        if self._has_lost_entries(head, here):
            return True
        if epoch_of(Position(head)) != epoch_of(Position(self._read)) or head < applied_before:
            log.warning("feed.rewound", head=head, applied=applied_before)
            return False
        unpositioned, last = [], here if head == self._read else None
        for row in rows:
            if row["id"] is None or (row["position"] == self._read and row["id"] not in settling):
                continue
            if row["position"] is None:
                unpositioned.append(row)
                continue
            heard = self._heard.pop(row["position"], None)
            if heard is not None and heard.id != row["id"]:
                self._contradicted(row["position"])
                return False
            self._apply(entry_of(row))
            last = _identity_at(head, row) or last
        if any(position <= head for position in self._heard):
            self._contradicted(min(self._heard))
            return False
        self._read, self._read_last = head, last
        if head > self._set.position:
            self._set.advance(head)
            self._reports.soon()
        self._announce_rows(unpositioned)
        return True

    def _has_lost_entries(self, head: int, here: _Identity | None = None) -> bool:
        """Whether the table lost, or had lost, what was read from it; a new epoch makes it whole.

        here: of the entry that stands now where reading had ended.
        """
        replaced = here is not None and self._read_last is not None and here != self._read_last
        if (head < self._read or replaced) and not self._rolled_back:
            self._rolled_back = True
            log.critical(
                "feed.rolled_back", head=head, read=self._read, remedy="stop the services, `watchword restore`"
            )
        if self._rolled_back and epoch_of(Position(head)) <= epoch_of(Position(self._read)):
            self._set.stale_reason = "the ledger has lost entries: run `watchword restore`"
            return True
        self._rolled_back = False
        return False

    def _announce_rows(self, rows: list[asyncpg.Record]) -> None:
        """Committed entries count before the leader numbers them: whatever carries a `rev` today is older than they."""
        heard = {entry.id for entry in self._heard.values()}
        for row in rows:
            narrowed = row["issued_before"] is not None  # ends only what is older: known when it has its position
            if row["kind"] in _BELIEVED and row["claim"] in _CLAIMS and not narrowed and row["id"] not in heard:
                self._announce(row["id"], row["claim"], row["value"])
        self._forget_announced(frozenset(row["id"] for row in rows))


def _identity_at(position: int, row: asyncpg.Record) -> _Identity | None:
    """Of the entry in a row, if it has this position."""
    return (row["id"], row["at"]) if row["position"] == position else None
