"""Changes of clients and providers as the API and the console ask for them: one transaction each, then the ledger.

What is asked for is complete and checked before the transaction opens; slow hashing is done by then, too.
"""

import uuid
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import TypeVar

from pydantic import JsonValue

from watchword_admin import client_documents, clients, provider_kinds, providers, store
from watchword_admin.client_documents import ChosenSecret, ClientDocument, ClientView, NewClient, in_our_names
from watchword_admin.client_secrets import FreshSecret, generate_secret, stored
from watchword_admin.edge import Parts
from watchword_admin.merging import merged
from watchword_admin.models import Client, ClientSecret, Provider
from watchword_admin.oauth_documents import OAuthSecrets
from watchword_admin.organizations import organization_id
from watchword_admin.provider_kinds import NewProvider, ProviderView, Settings
from watchword_admin.provisioning_documents import Provisioning
from watchword_admin.scopes.store import default_scopes
from watchword_database import Session, transaction
from watchword_runtime.receipts import Ending


async def register(
    parts: Parts,
    new: NewClient,
    ending: Ending,
    beside: Callable[[Session, str], Awaitable[None]] | None = None,
) -> ClientView:
    """The new client, with its secret when one was generated.

    beside: what is written in the same transaction, with the client's id; what it raises undoes the client.
    Raises ShortNameTaken, NoSuchOrganization.
    """
    new = new.model_copy(update=await _resolutions(parts, new, new.model_fields_set))
    await parts.sectors.check(new)
    client_id, secret = str(uuid.uuid4()), await chosen_secret(parts, new.client_secret)
    if new.needs_secret and secret is None:
        secret = generate_secret()
    async with transaction(parts.database) as session:
        client, entries = await clients.register_client(
            session,
            new.document(),
            secret_hash=await stored_secret(parts, client_id, new, secret),
            client_id=client_id,
            enabled=new.enabled is not False,
            feed=parts.feed,
            now=parts.now(),
        )
        if beside is not None:
            await beside(session, client.id)
        shown = await _client_view(session, client.id, secret=None if secret is None else secret.shown)
    await ending.finish(entries)
    return shown


async def replace_client(parts: Parts, client_id: str, new: NewClient, ending: Ending) -> ClientView:
    """The client as replaced. Raises Unknown, ShortNameTaken, BuiltIn, NoSuchOrganization."""
    new = new.model_copy(update=await _resolutions(parts, new, new.model_fields_set))
    await parts.sectors.check(new)
    secret = await chosen_secret(parts, new.client_secret)
    async with transaction(parts.database) as session:
        client = await store.get_client_for_change(session, client_id)
        shown, entries = await _change_client(parts, session, client, new, secret)
    await ending.finish(entries)
    return shown


async def update_client(parts: Parts, client_id: str, members: Mapping[str, JsonValue], ending: Ending) -> ClientView:
    """The client with these members changed.

    Raises ValidationError, Unknown, ShortNameTaken, BuiltIn, NoSuchOrganization.
    """
    members = in_our_names(members)
    async with transaction(parts.database) as session:
        known = await store.find_client(session, client_id)
        if known is None:
            raise store.Unknown(client_id)
    preview = NewClient.model_validate(merged(client_documents.document_of(known), members))
    await parts.sectors.check(preview)
    secret = await chosen_secret(parts, preview.client_secret)  # not while the row is locked
    resolutions = await _resolutions(parts, preview, members)
    async with transaction(parts.database) as session:
        client = await store.get_client_for_change(session, client_id)
        new = NewClient.model_validate(merged(client_documents.document_of(client), members))
        new = new.model_copy(update=resolutions)
        shown, entries = await _change_client(parts, session, client, new, secret)
    await ending.finish(entries)
    return shown


async def _resolutions(parts: Parts, new: NewClient, given: Collection[str]) -> dict[str, object]:
    """What the client's members become: an organization's id in place of its short name; a scope where none was said.

    given: the members that the caller named. Raises NoSuchOrganization.
    """
    found: dict[str, object] = {}
    if "organization" in given and new.organization is not None:
        found["organization"] = await organization_id(parts.organizations, new.organization)
    if "scope" not in new.model_fields_set:
        async with transaction(parts.database) as session:
            found["scope"] = " ".join([new.scope, *await default_scopes(session)])
    return found


async def _change_client(
    parts: Parts, session: Session, client: Client, new: NewClient, secret: FreshSecret | None
) -> tuple[ClientView, list[int]]:
    entries, generated = await clients.change_client(
        session,
        client,
        new.document(),
        enabled=new.enabled,
        secret=secret,
        seal=parts.client_seal,
        feed=parts.feed,
        now=parts.now(),
    )
    return await _client_view(session, client.id, secret=generated), entries


async def delete_client(parts: Parts, client_id: str, ending: Ending) -> None:
    """The client is gone. Raises Unknown, BuiltIn."""
    async with transaction(parts.database) as session:
        entries = await clients.delete_client(session, client_id, feed=parts.feed, now=parts.now())
    await ending.finish(entries)


async def add_secret(
    parts: Parts,
    client_id: str,
    chosen: ChosenSecret | None,
    ending: Ending,
    *,
    keep_newest: bool = False,
    compromised: bool = False,
) -> tuple[ClientSecret, str | None]:
    """The client's new secret, and its text if it was generated. Raises Unknown, BuiltIn, PublicClient."""
    secret = await chosen_secret(parts, chosen) or generate_secret()
    async with transaction(parts.database) as session:
        client = await store.get_client_for_change(session, client_id)
        added, entries = await clients.add_secret(
            session,
            client,
            secret,
            keep_newest=keep_newest,
            compromised=compromised,
            seal=parts.client_seal,
            feed=parts.feed,
            now=parts.now(),
        )
    await ending.finish(entries)
    return added, secret.shown


async def remove_secret(
    parts: Parts, client_id: str, secret_id: str, ending: Ending, *, compromised: bool = False
) -> bool:
    """True when the secret works no more. Raises Unknown, LastSecret, BuiltIn."""
    async with transaction(parts.database) as session:
        client = await store.get_client_for_change(session, client_id)
        entries = await clients.remove_secret(
            session, client, secret_id, compromised=compromised, feed=parts.feed, now=parts.now()
        )
    if entries is None:
        return False
    await ending.finish(entries)
    return True


S = TypeVar("S", bound=Provisioning)


async def placed(parts: Parts, settings: S) -> S:
    """The settings with their organization's id in place of its short name. Raises NoSuchOrganization."""
    if settings.organization is None:
        return settings
    return settings.model_copy(
        update={"organization": await organization_id(parts.organizations, settings.organization)}
    )


async def configure_provider(parts: Parts, new: NewProvider, ending: Ending) -> ProviderView:
    """The new provider. Raises ProviderExists, InvalidAddress, NoSuchOrganization."""
    parts.check_addresses(new)
    new = await placed(parts, new)
    async with transaction(parts.database) as session:
        provider, entries = await providers.configure_provider(
            session,
            new.id,
            provider_kinds.document_in(new),
            client_secret=await sealed(parts, new.id, new),
            exchange_secret=await sealed_for_exchange(parts, new.id, new),
            enabled=new.enabled is not False,
            feed=parts.feed,
            now=parts.now(),
        )
        shown = provider_kinds.view(provider, parts.settings.public_url)
    await ending.finish(entries)
    return shown


async def replace_provider(
    parts: Parts, provider_id: str, new: Settings, ending: Ending, *, end_sessions: bool
) -> ProviderView:
    """The provider as replaced. Raises Unknown, InvalidAddress, NoSuchOrganization."""
    new = await placed(parts, new)
    async with transaction(parts.database) as session:
        provider = await store.get_provider_for_change(session, provider_id)
        entries = await change_provider(parts, session, provider, new, end_sessions=end_sessions)
        shown = provider_kinds.view(provider, parts.settings.public_url)
    await ending.finish(entries)
    return shown


async def update_provider(
    parts: Parts,
    provider_id: str,
    members: Mapping[str, JsonValue],
    ending: Ending,
    *,
    end_sessions: bool,
    invite: bool = False,
) -> ProviderView:
    """The provider with these members changed, and whoever loses their only way in invited where that is said.

    Raises ValidationError, Unknown, InvalidAddress, NoSuchOrganization, StillOpen, and Problem when nobody can be.
    """
    if invite:
        await parts.require_invitation()
    named = members.get("organization")
    if isinstance(named, str):
        members = {**members, "organization": await organization_id(parts.organizations, named)}
    async with transaction(parts.database) as session:
        provider = await store.get_provider_for_change(session, provider_id)
        new = provider_kinds.changed_settings(parts.presets, provider, members)
        entries = await change_provider(parts, session, provider, new, end_sessions=end_sessions, invite=invite)
        shown = provider_kinds.view(provider, parts.settings.public_url)
    await ending.finish(entries)
    return shown


async def change_provider(
    parts: Parts, session: Session, provider: Provider, new: Settings, *, end_sessions: bool, invite: bool = False
) -> list[int]:
    """The ledger entries of a provider, locked, that is as described now. Raises InvalidAddress, StillOpen."""
    parts.check_addresses(new)
    secret, exchange_secret = provider.client_secret, provider.exchange_secret
    if isinstance(new, OAuthSecrets) and new.says_secret:
        secret = await sealed(parts, provider.id, new)
    if isinstance(new, OAuthSecrets) and new.says_exchange_secret:
        exchange_secret = await sealed_for_exchange(parts, provider.id, new)
    return await providers.change_provider(
        session,
        provider,
        provider_kinds.document_in(new),
        client_secret=secret,
        exchange_secret=exchange_secret,
        enabled=new.enabled,
        end_sessions=end_sessions,
        invite=invite,
        feed=parts.feed,
        now=parts.now(),
    )


async def remove_provider(
    parts: Parts, provider_id: str, ending: Ending, *, end_sessions: bool, invite: bool = False
) -> None:
    """The provider is gone, and whoever lost their only way in invited where that is said.

    Raises Unknown, and Problem when nobody can be invited.
    """
    if invite:
        await parts.require_invitation()
    async with transaction(parts.database) as session:
        entries = await providers.remove_provider(
            session, provider_id, end_sessions=end_sessions, invite=invite, feed=parts.feed, now=parts.now()
        )
    await ending.finish(entries)


async def chosen_secret(parts: Parts, secret: ChosenSecret | None) -> FreshSecret | None:
    """A chosen secret with its argon2id hash, because people choose secrets that can be guessed."""
    if secret is None:
        return None
    text = secret.get_secret_value()
    return FreshSecret(text, await parts.passwords.hash(text), is_generated=False)


async def stored_secret(
    parts: Parts, client_id: str, document: ClientDocument, secret: FreshSecret | None
) -> str | None:
    """What stands in the row of the client's secret, None when there is none."""
    if secret is None:
        return None
    return await stored(client_id, secret, parts.client_seal, sealed=document.signs_with_secret)


async def sealed(parts: Parts, provider_id: str, new: Settings) -> bytes | None:
    """The provider's secret as it is stored, None when there is none."""
    secret = new.given_secret if isinstance(new, OAuthSecrets) else None
    return None if secret is None else await parts.seal.seal(secret.get_secret_value().encode(), provider_id.encode())


async def sealed_for_exchange(parts: Parts, provider_id: str, new: Settings) -> bytes | None:
    """The secret of the client that exchanges the provider's tokens, as it is stored; None when there is none."""
    secret = new.given_exchange_secret if isinstance(new, OAuthSecrets) else None
    if secret is None:
        return None
    return await parts.seal.seal(secret.get_secret_value().encode(), f"exchange:{provider_id}".encode())


async def _client_view(session: Session, client_id: str, *, secret: str | None) -> ClientView:
    client = await store.find_client(session, client_id)
    if client is None:
        raise store.Unknown(client_id)
    secrets = await store.secrets_of(session, [client_id])
    return client_documents.view(client, secrets[client_id], secret=secret)
