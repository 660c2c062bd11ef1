"""Rules of other systems say the same here: Argo Workflows' (expr-lang) and OpenFaaS' (conditions of a Role).

Argo: `argo_rules.json` holds what expr-lang itself answers. OpenFaaS: its language is small and documented, and is read
here a second time, to be compared with the translation over many sign-ins.
"""

import fnmatch
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.policy.facts import NOW, facts_of

from watchword_policy.engine import EvaluationFailed, InvalidExpression, RuleEngine
from watchword_policy.facts import Facts
from watchword_policy.rules import Client, Outcome, Rule, RuleSet, decide

ENGINE = RuleEngine()
ARGO: dict[str, Any] = json.loads((Path(__file__).parent / "argo_rules.json").read_text())


def answer(source: str, facts: Facts) -> bool:
    """Whether a rule lets somebody in: no answer is no."""
    try:
        return ENGINE.compile(source).matches(ENGINE.situation(facts))
    except EvaluationFailed:
        return False


@pytest.mark.parametrize("row", ARGO["rules"], ids=lambda row: row["argo"])
def test_a_rule_of_argo_decides_the_same_here(row: dict[str, Any]) -> None:
    answers = [answer(row["here"], facts_of(**facts)) for facts in ARGO["facts"]]
    assert answers == [bool(each) for each in row["answers"]]


@pytest.mark.parametrize(
    "row", [row for row in ARGO["rules"] if row["here"] != row["argo"]], ids=lambda row: row["argo"]
)
def test_a_rule_of_argo_that_reads_otherwise_here_is_refused_with_a_hint(row: dict[str, Any]) -> None:
    with pytest.raises(InvalidExpression) as refused:
        ENGINE.compile(row["argo"])
    assert refused.value.hint


@pytest.mark.seed(18)
def test_precedence_is_argos_but_ties_are_not_decided_by_chance() -> None:
    """workflows.argoproj.io/rbac-rule and rbac-rule-precedence of three service accounts."""
    rules = RuleSet(
        Rule(id=name, name=name, program=ENGINE.compile(source), precedence=precedence, service_account=name)
        for name, source, precedence in (
            ("admin", "'admin' in groups", 1),
            ("read-only", "true", 0),
            ("other-default", "true", 0),
        )
    )
    accounts = [
        decide(rules, facts_of(groups=groups), Client("argo"), ENGINE).service_account for groups in (["admin"], [])
    ]
    assert accounts == ["admin", "other-default"]


# OpenFaaS ------------------------------------------------------------------------------------------------------------

Claims = Mapping[str, Any]
Conditions = Mapping[str, Mapping[str, Sequence[str]]]
_VARIABLES = ("sub", "iss", "email")


def _values(claims: Claims, key: str) -> list[str]:
    found = claims.get(key.removeprefix("jwt:"))
    return [found] if isinstance(found, str) else []


def openfaas(conditions: Conditions, claims: Claims) -> bool:
    """Whether a statement matches: every operator and key must, one value of each key is enough."""
    for operator, keys in conditions.items():
        for key, wanted in keys.items():
            have = _values(claims, key)
            match operator:
                case "StringEqual" | "StringEquals":
                    fits = any(value in wanted for value in have)
                case "StringEqualIgnoreCase":
                    fits = any(value.lower() == each.lower() for value in have for each in wanted)
                case "StringLike":
                    patterns = [each.replace("[", "[[]") for each in wanted]
                    fits = any(fnmatch.fnmatchcase(value, each) for value in have for each in patterns)
                case "ForAnyValue:StringEqual":
                    listed = claims.get(key.removeprefix("jwt:"))
                    listed = [listed] if isinstance(listed, str) else listed  # one group, as some providers send it
                    fits = isinstance(listed, list) and any(value in wanted for value in listed)
                case _:
                    raise ValueError(operator)
            if not fits:
                return False
    return True


def text(value: str) -> str:
    """The value as a text of CEL."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def here(conditions: Conditions) -> str:
    """The same statement as an expression: keys joined by &&, the values of one key by ||."""
    parts = [(operator, key, wanted) for operator, keys in conditions.items() for key, wanted in keys.items()]
    return " && ".join(_one(operator, key.removeprefix("jwt:"), wanted) for operator, key, wanted in parts)


def _one(operator: str, key: str, wanted: Sequence[str]) -> str:
    name = key if key in (*_VARIABLES, "groups") else f"claims[{text(key)}]"
    values = f"[{', '.join(map(text, wanted))}]"
    match operator:
        case "StringEqual" | "StringEquals":
            return f"{name} in {values}"
        case "StringEqualIgnoreCase":
            return f"{name}.matches({text('(?i)^(' + '|'.join(map(re.escape, wanted)) + ')$')})"
        case "StringLike":
            return f"{name}.matches({text('^(' + '|'.join(map(_like, wanted)) + ')$')})"
        case "ForAnyValue:StringEqual":
            return f"{name}.exists(value, value in {values})"
    raise ValueError(operator)


def _like(pattern: str) -> str:
    return re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")


def facts(claims: Claims) -> Facts:
    return Facts.of_claims(claims, time=NOW)


STATEMENTS: dict[str, tuple[Conditions, str]] = {
    "an issuer": (
        {"StringEqual": {"jwt:iss": ["https://alice.eu.auth0.com/"]}},
        "iss in ['https://alice.eu.auth0.com/']",
    ),
    "one of two people": (
        {"StringEqual": {"jwt:sub": ["github|1234567", "github|7654321"]}},
        "sub in ['github|1234567', 'github|7654321']",
    ),
    "an address whatever its case": (
        {"StringEqualIgnoreCase": {"jwt:email": ["Ann.Lee@Example.com"]}},
        r"email.matches('(?i)^(Ann\\.Lee@Example\\.com)$')",
    ),
    "a domain of addresses": (
        {"StringLike": {"jwt:email": ["*@example.com"]}},
        r"email.matches('^(.*@example\\.com)$')",
    ),
    "a workflow of a repository": (
        {"StringEqual": {"jwt:iss": ["https://token.actions.githubusercontent.com"]},
         "StringLike": {"jwt:repository": ["acme/*", "acme-labs/api?"]}},
        r"iss in ['https://token.actions.githubusercontent.com']"
        r" && claims['repository'].matches('^(acme/.*|acme\\-labs/api.)$')",
    ),
    "a group": (
        {"ForAnyValue:StringEqual": {"jwt:groups": ["admin", "ops"]}},
        "groups.exists(value, value in ['admin', 'ops'])",
    ),
    "two keys": (
        {"StringEqual": {"jwt:iss": ["https://a"], "jwt:ref": ["refs/heads/main"]}},
        "iss in ['https://a'] && claims['ref'] in ['refs/heads/main']",
    ),
}  # fmt: skip
PEOPLE: list[Claims] = [
    {"iss": "https://alice.eu.auth0.com/", "sub": "github|1234567", "email": "ann.lee@example.com"},
    {"iss": "https://other", "sub": "github|7654321", "email": "ANN.LEE@EXAMPLE.COM", "groups": ["ops"]},
    {"iss": "https://token.actions.githubusercontent.com", "sub": "repo:acme/x", "repository": "acme/x"},
    {"iss": "https://token.actions.githubusercontent.com", "sub": "repo:b", "repository": "acme-labs/api7"},
    {"iss": "https://token.actions.githubusercontent.com", "sub": "repo:c", "repository": "acmex/x"},
    {"iss": "https://a", "sub": "", "ref": "refs/heads/main", "groups": ["Admin", "dev"]},
    {"iss": "https://a", "sub": "x", "ref": "refs/heads/dev", "groups": "admin"},
    {"iss": "https://a", "sub": "x", "email": "annxlee@example.com", "groups": []},
    {"iss": "https://a", "sub": "x", "email": "evil@example.com.evil.test", "groups": ["admin"]},
]


@pytest.mark.parametrize(("conditions", "expression"), STATEMENTS.values(), ids=STATEMENTS)
def test_a_condition_of_openfaas_is_this_expression_and_decides_the_same(
    conditions: Conditions, expression: str
) -> None:
    assert here(conditions) == expression
    decided = [(answer(expression, facts(claims)), openfaas(conditions, claims)) for claims in PEOPLE]
    assert all(ours == theirs for ours, theirs in decided), decided
    assert {ours for ours, _ in decided} == {True, False}, "a table in which every row says the same proves nothing"


@pytest.mark.seed(72)
def test_several_statements_are_several_rules_and_one_is_enough() -> None:
    """Role → rule, its policies → roles; `policy` names every role that matched, as OpenFaaS' own claim does."""
    rules = RuleSet(
        Rule(id=name, name=name.replace(" ", "-"), program=ENGINE.compile(expression), roles=(name,))
        for name, (_, expression) in STATEMENTS.items()
    )
    for claims in PEOPLE:
        matching = sorted(
            name.replace(" ", "-") for name, (conditions, _) in STATEMENTS.items() if openfaas(conditions, claims)
        )
        decision = decide(rules, facts(claims), Client("openfaas"), ENGINE)
        assert decision.outcome is (Outcome.MATCHED if matching else Outcome.NO_MATCH)
        assert sorted(decision.policy) == matching


letters = st.text(alphabet="aAbB.*?[]\\'|", max_size=4)
wanted = st.lists(letters, min_size=1, max_size=3)
claims_of_anybody = st.fixed_dictionaries(
    {},
    optional={
        "sub": letters,
        "email": letters,
        "repository": letters,
        "groups": st.lists(letters, max_size=3),
        "level": st.integers(0, 3),
    },
)
of_texts = st.dictionaries(
    st.sampled_from(["StringEqual", "StringEqualIgnoreCase", "StringLike"]),
    st.dictionaries(st.sampled_from(["jwt:repository", "jwt:ref"]), wanted, min_size=1, max_size=2),
    max_size=2,
)
of_lists = st.dictionaries(
    st.just("ForAnyValue:StringEqual"), st.fixed_dictionaries({"jwt:groups": wanted}), max_size=1
)
conditions_of_anybody = st.builds(lambda one, other: one | other, of_texts, of_lists).filter(bool)


@settings(max_examples=400, deadline=None)
@given(conditions_of_anybody, claims_of_anybody)
@pytest.mark.seed(72)
def test_whatever_the_condition_both_decide_the_same(conditions: Conditions, claims: Claims) -> None:
    assert answer(here(conditions), facts(claims)) == openfaas(conditions, claims)
