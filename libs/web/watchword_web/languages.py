"""In which language a request is answered: as the application asks, the person chose, or their browser says."""

from collections.abc import Iterable, Sequence
from typing import Final

from starlette.requests import Request
from starlette.types import Scope

from watchword_web.cookies import Cookies

_KEY: Final = "watchword.languages"
_MOST_RANGES: Final = 20
_LONGEST_HEADER: Final = 500


def prefer(scope: Scope, *, asked: Iterable[str] = (), of_person: str | None = None) -> None:
    """Everything that answers this request from now on, error pages included, is in the best of these languages.

    asked: `ui_locales`, best first.  of_person: the `locale` of their profile.  Spec: OpenID Connect Core 3.1.2.1.
    """
    known = _preferred(scope)
    scope[_KEY] = (tuple(asked) or known[0], of_person or known[1])


def is_asked(scope: Scope, offered: Sequence[str]) -> bool:
    """Whether the application asked for one of the languages, so that the person was asked there."""
    return best(_preferred(scope)[0], offered) is not None


def language_of(request: Request, cookies: Cookies, offered: Sequence[str]) -> str:
    """The language of the answer: `ui_locales`, then the person's choice in this browser or their profile, then what
    the browser says; else the first that is offered.

    Spec: OpenID Connect Core 3.1.2.1; RFC 9110 12.5.4.
    """
    if len(offered) == 1:
        return offered[0]
    asked, of_person = _preferred(request.scope)
    chosen = [cookies.read_language(request), of_person]
    wanted = (*asked, *filter(None, chosen), *accepted(request.headers.get("accept-language", "")))
    return best(wanted, offered) or offered[0]


def best(wanted: Iterable[str], offered: Sequence[str]) -> str | None:
    """The first that is offered, a tag being cut from its end until it fits (`de-CH` is `de`). Spec: RFC 4647 3.4."""
    for each in wanted:
        parts = each.replace("_", "-").lower().split("-")
        while parts:
            if "-".join(parts) in offered:
                return "-".join(parts)
            parts.pop()
    return None


def accepted(header: str) -> list[str]:
    """The languages of an Accept-Language header, best first, without what cannot be read. Spec: RFC 9110 12.5.4."""
    found: list[tuple[float, str]] = []
    for item in header[:_LONGEST_HEADER].split(",")[:_MOST_RANGES]:
        tag, _, parameter = item.partition(";")
        name, _, value = parameter.strip().partition("=")
        try:
            weight = float(value) if name == "q" else 1.0
        except ValueError:
            continue
        if weight > 0 and tag.strip():
            found.append((weight, tag.strip()))
    return [tag for _, tag in sorted(found, key=lambda each: -each[0])]


def _preferred(scope: Scope) -> tuple[tuple[str, ...], str | None]:
    found: tuple[tuple[str, ...], str | None] = scope.get(_KEY, ((), None))
    return found
