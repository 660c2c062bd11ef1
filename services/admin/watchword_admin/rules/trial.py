"""Trying a rule, or a set of drafts, on facts: what would be decided, and why. Nothing is stored."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from watchword_admin.models import AccessRule
from watchword_admin.rules.documents import Named, RuleDocument, RuleSettings, settings_of
from watchword_policy.engine import MAX_SOURCE, EvaluationFailed, InvalidExpression, Program, RuleEngine
from watchword_policy.facts import Facts, UnfitFacts
from watchword_policy.rules import Client, Decision, Outcome, Rule, RuleSet, decide
from watchword_web.api import Moment


class TriedFacts(BaseModel):
    """The facts of a sign-in, typed in. What is left out is empty; time: now."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    groups: tuple[str, ...] = ()
    sub: str = ""
    iss: str = ""
    email: str = ""
    ip: str = ""
    time: Moment | None = None
    claims: dict[str, JsonValue] = {}


class Trial(BaseModel):
    """What to try: one `expression` or a set of rules, on `claims` or on `facts`.

    claims: as in a token; `groups`, `sub`, `iss` and `email` among them are the variables of these names.
    rules: drafts that are asked instead of what is saved; without them, and without an expression, what is saved is
    asked.  client: the id of the client that is signed in to.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    # The length is the engine's to refuse, in the answer; this keeps what cannot be an expression out of it.
    expression: Annotated[str, Field(max_length=16 * MAX_SOURCE)] | None = None
    claims: dict[str, JsonValue] | None = None
    facts: TriedFacts | None = None
    rules: Annotated[tuple[RuleDocument, ...], Field(max_length=500)] | None = None
    client: Annotated[str, Field(max_length=512)] = ""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.claims is not None and self.facts is not None:
            raise ValueError("claims: part of facts when these are given")
        if self.expression is not None and self.rules is not None:
            raise ValueError("rules: try an expression or a set of rules, not both")
        return self

    def facts_at(self, now: datetime, *, issuer: str) -> Facts:
        """The facts to try. Raises ValueError when `groups` among the claims are neither a text nor a list."""
        if self.facts is None:
            return Facts.of_claims(self.claims or {}, time=now, iss=issuer, client=self.client)
        tried = self.facts
        return Facts(
            sub=tried.sub,
            iss=tried.iss or issuer,
            time=tried.time or now,
            groups=tried.groups,
            email=tried.email,
            client=self.client,
            ip=tried.ip,
            claims=tried.claims,
        )


class Failure(BaseModel):
    """A rule that came to no answer, and why."""

    rule: str
    error: str


class Tried(BaseModel):
    """What came of it. matches: whether the expression does, or the rules let the person in.

    error: why the expression is none, or came to no answer; line, column and hint where it cannot be compiled.
    """

    matches: bool
    error: str | None = None
    line: int | None = None
    column: int | None = None
    hint: str | None = None
    outcome: Outcome | None = None
    why: str | None = None
    rule: str | None = None
    service_account: str | None = None
    roles: tuple[str, ...] | None = None
    policy: tuple[str, ...] | None = None
    failures: tuple[Failure, ...] | None = None


def try_expression(source: str, facts: Facts, engine: RuleEngine) -> Tried:
    """Whether an expression matches, or what is wrong with it."""
    try:
        return Tried(matches=engine.compile(source).matches(engine.situation(facts)))
    except InvalidExpression as error:
        return Tried(matches=False, error=str(error), line=error.line, column=error.column, hint=error.hint or None)
    except (EvaluationFailed, UnfitFacts) as error:
        return Tried(matches=False, error=str(error))


def try_rules(rules: RuleSet, facts: Facts, client: Client, engine: RuleEngine) -> Tried:
    """What a set of rules decides, and why."""
    return _tried(decide(rules, facts, client, engine))


def _tried(decision: Decision) -> Tried:
    return Tried(
        matches=decision.allowed,
        outcome=decision.outcome,
        why=decision.why,
        rule=decision.rule,
        service_account=decision.service_account,
        roles=decision.roles,
        policy=decision.policy,
        failures=tuple(Failure(rule=rule, error=error) for rule, error in decision.failures),
    )


def drafts(documents: Sequence[RuleDocument], named: Named, engine: RuleEngine) -> RuleSet:
    """Rules that are not saved."""
    return RuleSet(
        _rule(f"draft-{place}", document, named, engine.compile(document.expression))
        for place, document in enumerate(documents)
    )


def saved(rules: Sequence[AccessRule], named: Named, engine: RuleEngine) -> RuleSet:
    """Rules as they are saved."""

    def rule(row: AccessRule) -> Rule:
        document = settings_of(row)
        return _rule(row.id, document, named, engine.program(document.expression))

    return RuleSet(rule(row) for row in rules)


def _rule(rule_id: str, document: RuleSettings, named: Named, program: Program) -> Rule:
    return Rule(
        id=rule_id,
        name=document.name,
        program=program,
        precedence=document.precedence,
        service_account=document.service_account,
        roles=named.effective_roles(document),
        clients=frozenset(document.clients),
        organization=document.organization,
        organization_name=named.organization_of(document),
        enabled=document.enabled,
    )
