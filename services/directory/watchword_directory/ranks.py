"""Ranks: nobody gives or takes a role above their own, and nobody touches the account of somebody above them.

The names of Watchword's own roles are reserved; what else a role is called has no rank. Whoever administers one
organization stands below all who do something in the whole installation, and reaches nothing else.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from watchword_policy.administration import ADMINISTRATOR, AUDITOR, HELP_DESK, ORGANIZATION_ADMINISTRATOR, OWNER
from watchword_runtime.access import Caller


class Rank(IntEnum):
    """Who stands above whom."""

    NONE = 0
    ORGANIZATION = 1
    HELPER = 2
    ADMINISTRATOR = 3
    OWNER = 4


BUILT_IN: Final[Mapping[str, Rank]] = {
    OWNER: Rank.OWNER,
    ADMINISTRATOR: Rank.ADMINISTRATOR,
    HELP_DESK: Rank.HELPER,
    AUDITOR: Rank.HELPER,
    ORGANIZATION_ADMINISTRATOR: Rank.ORGANIZATION,
}


class AboveOwnRank(Exception):
    """The caller stands below what the call is about."""


@dataclass(frozen=True, slots=True)
class Reach:
    """How far somebody who administers reaches. rank: nobody who stands above it.

    organizations: only what belongs to one of these, as if there were nothing else; None for everything.
    """

    rank: Rank
    organizations: frozenset[str] | None = None

    def has(self, organization_id: str | None) -> bool:
        """Whether what belongs to an organization (None: to none) is within it."""
        return self.organizations is None or organization_id in self.organizations

    def seen(self, rank: Rank, organization_id: str | None) -> Rank:
        """How high a rank within an organization (None: everywhere) stands for the caller.

        Whoever administers another organization stands above a caller who does not reach it.
        """
        if rank is Rank.NONE or organization_id is None or self.has(organization_id):
            return rank
        return max(rank, Rank.HELPER)


EVERYTHING: Final = Reach(Rank.OWNER)


def rank_of(roles: Iterable[str]) -> Rank:
    """The highest rank among roles by their names."""
    return max((BUILT_IN.get(role, Rank.NONE) for role in roles), default=Rank.NONE)


def with_implied(roles: Iterable[str]) -> set[str]:
    """The roles, and those that one of them includes: an owner is an administrator."""
    found = set(roles)
    return found | {ADMINISTRATOR} if OWNER in found else found


def reach_of(caller: Caller) -> Reach:
    """A client that administers for itself reaches what administrators do."""
    if caller.reach is not None:
        return Reach(Rank.ORGANIZATION, caller.reach)
    if caller.user_id is None:
        return Reach(Rank.ADMINISTRATOR if caller.is_administrator else Rank.NONE)
    return Reach(rank_of(caller.roles))


def require_rank(needed: Rank, by: Reach) -> None:
    """Raises AboveOwnRank when `by` stands lower."""
    if by.rank < needed:
        raise AboveOwnRank(f"{needed.name} needed")
