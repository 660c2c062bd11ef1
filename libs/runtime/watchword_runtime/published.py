"""What others publish at their URLs (key sets, discovery documents): fetched through the guard and kept in memory.

A storm of requests is one fetch, a document that does not have what is looked for is asked for again once a minute at
most, and what was withdrawn is not used for longer than MAX_AGE, or LONGEST while its server does not answer.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Generic, TypeVar
from urllib.parse import urlsplit

import structlog
from httpx2 import AsyncClient, HTTPError
from pydantic import JsonValue

from watchword_runtime.clock import Clock
from watchword_runtime.documents import UnusableDocument, check_document
from watchword_runtime.outbound import BadAnswer, Blocked, fetch_json, is_unknown_authority
from watchword_runtime.public_keys import UnusableKeys

log = structlog.get_logger()

T = TypeVar("T")

MAX_AGE: Final = timedelta(minutes=10)
LONGEST: Final = timedelta(hours=1)
AGAIN_AFTER: Final = timedelta(minutes=1)
_TRY_AGAIN_AFTER: Final = timedelta(seconds=3)  # whoever asks meanwhile learns the same, instead of waiting as long
_KEPT: Final = 10_000
_NEVER: Final = datetime.min.replace(tzinfo=UTC)
# Errors whose text is our own.
_OWN: Final = (Blocked, BadAnswer, UnusableDocument, UnusableKeys)


class NotPublished(Exception):
    """The document cannot be had or not be used. The message holds no word of the other side's.

    unknown_authority: nobody that we trust vouches for the server's certificate.
    """

    def __init__(self, reason: str, *, unknown_authority: bool = False) -> None:
        super().__init__(reason)
        self.unknown_authority = unknown_authority


@dataclass(slots=True)
class _Entry(Generic[T]):
    """failure: of the last attempt, None when it succeeded."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    value: T | None = None
    fetched_at: datetime = _NEVER
    failure: NotPublished | None = None
    failed_at: datetime = _NEVER


class Published(Generic[T]):
    """Documents of one kind, by URL."""

    def __init__(self, make: Callable[[Mapping[str, JsonValue]], T], now: Clock) -> None:
        """make: the value of a document. Raises ValueError when it cannot be used."""
        self._make = make
        self._now = now
        self._entries: OrderedDict[tuple[str, str], _Entry[T]] = OrderedDict()

    async def get(self, url: str, client: AsyncClient, *, trust: str = "") -> T:
        """The value of the document at a URL. Raises NotPublished.

        client: of watchword_runtime.outbound.  trust: tells clients that trust other authorities apart.
        """
        entry = self._entry(url, trust)
        async with entry.lock:
            if entry.value is not None and self._now() - entry.fetched_at < MAX_AGE:
                return entry.value
            return await self._fetch(entry, url, client)

    async def renewed(self, url: str, client: AsyncClient, *, trust: str = "") -> T | None:
        """The value as it is published now; None when that was asked less than a minute ago. Raises NotPublished."""
        entry = self._entry(url, trust)
        async with entry.lock:
            if self._now() - entry.fetched_at < AGAIN_AFTER:
                return None
            return await self._fetch(entry, url, client)

    def _entry(self, url: str, trust: str) -> _Entry[T]:
        entry = self._entries.setdefault((url, trust), _Entry())
        self._entries.move_to_end((url, trust))
        if len(self._entries) > _KEPT:
            self._entries.popitem(last=False)
        return entry

    async def _fetch(self, entry: _Entry[T], url: str, client: AsyncClient) -> T:
        """The value as it is now; while nobody answers, the one that was known."""
        now = self._now()
        if entry.failure is None or now - entry.failed_at >= _TRY_AGAIN_AFTER:
            entry.failure = await self._try(entry, url, client, now)
        if entry.failure is None and entry.value is not None:
            return entry.value
        if entry.value is not None and now - entry.fetched_at < LONGEST:
            return entry.value
        raise entry.failure or NotPublished("nothing was fetched")

    async def _try(self, entry: _Entry[T], url: str, client: AsyncClient, now: datetime) -> NotPublished | None:
        try:
            document = await fetch_json(client, url)
            check_document(document)
            entry.value, entry.fetched_at = self._make(document), now
        except (HTTPError, TimeoutError, ValueError) as error:
            entry.failed_at = now
            reason = str(error) if isinstance(error, _OWN) else type(error).__name__
            failure = NotPublished(reason, unknown_authority=is_unknown_authority(error))
            log.warning("document.not_published", host=urlsplit(url).hostname, reason=reason)
            return failure
        return None
