"""Rich authorization requests: what exactly a client wants to do, as JSON objects of named types. Spec: RFC 9396 2."""

import unicodedata
from collections.abc import Collection, Iterable, Sequence
from typing import Final

import orjson
from pydantic import JsonValue

Detail = dict[str, JsonValue]
Details = tuple[Detail, ...]

MAX_BYTES: Final = 8 * 1024  # they travel in every token
MAX_ENTRIES: Final = 16
MAX_TYPE: Final = 128
_MAX_DEPTH: Final = 6
# RFC 9396 2.2: common data fields.
_LISTS: Final = ("locations", "actions", "datatypes", "privileges")
_TEXTS: Final = ("identifier",)
_HIDDEN: Final = frozenset({"Cc", "Cf", "Zl", "Zp", "Cs", "Co"})


class InvalidDetails(ValueError):
    """`invalid_authorization_details`; the text is safe to show. Spec: RFC 9396 5."""


def parse_details(raw: str, types: Collection[str]) -> Details:
    """The details in a parameter, each of a type that the client may use. Raises InvalidDetails.

    What people are shown at consent must be what is granted: text that would not be seen as it is, is refused.
    Spec: RFC 9396 2, 2.2, 5.
    """
    if len(raw.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise InvalidDetails("authorization_details is too long")
    try:
        entries: object = orjson.loads(raw)
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        raise InvalidDetails("authorization_details is not JSON") from None
    if not isinstance(entries, list) or not 0 < len(entries) <= MAX_ENTRIES:
        raise InvalidDetails(f"authorization_details must be an array of 1 to {MAX_ENTRIES} objects")
    return tuple(_checked(entry, types) for entry in entries)


def _checked(entry: object, types: Collection[str]) -> Detail:
    if not isinstance(entry, dict):
        raise InvalidDetails("each of the authorization_details must be an object")
    kind = entry.get("type")
    if not isinstance(kind, str) or kind not in types:
        raise InvalidDetails("this client may not use that type of authorization_details")
    for name in _LISTS:
        value = entry.get(name, [])
        if not isinstance(value, list) or not all(isinstance(each, str) and each for each in value):
            raise InvalidDetails(f"{name} in authorization_details must be an array of strings")
    for name in _TEXTS:
        if not isinstance(entry.get(name, ""), str):
            raise InvalidDetails(f"{name} in authorization_details must be a string")
    _check_shown(entry, 0)
    return entry


def _check_shown(value: object, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise InvalidDetails("authorization_details is nested too deeply")
    match value:
        case str():
            if any(unicodedata.category(char) in _HIDDEN for char in value):
                raise InvalidDetails("authorization_details holds characters that cannot be shown")
        case list():
            for each in value:
                _check_shown(each, depth + 1)
        case dict():
            for name, each in value.items():
                _check_shown(name, depth + 1)
                _check_shown(each, depth + 1)


def narrowed(granted: Details, asked: Details) -> Details:
    """Those that are asked for again, all of which were granted. Raises InvalidDetails. Spec: RFC 9396 6."""
    if not all(each in granted for each in asked):
        raise InvalidDetails("the authorization_details are not among those that were granted")
    return tuple(each for each in granted if each in asked)


def for_audience(details: Iterable[Detail], audience: str | Sequence[str]) -> Details:
    """Those that concern the audience: those without locations, and those with one of its own. Spec: RFC 9396 3."""
    audiences = {audience} if isinstance(audience, str) else set(audience)
    return tuple(each for each in details if not each.get("locations") or not audiences.isdisjoint(_locations(each)))


def _locations(detail: Detail) -> list[str]:
    found = detail.get("locations")
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []
