"""Whether access rules let a person use a client: asked at the end of every sign-in, before consent and code."""

from dataclasses import dataclass
from datetime import datetime

import structlog

from watchword_authz.context import Context
from watchword_authz.models import UserSession
from watchword_events.exports import ClientExport, UserExport
from watchword_policy.facts import Facts
from watchword_policy.rules import Decision
from watchword_runtime.internal import Unreachable
from watchword_runtime.rules import person_facts, rules_client

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What rules said, and about what."""

    decision: Decision
    facts: Facts

    @property
    def allowed(self) -> bool:
        """Whether the person may use the client."""
        return self.decision.allowed


async def ask(
    context: Context, session: UserSession, user: UserExport, client: ClientExport, *, address: str, now: datetime
) -> Verdict:
    """What the rules say of the person behind a session. address: where their browser is now.

    Raises BookAway (503) while the rules are not there.
    """
    issuer = await _issuer_of(context, session)
    facts = person_facts(user, client, iss=issuer, ip=address, time=now)
    return Verdict(context.rules.decide(facts, rules_client(client)), facts)


async def renew(context: Context) -> None:
    """The rules are as admin has them, where it can be asked: for somebody whom they would turn away."""
    try:
        await context.rules.renew()
    except Unreachable:
        log.warning("authorization.owner_unreachable", entity="rule")


def note(context: Context, verdict: Verdict) -> str:
    """The id under which an administrator finds what was decided, and why."""
    return context.decisions.note(verdict.decision, verdict.facts, "sign-in", user_id=verdict.facts.sub)


async def _issuer_of(context: Context, session: UserSession) -> str:
    """Who vouched for the person: the provider as it called itself, or this installation after a password."""
    if session.provider_id is None:
        return context.settings.issuer
    if session.issuer is not None:
        return session.issuer
    provider = await context.providers.get(session.provider_id)
    return provider.issuer if provider is not None else ""
