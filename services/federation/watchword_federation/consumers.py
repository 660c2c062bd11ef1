"""The event edge: the copies follow; kept tokens learn whose they are, and end with what they are for."""

from watchword_database import Database, transaction
from watchword_events.contracts import IdentityUnlinked, SessionStarted, UserDeleted, UserDisabled
from watchword_events.exports import BrandingExport, ProviderExport
from watchword_federation import saml_store, store, token_store
from watchword_federation.connectors.saml_sources import Sources
from watchword_federation.edge import FindIdentities
from watchword_federation.fetched import Fetched
from watchword_federation.vault import identity_key
from watchword_runtime.broker import Broker, Received
from watchword_runtime.clock import Clock
from watchword_runtime.copies import Copy


class Consumers:
    """Handlers of the events that this service works on; each may be offered an event more than once."""

    def __init__(
        self,
        database: Database,
        providers: Copy[ProviderExport],
        branding: Copy[BrandingExport],
        fetched: Fetched,
        sources: Sources,
        identities_of: FindIdentities,
        now: Clock,
    ) -> None:
        self._database = database
        self._providers = providers
        self._branding = branding
        self._fetched = fetched
        self._sources = sources
        self._identities_of = identities_of
        self._now = now

    def subscribe(self, broker: Broker) -> None:
        """The handlers are known to the broker; call before it starts."""
        broker.consume(
            {
                "provider": self.on_provider,
                "branding": self._branding.on_events,
                "user": self.on_user,
                "identity": self.on_identity,
                "session": self.on_session,
            }
        )

    async def on_provider(self, received: list[Received]) -> None:
        """The copy follows, and documents of the providers are fetched again when they are next needed.

        Tokens are kept of providers that are enabled and shall keep them, and of no others.
        """
        await self._providers.on_events(received)
        changed = {item.event.id for item in received}
        found = {provider_id: await self._providers.get(provider_id) for provider_id in changed}
        async with transaction(self._database) as session:
            await store.drop_documents(session, changed)
            # A SAML provider's metadata stays while its address does: it may not be had anew at this moment.
            await saml_store.drop_providers(session, [name for name, provider in found.items() if provider is None])
            for name, provider in found.items():
                if provider is None or not provider.enabled or not provider.oauth.keep_tokens:
                    await token_store.drop_provider(session, name, now=self._now())
        for provider_id in changed:
            self._fetched.forget(provider_id)
            self._sources.forget(provider_id)

    async def on_user(self, received: list[Received]) -> None:
        """Nothing is kept for people who may not sign in any more."""
        async with transaction(self._database) as session:
            for item in received:
                match item.event:
                    case UserDisabled():
                        await token_store.drop_user(session, item.event.id, reason="user-disabled", now=self._now())
                    case UserDeleted():
                        await token_store.drop_user(session, item.event.id, reason="user-deleted", now=self._now())

    async def on_identity(self, received: list[Received]) -> None:
        """Nothing is kept for identities that lead nowhere any more."""
        async with transaction(self._database) as session:
            for item in received:
                if isinstance(item.event, IdentityUnlinked):
                    await token_store.drop_link(session, item.event.id, now=self._now())

    async def on_session(self, received: list[Received]) -> None:
        """Tokens of a sign-in that ended in a session are that person's. Raises Unreachable, to be offered it again."""
        for item in received:
            event = item.event
            if not isinstance(event, SessionStarted) or event.provider_id is None:
                continue
            provider = await self._providers.get(event.provider_id)
            if provider is None or not provider.oauth.keep_tokens:
                continue
            links = [link for link in await self._identities_of(event.user_id) if link.provider_id == provider.id]
            async with transaction(self._database) as session:
                for link in links:
                    identity = identity_key(provider.id, link.issuer, link.subject)
                    await token_store.claim_owner(session, identity, link, now=self._now())
