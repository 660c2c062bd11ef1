"""The `claims` parameter: single claims that an application asks for. Spec: OpenID Connect Core 5.5."""

from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from watchword_runtime.documents import UnusableDocument, parse_object

_MAX_BYTES: Final = 8 * 1024
_MAX_CLAIMS: Final = 64
_MAX_NAME: Final = 128
_MAX_VALUE: Final = 255


class InvalidClaims(ValueError):
    """The parameter cannot be read; the text is safe to show."""


@dataclass(frozen=True, slots=True)
class ClaimsAsked:
    """What is asked for. id_token, userinfo: names of claims about the person, to be told there.

    acr_values, acr_essential: how the person has to sign in.  subject: whom alone the answer may be about.
    """

    id_token: tuple[str, ...]
    userinfo: tuple[str, ...]
    acr_values: tuple[str, ...] = ()
    acr_essential: bool = False
    subject: str | None = None


def parse_claims(raw: str) -> ClaimsAsked:
    """What the parameter asks for. Members that are not understood are ignored. Raises InvalidClaims.

    Spec: OpenID Connect Core 5.5, 5.5.1, 5.5.1.1.
    """
    try:
        document = parse_object(raw.encode("utf-8", "surrogatepass"), max_bytes=_MAX_BYTES)
    except UnusableDocument as error:
        raise InvalidClaims(f"claims cannot be read: {error}") from None
    id_token, userinfo = _members(document, "id_token"), _members(document, "userinfo")
    subjects = {_value(each["sub"]) for each in (id_token, userinfo) if "sub" in each} - {None}
    if len(subjects) > 1:
        raise InvalidClaims("claims names two subjects")
    acr = id_token.get("acr") or {}
    return ClaimsAsked(
        id_token=tuple(id_token),
        userinfo=tuple(userinfo),
        acr_values=_values(acr),
        acr_essential=acr.get("essential") is True and bool(_values(acr)),
        subject=next(iter(subjects), None),
    )


def _members(document: dict[str, JsonValue], place: str) -> dict[str, dict[str, JsonValue]]:
    members = document.get(place)
    if members is None:
        return {}
    if not isinstance(members, dict) or len(members) > _MAX_CLAIMS:
        raise InvalidClaims(f"{place} in claims must be an object of at most {_MAX_CLAIMS} members")
    return {name: _request(name, members[name]) for name in members}


def _request(name: str, value: object) -> dict[str, JsonValue]:
    """What is asked about one claim; null asks for it as it is. Spec: OpenID Connect Core 5.5.1."""
    if not name or len(name) > _MAX_NAME or not name.isprintable():
        raise InvalidClaims("claims holds a name that is none")
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidClaims("each claim is asked for with null or an object")
    if not isinstance(value.get("essential", False), bool):
        raise InvalidClaims("essential must be true or false")
    if "values" in value and not isinstance(value["values"], list):
        raise InvalidClaims("values must be an array")
    return value


def _value(request: dict[str, JsonValue]) -> str | None:
    value = request.get("value")
    if value is not None and not _is_plain(value):
        raise InvalidClaims("the value of sub must be a string")
    return str(value) if value is not None else None


def _values(request: dict[str, JsonValue]) -> tuple[str, ...]:
    listed = request.get("values")
    values = [*(listed if isinstance(listed, list) else []), *([request["value"]] if "value" in request else [])]
    if not all(_is_plain(each) and " " not in str(each) for each in values):
        raise InvalidClaims("the values of acr must be strings")
    return tuple(dict.fromkeys(str(each) for each in values))


def _is_plain(value: JsonValue) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _MAX_VALUE and value.isprintable()
