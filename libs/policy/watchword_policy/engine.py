"""The rule engine: expressions in CEL, compiled when they are saved, run over the facts of a sign-in.

The environment is smaller than CEL's: no map, no filter and no `+`, because with them a short expression could fill the
memory. Everything else about a rule's cost is counted by `costs`.
"""

import re
from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import Final

from watchword_policy.costs import Bill, Checked, Unaffordable
from watchword_policy.facts import Facts, small_claims
from watchword_policy.hints import hint_for
from watchword_policy.library import cel

MAX_SOURCE: Final = 2048
VARIABLES: Final = ("groups", "sub", "iss", "email", "claims", "client", "ip", "time")
_ENVIRONMENT: Final = """
name: rules
stdlib: {exclude_macros: [map, filter, exists_one], exclude_functions: [{name: _+_}]}
variables:
- {name: groups, type_name: list, params: [{type_name: string}]}
- {name: sub, type_name: string}
- {name: iss, type_name: string}
- {name: email, type_name: string}
- {name: claims, type_name: map, params: [{type_name: string}, {type_name: dyn}]}
- {name: client, type_name: string}
- {name: ip, type_name: string}
- {name: time, type_name: timestamp}
"""
_PLACE: Final = re.compile(r"ERROR: <input>:(\d+):(\d+): (?:Syntax error: )?(.*)")
_UNDECLARED: Final = re.compile(r"undeclared reference to '([^']*)'")
_PROGRAMS: Final = 20_000


class InvalidExpression(ValueError):
    """An expression that cannot be saved. line, column: from 1.  hint: what to write instead, or ""."""

    def __init__(self, message: str, *, line: int = 1, column: int = 1, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.column = column
        self.hint = hint

    def __str__(self) -> str:
        text = f"line {self.line}, column {self.column}: {self.message}"
        return f"{text}. Hint: {self.hint}" if self.hint else text


class EvaluationFailed(Exception):
    """An expression came to no answer: a claim that is not there, a comparison of unlike things, too many rounds."""


class Situation:
    """The facts of one sign-in, ready for every rule. left_out: claims that cannot be looked at."""

    __slots__ = ("activation", "groups", "left_out")

    def __init__(self, activation: "cel.Activation", groups: frozenset[str], left_out: tuple[str, ...]) -> None:
        self.activation = activation
        self.groups = groups
        self.left_out = left_out


class Program:
    """A compiled expression. names: the variables that it looks at.  cost: its worst, in units of about 10 ns.

    needs: groups without one of which it is false.
    """

    __slots__ = ("_expression", "cost", "names", "needs", "source")

    def __init__(self, source: str, expression: "cel.Expression", bill: Bill) -> None:
        self.source = source
        self._expression = expression
        self.names = bill.names & frozenset(VARIABLES)
        self.cost = bill.cost
        self.needs = bill.needs

    def matches(self, situation: Situation) -> bool:
        """True when, and only when, the answer is `true`. Raises EvaluationFailed when there is none."""
        if self.needs is not None and self.needs.isdisjoint(situation.groups):
            return False
        try:
            value = self._expression.eval(activation=situation.activation)
        except RuntimeError as error:
            raise EvaluationFailed(said(error)) from None
        answer = value.value()
        if answer is True or answer is False:
            return answer
        raise EvaluationFailed(said(answer) if value.type() == cel.Type.ERROR else "the answer is no boolean")


class RuleEngine:
    """Compiles expressions and runs them. One for each process is enough; it may be used by several threads."""

    def __init__(self) -> None:
        self.program = lru_cache(_PROGRAMS)(self.compile)  # as `compile`, once for each expression

    @cached_property
    def _env(self) -> "cel.Env":
        return cel.NewEnv(config=cel.NewEnvConfigFromYaml(_ENVIRONMENT))

    def compile(self, source: str) -> Program:
        """The program of an expression. Raises InvalidExpression with the place and, where there is one, a hint."""
        if not source.strip():
            raise InvalidExpression("an expression is needed; true matches everybody")
        expression = compiled(self._env, source, VARIABLES)
        result = expression.return_type()
        if result != cel.Type.BOOL:
            message = f"the result must be true or false, not {result.name()}"
            hint = "compare it: claims.admin == true" if result == cel.Type.DYN else ""
            raise InvalidExpression(message, hint=hint)
        return Program(source, expression, bill_of(expression, source))

    def unusable(self, source: str) -> Program:
        """A program that comes to no answer, for an expression that this release does not understand."""
        return Program(source, self._env.compile("dyn(1) == dyn('') || 1 / 0 == 1"), Bill(0, frozenset(), None))

    def situation(self, facts: Facts) -> Situation:
        """The facts in CEL's form. Raises UnfitFacts."""
        facts.check()
        claims, left_out = small_claims(facts.claims)
        data = {
            "groups": list(facts.groups),
            "sub": facts.sub,
            "iss": facts.iss,
            "email": facts.email,
            "claims": claims,
            "client": facts.client,
            "ip": facts.ip,
            "time": facts.time,
        }
        return Situation(self._env.Activation(data=data), frozenset(facts.groups), left_out)


def compiled(env: "cel.Env", source: str, variables: Sequence[str]) -> "cel.Expression":
    """The expression, of whatever type. variables: of the environment. Raises InvalidExpression, with the place."""
    if len(source) > MAX_SOURCE:
        raise InvalidExpression(f"an expression has at most {MAX_SOURCE} characters")
    try:
        source.encode()
        expression = env.compile(source)
        expression.return_type()
    except (RuntimeError, UnicodeError, ValueError) as error:
        raise _refused(source, str(error), variables) from None
    return expression


def bill_of(expression: "cel.Expression", source: str) -> Bill:
    """What the expression can cost at worst. Raises InvalidExpression, with the place, when that is too much."""
    checked = Checked(expression.serialize())
    try:
        return checked.bill()
    except Unaffordable as error:
        line, column = _place(source, checked.offset_of(error.expression_id) or 0)
        raise InvalidExpression(str(error), line=line, column=column) from None


def _refused(source: str, said: str, variables: Sequence[str]) -> InvalidExpression:
    """The first of the compiler's complaints, in plain words."""
    found = _PLACE.search(said)
    if found is None:
        return InvalidExpression("not an expression that can be read", hint=hint_for(source))
    line, column, message = int(found[1]), int(found[2]), found[3].removesuffix(" [INVALID_ARGUMENT]")
    unknown = _UNDECLARED.match(message)
    hint = hint_for(source)
    if unknown is not None:
        name = unknown[1]
        message = f"{name} is not known here" if name.isidentifier() else f"{name.strip('_@')} is not offered here"
        hint = hint or f"there are {', '.join(variables)}"
    return InvalidExpression(message[:300], line=line, column=column, hint=hint)


def _place(source: str, offset: int) -> tuple[int, int]:
    before = source[:offset]
    return before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1


def said(error: object) -> str:
    """The library's message without its codes; it may quote a key or a value's type, never a value."""
    return re.sub(r"^[A-Z_]+: | \[[A-Z_]+\]$", "", str(error))[:200]
