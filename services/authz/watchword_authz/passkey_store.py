"""Named SQL of passkeys."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, or_, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select

from watchword_authz.models import Passkey
from watchword_database.engine import Session
from watchword_database.turns import take_turn


async def find_passkey(session: Session, credential_id: bytes) -> Passkey | None:
    """The passkey with this id."""
    return await session.get(Passkey, credential_id)


async def list_passkeys(session: Session, user_id: str) -> Sequence[Passkey]:
    """A person's, the oldest first."""
    found = await session.exec(select(Passkey).where(Passkey.user_id == user_id).order_by(col(Passkey.created_at)))
    return found.all()


async def hold_passkeys(session: Session, user_id: str) -> Sequence[Passkey]:
    """As `list_passkeys`; none is added or removed by anybody else before the transaction ends."""
    await take_turn(session, f"authz.passkeys.{user_id}")
    return await list_passkeys(session, user_id)


async def claim_new_passkey(session: Session, row: Passkey) -> bool:
    """True when the passkey is the person's now; False when it is somebody's already."""
    connection = await session.connection()
    result = await connection.execute(insert(Passkey).values(**row.model_dump()).on_conflict_do_nothing())
    return result.rowcount == 1


async def claim_use(session: Session, credential_id: bytes, sign_count: int, now: datetime) -> bool:
    """True when the counter is beyond all that were seen, or is one that always says zero.

    Spec: WebAuthn Level 3 6.1.1, 7.2.
    """
    does_count = col(Passkey.sign_count) < sign_count
    never_counts = (col(Passkey.sign_count) == 0) & (sign_count == 0)
    result = await session.exec(
        update(Passkey)
        .where(col(Passkey.credential_id) == credential_id, or_(does_count, never_counts))
        .values(sign_count=sign_count, used_at=now)
    )
    return result.rowcount == 1


async def delete_passkey(session: Session, user_id: str, credential_id: bytes) -> bool:
    """True when the person had it; now nobody has."""
    result = await session.exec(
        delete(Passkey).where(col(Passkey.user_id) == user_id, col(Passkey.credential_id) == credential_id)
    )
    return result.rowcount == 1


async def delete_passkeys(session: Session, user_id: str) -> bool:
    """True when the person had any; now there is none."""
    result = await session.exec(delete(Passkey).where(col(Passkey.user_id) == user_id))
    return result.rowcount > 0
