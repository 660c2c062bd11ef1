"""Versions rise with what stands behind them: a group, a role or an organization changed, so claims of people did.

The change notes what stands behind whom, and commits. Only then versions rise, in portions, each a transaction that
locks a thousand rows for milliseconds: so a group of a hundred thousand stops nobody, and whoever came into the group
while it was being changed rises as well. The call that made the change sees to the first portions itself.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog
from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Text
from sqlmodel import col, select

from watchword_database import Database, Session, transaction
from watchword_database.base import TIMESTAMP
from watchword_directory.models import Behind, ClaimsDue
from watchword_events.contracts import MembershipChanged, UserUpdated
from watchword_runtime.clock import Clock
from watchword_runtime.rounds import Rounds

log = structlog.get_logger()

PORTION: Final = 1000
PORTIONS_AT_ONCE: Final = 8  # before the call returns; the rest follows behind its back
LOOK_S: Final = 0.5

_ANYBODY: Final = "SELECT EXISTS (SELECT FROM directory.claims_due)"
_IDS: Final = bindparam("ids", type_=ARRAY(Text))
_MEMBERS: Final = {
    Behind.GROUP: text(
        "SELECT user_id FROM directory.memberships WHERE group_id = :id AND user_id > :after ORDER BY 1 LIMIT :limit"
    ),
    Behind.ROLE: text(
        "SELECT DISTINCT user_id FROM directory.assignments"
        " WHERE role_id = :id AND user_id > :after ORDER BY 1 LIMIT :limit"
    ),
    Behind.ORGANIZATION: text(
        "SELECT id FROM directory.users WHERE organization_id = :id AND id > :after ORDER BY 1 LIMIT :limit"
    ),
}
# What a deleted group or role left behind goes with the versions that rise because of it.
_LEFT_BEHIND: Final = {
    Behind.GROUP: text(
        "DELETE FROM directory.memberships m USING directory.groups g"
        " WHERE m.group_id = :id AND m.user_id = ANY(:ids) AND g.id = m.group_id AND g.deleted_at IS NOT NULL"
    ).bindparams(_IDS),
    Behind.ROLE: text(
        "DELETE FROM directory.assignments a USING directory.roles r"
        " WHERE a.role_id = :id AND a.user_id = ANY(:ids) AND r.id = a.role_id AND r.deleted_at IS NOT NULL"
    ).bindparams(_IDS),
}
# Locked in one order, whoever else locks several: no deadlocks.
_LOCK: Final = text(
    "SELECT id FROM directory.users WHERE id = ANY(:ids) AND deleted_at IS NULL ORDER BY id FOR NO KEY UPDATE"
).bindparams(_IDS)
# A thousand events as one statement: written one by one they take four times as long as everything else.
_RISE: Final = text("""
WITH risen AS (
    UPDATE directory.users SET version = version + 1, claims_version = version + 1, updated_at = :now
     WHERE id = ANY(:ids) RETURNING id, version
)
INSERT INTO directory.outbox (type, subject, aggregate_id, aggregate_version, body)
SELECT :type, :subject, id, version, jsonb_build_object('id', id, 'version', version, 'claims_version', version)
  FROM risen ORDER BY id
RETURNING id
""").bindparams(_IDS, bindparam("now", type_=TIMESTAMP))
_ANNOUNCE_MEMBERS: Final = text("""
INSERT INTO directory.outbox (type, subject, aggregate_id, aggregate_version, body)
SELECT :type, :subject, id, version, jsonb_build_object(
           'id', id, 'version', version, 'is_member', CAST(:is_member AS boolean), 'group_id', CAST(:group_id AS text))
  FROM directory.users WHERE id = ANY(:ids) AND deleted_at IS NULL ORDER BY id
RETURNING id
""").bindparams(_IDS)


@dataclass(frozen=True, slots=True)
class Source:
    """What a set of users stands behind."""

    behind: Behind
    id: str


async def lock_users(session: Session, user_ids: Iterable[str]) -> list[str]:
    """Those of the users that exist, in order, locked until the end of the transaction."""
    connection = await session.connection()
    return list((await connection.execute(_LOCK, {"ids": list(user_ids)})).scalars())


async def rise_together(session: Session, user_ids: Iterable[str], *, now: datetime) -> None:
    """Each user that exists stands at its next version. Appends UserUpdated for each.

    Not for users that this session holds as objects: they would not notice.
    """
    locked = await lock_users(session, user_ids)
    if not locked:
        return
    connection = await session.connection()
    event = {"type": UserUpdated.type_name(), "subject": UserUpdated.subject()}
    rows = (await connection.execute(_RISE, {"ids": locked, "now": now, **event})).scalars().all()
    session.wrote_events(UserUpdated.entity, rows[-1])


async def announce_members(session: Session, group_id: str, user_ids: Sequence[str], *, is_member: bool) -> None:
    """Appends MembershipChanged for each of the users, at the version that each stands at."""
    event = {"type": MembershipChanged.type_name(), "subject": MembershipChanged.subject()}
    about = {"ids": list(user_ids), "group_id": group_id, "is_member": is_member}
    connection = await session.connection()
    rows = (await connection.execute(_ANNOUNCE_MEMBERS, {**about, **event})).scalars().all()
    if rows:
        session.wrote_events(MembershipChanged.entity, rows[-1])


async def rise_behind(session: Session, sources: Sequence[Source], *, now: datetime) -> list[int]:
    """Everybody behind the sources is due: their versions rise once this transaction is committed.

    Returns what `ClaimsWorker.settle` takes.
    """
    due = [ClaimsDue(behind=each.behind, behind_id=each.id, created_at=now) for each in sources]
    session.add_all(due)
    await session.flush()
    return [each.id for each in due if each.id is not None]


async def rise_portion(session: Session, *, now: datetime, due_id: int | None = None) -> bool:
    """Some of those who are due have risen; False when nobody is, or others see to it. due_id: of one note only."""
    statement = select(ClaimsDue).order_by(col(ClaimsDue.id)).limit(1)
    if due_id is None:
        statement = statement.with_for_update(skip_locked=True)
    else:
        statement = statement.where(col(ClaimsDue.id) == due_id).with_for_update()
    due = (await session.exec(statement)).one_or_none()
    if due is None:
        return False
    source = Source(Behind(due.behind), due.behind_id)
    members = await _members(session, source, after=due.after)
    await rise_together(session, members, now=now)
    await _clear(session, source, members)
    if len(members) < PORTION:
        await session.delete(due)
    else:
        due.after = members[-1]
    return True


async def _members(session: Session, source: Source, *, after: str) -> list[str]:
    connection = await session.connection()
    parameters = {"id": source.id, "after": after, "limit": PORTION}
    return list((await connection.execute(_MEMBERS[source.behind], parameters)).scalars())


async def _clear(session: Session, source: Source, user_ids: list[str]) -> None:
    statement = _LEFT_BEHIND.get(source.behind)
    if statement is not None and user_ids:
        await (await session.connection()).execute(statement, {"id": source.id, "ids": user_ids})


class ClaimsWorker(Rounds):
    """Lets those rise who are due, in the background of one instance; any number of instances may."""

    def __init__(self, database: Database, *, now: Clock, every_s: float = LOOK_S) -> None:
        super().__init__(every_s=every_s, failure="claims.not_risen")
        self._database = database
        self._now = now

    async def once(self) -> None:
        """Nobody who is due is left."""
        while await self._database.ask(_ANYBODY) and await self._portion():
            pass

    async def settle(self, due: Iterable[int]) -> None:
        """Those who are due by these notes have risen, unless they are many. To be called after the transaction."""
        left = PORTIONS_AT_ONCE
        for due_id in due:
            while left and await self._portion(due_id):
                left -= 1

    async def _portion(self, due_id: int | None = None) -> bool:
        async with transaction(self._database) as session:
            return await rise_portion(session, now=self._now(), due_id=due_id)
