"""The groups that a provider says a person is in: where they stand among its claims, and in which form."""

import csv
import json
from collections.abc import Iterable, Mapping
from typing import Final

from pydantic import JsonValue

# In this order, unless a provider's settings name another claim.
CLAIMS: Final = ("groups", "group", "memberOf", "member_of", "roles", "role", "teams", "team")
MAX_NAME: Final = 256
MAX_NAMES: Final = 5000


def upstream_groups(claims: Mapping[str, JsonValue], path: str | None = None) -> tuple[str, ...]:
    """The names of the groups, each once however it is written, as they came and in their order; at most 5000.

    path: the name of a claim, or names with dots between them for a member of a claim. Without one, the first of
    `CLAIMS` that names a group. A claim that is not there, or is neither list nor text, names none.
    """
    if path is not None:
        return _names(_at(claims, path))
    return next((names for claim in CLAIMS if (names := _names(claims.get(claim)))), ())


def spellings(names: Iterable[str]) -> tuple[str, ...]:
    """The names as they are and in small letters: what a rule that is written in small letters finds in any case."""
    return tuple(dict.fromkeys(spelling for name in names for spelling in (name, name.lower())))


def _at(claims: Mapping[str, JsonValue], path: str) -> JsonValue:
    """The value at a path; a claim whose own name has dots in it, such as a URL, is found first."""
    if path in claims:
        return claims[path]
    found: JsonValue = dict(claims)
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _names(value: JsonValue) -> tuple[str, ...]:
    if isinstance(value, str):
        value = _in_text(value.strip())
    if not isinstance(value, list):
        return ()
    texts = (each.strip() for each in value if isinstance(each, str))
    once = {text.lower(): text for text in reversed([text for text in texts if 0 < len(text) <= MAX_NAME])}
    return tuple(reversed(once.values()))[:MAX_NAMES]


def _in_text(text: str) -> JsonValue:
    """What a text lists: a JSON array, or names with commas between them; a distinguished name (RFC 4514) is one."""
    if text.startswith("["):
        try:
            found: JsonValue = json.loads(text)
        except (ValueError, RecursionError):
            return None
        return found
    try:
        names = next(csv.reader([text], skipinitialspace=True), [])
    except csv.Error:
        return None
    return [text] if len(names) > 1 and all("=" in name for name in names) else list[JsonValue](names)
