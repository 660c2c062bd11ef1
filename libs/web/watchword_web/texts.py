"""Words for people, in every language that there is a catalogue for.

The English words are the message ids. `Text("Wait %(count)s seconds", count=3)` is English in itself (in logs, in JSON)
and comes out of a template, or of `Words.of`, in the language of the page. Each package keeps its catalogues beside its
templates, `locale/<language>.po`, which `make translations` brings up to date. They are read when a language is first
needed: there is nothing to compile, and nothing compiled that could be stale.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cache
from gettext import GNUTranslations, NullTranslations
from importlib.resources import files
from io import BytesIO
from typing import Final, Self

from babel.core import Locale
from babel.dates import format_date, format_datetime, format_time
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal

# The first is that of the message ids, and of whoever asks for none of them.
LANGUAGES: Final = ("en", "de")
# How each writes dates and numbers.
_LOCALES: Final = {"en": "en_GB", "de": "de_DE"}


class Text(str):
    """Words for people, with what stands in them.

    message: a literal, so that it is found for the catalogues; %(name)s for each of the values.  values: texts, numbers
    (written as the language does) or texts of this kind. A message without values may hold a bare %.
    """

    __slots__ = ("message", "plural", "values")

    message: str
    plural: tuple[str, int] | None
    values: dict[str, str | int]

    def __new__(cls, message: str, /, **values: str | int) -> Self:
        return cls._made(message, None, values)

    @classmethod
    def of_count(cls, one: str, many: str, count: int, **values: str | int) -> Self:
        """Words that depend on a number, which is %(count)s in them."""
        return cls._made(one, (many, count), {**values, "count": count})

    @classmethod
    def _made(cls, message: str, plural: tuple[str, int] | None, values: dict[str, str | int]) -> Self:
        english = message if plural is None or plural[1] == 1 else plural[0]
        made = super().__new__(cls, english % values if values else english)
        made.message, made.plural, made.values = message, plural, values
        return made


class Words:
    """What is said in one language. packages: whose catalogues are looked into, the first that knows a message."""

    def __init__(self, language: str, packages: Sequence[str]) -> None:
        self.language = language
        self.locale = Locale.parse(_LOCALES[language])
        self._find: Callable[[], NullTranslations] = lambda: _catalogue(language, tuple(packages))

    def of(self, text: str) -> str:
        """The text in this language; as it is where no catalogue has it."""
        if not isinstance(text, Text):
            return self.gettext(text) if text else text
        if text.plural is None:
            found = self.gettext(text.message)
        else:
            found = self.ngettext(text.message, *text.plural)
        if not text.values:
            return found
        return found % {name: self._value(value) for name, value in text.values.items()}

    def gettext(self, message: str) -> str:
        """A message, with its places still open."""
        return self._find().gettext(message)

    def ngettext(self, one: str, many: str, count: int) -> str:
        """The form of a message that goes with a number."""
        return self._find().ngettext(one, many, count)

    def date(self, at: datetime) -> str:
        """A day: 27 November 2026. at: aware, shown in its own time zone."""
        return format_date(at.date(), "long", locale=self.locale)

    def moment(self, at: datetime) -> str:
        """A day and a time to the minute: 27 November 2026, 14:05 UTC. at: aware."""
        return f"{self.date(at)}, {format_time(at, 'HH:mm', locale=self.locale)} {at.tzname()}"

    def stamp(self, at: datetime) -> str:
        """A day and a time to the second, short enough for a table: 27 Nov 2026, 14:05:09. at: aware."""
        return str(format_datetime(at, "medium", tzinfo=at.tzinfo, locale=self.locale))

    def number(self, number: float) -> str:
        """A number with its groups and decimals."""
        return format_decimal(number, locale=self.locale)

    def _value(self, value: str | int) -> str:
        return self.number(value) if isinstance(value, int) else self.of(value) if isinstance(value, Text) else value


@cache
def name_of(language: str) -> str:
    """What a language calls itself."""
    return str(Locale.parse(language).get_display_name()).capitalize()


@cache
def _catalogue(language: str, packages: tuple[str, ...]) -> NullTranslations:
    """The messages of the packages, the last one first, as templates are found."""
    found = NullTranslations()
    for package in packages:
        source = files(package) / "locale" / f"{language}.po"
        if source.is_file():
            with source.open("rb") as file:
                catalogue = read_po(file, locale=language)
            compiled = BytesIO()
            write_mo(compiled, catalogue)
            compiled.seek(0)
            messages = GNUTranslations(compiled)
            messages.add_fallback(found)
            found = messages
    return found
