"""Between members of documents and the controls that `Field` declares for them."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

import orjson
from pydantic import JsonValue

from watchword_admin.console.kinds.shapes import Field
from watchword_runtime.calls import Refused
from watchword_web.texts import Text

_LONGEST_NUMBER: Final = 15
_NUMBER: Final = re.compile(r"-?\d+(\.\d+)?")


def typed_of(field: Field, value: JsonValue) -> str:
    """What the control shows of a member."""
    match field.control:
        case "secret":
            return ""
        case "switch":
            return "1" if value else ""
        case "lines":
            return "\n".join(map(str, value)) if isinstance(value, list) else ""
        case "json":
            return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode() if value else ""
        case _:
            return "" if value is None else str(value)


def member_of(field: Field, typed: str) -> JsonValue:
    """The member that was typed. Raises Refused for what is no JSON."""
    match field.control:
        case "lines" if field.spaced:
            return [line.strip() for line in typed.splitlines() if line.strip()]
        case "lines":
            return list(typed.split())
        case "number" if _NUMBER.fullmatch(typed) and len(typed) <= _LONGEST_NUMBER:
            return float(typed) if "." in typed else int(typed)
        case "json":
            return _json(field, typed)
        case "area":
            return typed.strip() + "\n"
        case _:
            return typed.strip()


def said_of(field: Field, form: Mapping[str, str]) -> JsonValue:
    """The member that a whole form says; None where its control is empty. Raises Refused for what is no JSON."""
    typed = form.get(field.name, "").strip()
    if field.control == "switch":
        return field.name in form
    if field.control == "area":
        return "\n".join(typed.splitlines()) or None
    return member_of(field, typed) if typed else None


def shown_by(fields: Iterable[Field], members: Mapping[str, JsonValue]) -> dict[str, str]:
    """What the controls show of members, by name."""
    return {field.name: typed_of(field, members.get(field.name)) for field in fields}


def _json(field: Field, typed: str) -> JsonValue:
    try:
        found: JsonValue = orjson.loads(typed)
    except orjson.JSONDecodeError as error:
        raise Refused(400, "", {field.name: Text("not JSON: %(reason)s", reason=error.msg)}, {}) from None
    return found
