"""Named SQL of webhooks."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Final

import orjson
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, delete, select

from watchword_admin.models import Webhook, WebhookDeadLetter, WebhookEvent
from watchword_admin.store import Unknown
from watchword_database import Database, Session
from watchword_database.turns import take_turn

# Numbers must become visible in their order: who follows them never looks back.
_IN_ORDER: Final = "admin.webhook_events"
_ADD_EVENT: Final = text("""
INSERT INTO admin.webhook_events (event_id, type, subject, body, at)
SELECT :event_id, :type, :subject, CAST(:body AS jsonb), :at
 WHERE EXISTS (SELECT FROM admin.webhooks WHERE enabled AND document ->> 'about' = 'events')
ON CONFLICT (event_id) DO NOTHING
""")
# Once a second, mostly to find nothing: therefore a plain statement.
_CLAIM: Final = """
UPDATE admin.webhooks SET locked_until = $2, attempts = attempts + 1
 WHERE id IN (SELECT id FROM admin.webhooks
               WHERE enabled AND next_attempt_at <= $1 AND (locked_until IS NULL OR locked_until <= $1)
                 AND id <> ALL ($3)
                 AND after < CASE document ->> 'about'
                             WHEN 'events' THEN (SELECT coalesce(max(id), 0) FROM admin.webhook_events)
                             ELSE (SELECT seq FROM bus.audit_head) END
               ORDER BY next_attempt_at LIMIT $4 FOR UPDATE SKIP LOCKED)
RETURNING id
"""
# Only while the lease is still ours: attempts has risen when another instance took over, and is none after a replay.
_DONE: Final = text("""
UPDATE admin.webhooks
   SET after = :until, attempts = 0, failing_since = NULL, error = :error, locked_until = NULL, next_attempt_at = :now,
       delivered_at = coalesce(:delivered_at, delivered_at)
 WHERE id = :id AND attempts = :attempts AND after = :after
RETURNING id
""")
_FAILED: Final = text("""
UPDATE admin.webhooks
   SET failing_since = coalesce(failing_since, :now), error = :error, locked_until = NULL, next_attempt_at = :next
 WHERE id = :id AND attempts = :attempts AND after = :after
RETURNING failing_since
""")
_END_OF: Final = {
    "audit": text("SELECT seq FROM bus.audit_head"),
    "events": text("SELECT coalesce(max(id), 0) FROM admin.webhook_events"),
}


async def wanted(database: Database) -> Collection[str]:
    """What webhooks are about: mostly nothing, and so a plain statement."""
    return await database.ask("SELECT array_agg(DISTINCT document ->> 'about') FROM admin.webhooks WHERE enabled") or ()


async def end_of(session: Session, about: str) -> int:
    """The number of the newest entry or event."""
    return int((await (await session.connection()).execute(_END_OF[about])).scalar_one())


async def add_events(session: Session, events: Sequence[WebhookEvent]) -> None:
    """The events are there, each once, where somebody wants events."""
    await take_turn(session, _IN_ORDER)
    connection = await session.connection()
    for event in events:
        values = event.model_dump(exclude={"id"}) | {"body": orjson.dumps(event.body).decode()}
        await connection.execute(_ADD_EVENT, values)


async def events_after(session: Session, after: int, limit: int) -> Sequence[WebhookEvent]:
    """Events behind a number, in their order."""
    statement = select(WebhookEvent).where(col(WebhookEvent.id) > after).order_by(col(WebhookEvent.id)).limit(limit)
    return (await session.exec(statement)).all()


async def sweep_events(session: Session, before: datetime) -> None:
    """Older events are gone."""
    await session.exec(delete(WebhookEvent).where(col(WebhookEvent.at) < before))


async def claim_due(
    database: Database, *, busy: Sequence[str], most: int, lease: timedelta, now: datetime
) -> list[str]:
    """Ids of webhooks for which there may be something, theirs for the length of the lease who claimed them."""
    pool = await database.raw_pool()
    return [row["id"] for row in await pool.fetch(_CLAIM, now, now + lease, busy, most)]


async def note_done(
    session: Session, webhook: Webhook, *, until: int, now: datetime, delivered: bool, error: str | None = None
) -> bool:
    """The webhook has moved on; False when another instance or a replay moved it meanwhile."""
    values = {
        "id": webhook.id,
        "attempts": webhook.attempts,
        "after": webhook.after,
        "until": until,
        "now": now,
        "delivered_at": now if delivered else None,
        "error": error,
    }
    return (await (await session.connection()).execute(_DONE, values)).one_or_none() is not None


async def note_failed(session: Session, webhook: Webhook, *, error: str, next_at: datetime, now: datetime) -> datetime:
    """Since when the batch fails; it is tried again then."""
    values = {
        "id": webhook.id,
        "attempts": webhook.attempts,
        "after": webhook.after,
        "error": error,
        "next": next_at,
        "now": now,
    }
    since = (await (await session.connection()).execute(_FAILED, values)).scalar_one_or_none()
    return since or now


async def put_dead_letter(session: Session, letter: WebhookDeadLetter) -> None:
    """It is noted what was given up."""
    await session.exec(insert(WebhookDeadLetter).values(**letter.model_dump()))


async def dead_letters(session: Session, webhook_id: str, *, before: str, limit: int) -> Sequence[WebhookDeadLetter]:
    """What was given up, the newest first, older than the one with the id `before`."""
    statement = select(WebhookDeadLetter).where(col(WebhookDeadLetter.webhook_id) == webhook_id)
    if before:
        statement = statement.where(col(WebhookDeadLetter.id) < before)
    return (await session.exec(statement.order_by(col(WebhookDeadLetter.id).desc()).limit(limit))).all()


async def find(session: Session, webhook_id: str) -> Webhook | None:
    """The webhook with an id."""
    return await session.get(Webhook, webhook_id)


async def find_by_name(session: Session, name: str) -> Webhook | None:
    """The webhook with a name."""
    return (await session.exec(select(Webhook).where(col(Webhook.name) == name))).one_or_none()


async def get_for_change(session: Session, webhook_id: str) -> Webhook:
    """The webhook, locked until the end of the transaction. Raises Unknown."""
    statement = select(Webhook).where(col(Webhook.id) == webhook_id).with_for_update()
    webhook = (await session.exec(statement)).one_or_none()
    if webhook is None:
        raise Unknown(webhook_id)
    return webhook


async def claim_new(session: Session, webhook: Webhook) -> bool:
    """True when it exists now; False when another has its name."""
    statement = insert(Webhook).values(**webhook.model_dump()).on_conflict_do_nothing().returning(col(Webhook.id))
    return (await session.exec(statement)).scalar_one_or_none() is not None


async def list_webhooks(session: Session, *, after: str, limit: int) -> Sequence[Webhook]:
    """Webhooks in the order of their names, those after `after`."""
    statement = select(Webhook).where(col(Webhook.name) > after).order_by(col(Webhook.name)).limit(limit)
    return (await session.exec(statement)).all()


async def list_by_id(session: Session, *, after: str, limit: int) -> Sequence[Webhook]:
    """Webhooks in the order of their ids, those after `after`."""
    statement = select(Webhook).where(col(Webhook.id) > after).order_by(col(Webhook.id)).limit(limit)
    return (await session.exec(statement)).all()
