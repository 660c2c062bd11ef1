"""JSON that a stranger sent: parsed strictly, bounded in size and depth, storable as it is."""

from collections.abc import Mapping
from typing import Final

import orjson
from pydantic import JsonValue

MAX_DEPTH: Final = 20


class UnusableDocument(ValueError):
    """What was sent is not a JSON object that may be used."""


def parse_object(raw: bytes, *, max_bytes: int) -> dict[str, JsonValue]:
    """The JSON object in `raw`. Raises UnusableDocument when it is too large or not fit for use.

    orjson refuses NaN, lone surrogates and nesting beyond 1,024 natively, without recursion in Python.
    """
    if len(raw) > max_bytes:
        raise UnusableDocument("too large")
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise UnusableDocument("not JSON") from error
    if not isinstance(document, dict):
        raise UnusableDocument("not an object")
    check_document(document)
    return document


def check_document(document: Mapping[str, JsonValue]) -> None:
    """The document is at most 20 levels deep and no text in it holds U+0000, which PostgreSQL cannot store.

    Raises UnusableDocument.
    """
    level: list[JsonValue] = [dict(document)]
    for _ in range(MAX_DEPTH):
        below: list[JsonValue] = []
        for value in level:
            if isinstance(value, str):
                if "\x00" in value:
                    raise UnusableDocument("contains U+0000")
            elif isinstance(value, list):
                below.extend(value)
            elif isinstance(value, dict):
                below.extend(value)
                below.extend(value.values())
        if not below:
            return
        level = below
    raise UnusableDocument("too deep")
