"""What to do with a good token while nobody here can know whether it was revoked: a policy for each audience."""

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Final


class WhenStale(StrEnum):
    """What to do with a good token while we cannot know whether it was revoked."""

    INTROSPECT = "introspect"  # ask the issuer; refuse when it does not answer
    REFUSE = "refuse"
    ACCEPT = "accept"  # go on with what was known last; never before anything was known


_STRICTEST_FIRST: Final = (WhenStale.REFUSE, WhenStale.INTROSPECT, WhenStale.ACCEPT)


class Policies:
    """The policy of each audience that is accepted here."""

    def __init__(self, audiences: Collection[str], when_stale: WhenStale | Mapping[str, WhenStale]) -> None:
        """when_stale: one policy for all, or one by audience; an audience that is not named introspects.

        Raises ValueError for what is no policy and for an audience that is not accepted here: it would be a slip.
        """
        named = dict.fromkeys(audiences, when_stale) if isinstance(when_stale, str) else when_stale
        if unknown := named.keys() - set(audiences):
            raise ValueError(f"when_stale names what is no audience here: {', '.join(sorted(unknown))}")
        self._by_audience = {name: WhenStale(named.get(name, WhenStale.INTROSPECT)) for name in sorted(audiences)}

    def strictest(self, audiences: Collection[str]) -> WhenStale:
        """What holds for a token with these audiences, of which one at least is accepted here."""
        matched = {policy for name, policy in self._by_audience.items() if name in audiences}
        return next(policy for policy in _STRICTEST_FIRST if policy in matched)

    def most_lenient(self) -> tuple[str, WhenStale]:
        """The policy that keeps tokens alive the longest, with the first audience that has it: for the receipts."""
        return max(self._by_audience.items(), key=lambda item: _STRICTEST_FIRST.index(item[1]))
