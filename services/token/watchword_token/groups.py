"""How a client is told of a person's groups: under which name, and which of them."""

from dataclasses import dataclass

import orjson
import structlog
from pydantic import JsonValue

from watchword_events.exports import ClientExport
from watchword_policy.patterns import InvalidPattern, Pattern, chosen

log = structlog.get_logger()

CLAIM = "groups"
TEXT = "groupstring"


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """claim: the name.  patterns: one of which a group's name matches; empty for every group."""

    claim: str = CLAIM
    patterns: tuple[Pattern, ...] = ()

    @property
    def is_usual(self) -> bool:
        """Whether the client is told as clients usually are."""
        return self.claim == CLAIM and not self.patterns

    def told(self, claims: dict[str, JsonValue]) -> dict[str, JsonValue]:
        """The claims, with the groups among them as this client is told of them; as one text, they keep their name."""
        if self.is_usual:
            return claims
        told = {name: value for name, value in claims.items() if name not in (CLAIM, TEXT)}
        groups, text = claims.get(CLAIM), claims.get(TEXT)
        if isinstance(groups, list) and (left := self._chosen(groups)):
            told[self.claim] = left
        if isinstance(text, str) and (left := self._chosen(orjson.loads(text))):
            told[TEXT] = orjson.dumps(left).decode()
        return told

    def _chosen(self, groups: list[JsonValue]) -> list[JsonValue]:
        return [*chosen((group for group in groups if isinstance(group, str)), self.patterns)]


def groups_of(export: ClientExport) -> Groups:
    """As the client is configured. A pattern that this release does not understand matches nothing."""
    patterns = []
    for text in export.groups_filter:
        try:
            patterns.append(Pattern(text))
        except InvalidPattern as error:
            log.error("client.groups_filter_not_understood", client_id=export.client_id, reason=str(error))
            patterns.append(Pattern(r"[^\x00-\x{10FFFF}]"))
    return Groups(export.groups_claim, tuple(patterns))
