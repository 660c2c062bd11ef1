"""The names of permissions: what a role gives, what a client requires, what an application is told."""

import re
from typing import Final

from watchword_policy.scopes import RESERVED_PREFIX

MAX_LENGTH: Final = 128
# As a scope token (RFC 6749 3.3), so that a permission can travel wherever a scope can.
_NAME: Final = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]+")


class InvalidPermission(ValueError):
    """The text is no name of a permission; the message says what one looks like."""


def check_permission(name: str) -> str:
    """The name itself. Raises InvalidPermission for what is no scope token, too long, or Watchword's own."""
    if len(name) > MAX_LENGTH or _NAME.fullmatch(name) is None:
        raise InvalidPermission(f'a permission has 1 to {MAX_LENGTH} printable ASCII characters, no space, " or \\')
    # What it takes to administer Watchword itself: only its built-in roles give that.
    if name.lower().startswith(RESERVED_PREFIX):
        raise InvalidPermission(f"{RESERVED_PREFIX} begins the names of what administers Watchword itself")
    return name
