"""What access tokens of some clients say of a person beyond the usual. Nothing is looked up for the others.

`permissions`: what the person may through the client. `client_ip`: where the person signed in, for the scope `clientip`
and for clients whose sessions are bound to it. Claims of the installation's own scopes that appear in access tokens.
"""

from collections.abc import Mapping
from typing import Final

from pydantic import JsonValue

from watchword_events.exports import ScopeExport, UserExport
from watchword_policy.scopes import CLIENT_IP
from watchword_runtime.books import Book
from watchword_token.clients import Client
from watchword_token.memory import Kept
from watchword_token.own_claims import Scopes
from watchword_token.profile import User

NOTHING: Final[Mapping[str, JsonValue]] = {}


class Additions:
    """Knows which clients and scopes want more in their tokens."""

    def __init__(self, users: Kept[UserExport, User], scopes: Book[ScopeExport, Scopes]) -> None:
        self._users = users
        self._scopes = scopes
        self._telling: frozenset[str] = frozenset()
        scopes.on_change(self._look)

    def _look(self) -> None:
        self._telling = frozenset(
            name for name, claims in self._scopes.page.items() if any("access_token" in each.places for each in claims)
        )

    def concern(self, client: Client, scope: str) -> bool:
        """Whether a token with this scope says more than others."""
        return client.says_more or (bool(self._telling) and not self._telling.isdisjoint(scope.split(" ")))

    async def of(self, client: Client, user_id: str, scope: str, address: str) -> Mapping[str, JsonValue]:
        """The claims of a token for a person. address: of the session, "" where there is none.

        Nothing for a subject that is no person.
        """
        user = await self._users.get(user_id)
        if user is None:
            return NOTHING
        scopes = frozenset(scope.split(" "))
        added = user.claims(scopes & self._telling, "access_token", client.groups)
        if client.permission_scope is not None:
            added["permissions"] = user.permissions_through(client)
        if client.bound_to_networks or CLIENT_IP in scopes:
            added["client_ip"] = address
        if client.bound_to_networks:
            added["client_ip_ranges"] = [*client.bound_to_networks]
        return added
