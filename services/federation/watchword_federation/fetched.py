"""Documents of upstream providers: fetched through the guard, kept in PostgreSQL for every instance."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from httpx2 import AsyncClient, HTTPError
from pydantic import JsonValue

from watchword_database import Database, transaction
from watchword_events.exports import ProviderExport
from watchword_federation import store
from watchword_federation.failures import Failure, SignInFailed
from watchword_federation.metadata import UnusableMetadata
from watchword_federation.store import DocumentKind
from watchword_runtime.clock import Clock
from watchword_runtime.documents import UnusableDocument, check_document
from watchword_runtime.outbound import BadAnswer, Blocked, fetch_json
from watchword_runtime.public_keys import UnusableKeys

TRY_AGAIN_AFTER: Final = timedelta(seconds=3)
_OWN: Final = (Blocked, BadAnswer, UnusableDocument, UnusableKeys, UnusableMetadata)


@dataclass(frozen=True, slots=True)
class _Failed:
    url: str
    at: datetime
    reason: str


class Fetched:
    """What providers publish, one document per provider and kind. Never shared between providers.

    An instance asks a provider for one document at a time and uses what another instance fetched, so that a storm of
    sign-ins is one request.
    """

    def __init__(self, database: Database, now: Clock) -> None:
        self._database = database
        self.now = now
        self._asking: dict[tuple[str, DocumentKind], asyncio.Lock] = {}
        self._failed: dict[tuple[str, DocumentKind], _Failed] = {}

    async def get(
        self,
        provider: ProviderExport,
        kind: DocumentKind,
        url: str,
        *,
        max_age: timedelta,
        check: Callable[[dict[str, JsonValue]], object],
        client: AsyncClient,
    ) -> dict[str, JsonValue]:
        """The document at `url`, fetched at most `max_age` ago.

        client: guarded, as `connectors.ways` has it for the provider.
        check: raises ValueError for a document that may not be used; such a one is not kept.
        Raises SignInFailed(provider_unreachable) when it cannot be had.
        """

        provider_id, unverified = provider.id, provider.insecure_skip_verify

        async def find(now: datetime) -> dict[str, JsonValue] | None:
            return await store.find_document(
                self._database, provider_id, kind, url, fresh_since=now - max_age, unverified=unverified
            )

        # Whoever finds what is fresh enough does not wait for those who ask for something fresher.
        if (known := await find(self.now())) is not None:
            return known
        async with self._asking.setdefault((provider_id, kind), asyncio.Lock()):
            asked_at = self.now()
            if (known := await find(asked_at)) is not None:
                return known
            # Whoever waited while the provider did not answer learns the same, instead of waiting as long again.
            failed = self._failed.get((provider_id, kind))
            if failed is not None and failed.url == url and asked_at - failed.at < TRY_AGAIN_AFTER:
                raise SignInFailed(Failure.PROVIDER_UNREACHABLE, failed.reason)
            try:
                document = await self._fetch(client, url, check)
            except SignInFailed as error:
                self._failed[provider_id, kind] = _Failed(url, self.now(), error.reason)
                raise
            async with transaction(self._database) as session:
                await store.put_document(
                    session, provider_id, kind, url, document, fetched_at=asked_at, unverified=unverified
                )
            return document

    async def _fetch(
        self, client: AsyncClient, url: str, check: Callable[[dict[str, JsonValue]], object]
    ) -> dict[str, JsonValue]:
        try:
            document = await fetch_json(client, url)
            check_document(document)
            check(document)
        except (HTTPError, TimeoutError, ValueError) as error:
            raise SignInFailed(Failure.PROVIDER_UNREACHABLE, f"document: {reason_of(error)}") from error
        return document

    def forget(self, provider_id: str) -> None:
        """Nothing of this provider stays in memory."""
        for kind in DocumentKind:
            self._asking.pop((provider_id, kind), None)
            self._failed.pop((provider_id, kind), None)


def reason_of(error: Exception) -> str:
    """Why a request to a provider failed, as it may stand in a log: our own words, or only the kind of error."""
    return str(error) if isinstance(error, _OWN) else type(error).__name__
