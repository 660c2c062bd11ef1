"""The event edge: provider.* of admin moves our copy and drops what was fetched for the provider."""

from watchword_database import Database, transaction
from watchword_events.exports import ProviderExport
from watchword_federation import store
from watchword_federation.fetched import Fetched
from watchword_runtime.broker import Broker, Received
from watchword_runtime.copies import Copy


class Consumers:
    """Handlers of the events that this service works on; each may be offered an event more than once."""

    def __init__(self, database: Database, providers: Copy[ProviderExport], fetched: Fetched) -> None:
        self._database = database
        self._providers = providers
        self._fetched = fetched

    def subscribe(self, broker: Broker) -> None:
        """The handlers are known to the broker; call before it starts."""
        broker.work("federation-provider", "auth.admin.provider.*", self.on_provider)

    async def on_provider(self, received: list[Received]) -> None:
        """The copy follows, and documents of the providers are fetched again when they are next needed."""
        await self._providers.on_events(received)
        changed = {item.event.id for item in received}
        async with transaction(self._database) as session:
            await store.drop_documents(session, changed)
        for provider_id in changed:
            self._fetched.forget(provider_id)
