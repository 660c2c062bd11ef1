"""Claims of an installation's own: what an expression comes to, and what it may not be."""

import sys
from datetime import UTC, datetime

import pytest
from pydantic import JsonValue

from watchword_policy.claim_expressions import MAX_ANSWER_BYTES, ClaimEngine
from watchword_policy.engine import EvaluationFailed, InvalidExpression
from watchword_policy.facts import Facts

ENGINE = ClaimEngine()
CLAIMS: dict[str, JsonValue] = {
    "department": "Research",
    "level": 7,
    "share": 0.5,
    "admin": False,
    "roles": ["reader", "writer"],
    "address": {"country": "CH", "lines": ["a", "b"]},
    "empty": None,
    "partly": {"here": "x", "gone": None},
    "many": ["x" * 1000] * 5,
}
FACTS = Facts(
    sub="u1", iss="", time=datetime(2026, 1, 2, tzinfo=UTC), groups=("ops", "dev"), email="a@b.example", claims=CLAIMS
)

ANSWERS: dict[str, JsonValue] = {
    "claims.department": "Research",
    "claims.level": 7,
    "claims.share": 0.5,
    "claims.admin": False,
    "claims.roles": ["reader", "writer"],
    "claims.address": {"country": "CH", "lines": ["a", "b"]},
    "groups": ["ops", "dev"],
    "sub": "u1",
    "email": "a@b.example",
    "'ops' in groups ? 'operator' : 'user'": "operator",
    "'admin' in claims.roles": False,
    "claims.level > 5": True,
    "groups.exists(g, g.startsWith('op'))": True,
    "has(claims.missing) ? claims.missing : 'none'": "none",
    "{'level': claims.level, 'in': ['CH', claims.address.country]}": {"level": 7, "in": ["CH", "CH"]},
    "size(groups)": 2,
    "''": "",
    "[]": [],
    "{}": {},
}

NO_ANSWER = {
    "claims.missing": "Key not found",
    "claims.department.size": "SELECT",
    "claims.level / 0": "divide by zero",
    "claims.empty": "Key not found",
    "claims.partly": "Key not found",
    "claims.many": str(MAX_ANSWER_BYTES),
    "{1: 'a'}": "JSON",
    "dyn(b'bytes')": "JSON",
    "[timestamp('2026-01-01T00:00:00Z')]": "JSON",
    "1.0 / 0.0": "JSON",
}

REFUSED = {
    "": "needed",
    "   ": "needed",
    "claims.": "",
    "department": "not known here",
    "time > timestamp('2026-01-01T00:00:00Z')": "not known here",
    "ip == '192.0.2.1'": "not known here",
    "client": "not known here",
    "null": "NULL",
    "[null]": "null",
    "'ops' in groups ? null : 'x'": "null",
    "google.protobuf.Value{}": "null",
    "{'a': google.protobuf.Int32Value{}}": "null",
    "b'bytes'": "BYTES",
    "timestamp('2026-01-01T00:00:00Z')": "TIMESTAMP",
    "duration('1s')": "DURATION",
    "type(1)": "TYPE",
    "claims.department + 'x'": "not offered here",
    "groups.map(g, g)": "",
    "groups.filter(g, g == 'ops')": "",
    "claims.a.exists(x, claims.b.exists(y, x == y))": "too long",
    "claims.department.matches(claims.pattern)": "must be written here",
    "'" + "x" * 3000 + "'": "at most",
    "'\ud800'": "",
    "a and b": "",
}


@pytest.mark.parametrize(("source", "answer"), ANSWERS.items(), ids=ANSWERS)
def test_what_an_expression_comes_to(source: str, answer: JsonValue) -> None:
    found = ENGINE.compile(source).value(ENGINE.know(FACTS))
    assert found == answer
    assert type(found) is type(answer)


@pytest.mark.parametrize(("source", "why"), NO_ANSWER.items(), ids=NO_ANSWER)
def test_what_comes_to_nothing_leaves_the_claim_out(source: str, why: str) -> None:
    with pytest.raises(EvaluationFailed, match=why):
        ENGINE.compile(source).value(ENGINE.know(FACTS))


@pytest.mark.parametrize(("source", "why"), REFUSED.items(), ids=lambda value: ascii(value)[:40])
def test_what_cannot_be_saved(source: str, why: str) -> None:
    with pytest.raises(InvalidExpression) as refused:
        ENGINE.compile(source)
    assert why in str(refused.value)
    assert refused.value.line >= 1


def test_no_expression_wears_none_away() -> None:
    """cel-expr-python 0.1.3 gives a null's value without a reference of its own: a thousand of them end the process."""
    programs = [ENGINE.compile(source) for source in (*ANSWERS, *NO_ANSWER)]
    before = sys.getrefcount(None)
    for _ in range(200):
        known = ENGINE.know(FACTS)
        for program in programs:
            try:
                program.value(known)
            except EvaluationFailed:
                continue
    assert sys.getrefcount(None) > before - 200
