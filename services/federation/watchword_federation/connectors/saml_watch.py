"""Metadata of SAML providers is read again in time, and what needs an administrator is said before people notice.

Every instance looks once a minute; one statement decides which of them fetches, or says something. An alarm is a line
in the log (`saml.<what>`), once a day for each provider; the API shows the same at any time.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

import structlog

from watchword_database import Database, transaction
from watchword_events.exports import ProviderExport
from watchword_federation import saml_store, store
from watchword_federation.connectors.saml_idp import EXPIRES_SOON, Trouble, certificate_troubles, idp_of, saml_of
from watchword_federation.connectors.saml_keys import KeyStore, SpKeys
from watchword_federation.connectors.saml_sources import Sources, is_due, metadata_in
from watchword_federation.models import SamlProvider
from watchword_runtime.clock import Clock
from watchword_runtime.rounds import Rounds

EVERY_S: Final = 60.0
AGAIN_AFTER_FAILURE: Final = timedelta(minutes=5)
ALARM_EVERY: Final = timedelta(hours=24)
# A fetch that fails now and then is nobody's business; metadata that cannot be had for this long is.
PATIENCE: Final = timedelta(hours=1)
_OURS: Final = ""  # the row of what concerns our own keys

log = structlog.get_logger()


class Watch(Rounds):
    """Looks after the SAML providers in the background of one instance."""

    def __init__(self, database: Database, sources: Sources, keys: KeyStore, now: Clock) -> None:
        super().__init__(every_s=EVERY_S, failure="saml_watch.waits")
        self._database = database
        self._sources = sources
        self._keys = keys
        self._now = now

    async def once(self) -> None:
        """Metadata that is due was fetched; what is wrong was said, unless it was within a day."""
        async with transaction(self._database) as session:
            providers = await store.list_providers(session, kind="saml")
        for provider in providers:
            if provider.enabled:
                await self._refresh(provider)
                known = await self._sources.known(provider)
                await self._alarm(provider.id, list(troubles_of(provider, known, self._now())))
        if providers:
            await self._alarm(_OURS, list(key_troubles(await self._keys.keys(), self._now())))

    async def _refresh(self, provider: ProviderExport) -> None:
        now = self._now()
        if saml_of(provider).metadata_url is None or not is_due(await self._sources.known(provider), now):
            return
        await self._sources.refresh(provider, unless_since=now - AGAIN_AFTER_FAILURE)

    async def _alarm(self, provider_id: str, troubles: list[Trouble]) -> None:
        if not troubles:
            return
        now = self._now()
        async with transaction(self._database) as session:
            if not await saml_store.claim_alarm(session, provider_id, unless_since=now - ALARM_EVERY, now=now):
                return
        for trouble in troubles:
            say = log.error if trouble.is_urgent else log.warning
            say(f"saml.{trouble.code}", provider_id=provider_id or None, detail=trouble.detail)


def troubles_of(provider: ProviderExport, known: SamlProvider | None, now: datetime) -> Iterator[Trouble]:
    """What an administrator has to do something about, for the sake of one provider."""
    metadata = metadata_in(known)
    if saml_of(provider).metadata_url is not None:
        if known is not None and known.failed_since is not None:
            lasts = now - known.failed_since
            if metadata is None or lasts >= PATIENCE:
                detail = f"{known.failure}, since {known.failed_since:%Y-%m-%d %H:%M} UTC"
                yield Trouble("metadata_not_refreshed", detail, is_urgent=metadata is None)
        if metadata is not None and metadata.valid_until is not None and metadata.valid_until <= now + PATIENCE:
            yield Trouble("metadata_expires", f"valid until {metadata.valid_until:%Y-%m-%d %H:%M} UTC", is_urgent=True)
    idp = idp_of(provider, metadata)
    if idp is not None:
        yield from certificate_troubles(idp, now)


def key_troubles(keys: SpKeys, now: datetime) -> Iterator[Trouble]:
    """What an administrator has to do about our own keys."""
    certificate = keys.active.certificate
    if certificate.has_expired(now + EXPIRES_SOON):
        detail = f"our own, until {certificate.not_after:%Y-%m-%d}: add a next key, let providers read it, activate it"
        yield Trouble("key_expires", detail, is_urgent=certificate.has_expired(now))
