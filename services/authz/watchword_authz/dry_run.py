"""What other access rules would have decided about real sign-ins: who would gain access, and who would lose it.

The recorded facts of each person's newest sign-in at each client are asked again, with the rules as they are and as
they would be. Facts that were not kept whole are counted and not asked: an answer about half of them would be a guess.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from watchword_authz.context import Context
from watchword_database import decisions
from watchword_database.decisions import DecisionRow
from watchword_database.engine import transaction
from watchword_policy.engine import MAX_SOURCE, InvalidExpression, RuleEngine
from watchword_policy.facts import Facts
from watchword_policy.rules import Client, Decision, Rule, RuleSet, decide
from watchword_runtime.keyring import Unsealable
from watchword_runtime.rules import rules_client
from watchword_web.errors import PLACED

WINDOW: Final = timedelta(days=30)
MOST: Final = 5_000  # persons at clients that are asked about
_MOST_ROWS: Final = 50_000  # sign-ins among which they are looked for
_LONGEST_S: Final = 5.0  # that a dry run works
_AT_ONCE: Final = 50  # decided before others have their turn
_SHOWN: Final = 200
_ENGINE: Final = RuleEngine()


def _expression(source: str) -> str:
    """The source itself, once it compiles. The error carries its place in the source and what to write instead."""
    try:
        _ENGINE.compile(source)
    except InvalidExpression as error:
        place = {"line": error.line, "column": error.column, "hint": error.hint}
        raise PydanticCustomError(PLACED, "{reason}", {"reason": str(error), **place}) from None
    return source


class ProposedRule(BaseModel):
    """A rule as it would be. id: of the saved one whose place it takes; a new one has none.  clients: ids."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, Field(max_length=64)] | None = None
    name: Annotated[str, Field(min_length=1, max_length=64)]
    expression: Annotated[str, Field(max_length=MAX_SOURCE), AfterValidator(_expression)]
    precedence: Annotated[int, Field(ge=-1_000_000, le=1_000_000)] = 0
    service_account: Annotated[str, Field(max_length=128)] | None = None
    clients: Annotated[tuple[str, ...], Field(max_length=256)] = ()
    organization: Annotated[str, Field(max_length=64)] | None = None
    enabled: bool = True

    def rule(self, place: int) -> Rule:
        """Ready to be asked. Roles are no part of who gets in."""
        return Rule(
            id=self.id or f"proposed-{place}",
            name=self.name,
            program=_ENGINE.compile(self.expression),
            precedence=self.precedence,
            service_account=self.service_account,
            clients=frozenset(self.clients),
            organization=self.organization,
            enabled=self.enabled,
        )


class Proposed(BaseModel):
    """A change of the rules that is not made. rules: new and changed ones.  removed: ids of those that would go."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rules: Annotated[tuple[ProposedRule, ...], Field(max_length=100)] = ()
    removed: Annotated[tuple[Annotated[str, Field(max_length=64)], ...], Field(max_length=500)] = ()

    def applied_to(self, saved: RuleSet) -> RuleSet:
        """The rules as they would be."""
        replaced = {*self.removed, *(each.id for each in self.rules if each.id is not None)}
        kept = [rule for rule in saved if rule.id not in replaced]
        return RuleSet([*kept, *(each.rule(place) for place, each in enumerate(self.rules))])

    def clients_of(self, saved: RuleSet) -> Sequence[str] | None:
        """The clients about which the answer can be another; None for all."""
        touched = {*self.removed, *(each.id for each in self.rules)}
        applying = [rule.clients for rule in saved if rule.id in touched] + [frozenset(r.clients) for r in self.rules]
        return None if not all(applying) else sorted(frozenset[str]().union(*applying))


class Verdict(BaseModel):
    """What rules say. rule: that decides; null where none matches, or none applies."""

    allowed: bool
    rule: str | None
    service_account: str | None
    why: str


class Affected(BaseModel):
    """Somebody about whom other rules would decide otherwise. at: of the newest sign-in, whose decision has the id."""

    user_id: str
    client_id: str
    decision_id: str
    at: datetime
    before: Verdict
    after: Verdict


class DryRun(BaseModel):
    """What would be otherwise, by person and client; of each list the newest 200 are named.

    sign_ins: how many there were since.  pairs: persons at clients among them.  asked: of these, about how many rules
    were asked.  is_complete: whether that is all there was: not when there were too many, or the rules take too long.
    not_recorded: whose facts were not kept whole, about whom nothing was asked.  gone: whose client is no more.
    gains: who would get in and does not now.  loses: who would not and does now.  others: as somebody else, or by
    another rule.
    """

    since: datetime
    sign_ins: int
    pairs: int
    asked: int
    is_complete: bool
    not_recorded: int
    gone: int
    gains_count: int
    loses_count: int
    others_count: int
    gains: list[Affected]
    loses: list[Affected]
    others: list[Affected]


async def run(context: Context, proposed: Proposed) -> DryRun:
    """What the proposed rules would change. Nothing is stored. Raises BookAway (503)."""
    now = context.now()
    since = now - WINDOW
    saved = context.rules.page
    changed = proposed.applied_to(saved)
    await context.decisions.flush()
    async with transaction(context.database) as session:
        found = await decisions.latest_sign_ins(
            session, since=since, clients=proposed.clients_of(saved), most=MOST, most_rows=_MOST_ROWS
        )
    clients = await _clients(context, found.latest)
    asking = _Asking(saved, changed, context.rules.engine)
    for start in range(0, len(found.latest), _AT_ONCE):
        rows = found.latest[start : start + _AT_ONCE]
        facts = [_facts(context, row) for row in rows]
        await asyncio.to_thread(
            asking.ask, [(row, each, clients.get(row.client_id)) for row, each in zip(rows, facts, strict=True)]
        )
        if asking.is_late:
            break
    return DryRun(
        since=since,
        sign_ins=found.count,
        pairs=found.pairs,
        asked=asking.asked,
        is_complete=not asking.is_late and found.pairs <= MOST and found.count < _MOST_ROWS,
        not_recorded=asking.not_recorded,
        gone=asking.gone,
        gains_count=len(asking.gains),
        loses_count=len(asking.loses),
        others_count=len(asking.others),
        gains=asking.gains[:_SHOWN],
        loses=asking.loses[:_SHOWN],
        others=asking.others[:_SHOWN],
    )


async def _clients(context: Context, rows: Sequence[DecisionRow]) -> Mapping[str, Client]:
    """The clients as rules see them, those that still are."""
    found = {}
    for client_id in {row.client_id for row in rows}:
        client = await context.clients.get(client_id)
        if client is not None:
            found[client_id] = rules_client(client)
    return found


def _facts(context: Context, row: DecisionRow) -> Facts | None:
    """What the rules looked at then; None when that was not kept whole, or the row was altered."""
    try:
        facts = context.decisions.read(row)
    except Unsealable:
        return None
    return facts if facts.is_whole else None


class _Asking:
    """Asks both sets of rules about one sign-in after the other, for as long as that may take together."""

    def __init__(self, saved: RuleSet, changed: RuleSet, engine: RuleEngine) -> None:
        self._saved, self._changed, self._engine = saved, changed, engine
        self._worked_s = 0.0
        self.asked = self.not_recorded = self.gone = 0
        self.gains: list[Affected] = []
        self.loses: list[Affected] = []
        self.others: list[Affected] = []

    @property
    def is_late(self) -> bool:
        return self._worked_s >= _LONGEST_S

    def ask(self, batch: Sequence[tuple[DecisionRow, Facts | None, Client | None]]) -> None:
        began = time.thread_time()
        for row, facts, client in batch:
            if facts is None:
                self.not_recorded += 1
            elif client is None:
                self.gone += 1
            else:
                self._compare(row, facts, client)
        self._worked_s += time.thread_time() - began

    def _compare(self, row: DecisionRow, facts: Facts, client: Client) -> None:
        self.asked += 1
        before, after = (_verdict(decide(rules, facts, client, self._engine)) for rules in (self._saved, self._changed))
        if before.model_dump(exclude={"why"}) == after.model_dump(exclude={"why"}):
            return
        affected = Affected(
            user_id=row.user_id or "",
            client_id=row.client_id,
            decision_id=row.id,
            at=row.at,
            before=before,
            after=after,
        )
        if before.allowed == after.allowed:
            self.others.append(affected)
        else:
            (self.gains if after.allowed else self.loses).append(affected)


def _verdict(decision: Decision) -> Verdict:
    return Verdict(
        allowed=decision.allowed,
        rule=decision.rule,
        service_account=decision.service_account,
        why=decision.why,
    )
