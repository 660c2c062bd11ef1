"""Claims of the installation's own: the scopes that administrators made, and what they tell of a person."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

import structlog
from pydantic import JsonValue

from watchword_events.exports import ScopeExport, UserExport
from watchword_policy.claim_expressions import ClaimEngine, ClaimProgram
from watchword_policy.engine import EvaluationFailed, InvalidExpression
from watchword_policy.facts import Facts, UnfitFacts

log = structlog.get_logger()

Place = Literal["id_token", "userinfo", "access_token"]
_ENGINE: Final = ClaimEngine()
_NEVER: Final = datetime.fromtimestamp(0, UTC)  # no expression can ask what time it is


@dataclass(frozen=True, slots=True)
class OwnClaim:
    """One claim of a scope, compiled."""

    name: str
    program: ClaimProgram
    places: frozenset[str]


Scopes = Mapping[str, tuple[OwnClaim, ...]]
Told = dict[str, dict[str, dict[str, JsonValue]]]  # by scope, by place, by name
NO_SCOPES: Final[Scopes] = {}
OwnClaims = tuple[tuple[str, tuple[str, ...]], ...]  # each scope with the names of its claims, in order
NO_CLAIMS: Final[OwnClaims] = ()


def scopes_of(exports: Sequence[ScopeExport]) -> Scopes:
    """All scopes that open claims, by name. One that does not compile any more opens nothing, and is logged."""
    found: dict[str, tuple[OwnClaim, ...]] = {}
    for export in exports:
        claims = []
        for claim in export.claims:
            try:
                claims.append(OwnClaim(claim.name, _ENGINE.compile(claim.expression), claim.appears_in))
            except InvalidExpression as error:
                log.error("scope.claim_unusable", scope=export.name, claim=claim.name, detail=str(error))
        found[export.name] = tuple(claims)
    return found


def names_of(scopes: Scopes) -> OwnClaims:
    """What discovery lists."""
    return tuple((scope, tuple(claim.name for claim in scopes[scope])) for scope in sorted(scopes))


def told_of(user: UserExport, scopes: Scopes) -> Told:
    """What each scope tells of a person, where. A claim that comes to nothing for this person is left out."""
    if not any(scopes.values()):
        return {}
    claims: dict[str, JsonValue] = {**user.attributes, **user.claims, "username": user.username}
    facts = Facts(sub=user.id, iss="", time=_NEVER, groups=user.groups, email=user.email or "", claims=claims)
    try:
        known = _ENGINE.know(facts)
    except UnfitFacts as error:
        log.warning("scope.facts_unfit", user_id=user.id, detail=str(error))
        return {}
    told: Told = {}
    for scope, own in scopes.items():
        for claim in own:
            try:
                value = claim.program.value(known)
            except EvaluationFailed:
                continue
            for place in claim.places:
                told.setdefault(scope, {}).setdefault(place, {})[claim.name] = value
    return told
