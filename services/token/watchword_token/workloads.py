"""What a trusted issuer's token becomes: an access token for whatever program it is about, where access rules allow it.

Nobody signs in and no user of ours is behind it. The subject stands behind the issuer's prefix, `idp` is the trust, so
that both can be revoked, and `fed:iss` and `policy` say where it came from and which rules let it in.
"""

from collections.abc import Callable
from datetime import datetime

import structlog
from pydantic import JsonValue

from watchword_database.ids import new_id
from watchword_policy.facts import Facts
from watchword_policy.rules import Access, Decision
from watchword_policy.rules import Client as RuledClient
from watchword_policy.scopes import format_scope, is_privileged, parse_scope
from watchword_runtime.decisions import DecisionLog
from watchword_runtime.internal import Unreachable
from watchword_runtime.rules import RuleBook
from watchword_token.access import access_claims
from watchword_token.clients import Client
from watchword_token.foreign import ForeignToken, NotAccepted, TrustedIssuers
from watchword_token.issuing import Issuing, NotAllowed, TokenRequest, answer
from watchword_token.resources import Resources, is_for, scope_for
from watchword_token.subjects import check_issued_type
from watchword_web.errors import OAuthError

log = structlog.get_logger()

# How a grant type calls a token that is not good, with a text that its sender may read.
Refuse = Callable[[str], OAuthError]


class Workloads:
    """Issues tokens to programs elsewhere."""

    def __init__(self, issuing: Issuing, issuers: TrustedIssuers, rules: RuleBook, decisions: DecisionLog) -> None:
        self._issuing = issuing
        self._issuers = issuers
        self._rules = rules
        self._decisions = decisions

    async def issue(
        self,
        request: TokenRequest,
        token: str,
        *,
        targets: tuple[str, ...],
        scope: frozenset[str],
        refuse: Refuse,
        issued_type: str = "",
    ) -> bytes:
        """The answer with an access token. targets: for whom, as asked for.

        Raises OAuthError: `refuse` for what is wrong with the token or was not allowed, invalid_target, invalid_scope.
        Spec: RFC 7523 2.1, 3; RFC 8693 2.2.
        """
        client = request.client
        try:
            foreign = await self._issuers.verify(token, request.now_s)
            facts = facts_of(foreign, client, request.now)
        except NotAccepted as error:
            log.info("foreign_token.refused", client_id=client.client_id, reason=str(error))
            raise refuse(str(error)) from None
        may_act = foreign.claims.get("may_act")
        if may_act is not None and (not isinstance(may_act, dict) or may_act.get("sub") != client.client_id):
            # RFC 8693 4.4: the token says who alone may act with it.
            raise refuse("The token names somebody else who may act")
        check_targets(targets, client, self._issuing.resources)
        granted = scope_for(format_scope(narrow(scope, client)), client, targets, self._issuing.resources)
        decision = await self._decide(foreign, facts, client, refuse)
        issuer = foreign.issuer
        source: dict[str, JsonValue] = {
            "sub": foreign.sub,
            "client_id": client.client_id,
            "idp": issuer.id,
            "rev": request.position,
            "iat": request.now_s,
        }
        key = await self._issuing.key_for(request, source, targets)
        if key is None:
            raise refuse("The issuer or the subject was revoked")
        check_issued_type(issued_type, key)
        issued = await self._issuing.access_token(
            request,
            key,
            subject=foreign.sub,
            scope=granted,
            resource=targets,
            lineage={"gid": new_id(), "idp": issuer.id, "fed:iss": issuer.iss},
            access=access_claims(decision),
            lifetime_s=issuer.token_expiry_s,
        )
        log.info("foreign_token.exchanged", client_id=client.client_id, idp=issuer.id, subject=foreign.sub)
        return answer(issued, granted, issued_type=issued_type)

    async def _decide(self, foreign: ForeignToken, facts: Facts, client: Client, refuse: Refuse) -> Decision:
        """What the access rules say; somebody has to match, whatever the client says about rules."""
        ruled = RuledClient(client.client_id, client.organization, Access.RULES)
        decision = self._rules.decide(facts, ruled)
        if not decision.allowed:
            try:
                await self._rules.renew()
            except Unreachable:
                log.warning("rules.owner_unreachable", client_id=client.client_id)
            decision = self._rules.decide(facts, ruled)
        decision_id = self._decisions.note(decision, facts, "exchange", user_id=None)
        if not decision.allowed:
            raise refuse(f"No access rule matched for the subject {foreign.sub} (decision {decision_id})")
        return decision


def facts_of(foreign: ForeignToken, client: Client, now: datetime) -> Facts:
    """The token as access rules see it: subject and claims as its issuer wrote them. Raises NotAccepted."""
    try:
        return Facts.of_claims(foreign.claims, time=now, client=client.client_id)
    except ValueError:
        raise NotAccepted("The token's groups are neither a text nor a list") from None


def check_targets(targets: tuple[str, ...], client: Client, resources: Resources) -> None:
    """Raises NotAllowed unless the client may have tokens for all of these. Spec: RFC 8693 2.2.2; RFC 8707 2."""
    if not all(each == client.client_id or is_for(client, each, resources) for each in targets):
        raise NotAllowed("invalid_target", "The client may not have tokens for that audience or resource")


def narrow(requested: frozenset[str], client: Client) -> frozenset[str]:
    """What is asked for, or all that the client may have; nothing about persons, nothing that administers.

    Raises NotAllowed.
    """
    limit = frozenset(one for one in parse_scope(client.machine_scope) if not is_privileged(one))
    if not requested <= limit:
        raise NotAllowed("invalid_scope", "The scope is wider than the client may have, or about a person")
    return requested or limit
