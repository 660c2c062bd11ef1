"""What a person types to say who they are, in the form in which directory keeps it."""

from dataclasses import dataclass
from typing import Literal

from watchword_policy.identifiers import InvalidEmail, InvalidUsername, canonical_email, canonical_username


@dataclass(frozen=True, slots=True)
class Identifier:
    """A user name or an e-mail address, canonical. directory accepts a user name with an @ only as the own address."""

    column: Literal["username", "email"]
    value: str


def identify(typed: str) -> Identifier | None:
    """What was typed, canonical; None when nobody can be called that."""
    name = typed.strip()
    try:
        if "@" in name:
            return Identifier("email", canonical_email(name))
        return Identifier("username", canonical_username(name))
    except (InvalidEmail, InvalidUsername):
        return None
