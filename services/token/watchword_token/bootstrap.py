"""What a new installation needs before anybody can call it."""

from datetime import datetime

from sqlalchemy import text

from watchword_database import Database, transaction
from watchword_events.names import Position
from watchword_runtime.access import ADMIN_SCOPE
from watchword_token.api_keys import create_api_key


async def create_admin_key(database: Database, *, user_id: str, now: datetime, name: str = "first start") -> str:
    """The text of a new API key with which an administrator may call all of `/api/v1`; it is never shown again.

    database: as the role of `token`.  Appends ApiKeyCreated.
    """
    async with transaction(database) as session:
        connection = await session.connection()
        rev = (await connection.execute(text("SELECT position FROM bus.ledger"))).scalar_one()
        _key, shown = create_api_key(
            session, user_id=user_id, name=name, scope=frozenset({ADMIN_SCOPE}), rev=Position(rev), now=now
        )
    return shown
