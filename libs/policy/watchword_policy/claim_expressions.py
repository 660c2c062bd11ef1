"""Claims of an installation's own: CEL over what is known of a person, with any JSON as its answer.

Expressions see less than access rules do: nothing about the moment and the client, so that an answer holds for a person
for as long as nothing about the person changes.
"""

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Final

import orjson
from pydantic import JsonValue

from watchword_policy.engine import EvaluationFailed, InvalidExpression, bill_of, compiled, said
from watchword_policy.facts import Facts, small_claims
from watchword_policy.library import cel

VARIABLES: Final = ("groups", "sub", "email", "claims")
MAX_ANSWER_BYTES: Final = 4096  # a claim travels in every token, and tokens in cookies
_ENVIRONMENT: Final = """
name: claims
stdlib: {exclude_macros: [map, filter, exists_one], exclude_functions: [{name: _+_}]}
variables:
- {name: groups, type_name: list, params: [{type_name: string}]}
- {name: sub, type_name: string}
- {name: email, type_name: string}
- {name: claims, type_name: map, params: [{type_name: string}, {type_name: dyn}]}
"""
# A claim costs at worst so much (of about 10 ns each): it is answered on the way to a token, not beside it.
_MAX_COST: Final = 500_000
_KINDS: Final = ("STRING", "BOOL", "INT", "UINT", "DOUBLE", "LIST", "MAP", "DYN")


class ClaimProgram:
    """A compiled expression."""

    __slots__ = ("_expression", "source")

    def __init__(self, source: str, expression: "cel.Expression") -> None:
        self.source = source
        self._expression = expression

    def value(self, known: "Known") -> JsonValue:
        """What the expression comes to for a person; never null. Raises EvaluationFailed when it comes to nothing."""
        try:
            value = self._expression.eval(activation=known.activation)
        except RuntimeError as error:
            raise EvaluationFailed(said(error)) from None
        kind = value.type()
        if kind == cel.Type.ERROR:
            raise EvaluationFailed(said(value.value()))
        # The library gives away its own reference to None: asking for the value of a null ends the process.
        if kind == cel.Type.NULL:
            raise EvaluationFailed("the answer is null")
        found = _json(value.plain_value())
        if len(orjson.dumps(found)) > MAX_ANSWER_BYTES:
            raise EvaluationFailed(f"the answer has more than {MAX_ANSWER_BYTES} bytes")
        return found


class Known:
    """What is known of a person, in CEL's form."""

    __slots__ = ("activation",)

    def __init__(self, activation: "cel.Activation") -> None:
        self.activation = activation


class ClaimEngine:
    """Compiles expressions and says what they come to. One for each process is enough."""

    @cached_property
    def _env(self) -> "cel.Env":
        return cel.NewEnv(config=cel.NewEnvConfigFromYaml(_ENVIRONMENT))

    def compile(self, source: str) -> ClaimProgram:
        """The program of an expression. Raises InvalidExpression with the place and, where there is one, a hint."""
        if not source.strip():
            raise InvalidExpression("an expression is needed: claims.department, for example")
        expression = compiled(self._env, source, VARIABLES)
        kind = expression.return_type().name().partition("<")[0]
        if kind not in _KINDS:
            raise InvalidExpression(f"the result must be text, a number, true or false, a list or a map, not {kind}")
        bill = bill_of(expression, source)
        if bill.makes_null:
            raise InvalidExpression("null is no value of a claim: where there is nothing to say, leave it out")
        if bill.cost > _MAX_COST:
            raise InvalidExpression("this could take too long: look at fewer lists in a row")
        return ClaimProgram(source, expression)

    def know(self, facts: Facts) -> Known:
        """What is known of a person in CEL's form. Raises UnfitFacts."""
        facts.check()
        claims, _ = small_claims({name: value for name, value in facts.claims.items() if not _has_null(value)})
        data = {"groups": list(facts.groups), "sub": facts.sub, "email": facts.email, "claims": claims}
        return Known(self._env.Activation(data=data))


def _has_null(value: JsonValue) -> bool:
    match value:
        case None:
            return True
        case list():
            return any(map(_has_null, value))
        case dict():
            return any(map(_has_null, value.values()))
        case _:
            return False


def _json(value: object) -> JsonValue:
    """The value as JSON has it. Raises EvaluationFailed for what JSON does not have."""
    match value:
        case bool() | str():
            return value
        case int():
            return int(value)
        case float() if math.isfinite(value):
            return value
        case list():
            return [_json(each) for each in value]
        case Mapping() if all(isinstance(name, str) for name in value):
            return {name: _json(each) for name, each in value.items()}
        case _:
            raise EvaluationFailed("the answer is nothing that JSON has")
