"""What rules decided, written behind: a sign-in does not wait for it, and a row is there a moment later.

The facts are sealed with a key that authz and token hold, under the decision's id: an administrator learns from a
decision which claims there were, not what they said, and a dry run can ask other rules about the same facts.
"""

from collections.abc import Sequence
from typing import Final, Literal

import structlog

from watchword_database import Database, decisions
from watchword_database.decisions import DecisionRow
from watchword_database.ids import new_id
from watchword_policy.facts import MAX_STRING, TEXTS, Facts, small_claims
from watchword_policy.rules import Decision
from watchword_runtime.behind import Behind
from watchword_runtime.seal import SecretSeal

log = structlog.get_logger()

KEY: Final = "decision-facts"
Occasion = Literal["sign-in", "refresh", "exchange"]

_LONGEST: Final = 64 * 1024  # of the facts of one decision

_Noted = tuple[str, Decision, Facts, Occasion, str | None]


class RecordedFacts(Facts):
    """The facts of a decision as they were kept. left_out: what was too long to keep, or was kept shortened."""

    left_out: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether other rules see what was seen then. No sign-in is without claims: a row of an earlier release."""
        return not self.left_out and bool(self.claims)


class DecisionLog:
    """Decisions of one process on their way into the table."""

    def __init__(self, database: Database, key: bytes) -> None:
        """key: the derived key for KEY."""
        self._database = database
        self._seal = SecretSeal(key, database)
        self._behind: Behind[_Noted] = Behind("decisions", self._write)

    def start(self) -> None:
        """Decisions are written in the background until stop()."""
        self._behind.start()

    async def stop(self) -> None:
        """What was decided is written, where it can be."""
        await self._behind.stop()

    async def flush(self) -> None:
        """Everything that was noted so far is in the table."""
        await self._behind.flush()

    def note(self, decision: Decision, facts: Facts, occasion: Occasion, *, user_id: str | None) -> str:
        """The id under which the decision will be found. user_id: None where no user of ours is behind it."""
        decision_id = new_id()
        self._behind.add((decision_id, decision, facts, occasion, user_id))
        log.info(
            "access.decided",
            decision_id=decision_id,
            occasion=occasion,
            client_id=facts.client,
            user_id=user_id,
            outcome=decision.outcome.value,
            rule=decision.rule,
        )
        return decision_id

    async def _write(self, noted: Sequence[_Noted]) -> None:
        rows = [await self._row(*each) for each in noted]
        await decisions.insert(await self._database.raw_pool(), rows)

    async def _row(
        self, decision_id: str, decision: Decision, facts: Facts, occasion: Occasion, user_id: str | None
    ) -> DecisionRow:
        return DecisionRow(
            id=decision_id,
            at=facts.time,
            occasion=occasion,
            client_id=facts.client,
            user_id=user_id,
            allowed=decision.allowed,
            outcome=decision.outcome.value,
            rule=decision.rule,
            rule_id=decision.rule_id,
            service_account=decision.service_account,
            roles=decision.roles,
            policy=decision.policy,
            why=decision.why,
            failures=dict(decision.failures),
            facts=await self._seal.seal(_stored(facts), decision_id.encode()),
        )

    def read(self, row: DecisionRow) -> RecordedFacts:
        """The facts of a decision. Raises keyring.Unsealable when the row was altered."""
        return RecordedFacts.model_validate_json(self._seal.open(row.facts, row.id.encode()))


def _stored(facts: Facts) -> bytes:
    """The facts as JSON, without claims and then without groups where they would be too long to keep."""
    kept, _ = small_claims(facts.claims)
    texts: dict[str, object] = {name: _text(getattr(facts, name)) for name in TEXTS}
    groups = tuple(_text(group) for group in facts.groups)
    cut = tuple(name for name in TEXTS if texts[name] != getattr(facts, name))
    cut += ("groups",) if groups != facts.groups else ()
    found = b""
    for claims, names, left_out in (
        (kept, groups, cut),
        ({}, groups, (*cut, "claims")),
        ({}, (), (*cut, "claims", "groups")),
    ):
        recorded = facts.model_copy(update=texts | {"claims": claims, "groups": names}).model_dump()
        found = RecordedFacts.model_construct(**recorded, left_out=left_out).model_dump_json().encode()
        if len(found) <= _LONGEST:
            break
    return found


def _text(value: str) -> str:
    """A text that can be kept, whatever was sent as one."""
    return value[:MAX_STRING].encode(errors="replace").decode()
