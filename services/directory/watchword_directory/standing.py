"""Where a user stands: groups, roles and permissions as they follow from memberships, nesting and assignments."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Text

from watchword_database import Session
from watchword_directory.ranks import EVERYTHING, Rank, Reach, rank_of, with_implied
from watchword_events.exports import HomeOrganization, OrganizationRights

_IDS: Final = bindparam("ids", type_=ARRAY(Text))

# For any number of users one statement. Nestings of a deleted group are gone; UNION ends even where there is a circle.
_STANDINGS: Final = text("""
WITH RECURSIVE wanted AS (SELECT unnest(:ids) AS user_id),
own AS (
    SELECT m.user_id, m.group_id
      FROM wanted w
      JOIN directory.memberships m ON m.user_id = w.user_id
      JOIN directory.groups g ON g.id = m.group_id AND g.deleted_at IS NULL
),
belongs AS (
    SELECT user_id, group_id FROM own
    UNION
    SELECT b.user_id, n.parent_id FROM belongs b JOIN directory.nestings n ON n.child_id = b.group_id
),
held AS (
    SELECT a.user_id, a.role_id, a.organization_id, true AS is_own
      FROM wanted w JOIN directory.assignments a ON a.user_id = w.user_id
    UNION
    SELECT b.user_id, a.role_id, a.organization_id, false
      FROM belongs b JOIN directory.assignments a ON a.group_id = b.group_id
)
SELECT w.user_id, named.own, named.groups, rights.roles,
       CASE WHEN o.id IS NOT NULL THEN jsonb_build_object(
           'id', o.id, 'short_name', o.short_name, 'name', o.name,
           'external_id', o.external_id, 'domain_id', o.domain_id) END AS home
  FROM wanted w
  JOIN directory.users u ON u.id = w.user_id
  LEFT JOIN directory.organizations o ON o.id = u.organization_id
  LEFT JOIN (
      SELECT b.user_id, array_agg(g.full_name) AS groups,
             array_agg(g.full_name) FILTER (WHERE own.group_id IS NOT NULL) AS own
        FROM belongs b
        JOIN directory.groups g ON g.id = b.group_id
        LEFT JOIN own ON own.user_id = b.user_id AND own.group_id = b.group_id
       GROUP BY b.user_id
  ) AS named ON named.user_id = w.user_id
  LEFT JOIN (
      SELECT h.user_id, jsonb_agg(jsonb_build_array(h.organization_id, r.name, r.permissions, h.is_own)) AS roles
        FROM held h JOIN directory.roles r ON r.id = h.role_id AND r.deleted_at IS NULL
       GROUP BY h.user_id
  ) AS rights ON rights.user_id = w.user_id
""").bindparams(_IDS)

_GIVEN_BY_GROUPS: Final = text("""
WITH RECURSIVE up AS (
    SELECT unnest(:ids) AS group_id
    UNION
    SELECT n.parent_id FROM up JOIN directory.nestings n ON n.child_id = up.group_id
)
SELECT DISTINCT r.name, a.organization_id
  FROM up
  JOIN directory.assignments a ON a.group_id = up.group_id
  JOIN directory.roles r ON r.id = a.role_id AND r.deleted_at IS NULL
""").bindparams(_IDS)


@dataclass(frozen=True, slots=True)
class Standing:
    """What follows for one user. Every tuple is sorted.

    member_of: full names of the groups that the user was put in.  groups: those and what they lie in.  given: roles
    that the user itself has everywhere.  roles, permissions: all that hold everywhere.
    """

    member_of: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    given: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    permissions: tuple[str, ...] = ()
    organizations: tuple[OrganizationRights, ...] = ()
    home: HomeOrganization | None = None

    def rank(self, by: Reach = EVERYTHING) -> Rank:
        """Above whom the user stands. by: for whom that is asked."""
        within = (by.seen(rank_of(each.roles), each.organization) for each in self.organizations)
        return max((rank_of(self.roles), *within))


NOWHERE: Final = Standing()


@dataclass(slots=True)
class _Rights:
    roles: set[str] = field(default_factory=set)
    permissions: set[str] = field(default_factory=set)


async def standings(session: Session, user_ids: Iterable[str]) -> dict[str, Standing]:
    """The standing of each user that exists."""
    connection = await session.connection()
    rows = await connection.execute(_STANDINGS, {"ids": list(user_ids)})
    return {row.user_id: _standing(row) for row in rows}


async def standing_of(session: Session, user_id: str) -> Standing:
    """The standing of one user; nothing for one that does not exist."""
    return (await standings(session, [user_id])).get(user_id, NOWHERE)


async def rank_given_by(session: Session, group_ids: Sequence[str], by: Reach = EVERYTHING) -> Rank:
    """The highest rank that somebody gets by coming into one of these groups. by: for whom that is asked."""
    if not group_ids:
        return Rank.NONE
    connection = await session.connection()
    given = (await connection.execute(_GIVEN_BY_GROUPS, {"ids": list(group_ids)})).all()
    return max((by.seen(rank_of([row.name]), row.organization_id) for row in given), default=Rank.NONE)


def _standing(row: Any) -> Standing:
    everywhere, within, given = _Rights(), dict[str, _Rights](), set[str]()
    for organization, role, permissions, is_own in row.roles or ():
        rights = everywhere if organization is None else within.setdefault(organization, _Rights())
        rights.roles.add(role)
        rights.permissions.update(permissions)
        if is_own and organization is None:
            given.add(role)
    return Standing(
        member_of=tuple(sorted(row.own or ())),
        groups=tuple(sorted(row.groups or ())),
        given=tuple(sorted(given)),
        roles=tuple(sorted(with_implied(everywhere.roles))),
        permissions=tuple(sorted(everywhere.permissions)),
        organizations=tuple(
            OrganizationRights(
                organization=organization,
                roles=tuple(sorted(rights.roles)),
                permissions=tuple(sorted(rights.permissions)),
            )
            for organization, rights in sorted(within.items())
        ),
        home=HomeOrganization.model_validate(row.home) if row.home is not None else None,
    )
