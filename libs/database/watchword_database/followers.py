"""Who follows the revocation ledger and how far. See docs/adr/0010-receipts-stand-in-the-table.md.

A follower is an instance of the services or somebody's verifier. It reports what it has applied at least once a second;
one that has been silent for its staleness bound and a second is called unreachable: it refuses, or introspects, by
itself, unless its policy is to accept: such a one is waited for until somebody forgets it. The clock is the database
server's. Nobody is further than the ledger itself: a position from the future counts as its head. A registered verifier
that nobody has heard of yet stands at UNHEARD.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

import asyncpg
from sqlalchemy import text

from watchword_database.engine import Session

Kind = Literal["service", "verifier"]

SILENCE_S: Final = 1.0  # longer than its bound, a follower is given to be heard

UNHEARD: Final = -1

_REPORT: Final = """
INSERT INTO bus.followers (id, kind, name, position, bound_s, policy, audience, kids, fresh)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (id) DO UPDATE SET
    name = excluded.name, position = excluded.position, bound_s = excluded.bound_s, policy = excluded.policy,
    audience = excluded.audience, kids = excluded.kids, fresh = excluded.fresh
"""
_LEAVE: Final = "DELETE FROM bus.followers WHERE id = $1"
# What stands for a registered verifier is of interest only while none of its instances is.
_FOLLOWERS: Final = text(f"""
SELECT f.id, kind, name, position, bound_s, policy, audience, kids, fresh, heard_at, started_at,
       coalesce(heard_at < clock_timestamp() - (bound_s + {SILENCE_S}) * interval '1 second', true) AS is_unreachable
  FROM bus.followers AS f
 WHERE position < :position AND NOT (position = {UNHEARD} AND EXISTS (
       SELECT FROM bus.followers AS o WHERE o.name = f.name AND o.kind = f.kind AND o.id <> f.id))
 ORDER BY kind, name, f.id
""")
_APPLIED: Final = text("""
SELECT follower AS id, kind, name, min(at) AS at
  FROM bus.receipts AS c
 WHERE lost_at IS NULL AND after < :position AND position >= :position
   AND (after > 0 OR EXISTS (SELECT FROM bus.followers AS f WHERE f.id = c.follower))
 GROUP BY follower, kind, name ORDER BY min(at), follower
""")
_LOST: Final = text("""
SELECT follower AS id, kind, name, max(c.at) AS at
  FROM bus.receipts AS c
 WHERE lost_at > :since AND after < :position AND NOT EXISTS (
       SELECT FROM bus.receipts AS r
        WHERE r.follower = c.follower AND r.lost_at IS NULL AND r.after < :position AND r.position >= :position)
 GROUP BY follower, kind, name ORDER BY kind, name, follower
""")
_EVERYWHERE: Final = (1 << 63) - 1  # above every position
# Who accepts while it is silent does so for as long as it lives, which nobody here can know: it is never forgotten.
# A receipt is of use while the ledger keeps an entry that it covers, one of a newcomer while that is there.
FORGOTTEN: Final[Mapping[str, str]] = {
    "bus.followers": "heard_at < now() - interval '1 hour' AND policy IS DISTINCT FROM 'accept'",
    "bus.receipts": """receipts.at < now() - interval '1 hour' AND (
        CASE WHEN lost_at IS NULL THEN
            after = 0 AND NOT EXISTS (SELECT FROM bus.followers AS f WHERE f.id = follower)
            OR NOT EXISTS (SELECT FROM bus.revocations AS r
                            WHERE r.position > receipts.after AND r.position <= receipts.position)
        ELSE NOT EXISTS (SELECT FROM bus.revocations AS r
                          WHERE r.position > receipts.after AND r.at < receipts.lost_at) END)""",
}


@dataclass(frozen=True, slots=True)
class Report:
    """What a follower says of itself.

    id: unique among followers (the instance's, or `<verifier name>/<instance>`).  kids: the signing keys that it would
    accept; None for one that checks no signatures, which no key rotation waits for.  fresh: what it says of itself.
    """

    id: str
    kind: Kind
    name: str
    position: int
    bound_s: float
    policy: str | None = None
    audience: str | None = None
    kids: Sequence[str] | None = None
    fresh: bool = True


@dataclass(frozen=True, slots=True)
class Follower:
    """A follower as last heard. is_unreachable: silent for its bound and a second, or never heard."""

    id: str
    kind: Kind
    name: str
    position: int
    bound_s: float
    policy: str | None
    audience: str | None
    kids: Sequence[str] | None
    fresh: bool
    heard_at: datetime | None
    started_at: datetime
    is_unreachable: bool

    @property
    def may_accept(self) -> bool:
        """Whether it may accept what it has not heard of: it can be reached, or accepts while it is stale."""
        return not self.is_unreachable or (self.policy == "accept" and self.heard_at is not None)


@dataclass(frozen=True, slots=True)
class Applied:
    """A follower's receipt. at: when it was first known to have applied the entry, or last heard before it was lost."""

    id: str
    kind: Kind
    name: str
    at: datetime


async def report(connection: "asyncpg.Connection | asyncpg.Pool", said: Report, *, timeout: float = 2.0) -> None:
    """The follower has been heard now. Only the role that wrote its row first may write it again."""
    kids = None if said.kids is None else list(said.kids)
    await connection.execute(
        _REPORT,
        said.id,
        said.kind,
        said.name,
        said.position,
        said.bound_s,
        said.policy,
        said.audience,
        kids,
        said.fresh,
        timeout=timeout,
    )


async def leave(connection: "asyncpg.Connection | asyncpg.Pool", follower_id: str, *, timeout: float = 2.0) -> bool:
    """Nobody waits for the follower any more: it accepts nothing from now on. False when it was not known."""
    return bool(await connection.execute(_LEAVE, follower_id, timeout=timeout) != "DELETE 0")


async def list_followers(session: Session) -> list[Follower]:
    """Everyone who reported within the last hour or so, or accepts while it is silent."""
    return await behind(session, _EVERYWHERE)


async def behind(session: Session, position: int) -> list[Follower]:
    """Who has not applied everything up to the position; also who is unreachable."""
    connection = await session.connection()
    return [Follower(**row._mapping) for row in await connection.execute(_FOLLOWERS, {"position": position})]


async def lacking_key(session: Session, kid: str) -> list[Follower]:
    """Who checks signatures, can be reached and does not know the key yet: a rotation waits for them."""
    known = await list_followers(session)
    return [each for each in known if each.kids is not None and kid not in each.kids and not each.is_unreachable]


async def applied(session: Session, position: int) -> list[Applied]:
    """Who has applied what stands at the position, and since when; also who has gone since."""
    connection = await session.connection()
    return [Applied(**row._mapping) for row in await connection.execute(_APPLIED, {"position": position})]


async def lost(session: Session, position: int, since: datetime) -> list[Applied]:
    """Who vanished after the time without a word and had not applied what stands at the position."""
    connection = await session.connection()
    return [Applied(**row._mapping) for row in await connection.execute(_LOST, {"position": position, "since": since})]
