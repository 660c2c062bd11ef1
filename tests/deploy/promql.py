"""As much of PromQL as our alert rules are written in, to see when they fire.

Values are samples at their times; `rate` and `increase` add up what a counter rose by and extrapolate nothing. What is
not understood is an error, so a rule that asks for more is noticed.
Spec: https://prometheus.io/docs/prometheus/latest/querying/
"""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

Labels = frozenset[tuple[str, str]]
Vector = dict[Labels, float]
Value = Vector | float
Samples = Mapping[tuple[str, Labels], Sequence[tuple[float, float]]]

_TOKEN = re.compile(
    r'\s*(?:(\d+\.?\d*(?![\dsmhd]))|(\d+[smhd])|([A-Za-z_]\w*)|("[^"]*")|(==|!=|=~|[-+*/<>(){}\[\],=]))'
)
_UNIT_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_STALE_S = 300
_ARITHMETIC: Mapping[str, Callable[[float, float], float]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": lambda a, b: a / b if b else float("nan"),
}  # fmt: skip
_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    ">": operator.gt, "<": operator.lt, "==": operator.eq,
}  # fmt: skip
_AGGREGATES: Mapping[str, Callable[[Sequence[float]], float]] = {"sum": sum, "min": min, "max": max}


def seconds(text: str) -> int:
    """Of `30m`."""
    return int(text[:-1]) * _UNIT_S[text[-1]]


def series(name: str, **labels: str) -> tuple[str, Labels]:
    """The name of a row of samples."""
    return name, frozenset(labels.items())


@dataclass
class _Query:
    """One evaluation at one time."""

    tokens: list[str]
    samples: Samples
    at: float
    place: int = field(default=0)

    def take(self, wanted: str | None = None) -> str:
        token = self.tokens[self.place] if self.place < len(self.tokens) else ""
        if wanted is not None and token != wanted:
            raise SyntaxError(f"{wanted!r} expected, not {token!r}")
        self.place += 1
        return token

    def next_is(self, *tokens: str) -> bool:
        return self.place < len(self.tokens) and self.tokens[self.place] in tokens

    def whole(self) -> Value:
        found = self.either()
        while self.next_is("or"):
            self.take()
            more = self.either()
            assert isinstance(found, dict)
            assert isinstance(more, dict)
            found = more | found
        return found

    def either(self) -> Value:
        left = self.sum_()
        while self.next_is(*_COMPARISONS):
            compared = _COMPARISONS[self.take()]
            right = self.sum_()
            assert isinstance(left, dict)
            pairs = _pairs(left, right)
            left = {labels: a for labels, (a, b) in pairs.items() if compared(a, b)}
        return left

    def sum_(self) -> Value:
        left = self.product()
        while self.next_is("+", "-"):
            left = _combined(self.take(), left, self.product())
        return left

    def product(self) -> Value:
        left = self.one()
        while self.next_is("*", "/"):
            left = _combined(self.take(), left, self.one())
        return left

    def one(self) -> Value:
        token = self.take()
        if token == "(":
            found = self.whole()
            self.take(")")
            return found
        if token[0].isdigit():
            return float(token)
        if token in _AGGREGATES:
            return self.aggregate(_AGGREGATES[token])
        if not self.next_is("("):
            return self.vector(token)
        self.take("(")
        found = self.call(token)
        self.take(")")
        return found

    def call(self, function: str) -> Value:
        match function:
            case "rate" | "increase":
                chosen = self.selected(self.take())
                self.take("[")
                window = seconds(self.take())
                self.take("]")
                risen = {labels: _rise(points, self.at - window, self.at) for labels, points in chosen.items()}
                by = window if function == "rate" else 1
                return {labels: each / by for labels, each in risen.items() if each is not None}
            case "absent":
                found = self.whole()
                return {} if found else {frozenset(): 1.0}
            case "vector":
                number = self.whole()
                assert isinstance(number, float)
                return {frozenset(): number}
            case "time":
                return self.at
            case "histogram_quantile":
                self.whole()
                self.take(",")
                self.whole()
                return {}
        raise SyntaxError(function)

    def aggregate(self, folded: Callable[[Sequence[float]], float]) -> Vector:
        kept: list[str] = []
        if self.next_is("by"):
            self.take()
            self.take("(")
            while not self.next_is(")"):
                kept.append(self.take())
                if self.next_is(","):
                    self.take()
            self.take(")")
        self.take("(")
        values = self.whole()
        self.take(")")
        assert isinstance(values, dict)
        groups: dict[Labels, list[float]] = {}
        for labels, value in values.items():
            groups.setdefault(frozenset(each for each in labels if each[0] in kept), []).append(value)
        return {labels: folded(group) for labels, group in groups.items()}

    def vector(self, name: str) -> Vector:
        fresh = {
            labels: [value for at, value in points if self.at - _STALE_S < at <= self.at]
            for labels, points in self.selected(name).items()
        }
        return {labels: values[-1] for labels, values in fresh.items() if values}

    def selected(self, name: str) -> dict[Labels, Sequence[tuple[float, float]]]:
        tests: list[Callable[[Mapping[str, str]], bool]] = []
        if self.next_is("{"):
            self.take()
            while not self.next_is("}"):
                tests.append(_matcher(self.take(), self.take(), self.take().strip('"')))
                if self.next_is(","):
                    self.take()
            self.take("}")
        return {
            labels: points
            for (each, labels), points in self.samples.items()
            if each == name and all(is_met(dict(labels)) for is_met in tests)
        }


def evaluated(expression: str, samples: Samples, at: float) -> Value:
    """What the expression is at a time. Raises SyntaxError."""
    tokens, place = [], 0
    text = expression.strip()
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:
            raise SyntaxError(text[place:])
        tokens.append(next(each for each in found.groups() if each is not None))
        place = found.end()
    query = _Query(tokens, samples, at)
    value = query.whole()
    if query.place != len(tokens):
        raise SyntaxError(str(tokens[query.place :]))
    return value


def fires(rule: Mapping[str, str], samples: Samples, until: float, *, every: float = 30) -> bool:
    """Whether the alert fires by then: for one set of labels there was something for as long as `for` says."""
    wanted, at = seconds(rule.get("for", "0s")), 0.0
    since: dict[Labels, float] = {}
    while at <= until:
        found = evaluated(rule["expr"], samples, at)
        assert isinstance(found, dict)
        since = {labels: since.get(labels, at) for labels in found}
        if any(at - begun >= wanted for begun in since.values()):
            return True
        at += every
    return False


def _matcher(label: str, how: str, wanted: str) -> Callable[[Mapping[str, str]], bool]:
    match how:
        case "=":
            return lambda labels: labels.get(label, "") == wanted
        case "!=":
            return lambda labels: labels.get(label, "") != wanted
        case "=~":
            return lambda labels: re.fullmatch(wanted, labels.get(label, "")) is not None
    raise SyntaxError(how)


def _rise(points: Sequence[tuple[float, float]], after: float, until: float) -> float | None:
    values = [value for at, value in points if after < at <= until]
    if len(values) < 2:
        return None
    return sum(later - earlier if later >= earlier else later for earlier, later in pairwise(values))


def _pairs(left: Vector, right: Value) -> dict[Labels, tuple[float, float]]:
    if isinstance(right, dict):
        return {labels: (value, right[labels]) for labels, value in left.items() if labels in right}
    return {labels: (value, right) for labels, value in left.items()}


def _combined(sign: str, left: Value, right: Value) -> Value:
    work = _ARITHMETIC[sign]
    if isinstance(left, dict):
        return {labels: work(a, b) for labels, (a, b) in _pairs(left, right).items()}
    if isinstance(right, dict):
        return {labels: work(left, b) for labels, b in right.items()}
    return work(left, right)
