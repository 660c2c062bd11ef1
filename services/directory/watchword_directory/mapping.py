"""What a provider's rules make of the claims about a person: who is let in, with which roles, in which groups."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final, NamedTuple

import structlog
from pydantic import BaseModel, ConfigDict

from watchword_directory.provisioning import email_of, is_in
from watchword_events.exports import GroupSyncExport, ProviderExport
from watchword_events.handovers import VerifiedIdentity
from watchword_policy.engine import InvalidExpression, Program, RuleEngine
from watchword_policy.facts import Facts
from watchword_policy.patterns import Pattern
from watchword_policy.rules import Access, Client, Decision, Rule, RuleSet, decide
from watchword_policy.upstream_groups import spellings, upstream_groups

log = structlog.get_logger()

# The rules of a provider are about no client: they are asked in their order, and somebody has to match.
_NO_CLIENT: Final = Client("", access=Access.RULES)


class Mapped(BaseModel):
    """What a person gets from a provider, by names.

    groups: full names here.  taken_over: names of the provider's own groups, which come over as they are.  rule: the
    one that gave the roles, None for the default role.  why: one sentence for administrators.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    roles: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    taken_over: tuple[str, ...] = ()
    rule: str | None = None
    why: str = ""


NOTHING: Final = Mapped()


class TrueRules(NamedTuple):
    """Rules that are true of somebody, by their places from 1. failures: those that came to no answer, and why."""

    roles: tuple[int, ...] = ()
    groups: tuple[int, ...] = ()
    failures: tuple[str, ...] = ()


class NotLetIn(Exception):
    """The provider's settings do not let the person in. code: of the error page; the message is for administrators."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(why)
        self.code = code


class Mapper:
    """Asks providers' rules. One for each process: what was compiled is kept."""

    def __init__(self) -> None:
        self._engine = RuleEngine()

    def mapped(self, provider: ProviderExport, identity: VerifiedIdentity, *, now: datetime) -> Mapped:
        """What the person gets. Raises NotLetIn: email_domain_not_allowed, access_denied."""
        _check_domain(provider, identity)
        sync = provider.group_sync
        named = upstream_groups(identity.claims, sync.claim if sync is not None else None)
        facts = _facts(identity, named, now=now)
        roles, rule, why = self._roles(provider, facts)
        groups, taken_over = ((), ()) if sync is None else self._groups(provider, sync, named, facts)
        return Mapped(roles=roles, groups=groups, taken_over=taken_over, rule=rule, why=why)

    def true_of(self, provider: ProviderExport, identity: VerifiedIdentity, *, now: datetime) -> "TrueRules":
        """Which rules are true of the person, also those that did not decide."""
        sync, mapping = provider.group_sync, provider.role_mapping
        named = upstream_groups(identity.claims, sync.claim if sync is not None else None)
        facts = _facts(identity, named, now=now)
        roles = [rule.expression for rule in mapping.rules] if mapping is not None else []
        groups = [rule.expression for rule in sync.rules] if sync is not None else []
        of_roles = self._decide(f"{provider.id}/roles", roles, facts)
        of_groups = self._decide(f"{provider.id}/groups", groups, facts)
        failures = [
            f"{where}, {label}: {reason}"
            for where, decision in (("roles", of_roles), ("groups", of_groups))
            for label, reason in decision.failures
        ]
        return TrueRules(
            tuple(_place(label) + 1 for label in of_roles.policy),
            tuple(_place(label) + 1 for label in of_groups.policy),
            tuple(failures),
        )

    def _roles(self, provider: ProviderExport, facts: Facts) -> tuple[tuple[str, ...], str | None, str]:
        """The roles, the rule that gave them, and why."""
        default = (provider.default_role,) if provider.default_role is not None else ()
        mapping = provider.role_mapping
        if mapping is None:
            return default, None, "The provider has no rules for roles."
        decision = self._decide(f"{provider.id}/roles", [rule.expression for rule in mapping.rules], facts)
        if decision.policy:
            rule = mapping.rules[_place(decision.policy[0])]
            name = rule.name or decision.policy[0]
            return rule.roles, name, f"{name} is the first rule that is true."
        if mapping.strict:
            raise NotLetIn("access_denied", decision.why)
        return default, None, decision.why

    def _groups(
        self, provider: ProviderExport, sync: GroupSyncExport, named: Sequence[str], facts: Facts
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Groups by their names here, and groups that come over under the names that they have there."""
        called = {name.lower(): group for name, group in sync.names.items()}
        groups = [called[name.lower()] for name in named if name.lower() in called]
        decision = self._decide(f"{provider.id}/groups", [rule.expression for rule in sync.rules], facts)
        for label in decision.policy:
            groups += sync.rules[_place(label)].groups
        if sync.pattern is None:
            return _once(groups), ()
        pattern = Pattern(sync.pattern)
        others = (name for name in named if name.lower() not in called)
        return _once(groups), tuple(name for name in others if any(map(pattern.is_in, spellings([name]))))

    def _decide(self, named: str, expressions: Sequence[str], facts: Facts) -> Decision:
        """Which of the expressions are true, by their places."""
        rules = [
            Rule(
                id=str(place),
                name=f"rule {place + 1}",
                program=self._program(named, source),
                precedence=-place,
            )
            for place, source in enumerate(expressions)
        ]
        decision = decide(RuleSet(rules), facts, _NO_CLIENT, self._engine)
        for label, reason in decision.failures:  # a claim that is not there, most often: it is not true then
            log.info("provider.rule_failed", rules=named, rule=label, reason=reason)
        return decision

    def _program(self, named: str, source: str) -> Program:
        try:
            return self._engine.program(source)
        except InvalidExpression as error:  # a newer release's: it is true of nobody
            log.error("provider.rule_not_understood", rules=named, reason=str(error))
            return self._engine.unusable(source)


def _facts(identity: VerifiedIdentity, named: Sequence[str], *, now: datetime) -> Facts:
    """What rules see of a person. named: the provider's groups of theirs."""
    return Facts(
        sub=identity.subject,
        iss=identity.issuer,
        time=now,
        groups=spellings(named),
        email=identity.email or "",
        claims=identity.claims,
    )


def _check_domain(provider: ProviderExport, identity: VerifiedIdentity) -> None:
    """Raises NotLetIn unless the person has an address of the provider's, in an allowed domain or one below it.

    An address that the provider did not verify may be anybody's choice; what a SAML provider asserts is its own word.
    """
    if not provider.allowed_email_domains:
        return
    email = email_of(identity)
    if email is None or not (identity.email_verified or provider.kind == "saml"):
        raise NotLetIn("email_domain_not_allowed", "The provider names no address that it has verified.")
    if not is_in(email, provider.allowed_email_domains):
        raise NotLetIn("email_domain_not_allowed", "The address is in none of the allowed domains.")


def _place(label: str) -> int:
    """The place of a rule by its label, `rule 1` for the first."""
    return int(label.removeprefix("rule ")) - 1


def _once(names: Iterable[str]) -> tuple[str, ...]:
    return tuple({name.lower(): name for name in names}.values())
