"""Events in: the copies of what other services own."""

from watchword_events.exports import ApiKeyExport, BrandingExport, ProviderExport
from watchword_runtime.broker import Broker
from watchword_runtime.copies import Copy


def subscribe(
    broker: Broker, *, providers: Copy[ProviderExport], api_keys: Copy[ApiKeyExport], branding: Copy[BrandingExport]
) -> None:
    """The copies follow their owners' events from broker.start() on."""
    broker.work("directory-provider", "auth.admin.provider.*", providers.on_events)
    broker.work("directory-api_key", "auth.token.api_key.*", api_keys.on_events)
    broker.work("directory-branding", "auth.admin.branding.*", branding.on_events)
