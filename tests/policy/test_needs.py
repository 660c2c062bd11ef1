"""Rules that need not be run: what is left out could neither have been true nor failed."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword_policy.engine import EvaluationFailed, Program, RuleEngine, Situation
from watchword_policy.facts import Facts

ENGINE = RuleEngine()


@pytest.mark.parametrize(
    ("source", "needs"),
    [
        ("'a' in groups", {"a"}),
        ("'é\\'s' in groups", {"é's"}),
        ("('a' in groups)", {"a"}),
        ("'a' in groups || 'b' in groups || 'c' in groups", {"a", "b", "c"}),
        ("'a' in groups && claims.x == 1", {"a"}),
        ("claims.x == 1 && 'a' in groups", {"a"}),
        ("('a' in groups || 'b' in groups) && 'c' in groups", {"c"}),
        ("'a' in groups && !('b' in groups)", {"a"}),
        ("groups.exists(g, g == 'a')", {"a"}),
        ("groups.exists(g, 'a' == g)", {"a"}),
        ("groups.exists(g, g in ['a', 'b'])", {"a", "b"}),
        ("groups.exists(g, g in [])", set()),
        ("groups.exists(g, (g == 'a' || g in ['b']) && g.size() > 2)", {"a", "b"}),
        ("groups.exists(groups, groups == 'a')", {"a"}),
        ("'a' in groups || sub == 'x'", None),
        ("!('a' in groups)", None),
        ("('a' in groups) == false", None),
        ("'a' in groups ? false : true", None),
        ("'a' in ['a']", None),
        ("sub in groups", None),
        ("'a' in claims.groups", None),
        ("groups == ['a']", None),
        ("groups[0] == 'a'", None),
        ("groups.all(g, g == 'a')", None),
        ("groups.all(g, g in ['a'])", None),
        ("!groups.exists(g, g == 'a')", None),
        ("groups.exists(g, g != 'a')", None),
        ("groups.exists(g, g == g)", None),
        ("groups.exists(g, g == sub)", None),
        ("groups.exists(g, 'a' == 'a')", None),
        ("groups.exists(g, sub == 'a')", None),
        ("groups.exists(g, sub in ['a'])", None),
        ("groups.exists(g, g in ['a', sub])", None),
        ("groups.exists(g, g.startsWith('a'))", None),
        ("groups.exists(g, 'a' in groups)", None),
        ("groups.exists(g, groups.exists(h, g == 'a'))", None),
        ("claims.groups.exists(g, g == 'a')", None),
        ("['x'].exists(groups, groups == 'x')", None),
        ("[['x']].exists(groups, 'x' in groups)", None),
        ("true", None),
        ("false", None),
    ],
)
def test_needed_groups(source: str, needs: set[str] | None) -> None:
    assert ENGINE.compile(source).needs == needs


def _joined(atoms: list[str], leaves: int) -> st.SearchStrategy[str]:
    """Atoms joined by && and ||."""
    return st.recursive(
        st.sampled_from(atoms),
        lambda inner: st.tuples(inner, st.sampled_from(["&&", "||"]), inner).map(lambda three: f"({' '.join(three)})"),
        max_leaves=leaves,
    )


_CONDITIONS = _joined(["g == 'a'", "'b' == g", "g in ['a', 'c']", "!(g == 'b')", "sub == 'a'", "claims.no"], 3)
_EXPRESSIONS = st.tuples(
    _joined(["'a' in groups", "'b' in groups", "'c' in groups", "exists", "all"], 4),
    _joined(["true", "!('a' in groups)", "'a' in groups == false", "claims.missing == 'x'", "sub in groups"], 2),
    st.sampled_from(["{} && {}", "{} || {}", "{}", "!({})", "{} ? {} : true"]),
    _CONDITIONS,
).map(lambda parts: _filled(parts[2].format(*parts[:2]), parts[3]))


def _filled(source: str, condition: str) -> str:
    for macro in ("exists", "all"):
        source = source.replace(macro, f"groups.{macro}(g, {condition})")
    return source


def _answer(program: Program, situation: Situation) -> bool | None:
    try:
        return program.matches(situation)
    except EvaluationFailed:
        return None


@given(_EXPRESSIONS)
def test_what_is_not_run_would_have_been_false(source: str) -> None:
    # Compared with true, the same question has no needs, so that it is always run.
    program, always = ENGINE.compile(source), ENGINE.compile(f"({source}) == true")
    assert always.needs is None
    for groups in ((), ("a",), ("b",), ("c",), ("d",), ("a", "b"), ("b", "c"), ("a", "b", "c")):
        situation = ENGINE.situation(Facts(sub="a", iss="i", time=datetime.now(UTC), groups=groups, claims={"no": 1}))
        assert _answer(program, situation) == _answer(always, situation)
