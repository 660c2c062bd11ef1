"""Named SQL of mails on their way."""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, func, update
from sqlmodel import col, select

from watchword_authz.models import Mail
from watchword_database.engine import Session

ANY_DUE: Final = "SELECT EXISTS (SELECT FROM authz.mail WHERE due_at <= $1)"


async def claim_due(session: Session, now: datetime, *, first_wait: timedelta) -> Mail | None:
    """A mail that is due, which is nobody else's for a while: each attempt doubles the time until the next."""
    due = (
        select(Mail.id)
        .where(Mail.due_at <= now)
        .order_by(col(Mail.due_at))
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    wait_s = first_wait.total_seconds() * func.power(2, Mail.attempts)
    result = await session.exec(
        update(Mail)
        .where(col(Mail.id) == due)
        .values(attempts=Mail.attempts + 1, due_at=now + func.make_interval(0, 0, 0, 0, 0, 0, wait_s))
        .returning(Mail),
        execution_options={"populate_existing": True},
    )
    return result.scalar_one_or_none()


async def delete_mail(session: Session, mail_id: str) -> None:
    """The mail is gone: sent, or given up."""
    await session.exec(delete(Mail).where(col(Mail.id) == mail_id))
