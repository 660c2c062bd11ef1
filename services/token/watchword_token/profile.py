"""What a person's claims are, by scope: for userinfo and ID tokens."""

from collections.abc import Mapping
from typing import Final

import orjson
from pydantic import JsonValue

from watchword_events.exports import UserExport
from watchword_events.names import UserId

# Spec: OpenID Connect Core 5.4; `groups` is what Dex, Argo and Grafana call theirs.
CLAIMS_BY_SCOPE: Final[Mapping[str, tuple[str, ...]]] = {
    "profile": (
        "name", "family_name", "given_name", "middle_name", "nickname", "preferred_username", "profile", "picture",
        "website", "gender", "birthdate", "zoneinfo", "locale", "updated_at",
    ),
    "email": ("email", "email_verified"),
    "phone": ("phone_number", "phone_number_verified"),
    "address": ("address",),
    "groups": ("groups",),
}  # fmt: skip
_BITS: Final = {scope: 1 << n for n, scope in enumerate(CLAIMS_BY_SCOPE)}
# Scopes that only an administrator can pass on to a client.
PRIVILEGED: Final = "watchword:"
ADMINISTRATOR: Final = "administrator"


class User:
    """A person as hot paths need it; claims are kept as JSON, because objects cost ten times the memory."""

    __slots__ = ("_answers", "_claims", "active", "is_administrator", "user_id")

    def __init__(self, export: UserExport) -> None:
        self.user_id = UserId(export.id)
        self.active = export.active
        self.is_administrator = ADMINISTRATOR in export.roles
        claims: dict[str, JsonValue] = {**export.claims, "preferred_username": export.username}
        if export.email is not None:
            claims |= {"email": export.email, "email_verified": export.email_verified}
        if export.groups:
            claims["groups"] = list(export.groups)
        self._claims = bytes(bytearray(orjson.dumps(claims)))  # a copy: orjson over-allocates what it returns
        self._answers: dict[int, bytes] = {}

    def claims(self, scope: frozenset[str]) -> dict[str, JsonValue]:
        """The claims that these scopes open, without `sub`. Spec: OpenID Connect Core 5.4."""
        everything: dict[str, JsonValue] = orjson.loads(self._claims)
        names = [name for one in CLAIMS_BY_SCOPE if one in scope for name in CLAIMS_BY_SCOPE[one]]
        return {name: everything[name] for name in names if name in everything}

    def answer(self, scope: str) -> bytes:
        """The userinfo document for a token's scope. Spec: OpenID Connect Core 5.3.2."""
        bits = 0
        for one in scope.split(" "):
            bits |= _BITS.get(one, 0)
        known = self._answers.get(bits)
        if known is None:
            document = {"sub": self.user_id, **self.claims(frozenset(scope.split(" ")))}
            known = self._answers[bits] = bytes(bytearray(orjson.dumps(document)))
        return known

    def may_hold(self, scope: frozenset[str]) -> frozenset[str]:
        """The part of a scope that this person can give to a client."""
        if self.is_administrator:
            return scope
        return frozenset(one for one in scope if not one.startswith(PRIVILEGED))
