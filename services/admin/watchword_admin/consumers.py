"""Events in: what is forgotten with a user. `live` follows the live ones."""

from watchword_admin.audit import store as audit
from watchword_database import Database, transaction
from watchword_events.contracts import UserDeleted
from watchword_events.exports import UserExport
from watchword_runtime.broker import Handler, Received
from watchword_runtime.copies import Copy


def on_user(database: Database, users: Copy[UserExport]) -> Handler:
    """Follows users; what the audit log says of one who is deleted goes with them."""

    async def handle(received: list[Received]) -> None:
        await users.on_events(received)
        for user_id in {each.event.id for each in received if isinstance(each.event, UserDeleted)}:
            if await users.get(user_id) is None:  # the event only says where to look
                async with transaction(database) as session:
                    await audit.forget(session, user_id)

    return handle
