"""Clients: the changes that administrators make, each with its events and its ledger entry."""

import hashlib
import secrets as random
import uuid
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.exc import IntegrityError

from watchword_admin import store
from watchword_admin.client_documents import LONGEST_ACCESS_TOKEN_S, LONGEST_GRANT_S, ClientDocument, document_of
from watchword_admin.models import Client, ClientSecret
from watchword_database import Session, bus
from watchword_database.ids import new_id
from watchword_events.contracts import ClientDeleted, ClientDisabled, ClientEnabled, ClientRegistered, ClientUpdated
from watchword_events.revocations import Claim, RevocationKind
from watchword_runtime.feed import Feed

CONSOLE: Final = "watchword-console"
# How long an entry of the ledger can matter, with a margin for clocks and sessions.
TOKEN_LIFE: Final = timedelta(seconds=LONGEST_ACCESS_TOKEN_S) + timedelta(hours=1)
GRANT_LIFE: Final = timedelta(seconds=LONGEST_GRANT_S) + timedelta(days=35)


class ShortNameTaken(Exception):
    """Another client has this short name."""


class BuiltIn(Exception):
    """The console's own client is not for administrators to change."""


class PublicClient(Exception):
    """The client authenticates with nothing: a secret would be of no use."""


class LastSecret(Exception):
    """Without this secret the client could not authenticate any more."""


def generate_secret() -> tuple[str, str]:
    """A fresh secret of 256 random bits, and what is stored of it."""
    secret = random.token_urlsafe(32)
    return secret, f"sha256:{hashlib.sha256(secret.encode()).hexdigest()}"


async def register_client(
    session: Session,
    document: ClientDocument,
    *,
    secret_hash: str | None,
    enabled: bool = True,
    client_id: str | None = None,
    feed: Feed | None = None,
    now: datetime,
) -> tuple[Client, list[int]]:
    """The client may be used from now on; and the ledger entries to settle when it is registered disabled.

    secret_hash: of the secret, generated or chosen; None for a public client.  client_id: of a built-in client.
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
    secret_hash: str | None = None,
    feed: Feed,
    now: datetime,
) -> tuple[list[int], str | None]:
    """The ledger entries to settle, and the secret that was generated because the client needs one now.

    client: locked.  secret_hash: of a chosen secret, which replaces the others. Nothing happens when nothing differs.
    Raises ShortNameTaken, BuiltIn. Appends ClientUpdated, and ClientDisabled or ClientEnabled.
    """
    refuse_built_in(client.id)
    live = (await store.secrets_of(session, [client.id]))[client.id]
    generated: str | None = None
    if not document.is_public and secret_hash is None and not live:
        generated, secret_hash = generate_secret()
    if document != document_of(client) or secret_hash is not None:
        client.client_name, client.short_name = document.client_name, document.short_name
        client.document = document.model_dump(mode="json")
        await rise(session, client, now=now)
        if document.is_public:
            await store.drop_secrets(session, client.id)
        elif secret_hash is not None:
            await store.put_secret(session, _secret(client.id, secret_hash, now))
        session.emit(ClientUpdated(id=client.id, version=client.version))
    if enabled is None or enabled == client.enabled:
        return [], generated
    return [await _set_enabled(session, client, enabled=enabled, feed=feed, now=now)], generated


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
    client.deleted_at = now
    await rise(session, client, now=now)
    session.emit(ClientDeleted(id=client_id, version=client.version))
    return [await _revoke(session, client_id, RevocationKind.STATE, feed=feed, reason="client.deleted", now=now)]


async def add_secret(
    session: Session, client: Client, secret_hash: str, *, keep_newest: bool, now: datetime
) -> ClientSecret:
    """The client's new secret. keep_newest: the newest of the others stays good, so that there is no gap.

    client: locked. Raises BuiltIn, PublicClient. Appends ClientUpdated.
    """
    refuse_built_in(client.id)
    if document_of(client).is_public:
        raise PublicClient(client.id)
    live = (await store.secrets_of(session, [client.id]))[client.id]
    secret = _secret(client.id, secret_hash, now)
    await store.put_secret(session, secret, keep=[each.id for each in live[-1:]] if keep_newest else [])
    await rise(session, client, now=now)
    session.emit(ClientUpdated(id=client.id, version=client.version))
    return secret


async def remove_secret(session: Session, client: Client, secret_id: str, *, now: datetime) -> bool:
    """True when the secret no longer works; False when there is none with this id.

    client: locked. Raises LastSecret, BuiltIn. Appends ClientUpdated.
    """
    refuse_built_in(client.id)
    live = (await store.secrets_of(session, [client.id]))[client.id]
    if [each.id for each in live] == [secret_id]:
        raise LastSecret(secret_id)
    if not await store.claim_removed_secret(session, client.id, secret_id):
        return False
    await rise(session, client, now=now)
    session.emit(ClientUpdated(id=client.id, version=client.version))
    return True


def refuse_built_in(client_id: str) -> None:
    """Raises BuiltIn for the console's own client."""
    if client_id == CONSOLE:
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
