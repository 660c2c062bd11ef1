"""Clients: the changes that administrators make, each with its events and its ledger entry."""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pydantic import JsonValue
from sqlalchemy.exc import IntegrityError

from watchword_admin import store
from watchword_admin.client_documents import LONGEST_ACCESS_TOKEN_S, LONGEST_GRANT_S, ClientDocument, document_of
from watchword_admin.client_secrets import FreshSecret, generate_secret, is_sealed, stored
from watchword_admin.models import Client, ClientKind, ClientSecret
from watchword_database import Session, bus
from watchword_database.ids import new_id
from watchword_events.contracts import ClientDeleted, ClientDisabled, ClientEnabled, ClientRegistered, ClientUpdated
from watchword_events.revocations import Claim, RevocationKind
from watchword_runtime.callers import OWN_CLIENTS
from watchword_runtime.feed import Feed
from watchword_runtime.seal import SecretSeal

# How long an entry of the ledger can matter, with a margin for clocks and sessions.
TOKEN_LIFE: Final = timedelta(seconds=LONGEST_ACCESS_TOKEN_S) + timedelta(hours=1)
GRANT_LIFE: Final = timedelta(seconds=LONGEST_GRANT_S) + timedelta(days=35)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a client comes from that no administrator registers; the members are those of `Client`."""

    kind: ClientKind
    registration: dict[str, JsonValue] | None = None
    registration_token: bytes | None = None
    expires_at: datetime | None = None


class ShortNameTaken(Exception):
    """Another client has this short name."""


class BuiltIn(Exception):
    """The console's own client is not for administrators to change."""


class PublicClient(Exception):
    """The client does not authenticate with a secret: one would be of no use."""


class LastSecret(Exception):
    """Without this secret the client could not authenticate any more."""


async def register_client(
    session: Session,
    document: ClientDocument,
    *,
    secret_hash: str | None,
    enabled: bool = True,
    client_id: str | None = None,
    origin: Origin | None = None,
    feed: Feed | None = None,
    now: datetime,
) -> tuple[Client, list[int]]:
    """The client may be used from now on; and the ledger entries to settle when it is registered disabled.

    secret_hash: what is stored of the secret; None for a client without one.  client_id: generated when left out.
    origin: of a client that no administrator registers.
    Raises ShortNameTaken. Appends ClientRegistered, and ClientDisabled for one that is registered disabled.
    """
    client = Client(
        id=client_id or str(uuid.uuid4()),
        version=1,
        client_name=document.client_name,
        short_name=document.short_name,
        document=document.model_dump(mode="json"),
        created_at=now,
        updated_at=now,
    )
    if origin is not None:
        client.kind, client.expires_at = origin.kind.value, origin.expires_at
        client.registration, client.registration_token = origin.registration, origin.registration_token
    if not await store.claim_new_client(session, client):
        raise ShortNameTaken(client.id)
    if secret_hash is not None:
        await store.put_secret(session, _secret(client.id, secret_hash, now))
    session.emit(ClientRegistered(id=client.id, version=1))
    if enabled or feed is None:
        return client, []
    client = await store.get_client_for_change(session, client.id)
    return client, [await _set_enabled(session, client, enabled=False, feed=feed, now=now)]


async def change_client(
    session: Session,
    client: Client,
    document: ClientDocument,
    *,
    enabled: bool | None,
    secret: FreshSecret | None = None,
    seal: SecretSeal,
    feed: Feed,
    now: datetime,
) -> tuple[list[int], str | None]:
    """The ledger entries to settle, and the secret that was generated because the client needs one now.

    client: locked.  secret: a chosen one, which replaces the others.  seal: for secrets that sign. A secret that is
    kept in another way than the new method needs is good for nothing, and replaced. Nothing happens when nothing
    differs. Raises ShortNameTaken, BuiltIn. Appends ClientUpdated, and ClientDisabled or ClientEnabled.
    """
    refuse_built_in(client.id)
    live = (await store.secrets_of(session, [client.id]))[client.id]
    fitting = [each for each in live if is_sealed(each.hash) is document.signs_with_secret]
    if document.needs_secret and secret is None and not fitting:
        secret = generate_secret()
    if document != document_of(client) or secret is not None:
        client.client_name, client.short_name = document.client_name, document.short_name
        client.document = document.model_dump(mode="json")
        await rise(session, client, now=now)
        if not document.needs_secret:
            await store.drop_secrets(session, client.id)
        elif secret is not None:
            kept = await stored(client.id, secret, seal, sealed=document.signs_with_secret)
            await store.put_secret(session, _secret(client.id, kept, now))
        session.emit(ClientUpdated(id=client.id, version=client.version))
    shown = None if secret is None else secret.shown
    if enabled is None or enabled == client.enabled:
        return [], shown
    return [await _set_enabled(session, client, enabled=enabled, feed=feed, now=now)], shown


async def keep_document(
    session: Session, url: str, document: ClientDocument, *, expires_at: datetime, feed: Feed, now: datetime
) -> list[int]:
    """The client at this URL is as its document said, until `expires_at`; the ledger entries to settle.

    One that was deleted is a client again, whose tokens from before stay dead; one that is switched off stays so.
    Appends ClientRegistered, ClientUpdated or ClientEnabled. Raises ShortNameTaken when another was faster.
    """
    client = await store.find_document_for_change(session, url)
    if client is None:
        origin = Origin(ClientKind.DOCUMENT, expires_at=expires_at)
        await register_client(session, document, secret_hash=None, client_id=url, origin=origin, now=now)
        return []
    entries = []
    if client.deleted_at is not None:
        client.deleted_at, client.created_at = None, now
        entries = [await _set_enabled(session, client, enabled=True, feed=feed, now=now)]
    client.client_name, client.document = document.client_name, document.model_dump(mode="json")
    client.expires_at, client.used_at = expires_at, now
    # Copies take only what is newer: a new expiry alone is a new version, too.
    await rise(session, client, now=now)
    session.emit(ClientUpdated(id=url, version=client.version))
    return entries


async def delete_client(session: Session, client_id: str, *, feed: Feed, now: datetime) -> list[int]:
    """The client is gone, a tombstone stays; the ledger entries to settle. Doing it again changes nothing.

    Raises Unknown, BuiltIn. Appends ClientDeleted.
    """
    refuse_built_in(client_id)
    try:
        client = await store.get_client_for_change(session, client_id)
    except store.Unknown:
        if await store.is_deleted_client(session, client_id):
            return []
        raise
    await store.drop_secrets(session, client_id)
    client.client_name, client.short_name, client.document, client.enabled = "", None, {}, False
    client.registration, client.registration_token = None, None
    client.deleted_at = now
    await rise(session, client, now=now)
    session.emit(ClientDeleted(id=client_id, version=client.version))
    return [await _revoke(session, client_id, RevocationKind.STATE, feed=feed, reason="client.deleted", now=now)]


async def add_secret(
    session: Session,
    client: Client,
    secret: FreshSecret,
    *,
    keep_newest: bool,
    compromised: bool = False,
    seal: SecretSeal,
    feed: Feed,
    now: datetime,
) -> tuple[ClientSecret, list[int]]:
    """The client's new secret. keep_newest: the newest of the others stays good, so that there is no gap.

    compromised: whoever has stolen the old ones may have used them: everything that was issued to the client ends, by
    the ledger entries to settle. client: locked. Raises BuiltIn, PublicClient. Appends ClientUpdated.
    """
    refuse_built_in(client.id)
    document = document_of(client)
    if not document.needs_secret:
        raise PublicClient(client.id)
    live = (await store.secrets_of(session, [client.id]))[client.id]
    added = _secret(client.id, await stored(client.id, secret, seal, sealed=document.signs_with_secret), now)
    await store.put_secret(session, added, keep=[each.id for each in live[-1:]] if keep_newest else [])
    await rise(session, client, now=now)
    session.emit(ClientUpdated(id=client.id, version=client.version))
    return added, [await _cut(session, client.id, feed=feed, now=now)] if compromised else []


async def remove_secret(
    session: Session, client: Client, secret_id: str, *, compromised: bool = False, feed: Feed, now: datetime
) -> list[int] | None:
    """The secret works no more; the ledger entries to settle. None when there is no secret with this id.

    compromised: as above. client: locked. Raises LastSecret, BuiltIn. Appends ClientUpdated.
    """
    refuse_built_in(client.id)
    live = (await store.secrets_of(session, [client.id]))[client.id]
    if [each.id for each in live] == [secret_id]:
        raise LastSecret(secret_id)
    if not await store.claim_removed_secret(session, client.id, secret_id):
        return None
    await rise(session, client, now=now)
    session.emit(ClientUpdated(id=client.id, version=client.version))
    return [await _cut(session, client.id, feed=feed, now=now)] if compromised else []


def refuse_built_in(client_id: str) -> None:
    """Raises BuiltIn for Watchword's own clients."""
    if client_id in OWN_CLIENTS:
        raise BuiltIn(client_id)


async def rise(session: Session, client: Client, *, now: datetime) -> None:
    """The client stands at its next version, written. Raises ShortNameTaken."""
    client_id = client.id
    client.version += 1
    client.updated_at = now
    try:
        await session.flush()
    except IntegrityError as error:
        raise ShortNameTaken(client_id) from error


async def _set_enabled(session: Session, client: Client, *, enabled: bool, feed: Feed, now: datetime) -> int:
    """The ledger entry of a client that is disabled, or enabled again; its tokens from before are dead either way."""
    client.enabled = enabled
    await rise(session, client, now=now)
    event = ClientEnabled if enabled else ClientDisabled
    session.emit(event(id=client.id, version=client.version))
    kind = RevocationKind.LIFT if enabled else RevocationKind.STATE
    return await _revoke(session, client.id, kind, feed=feed, reason=event.type_name(), now=now)


async def _cut(session: Session, client_id: str, *, feed: Feed, now: datetime) -> int:
    """The ledger entry that ends what a client was issued with a secret that others know."""
    return await _revoke(session, client_id, RevocationKind.CUT, feed=feed, reason="client.secret_compromised", now=now)


async def _revoke(
    session: Session, client_id: str, kind: RevocationKind, *, feed: Feed, reason: str, now: datetime
) -> int:
    entry = await bus.revoke(
        session,
        claim=Claim.CLIENT_ID,
        value=client_id,
        kind=kind,
        reason=reason,
        until=now + TOKEN_LIFE,
        keep_until=now + GRANT_LIFE,
    )
    feed.pend(entry, Claim.CLIENT_ID, client_id)
    return entry


def _secret(client_id: str, secret_hash: str, now: datetime) -> ClientSecret:
    return ClientSecret(id=new_id(), client_id=client_id, hash=secret_hash, created_at=now)
