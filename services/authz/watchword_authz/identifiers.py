"""What a person types to say who they are, in the form in which directory keeps it."""

from dataclasses import dataclass
from typing import Final, Literal

import idna

_MAX_LENGTH: Final = 254  # the longest e-mail address (RFC 5321 4.5.3.1.3)


@dataclass(frozen=True, slots=True)
class Identifier:
    """A user name or an e-mail address, canonical. directory accepts a user name with an @ only as the own address."""

    column: Literal["username", "email"]
    value: str


def identify(typed: str) -> Identifier | None:
    """What was typed, canonical; None when nobody can be called that."""
    name = typed.strip()
    if not name or len(name) > _MAX_LENGTH or not name.isprintable():
        return None
    local, at, domain = name.rpartition("@")
    if not at:
        # Only A-Z are folded: str.lower() would also turn the Kelvin sign into k and one name into another.
        return Identifier("username", name.lower()) if name.isascii() else None
    try:
        encoded = idna.encode(domain.lower() if domain.isascii() else domain, strict=True, std3_rules=True)
    except (idna.IDNAError, UnicodeError):
        return None
    return Identifier("email", f"{local.lower()}@{encoded.decode('ascii')}") if local.isascii() else None
