"""Texts that people and administrators enter: each kind with its rules, whatever it is a field of."""

import re
from datetime import date
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from watchword_policy.identifiers import MAX_EMAIL, MAX_USERNAME, canonical_email, canonical_username

# Control characters, and marks that turn the direction of what follows: a name shows what it is.
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_BIRTHDATE: Final = re.compile(r"(\d{4})(?:-(\d\d)-(\d\d))?", re.ASCII)
_LEAP_YEAR: Final = 2000


def clean_text(value: str) -> str:
    """Text of one line that shows what it is. Raises ValueError for control and direction-changing characters."""
    if _CONTROL.search(value):
        raise ValueError("control characters are not accepted")
    if not value.strip():
        raise ValueError("an empty text is not accepted: leave the field out, or send null")
    return value.strip()


def clean_lines(value: str) -> str:
    """Lines of such text. Raises ValueError."""
    return "\n".join(clean_text(line) for line in value.replace("\r\n", "\n").split("\n"))


def web_address(value: str) -> str:
    """An http or https address. Raises ValueError."""
    if not re.fullmatch(r"https?://[!-~]+", value) or not urlsplit(value).hostname:
        raise ValueError("must be an http or https address")
    return value


def birthdate(value: str) -> str:
    """A date, a date without its year (`0000-…`), or a year alone. Raises ValueError. Spec: OpenID Connect Core 5.1."""
    found = _BIRTHDATE.fullmatch(value)
    if found is None:
        raise ValueError("must be YYYY-MM-DD, 0000-MM-DD or YYYY")
    year, month, day = found.groups()
    if month is not None:
        date(int(year) or _LEAP_YEAR, int(month), int(day))
    return value


Username = Annotated[str, Field(max_length=MAX_USERNAME), AfterValidator(canonical_username)]
Email = Annotated[str, Field(max_length=MAX_EMAIL), AfterValidator(canonical_email)]
Text = Annotated[str, Field(max_length=256), AfterValidator(clean_text)]
Lines = Annotated[str, Field(max_length=512), AfterValidator(clean_lines)]
Link = Annotated[str, Field(max_length=2048), AfterValidator(web_address)]
Locale = Annotated[str, Field(pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$", max_length=35)]
ZoneInfo = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}$", max_length=64)]
Birthdate = Annotated[str, AfterValidator(birthdate)]
# E.164, and an extension as RFC 3966 writes it: what OpenID Connect Core 5.1 recommends.
Phone = Annotated[str, Field(pattern=r"^\+[1-9][0-9]{1,14}(;ext=[0-9]{1,8})?$")]
# Of a group: the short name of its organization, of at most 64 characters, a slash, and its own name.
FullName = Annotated[str, Field(max_length=64 + 1 + 256), AfterValidator(clean_text)]
Groups = Annotated[list[FullName], Field(max_length=200), AfterValidator(lambda names: sorted(set(names)))]
Id = Annotated[str, Field(min_length=1, max_length=64)]
Reference = Annotated[str, Field(min_length=1, max_length=128)]
