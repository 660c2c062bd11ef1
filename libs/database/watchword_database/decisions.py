"""What access rules decided, in the shared schema: written by who decides, read and forgotten by authz alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final

import asyncpg
from sqlalchemy import text

from watchword_database.engine import Session


@dataclass(frozen=True, slots=True)
class DecisionRow:
    """One decision. facts: sealed.  failures: rules that came to no answer, and why.  user_id: None for a stranger."""

    id: str
    at: datetime
    occasion: str
    client_id: str
    user_id: str | None
    allowed: bool
    outcome: str
    rule: str | None
    rule_id: str | None
    service_account: str | None
    roles: Sequence[str]
    policy: Sequence[str]
    why: str
    failures: Mapping[str, str]
    facts: bytes


_NAMES: Final = tuple(field.name for field in fields(DecisionRow))
_COLUMNS: Final = ", ".join(_NAMES)
_INSERT: Final = (
    f"INSERT INTO bus.decisions ({_COLUMNS})"
    f" VALUES ({', '.join(f'${n}' for n in range(1, len(_NAMES) + 1))}) ON CONFLICT DO NOTHING"
)
_FIND: Final = text(f"SELECT {_COLUMNS} FROM bus.decisions WHERE id = :id")
# The newest sign-in of each person at each client, among the newest of all: what is looked at is bounded twice.
_LATEST: Final = text(f"""
WITH newest AS (
    SELECT id, user_id, client_id FROM bus.decisions
     WHERE occasion = 'sign-in' AND user_id IS NOT NULL AND at >= :since
       AND (CAST(:clients AS text[]) IS NULL OR client_id = ANY (:clients))
     ORDER BY id DESC LIMIT :most_rows),
latest AS (SELECT DISTINCT ON (user_id, client_id) id FROM newest ORDER BY user_id, client_id, id DESC)
SELECT (SELECT count(*) FROM newest), (SELECT count(*) FROM latest), {", ".join(f"d.{name}" for name in _NAMES)}
  FROM latest JOIN bus.decisions d USING (id) ORDER BY d.id DESC LIMIT :most
""")
_DELETE_OF: Final = text("DELETE FROM bus.decisions WHERE user_id = :user_id")


async def insert(pool: asyncpg.Pool, rows: Sequence[DecisionRow]) -> None:
    """The decisions are there; one that was written before stays as it is."""
    await pool.executemany(_INSERT, [tuple(getattr(row, name) for name in _NAMES) for row in rows])


async def find(session: Session, decision_id: str) -> DecisionRow | None:
    """The decision with an id."""
    connection = await session.connection()
    row = (await connection.execute(_FIND, {"id": decision_id})).one_or_none()
    return None if row is None else DecisionRow(*row)


async def list_decisions(
    session: Session,
    *,
    before: str,
    limit: int,
    user_id: str | None = None,
    client_id: str | None = None,
    rule_id: str | None = None,
    allowed: bool | None = None,
) -> list[DecisionRow]:
    """Decisions, newest first, older than the one with the id `before` ("" for the newest); only those that fit."""
    wanted: dict[str, Any] = {
        "user_id": user_id, "client_id": client_id, "rule_id": rule_id, "allowed": allowed,
    }  # fmt: skip
    given = {name: value for name, value in wanted.items() if value is not None}
    where = [f"{name} = :{name}" for name in given] + (["id < :before"] if before else [])
    statement = text(
        f"SELECT {_COLUMNS} FROM bus.decisions"
        f"{' WHERE ' + ' AND '.join(where) if where else ''} ORDER BY id DESC LIMIT :limit"
    )
    connection = await session.connection()
    rows = await connection.execute(statement, given | ({"before": before} if before else {}) | {"limit": limit})
    return [DecisionRow(*row) for row in rows]


@dataclass(frozen=True, slots=True)
class SignIns:
    """Sign-ins that rules decided about. count: how many there were.  pairs: of how many persons at how many clients.

    latest: the newest of each pair, newest first, no more than were asked for.
    """

    count: int
    pairs: int
    latest: Sequence[DecisionRow]


async def latest_sign_ins(
    session: Session, *, since: datetime, clients: Sequence[str] | None, most: int, most_rows: int
) -> SignIns:
    """The newest sign-in of each person at each client. clients: only these, None for all.  most_rows: looked at."""
    connection = await session.connection()
    given = {"since": since, "clients": clients, "most": most, "most_rows": most_rows}
    rows = (await connection.execute(_LATEST, given)).all()
    if not rows:
        return SignIns(0, 0, ())
    return SignIns(int(rows[0][0]), int(rows[0][1]), [DecisionRow(*row[2:]) for row in rows])


async def forget_of(session: Session, user_id: str) -> None:
    """Nothing is left of what was decided about a person."""
    connection = await session.connection()
    await connection.execute(_DELETE_OF, {"user_id": user_id})
