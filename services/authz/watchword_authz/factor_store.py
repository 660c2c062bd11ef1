"""Named SQL of second factors. What counts once is one statement."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, func, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select

from watchword_authz.models import Authenticator, RecoveryCode
from watchword_database.engine import Session
from watchword_database.turns import take_turn


async def has_factor(session: Session, user_id: str) -> bool:
    """Whether the person has a second factor that was seen to work."""
    found = await session.exec(
        select(Authenticator.id).where(Authenticator.user_id == user_id, col(Authenticator.confirmed_at).is_not(None))
    )
    return found.one_or_none() is not None


async def find_authenticator(session: Session, user_id: str) -> Authenticator | None:
    """The person's authenticator app, also one that was not seen to work yet."""
    return await session.get(Authenticator, user_id)


async def put_authenticator(session: Session, row: Authenticator) -> bool:
    """True when this one waits for its first code now; one that works already is not replaced."""
    values = {"id": row.id, "secret": row.secret, "created_at": row.created_at, "last_step": 0}
    statement = insert(Authenticator).values(user_id=row.user_id, **values)
    connection = await session.connection()
    result = await connection.execute(
        statement.on_conflict_do_update(
            index_elements=["user_id"], set_=values, where=col(Authenticator.confirmed_at).is_(None)
        )
    )
    return result.rowcount == 1


async def claim_confirmation(session: Session, user_id: str, authenticator_id: str, step: int, now: datetime) -> bool:
    """True when this call made the authenticator one that counts. step: of the code that showed it."""
    result = await session.exec(
        update(Authenticator)
        .where(
            col(Authenticator.user_id) == user_id,
            col(Authenticator.id) == authenticator_id,
            col(Authenticator.confirmed_at).is_(None),
        )
        .values(confirmed_at=now, last_step=step, used_at=now)
    )
    return result.rowcount == 1


async def claim_step(session: Session, user_id: str, authenticator_id: str, step: int, now: datetime) -> bool:
    """True for the first use of a time step's code, and of none before it. Spec: RFC 6238 5.2."""
    result = await session.exec(
        update(Authenticator)
        .where(
            col(Authenticator.user_id) == user_id,
            col(Authenticator.id) == authenticator_id,
            col(Authenticator.confirmed_at).is_not(None),
            col(Authenticator.last_step) < step,
        )
        .values(last_step=step, used_at=now)
    )
    return result.rowcount == 1


async def delete_authenticator(session: Session, user_id: str) -> bool:
    """True when there was one; now there is none."""
    result = await session.exec(delete(Authenticator).where(col(Authenticator.user_id) == user_id))
    return result.rowcount == 1


async def put_recovery_codes(session: Session, user_id: str, hashes: Sequence[bytes], now: datetime) -> None:
    """The person has exactly these: of two calls at the same time those of the later one."""
    await take_turn(session, f"authz.recovery_codes.{user_id}")
    await delete_recovery_codes(session, user_id)
    session.add_all(RecoveryCode(user_id=user_id, code_hash=each, created_at=now) for each in hashes)


async def claim_recovery_code(session: Session, user_id: str, code_hash: bytes, now: datetime) -> bool:
    """True for the first use of one of the person's codes."""
    result = await session.exec(
        update(RecoveryCode)
        .where(
            col(RecoveryCode.user_id) == user_id,
            col(RecoveryCode.code_hash) == code_hash,
            col(RecoveryCode.used_at).is_(None),
        )
        .values(used_at=now)
    )
    return result.rowcount == 1


async def count_recovery_codes(session: Session, user_id: str) -> int:
    """How many the person has left."""
    found = await session.exec(
        select(func.count())
        .select_from(RecoveryCode)
        .where(RecoveryCode.user_id == user_id, col(RecoveryCode.used_at).is_(None))
    )
    return found.one()


async def delete_recovery_codes(session: Session, user_id: str) -> None:
    """The person has none."""
    await session.exec(delete(RecoveryCode).where(col(RecoveryCode.user_id) == user_id))
