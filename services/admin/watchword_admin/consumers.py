"""Events in: copies of what others own, what is forgotten, what webhooks are sent. `live` follows the live ones."""

from watchword_admin.audit import store as audit
from watchword_admin.webhooks.deliveries import Deliveries
from watchword_database import Database, transaction
from watchword_events.catalogue import deliveries_of
from watchword_events.contracts import UserDeleted
from watchword_events.exports import ApiKeyExport, OrganizationExport, UserExport
from watchword_events.names import Service
from watchword_runtime.broker import Broker, Handler, Received
from watchword_runtime.copies import Copy


def subscribe(
    broker: Broker,
    database: Database,
    *,
    users: Copy[UserExport],
    organizations: Copy[OrganizationExport],
    api_keys: Copy[ApiKeyExport],
) -> None:
    """The copies follow their owners' events from broker.start() on."""
    broker.work("admin-user", "auth.directory.user.*", on_user(database, users))
    broker.work("admin-organization", "auth.directory.organization.*", organizations.on_events)
    broker.work("admin-api_key", "auth.token.api_key.*", api_keys.on_events)


def send(broker: Broker, deliveries: Deliveries) -> None:
    """Every public event reaches the webhooks that want it, from broker.start() on."""
    for durable in deliveries_of(Service.ADMIN):
        broker.work(durable.name, durable.subject, deliveries.on_events)


def on_user(database: Database, users: Copy[UserExport]) -> Handler:
    """Follows users; what the audit log says of one who is deleted goes with them."""

    async def handle(received: list[Received]) -> None:
        await users.on_events(received)
        for user_id in {each.event.id for each in received if isinstance(each.event, UserDeleted)}:
            if await users.get(user_id) is None:  # the event only says where to look
                async with transaction(database) as session:
                    await audit.forget(session, user_id)

    return handle
