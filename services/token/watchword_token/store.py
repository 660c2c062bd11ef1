"""Statements of the token service, by name. Hot ones run prepared on plain asyncpg, without an ORM in between."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import asyncpg
from sqlalchemy import update
from sqlmodel import col, select

from watchword_database import Database, Session
from watchword_runtime.clock import Clock
from watchword_token.batch import Batch
from watchword_token.models import Grant

_OUTAGES: Final = (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.OperatorInterventionError, OSError)


class Rotation(NamedTuple):
    """A refresh to be made: the token with hash `old` gives way to the one with hash `new`.

    scope, resource: what is asked for, "" for all; what is wider than the grant changes nothing.
    """

    gid: str
    client_id: str
    old: bytes
    new: bytes
    idle_s: int
    scope: str
    resource: str


class Rotated(NamedTuple):
    """A grant as its refresh needs it; scope, resource and amr are joined by spaces."""

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


class GrantRow(NamedTuple):
    """A grant with the state of its family."""

    grant: Rotated
    cur_hash: bytes | None
    prev_hash: bytes | None
    rotated_at: datetime | None
    idle_at: datetime
    revoked_at: datetime | None


_ROTATED: Final = ", ".join(f"g.{name}" for name in Rotated._fields)
_STATE: Final = ", ".join(f"g.{name}" for name in GrantRow._fields[1:])

# One statement for up to 128 refreshes. Each row is changed only while its current token is the presented one: of two
# instances that hold the same token, the second waits for the first and then finds nothing to change. The parameters
# travel as two arrays, because encoding seven costs three times as much: a text of five lines (no identifier, scope or
# resource holds a line end) and both hashes in one.
_ROTATE: Final = f"""
UPDATE token.grants AS g
   SET prev_hash = g.cur_hash, cur_hash = i.new_hash, seq = g.seq + 1, rotated_at = $3,
       idle_at = $3 + i.idle_s * interval '1 second'
  FROM (SELECT split_part(words, E'\n', 1) AS gid, split_part(words, E'\n', 2) AS client_id,
               split_part(words, E'\n', 3)::int AS idle_s, split_part(words, E'\n', 4) AS scope,
               split_part(words, E'\n', 5) AS resource,
               substr(hashes, 1, 32) AS old_hash, substr(hashes, 33) AS new_hash
          FROM unnest($1::text[], $2::bytea[]) AS given(words, hashes)) AS i
 WHERE g.id = i.gid AND g.client_id = i.client_id AND g.cur_hash = i.old_hash
   AND g.revoked_at IS NULL AND g.expires_at > $3 AND g.idle_at > $3
   AND (i.scope = '' OR string_to_array(i.scope, ' ') <@ string_to_array(g.scope, ' '))
   AND (i.resource = '' OR g.resource = '' OR i.resource = ANY (string_to_array(g.resource, ' ')))
RETURNING {_ROTATED}
"""
_FIND: Final = f"SELECT {_ROTATED}, {_STATE} FROM token.grants AS g WHERE g.id = $1"
_FIND_BY_CODE: Final = f"SELECT {_ROTATED}, {_STATE} FROM token.grants AS g WHERE g.code_hash = $1"


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
        except _OUTAGES as error:
            raise ConnectionError("PostgreSQL") from error
        return None if row is None else _grant_row(row)

    async def _run_rotations(self, rotations: Sequence[Rotation]) -> list[Rotated | None]:
        # Always in the same order, so that batches of two instances cannot wait for each other in a circle.
        ordered = sorted(rotations)
        words = [f"{r.gid}\n{r.client_id}\n{r.idle_s}\n{r.scope}\n{r.resource}" for r in ordered]
        try:
            statement = await self._prepared()
            rows = await statement.fetch(words, [r.old + r.new for r in ordered], self._now())
        except _OUTAGES as error:
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
