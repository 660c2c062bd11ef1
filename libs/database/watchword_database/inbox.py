"""Effects that must happen once per event, however often it is delivered."""

from uuid import UUID

from sqlalchemy import text

from watchword_database.engine import Session

_CLAIM = "INSERT INTO {schema}.inbox (consumer, event_id) VALUES (:consumer, :event_id) ON CONFLICT DO NOTHING"


async def claim_event(session: Session, *, consumer: str, event_id: str) -> bool:
    """True for the first transaction that claims the event for this consumer and commits; False for a repetition."""
    connection = await session.connection()
    statement = text(_CLAIM.format(schema=session.info["database"].schema))
    result = await connection.execute(statement, {"consumer": consumer, "event_id": UUID(event_id)})
    return result.rowcount == 1
