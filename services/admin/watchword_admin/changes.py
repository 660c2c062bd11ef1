"""Changes of clients and providers as the API and the console ask for them: one transaction each, then the ledger.

What is asked for is complete and checked before the transaction opens; slow hashing is done by then, too.
"""

from collections.abc import Mapping

from pydantic import JsonValue

from watchword_admin import client_documents, clients, provider_documents, providers, store
from watchword_admin.client_documents import ChosenSecret, ClientDocument, ClientView, NewClient
from watchword_admin.edge import Parts
from watchword_admin.models import Client, ClientSecret, Provider
from watchword_admin.provider_documents import NewProvider, ProviderDocument, ProviderSettings, ProviderView
from watchword_database import Session, transaction


async def register(parts: Parts, new: NewClient) -> ClientView:
    """The new client, with its secret when one was generated. Raises ShortNameTaken."""
    generated, secret_hash = None, await _hashed(parts, new.client_secret)
    if not new.is_public and secret_hash is None:
        generated, secret_hash = clients.generate_secret()
    async with transaction(parts.database) as session:
        client, entries = await clients.register_client(
            session,
            new.document(),
            secret_hash=secret_hash,
            enabled=new.enabled is not False,
            feed=parts.feed,
            now=parts.now(),
        )
        shown = await _client_view(session, client.id, secret=generated)
    await parts.feed.settle(entries)
    return shown


async def replace_client(parts: Parts, client_id: str, new: NewClient) -> ClientView:
    """The client as replaced. Raises Unknown, ShortNameTaken, BuiltIn."""
    secret_hash = await _hashed(parts, new.client_secret)
    async with transaction(parts.database) as session:
        client = await store.get_client_for_change(session, client_id)
        shown, entries = await _change_client(parts, session, client, new, secret_hash)
    await parts.feed.settle(entries)
    return shown


async def update_client(parts: Parts, client_id: str, members: Mapping[str, JsonValue]) -> ClientView:
    """The client with these members changed. Raises ValidationError, Unknown, ShortNameTaken, BuiltIn."""
    async with transaction(parts.database) as session:
        known = await store.find_client(session, client_id)
        if known is None:
            raise store.Unknown(client_id)
    preview = NewClient.model_validate(_merged(client_documents.document_of(known), members))
    secret_hash = await _hashed(parts, preview.client_secret)  # not while the row is locked
    async with transaction(parts.database) as session:
        client = await store.get_client_for_change(session, client_id)
        new = NewClient.model_validate(_merged(client_documents.document_of(client), members))
        shown, entries = await _change_client(parts, session, client, new, secret_hash)
    await parts.feed.settle(entries)
    return shown


async def _change_client(
    parts: Parts, session: Session, client: Client, new: NewClient, secret_hash: str | None
) -> tuple[ClientView, list[int]]:
    entries, generated = await clients.change_client(
        session,
        client,
        new.document(),
        enabled=new.enabled,
        secret_hash=secret_hash,
        feed=parts.feed,
        now=parts.now(),
    )
    return await _client_view(session, client.id, secret=generated), entries


async def delete_client(parts: Parts, client_id: str) -> None:
    """The client is gone. Raises Unknown, BuiltIn."""
    async with transaction(parts.database) as session:
        entries = await clients.delete_client(session, client_id, feed=parts.feed, now=parts.now())
    await parts.feed.settle(entries)


async def add_secret(
    parts: Parts, client_id: str, chosen: ChosenSecret | None, *, keep_newest: bool
) -> tuple[ClientSecret, str | None]:
    """The client's new secret, and its text if it was generated. Raises Unknown, BuiltIn, PublicClient."""
    generated, secret_hash = None, await _hashed(parts, chosen)
    if secret_hash is None:
        generated, secret_hash = clients.generate_secret()
    async with transaction(parts.database) as session:
        client = await store.get_client_for_change(session, client_id)
        added = await clients.add_secret(session, client, secret_hash, keep_newest=keep_newest, now=parts.now())
    return added, generated


async def remove_secret(parts: Parts, client_id: str, secret_id: str) -> bool:
    """True when the secret works no more. Raises Unknown, LastSecret, BuiltIn."""
    async with transaction(parts.database) as session:
        client = await store.get_client_for_change(session, client_id)
        return await clients.remove_secret(session, client, secret_id, now=parts.now())


async def configure_provider(parts: Parts, new: NewProvider) -> ProviderView:
    """The new provider. Raises ProviderExists, InvalidAddress."""
    parts.check_addresses(new)
    async with transaction(parts.database) as session:
        provider, entries = await providers.configure_provider(
            session,
            new.id,
            new.document(),
            client_secret=await _sealed(parts, session, new.id, new),
            enabled=new.enabled is not False,
            feed=parts.feed,
            now=parts.now(),
        )
        shown = provider_documents.view(provider, parts.settings.public_url)
    await parts.feed.settle(entries)
    return shown


async def replace_provider(
    parts: Parts, provider_id: str, new: ProviderSettings, *, end_sessions: bool
) -> ProviderView:
    """The provider as replaced. Raises Unknown, InvalidAddress."""
    async with transaction(parts.database) as session:
        provider = await store.get_provider_for_change(session, provider_id)
        entries = await _change_provider(parts, session, provider, new, end_sessions=end_sessions)
        shown = provider_documents.view(provider, parts.settings.public_url)
    await parts.feed.settle(entries)
    return shown


async def update_provider(
    parts: Parts, provider_id: str, members: Mapping[str, JsonValue], *, end_sessions: bool
) -> ProviderView:
    """The provider with these members changed. Raises ValidationError, Unknown, InvalidAddress."""
    async with transaction(parts.database) as session:
        provider = await store.get_provider_for_change(session, provider_id)
        new = ProviderSettings.model_validate(_merged(provider_documents.document_of(provider), members))
        entries = await _change_provider(parts, session, provider, new, end_sessions=end_sessions)
        shown = provider_documents.view(provider, parts.settings.public_url)
    await parts.feed.settle(entries)
    return shown


async def _change_provider(
    parts: Parts, session: Session, provider: Provider, new: ProviderSettings, *, end_sessions: bool
) -> list[int]:
    parts.check_addresses(new)
    secret = provider.client_secret
    if "client_secret" in new.model_fields_set:
        secret = await _sealed(parts, session, provider.id, new)
    return await providers.change_provider(
        session,
        provider,
        new.document(),
        client_secret=secret,
        enabled=new.enabled,
        end_sessions=end_sessions,
        feed=parts.feed,
        now=parts.now(),
    )


async def remove_provider(parts: Parts, provider_id: str, *, end_sessions: bool) -> None:
    """The provider is gone. Raises Unknown."""
    async with transaction(parts.database) as session:
        entries = await providers.remove_provider(
            session, provider_id, end_sessions=end_sessions, feed=parts.feed, now=parts.now()
        )
    await parts.feed.settle(entries)


def _merged(document: ClientDocument | ProviderDocument, members: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """The settings with the members changed; null removes one, which gives it its default. Spec: RFC 7396 2."""
    merged: dict[str, JsonValue] = document.model_dump(mode="json")
    for name, value in members.items():
        if value is None and name in merged:
            del merged[name]
        else:
            merged[name] = value
    return merged


async def _hashed(parts: Parts, secret: ChosenSecret | None) -> str | None:
    """argon2id, because people choose secrets that can be guessed."""
    return None if secret is None else await parts.passwords.hash(secret.get_secret_value())


async def _sealed(parts: Parts, session: Session, provider_id: str, new: ProviderSettings) -> bytes | None:
    if new.client_secret is None:
        return None
    return await parts.seal.seal(session, provider_id, new.client_secret.get_secret_value())


async def _client_view(session: Session, client_id: str, *, secret: str | None) -> ClientView:
    client = await store.find_client(session, client_id)
    if client is None:
        raise store.Unknown(client_id)
    secrets = await store.secrets_of(session, [client_id])
    return client_documents.view(client, secrets[client_id], secret=secret)
