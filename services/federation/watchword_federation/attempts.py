"""The steps of a sign-in, kept when it fails: what an administrator reads under the reference on the person's page.

A step says what was looked at and found, never about whom: names of claims and how many values they have, no value.
"""

import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import structlog
from pydantic import JsonValue

from watchword_database import Database, Session, bus, transaction
from watchword_database.ids import new_id
from watchword_events.handovers import IdentityRefused
from watchword_federation import store
from watchword_federation.models import SignInAttempt

# Strangers make attempts that fail early, as many as they like: they must not push out those that got further.
KEPT_OF_EACH: Final = 200  # failure of a provider
_MAX_STEPS: Final = 64
_MAX_DETAIL: Final = 300

log = structlog.get_logger()


@dataclass(slots=True)
class Trail:
    """What was done so far in one request of a sign-in, in order."""

    _begun: float = field(default_factory=time.monotonic)
    _steps: list[dict[str, JsonValue]] = field(default_factory=list)

    def step(self, name: str, detail: str = "") -> None:
        """Something was done. detail: without any value of a claim; what a stranger wrote is shortened."""
        if len(self._steps) < _MAX_STEPS:
            after_ms = round((time.monotonic() - self._begun) * 1000, 1)
            self._steps.append({"step": name, "detail": detail[:_MAX_DETAIL], "after_ms": after_ms})

    @property
    def steps(self) -> list[dict[str, JsonValue]]:
        """The steps as they are stored."""
        return list(self._steps)


async def record_refused(session: Session, *, now: datetime) -> None:
    """Sign-ins that ended at directory can be read by their references, as those that ended here."""
    for taken in await bus.take_flow(session, IdentityRefused, flow=IdentityRefused.FLOW, now=now):
        refused = taken.payload
        last = refused.steps[-1]["after_ms"] if refused.steps else 0.0
        steps = [*refused.steps, {"step": "refused", "detail": refused.detail[:_MAX_DETAIL], "after_ms": last}]
        await _keep(session, refused.provider_id, refused.reference, taken.created_at, refused.failure, steps)


async def record(
    database: Database, trail: Trail, *, provider_id: str, reference: str, failure: str, now: datetime
) -> None:
    """The attempt can be read by its reference; of each failure of a provider the last 200 are kept.

    A sign-in that failed says so to the person, whether or not this can be written.
    """
    try:
        async with transaction(database) as session:
            await _keep(session, provider_id, reference, now, failure, trail.steps)
    except Exception as error:
        log.warning("attempt.not_recorded", provider_id=provider_id, error=type(error).__name__)


async def _keep(
    session: Session, provider_id: str, reference: str, at: datetime, failure: str, steps: list[dict[str, JsonValue]]
) -> None:
    session.add(
        SignInAttempt(id=new_id(), reference=reference, provider_id=provider_id, at=at, failure=failure, steps=steps)
    )
    await session.flush()
    await store.drop_old_attempts(session, provider_id, failure, keep=KEPT_OF_EACH)
