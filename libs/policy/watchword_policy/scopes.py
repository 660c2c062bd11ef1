"""Scope arithmetic: reading, writing and intersecting scopes.

A scope string is read once at the edge; everywhere else scopes are a `frozenset[str]`.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

# RFC 6749 3.3: scope-token = 1*( %x21 / %x23-5B / %x5D-7E ), separated by single spaces. \Z, because $ would let a
# trailing newline through into a token.
_TOKEN: Final = r"[\x21\x23-\x5B\x5D-\x7E]+"
_SCOPE: Final = re.compile(rf"{_TOKEN}(?: {_TOKEN})*\Z")

# The order in which people expect to read them (OpenID Connect Core 5.4); whatever else there is follows by name.
_FIRST: Final = ("openid", "profile", "email", "address", "phone", "groups", "offline_access")
_RANK: Final = {scope: rank for rank, scope in enumerate(_FIRST)}

# What opens Watchword itself begins so; nobody else's scope does.
RESERVED_PREFIX: Final = "watchword:"
ADMIN_SCOPE: Final = f"{RESERVED_PREFIX}admin"
EVENTS_SCOPE: Final = f"{RESERVED_PREFIX}events"
SCIM_SCOPE: Final = f"{RESERVED_PREFIX}scim"

# Scopes with a meaning of Watchword's own: what each opens, in plain words for whoever is asked to allow it.
BUILT_IN: Final[Mapping[str, str]] = {
    "openid": "Know who you are, by an identifier",
    "profile": "See your name and profile",
    "email": "See your e-mail address",
    "phone": "See your phone number",
    "address": "See your postal address",
    "groups": "See the groups that you belong to",
    "groupstring": "See the groups that you belong to, as a text",
    "customer": "See which organization you belong to",
    "clientip": "See the network address that you use",
    "offline_access": "Stay connected while you are away",
    "applications:sign-in": "Use other applications in your name",
    ADMIN_SCOPE: "Administer this Watchword installation in your name",
    EVENTS_SCOPE: "Follow what happens in this Watchword installation",
    SCIM_SCOPE: "Keep the people and groups of this Watchword installation up to date",
    "revocations:read": "Follow what is revoked here",
    "introspect:any": "Look into any access token of this installation",
}
# Tells an application where the person signed in.
CLIENT_IP: Final = "clientip"
# Of credentials with which scripts of a person get tokens for applications.
SIGN_IN: Final = "applications:sign-in"
# Those that say something about a person; a client that acts for itself has none of them.
PERSONAL: Final = frozenset(
    {"openid", "profile", "email", "phone", "address", "groups", "groupstring", "customer", "clientip"}
    | {"offline_access", "applications:sign-in"}
)

# openid alone releases nothing but an identifier: asking about it would only teach people to click.
NO_CONSENT_NEEDED: Final = frozenset({"openid"})


class InvalidScope(ValueError):
    """A scope that is malformed, or more than may be asked for: `invalid_scope`. The text is safe to show."""


def is_privileged(scope: str) -> bool:
    """Whether it opens Watchword itself: an administrator gives it to a client by name, nobody else does."""
    return scope.startswith(RESERVED_PREFIX)


def parse_scope(value: str) -> frozenset[str]:
    """The scopes in a scope string; an empty one holds none, a repeated one counts once.

    Raises InvalidScope when it does not follow the grammar.
    Spec: RFC 6749 3.3; RFC 6749 3.1 (a parameter without a value is treated as omitted).
    """
    if not value:
        return frozenset()
    if _SCOPE.match(value) is None:
        raise InvalidScope("scope must be a list of scope names separated by single spaces")
    return frozenset(value.split(" "))


def format_scope(scopes: Iterable[str]) -> str:
    """One scope string for one set of scopes: the standard ones in their usual order, then the others by name."""
    return " ".join(sorted(set(scopes), key=lambda scope: (_RANK.get(scope, len(_FIRST)), scope)))


def granted(
    requested: frozenset[str],
    *,
    client: frozenset[str],
    user: frozenset[str] | None,
    consent: frozenset[str] | None,
) -> frozenset[str]:
    """What a token may carry: requested ∩ client ∩ user ∩ consent.

    user: what the person may hold, or None where no person is involved.  consent: what the person agreed to, or None
    where nobody has to be asked. Neither has a default, so that a caller cannot forget one; scopes that need no consent
    pass without it.
    """
    result = requested & client
    if user is not None:
        result &= user
    if consent is not None:
        result &= consent | NO_CONSENT_NEEDED
    return result


def narrowed(original: frozenset[str], requested: frozenset[str]) -> frozenset[str]:
    """What a refresh or an exchange asks for: nothing means all that was granted.

    Raises InvalidScope when it asks for more than that.
    Spec: RFC 6749 6.
    """
    if not requested <= original:
        raise InvalidScope("scope exceeds what was granted")
    return requested or original
