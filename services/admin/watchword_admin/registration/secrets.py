"""The two kinds of secrets of registration: 256 random bits behind an id, of which a hash is stored."""

import hashlib
import re
import secrets
from typing import Final, NamedTuple

# An id of ours (or the https URL of a document) has no dot that a secret could begin after twice.
_TOKEN: Final = re.compile(r"(?P<id>[0-9A-Za-z-]{1,64})\.(?P<secret>[A-Za-z0-9_-]{43})", re.ASCII)


class Secret(NamedTuple):
    """A token as its holder has it, and what is stored of it."""

    text: str
    hash: bytes


class Presented(NamedTuple):
    """A token that somebody shows: of what, and the hash of its secret."""

    id: str
    hash: bytes


def new_secret(id: str) -> Secret:  # noqa: A002 - of the thing that the token belongs to
    """A fresh token `<id>.<secret>`."""
    secret = secrets.token_urlsafe(32)
    return Secret(f"{id}.{secret}", hashlib.sha256(secret.encode()).digest())


def read_secret(text: str) -> Presented | None:
    """What a text claims to be; None when it cannot be a token."""
    found = _TOKEN.fullmatch(text)
    return Presented(found["id"], hashlib.sha256(found["secret"].encode()).digest()) if found else None
