"""Access rules: who may use a client, as which service account and with which roles; one decision, and why.

A client is under rules as soon as one of the installation's rules applies to it, or when it says so itself
(`access: rules`). Then somebody has to match. Of the rules that match, the one with the highest precedence decides; of
equals the one whose name comes first. An organization's own rules (the delegated level) count for its clients alone,
after a rule of the installation has matched, and with a higher precedence than that one.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from watchword_policy.engine import EvaluationFailed, Program, RuleEngine, Situation
from watchword_policy.facts import Facts, UnfitFacts

# All rules together may take so long before nobody gets in: far more than any set of ordinary rules takes. It is time
# that this thread works: a machine that is busy otherwise turns nobody away.
LONGEST_S: Final = 0.25
# Claims of tokens that a decision alone gives.
CLAIMS: Final = ("service_account", "roles", "policy")
# Between an organization and the name of its rule, which holds none itself.
SEPARATOR: Final = "/"
_CLIENTS: Final = 10_000


class Access(StrEnum):
    """What a client says about rules. auto: it is under rules as soon as there is one for it."""

    AUTO = "auto"
    RULES = "rules"
    OPEN = "open"


class Outcome(StrEnum):
    """How a decision came about; only the first two let somebody in."""

    MATCHED = "matched"
    NO_RULES = "no_rules"
    NO_MATCH = "no_match"
    UNFIT_FACTS = "unfit_facts"
    TOO_SLOW = "too_slow"


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that is ready to be asked. clients: ids; empty for all.

    organization: None for the installation's own.  organization_name: as tokens and decisions call it.
    enabled: one that is not matches nobody, but the clients that it applies to stay under rules.
    """

    id: str
    name: str
    program: Program
    precedence: int = 0
    service_account: str | None = None
    roles: tuple[str, ...] = ()
    clients: frozenset[str] = frozenset()
    organization: str | None = None
    organization_name: str | None = None
    enabled: bool = True

    @property
    def label(self) -> str:
        """The name as tokens and decisions carry it; an organization's rule is told from the installation's."""
        if self.organization is None:
            return self.name
        return f"{self.organization_name or self.organization}{SEPARATOR}{self.name}"

    @property
    def rank(self) -> tuple[int, str, str]:
        """In this order rules are asked: higher precedence first, then by name; never by chance."""
        return -self.precedence, self.name, self.id


@dataclass(frozen=True, slots=True)
class Client:
    """The client that somebody wants to use."""

    id: str
    organization: str | None = None
    access: Access = Access.AUTO


@dataclass(frozen=True, slots=True)
class Decision:
    """What the rules say. rule: the label of the one that decided.  policy: of all that matched, the decisive first.

    why: one sentence for administrators.  failures: rules that came to no answer, and why.
    """

    outcome: Outcome
    why: str
    rule: str | None = None
    rule_id: str | None = None
    service_account: str | None = None
    roles: tuple[str, ...] = ()
    policy: tuple[str, ...] = ()
    failures: tuple[tuple[str, str], ...] = ()

    @property
    def allowed(self) -> bool:
        """Whether the person, or whoever a token is about, may use the client."""
        return self.outcome in (Outcome.MATCHED, Outcome.NO_RULES)


class RuleSet:
    """All rules of an installation, in the order in which they are asked."""

    __slots__ = ("_by_client", "_rules")

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self._rules = sorted(rules, key=lambda rule: rule.rank)
        self._by_client: dict[Client, tuple[tuple[Rule, ...], frozenset[str]]] = {}

    def __len__(self) -> int:
        return len(self._rules)

    def __iter__(self) -> Iterator[Rule]:
        return iter(self._rules)

    def applying(self, client: Client) -> tuple[Rule, ...]:
        """The rules that can say something about a client."""
        return self._about(client)[0]

    def names(self, client: Client) -> frozenset[str]:
        """The variables that the answer about a client depends on."""
        return self._about(client)[1]

    def _about(self, client: Client) -> tuple[tuple[Rule, ...], frozenset[str]]:
        known = self._by_client.get(client)
        if known is None:
            if len(self._by_client) >= _CLIENTS:
                self._by_client.clear()
            applying = tuple(rule for rule in self._rules if _applies(rule, client))
            names = frozenset[str]().union(*(rule.program.names for rule in applying))
            known = self._by_client[client] = (applying, names)
        return known


def _applies(rule: Rule, client: Client) -> bool:
    return (not rule.clients or client.id in rule.clients) and rule.organization in (None, client.organization)


def decide(rules: RuleSet, facts: Facts, client: Client, engine: RuleEngine) -> Decision:
    """Whether somebody with these facts may use the client, by which rule, and as what."""
    applying = rules.applying(client) if client.access is not Access.OPEN else ()
    installation = [rule for rule in applying if rule.organization is None]
    if not installation and client.access is not Access.RULES:
        return Decision(Outcome.NO_RULES, "No rule applies to this client: whoever signs in may use it.")
    try:
        situation = engine.situation(facts)
    except UnfitFacts as error:
        return Decision(Outcome.UNFIT_FACTS, f"Rules were not asked: {error}.")
    asking = _Asking(situation)
    matched = asking.all(installation)
    if not matched:
        return asking.denied(len(installation))
    decisive = matched[0]
    delegated = [rule for rule in applying if rule.organization is not None]
    higher = asking.all([rule for rule in delegated if rule.precedence > decisive.precedence])
    if asking.is_late:
        return asking.denied(0)
    why = _why(higher[0] if higher else decisive, decisive)
    winner = higher[0] if higher else decisive
    policy = (winner, *(rule for rule in (*higher, *matched) if rule is not winner))
    return Decision(
        Outcome.MATCHED,
        why,
        rule=winner.label,
        rule_id=winner.id,
        service_account=winner.service_account,
        roles=winner.roles,
        policy=tuple(rule.label for rule in policy),
        failures=tuple(asking.failures),
    )


class _Asking:
    """Asks rules, one after the other, for as long as they may take together."""

    def __init__(self, situation: Situation) -> None:
        self._situation = situation
        self._until = time.monotonic() + LONGEST_S
        self._worked_until = time.thread_time() + LONGEST_S
        self.failures: list[tuple[str, str]] = []
        self.is_late = False

    def all(self, rules: Sequence[Rule]) -> list[Rule]:
        """Those that match, in order. A rule that comes to no answer does not match, and is noted."""
        matched = []
        for rule in rules:
            if self.is_late or self._is_over():
                self.is_late = True
                return []
            try:
                if rule.enabled and rule.program.matches(self._situation):
                    matched.append(rule)
            except EvaluationFailed as error:
                self.failures.append((rule.label, str(error)))
        return matched

    def _is_over(self) -> bool:
        # The clock of the thread is asked only when the one that costs nothing has run out.
        return time.monotonic() > self._until and time.thread_time() > self._worked_until

    def denied(self, asked: int) -> Decision:
        """The refusal, and whether it is for want of time."""
        failures = tuple(self.failures)
        if self.is_late:
            why = f"The rules took longer than {LONGEST_S} s together: nobody gets in before they are simpler."
            return Decision(Outcome.TOO_SLOW, why, failures=failures)
        why = f"None of {asked} rules matches." if asked else "The client lets in whom a rule matches, and has no rule."
        if failures:
            why += f" {len(failures)} came to no answer: {failures[0][0]} ({failures[0][1]})."
        if self._situation.left_out:
            why += f" Cannot be looked at: {', '.join(self._situation.left_out[:5])}."
        return Decision(Outcome.NO_MATCH, why, failures=failures)


def _why(winner: Rule, decisive: Rule) -> str:
    if winner is decisive:
        return f"{winner.label} matches, with precedence {winner.precedence}, the highest of those that match."
    return (
        f"{winner.label} matches, with precedence {winner.precedence}, above {decisive.precedence} of"
        f" {decisive.label}, by which the installation lets the person in."
    )
