"""What a client would be told of a person now, in a line for each scope: shortened, never more than it would get."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import orjson
import structlog
from pydantic import JsonValue

from watchword_events.exports import ClientExport, ScopeExport, UserExport
from watchword_policy.claim_expressions import ClaimEngine
from watchword_policy.claims import CLAIMS_BY_SCOPE
from watchword_policy.engine import EvaluationFailed, InvalidExpression
from watchword_policy.facts import Facts, UnfitFacts
from watchword_policy.patterns import InvalidPattern, Pattern, chosen

log = structlog.get_logger()

MOST: Final = 6  # values in a line
LONGEST: Final = 60  # characters of a value
_ENGINE: Final = ClaimEngine()
_NEVER: Final = datetime.fromtimestamp(0, UTC)  # no expression can ask what time it is
_GROUPS: Final = frozenset({"groups", "groupstring"})


def preview_of(scope: str, user: UserExport, client: ClientExport, own: Mapping[str, ScopeExport]) -> str:
    """What the scope tells; "" where that is nothing, or nothing that says more than the scope does.

    own: the installation's own scopes.
    """
    if scope in _GROUPS:
        return _line(_groups(user, client))
    if scope == "customer":
        return user.home.name if user.home is not None else ""
    if scope in CLAIMS_BY_SCOPE:
        return _line(_standard(user, CLAIMS_BY_SCOPE[scope]))
    return _line(_own(user, own[scope])) if scope in own else ""


def _groups(user: UserExport, client: ClientExport) -> list[str]:
    """Those that the client is told of; none of them where its filter is not understood."""
    try:
        return chosen(user.groups, [Pattern(text) for text in client.groups_filter])
    except InvalidPattern:
        return []


def _standard(user: UserExport, claims: Sequence[str]) -> list[str]:
    """The values of standard claims: the names that people know themselves by first, and no part of a name again."""
    told = user.claims | {"email": user.email}
    whole = told.get("name")
    words = frozenset(whole.split()) if isinstance(whole, str) else frozenset()
    found = []
    for claim in sorted(claims, key=("preferred_username", "name").__contains__, reverse=True):
        match told.get(claim):
            case str() as value if value and (claim == "name" or not words.issuperset(value.split())):
                found.append(value)
            case dict() as parts:
                found.append(", ".join(str(part) for part in parts.values() if part))
    return list(dict.fromkeys(found))


def _own(user: UserExport, scope: ScopeExport) -> Iterable[str]:
    """Each claim that comes to something for this person, with its value."""
    claims: dict[str, JsonValue] = {**user.attributes, **user.claims, "username": user.username}
    facts = Facts(sub=user.id, iss="", time=_NEVER, groups=user.groups, email=user.email or "", claims=claims)
    for claim in scope.claims:
        try:
            value = _ENGINE.compile(claim.expression).value(_ENGINE.know(facts))
        except (EvaluationFailed, InvalidExpression, UnfitFacts) as error:
            log.info("consent.not_previewed", scope=scope.name, claim=claim.name, error=type(error).__name__)
            continue
        yield f"{claim.name}: {value if isinstance(value, str) else orjson.dumps(value).decode()}"


def _line(values: Iterable[str]) -> str:
    """The first few, each cut, and how many more there are."""
    cut = [value if len(value) <= LONGEST else f"{value[: LONGEST - 1]}…" for value in values]
    more = f" … (+{len(cut) - MOST})" if len(cut) > MOST else ""
    return ", ".join(cut[:MOST]) + more
