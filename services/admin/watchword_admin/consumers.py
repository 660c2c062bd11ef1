"""Events in: the copies of what other services own. Live events are followed by `live`."""

from watchword_events.exports import ApiKeyExport, UserExport
from watchword_runtime.broker import Broker
from watchword_runtime.copies import Copy


def subscribe(broker: Broker, *, users: Copy[UserExport], api_keys: Copy[ApiKeyExport]) -> None:
    """The copies follow their owners' events from broker.start() on."""
    broker.work("admin-user", "auth.directory.user.*", users.on_events)
    broker.work("admin-api_key", "auth.token.api_key.*", api_keys.on_events)
