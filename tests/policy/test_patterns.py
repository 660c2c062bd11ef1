"""Regular expressions of administrators: RE2 only, bounded, refused by name."""

import pytest

from watchword_policy.patterns import MAX_PATTERN, InvalidPattern, Pattern, chosen


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("(", id="open"),
        pytest.param("[a", id="open class"),
        pytest.param("a**", id="two repetitions"),
        pytest.param("(?=a)", id="look-ahead"),
        pytest.param(r"(a)\1", id="back-reference"),
        pytest.param("a{1001}", id="1001 repetitions"),
        pytest.param("([a-z]{100}){100}", id="nested repetitions"),
        pytest.param(r"\pL{10}", id="large classes"),
        pytest.param("a" * (MAX_PATTERN + 1), id="long"),
    ],
)
def test_a_pattern_that_cannot_be_used_is_refused(text: str) -> None:
    with pytest.raises(InvalidPattern):
        Pattern(text)


def test_a_pattern_that_ruins_backtracking_engines_is_answered_at_once() -> None:
    assert not Pattern("^(a+)+$").is_in("a" * 100_000 + "!")


@pytest.mark.parametrize(
    ("patterns", "left"),
    [
        ([], ["argo-admin", "argo-dev", "hr", "Argo-x"]),
        (["^argo-"], ["argo-admin", "argo-dev"]),
        (["^argo-admin$", "hr"], ["argo-admin", "hr"]),
        (["(?i)^argo"], ["argo-admin", "argo-dev", "Argo-x"]),
        (["nobody"], []),
    ],
)
def test_groups_that_one_of_the_patterns_matches_are_left(patterns: list[str], left: list[str]) -> None:
    groups = ["argo-admin", "argo-dev", "hr", "Argo-x"]
    assert chosen(groups, [Pattern(text) for text in patterns]) == left
