"""The audit log: who changed what, before and after, chained so that nobody changes it unnoticed.

Triggers write it, in the transaction of the change, whenever that transaction says for whom it works (`acting_for`). A
service names the tables that administrators change; a new table is audited with one more line there. Each entry's hash
covers the hash before it: SHA-256(previous hash, number, line feed, entry as it is stored). What belongs to a person
stands beside the entry, which holds its salted hash: it can be forgotten without breaking the chain.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson
from pydantic import JsonValue
from sqlalchemy import Connection, LargeBinary, MetaData, Table

from watchword_events.contracts import Event

if TYPE_CHECKING:
    from watchword_database.engine import Database, Session

GENESIS: Final = hashlib.sha256(b"watchword/audit/v1").digest()
# Columns that change with every write, or say when: they alone are no change.
_SAY_NOTHING: Final = frozenset({"version", "claims_version", "created_at", "updated_at", "used_at", "last_used_at"})
_HASHES: Final = frozenset({"hash", "secret_hash", "password_hash"})
_INFO: Final = "watchword.audited"
_NOTE: Final = "SELECT bus.audit_note($1::text::jsonb)"


@dataclass(frozen=True, slots=True)
class Audited:
    """A table whose rows administrators change. kind: what one row is called, so that actions are `<kind>.created` ….

    name: the column that people know it by.  ignored: further columns that say nothing.  is_personal: what it holds is
    about a person, and is forgotten with them.
    """

    kind: str
    name: str = ""
    ignored: frozenset[str] = frozenset()
    is_personal: bool = False


@dataclass(frozen=True, slots=True)
class Origin:
    """For whom a transaction works. via: `api`, `console`, `account` or `scim`.

    actor: the user, or the client that acts for itself.  provider: through which the person signed in.
    """

    actor: str
    via: str
    method: str
    path: str
    reference: str
    client: str | None = None
    api_key: str | None = None
    provider: str | None = None
    name: str | None = None
    address: str | None = None
    user_agent: str | None = None

    def members(self) -> dict[str, dict[str, str | None]]:
        """What is said about it in an entry, and what stands beside as the person's own."""
        private = {"actor_name": self.name, "address": self.address, "user_agent": self.user_agent}
        public = {
            "actor": self.actor,
            "client": self.client,
            "api_key": self.api_key,
            "provider": self.provider,
            "via": self.via,
            "method": self.method,
            "path": self.path,
            "reference": self.reference,
        }
        return {"public": public, "private": private}


@dataclass(frozen=True, slots=True)
class Note:
    """Something that happened beside changes of rows. entry: with `action`, never a name, an address or a secret.

    private: what belongs to the person.
    """

    entry: Mapping[str, JsonValue]
    private: Mapping[str, JsonValue]


_ACTING: Final[ContextVar[Origin | None]] = ContextVar("watchword.origin", default=None)


def acting_for(origin: Origin) -> None:
    """Transactions of this task, and of tasks that it starts, work for this caller from now on."""
    _ACTING.set(origin)


def acting() -> Origin | None:
    """For whom this task works."""
    return _ACTING.get()


@contextmanager
def acting_for_nobody() -> Iterator[None]:
    """Inside, until acting_for() says otherwise, and outside as before."""
    token = _ACTING.set(None)
    try:
        yield
    finally:
        _ACTING.reset(token)


def as_json(value: object) -> str:
    """JSON for PostgreSQL, which has no NUL characters."""
    return orjson.dumps(value).decode().replace("\\u0000", "\\ufffd")


async def note(session: "Session", notes: Sequence[Note]) -> None:
    """The notes stand in the log when the transaction commits."""
    if notes:
        await (await session.connection()).exec_driver_sql(_NOTE, (_body(notes),))


async def note_alone(database: "Database", notes: Sequence[Note]) -> None:
    """The notes stand in the log, by one plain statement of its own."""
    await database.ask(_NOTE, _body(notes))


def _body(notes: Sequence[Note]) -> str:
    return as_json([{"entry": dict(each.entry), "private": dict(each.private)} for each in notes])


def note_of(event: Event) -> Note:
    """An event as a note: its members are ids."""
    members: dict[str, JsonValue] = event.model_dump(mode="json", exclude={"id", "version"})
    entry: dict[str, JsonValue] = {"action": event.type_name(), "kind": event.entity, "resource": event.id}
    if acting() is None:
        entry["actor"] = members.get("user_id", event.id)
    return Note({**entry, "details": members}, {})


def audit(metadata: MetaData, tables: Mapping[str, Audited]) -> None:
    """Rows of these tables, by name, are audited. Raises KeyError for one that is not there."""
    for name, audited in tables.items():
        metadata.tables[f"{metadata.schema}.{name}"].info[_INFO] = audited


def audited_of(table: Table) -> Audited | None:
    """How a table is audited, if it is."""
    found: Audited | None = table.info.get(_INFO)
    return found


def watch(connection: Connection, metadata: MetaData) -> None:
    """Every audited table has its trigger, and no other."""
    for table in metadata.tables.values():
        audited = audited_of(table)
        if audited is None:
            connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS audit ON {table.fullname}")
        else:
            arguments = ", ".join(f"'{each}'" for each in _arguments(table, audited))
            # Not called at all for what says nothing: a new version of ten thousand people is one second less.
            says = [f'"{column.name}"' for column in table.columns if column.name not in _SAY_NOTHING | audited.ignored]
            connection.exec_driver_sql(
                f"CREATE OR REPLACE TRIGGER audit AFTER INSERT OR DELETE OR UPDATE OF {', '.join(says)}"
                f" ON {table.fullname} FOR EACH ROW EXECUTE FUNCTION bus.audit_row({arguments})"
            )


def _arguments(table: Table, audited: Audited) -> tuple[str, ...]:
    """As `bus.audit_row` takes them. Bytes are hashes or sealed: they are never shown."""
    hidden = {column.name for column in table.columns if isinstance(column.type, LargeBinary)} | _HASHES
    return (
        audited.kind,
        ",".join(column.name for column in table.primary_key.columns),
        audited.name,
        ",".join(sorted(hidden & {column.name for column in table.columns})),
        ",".join(sorted(_SAY_NOTHING | audited.ignored)),
        "personal" if audited.is_personal else "",
    )


# The chain -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the log. entry, private: as they are stored, byte by byte; private is None where there is none.

    hash: what the row says it is.
    """

    seq: int
    entry: str
    private: str | None
    hash: bytes


@dataclass(frozen=True, slots=True)
class Break:
    """Where the chain does not hold, and why."""

    seq: int
    what: str


class Chain:
    """Follows the log entry by entry and notes what does not fit."""

    def __init__(self, seq: int = 0, last: bytes = GENESIS) -> None:
        """seq, last: number and hash of the entry before the first."""
        self.seq, self.hash = seq, last
        self.breaks: list[Break] = []
        self.count = self.forgotten = 0

    @classmethod
    def behind(cls, entry: Entry) -> "Chain":
        """The chain from an entry on that is taken for granted."""
        return cls(entry.seq, entry.hash)

    def follow(self, entry: Entry) -> None:
        """The entry is the next. After a break the chain goes on from what the row says, to find others."""
        if entry.seq < 1:
            self.breaks.append(Break(entry.seq, "there is no such number"))
            return
        if entry.seq != self.seq + 1:
            self.breaks.append(Break(self.seq + 1, f"entries {self.seq + 1} to {entry.seq - 1} are missing"))
        elif linked(self.hash, entry.seq, entry.entry) != entry.hash:
            self.breaks.append(Break(entry.seq, "the entry is not what was written, or another was before it"))
        self._check_private(entry)
        self.seq, self.hash, self.count = entry.seq, entry.hash, self.count + 1

    def end(self, seq: int, last: bytes) -> None:
        """The log ends here. seq, last: what the head of the chain says."""
        if seq != self.seq:
            self.breaks.append(Break(min(seq, self.seq) + 1, f"the log ends at {self.seq}, its head says {seq}"))
        elif last != self.hash:
            self.breaks.append(Break(seq, "the head holds another hash than the last entry"))

    def _check_private(self, entry: Entry) -> None:
        try:
            wanted = orjson.loads(entry.entry).get("private")
        except (orjson.JSONDecodeError, AttributeError):
            wanted = None
        if entry.private is None:
            self.forgotten += wanted is not None
        elif wanted != hashlib.sha256(entry.private.encode()).hexdigest():
            self.breaks.append(Break(entry.seq, "what belongs to the person is not what was written"))


def linked(previous: bytes, seq: int, entry: str) -> bytes:
    """The hash of an entry, given the one before it."""
    return hashlib.sha256(previous + f"{seq}\n{entry}".encode()).digest()


def exported(entry: Entry) -> str:
    """A line of an export. The entry stands in it as it was hashed."""
    private = "" if entry.private is None else f',"private":{entry.private}'
    return f'{{"entry":{entry.entry}{private},"seq":{entry.seq},"hash":"{entry.hash.hex()}"}}'


def imported(line: str) -> Entry:
    """The entry behind a line of an export. Raises ValueError."""
    decoder = json.JSONDecoder()
    begin = len('{"entry":')
    _, end = decoder.raw_decode(line, begin)
    rest = json.loads("{" + line[end:].removeprefix(","))
    private = None
    if "private" in rest:
        start = end + len(',"private":')
        private = line[start : decoder.raw_decode(line, start)[1]]
    return Entry(int(rest["seq"]), line[begin:end], private, bytes.fromhex(rest["hash"]))
