"""Events in: the copies of what other services own."""

from watchword_events.exports import ApiKeyExport, BrandingExport, ProviderExport
from watchword_runtime.broker import Broker
from watchword_runtime.copies import Copy


def subscribe(
    broker: Broker, *, providers: Copy[ProviderExport], api_keys: Copy[ApiKeyExport], branding: Copy[BrandingExport]
) -> None:
    """The copies follow their owners' events from broker.start() on."""
    broker.consume({"provider": providers.on_events, "api_key": api_keys.on_events, "branding": branding.on_events})
