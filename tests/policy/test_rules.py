"""Which rule decides: precedence, ties, levels, clients; and that nobody gets in by accident."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.policy.facts import facts_of

from watchword_policy import rules as module
from watchword_policy.engine import RuleEngine
from watchword_policy.rules import Access, Client, Decision, Outcome, Rule, RuleSet, decide

ENGINE = RuleEngine()
CLIENT = Client("c-1")
ORG = Client("c-1", organization="o-1")


def rule(name: str, expression: str = "true", precedence: int = 0, **more: Any) -> Rule:
    return Rule(id=f"id-{name}", name=name, program=ENGINE.compile(expression), precedence=precedence, **more)


def decided(*rules: Rule, client: Client = CLIENT, **facts: Any) -> Decision:
    return decide(RuleSet(rules), facts_of(**facts), client, ENGINE)


NO = "'nobody' in groups"


@pytest.mark.parametrize(
    ("rules", "winner", "policy"),
    [
        pytest.param([rule("a", precedence=1), rule("b", precedence=2)], "b", ("b", "a"), id="higher first"),
        pytest.param([rule("a", precedence=-5), rule("b", precedence=-1)], "b", ("b", "a"), id="negative"),
        pytest.param([rule("a", precedence=-1), rule("b")], "b", ("b", "a"), id="left out is 0"),
        pytest.param([rule("z"), rule("b"), rule("m")], "b", ("b", "m", "z"), id="ties by name"),
        pytest.param([rule("B"), rule("a")], "B", ("B", "a"), id="ties by name, as code points"),
        pytest.param([rule("a", NO, 9), rule("b")], "b", ("b",), id="the highest that matches"),
        pytest.param([rule("a", "claims.gone == 1", 9), rule("b")], "b", ("b",), id="no answer is no match"),
        pytest.param([rule("a", precedence=9, enabled=False), rule("b")], "b", ("b",), id="switched off"),
        pytest.param([rule("a", precedence=9, clients=frozenset({"c-2"})), rule("b")], "b", ("b",), id="of another"),
        pytest.param([rule("a", precedence=1, clients=frozenset({"c-1"})), rule("b")], "a", ("a", "b"), id="named"),
        pytest.param([rule("a", "'ops' in groups", 1), rule("b")], "a", ("a", "b"), id="the default is the lowest"),
    ],
)  # fmt: skip
def test_which_rule_decides(rules: list[Rule], winner: str, policy: tuple[str, ...]) -> None:
    for order in itertools.permutations(rules):
        decision = decided(*order)
        assert (decision.outcome, decision.rule, decision.policy) == (Outcome.MATCHED, winner, policy)
        assert winner in decision.why


@pytest.mark.parametrize(
    ("rules", "client"),
    [
        pytest.param([rule("a", NO)], CLIENT, id="none matches"),
        pytest.param([rule("a", enabled=False)], CLIENT, id="the only one is switched off"),
        pytest.param([rule("a", "claims.gone == 1")], CLIENT, id="the only one comes to no answer"),
        pytest.param([], Client("c-1", access=Access.RULES), id="the client says so, and there is none"),
        pytest.param(
            [rule("a", clients=frozenset({"c-2"}))],
            Client("c-1", access=Access.RULES),
            id="the client says so, and they are for another",
        ),
        pytest.param([rule("a", NO), rule("b", precedence=9, organization="o-1")], ORG, id="delegated level alone"),
        pytest.param(
            [rule("b", precedence=9, organization="o-1")],
            Client("c-1", "o-1", Access.RULES),
            id="delegated level without another",
        ),
    ],
)
def test_nobody_gets_in_unless_a_rule_matches(rules: list[Rule], client: Client) -> None:
    decision = decided(*rules, client=client)
    assert decision.outcome is Outcome.NO_MATCH
    assert not decision.allowed
    assert (decision.rule, decision.service_account, decision.roles, decision.policy) == (None, None, (), ())


@pytest.mark.parametrize(
    ("rules", "client"),
    [
        pytest.param([], CLIENT, id="there is none"),
        pytest.param([rule("a", NO, clients=frozenset({"c-2"}))], CLIENT, id="all name other clients"),
        pytest.param([rule("a", NO)], Client("c-1", access=Access.OPEN), id="the client is open whatever rules say"),
        pytest.param([rule("a", NO, organization="o-1")], ORG, id="only its organization's"),
        pytest.param([rule("a", NO, organization="o-2")], ORG, id="only another organization's"),
    ],
)
def test_a_client_that_no_rule_is_for_is_open(rules: list[Rule], client: Client) -> None:
    decision = decided(*rules, client=client)
    assert decision.outcome is Outcome.NO_RULES
    assert decision.allowed
    assert (decision.service_account, decision.roles, decision.policy) == (None, (), ())


@pytest.mark.parametrize(
    ("delegated", "client", "winner", "policy"),
    [
        pytest.param(("o-1", 6), ORG, "o-1/d", ("o-1/d", "base"), id="higher"),
        pytest.param(("o-1", 5), ORG, "base", ("base",), id="equal is not higher"),
        pytest.param(("o-1", 4), ORG, "base", ("base",), id="lower"),
        pytest.param(("o-2", 6), ORG, "base", ("base",), id="another organization's"),
        pytest.param(("o-1", 6), CLIENT, "base", ("base",), id="a client of no organization"),
    ],
)
@pytest.mark.seed(20)
def test_an_organizations_rule_counts_after_and_above_the_installations(
    delegated: tuple[str, int], client: Client, winner: str, policy: tuple[str, ...]
) -> None:
    organization, precedence = delegated
    decision = decided(
        rule("base", precedence=5, service_account="reader"),
        rule("d", precedence=precedence, organization=organization, service_account="admin"),
        client=client,
    )
    assert (decision.rule, decision.policy) == (winner, policy)
    assert decision.service_account == ("admin" if winner == "o-1/d" else "reader")


def test_the_decision_is_as_what_and_why() -> None:
    decision = decided(
        rule("admins", "'ops' in groups", 10, service_account="admin", roles=("admin", "deploy")),
        rule("broken", "claims.gone == 1", 5),
        rule("everybody", precedence=-100, service_account="read-only"),
    )
    assert decision.service_account == "admin"
    assert decision.roles == ("admin", "deploy")
    assert decision.rule_id == "id-admins"
    assert decision.failures == (("broken", 'Key not found in map : "gone"'),)
    assert "precedence 10" in decision.why


def test_a_refusal_says_what_came_to_no_answer() -> None:
    decision = decided(rule("broken", "claims.photo != ''"), claims={"photo": "x" * 2000})
    assert decision.outcome is Outcome.NO_MATCH
    assert "broken" in decision.why
    assert "Cannot be looked at: photo" in decision.why


def test_facts_that_are_too_large_let_nobody_in() -> None:
    decision = decided(rule("everybody"), groups=[f"g{n}" for n in range(2001)])
    assert (decision.outcome, decision.allowed) == (Outcome.UNFIT_FACTS, False)
    assert "2001 groups" in decision.why


def test_rules_that_take_too_long_let_nobody_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST_S", -1.0)
    decision = decided(rule("everybody"))
    assert (decision.outcome, decision.allowed, decision.policy) == (Outcome.TOO_SLOW, False, ())


@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(-3, 3), st.sampled_from([None, "o-1", "o-2"]), st.booleans()), max_size=8
    )
)
def test_a_second_reading_of_the_order_agrees(given_rules: list[tuple[bool, int, str | None, bool]]) -> None:
    rules = [
        rule(f"r{n}", "true" if matches else "false", precedence, organization=organization, enabled=enabled)
        for n, (matches, precedence, organization, enabled) in enumerate(given_rules)
    ]
    decision = decided(*rules, client=ORG)
    mine = [each for each in rules if each.organization is None]
    level = [each for each in mine if each.enabled and each.program.source == "true"]
    if not mine:
        assert decision.outcome is Outcome.NO_RULES
    elif not level:
        assert decision.outcome is Outcome.NO_MATCH
    else:
        first = min(level, key=lambda each: (-each.precedence, each.name))
        above = [
            each
            for each in rules
            if each.organization == "o-1" and each.enabled and each.program.source == "true"
            and each.precedence > first.precedence
        ]  # fmt: skip
        best = min(above, key=lambda each: (-each.precedence, each.name)) if above else first
        assert decision.rule_id == best.id
        assert set(decision.policy) == {each.label for each in (*level, *above)}


def test_what_depends_on_the_time_is_known() -> None:
    rules = RuleSet([rule("a", "time.getHours() > 8", clients=frozenset({"c-1"})), rule("b", "'x' in groups")])
    assert rules.names(CLIENT) == {"time", "groups"}
    assert rules.names(Client("c-2")) == {"groups"}
