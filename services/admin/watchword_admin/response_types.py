"""What a client may ask the authorization endpoint for, and how it may be answered."""

from collections.abc import Iterable
from typing import Final, Literal

ResponseMode = Literal["query", "fragment", "form_post", "query.jwt", "fragment.jwt", "form_post.jwt"]

_PARTS: Final = frozenset({"code", "id_token", "token"})
_ALWAYS: Final[tuple[ResponseMode, ...]] = ("query", "form_post")
_NOT_IN_A_QUERY: Final = frozenset({"fragment", "form_post", "fragment.jwt", "form_post.jwt"})


def response_type(value: str) -> str:
    """The type with its parts in one order: `token id_token` is `id_token token`. Raises ValueError.

    Spec: OAuth 2.0 Multiple Response Type Encoding Practices 1 (the order does not matter), 3, 5.
    """
    parts = value.split(" ")
    if not set(parts) <= _PARTS or len(set(parts)) != len(parts):
        raise ValueError("a response type consists of code, id_token and token")
    return " ".join(sorted(parts))


def response_types_of(given: tuple[str, ...] | None, grant_types: Iterable[str]) -> tuple[str, ...]:
    """The types that count: code where nothing is said."""
    if given is not None:
        return given
    return ("code",) if "authorization_code" in grant_types else ()


def response_modes_of(given: tuple[ResponseMode, ...] | None, types: Iterable[str]) -> tuple[ResponseMode, ...]:
    """The modes that count. Where nothing is said, tokens also come in the fragment, their default.

    Spec: OAuth 2.0 Multiple Response Type Encoding Practices 3, 5.
    """
    if given is not None:
        return given
    return (*_ALWAYS, "fragment") if any(each != "code" for each in types) else _ALWAYS


def check_responses(types: tuple[str, ...], modes: tuple[ResponseMode, ...], grant_types: Iterable[str]) -> None:
    """Types, modes and grant types fit together. Raises ValueError with the field that has to change.

    Spec: RFC 7591 2.1.
    """
    parts = {part for each in types for part in each.split(" ")}
    needed = {"authorization_code" if part == "code" else "implicit" for part in parts}
    given = {"authorization_code", "implicit"} & set(grant_types)
    if needed != given:
        raise ValueError(
            "response_types: code belongs to the grant type authorization_code, id_token and token to implicit"
        )
    if given and not modes:
        raise ValueError("response_modes: at least one is needed")
    if "implicit" in given and not _NOT_IN_A_QUERY & set(modes):
        raise ValueError("response_modes: tokens need fragment or form_post, as they are or signed")
