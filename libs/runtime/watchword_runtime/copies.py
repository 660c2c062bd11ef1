"""Copies: tables that follow another service's entities by their versions."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from datetime import datetime
from typing import Any, Final, Generic, TypeVar

import structlog
from pydantic import JsonValue
from sqlalchemy import Table, text

from watchword_database.base import CopyColumns
from watchword_database.engine import Database, transaction
from watchword_database.tasks import end, woken
from watchword_events.exports import Export, Exported
from watchword_events.names import Service
from watchword_runtime.internal import MAX_IDS, MAX_PAGE, InternalClient, Unreachable
from watchword_runtime.work import Received

log = structlog.get_logger()

E = TypeVar("E", bound=Export)


class _Bucket:
    """A token bucket: so many at once, then so many a second."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst, self._left, self._at = rate, burst, burst, time.monotonic()

    def take(self) -> bool:
        now = time.monotonic()
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


# Whoever asks for ids that do not exist must not be able to keep the owner busy.
MISSES_PER_S: Final = 50.0
MISSES_AT_ONCE: Final = 200.0
_FILL_RETRY_S: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_DONE: Final = "INSERT INTO {schema}.copy_state (entity, filled_at) VALUES (:entity, now()) ON CONFLICT DO NOTHING"
# A copy that was emptied while this runs is noticed so soon, if nobody calls begin_anew().
LOOK_S: Final = 5.0
_PLAIN: Final = frozenset(CopyColumns.model_fields)


def _table_of(table: type[CopyColumns]) -> Table:
    """SQLAlchemy's table of a copy class. Raises TypeError when one of its own columns could not hold a tombstone."""
    found = getattr(table, "__table__", None)
    if not isinstance(found, Table):
        raise TypeError(f"{table.__name__} is no table")
    for column in found.columns:
        if column.name not in _PLAIN and not column.nullable:
            raise TypeError(f"{found.fullname}.{column.name} must be nullable: a tombstone has no data")
    return found


def _writes(table: Table, more: Sequence[str]) -> tuple[str, str]:
    """The statements that write an entity as its owner has it, and that it is gone. What is newer stays."""
    columns = ("id", "version", "deleted", "data", *more)
    values = ", ".join(f"${place}" for place in range(1, len(columns) + 1))
    taken = ", ".join(f"{name} = excluded.{name}" for name in columns[1:])
    upsert = (
        f"INSERT INTO {table.fullname} AS t ({', '.join(columns)}) VALUES ({values})"
        f" ON CONFLICT (id) DO UPDATE SET {taken}, copied_at = now() WHERE t.version < excluded.version"
    )
    nothing = "".join(f", {name} = NULL" for name in more)
    gone = f"UPDATE {table.fullname} SET version = $2, deleted = true, data = '{{}}'{nothing}"
    return upsert, f"{gone} WHERE id = $1 AND version < $2"


class Copy(Generic[E]):
    """This service's copy of an entity that another owns. Never older over newer; deletions leave tombstones.

    Columns of the table beyond CopyColumns are filled from the exported field of the same name, so that `find` can
    look them up; they are nullable, since a tombstone has no data, and not unique, since copies arrive in any order.
    """

    def __init__(
        self,
        *,
        entity: str,
        owner: Service,
        table: type[CopyColumns],
        export: type[E],
        database: Database,
        internal: InternalClient,
    ) -> None:
        self._entity = entity
        self._owner = owner
        self._export = export
        self._database = database
        self._internal = internal
        self._table: Table = _table_of(table)
        self._more = tuple(column.name for column in self._table.columns if column.name not in _PLAIN)
        self._upsert, self._bury = _writes(self._table, self._more)
        self._select = f"SELECT version, deleted, data FROM {self._table.fullname} WHERE "
        self._pulling: dict[tuple[str, str], asyncio.Task[object]] = {}
        self._misses = _Bucket(MISSES_PER_S, MISSES_AT_ONCE)
        self._filled = False
        self._filled_at: datetime | None = None  # as the table says: another time is another filling
        self._on_emptied: list[Callable[[], None]] = []
        self._filling: asyncio.Task[None] | None = None
        self._wanted = asyncio.Event()

    @property
    def ready(self) -> bool:
        """True once the copy has been filled (now or in an earlier life), and while nobody has emptied it."""
        return self._filled

    def on_emptied(self, call: Callable[[], None]) -> None:
        """`call` when the copy began anew: nothing that was made from it may be older than that."""
        self._on_emptied.append(call)

    def begin_anew(self) -> None:
        """A back-up came back: what was read from the table is forgotten, and it is filled again unless it is full."""
        if self._filled:
            self._filled, self._filled_at = False, None
            log.warning("copy.emptied", entity=self._entity)
            for call in self._on_emptied:
                call()
            self._wanted.set()

    # Reading ---------------------------------------------------------------------------------------------------------

    async def get(self, id: str, min_version: int = 0) -> E | None:  # noqa: A002 - the column's name
        """The entity at `min_version` or newer, from the table or else pulled once; None when unknown or deleted.

        Raises internal.Unreachable when the table does not have it and the owner cannot be asked.
        """
        version, found = await self._read(id)
        if version >= max(min_version, 1):
            return found
        if min_version == 0 and not self._misses.take():
            log.warning("copy.misses_limited", entity=self._entity)
            return None
        for _ in range(2):  # a pull that began before the version existed may have been joined
            joined = await self._once(("id", id), lambda: self.pull([id]))
            version, found = await self._read(id)
            if version >= min_version or not joined:
                break
        return found if version >= min_version else None

    async def find(self, **column: str) -> E | None:
        """The entity with this value in one column, from the table or else pulled once; None when there is none.

        Raises internal.Unreachable when the table does not have it and the owner cannot be asked.
        """
        ((name, value),) = column.items()
        if name not in self._more:
            raise TypeError(f"{self._table.fullname} has no column {name} to find by")
        found = await self._lookup(name, value)
        if len(found) != 1:  # none, or a value that just moved from one entity to another
            if not self._misses.take():
                log.warning("copy.misses_limited", entity=self._entity)
                return None
            await self._once((name, value), lambda: self._pull_with({name: value}))
            found = await self._lookup(name, value)
        return self._export.model_validate(found[0]) if len(found) == 1 else None

    async def present(self, ids: Iterable[str]) -> dict[str, E]:
        """Those of the entities that are in the table and not deleted; nothing is pulled."""
        pool = await self._database.raw_pool()
        rows = await pool.fetch(
            f"SELECT id, data FROM {self._table.fullname} WHERE id = ANY($1) AND NOT deleted", list(ids)
        )
        return {row["id"]: self._export.model_validate(row["data"]) for row in rows}

    async def all(self) -> list[tuple[int, E]]:
        """Every entity in the table that is not deleted, with its version."""
        pool = await self._database.raw_pool()
        rows = await pool.fetch(self._select + "NOT deleted ORDER BY id")
        return [(row["version"], self._export.model_validate(row["data"])) for row in rows]

    async def page(self, after: str, limit: int) -> list[E]:
        """So many entities behind an id, in the order of their ids."""
        pool = await self._database.raw_pool()
        rows = await pool.fetch(self._select + "NOT deleted AND id > $1 ORDER BY id LIMIT $2", after, limit)
        return [self._export.model_validate(row["data"]) for row in rows]

    async def stamp(self) -> tuple[int, datetime | None]:
        """What is another value when anything in the table is another."""
        pool = await self._database.raw_pool()
        row = await pool.fetchrow(f"SELECT sum(version)::bigint, max(copied_at) FROM {self._table.fullname}")
        return row[0] or 0, row[1]

    async def _read(self, id: str) -> tuple[int, E | None]:  # noqa: A002 - the column's name
        """The version in the table, 0 when there is none, and the entity unless it is deleted."""
        pool = await self._database.raw_pool()
        row = await pool.fetchrow(self._select + "id = $1", id)
        if row is None:
            return 0, None
        return row["version"], None if row["deleted"] else self._export.model_validate(row["data"])

    async def _lookup(self, column: str, value: str) -> Sequence[dict[str, JsonValue]]:
        pool = await self._database.raw_pool()
        rows = await pool.fetch(self._select + f"{column} = $1 AND NOT deleted LIMIT 2", value)
        return [row["data"] for row in rows]

    # Pulling ---------------------------------------------------------------------------------------------------------

    async def pull(self, ids: Iterable[str]) -> None:
        """The copy holds these entities as the owner has them now. Raises internal.Unreachable."""
        await self._pull_ids(ids)

    async def pull_all(self) -> None:
        """The copy holds everything as the owner has it now. Raises internal.Unreachable."""
        await self._pull_pages()

    async def _pull_ids(self, ids: Iterable[str]) -> set[str]:
        """Pulls; which of the entities the owner knows, tombstones included."""
        wanted = list(dict.fromkeys(ids))
        answered: set[str] = set()
        for start in range(0, len(wanted), MAX_IDS):
            answered |= await self._pull_with({"id": wanted[start : start + MAX_IDS]})
        return answered

    async def fill(self) -> None:
        """The copy holds everything the owner has, unless it was filled before. Raises internal.Unreachable."""
        pool = await self._database.raw_pool()
        state = f"SELECT filled_at FROM {self._database.schema}.copy_state WHERE entity = $1"
        found = await pool.fetchval(state, self._entity)
        if self._filled_at is not None and found != self._filled_at:
            self.begin_anew()
        if found is None:
            await self._fill()
            found = await pool.fetchval(state, self._entity)
        self._filled_at, self._filled = found, True

    async def _pull_pages(self) -> int:
        after, count = "", 0
        while True:
            page = await self._internal.export(self._owner, self._entity, {"after": after, "limit": MAX_PAGE})
            await self._write(page.items)
            count += len(page.items)
            if page.next is None:
                return count
            after = page.next

    async def _fill(self) -> None:
        count = await self._pull_pages()
        async with transaction(self._database) as session:
            connection = await session.connection()
            await connection.execute(text(_DONE.format(schema=self._database.schema)), {"entity": self._entity})
        log.info("copy.filled", entity=self._entity, count=count)

    async def on_events(self, received: list[Received]) -> None:
        """The handler for `Broker.work`: what the events name is pulled, unless the copy is as new already."""
        newest: dict[str, int] = {}
        for each in received:
            newest[each.event.id] = max(newest.get(each.event.id, 0), each.event.version)
        known = await self._versions(newest)
        behind = [id_ for id_, version in newest.items() if known.get(id_, 0) < version]
        if not behind:
            return
        answered = await self._pull_ids(behind)
        # The owner answered, and does not have it (any more): so it is gone here as well. What the owner has counts as
        # it has it: an event, which anybody may forge, says only where to look (docs/adr/0002).
        gone = [(id_, newest[id_]) for id_ in behind if id_ not in answered]
        if gone:
            await (await self._database.raw_pool()).executemany(self._bury, gone)

    async def _versions(self, ids: Iterable[str]) -> dict[str, int]:
        pool = await self._database.raw_pool()
        rows = await pool.fetch(f"SELECT id, version FROM {self._table.fullname} WHERE id = ANY($1)", list(ids))
        return {row["id"]: row["version"] for row in rows}

    async def _pull_with(self, params: dict[str, str] | dict[str, list[str]]) -> set[str]:
        """Pulls what is asked for; the ids that came."""
        page = await self._internal.export(self._owner, self._entity, params)
        known = await self._versions(item.id for item in page.items)
        await self._write([item for item in page.items if known.get(item.id, 0) < item.version])
        return {item.id for item in page.items}

    async def _write(self, items: Sequence[Exported[Any]]) -> None:
        """Each row is at least as new as its item. Raises Unreachable when the owner's data is not understood."""
        if not items:
            return
        rows = [self._row(item) for item in sorted(items, key=lambda item: item.id)]  # one order: no deadlocks
        await (await self._database.raw_pool()).executemany(self._upsert, rows)

    def _row(self, item: Exported[Any]) -> tuple[object, ...]:
        data = item.data if item.data is not None and not item.deleted else {}
        if not item.deleted:
            try:
                self._export.model_validate(data)
            except ValueError as error:
                raise Unreachable(f"{self._owner.value}: its {self._entity} is not understood") from error
        return item.id, item.version, item.deleted, data, *[data.get(name) for name in self._more]

    async def _once(self, key: tuple[str, str], pull: Callable[[], Coroutine[Any, Any, object]]) -> bool:
        """Concurrent pulls of the same are one; True when another's was joined."""
        task = self._pulling.get(key)
        joined = task is not None
        if task is None:
            task = asyncio.create_task(pull())
            self._pulling[key] = task
            task.add_done_callback(lambda _task: self._pulling.pop(key, None))
        try:
            await asyncio.shield(task)
        except Unreachable as error:
            log.warning("copy.pull_failed", entity=self._entity, reason=str(error))
            raise
        return joined

    # Starting --------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """The copy is being filled in the background, tried again until it is, and again should it be emptied."""
        self._filling = asyncio.create_task(self._keep_filled(), name=f"fill-{self._entity}")

    async def stop(self) -> None:
        """Nothing is being filled any more."""
        await end(self._filling)

    async def _keep_filled(self) -> None:
        tries = 0
        while True:
            self._wanted.clear()
            try:
                await self.fill()
                tries = 0
            except Exception as error:
                if not self._filled:
                    log.info("copy.not_filled", entity=self._entity, error=type(error).__name__)
                tries += 1
            pause_s = LOOK_S if self._filled else _FILL_RETRY_S[min(tries, len(_FILL_RETRY_S)) - 1]
            await woken(self._wanted, pause_s)
