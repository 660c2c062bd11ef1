"""Named SQL of sessions that the ledger ended and the table does not know to be over."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import func, text
from sqlmodel import col, select

from watchword_authz.models import UserSession
from watchword_database.engine import Session
from watchword_events.revocations import Claim, RevocationKind

# What this service wrote went with a session that it ended: most of a ledger is that.
_ENTRIES: Final = text("""
SELECT position, claim, value, kind, issued_before FROM bus.revocations
 WHERE position > :after AND position <= :upto AND claim IN ('sid', 'sub', 'idp', 'all') AND written_by <> current_user
 ORDER BY position LIMIT :limit
""")


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the ledger that may have ended sessions."""

    position: int
    claim: Claim
    value: str
    kind: RevocationKind
    issued_before: datetime | None


async def oldest_rev(session: Session) -> int | None:
    """The position below which no entry can end a session that is open; None when none is."""
    return (await session.exec(select(func.min(col(UserSession.rev))).where(col(UserSession.ended_at).is_(None)))).one()


async def entries_between(session: Session, after: int, upto: int, *, limit: int) -> list[Entry]:
    """What others wrote about sessions behind one position and up to another, in its order."""
    connection = await session.connection()
    found = await connection.execute(_ENTRIES, {"after": after, "upto": upto, "limit": limit})
    return [
        Entry(position, Claim(claim), value, RevocationKind(kind), at) for position, claim, value, kind, at in found
    ]


async def lock_named(
    session: Session,
    claim: Claim,
    values: Collection[str],
    *,
    before: int,
    issued_before: datetime | None,
    after: str,
    limit: int,
) -> list[UserSession]:
    """Sessions that have not ended, are named by the claim and older than a position and a moment, by their ids.

    They are locked for this transaction; those that another has locked are left out. values: of `all` they say
    nothing.  after: behind this id.
    """
    query = select(UserSession).where(
        col(UserSession.ended_at).is_(None), UserSession.rev < before, UserSession.id > after
    )
    if issued_before is not None:
        query = query.where(UserSession.auth_time < issued_before)
    match claim:
        case Claim.SID:
            query = query.where(col(UserSession.id).in_(list(values)))
        case Claim.SUB:
            query = query.where(col(UserSession.user_id).in_(list(values)))
        case Claim.IDP:
            query = query.where(col(UserSession.provider_id).in_(list(values)))
        case _:
            pass
    found = await session.exec(query.order_by(col(UserSession.id)).limit(limit).with_for_update(skip_locked=True))
    return list(found)
