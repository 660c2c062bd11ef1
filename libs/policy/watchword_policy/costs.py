"""What an expression can cost at worst: counted from its checked form before it is run, the same on every machine.

CEL bounds the rounds of `exists` and `all` (10,000 in one run), but not what a round costs. Here a unit is about 10 ns,
groups have as many names as they may have, and what a claim holds is as large as all claims together.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from watchword_policy.facts import MAX_CLAIM_NODES, MAX_GROUPS
from watchword_policy.needs import Needs, needs_of
from watchword_policy.patterns import InvalidPattern, Pattern
from watchword_policy.syntax import CALL, CONST, ID, LIST, LOOP, SELECT, STRUCT, Message, literal, variable

MAX_COST: Final = 5_000_000
_ROUNDS: Final = 10_000
_INSTRUCTION: Final = 40  # of a regular expression, which CEL compiles at each use
_TEXT: Final = 100  # a search through a text of full length
_MEMBER: Final = 64  # values in a member of a claim: all members together are no more than all claims
_ZONED: Final = frozenset(
    {"getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear", "getFullYear", "getHours", "getMilliseconds"}
    | {"getMinutes", "getMonth", "getSeconds"}
)
_TEXTUAL: Final = frozenset({"contains", "startsWith", "endsWith", "string", "bytes", "timestamp", "duration"})


class Unaffordable(ValueError):
    """The expression may not be run. The message is safe to show; expression_id: of the place, 0 for the whole."""

    def __init__(self, message: str, expression_id: int = 0) -> None:
        super().__init__(message)
        self.expression_id = expression_id


@dataclass(frozen=True, slots=True)
class Bill:
    """What an expression looks at and costs. names: of the variables, `time` perhaps among them.

    needs: groups without one of which it is false.  makes_null: it has a null in it, or makes a message, whose members
    may be null.
    """

    cost: int
    names: frozenset[str]
    needs: Needs
    makes_null: bool = False


class Checked:
    """A checked expression. Raises Unaffordable from `bill`, when a cost or a literal is not acceptable."""

    def __init__(self, serialized: bytes) -> None:
        """serialized: as CEL's `Expression.serialize()` gives it: an Any with a CheckedExpr."""
        message = Message(Message(serialized).one(2))
        self._root = Message(message.one(4))
        self._positions = {
            Message(entry).number(1): Message(entry).number(2) for entry in Message(message.one(5)).all(4)
        }

    def offset_of(self, expression_id: int) -> int | None:
        """The place of a part in the source, in characters from its beginning."""
        return self._positions.get(expression_id)

    def bill(self) -> Bill:
        """The worst cost and the variables. Raises Unaffordable."""
        counter = _Counter()
        cost, _ = counter.count(self._root, 1, {"groups": MAX_GROUPS, "claims": MAX_CLAIM_NODES})
        if cost > MAX_COST:
            times = -(-cost // MAX_COST)
            raise Unaffordable(f"the rule could take {times} times as long as a rule may: look at fewer lists in a row")
        return Bill(cost, frozenset(counter.names), needs_of(self._root), counter.makes_null)


Sizes = Mapping[str, int]


@dataclass(slots=True)
class _Counter:
    """Walks an expression. `count` returns units and the size of the value: how many values it may hold."""

    names: set[str] = field(default_factory=set)
    makes_null: bool = False

    def count(self, expr: Message, times: int, sizes: Sizes) -> tuple[int, int]:
        name = variable(expr)
        if name is not None:
            self.names.add(name)
            return times, sizes.get(name, 1)
        if expr.has(SELECT):
            select = Message(expr.one(SELECT))
            cost, _ = self.count(Message(select.one(1)), times, sizes)
            return cost + times, 1 if select.number(3) else MAX_CLAIM_NODES
        if expr.has(CALL):
            return self._call(expr, times, sizes)
        if expr.has(LIST):
            return self._sum(Message(expr.one(LIST)).all(1), times, sizes)
        if expr.has(STRUCT):
            struct = Message(expr.one(STRUCT))
            self.makes_null |= struct.has(1)
            entries = [Message(entry) for entry in struct.all(2)]
            return self._sum([part for entry in entries for part in (*entry.all(3), *entry.all(4))], times, sizes)
        if expr.has(LOOP):
            return self._loop(Message(expr.one(LOOP)), times, sizes)
        self.makes_null |= Message(expr.one(CONST)).has(1)
        return times, 1  # a constant

    def _sum(self, parts: list[bytes], times: int, sizes: Sizes) -> tuple[int, int]:
        counted = [self.count(Message(part), times, sizes) for part in parts]
        return times + sum(cost for cost, _ in counted), 1 + sum(size for _, size in counted)

    def _loop(self, loop: Message, times: int, sizes: Sizes) -> tuple[int, int]:
        """`exists` and `all`: a range, and what is done in each round of it."""
        cost, size = self.count(Message(loop.one(2)), times, sizes)
        rounds = min(times * size, _ROUNDS)
        ranged = Message(loop.one(2))
        inner = {**sizes, loop.one(1).decode(): 1 if variable(ranged) == "groups" else _MEMBER}
        if loop.has(8):
            inner[loop.one(8).decode()] = _MEMBER
        for part in (5, 6):
            cost += self.count(Message(loop.one(part)), rounds, inner)[0]
        for part in (4, 7):
            cost += self.count(Message(loop.one(part)), times, inner)[0]
        self.names -= {loop.one(1).decode(), loop.one(3).decode(), loop.one(8).decode()} - sizes.keys()
        return cost, 1

    def _call(self, expr: Message, times: int, sizes: Sizes) -> tuple[int, int]:
        call = Message(expr.one(CALL))
        name = call.one(2).decode()
        arguments = [Message(part) for part in (*call.all(1), *call.all(3))]
        counted = [self.count(argument, times, sizes) for argument in arguments]
        found = [size for _, size in counted]
        own, size = 1, 1
        match name:
            case "matches":
                own = self._matches(expr, arguments)
            case "@in":
                own = 1 + found[1]
            case "_==_" | "_!=_":
                own = 1 + 2 * min(found)
            case "_?_:_":
                size = max(found[1:])
            case "_[_]" | "dyn":
                size = found[0]
            case _ if name in _ZONED and len(arguments) > 1:
                own = self._zoned(expr, arguments[1])
            case _ if name in _TEXTUAL:
                own = _TEXT
        return sum(cost for cost, _ in counted) + own * times, size

    def _matches(self, expr: Message, arguments: list[Message]) -> int:
        """A regular expression is a literal: one from a claim would be a stranger's to choose."""
        text = literal(arguments[1])
        if text is None:
            raise Unaffordable("the regular expression of matches() must be written here as a text", expr.number(ID))
        try:
            return _TEXT + _INSTRUCTION * Pattern(text).size
        except InvalidPattern as error:
            raise Unaffordable(str(error), arguments[1].number(ID)) from None

    def _zoned(self, expr: Message, argument: Message) -> int:
        zone = literal(argument)
        if zone is None:
            raise Unaffordable("a time zone must be written here as a text", expr.number(ID))
        if not _is_zone(zone):
            raise Unaffordable("this time zone is not known: use a name such as 'Europe/Oslo'", argument.number(ID))
        return _TEXT


def _is_zone(name: str) -> bool:
    if re.fullmatch(r"[+-]\d\d:\d\d", name, re.ASCII):
        return True
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
