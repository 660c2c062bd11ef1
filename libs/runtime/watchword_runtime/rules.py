"""The access rules in a process: compiled, and as new as this service's copy of them."""

from collections.abc import Sequence
from datetime import datetime

import structlog
from pydantic import JsonValue

from watchword_events.exports import ClientExport, RuleExport, UserExport
from watchword_events.names import Service
from watchword_policy.engine import InvalidExpression, Program, RuleEngine
from watchword_policy.facts import Facts
from watchword_policy.rules import Access, Client, Decision, Rule, RuleSet, decide
from watchword_runtime.books import Book
from watchword_runtime.broker import Broker
from watchword_runtime.copies import Copy

log = structlog.get_logger()


class RuleBook(Book[RuleExport, RuleSet]):
    """Every rule of the installation, compiled, ready to be asked."""

    def __init__(self, copy: Copy[RuleExport], broker: Broker) -> None:
        super().__init__("rule", copy, broker, owner=Service.ADMIN, make=self._compiled)
        self.engine = RuleEngine()

    def decide(self, facts: Facts, client: Client) -> Decision:
        """What the rules say of somebody who wants to use a client. Raises BookAway."""
        return decide(self.page, facts, client, self.engine)

    def governs(self, client: Client) -> bool:
        """Whether rules decide about the client at all. Raises BookAway."""
        if client.access is Access.OPEN:
            return False
        return client.access is Access.RULES or any(rule.organization is None for rule in self.page.applying(client))

    def _compiled(self, exports: Sequence[RuleExport]) -> RuleSet:
        return RuleSet(self._rule(export) for export in exports)

    def _rule(self, export: RuleExport) -> Rule:
        return Rule(
            id=export.id,
            name=export.name,
            program=self._program(export),
            precedence=export.precedence,
            service_account=export.service_account,
            roles=export.roles,
            clients=export.clients,
            organization=export.organization,
            organization_name=export.organization_name,
            enabled=export.enabled,
        )

    def _program(self, export: RuleExport) -> Program:
        try:
            return self.engine.program(export.expression)
        except InvalidExpression as error:  # a newer release's: it matches nobody, and closes what it applies to
            log.error("rule.not_understood", rule_id=export.id, reason=str(error))
            return self.engine.unusable(export.expression)


def rules_client(client: ClientExport) -> Client:
    """A client as rules see it."""
    return Client(client.client_id, client.organization, Access(client.access))


def person_facts(user: UserExport, client: ClientExport | Client, *, iss: str, ip: str, time: datetime) -> Facts:
    """The facts of a person who uses a client. iss: who vouched for the person: the provider's issuer, or ours.

    claims: what tokens could tell of the person, with `roles` as they count for the client's organization.
    """
    client_id = client.client_id if isinstance(client, ClientExport) else client.id
    claims: dict[str, JsonValue] = {
        **user.attributes,
        **user.claims,
        "sub": user.id,
        "iss": iss,
        "username": user.username,
        "preferred_username": user.username,
        "groups": [*user.groups],
        "roles": [*sorted(user.roles_in(client.organization))],
    }
    if user.email is not None:
        claims |= {"email": user.email, "email_verified": user.email_verified}
    if user.home is not None:
        claims["organization"] = user.home.short_name
    return Facts(
        sub=user.id,
        iss=iss,
        time=time,
        groups=user.groups,
        email=user.email or "",
        client=client_id,
        ip=ip,
        claims=claims,
    )
