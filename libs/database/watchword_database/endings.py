"""What the ledger ended, as a condition on a table of the service's own."""

from datetime import datetime

from sqlalchemy import ColumnElement, column, exists, or_, table
from sqlalchemy.orm import Mapped

from watchword_events.revocations import Claim, RevocationKind

_REVOCATIONS = table("revocations", *map(column, ("claim", "kind", "position", "issued_before")), schema="bus")


def ended_with_everything(rev: Mapped[int], created_at: Mapped[datetime]) -> ColumnElement[bool]:
    """That everything which was given out so early was ended, whenever the entry is still in the ledger.

    rev: the position of the ledger before the thing was made.
    """
    entry = _REVOCATIONS.c
    return exists().where(
        entry.claim == Claim.ALL,
        entry.kind == RevocationKind.CUT,
        entry.position > rev,
        or_(entry.issued_before.is_(None), created_at < entry.issued_before),
    )
