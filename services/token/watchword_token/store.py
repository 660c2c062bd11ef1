"""Statements of the token service, by name. Hot ones run prepared on plain asyncpg, without an ORM in between."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import asyncpg
from pydantic import JsonValue
from sqlalchemy import text, update
from sqlmodel import col, select

from watchword_database import Database, Session
from watchword_runtime.clock import Clock
from watchword_token.batch import Batch
from watchword_token.models import Grant

OUTAGES: Final = (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.OperatorInterventionError, OSError)


class Rotation(NamedTuple):
    """A refresh to be made: the token with hash `old` gives way to the one with hash `new`.

    scope, resource: what is asked for, "" for all; what is wider than the grant changes nothing.  bound_to: the key
    that the request proved, "" for none; what a grant is bound to has to be proved.
    """

    gid: str
    client_id: str
    old: bytes
    new: bytes
    idle_s: int
    scope: str
    resource: str
    bound_to: str


class Rotated(NamedTuple):
    """A grant as its refresh needs it; scope, resource and amr are joined by spaces, details and claims are JSON."""

    id: str
    user_id: str
    client_id: str
    sid: str
    session_bound: bool
    idp: str | None
    scope: str
    resource: str
    rev: int
    auth_time: datetime
    amr: str
    acr: str | None
    expires_at: datetime
    issuer: str | None
    address: str
    bound_to: str | None
    details: str | None
    claims: str | None


class GrantRow(NamedTuple):
    """A grant with the state of its family."""

    grant: Rotated
    cur_hash: bytes | None
    prev_hash: bytes | None
    rotated_at: datetime | None
    idle_at: datetime
    revoked_at: datetime | None


def source_of(grant: Rotated | Grant) -> dict[str, JsonValue]:
    """A grant as the ledger is asked about it: with its own position, its age and everything that it descends from."""
    source: dict[str, JsonValue] = {
        "rev": grant.rev,
        "iat": grant.auth_time.timestamp(),
        "gid": grant.id,
        "sub": grant.user_id,
        "client_id": grant.client_id,
    }
    if grant.session_bound:
        source["sid"] = grant.sid
    if grant.idp is not None:
        source["idp"] = grant.idp
    return source


GRANT_COLUMNS: Final = ", ".join(f"g.{name}" for name in Rotated._fields)
_STATE: Final = ", ".join(f"g.{name}" for name in GrantRow._fields[1:])

# One statement for up to 128 refreshes. Each row is changed only while its current token is the presented one: of two
# instances that hold the same token, the second waits for the first and then finds nothing to change. The parameters
# travel as two arrays, because encoding eight costs three times as much: a text of six lines (no identifier, scope or
# resource holds a line end) and both hashes in one.
_ROTATE: Final = f"""
UPDATE token.grants AS g
   SET prev_hash = g.cur_hash, cur_hash = i.new_hash, seq = g.seq + 1, rotated_at = $3,
       idle_at = $3 + i.idle_s * interval '1 second'
  FROM (SELECT split_part(words, E'\n', 1) AS gid, split_part(words, E'\n', 2) AS client_id,
               split_part(words, E'\n', 3)::int AS idle_s, split_part(words, E'\n', 4) AS scope,
               split_part(words, E'\n', 5) AS resource, split_part(words, E'\n', 6) AS bound_to,
               substr(hashes, 1, 32) AS old_hash, substr(hashes, 33) AS new_hash
          FROM unnest($1::text[], $2::bytea[]) AS given(words, hashes)) AS i
 WHERE g.id = i.gid AND g.client_id = i.client_id AND g.cur_hash = i.old_hash
   AND g.revoked_at IS NULL AND g.expires_at > $3 AND g.idle_at > $3
   AND (g.bound_to IS NULL OR g.bound_to = i.bound_to)
   AND (i.scope = '' OR string_to_array(i.scope, ' ') <@ string_to_array(g.scope, ' '))
   AND (i.resource = '' OR g.resource = '' OR string_to_array(i.resource, ' ') <@ string_to_array(g.resource, ' '))
RETURNING {GRANT_COLUMNS}
"""
_FIND: Final = f"SELECT {GRANT_COLUMNS}, {_STATE} FROM token.grants AS g WHERE g.id = $1"
_FIND_BY_CODE: Final = f"SELECT {GRANT_COLUMNS}, {_STATE} FROM token.grants AS g WHERE g.code_hash = $1"


# A second too early is the network's doing. Whoever asks sooner than that waits five seconds longer from then on.
_POLL: Final = text("""
INSERT INTO token.device_polls AS p (code_hash, polled_at, interval_s, hasty, expires_at)
VALUES (:hash, :now, :interval_s, false, :expires_at)
ON CONFLICT (code_hash) DO UPDATE SET
    hasty = :now < p.polled_at + (p.interval_s - 1) * interval '1 second',
    interval_s = p.interval_s + CASE WHEN :now < p.polled_at + (p.interval_s - 1) * interval '1 second'
                                     THEN 5 ELSE 0 END,
    polled_at = :now
RETURNING hasty
""")


class HotStore:
    """Reads and writes of hot paths. Raises ConnectionError while PostgreSQL is away."""

    def __init__(self, database: Database, now: Clock) -> None:
        self._database = database
        self._now = now
        self._writer: asyncpg.Connection | None = None
        self._rotate: Any = None  # the prepared statement on _writer; asyncpg is untyped
        self._rotations: Batch[Rotation, Rotated | None] = Batch(self._run_rotations, key=lambda r: r.gid)

    async def rotate_refresh_token(self, rotation: Rotation) -> Rotated | None:
        """The grant whose current token gave way just now, committed; None when nothing was changed."""
        return await self._rotations.do(rotation)

    async def find_grant(self, gid: str) -> GrantRow | None:
        """A grant by its id, however dead."""
        return await self._read(_FIND, gid)

    async def find_grant_by_code(self, code_hash: bytes) -> GrantRow | None:
        """The grant that a code produced, by the code's SHA-256."""
        return await self._read(_FIND_BY_CODE, code_hash)

    async def _read(self, statement: str, key: str | bytes) -> GrantRow | None:
        try:
            pool = await self._database.raw_pool()
            row = await pool.fetchrow(statement, key)
        except OUTAGES as error:
            raise ConnectionError("PostgreSQL") from error
        return None if row is None else _grant_row(row)

    async def _run_rotations(self, rotations: Sequence[Rotation]) -> list[Rotated | None]:
        # Always in the same order, so that batches of two instances cannot wait for each other in a circle.
        ordered = sorted(rotations)
        words = [f"{r.gid}\n{r.client_id}\n{r.idle_s}\n{r.scope}\n{r.resource}\n{r.bound_to}" for r in ordered]
        try:
            statement = await self._prepared()
            rows = await statement.fetch(words, [r.old + r.new for r in ordered], self._now())
        except OUTAGES as error:
            self._break()
            raise ConnectionError("PostgreSQL") from error
        found = {row[0]: Rotated._make(row) for row in rows}
        return [found.get(r.gid) for r in rotations]

    async def _prepared(self) -> Any:
        """The statement on a connection that is kept: acquiring one and planning cost more than running it."""
        if self._writer is None or self._writer.is_closed():
            pool = await self._database.raw_pool()
            self._writer = await pool.acquire()
            self._rotate = await self._writer.prepare(_ROTATE)
        return self._rotate

    def _break(self) -> None:
        """The connection is in an unknown state: the next statement gets another."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.terminate()

    async def stop(self) -> None:
        """The connection that was kept is back in its pool."""
        writer, self._writer = self._writer, None
        if writer is not None:
            await (await self._database.raw_pool()).release(writer)


def _grant_row(row: asyncpg.Record) -> GrantRow:
    width = len(Rotated._fields)
    return GrantRow(Rotated._make(row[:width]), *row[width:])


async def claim_grant_end(session: Session, gid: str, *, now: datetime) -> Grant | None:
    """The grant, revoked by this transaction; None when it is unknown or was revoked before."""
    statement = (
        update(Grant)
        .where(col(Grant.id) == gid, col(Grant.revoked_at).is_(None))
        .values(revoked_at=now, version=Grant.version + 1)
        .returning(Grant)
    )
    return (await session.exec(statement)).scalar_one_or_none()


async def claim_poll(
    session: Session, code_hash: bytes, *, interval_s: int, now: datetime, expires_at: datetime
) -> bool:
    """Whether a device may ask at this moment; either way it asked. Of two at the same time one may.

    interval_s: between its questions at the beginning. Spec: RFC 8628 3.5.
    """
    parameters = {"hash": code_hash, "interval_s": interval_s, "now": now, "expires_at": expires_at}
    connection = await session.connection()
    return not (await connection.execute(_POLL, parameters)).scalar_one()


async def list_grants(
    session: Session, *, after: str, limit: int, user_id: str | None, client_id: str | None, now: datetime
) -> Sequence[Grant]:
    """Grants that are neither revoked nor over, newest first, behind the id `after` ("" for the beginning)."""
    statement = select(Grant).where(col(Grant.revoked_at).is_(None), col(Grant.expires_at) > now)
    if after:
        statement = statement.where(col(Grant.id) < after)
    if user_id is not None:
        statement = statement.where(col(Grant.user_id) == user_id)
    if client_id is not None:
        statement = statement.where(col(Grant.client_id) == client_id)
    return (await session.exec(statement.order_by(col(Grant.id).desc()).limit(limit))).all()
