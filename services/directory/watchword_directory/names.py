"""User names: which sign somebody in, and which one a person gets who arrives through a provider."""

import re
import secrets
import unicodedata
from collections.abc import Iterator
from typing import Final

from watchword_policy.identifiers import InvalidUsername

_UNSAFE: Final = re.compile(r"[^a-z0-9._-]+")
_DERIVED_LENGTH: Final = 48
# A person who names himself at his provider does not choose one of these here.
RESERVED: Final = frozenset(
    {"admin", "administrator", "api", "help", "info", "me", "operator", "postmaster", "root", "security", "service"}
    | {"support", "system", "watchword", "webmaster"}
)


def check_sign_in_names(username: str, email: str | None) -> None:
    """A user name with an @ is the user's own address, so that nobody's name can be taken for another's address.

    Raises InvalidUsername.
    """
    if "@" in username and username != email:
        raise InvalidUsername("a user name with an @ must be the user's own e-mail address")


def candidates(preferred: str | None, email: str | None, name: str | None) -> Iterator[str]:
    """User names to try for a new person, best first, without end; none is reserved, none contains an @."""
    base = next((slug for slug in map(_slug, (preferred, email, name)) if slug), "user")
    if base not in RESERVED:
        yield base
    for number in range(2, 6):
        yield f"{base}-{number}"
    while True:
        yield f"{base}-{secrets.token_hex(4)}"


def _slug(text: str | None) -> str:
    plain = unicodedata.normalize("NFKD", (text or "").partition("@")[0]).encode("ascii", "ignore").decode().lower()
    return _UNSAFE.sub("-", plain)[:_DERIVED_LENGTH].strip("._-")
