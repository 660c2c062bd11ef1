"""Named SQL of what demands a second factor."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, delete, text
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.types import Text
from sqlmodel import col, select

from watchword_authz.models import FactorRequirement
from watchword_database.engine import Database, Session
from watchword_database.turns import share_turn, take_turn

_DEMANDED: Final = """
EXISTS (SELECT 1 FROM authz.factor_requirement
         WHERE applies_to = 'installation'
            OR (applies_to = 'organization' AND entity_id = ANY({organizations}))
            OR (applies_to = 'client' AND entity_id = {client_id}))
"""
# On the way of each sign-in, as a plain statement: a session costs ten times as much.
_LOOK_UP: Final = f"""
SELECT EXISTS (SELECT 1 FROM authz.authenticator WHERE user_id = $1 AND confirmed_at IS NOT NULL),
       {_DEMANDED.format(organizations="$2::text[]", client_id="$3")}
"""
_IS_DEMANDED = text(f"SELECT {_DEMANDED.format(organizations=':organizations', client_id=':client_id')}").bindparams(
    bindparam("organizations", type_=ARRAY(Text))
)

_COVERED = text("""
SELECT g.gid, coalesce(s.amr, '{}'), coalesce(s.is_remembered, false)
  FROM authz.issued_grant g LEFT JOIN authz.session s ON s.id = g.sid
 WHERE g.keep_until > :now
   AND CASE :applies_to
         WHEN 'installation' THEN true
         WHEN 'client' THEN g.client_id = :entity_id
         ELSE EXISTS (SELECT 1 FROM authz.user_copy u
                       WHERE u.id = g.user_id
                         AND (u.data->>'organization' = :entity_id
                              OR u.data->'organizations' @> jsonb_build_array(
                                    jsonb_build_object('organization', CAST(:entity_id AS text))))) END
""")
_CLAIM = text("DELETE FROM authz.issued_grant WHERE gid = ANY(:gids) RETURNING gid, keep_until").bindparams(
    bindparam("gids", type_=ARRAY(Text))
)

# What is granted on one factor is granted beside other such; while a requirement is set, none is.
_TURN: Final = "authz.factor_requirement"


async def hold(session: Session) -> None:
    """No requirement is set before the transaction ends; one that is being set stands when this returns."""
    await share_turn(session, _TURN)


async def look_up(
    database: Database, user_id: str, *, organizations: Sequence[str], client_id: str | None
) -> tuple[bool, bool]:
    """Whether the person has a second factor, and whether one is demanded of them there."""
    pool = await database.raw_pool()
    has_factor, is_demanded = await pool.fetchrow(_LOOK_UP, user_id, list(organizations), client_id or "")
    return has_factor, is_demanded


async def is_demanded(session: Session, *, organizations: Sequence[str], client_id: str) -> bool:
    """Whether a second factor is demanded of people of these organizations who use the client."""
    connection = await session.connection()
    given = {"organizations": list(organizations), "client_id": client_id}
    return bool((await connection.execute(_IS_DEMANDED, given)).scalar_one())


async def claim_new(session: Session, row: FactorRequirement) -> bool:
    """True when nothing demanded the same before; nothing is granted on one factor before the transaction ends.

    What was granted before stands by then, and is seen.
    """
    await take_turn(session, _TURN)
    connection = await session.connection()
    result = await connection.execute(insert(FactorRequirement).values(**row.model_dump()).on_conflict_do_nothing())
    return result.rowcount == 1


async def list_covered_grants(
    session: Session, row: FactorRequirement, now: datetime
) -> list[tuple[str, list[str], bool]]:
    """The ids of grants that the requirement covers, each with how its session was proved."""
    connection = await session.connection()
    given = {"now": now, "applies_to": row.applies_to, "entity_id": row.entity_id}
    return [(gid, amr, is_remembered) for gid, amr, is_remembered in await connection.execute(_COVERED, given)]


async def claim_grants(session: Session, gids: Sequence[str]) -> dict[str, datetime]:
    """Those of the grants that nobody else took out to be ended, and their ends."""
    connection = await session.connection()
    return {row.gid: row.keep_until for row in await connection.execute(_CLAIM, {"gids": list(gids)})}


async def list_requirements(session: Session) -> Sequence[FactorRequirement]:
    """All of them, the oldest first."""
    return (await session.exec(select(FactorRequirement).order_by(col(FactorRequirement.id)))).all()


async def delete_requirement(session: Session, requirement_id: str) -> bool:
    """True when it stood until now."""
    result = await session.exec(delete(FactorRequirement).where(col(FactorRequirement.id) == requirement_id))
    return result.rowcount == 1
