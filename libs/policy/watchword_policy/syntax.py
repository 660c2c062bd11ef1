"""The checked form of an expression: a protobuf message (`cel.expr.CheckedExpr`), of which a few fields are read."""

from collections.abc import Iterator
from typing import Final

# Fields of cel.expr.Expr.
ID: Final = 2
CONST: Final = 3
IDENT: Final = 4
SELECT: Final = 5
CALL: Final = 6
LIST: Final = 7
STRUCT: Final = 8
LOOP: Final = 9


class Message:
    """A protobuf message, read field by field: wire types 0 (number), 1, 2 (bytes) and 5."""

    def __init__(self, raw: bytes) -> None:
        self._fields: dict[int, list[int | bytes]] = {}
        for number, value in _fields(raw):
            self._fields.setdefault(number, []).append(value)

    def all(self, number: int) -> list[bytes]:
        """Every value of a repeated field."""
        return [value for value in self._fields.get(number, ()) if isinstance(value, bytes)]

    def one(self, number: int) -> bytes:
        """The field's bytes, empty when it is absent."""
        return next(iter(self.all(number)), b"")

    def number(self, number: int) -> int:
        """The field's number, 0 when it is absent."""
        return next((value for value in self._fields.get(number, ()) if isinstance(value, int)), 0)

    def has(self, number: int) -> bool:
        """Whether the field is there."""
        return number in self._fields


def _fields(raw: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = raw[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    while at < len(raw):
        key = varint()
        match key & 7:
            case 0:
                yield key >> 3, varint()
            case 2:
                length = varint()
                yield key >> 3, raw[at : at + length]
                at += length
            case 1:
                at += 8
            case 5:
                at += 4
            case other:
                raise ValueError(f"wire type {other}")


def literal(expr: Message) -> str | None:
    """The text that is written here, or None: it is none, or comes from elsewhere."""
    constant = Message(expr.one(CONST))
    return constant.one(6).decode() if expr.has(CONST) and constant.has(6) else None


def variable(expr: Message) -> str | None:
    """The name of a variable, or None when the expression is anything else."""
    return Message(expr.one(IDENT)).one(1).decode() if expr.has(IDENT) else None
