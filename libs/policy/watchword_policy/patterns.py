"""Regular expressions that administrators write, run over what others choose: RE2, whose time is linear."""

from collections.abc import Iterable, Sequence
from typing import Final

MAX_PATTERN: Final = 512
# Instructions of the compiled program. RE2's time is linear in it; a name takes one for each character, one of
# Unicode's classes above a thousand.
MAX_PROGRAM: Final = 512


class InvalidPattern(ValueError):
    """The text is no regular expression that may be used; the message says why."""


class Pattern:
    """A compiled regular expression. size: instructions that it takes."""

    __slots__ = ("_found", "size", "text")

    def __init__(self, text: str) -> None:
        """Raises InvalidPattern."""
        if len(text) > MAX_PATTERN:
            raise InvalidPattern(f"a regular expression has at most {MAX_PATTERN} characters")
        import re2  # for whoever has a pattern only

        options = re2.Options()
        options.log_errors = False  # a bad pattern is an answer, not a line on stderr
        options.never_capture = True
        try:
            compiled = re2.compile(text, options)
        except re2.error as error:
            raise InvalidPattern(f"not a regular expression (RE2): {_reason(error)}") from None
        if compiled.programsize > MAX_PROGRAM:
            raise InvalidPattern("this regular expression is too large: shorten its repetitions and classes")
        self.text = text
        self.size: int = compiled.programsize
        self._found = compiled.search

    def is_in(self, text: str) -> bool:
        """Whether it matches anywhere in the text."""
        return self._found(text) is not None


def _reason(error: Exception) -> str:
    said = error.args[0] if error.args else ""
    return said.decode(errors="replace") if isinstance(said, bytes) else str(said)


def chosen(groups: Iterable[str], patterns: Sequence[Pattern]) -> list[str]:
    """The groups that one of the patterns matches, in their order; all of them where there is no pattern."""
    if not patterns:
        return list(groups)
    return [group for group in groups if any(pattern.is_in(group) for pattern in patterns)]
