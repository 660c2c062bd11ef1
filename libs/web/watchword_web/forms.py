"""Forms, queries and JSON bodies, read strictly: what two readers could read differently is refused."""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote_to_bytes

import orjson
from fastapi import Request

from watchword_web.errors import (
    BODY_LIMIT_BYTES,
    BadRequest,
    BodyTooLarge,
    MalformedForm,
    MalformedJson,
    RepeatedParameter,
)
from watchword_web.texts import Text

Params = Mapping[str, str]

# The two that may be sent several times; their values hold no spaces, so they are read as one list with spaces between.
REPEATABLE: Final = frozenset({"resource", "audience"})

JSON_DEPTH = 20  # no body of ours nests deeper than 6; a recursive reader overflows at about 1000
_MAX_PARAMETERS = 100
_LENGTH_DIGITS = 12  # int() of a thousand digits is work that a stranger could order
_FORM_TYPE = "application/x-www-form-urlencoded"
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_JSON_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKET = re.compile(rb"[\[\]{}]")


def parse_form(raw: bytes, most: int = _MAX_PARAMETERS) -> Params:
    """The parameters of an urlencoded body or query; those without a value are left out.

    Raises RepeatedParameter for a name that stands there twice, unless it is REPEATABLE, and MalformedForm for a broken
    escape, text that is not UTF-8, a NUL (PostgreSQL stores none) or more parameters than `most`.
    Spec: RFC 6749 3.1 (no value means omitted; no parameter more than once), B (UTF-8); RFC 8707 2; RFC 8693 2.1.
    """
    pairs = text_of(raw).split("&")
    if len(pairs) > most:
        raise MalformedForm("The request has too many parameters")
    params: dict[str, str] = {}
    empty: set[str] = set()
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if "%" in pair or "+" in pair:
            name, value = _unescape(name), _unescape(value)
        if name in REPEATABLE:
            _add(params, name, value)
        elif name in params or name in empty:
            raise RepeatedParameter(name)
        elif value:
            params[name] = value
        elif name or equals:
            empty.add(name)
    return params


def _add(params: dict[str, str], name: str, value: str) -> None:
    if " " in value:
        raise MalformedForm(Text("%(parameter)s holds a space", parameter=name))
    if value and value not in params.get(name, "").split(" "):
        params[name] = f"{params[name]} {value}" if name in params else value


def _unescape(text: str) -> str:
    if _BAD_ESCAPE.search(text):
        raise MalformedForm("The request has a malformed percent-encoding")
    return text_of(unquote_to_bytes(text.replace("+", " ")))


def text_of(raw: bytes) -> str:
    """Bytes as text that PostgreSQL can store. Raises MalformedForm."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedForm("The request is not valid UTF-8") from None
    if "\x00" in text:
        raise MalformedForm("The request has a NUL character")
    return text


async def read_form(request: Request, limit_bytes: int = BODY_LIMIT_BYTES, most: int = _MAX_PARAMETERS) -> Params:
    """The form that a request carries, as `parse_form`. Raises MalformedForm for any other content type."""
    check_form_type(request.headers.get("content-type", ""))
    return parse_form(await body_of(request, limit_bytes), most)


def check_form_type(content_type: str) -> None:
    """Raises MalformedForm unless a body of this type is urlencoded in UTF-8."""
    media_type, _, parameters = content_type.partition(";")
    if media_type.strip().lower() != _FORM_TYPE:
        raise MalformedForm(Text("The request body must be %(type)s", type=_FORM_TYPE))
    charset = parameters.lower().replace(" ", "").replace('"', "")
    if charset.startswith("charset=") and charset != "charset=utf-8":
        raise MalformedForm("The request body must be in UTF-8")


def check_length(content_length: bytes, limit_bytes: int = BODY_LIMIT_BYTES) -> None:
    """Raises BodyTooLarge when a Content-Length announces more than the limit, BadRequest when it is no number."""
    if not content_length.isdigit():
        raise BadRequest("The Content-Length is not a number")
    if len(content_length) > _LENGTH_DIGITS or int(content_length) > limit_bytes:
        raise BodyTooLarge(limit_bytes)


def read_query(request: Request) -> Params:
    """The parameters of the request's query, as `parse_form`."""
    raw: bytes = request.scope["query_string"]
    return parse_form(raw)


def parse_json(body: bytes) -> object:
    """The JSON value of a body. Raises MalformedJson when it is none, not in UTF-8, or nested deeper than 20 levels."""
    if _is_too_deep(body):
        raise MalformedJson("The JSON body is nested too deeply")
    if b"\\u0000" in body:
        raise MalformedJson("The JSON body has a NUL character")
    try:
        value: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise MalformedJson("The request body is not valid JSON") from None
    return value


def _is_too_deep(body: bytes) -> bool:
    if body.count(b"[") + body.count(b"{") <= JSON_DEPTH:
        return False
    depth = 0
    for bracket in _BRACKET.finditer(_JSON_STRING.sub(b"", body)):
        depth += 1 if bracket[0] in b"[{" else -1
        if depth > JSON_DEPTH:
            return True
    return False


async def read_json(request: Request, limit_bytes: int = BODY_LIMIT_BYTES) -> object:
    """The JSON value that a request carries, as `parse_json`. Raises MalformedJson for any other content type."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise MalformedJson("The request body must be application/json")
    return parse_json(await body_of(request, limit_bytes))


async def body_of(request: Request, limit_bytes: int = BODY_LIMIT_BYTES) -> bytes:
    """The body of a request as it was sent. Raises BodyTooLarge."""
    parts: list[bytes] = []
    size_bytes = 0
    async for part in request.stream():
        size_bytes += len(part)
        if size_bytes > limit_bytes:
            raise BodyTooLarge(limit_bytes)
        parts.append(part)
    return b"".join(parts)
