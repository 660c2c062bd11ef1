"""Events in: the copies of what other services own."""

from watchword_events.contracts import ProviderRemoved
from watchword_events.exports import ApiKeyExport, BrandingExport, ProviderExport
from watchword_runtime.broker import Broker, Received
from watchword_runtime.copies import Copy
from watchword_runtime.rounds import Sweeper


def subscribe(
    broker: Broker,
    *,
    providers: Copy[ProviderExport],
    api_keys: Copy[ApiKeyExport],
    branding: Copy[BrandingExport],
    sweeper: Sweeper,
) -> None:
    """The copies follow their owners' events from broker.start() on; what belonged to a removed provider ends."""

    async def on_providers(received: list[Received]) -> None:
        await providers.on_events(received)
        if any(isinstance(each.event, ProviderRemoved) for each in received):
            sweeper.look()

    broker.consume({"provider": on_providers, "api_key": api_keys.on_events, "branding": branding.on_events})
