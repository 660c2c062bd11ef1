"""Groups that somebody names where nothing has to exist: a slip there would lock everybody out, without a word."""

import difflib
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from watchword_admin.console import documents as seen
from watchword_admin.console.pages import Console
from watchword_admin.console.sessions import Visit
from watchword_runtime.calls import Refused, unless_away

_MOST_ASKED: Final = 10
_MOST_NEAR: Final = 3
_MANY: Final = "200"
_TEXT: Final = r"""(?:'[^'\\\x00-\x1f]{1,128}'|"[^"\\\x00-\x1f]{1,128}")"""
# 'ops' in groups
_IN: Final = re.compile(rf"({_TEXT})\s+in\s+groups\b")
# groups.exists(g, g in ['ops', 'admins']), groups.exists(g, g == 'ops')
_EXISTS: Final = re.compile(
    rf"\bgroups\.exists\(\s*(\w+)\s*,\s*\1\s*(?:\bin\s*\[|==)\s*({_TEXT}(?:\s*,\s*{_TEXT})*)\s*\]?\s*\)"
)


@dataclass(frozen=True, slots=True)
class UnknownGroup:
    """A full name that no group has. near: those of groups that may have been meant."""

    name: str
    near: Sequence[str]


def groups_in(expression: str) -> list[str]:
    """The groups that an expression names in the usual ways, each once."""
    texts = [*_IN.findall(expression), *(found[1] for found in _EXISTS.findall(expression))]
    return list(dict.fromkeys(each[1:-1] for text in texts for each in re.findall(_TEXT, text)))


async def unknown_groups(console: Console, visit: Visit, names: Iterable[str]) -> Sequence[UnknownGroup]:
    """Those of the names that no group has at the moment; none while directory cannot be asked.

    Whoever administers organizations alone sees only their groups, and so hears nothing about others.
    """
    asked = [name for name in dict.fromkeys(names) if visit.is_everywhere or "/" in name][:_MOST_ASKED]
    unknown = [name for name in asked if await _is_missing(console, visit, name)]
    return [UnknownGroup(name, near_names(name, await _like(console, visit, name))) for name in unknown]


def near_names(name: str, known: Collection[str]) -> list[str]:
    """Up to three of the known ones: in other letters, of another organization, or a slip away."""
    small = {each.lower(): each for each in known}
    tail = name.lower().rpartition("/")[2]
    near = [each for each in small if each.rpartition("/")[2] == tail]
    near += difflib.get_close_matches(name.lower(), small, n=_MOST_NEAR)
    return [small[each] for each in dict.fromkeys(near)][:_MOST_NEAR]


async def _is_missing(console: Console, visit: Visit, name: str) -> bool:
    """Rules compare names to the letter; directory finds them in any letters."""
    found = await _asked(console, visit, full_name=name)
    return found is not None and name not in found


async def _like(console: Console, visit: Visit, name: str) -> set[str]:
    """Names of groups among which the meant one may be: those that hold the word, and the first of all."""
    word = name.rpartition("/")[2] or name
    return (await _asked(console, visit, search=word) or set()) | (await _asked(console, visit) or set())


async def _asked(console: Console, visit: Visit, **params: str) -> set[str] | None:
    """Names of groups; None while directory is away, or where no group could be called so."""
    try:
        found = await unless_away(console.calls.page(visit.token, "groups", seen.Group, limit=_MANY, **params))
    except Refused:
        return None
    return {each.full_name for each in found.items} if found else None
