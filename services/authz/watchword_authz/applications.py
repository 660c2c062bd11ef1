"""The applications that are a person's to use."""

from collections.abc import AsyncIterator
from typing import Final

from watchword_authz.context import Context
from watchword_events.exports import ClientExport, UserExport
from watchword_policy.administration import ADMINISTRATOR
from watchword_policy.scopes import ADMIN_SCOPE
from watchword_runtime.callers import ACCOUNT
from watchword_runtime.rules import person_facts, rules_client

# What people begin at; a client that only acts for itself is nothing to use.
_FOR_PEOPLE: Final = frozenset({"authorization_code", "implicit", "urn:ietf:params:oauth:grant-type:device_code"})
_AT_ONCE: Final = 200


async def usable(context: Context, user: UserExport, *, after: str = "", address: str) -> AsyncIterator[ClientExport]:
    """Clients behind the id `after` that the person may use: those with the required permission, where rules let them
    in.

    address: where the person is, for access rules. Raises BookAway (503).
    """
    now = context.now()
    while True:
        clients = await context.clients.page(after, _AT_ONCE)
        for client in clients:
            after = client.client_id
            if _may_use(user, client):
                facts = person_facts(user, client, iss=context.settings.issuer, ip=address, time=now)
                if context.rules.decide(facts, rules_client(client)).allowed:
                    yield client
        if len(clients) < _AT_ONCE:
            return


def _may_use(user: UserExport, client: ClientExport) -> bool:
    """Without access rules: an application of people that somebody here vouches for, and that is open to them."""
    is_theirs = client.kind == "registered" and client.enabled and not _FOR_PEOPLE.isdisjoint(client.grant_types)
    is_theirs = is_theirs and client.client_id != ACCOUNT  # where whoever asks for them is
    return is_theirs and client.is_open_to(user) and (ADMIN_SCOPE not in client.scope or ADMINISTRATOR in user.roles)
