"""`/api/v1/decisions`: whom access rules let in or turned away, by which rule, and why."""

import asyncio
from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel

from watchword_authz import trial
from watchword_authz.context import Context
from watchword_authz.dry_run import DryRun, Proposed, run
from watchword_authz.trial import Attempt, Trial
from watchword_database import decisions
from watchword_database.decisions import DecisionRow
from watchword_database.engine import transaction
from watchword_policy.rules import Outcome
from watchword_web.api import DEFAULT_LIMIT, MAX_LIMIT, Page, ProblemDocument
from watchword_web.errors import Problem

_LISTING: Final = "decisions"
_ON_ITS_WAY_S: Final = 0.1  # another process writes what it decided within this time
_ERRORS: dict[int | str, dict[str, object]] = {
    401: {"model": ProblemDocument},
    403: {"model": ProblemDocument},
    404: {"model": ProblemDocument},
}
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="At most this many items")]
Name = Annotated[str, Query(min_length=1, max_length=512)]


class Failure(BaseModel):
    """A rule that came to no answer, and why."""

    rule: str
    error: str


class DecisionItem(BaseModel):
    """A decision. occasion: `sign-in`, `refresh` or `exchange`.  user_id: null for the subject of a trusted issuer.

    rule: the one that decided.  policy: all that matched.  why: in one sentence.
    """

    id: str
    at: datetime
    occasion: str
    client_id: str
    user_id: str | None
    allowed: bool
    outcome: Outcome
    rule: str | None
    rule_id: str | None
    service_account: str | None
    roles: list[str]
    policy: list[str]
    why: str
    failures: list[Failure]


class SeenFacts(BaseModel):
    """What the rules looked at. claims: their names; what they said is kept sealed, and shown to nobody."""

    sub: str
    iss: str
    groups: list[str]
    client: str
    ip: str
    time: datetime
    claims: list[str]


class DecisionView(DecisionItem):
    """A decision with what it was about."""

    facts: SeenFacts


def router(context: Context) -> APIRouter:
    """For administrators only."""
    api = APIRouter(
        prefix="/api/v1/decisions",
        tags=["administration"],
        dependencies=[Depends(context.callers.administrator)],
        responses=_ERRORS,
    )

    @api.get("", summary="List what access rules decided")
    async def list_decisions(
        user_id: Name | None = None,
        client_id: Name | None = None,
        rule_id: Name | None = None,
        allowed: bool | None = None,
        cursor: Annotated[str | None, Query(min_length=1, max_length=1024)] = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> Page[DecisionItem]:
        before = "" if cursor is None else str(context.cursor.read(_LISTING, cursor)[0])
        await context.decisions.flush()
        async with transaction(context.database) as session:
            rows = await decisions.list_decisions(
                session,
                before=before,
                limit=limit + 1,
                user_id=user_id,
                client_id=client_id,
                rule_id=rule_id,
                allowed=allowed,
            )
        shown = [DecisionItem.model_validate(_fields(row)) for row in rows[:limit]]
        return Page(items=shown, next=context.cursor.make(_LISTING, shown[-1].id) if len(rows) > limit else None)

    @api.get("/{decision_id}", summary="Which rule decided, and why")
    async def get_decision(decision_id: Annotated[str, Path(max_length=64)]) -> DecisionView:
        row = await _find(context, decision_id)
        if row is None:
            raise Problem(404, "There is no such decision", "It may be older than decisions are kept.")
        facts = context.decisions.read(row)
        shown = facts.model_dump(exclude={"email", "claims", "left_out"}) | {"claims": sorted(facts.claims)}
        return DecisionView.model_validate(_fields(row) | {"facts": shown})

    @api.post("/trial", summary="What would become of somebody's sign-in to a client; nobody signs in")
    async def try_sign_in(attempt: Attempt) -> Trial:
        return await trial.of(context, attempt)

    @api.post("/dry-run", summary="What other rules would have decided about the sign-ins of the last 30 days")
    async def dry_run(proposed: Proposed) -> DryRun:
        return await run(context, proposed)

    return api


async def _find(context: Context, decision_id: str) -> DecisionRow | None:
    """The decision, also one of a moment ago: decisions are written behind, here and in other processes."""
    await context.decisions.flush()
    for wait_s in (_ON_ITS_WAY_S, 0.0):
        async with transaction(context.database) as session:
            row = await decisions.find(session, decision_id)
        if row is not None or not wait_s:
            return row
        await asyncio.sleep(wait_s)
    return None


def _fields(row: DecisionRow) -> dict[str, object]:
    names = set(DecisionItem.model_fields) - {"failures"}
    failures = [{"rule": rule, "error": error} for rule, error in row.failures.items()]
    return {name: getattr(row, name) for name in names} | {"failures": failures}
