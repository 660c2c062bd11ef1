"""What an administrator ends by hand: any claim of the ledger."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, model_validator
from sqlalchemy import Row, text

from watchword_database import Session, bus
from watchword_events.revocations import Claim, RevocationKind
from watchword_runtime.access import API_KEY_PREFIX
from watchword_token.api_keys import revoke_api_key
from watchword_token.keys import Keys
from watchword_token.lifetimes import FOR_EVER, LONGEST_ACCESS_TOKEN, LONGEST_GRANT
from watchword_token.revocation import Revoking
from watchword_web.api import Moment

_COLUMNS: Final = "id, position, claim, value, kind, issued_before, reason, at, until"
_GET: Final = text(f"SELECT {_COLUMNS} FROM bus.revocations WHERE id = :id")
_LIST: Final = text(
    f"SELECT {_COLUMNS} FROM bus.revocations WHERE :before = 0 OR id < :before ORDER BY id DESC LIMIT :limit"
)
_WHERE: Final = text(f"""
SELECT {_COLUMNS} FROM bus.revocations
  JOIN unnest(CAST(:claims AS text[]), CAST(:values AS text[])) AS named(claim, value) USING (claim, value)
 ORDER BY id DESC LIMIT :limit
""")


class UnknownKey(LookupError):
    """There is no key with this kid."""


class NewRevocation(BaseModel):
    """What shall end. `all` has no value; `issued_before` narrows to what was issued earlier."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    claim: Claim
    value: str | None = Field(None, min_length=1, max_length=256, pattern=r"^[\x21-\x7e]+$")
    issued_before: Moment | None = None

    @model_validator(mode="after")
    def _fits(self) -> "NewRevocation":
        if (self.claim is Claim.ALL) != (self.value is None):
            raise ValueError("`all` takes no value, every other claim needs one")
        if self.claim is Claim.KID and self.issued_before is not None:
            raise ValueError("a key is revoked as a whole: leave issued_before out")
        return self


class RevocationView(BaseModel):
    """An entry of the ledger. position: null until the leader has numbered it, some milliseconds after the call."""

    id: int
    position: int | None
    claim: str
    value: str
    kind: str
    issued_before: datetime | None
    reason: str
    at: datetime
    until: datetime


async def revoke_by_hand(session: Session, new: NewRevocation, *, revoking: Revoking, keys: Keys, now: datetime) -> int:
    """The id of the ledger entry, to be settled after the transaction; grants and API keys are ended with their rows.

    A key's place is taken by a new one at once. Raises UnknownKey.
    """
    value = new.value or ""
    if new.claim is Claim.GID and new.issued_before is None:
        ended = (
            await revoke_api_key(session, value, feed=revoking.feed, now=now)
            if value.startswith(API_KEY_PREFIX)
            else await revoking.end_grant(session, value, reason="administrator")
        )
        if ended is not None:
            return ended
    if new.claim is Claim.KID and not await keys.table.revoke(session, value):
        raise UnknownKey(value)
    kept = FOR_EVER if new.claim is Claim.KID else LONGEST_GRANT
    entry_id = await bus.revoke(
        session,
        claim=new.claim,
        value=value,
        kind=RevocationKind.STATE if new.claim is Claim.KID else RevocationKind.CUT,
        reason="administrator",
        until=now + (kept if new.claim is Claim.KID else LONGEST_ACCESS_TOKEN),
        keep_until=now + kept,
        issued_before=new.issued_before,
    )
    if new.issued_before is None:
        revoking.feed.pend(entry_id, new.claim, value)
    return entry_id


async def find_revocation(session: Session, entry_id: int) -> RevocationView | None:
    """One entry of the ledger."""
    connection = await session.connection()
    row = (await connection.execute(_GET, {"id": entry_id})).one_or_none()
    return None if row is None else _view(row)


async def list_revocations(session: Session, *, before: int, limit: int) -> Sequence[RevocationView]:
    """Entries of the ledger, newest first, older than the id `before` (0 for the beginning)."""
    connection = await session.connection()
    return [_view(row) for row in await connection.execute(_LIST, {"before": before, "limit": limit})]


async def entries_where(session: Session, named: Sequence[tuple[str, str]], *, limit: int) -> list[RevocationView]:
    """The newest entries for any of these claims and values, oldest first."""
    connection = await session.connection()
    parameters = {"claims": [c for c, _ in named], "values": [v for _, v in named], "limit": limit}
    return [_view(row) for row in reversed((await connection.execute(_WHERE, parameters)).all())]


def _view(row: Row[Any]) -> RevocationView:
    return RevocationView.model_validate(dict(row._mapping))
