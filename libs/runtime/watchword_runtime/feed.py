"""What has been revoked, as this instance knows it. The table is the truth, NATS only brings it sooner.

Positions are dense: an entry that continues what was applied is applied as it is heard, anything else makes this
instance read the table, and the table is read every second in any case, four times as often while NATS is away. What
was heard and does not stand in the table is thrown away with a reload. A lift, which makes something live again, is
taken from the table only.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import asyncpg
import structlog
from pydantic import ValidationError

from watchword_database.engine import Database
from watchword_events.names import Position, epoch_of
from watchword_events.revocations import Claim, RevocationEntry, RevocationKind
from watchword_runtime.broker import Broker
from watchword_runtime.clock import Clock, utc_now
from watchword_runtime.ledger import ALL, HEAD, NEWS, entry_of
from watchword_runtime.tasks import end
from watchword_verifier.revocations import RevocationSet

log = structlog.get_logger()

SUBJECT: Final = "feed.revocation"
POLL_S: Final = 1.0
POLL_WITHOUT_NATS_S: Final = 0.25
POLL_WHILE_SETTLING_S: Final = 0.05
# Who has not seen the table for so long cannot know what was revoked, and refuses (design section 4).
STALE_S: Final = 5.0
_START_S: Final = 5.0
_COMMAND_S: Final = 2.0
_ROLLED_BACK_S: Final = 10.0  # an announced entry that the table does not show by then will not come
_UNASKED: Final = 1_000  # applied entries that nobody has asked about with settle() yet
_BELIEVED: Final = frozenset({RevocationKind.CUT.value, RevocationKind.STATE.value})
_CLAIMS: Final = frozenset(claim.value for claim in Claim)
_CHUNK: Final = 1_000  # rows at a time: a long ledger must not hold up the event loop


@dataclass(slots=True)
class _Announced:
    """An entry without a position yet: written here in an open transaction, or seen in the table."""

    claim: str
    value: str
    since: float


class Feed:
    """The revocation ledger in memory. Nothing is live before the table was loaded, or when it cannot be followed."""

    def __init__(self, database: Database, broker: Broker, now: Clock = utc_now) -> None:
        self._database = database
        self._broker = broker
        self._now = now
        self._set = RevocationSet()
        self._loaded = asyncio.Event()
        self._reload = True
        self._read = 0  # the position up to which the table itself was read
        self._fresh_until = float("-inf")
        self._heard: dict[int, int] = {}  # id by position of what was applied from NATS and not yet read
        self._announced: dict[int, _Announced] = {}
        self._settling: dict[int, asyncio.Future[None]] = {}
        self._said = ""
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        broker.listen(SUBJECT, self._on_heard)
        broker.on_connected(self._wake.set)

    @property
    def position(self) -> Position:
        """The position applied here. Note it BEFORE reading the state you decide on; stamp it as `rev`."""
        return self._set.position

    @property
    def ready(self) -> bool:
        """True when the table was loaded and is being followed."""
        return self._loaded.is_set() and time.monotonic() <= self._fresh_until and self._set.stale_reason is None

    def is_live(self, claims: Mapping[str, object], kid: str | None = None) -> bool:
        """Whether nothing revoked matches. claims: `rev`, `iat`, `jti`, `gid`, `sid`, `sub`, `client_id`, `idp`.

        A claim that is missing is not matched; without `rev` any cut that matches kills. False while not ready.
        """
        return (
            time.monotonic() <= self._fresh_until and self._set.stale_reason is None and self._set.is_live(claims, kid)
        )

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
        loop.call_later(delay, self._wake.set)
        _done, missing = await asyncio.wait(wanted.values(), timeout=timeout)
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
        """The feed is no longer followed; nothing is live."""
        await end(self._task)
        self._task = None
        self._fresh_until = float("-inf")

    # What is heard ---------------------------------------------------------------------------------------------------

    def _on_heard(self, data: bytes) -> None:
        if not self._loaded.is_set():
            self._wake.set()
            return
        try:
            entry = RevocationEntry.model_validate_json(data)
        except ValidationError:
            log.warning("feed.not_understood")
            self._wake.set()
            return
        if entry.position == self._set.position + 1 and entry.kind in _BELIEVED and entry.claim in _CLAIMS:
            self._heard[entry.position] = entry.id
            self._apply(entry)
        elif entry.position > self._set.position:
            self._wake.set()
        elif self._heard.get(entry.position, entry.id) != entry.id:
            self._contradicted(entry.position)

    def _contradicted(self, position: int) -> None:
        """Something that was heard is not so: forget everything that was not read."""
        log.error("feed.contradicted", position=position)
        self._reload = True
        self._wake.set()

    def _apply(self, entry: RevocationEntry) -> None:
        self._set.apply(entry)
        self._announced.pop(entry.id, None)
        settling = self._settling.get(entry.id)
        if settling is not None and not settling.done():
            settling.set_result(None)

    # What is announced -----------------------------------------------------------------------------------------------

    def _announce(self, entry_id: int, claim: str, value: str) -> None:
        if entry_id not in self._announced:
            self._set.pend(claim, value, entry_id)
            self._announced[entry_id] = _Announced(claim, value, time.monotonic())

    def _forget_announced(self, still_there: frozenset[int]) -> None:
        """What was announced and neither stands in the table nor was applied has been rolled back."""
        before = time.monotonic() - _ROLLED_BACK_S
        for entry_id, announced in list(self._announced.items()):
            if entry_id in still_there:
                announced.since = time.monotonic()
            elif announced.since < before:
                self._set.unpend(announced.claim, announced.value, entry_id)
                del self._announced[entry_id]
                self._settling.pop(entry_id, None)
        if len(self._settling) > _UNASKED:
            self._settling = {i: future for i, future in self._settling.items() if not future.done()}

    # What is read ----------------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        said = False
        while True:
            try:
                connection = await asyncpg.connect(self._database.dsn, command_timeout=_COMMAND_S, timeout=_COMMAND_S)
                try:
                    await self._read_news(connection)
                    said = False
                    while True:
                        await self._wait()
                        await self._read_news(connection)
                finally:
                    connection.terminate()
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
                if not said:
                    log.warning("feed.not_followed", error=type(error).__name__)
                said = True
            await asyncio.sleep(POLL_WITHOUT_NATS_S)

    async def _wait(self) -> None:
        if any(not future.done() for future in self._settling.values()):
            interval = POLL_WHILE_SETTLING_S
        else:
            interval = POLL_S if self._broker.connected else POLL_WITHOUT_NATS_S
        try:
            await asyncio.wait_for(self._wake.wait(), interval)
        except TimeoutError:
            return

    async def _read_news(self, connection: asyncpg.Connection) -> None:
        """Everything that was committed before the call has been applied."""
        self._wake.clear()
        started = time.monotonic()
        if self._reload:
            await self._load(connection)
        elif not await self._catch_up(connection):
            self._reload = True
            await self._load(connection)
        self._fresh_until = started + STALE_S
        self._set.drop_expired(self._now())
        if self._set.stale_reason is not None and self._set.stale_reason != self._said:
            self._said = self._set.stale_reason
            log.error("feed.stale", reason=self._said)

    async def _load(self, connection: asyncpg.Connection) -> None:
        """The set holds exactly what the table holds at one moment."""
        fresh = RevocationSet()
        unpositioned: list[asyncpg.Record] = []
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            head = await connection.fetchval(HEAD)
            cursor = await connection.cursor(ALL)
            while rows := await cursor.fetch(_CHUNK):
                for row in rows:
                    if row["position"] is None:
                        unpositioned.append(row)
                    else:
                        fresh.apply(entry_of(row))
                        self._announced.pop(row["id"], None)
        if self._heard or self._settling:
            self._wake.set()  # what was heard during the load is looked up again
        self._reload = False
        self._heard.clear()
        self._set.adopt(fresh, head)
        self._read = head
        self._announce_rows(unpositioned)
        self._loaded.set()
        log.info("feed.loaded", position=head, entries=len(self._set))

    async def _catch_up(self, connection: asyncpg.Connection) -> bool:
        """False when the table does not continue what was applied: another epoch, a restored one, a false message."""
        applied_before = self._set.position
        settling = [entry_id for entry_id, future in self._settling.items() if not future.done()]
        rows = await connection.fetch(NEWS, self._read, settling)
        head: int = rows[0]["head"]
        if epoch_of(Position(head)) != epoch_of(Position(self._read)) or head < applied_before:
            log.warning("feed.rewound", head=head, applied=applied_before)
            return False
        unpositioned = []
        for row in rows:
            if row["id"] is None:
                continue
            if row["position"] is None:
                unpositioned.append(row)
                continue
            heard = self._heard.pop(row["position"], row["id"])
            if heard != row["id"]:
                self._contradicted(row["position"])
                return False
            self._apply(entry_of(row))
        if any(position <= head for position in self._heard):
            self._contradicted(min(self._heard))
            return False
        self._read = head
        self._set.advance(head)
        self._announce_rows(unpositioned)
        return True

    def _announce_rows(self, rows: list[asyncpg.Record]) -> None:
        """Committed entries count before the leader numbers them: whatever carries a `rev` today is older than they."""
        heard = set(self._heard.values())
        for row in rows:
            narrowed = row["issued_before"] is not None  # ends only what is older: known when it has its position
            if row["kind"] in _BELIEVED and row["claim"] in _CLAIMS and not narrowed and row["id"] not in heard:
                self._announce(row["id"], row["claim"], row["value"])
        self._forget_announced(frozenset(row["id"] for row in rows))
