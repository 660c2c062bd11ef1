"""Metadata of SAML providers: fetched through the outbound guard, kept in PostgreSQL, used while it is valid."""

import asyncio
import time
from datetime import datetime, timedelta
from typing import Final

import structlog
from httpx2 import HTTPError, InvalidURL, codes
from pydantic import TypeAdapter, ValidationError

from watchword_database import Database, transaction
from watchword_events.exports import ProviderExport
from watchword_federation import saml_store
from watchword_federation.connectors.saml_idp import Idp, idp_of, saml_of
from watchword_federation.connectors.ways import Ways
from watchword_federation.failures import Failure, SignInFailed
from watchword_federation.fetched import reason_of
from watchword_federation.models import SamlProvider
from watchword_runtime.clock import Clock
from watchword_runtime.outbound import BadAnswer
from watchword_runtime.saml_metadata import IdpMetadata, UnusableMetadata, read_metadata

REFRESH_EVERY: Final = timedelta(hours=6)
_REFRESH_AT_LEAST_EVERY: Final = timedelta(hours=24)
_REFRESH_AT_MOST_EVERY: Final = timedelta(hours=1)
# After a failure; and, for a signature that no known certificate verifies, since the last time.
AGAIN_AFTER: Final = timedelta(minutes=1)
_OTHERS_S: Final = 3.0
_LOOK_S: Final = 0.1
_METADATA: Final = TypeAdapter(IdpMetadata)

log = structlog.get_logger()


class Sources:
    """What is in force about each SAML provider."""

    def __init__(self, database: Database, ways: Ways, now: Clock) -> None:
        self._database = database
        self._ways = ways
        self._now = now
        self._asking: dict[str, asyncio.Lock] = {}

    async def idp(self, provider: ProviderExport) -> Idp:
        """The provider as it is in force now; its metadata is fetched if that never happened.

        Raises SignInFailed: provider_unreachable.
        """
        url = saml_of(provider).metadata_url
        if url is None:
            return _required(provider, None)
        known = await self._known(provider, url)
        if known is None and not await self.refresh(provider, unless_since=self._now() - AGAIN_AFTER):
            await self._until_another_fetched(provider)
        if known is None:
            known = await self._known(provider, url)
        metadata = metadata_in(known)
        if metadata is not None and metadata.valid_until is not None and metadata.valid_until <= self._now():
            # SAML Metadata 2.3.1: what is not valid any more is not used, whatever it says.
            raise SignInFailed(Failure.PROVIDER_UNREACHABLE, "its metadata is not valid any more")
        return _required(provider, metadata)

    async def idp_again(self, provider: ProviderExport) -> Idp | None:
        """The provider with its metadata fetched anew: for a signature that no known certificate verifies.

        None when that is not to be expected to change anything: no metadata, or fetched a minute ago.
        """
        url = saml_of(provider).metadata_url
        if url is None or not await self.refresh(provider, unless_since=self._now() - AGAIN_AFTER):
            return None
        return idp_of(provider, metadata_in(await self._known(provider, url)))

    async def refresh(self, provider: ProviderExport, *, unless_since: datetime) -> bool:
        """The metadata was fetched, and is kept if it can be used; else what was known before stays.

        unless_since: not when somebody tried after this time.  True when it was fetched and can be used.
        """
        url, unverified = saml_of(provider).metadata_url, provider.insecure_skip_verify
        if url is None:
            return False
        async with self._asking.setdefault(provider.id, asyncio.Lock()):
            now = self._now()
            async with transaction(self._database) as session:
                if not await saml_store.claim_fetch(
                    session, provider.id, url, unverified=unverified, unless_since=unless_since, now=now
                ):
                    return False
            try:
                found = await self._fetch(provider, url)
            except (HTTPError, TimeoutError, InvalidURL, UnusableMetadata) as error:
                reason = str(error) if isinstance(error, UnusableMetadata) else reason_of(error)
                log.warning("saml_metadata.not_refreshed", provider_id=provider.id, reason=reason)
                async with transaction(self._database) as session:
                    await saml_store.note_failure(session, provider.id, url, reason, now=now)
                return False
            async with transaction(self._database) as session:
                document = _METADATA.dump_python(found, mode="json")
                await saml_store.put_metadata(session, provider.id, url, document, unverified=unverified, now=now)
            log.info("saml_metadata.refreshed", provider_id=provider.id, certificates=len(found.certificates))
            return True

    async def _fetch(self, provider: ProviderExport, url: str) -> IdpMetadata:
        client = await self._ways.to(provider)
        response = await client.get(url, headers={"Accept": "application/samlmetadata+xml, text/xml, */*"})
        if response.status_code != codes.OK:
            raise BadAnswer(f"answered {response.status_code}")
        found = read_metadata(response.content, entity_id=provider.issuer)
        known = metadata_in(await self._known(provider, url))
        # Whoever can change a document must not thereby become another provider, whose people are others.
        if known is not None and known.entity_id != found.entity_id:
            raise UnusableMetadata("it names another entity than before")
        if found.valid_until is not None and found.valid_until <= self._now():
            raise UnusableMetadata("it is not valid any more")
        return found

    async def _until_another_fetched(self, provider: ProviderExport) -> None:
        """Returns when an instance that was faster is done, or has had its time."""
        deadline = time.monotonic() + _OTHERS_S
        while time.monotonic() < deadline:
            found = await self.known(provider)
            if found is None or found.document is not None or found.failed_since is not None:
                return
            await asyncio.sleep(_LOOK_S)

    async def known(self, provider: ProviderExport) -> SamlProvider | None:
        """What is kept about a provider, unless nobody vouched for it and somebody has to by now."""
        async with transaction(self._database) as session:
            found = await saml_store.find_provider(session, provider.id)
        return None if found is not None and found.unverified and not provider.insecure_skip_verify else found

    async def _known(self, provider: ProviderExport, url: str) -> SamlProvider | None:
        """What was fetched from this very URL, unless the settings name another entity by now."""
        found = await self.known(provider)
        metadata = metadata_in(found)
        if found is None or found.url != url or metadata is None:
            return None
        return found if provider.issuer in {"", metadata.entity_id} else None

    def forget(self, provider_id: str) -> None:
        """Nothing of this provider stays in memory."""
        self._asking.pop(provider_id, None)


def metadata_in(row: SamlProvider | None) -> IdpMetadata | None:
    """The metadata that a row holds."""
    if row is None or row.document is None:
        return None
    try:
        return _METADATA.validate_python(row.document)
    except ValidationError:
        return None  # of another release: as if it had not been fetched


def is_due(row: SamlProvider | None, now: datetime) -> bool:
    """Whether metadata is to be fetched again."""
    metadata = metadata_in(row)
    if row is None or row.fetched_at is None or metadata is None or row.failed_since is not None:
        return True
    if metadata.valid_until is not None and metadata.valid_until <= now + _REFRESH_AT_MOST_EVERY:
        return True  # what is not valid any more is of no use, however fresh
    wanted = metadata.cache_for or REFRESH_EVERY
    return row.fetched_at + min(max(wanted, _REFRESH_AT_MOST_EVERY), _REFRESH_AT_LEAST_EVERY) <= now


def _required(provider: ProviderExport, metadata: IdpMetadata | None) -> Idp:
    found = idp_of(provider, metadata)
    if found is None:
        raise SignInFailed(Failure.PROVIDER_UNREACHABLE, "its metadata could not be fetched, and the settings lack it")
    return found
