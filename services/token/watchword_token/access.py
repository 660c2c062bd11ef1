"""What access rules give a person in a client, and whether they still do when a grant is used again."""

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple, Protocol

import structlog
from pydantic import JsonValue

from watchword_events.exports import UserExport
from watchword_policy import rules
from watchword_policy.facts import Facts
from watchword_runtime.copies import Copy
from watchword_runtime.decisions import DecisionLog, Occasion
from watchword_runtime.internal import Unreachable
from watchword_runtime.rules import RuleBook, person_facts
from watchword_token.clients import Client
from watchword_token.models import Grant
from watchword_token.profile import User
from watchword_token.store import Rotated

log = structlog.get_logger()

# Claims of tokens that rules alone give; nothing else may set one of these names.
NAMES: Final = rules.CLAIMS
NOTHING: Final[Mapping[str, JsonValue]] = {}
_REMEMBERED: Final = 100_000


class NotLetIn(Exception):
    """Access rules do not let the person into the client any more. decision_id: where it says why."""

    def __init__(self, decision_id: str) -> None:
        super().__init__(decision_id)
        self.decision_id = decision_id


class Given(Protocol):
    """What rules gave: a decision of now, or that of the sign-in."""

    @property
    def service_account(self) -> str | None:
        """As whom the person acts in the client."""

    @property
    def roles(self) -> Sequence[str]:
        """The person's roles there."""

    @property
    def policy(self) -> Sequence[str]:
        """The rules that matched, the decisive one first."""


def access_claims(given: Given) -> dict[str, JsonValue]:
    """The claims `service_account`, `roles` and `policy`, those that there are."""
    claims: dict[str, JsonValue] = {}
    if given.service_account is not None:
        claims["service_account"] = given.service_account
    if given.roles:
        claims["roles"] = [*given.roles]
    if given.policy:
        claims["policy"] = [*given.policy]
    return claims


def access_at(access: Mapping[str, JsonValue], client: Client, resource: Collection[str]) -> Mapping[str, JsonValue]:
    """What access rules gave, as resource servers are told of it.

    What an organization's own rule gave is for its applications, and for the resource servers that an administrator
    gave the client: not for those that are open to every client, which would take it for the installation's.
    """
    policy = access.get("policy")
    is_delegated = isinstance(policy, list) and bool(policy) and rules.SEPARATOR in str(policy[0])
    if not is_delegated or set(resource) <= set(client.audience):
        return access
    return {"policy": policy}


class _Asked(NamedTuple):
    """An answer of the rules, and what it was given for: it holds as long as none of that is another."""

    rules: rules.RuleSet
    user: User
    client: rules.Client
    claims: Mapping[str, JsonValue]


class AccessRules:
    """Asks the rules about grants; an answer is remembered for as long as nothing that it depends on has changed."""

    def __init__(self, book: RuleBook, log: DecisionLog, users: Copy[UserExport], *, issuer: str) -> None:
        self._book = book
        self._log = log
        self._users = users
        self._issuer = issuer
        self._asked: OrderedDict[str, _Asked] = OrderedDict()

    def governs(self, client: Client) -> bool:
        """Whether rules say anything about a client. Raises BookAway (503)."""
        return self._book.governs(client.access)

    async def of_grant(self, grant: Rotated, client: Client, user: User, now: datetime) -> Mapping[str, JsonValue]:
        """The claims that a refreshed grant carries. Raises NotLetIn, BookAway (503)."""
        known = self._asked.get(grant.id)
        rule_set = self._book.page
        if known is not None and known[:3] == (rule_set, user, client.access):
            self._asked.move_to_end(grant.id)
            return known.claims
        try:
            claims = await self._ask(grant, client, now)
        except NotLetIn:
            self._asked.pop(grant.id, None)
            raise
        # What depends on the time of day is asked again each time.
        if "time" not in rule_set.names(client.access):
            self._asked[grant.id] = _Asked(rule_set, user, client.access, claims)
            self._asked.move_to_end(grant.id)
            if len(self._asked) > _REMEMBERED:
                self._asked.popitem(last=False)
        return claims

    async def of_approval(
        self, grant: Grant, approval: Given, client: Client, now: datetime
    ) -> Mapping[str, JsonValue]:
        """The claims of a grant's first tokens: what rules give now, a while after they let the person in.

        Whoever differs from the sign-in may be ahead of it or behind: the owner is asked. Raises NotLetIn, BookAway
        (503).
        """
        given = access_claims(approval)
        if await self._gives(given, grant, client, now):
            return given
        try:
            await self._book.catch_up()
        except Unreachable:
            log.warning("rules.owner_unreachable", client_id=client.client_id)
            return given
        if await self._gives(given, grant, client, now):
            return given
        return await self._ask(grant, client, now, "sign-in") if self.governs(client) else NOTHING

    async def _gives(self, given: Mapping[str, JsonValue], grant: Grant, client: Client, now: datetime) -> bool:
        """Whether rules let the person in with exactly these claims."""
        if not self.governs(client):
            return not given
        facts = await self._facts(grant.user_id, client, now, issuer=self._issuer_of(grant), address=grant.address)
        decision = self._book.decide(facts, client.access)
        return decision.allowed and access_claims(decision) == given

    async def of_person(
        self, user_id: str, client: Client, now: datetime, *, grant: Rotated | None = None, address: str = ""
    ) -> Mapping[str, JsonValue]:
        """The claims of a token for a client that a person is passed on to, or has asked for without a sign-in.

        grant: of which the person's own token came.  address: of who asks without one.
        Raises NotLetIn, BookAway (503).
        """
        if not self.governs(client):
            return NOTHING
        if grant is not None:
            return await self._ask(grant, client, now, "exchange")
        return await self._decide(user_id, client, now, "exchange", issuer=self._issuer, address=address)

    async def now(self, user_id: str, client: Client, now: datetime, *, issuer: str, address: str) -> rules.Decision:
        """What rules say of a person at this moment; it is noted nowhere. issuer: "" for a password here.

        Raises NotLetIn where there is no such person, BookAway (503).
        """
        try:
            await self._book.catch_up()
        except Unreachable:
            log.warning("rules.owner_unreachable", client_id=client.client_id)
        facts = await self._facts(user_id, client, now, issuer=issuer or self._issuer, address=address)
        return self._book.decide(facts, client.access)

    async def _ask(
        self, grant: Rotated | Grant, client: Client, now: datetime, occasion: Occasion = "refresh"
    ) -> Mapping[str, JsonValue]:
        issuer = self._issuer_of(grant)
        return await self._decide(grant.user_id, client, now, occasion, issuer=issuer, address=grant.address)

    def _issuer_of(self, grant: Rotated | Grant) -> str:
        return grant.issuer or (self._issuer if grant.idp is None else "")

    async def _decide(
        self, user_id: str, client: Client, now: datetime, occasion: Occasion, *, issuer: str, address: str
    ) -> Mapping[str, JsonValue]:
        facts = await self._facts(user_id, client, now, issuer=issuer, address=address)
        decision = self._book.decide(facts, client.access)
        decision_id = self._log.note(decision, facts, occasion, user_id=user_id)
        if not decision.allowed:
            raise NotLetIn(decision_id)
        return access_claims(decision)

    async def _facts(self, user_id: str, client: Client, now: datetime, *, issuer: str, address: str) -> Facts:
        """Raises NotLetIn where there is no such person."""
        export = await self._users.get(user_id)
        if export is None:
            raise NotLetIn("none: the person is gone")
        return person_facts(export, client.access, iss=issuer, ip=address, time=now)
