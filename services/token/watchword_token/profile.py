"""What a person's claims are, by scope: for userinfo and ID tokens."""

from collections.abc import Collection
from typing import Final

import orjson
from pydantic import JsonValue

from watchword_events.exports import HomeOrganization, UserExport
from watchword_events.names import UserId
from watchword_policy.administration import ADMINISTRATOR, gives, is_delegated
from watchword_policy.claims import CLAIMS_BY_SCOPE
from watchword_policy.rules import CLAIMS as RULE_CLAIMS
from watchword_policy.scopes import is_privileged
from watchword_runtime.access import administered
from watchword_token.clients import Client
from watchword_token.groups import Groups
from watchword_token.own_claims import NO_SCOPES, Place, Scopes, Told, told_of

_BITS: Final = {scope: 1 << n for n, scope in enumerate(CLAIMS_BY_SCOPE)}


class User:
    """A person as hot paths need it; claims are kept as JSON, because objects cost ten times the memory."""

    __slots__ = (
        "_administers", "_answers", "_claims", "_rights", "_roles", "_told", "active", "is_administrator", "user_id"
    )  # fmt: skip

    def __init__(self, export: UserExport, scopes: Scopes = NO_SCOPES) -> None:
        """scopes: those of the installation's own, as they are now."""
        self.user_id = UserId(export.id)
        self.active = export.active
        self.is_administrator = ADMINISTRATOR in export.roles
        self._roles = export.roles
        self._administers = bool(administered(export))
        claims: dict[str, JsonValue] = {
            **export.claims,
            "preferred_username": export.username,
            "username": export.username,
        }
        if export.email is not None:
            claims |= {"email": export.email, "email_verified": export.email_verified}
        if export.groups:
            claims["groups"] = list(export.groups)
            claims["groupstring"] = orjson.dumps(export.groups).decode()
        if export.home is not None:
            claims |= _customer(export.home)
        for name in RULE_CLAIMS:  # an attribute of this name is not what access rules gave
            claims.pop(name, None)
        self._claims = bytes(bytearray(orjson.dumps(claims)))  # a copy: orjson over-allocates what it returns
        within = {each.organization: each.permissions for each in export.organizations if each.permissions}
        self._rights = orjson.dumps([export.permissions, within]) if export.permissions or within else b""
        told = told_of(export, scopes)
        self._told = orjson.dumps(told) if told else b""
        self._answers: dict[int | str, bytes] = {}

    def claims(self, scope: frozenset[str], place: Place, groups: Groups) -> dict[str, JsonValue]:
        """The claims that these scopes open there, without `sub`. groups: how the client is told of them.

        Spec: OpenID Connect Core 5.4.
        """
        everything: dict[str, JsonValue] = orjson.loads(self._claims)
        names = [name for one in CLAIMS_BY_SCOPE if one in scope for name in CLAIMS_BY_SCOPE[one]]
        found = groups.told({name: everything[name] for name in names if name in everything})
        for one, places in self._own().items():
            if one in scope:
                found |= places.get(place, {})
        return found

    def _own(self) -> Told:
        """What scopes of the installation's own tell."""
        told: Told = orjson.loads(self._told) if self._told else {}
        return told

    def named(self, claims: Collection[str], groups: Groups) -> dict[str, JsonValue]:
        """Those of the claims that this person has. Spec: OpenID Connect Core 5.5."""
        if not claims:
            return {}
        everything: dict[str, JsonValue] = orjson.loads(self._claims)
        return groups.told({name: everything[name] for name in claims if name in everything})

    def answer(self, scope: str, named: Collection[str], groups: Groups) -> bytes:
        """The userinfo document for a token's scope, with claims that were asked for by name.

        Spec: OpenID Connect Core 5.3.2, 5.5.
        """
        scopes = frozenset(scope.split(" "))
        if named or not groups.is_usual:
            opened = self.claims(scopes, "userinfo", groups)
            return orjson.dumps({"sub": self.user_id, **opened, **self.named(named, groups)})
        key: int | str = scope
        if not self._told:
            key = 0
            for one in scopes:
                key |= _BITS.get(one, 0)
        known = self._answers.get(key)
        if known is None:
            document = {"sub": self.user_id, **self.claims(scopes, "userinfo", groups)}
            known = self._answers[key] = bytes(bytearray(orjson.dumps(document)))
        return known

    def may_use(self, client: Client) -> bool:
        """Whether this person may use the client at all: with the permission that it requires, where it does."""
        return client.required_permission is None or client.required_permission in self._permissions_in(client)

    def permissions_through(self, client: Client) -> list[JsonValue]:
        """What the person may through a client with a permission scope: never more than that, never more than they."""
        held = self._permissions_in(client)
        bound = client.permission_scope or frozenset()
        return [*sorted(each for each in bound if each in held or self._administers_with(each))]

    def _administers_with(self, permission: str) -> bool:
        return gives(self._roles, permission) or (self._administers and is_delegated(permission))

    def _permissions_in(self, client: Client) -> frozenset[str]:
        """What the person may everywhere, and within the client's organization."""
        if not self._rights:
            return frozenset()
        everywhere, within = orjson.loads(self._rights)
        return frozenset(everywhere).union(within.get(client.organization, ()))

    def may_hold(self, scope: frozenset[str]) -> frozenset[str]:
        """The part of a scope that this person can give to a client."""
        if self.is_administrator:
            return scope
        return frozenset(one for one in scope if not is_privileged(one))


def _customer(home: HomeOrganization) -> dict[str, JsonValue]:
    """The home organization as the scope `customer` tells of it; an imported number stays a number."""
    customer_id: JsonValue = home.id if home.external_id is None else home.external_id
    return {
        "customer_id": customer_id,
        "domain_id": customer_id if home.domain_id is None else home.domain_id,
        "customer_shortname": home.short_name,
        "customer_name": home.name,
    }
