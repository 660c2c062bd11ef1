"""Named SQL of the audit log."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import text

from watchword_admin.models import AuditSeal
from watchword_database import Session
from watchword_database.audit import GENESIS, Entry

_COLUMNS: Final = "seq, entry::text, private::text, hash"
_AFTER: Final = text(f"SELECT {_COLUMNS} FROM bus.audit WHERE seq > :after ORDER BY seq LIMIT :limit")
_HEAD: Final = text("SELECT seq, hash FROM bus.audit_head")
_SEAL: Final = text("""
INSERT INTO admin.audit_seals (seq, hash, sealed_at, mac) VALUES (:seq, :hash, :sealed_at, :mac) ON CONFLICT DO NOTHING
""")
_SEALS: Final = text("SELECT seq, hash, sealed_at, mac FROM admin.audit_seals ORDER BY seq")
_NEWEST_SEAL: Final = text("SELECT seq, hash, sealed_at, mac FROM admin.audit_seals ORDER BY seq DESC LIMIT 1")
ANY_UNSEALED: Final = """
SELECT EXISTS (SELECT FROM bus.audit WHERE seq > coalesce((SELECT max(seq) FROM admin.audit_seals), 0))
"""
_PRUNABLE: Final = text("""
SELECT seq, hash, sealed_at, mac FROM admin.audit_seals
 WHERE sealed_at <= :before AND seq >= (SELECT min(seq) FROM bus.audit) AND seq < (SELECT seq FROM bus.audit_head)
 ORDER BY seq DESC LIMIT 1
""")
_PRUNE: Final = text("SELECT bus.audit_prune(:seq)")
_DROP_SEALS: Final = text("DELETE FROM admin.audit_seals WHERE seq < :seq")
_FORGET: Final = text("SELECT bus.audit_forget(:user_id)")
_PEOPLE: Final = (
    "SELECT id FROM admin.user_copies"
    " WHERE NOT deleted AND data ->> 'organization' = ANY(CAST(:organizations AS text[]))"
)
PAGE: Final = 1000


async def list_entries(
    session: Session,
    *,
    before: int | None,
    limit: int,
    equal: Mapping[str, str],
    action_prefix: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    about: str | None = None,
    organizations: Collection[str] | None = None,
) -> Sequence[Entry]:
    """Entries, the newest first, older than `before`. equal: values by column.

    about: a person, by or to whom something was done; calls whose changes have entries of their own are left out.
    organizations: only what people of these did about themselves and each other, sign-ins among it.
    """
    where = [f"{name} = :{name}" for name in equal]
    values: dict[str, Any] = {**equal, "limit": limit}
    if before is not None:
        where.append("seq < :before")
        values["before"] = before
    if about is not None:
        where.append("(actor = :about OR resource = :about) AND action <> 'api.called'")
        values["about"] = about
    if organizations is not None:
        where.append(f"kind = 'user' AND resource IN ({_PEOPLE}) AND actor IN ({_PEOPLE})")
        values["organizations"] = list(organizations)
    if action_prefix is not None:
        where.append("starts_with(action, :prefix)")
        values["prefix"] = action_prefix
    for name, moment, compared in (("since", since, ">="), ("until", until, "<")):
        if moment is not None:
            where.append(f"at {compared} :{name}")
            values[name] = stamp(moment)
    statement = text(
        f"SELECT {_COLUMNS} FROM bus.audit{' WHERE ' + ' AND '.join(where) if where else ''}"
        " ORDER BY seq DESC LIMIT :limit"
    )
    return [Entry(*row) for row in (await (await session.connection()).execute(statement, values)).all()]


async def entries_after(session: Session, seq: int, limit: int = PAGE) -> Sequence[Entry]:
    """The entries behind a number, in their order."""
    rows = await (await session.connection()).execute(_AFTER, {"after": seq, "limit": limit})
    return [Entry(*row) for row in rows.all()]


async def all_entries(session: Session) -> AsyncIterator[Entry]:
    """Every entry in its order; -1 and less, which nothing writes, included."""
    after = -(2**62)
    while page := await entries_after(session, after):
        for entry in page:
            yield entry
        after = page[-1].seq


async def in_one_moment(session: Session) -> None:
    """Whatever this transaction reads is as it stands now; called before anything else."""
    await session.connection(execution_options={"isolation_level": "REPEATABLE READ"})


async def head(session: Session) -> tuple[int, bytes]:
    """Number and hash of the last entry, as the head of the chain says; an empty log's where there is no head."""
    row = (await (await session.connection()).execute(_HEAD)).one_or_none()
    return (0, GENESIS) if row is None else (int(row[0]), bytes(row[1]))


async def seals(session: Session) -> Sequence[AuditSeal]:
    """Every seal, the oldest first."""
    return [AuditSeal(**row._mapping) for row in (await (await session.connection()).execute(_SEALS)).all()]


async def newest_seal(session: Session) -> AuditSeal | None:
    """The newest seal."""
    row = (await (await session.connection()).execute(_NEWEST_SEAL)).one_or_none()
    return None if row is None else AuditSeal(**row._mapping)


async def put_seal(session: Session, seal: AuditSeal) -> None:
    """The seal stands; another instance may have put the same."""
    await (await session.connection()).execute(_SEAL, seal.model_dump())


async def prunable(session: Session, before: datetime) -> AuditSeal | None:
    """The newest seal from before this time that has entries up to it, and some behind it."""
    row = (await (await session.connection()).execute(_PRUNABLE, {"before": before})).one_or_none()
    return None if row is None else AuditSeal(**row._mapping)


async def prune(session: Session, seal: AuditSeal) -> int:
    """How many entries are gone: all up to the seal, which is the oldest now."""
    connection = await session.connection()
    await connection.execute(_DROP_SEALS, {"seq": seal.seq})
    return int((await connection.execute(_PRUNE, {"seq": seal.seq})).scalar_one())


async def forget(session: Session, user_id: str) -> None:
    """What entries say of a person is gone: name, address, browser, and the values that changed."""
    await (await session.connection()).execute(_FORGET, {"user_id": user_id})


def stamp(moment: datetime) -> str:
    """A time as entries say it, so that both can be compared as text."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
