"""Identity providers: the changes that administrators make, each with its events and its ledger entry."""

from datetime import datetime, timedelta
from typing import Final

from watchword_admin import store
from watchword_admin.clients import GRANT_LIFE, TOKEN_LIFE
from watchword_admin.models import Provider
from watchword_admin.provider_documents import ProviderDocument
from watchword_admin.provider_kinds import document_of
from watchword_database import Session, bus
from watchword_events.contracts import ProviderConfigured, ProviderDisabled, ProviderRemoved, ProviderUpdated
from watchword_events.handovers import InvitePeople
from watchword_events.revocations import Claim, RevocationKind
from watchword_runtime.feed import Feed

_INVITE_WITHIN: Final = timedelta(days=3)  # however long authz is away


class ProviderExists(Exception):
    """The id is in use."""


class StillOpen(Exception):
    """Nobody loses their way in while the provider is enabled."""


async def configure_provider(
    session: Session,
    provider_id: str,
    document: ProviderDocument,
    *,
    client_secret: bytes | None,
    exchange_secret: bytes | None,
    enabled: bool,
    feed: Feed,
    now: datetime,
) -> tuple[Provider, list[int]]:
    """The provider exists; an id that was removed may be used again, and is trusted again then.

    client_secret, exchange_secret: sealed. Raises ProviderExists. Appends ProviderConfigured. Returns the ledger
    entries to settle.
    """
    provider = Provider(
        id=provider_id,
        version=1,
        display_name=document.display_name,
        order=document.order,
        enabled=enabled,
        document=document.stored(),
        client_secret=client_secret,
        exchange_secret=exchange_secret,
        created_at=now,
        updated_at=now,
    )
    entries: list[int] = []
    if not await store.claim_new_provider(session, provider):
        old = await store.find_removed_provider_for_change(session, provider_id)
        if old is None:
            raise ProviderExists(provider_id)
        old.deleted_at, old.enabled, old.created_at = None, enabled, now
        old.client_secret, old.exchange_secret = client_secret, exchange_secret
        _write(old, document)
        entries = await _trust(session, old, feed=feed, now=now)
        await _rise(session, old, now=now)
        provider = old
    session.emit(ProviderConfigured(id=provider_id, version=provider.version))
    return provider, entries


async def change_provider(
    session: Session,
    provider: Provider,
    document: ProviderDocument,
    *,
    client_secret: bytes | None,
    exchange_secret: bytes | None,
    enabled: bool | None,
    end_sessions: bool = False,
    invite: bool = False,
    feed: Feed,
    now: datetime,
) -> list[int]:
    """The ledger entries to settle. provider: locked.  client_secret, exchange_secret: sealed, None for none.

    end_sessions: with `enabled=False`, everything that came through the provider ends and stays refused until it is
    enabled again.  invite: whoever has no other way in is sent a link. Raises StillOpen when that is asked for and
    the provider is enabled. Nothing else happens when nothing differs. Appends ProviderUpdated or ProviderDisabled.
    """
    switched = enabled is not None and enabled != provider.enabled
    secrets = (client_secret, exchange_secret)
    changed = document != document_of(provider) or secrets != (provider.client_secret, provider.exchange_secret)
    now_enabled = provider.enabled if enabled is None else enabled
    entries: list[int] = []
    if invite and now_enabled:
        raise StillOpen(provider.id)
    if end_sessions and not now_enabled:
        entries = await _distrust(session, provider, feed=feed, reason="provider.disabled", now=now)
    elif switched and now_enabled:
        entries = await _trust(session, provider, feed=feed, now=now)
    if changed or switched or entries:
        provider.enabled, provider.client_secret, provider.exchange_secret = now_enabled, *secrets
        _write(provider, document)
        await _rise(session, provider, now=now)
        event = ProviderDisabled if switched and not now_enabled else ProviderUpdated
        session.emit(event(id=provider.id, version=provider.version))
    if invite:
        await _invite(session, provider, now=now)
    return entries


async def remove_provider(
    session: Session, provider_id: str, *, end_sessions: bool, invite: bool = False, feed: Feed, now: datetime
) -> list[int]:
    """The provider is gone, a tombstone stays; the ledger entries to settle. Doing it again changes nothing.

    end_sessions: everything that came through it is refused from now on.  invite: as above. Raises Unknown. Appends
    ProviderRemoved.
    """
    try:
        provider = await store.get_provider_for_change(session, provider_id)
    except store.Unknown:
        if await store.find_removed_provider_for_change(session, provider_id) is not None:
            return []
        raise
    entries: list[int] = []
    if end_sessions:
        entries = await _distrust(session, provider, feed=feed, reason="provider.removed", now=now)
    provider.display_name, provider.document = "", {}
    provider.client_secret = provider.exchange_secret = None
    provider.enabled, provider.deleted_at = False, now
    await _rise(session, provider, now=now)
    session.emit(ProviderRemoved(id=provider_id, version=provider.version))
    if invite:
        await _invite(session, provider, now=now)
    return entries


def _write(provider: Provider, document: ProviderDocument) -> None:
    provider.display_name, provider.order = document.display_name, document.order
    provider.document = document.stored()


async def _rise(session: Session, provider: Provider, *, now: datetime) -> None:
    provider.version += 1
    provider.updated_at = now
    await session.flush()


async def _invite(session: Session, provider: Provider, *, now: datetime) -> None:
    invited = InvitePeople(provider_id=provider.id, version=provider.version)
    await bus.hand_over(session, invited, flow=InvitePeople.FLOW, now=now, ttl=_INVITE_WITHIN)


async def _distrust(session: Session, provider: Provider, *, feed: Feed, reason: str, now: datetime) -> list[int]:
    if provider.distrusted:
        return []
    provider.distrusted = True
    return [await _revoke(session, provider.id, RevocationKind.STATE, feed=feed, reason=reason, now=now)]


async def _trust(session: Session, provider: Provider, *, feed: Feed, now: datetime) -> list[int]:
    if not provider.distrusted:
        return []
    provider.distrusted = False
    reason = "provider.trusted"
    return [await _revoke(session, provider.id, RevocationKind.LIFT, feed=feed, reason=reason, now=now)]


async def _revoke(
    session: Session, provider_id: str, kind: RevocationKind, *, feed: Feed, reason: str, now: datetime
) -> int:
    entry = await bus.revoke(
        session,
        claim=Claim.IDP,
        value=provider_id,
        kind=kind,
        reason=reason,
        until=now + TOKEN_LIFE,
        keep_until=now + GRANT_LIFE,
    )
    feed.pend(entry, Claim.IDP, provider_id)
    return entry
