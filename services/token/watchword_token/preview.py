"""What a revocation would end, counted before anybody makes it."""

from collections import Counter
from datetime import datetime
from typing import Final

from pydantic import BaseModel

from watchword_database import Database
from watchword_events.exports import SessionExport
from watchword_events.names import Service
from watchword_events.revocations import Claim
from watchword_runtime.feed import Feed
from watchword_runtime.internal import MAX_PAGE, InternalClient, Param
from watchword_token.revocations import NewRevocation
from watchword_token.store import GRANT_COLUMNS, Rotated, source_of

SHOWN: Final = 20
_MOST: Final = 500_000  # grants, and sessions, looked at: some seconds
_CHUNK: Final = 1_000
_CONDITIONS: Final = {
    Claim.GID: "id = $2",
    Claim.SID: "sid = $2 AND session_bound",
    Claim.SUB: "user_id = $2",
    Claim.CLIENT_ID: "client_id = $2",
    Claim.IDP: "idp = $2",
    Claim.ALL: "$2 = ''",
}
_GRANTS: Final = f"""
SELECT {GRANT_COLUMNS} FROM token.grants AS g
 WHERE revoked_at IS NULL AND expires_at > $1 AND idle_at > $1 AND ($3::timestamptz IS NULL OR auth_time < $3)
"""


class Share(BaseModel):
    """How many of the grants, and of the sessions, belong to one client or user. A session belongs to no client."""

    id: str
    grants: int
    sessions: int = 0


class Preview(BaseModel):
    """What would end. Nothing has ended.

    grants: live ones, with all their tokens.  sessions: live ones, whether an application has a grant in them or not.
    by_client, by_user: those with the most; clients, users: how many there are in all.  is_complete: false when there
    were so many that the counting stopped: the numbers are then lower bounds.
    """

    grants: int
    sessions: int
    clients: int
    users: int
    by_client: list[Share]
    by_user: list[Share]
    is_complete: bool


async def preview(
    database: Database, pulls: InternalClient, new: NewRevocation, *, feed: Feed, now: datetime
) -> Preview:
    """Counts of what is live at this moment and would not be. A single token or a key ends no grant and no session.

    Raises internal.Unreachable (503) when authz, whose the sessions are, does not answer.
    """
    clients: Counter[str] = Counter()
    users: Counter[str] = Counter()
    looked_at = 0
    condition = _CONDITIONS.get(new.claim)
    if condition is not None:
        pool = await database.raw_pool()
        async with pool.acquire() as connection, connection.transaction(readonly=True):
            cursor = await connection.cursor(f"{_GRANTS} AND ({condition})", now, new.value or "", new.issued_before)
            while looked_at < _MOST and (rows := await cursor.fetch(_CHUNK)):
                looked_at += len(rows)
                for grant in map(Rotated._make, rows):
                    if feed.is_live(source_of(grant)):
                        clients[grant.client_id] += 1
                        users[grant.user_id] += 1
    sessions, seen = await _sessions(pulls, new, feed)
    both = users + sessions
    return Preview(
        grants=clients.total(),
        sessions=sessions.total(),
        clients=len(clients),
        users=len(both),
        by_client=[Share(id=each, grants=count) for each, count in clients.most_common(SHOWN)],
        by_user=[
            Share(id=each, grants=users[each], sessions=sessions[each]) for each, _count in both.most_common(SHOWN)
        ],
        is_complete=looked_at < _MOST and seen < _MOST,
    )


async def _sessions(pulls: InternalClient, new: NewRevocation, feed: Feed) -> tuple[Counter[str], int]:
    """Live sessions that would end, by user, and how many were looked at."""
    found: Counter[str] = Counter()
    seen = 0
    params: dict[str, Param] | None
    match new.claim:
        case Claim.SID:
            params = {"id": [new.value or ""]}
        case Claim.SUB:
            params = {"user_id": new.value or ""}
        case Claim.IDP | Claim.ALL:
            params = {"after": "", "limit": MAX_PAGE}
        case _:
            return found, seen
    following: str | None = ""
    while following is not None and seen < _MOST:
        page = await pulls.export(Service.AUTHZ, "session", params)
        for item in page.items:
            session = SessionExport.model_validate(item.data)
            is_meant = new.claim is not Claim.IDP or session.provider_id == new.value
            if (
                is_meant
                and (new.issued_before is None or session.auth_time < new.issued_before)
                and feed.is_live(_lineage(session))
            ):
                found[session.user_id] += 1
        seen += len(page.items)
        following = page.next
        params = {"after": following or "", "limit": MAX_PAGE}
    return found, seen


def _lineage(session: SessionExport) -> dict[str, object]:
    """What the ledger compares of a session."""
    claims: dict[str, object] = {
        "rev": session.rev,
        "iat": session.auth_time.timestamp(),
        "sid": session.id,
        "sub": session.user_id,
    }
    return claims if session.provider_id is None else {**claims, "idp": session.provider_id}
