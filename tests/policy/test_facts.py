"""Facts of rules: read leniently, bounded strictly, never cut off."""

from typing import Any

import pytest
from tests.policy.facts import NOW, facts_of

from watchword_policy.engine import EvaluationFailed, RuleEngine
from watchword_policy.facts import MAX_CLAIM_NODES, MAX_GROUPS, MAX_STRING, Facts, UnfitFacts, small_claims

ENGINE = RuleEngine()


@pytest.mark.parametrize(
    ("claim", "groups"),
    [
        pytest.param(["a", "b"], ("a", "b"), id="a list"),
        pytest.param("a", ("a",), id="one text"),
        pytest.param(["a", 1, None, ["b"], {"c": 1}], ("a",), id="other things in the list"),
        pytest.param(None, (), id="null"),
        pytest.param([], (), id="empty"),
    ],
)
def test_groups_are_read_as_providers_send_them(claim: Any, groups: tuple[str, ...]) -> None:
    assert Facts.of_claims({"groups": claim}, time=NOW).groups == groups


@pytest.mark.parametrize("claim", [{"a": 1}, 7, True], ids=["an object", "a number", "true"])
def test_what_is_no_list_of_groups_is_refused(claim: Any) -> None:
    with pytest.raises(ValueError, match="groups"):
        Facts.of_claims({"groups": claim}, time=NOW)


def test_the_variables_are_taken_from_claims_of_the_same_name() -> None:
    claims: dict[str, Any] = {"sub": "s", "iss": "https://a", "email": 3, "groups": ["g"], "x": 1}
    facts = Facts.of_claims(claims, time=NOW, iss="https://other", client="c", ip="192.0.2.1")
    assert (facts.sub, facts.iss, facts.email, facts.groups) == ("s", "https://a", "", ("g",))
    assert facts.claims["email"] == 3


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"groups": [f"g{n}" for n in range(MAX_GROUPS + 1)]}, id="2001 groups"),
        pytest.param({"groups": ["g" * (MAX_STRING + 1)]}, id="a long group"),
        pytest.param({"groups": ["a", "\ud800"]}, id="half a character as a group"),
        pytest.param({"email": "\udfff@demo.test"}, id="half a character in a text"),
        *(
            pytest.param({name: "x" * (MAX_STRING + 1)}, id=f"a long {name}")
            for name in ("sub", "iss", "email", "client", "ip")
        ),
    ],
)
def test_what_is_too_large_is_refused_as_a_whole(changes: dict[str, Any]) -> None:
    """Cut off, `!('contractors' in groups)` would let in whoever has enough groups."""
    with pytest.raises(UnfitFacts):
        ENGINE.situation(facts_of(**changes))


def deep(levels: int) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("x" * (MAX_STRING + 1), id="a long text"),
        pytest.param({"photo": ["x" * (MAX_STRING + 1)]}, id="a long text inside"),
        pytest.param(list(range(MAX_CLAIM_NODES + 1)), id="a long list"),
        pytest.param([[0] * 100] * 100, id="many short lists"),
        pytest.param({str(n): n for n in range(MAX_CLAIM_NODES)}, id="a large object"),
        pytest.param(deep(100), id="100 lists in each other"),
        pytest.param(2**63, id="a number beyond 64 bits"),
        pytest.param({"k" * (MAX_STRING + 1): 1}, id="a long key"),
        pytest.param(["\ud800"], id="half a character"),
        pytest.param({"\ud800": 1}, id="half a character as key"),
    ],
)
def test_a_claim_that_is_too_large_is_left_out_and_named(value: Any) -> None:
    claims, left_out = small_claims({"big": value, "small": 1})
    assert (claims, left_out) == ({"small": 1}, ("big",))
    situation = ENGINE.situation(facts_of(claims={"big": value, "small": 1}))
    assert situation.left_out == ("big",)
    assert ENGINE.compile("claims.small == 1").matches(situation) is True
    with pytest.raises(EvaluationFailed):
        ENGINE.compile("claims.big != 'x'").matches(situation)


def test_all_claims_together_are_bounded() -> None:
    claims, left_out = small_claims({str(n): [0] * 400 for n in range(6)})
    assert list(claims) == ["0", "1", "2", "3"]
    assert left_out == ("4", "5")
