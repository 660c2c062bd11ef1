"""Where in a provider's answer something stands, and what Watchword calls it."""

import re
from collections.abc import Mapping
from typing import Final

from pydantic import JsonValue

_REFERENCE: Final = re.compile(r"\{([^{}]*)\}")


def find(document: Mapping[str, JsonValue], path: str) -> JsonValue:
    """What stands at a path: a member of exactly this name, or members of members with dots between; else None."""
    if path in document:
        return document[path]
    found: JsonValue = dict(document)
    for name in path.split("."):
        if not isinstance(found, dict) or name not in found:
            return None
        found = found[name]
    return found


def renamed(document: Mapping[str, JsonValue], names: Mapping[str, str]) -> dict[str, JsonValue]:
    """The document with what our names (the keys) mean in it; a name that it does not tell is not there at all.

    A subject that is a number, as GitHub's, becomes its digits.
    """
    result = dict(document)
    for ours, path in names.items():
        value = find(document, path)
        if ours == "sub" and isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if value is None:
            result.pop(ours, None)
        else:
            result[ours] = value
    return result


def text_of(document: JsonValue, template: str) -> str | None:
    """A template with paths in braces, filled; the document itself for an empty one. None where one leads nowhere."""
    if not template:
        return document if isinstance(document, str) else None
    if not isinstance(document, dict):
        return None
    values = {path: find(document, path) for path in _REFERENCE.findall(template)}
    if not all(isinstance(value, str | int) for value in values.values()):
        return None
    return _REFERENCE.sub(lambda found: str(values[found[1]]), template)
