"""Client-ID metadata documents: a client whose id is the URL at which it describes itself.

A document is read when somebody signs in to it and it is not known, or not known any more. Nobody is waited for long,
nothing is reached that the outbound guard forbids, and only hosts that the operator named are asked at all.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlsplit

import httpx2
import structlog

from watchword_admin import clients, store
from watchword_admin.client_documents import ClientDocument
from watchword_admin.registration.metadata import read_metadata
from watchword_admin.registration.store import count_not_vouched_for
from watchword_admin.registration.terms import SELF_GRANTS, Terms
from watchword_admin.registration.usual import usual_terms
from watchword_admin.settings import AdminSettings
from watchword_admin.uris import InvalidUri, Network, check_document_url, matches_host
from watchword_database import Database, transaction
from watchword_runtime import outbound
from watchword_runtime.clock import Clock
from watchword_runtime.feed import Feed
from watchword_runtime.receipts import Endings
from watchword_web.errors import OAuthError
from watchword_web.limits import Limiter

log = structlog.get_logger()

MAX_URL: Final = 128  # the longest id that an event and the ledger carry
MAX_BYTES: Final = 16 * 1024
SHORTEST: Final = timedelta(minutes=5)
USUAL: Final = timedelta(hours=1)
LONGEST: Final = timedelta(days=1)
_TOGETHER_S: Final = 4.0  # the pull that waits for it gives up after 5
_PAUSE_S: Final = 5.0  # after a failure; not a cache of it, but so that one request asks once
_AT_ONCE: Final = 16
_REMEMBERED: Final = 1000
_SECRETS: Final = ("client_secret", "client_secret_expires_at")
_METHODS: Final = ("none", "private_key_jwt")  # what needs no secret that both sides know


class Unusable(Exception):
    """The document does not describe a client that may be used here; the text is for the log."""


class Documents:
    """Reads documents into clients."""

    def __init__(
        self,
        settings: AdminSettings,
        database: Database,
        feed: Feed,
        http: httpx2.AsyncClient,
        endings: Endings,
        *,
        now: Clock,
    ) -> None:
        """http: guarded (`outbound.client`); it is closed with `close`."""
        self._settings = settings
        self._database = database
        self._feed = feed
        self._http = http
        self._endings = endings
        self._now = now
        self._hosts = Limiter(1, 60)  # by host: nobody has us ask another at will
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._failed: OrderedDict[str, float] = OrderedDict()

    async def close(self) -> None:
        """Every connection is closed."""
        await self._http.aclose()

    async def read(self, ids: Iterable[str]) -> None:
        """Of these clients, those that are documents and not known, or over, have been read if they could be."""
        urls = [each for each in ids if each.startswith("https://") and self._may_be_read(each)]
        for url in urls:
            await self._renew(url)

    def _may_be_read(self, url: str) -> bool:
        """Whether a client of this installation may be described there."""
        try:
            host = urlsplit(check_document_url(url)).hostname or ""
        except InvalidUri:
            return False
        return len(url) <= MAX_URL and matches_host(host, self._settings.client_document_hosts)

    async def _renew(self, url: str) -> None:
        async with transaction(self._database) as session:
            client = await store.find_client(session, url)
        if client is not None and (not client.enabled or client.expires_at is None or client.expires_at > self._now()):
            return
        if not self._may_ask(url):
            return
        try:
            async with self._slots, asyncio.timeout(_TOGETHER_S):
                document, good_for = await self._fetch(url)
            await self._keep(url, document, self._now() + good_for)
        except (httpx2.HTTPError, TimeoutError, Unusable) as error:
            self._failed[url] = time.monotonic()
            while len(self._failed) > _REMEMBERED:
                self._failed.popitem(last=False)
            log.warning("client_document.not_read", url=url, error=type(error).__name__, reason=str(error)[:200])

    def _may_ask(self, url: str) -> bool:
        failed_at = self._failed.pop(url, None)
        if failed_at is not None and time.monotonic() - failed_at < _PAUSE_S:
            self._failed[url] = failed_at
            return False
        return not self._hosts.wait_s(urlsplit(url).netloc, self._now())

    async def _fetch(self, url: str) -> tuple[ClientDocument, timedelta]:
        """The client as its document describes it, and for how long. Raises Unusable, httpx2.HTTPError."""
        response = await outbound.fetch(self._http, url)
        if len(response.content) > MAX_BYTES:
            raise Unusable(f"longer than {MAX_BYTES} bytes")
        settings = self._settings
        async with transaction(self._database) as session:
            terms = await usual_terms(session, settings)
        document = read_document(
            url,
            outbound.json_object(response),
            terms,
            allowed=tuple(settings.outbound_allow),
            demo=settings.environment == "demo",
        )
        return document, good_for(response.headers)

    async def _keep(self, url: str, document: ClientDocument, expires_at: datetime) -> None:
        now = self._now()
        try:
            async with transaction(self._database) as session:
                known = await store.find_client(session, url)
                if known is None and await count_not_vouched_for(session) >= self._settings.registration_limit:
                    raise Unusable("there are too many clients that nobody vouches for")
                entries = await clients.keep_document(
                    session, url, document, expires_at=expires_at, feed=self._feed, now=now
                )
        except clients.ShortNameTaken:
            return  # another instance was faster
        await self._endings.here().finish(entries)
        log.info("client_document.read", url=url, until=expires_at.isoformat())


def read_document(
    url: str,
    found: Mapping[str, object],
    terms: Terms,
    *,
    allowed: tuple[Network, ...] = (),
    demo: bool = False,
) -> ClientDocument:
    """The client that a document describes. Raises Unusable.

    Spec: draft-ietf-oauth-client-id-metadata-document 4.1.
    """
    if found.get("client_id") != url:  # simple string comparison (RFC 3986 6.2.1)
        raise Unusable("client_id is not the document's URL")
    if any(name in found for name in _SECRETS):
        raise Unusable("a document that anybody can read holds no secret")
    asked = {name: value for name, value in found.items() if name != "client_id"}
    asked.setdefault("token_endpoint_auth_method", "none")
    if asked["token_endpoint_auth_method"] not in _METHODS:
        raise Unusable("token_endpoint_auth_method can only be none or private_key_jwt")
    grants = asked.get("grant_types")
    if isinstance(grants, list):  # it is written for every server; here counts what is given here
        asked["grant_types"] = [grant for grant in grants if grant in SELF_GRANTS and grant in terms.grant_types]
    try:
        return read_metadata(asked, terms, allowed=allowed, demo=demo)
    except OAuthError as error:
        raise Unusable(f"{error.error}: {error.description}") from None


def good_for(headers: Mapping[str, str]) -> timedelta:
    """How long an answer counts, by its Cache-Control within our bounds. Spec: RFC 9111 5.2.2."""
    directives = [each.strip().lower() for each in headers.get("cache-control", "").split(",")]
    if {"no-store", "no-cache"} & set(directives):
        return SHORTEST
    for directive in directives:
        name, _, seconds = directive.partition("=")
        if name == "max-age" and seconds.isdecimal() and len(seconds) < 10:
            return min(max(timedelta(seconds=int(seconds)), SHORTEST), LONGEST)
    return USUAL
