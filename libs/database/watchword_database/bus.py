"""The shared schema `bus`: hand-overs, the revocation ledger and what may be spent once.

Every function is one statement in the caller's transaction. Row-level security decides who may write, read and take
what (migrations of this library); these functions only make the calls readable.
"""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Generic, TypeVar

from sqlalchemy import DateTime, Text, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import SQLModel

from watchword_database.engine import LEDGER_HINT, Database, Session
from watchword_events.handovers import Payload
from watchword_events.revocations import Claim, RevocationKind

P = TypeVar("P", bound=Payload)

TICKET_LIFE = timedelta(seconds=60)
_KEEP: Final = timedelta(hours=1)
# Clocks differ, so a verifier accepts a token a little past its end (RFC 9068 4 allows minutes). Up to there it must
# still learn that the token was revoked.
CLOCKS_DIFFER = timedelta(minutes=5)
# Whoever uses something once tells until when by the clock of its instance; PostgreSQL sweeps by its own. So that no
# clock, however wrong, has a use forgotten while it still takes the same thing for fresh: what ended CLOCKS_DIFFER ago
# is refused as used, and forgotten as long again after that.
SPENDABLE: Final = "expires_at > clock_timestamp() - interval '5 minutes'"
FORGOTTEN: Final = "expires_at < now() - interval '10 minutes'"


def ticket_hash(ticket: str) -> bytes:
    """What is stored of a ticket, code or secret of 256 random bits."""
    return hashlib.sha256(ticket.encode()).digest()


@dataclass(frozen=True, slots=True)
class Taken(Generic[P]):
    """A hand-over as its receiver sees it. `taken_at` is None for one that was only looked at and is still there."""

    payload: P
    flow: str
    created_at: datetime
    expires_at: datetime
    taken_at: datetime | None


# In the driver's own words, so that a transaction and a plain statement say the same.
_HAND_OVER: Final = """
INSERT INTO bus.handover (ticket_hash, kind, receiver, flow, payload, created_at, expires_at, keep_until)
VALUES ($1, $2, $3, $4, $5::text::jsonb, $6, $7, $8)
"""
_TAKE: Final = """
UPDATE bus.handover SET taken_at = $3
 WHERE ticket_hash = $1 AND kind = $2 AND taken_at IS NULL AND expires_at > $3
RETURNING payload, flow, created_at, expires_at, taken_at
"""
_EXCHANGE: Final = f"""
WITH taken AS ({_TAKE}) INSERT INTO {{table}} ({{columns}}) SELECT {{values}} FROM taken RETURNING true
"""
_PEEK: Final = """
SELECT payload, flow, created_at, expires_at, taken_at FROM bus.handover WHERE ticket_hash = $1 AND kind = $2
"""
_PEEK_FLOW = text("""
SELECT payload, flow, created_at, expires_at, taken_at FROM bus.handover
 WHERE receiver = current_user AND kind = :kind AND flow = :flow AND taken_at IS NULL AND expires_at > :now
 ORDER BY created_at LIMIT 1
""")
_FLOWS = text("""
SELECT DISTINCT flow FROM bus.handover
 WHERE kind = :kind AND flow = ANY(:flows) AND taken_at IS NULL AND expires_at > :now
""").bindparams(bindparam("flows", type_=ARRAY(Text)))
_WAITING = text("""
SELECT payload, flow, created_at, expires_at, taken_at FROM bus.handover
 WHERE kind = :kind AND flow = ANY(:flows) AND taken_at IS NULL AND expires_at > :now
""").bindparams(bindparam("flows", type_=ARRAY(Text)))
_TAKE_FLOW = text("""
WITH taken AS (
    UPDATE bus.handover SET taken_at = :now
     WHERE kind = :kind AND flow = :flow AND taken_at IS NULL AND expires_at > :now
    RETURNING payload, flow, created_at, expires_at, taken_at)
SELECT * FROM taken ORDER BY created_at
""")
_REVOKE = text("""
INSERT INTO bus.revocations (claim, value, kind, until, keep_until, issued_before, reason)
VALUES (:claim, :value, :kind, :until, :keep_until, :issued_before, :reason) RETURNING id
""")
_REVOKE_EACH = text("""
INSERT INTO bus.revocations (claim, value, kind, until, keep_until, reason)
SELECT :claim, value, :kind, until, until, :reason FROM unnest(:values, :untils) AS each (value, until)
RETURNING value, id
""").bindparams(bindparam("values", type_=ARRAY(Text)), bindparam("untils", type_=ARRAY(DateTime(timezone=True))))
_SEALER_ID: Final = "SELECT nextval('bus.sealer_id')"
_SPEND = text(f"""
INSERT INTO bus.spent (purpose, key_hash, expires_at)
SELECT * FROM (VALUES (:purpose, CAST(:hash AS bytea), CAST(:expires_at AS timestamptz)))
           AS used (purpose, key_hash, expires_at) WHERE {SPENDABLE}
    ON CONFLICT DO NOTHING
""")


async def hand_over(
    session: Session,
    payload: Payload,
    *,
    flow: str,
    now: datetime,
    ttl: timedelta = TICKET_LIFE,
    keep: timedelta = _KEEP,
) -> str:
    """A fresh ticket of 43 characters, which the payload's receiver can take once before `ttl` is over.

    keep: how long after its expiry the row stays to recognise a replay.
    """
    ticket, row = _row(payload, flow=flow, now=now, ttl=ttl, keep=keep)
    connection = await session.connection()
    await connection.exec_driver_sql(_HAND_OVER, row)
    return ticket


async def leave(database: Database, payload: Payload, *, flow: str, now: datetime) -> str:
    """As `hand_over`, by one plain statement of its own."""
    ticket, row = _row(payload, flow=flow, now=now, ttl=TICKET_LIFE, keep=_KEEP)
    await (await database.raw_pool()).execute(_HAND_OVER, *row)
    return ticket


def _row(
    payload: Payload, *, flow: str, now: datetime, ttl: timedelta, keep: timedelta
) -> tuple[str, tuple[object, ...]]:
    """A fresh ticket, and what is stored of it and its payload, as `_HAND_OVER` takes it."""
    ticket = secrets.token_urlsafe(32)
    return ticket, (
        ticket_hash(ticket),
        payload.kind.value,
        payload.receiver.role,
        flow,
        # A receiver of the release before this one refuses members that it does not know: it gets those that say
        # something.
        payload.model_dump_json(exclude_defaults=True),
        now,
        now + ttl,
        now + ttl + keep,
    )


async def take(session: Session, kind: type[P], ticket: str, *, now: datetime) -> Taken[P] | None:
    """The hand-over behind a ticket, which nobody can take again; None when foreign, taken, expired or unknown."""
    connection = await session.connection()
    row = (await connection.exec_driver_sql(_TAKE, (ticket_hash(ticket), kind.kind.value, now))).one_or_none()
    return None if row is None else _seen(kind, row)


async def claim(database: Database, kind: type[P], ticket: str, *, now: datetime) -> Taken[P] | None:
    """As `take`, by one plain statement of its own."""
    row = await (await database.raw_pool()).fetchrow(_TAKE, ticket_hash(ticket), kind.kind.value, now)
    return None if row is None else _seen(kind, row)


async def exchange(database: Database, kind: type[Payload], ticket: str, row: SQLModel, *, now: datetime) -> bool:
    """True for the one caller who took the hand-over, as `take`, and whose row stands in its place: one statement."""
    columns = row.model_dump()
    statement = _EXCHANGE.format(
        table=row.__table__.fullname,  # type: ignore[attr-defined]  # which every table has
        columns=", ".join(columns),
        values=", ".join(f"${place}" for place in range(4, 4 + len(columns))),
    )
    taken = await database.ask(statement, ticket_hash(ticket), kind.kind.value, now, *columns.values())
    return taken is not None


def _seen(kind: type[P], row: Sequence[Any]) -> Taken[P]:
    return Taken(kind.model_validate(row[0]), *row[1:])


async def peek(session: Session, kind: type[P], ticket: str) -> Taken[P] | None:
    """The hand-over behind a ticket without taking it; a taken or expired one is found as long as it is kept."""
    connection = await session.connection()
    row = (await connection.exec_driver_sql(_PEEK, (ticket_hash(ticket), kind.kind.value))).one_or_none()
    return None if row is None else _seen(kind, row)


async def look(database: Database, kind: type[P], ticket: str) -> Taken[P] | None:
    """As `peek`, by one plain statement of its own."""
    row = await (await database.raw_pool()).fetchrow(_PEEK, ticket_hash(ticket), kind.kind.value)
    return None if row is None else _seen(kind, row)


async def peek_flow(session: Session, kind: type[P], *, flow: str, now: datetime) -> Taken[P] | None:
    """The oldest hand-over of one kind and flow that is still there, without taking it; None when there is none."""
    connection = await session.connection()
    result = await connection.execute(_PEEK_FLOW, {"kind": kind.kind.value, "flow": flow, "now": now})
    row = result.one_or_none()
    return None if row is None else _seen(kind, row)


async def flows_of(session: Session, kind: type[Payload], *, flows: Sequence[str], now: datetime) -> set[str]:
    """Those of the flows that have a hand-over of one kind which is still there."""
    connection = await session.connection()
    return set(
        (await connection.execute(_FLOWS, {"kind": kind.kind.value, "flows": list(flows), "now": now})).scalars()
    )


async def waiting_in(session: Session, kind: type[P], *, flows: Sequence[str], now: datetime) -> list[Taken[P]]:
    """Every hand-over of one kind and any of the flows that is still there, not taken by this."""
    connection = await session.connection()
    result = await connection.execute(_WAITING, {"kind": kind.kind.value, "flows": list(flows), "now": now})
    return [_seen(kind, row) for row in result]


async def take_flow(session: Session, kind: type[P], *, flow: str, now: datetime) -> list[Taken[P]]:
    """Every hand-over of one kind and flow that is still there, oldest first, taken."""
    connection = await session.connection()
    result = await connection.execute(_TAKE_FLOW, {"kind": kind.kind.value, "flow": flow, "now": now})
    return [_seen(kind, row) for row in result]


async def revoke(
    session: Session,
    *,
    claim: Claim,
    value: str,
    kind: RevocationKind,
    reason: str,
    until: datetime,
    keep_until: datetime,
    issued_before: datetime | None = None,
) -> int:
    """The id of a new ledger entry; it gets its position after the commit and then reaches everyone.

    until: when the longest access token that it can match has expired.  keep_until: when the longest grant or
    session has.  Raises a database error when the claim is not this service's to end.
    """
    connection = await session.connection()
    result = await connection.execute(
        _REVOKE,
        {
            "claim": claim.value,
            "value": value,
            "kind": kind.value,
            "until": until + CLOCKS_DIFFER,
            "keep_until": keep_until + CLOCKS_DIFFER,
            "issued_before": issued_before,
            "reason": reason,
        },
    )
    session.hint(LEDGER_HINT)
    return int(result.scalar_one())


async def revoke_each(
    session: Session, values: Mapping[str, datetime], *, claim: Claim, kind: RevocationKind, reason: str
) -> dict[str, int]:
    """As `revoke`, of any number of values in one statement: the id of each one's entry.

    values: each with when the longest that it can match has expired.
    """
    connection = await session.connection()
    result = await connection.execute(
        _REVOKE_EACH,
        {
            "claim": claim.value,
            "values": list(values),
            "kind": kind.value,
            "untils": [until + CLOCKS_DIFFER for until in values.values()],
            "reason": reason,
        },
    )
    session.hint(LEDGER_HINT)
    return {value: int(entry_id) for value, entry_id in result}


async def spend(session: Session, *, purpose: str, key: str, expires_at: datetime) -> bool:
    """True for the first caller with this key, in any service and instance; False for everyone after.

    expires_at: when it would be refused for its age alone; False when that was CLOCKS_DIFFER ago for PostgreSQL.
    """
    connection = await session.connection()
    digest = hashlib.sha256(key.encode()).digest()
    result = await connection.execute(_SPEND, {"purpose": purpose, "hash": digest, "expires_at": expires_at})
    return result.rowcount == 1


async def sealer_id(session: Session) -> int:
    """A process number that no other process ever gets (below 2**32): the fixed part of its AES-GCM nonces."""
    connection = await session.connection()
    return int((await connection.exec_driver_sql(_SEALER_ID)).scalar_one())


async def new_sealer_id(database: Database) -> int:
    """As `sealer_id`, by one plain statement of its own."""
    return int(await database.ask(_SEALER_ID))
