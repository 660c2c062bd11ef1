"""Named SQL of closed providers whose people are being invited."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import delete, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select

from watchword_authz.models import ClosedProvider, Credential, Passkey
from watchword_database.engine import Session

ANY_TO_LOOK_AT: Final = """
SELECT EXISTS (SELECT FROM authz.closed_provider)
    OR EXISTS (SELECT FROM bus.handover WHERE receiver = current_user AND kind = $1 AND flow = $2
                  AND taken_at IS NULL AND expires_at > $3)
"""


async def put_closed(session: Session, provider_id: str, version: int) -> None:
    """The provider's people are looked at; from the first of them where that was under way."""
    values = {"version": version, "after": ""}
    statement = insert(ClosedProvider).values(provider_id=provider_id, **values)
    await session.exec(statement.on_conflict_do_update(index_elements=["provider_id"], set_=values))


async def find_closed(session: Session) -> ClosedProvider | None:
    """One whose people have not all been looked at."""
    return (await session.exec(select(ClosedProvider).order_by(col(ClosedProvider.provider_id)).limit(1))).first()


async def claim_page(session: Session, seen: ClosedProvider, *, following: str | None) -> bool:
    """True for the one transaction that goes on from what was seen. following: the last identity; None at the end."""
    is_as_seen = (
        col(ClosedProvider.provider_id) == seen.provider_id,
        col(ClosedProvider.version) == seen.version,
        col(ClosedProvider.after) == seen.after,
    )
    if following is None:
        result = await session.exec(delete(ClosedProvider).where(*is_as_seen))
    else:
        result = await session.exec(update(ClosedProvider).where(*is_as_seen).values(after=following))
    return result.rowcount == 1


async def with_credentials(session: Session, user_ids: Sequence[str]) -> set[str]:
    """Those of the users who have a password or a passkey."""
    passwords = select(Credential.user_id).where(col(Credential.user_id).in_(user_ids))
    passkeys = select(Passkey.user_id).where(col(Passkey.user_id).in_(user_ids))
    return set((await session.exec(passwords)).all()) | set((await session.exec(passkeys)).all())
