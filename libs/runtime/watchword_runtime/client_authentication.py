"""Client authentication, the same at every endpoint of every service that clients call.

A service keeps clients in the form that suits it (`C`) and says where they are found and what proves them.
"""

import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

import structlog

from watchword_events.revocations import Claim
from watchword_runtime.certificates import Authorities, is_registered
from watchword_runtime.client_assertions import Assertions, NotProved
from watchword_runtime.client_credentials import Credentials
from watchword_runtime.client_keys import ClientKeys
from watchword_runtime.client_proofs import Proofs
from watchword_runtime.clock import Clock
from watchword_runtime.connections import Connection, Proxies
from watchword_runtime.feed import Feed
from watchword_runtime.internal import Unreachable
from watchword_runtime.keyring import Sealer
from watchword_runtime.passwords import Busy, Passwords
from watchword_runtime.published import NotPublished
from watchword_runtime.settings import Network, ServiceSettings
from watchword_runtime.spending import Spend
from watchword_web.errors import OAuthError, invalid_client

log = structlog.get_logger()

MAX_SECRET_BYTES: Final = 1024
_REMEMBERED_SECRETS: Final = 10_000
_NO_DIGEST: Final = bytes(32)


class Named(Protocol):
    """What every form of a client says."""

    @property
    def client_id(self) -> str:
        """Its id."""

    @property
    def enabled(self) -> bool:
        """Whether it may do anything."""


C = TypeVar("C", bound=Named)
Found_co = TypeVar("Found_co", bound=Named, covariant=True)


class KnownClients(Protocol[Found_co]):
    """Where a service finds its clients."""

    def find(self, client_id: str, /) -> Found_co | None:
        """The client in memory, without waiting; None says nothing about whether it exists."""

    async def get(self, client_id: str, /) -> Found_co | None:
        """The client, from the copy or its owner; None when there is none."""

    async def renew(self, client_id: str, /) -> Found_co | None:
        """The client as its owner has it now; None when it was asked for just now. Raises internal.Unreachable."""


class Means(NamedTuple):
    """What is looked at beside secrets. authorities: None where nobody vouches for certificates."""

    feed: Feed
    proxies: Proxies
    assertions: Assertions
    client_keys: ClientKeys
    authorities: Authorities | None
    now: Clock


def means_of(settings: ServiceSettings, *, feed: Feed, client_keys: ClientKeys, spend: Spend, now: Clock) -> Means:
    """What a service with these settings checks with. spend: notes what was used, for all services."""
    opener = Sealer(settings.keyring.key("client-secrets"), 0)
    return Means(
        feed=feed,
        proxies=Proxies(settings),
        assertions=Assertions(settings.issuer, client_keys, opener, spend, now),
        client_keys=client_keys,
        authorities=None if settings.client_ca_file is None else Authorities(settings.client_ca_file),
        now=now,
    )


class ClientAuthentication(Generic[C]):
    """Who calls the endpoints of a service."""

    def __init__(
        self, known: KnownClients[C], proofs: Callable[[C], Proofs], passwords: Passwords, means: Means
    ) -> None:
        self._known = known
        self._proofs = proofs
        self._passwords = passwords
        self._means = means
        self._verified: OrderedDict[bytes, None] = OrderedDict()
        self._process_key = secrets.token_bytes(32)

    async def authenticate(self, credentials: Credentials, connection: Connection) -> C:
        """The enabled client that the credentials prove (a public one proves nothing, and is only named).

        Raises OAuthError invalid_client, the same for everything that is wrong; 503 when too many chosen secrets wait,
        and FeedAway. A client whose settings changed a moment ago is asked of its owner before it is refused.
        connection: where the request came from, which some clients are bound to.
        Spec: RFC 6749 2.3, 5.2; RFC 7009 2.1; RFC 7662 2.1; RFC 8705 2.
        """
        client = self._known.find(credentials.client_id) or await self._known.get(credentials.client_id)
        if client is not None and await self._is_proved(client, credentials, connection):
            return client
        if client is not None:
            client = await self.renewed(client)
            if client is not None and await self._is_proved(client, credentials, connection):
                return client
        else:
            hmac.compare_digest(hashlib.sha256(credentials.secret.encode()).digest(), _NO_DIGEST)
        raise invalid_client("unknown, disabled, wrong secret or wrong method")

    async def named(self, client_id: str | None) -> C:
        """An enabled client that is only named, by somebody who proves something else. Raises OAuthError, FeedAway."""
        if client_id is None:
            raise invalid_client("no client_id")
        client = self._known.find(client_id) or await self._known.get(client_id)
        if client is not None and not self._is_open(client):
            client = await self.renewed(client)
        if client is None or not self._is_open(client):
            raise invalid_client("unknown or disabled")
        return client

    async def renewed(self, client: C) -> C | None:
        """The client as `admin` has it now, None when nothing newer can be had at the moment."""
        try:
            return await self._known.renew(client.client_id)
        except Unreachable:
            return None

    async def current(self, client: C) -> C:
        """The client that was authenticated, as it is known now. Raises OAuthError when it may nothing any more."""
        found = await self._known.get(client.client_id)
        if found is None or not self._is_open(found):
            raise invalid_client("disabled meanwhile")
        return found

    def _is_open(self, client: C) -> bool:
        """Whether it may do anything: the ledger refuses a disabled or deleted client where our copy is older, too."""
        return client.enabled and not self._means.feed.is_ended(Claim.CLIENT_ID, client.client_id)

    async def _is_proved(self, client: C, credentials: Credentials, connection: Connection) -> bool:
        proofs = self._proofs(client)
        # One method per client: a secret that leaked by one way is not good for another, and a confidential client
        # cannot be named without its secret.
        if proofs.way != credentials.way or not self._is_open(client):
            return False
        if proofs.networks and not self._lies_within(proofs.networks, connection):
            log.info("client.elsewhere", client_id=client.client_id)
            return False
        match proofs.way:
            case "client_secret_basic" | "client_secret_post":
                digest = _digest_of(credentials.secret)
                return _fits_generated(proofs, digest) or await self._fits_any_chosen(
                    proofs, digest, credentials.secret
                )
            case "client_assertion":
                return await self._is_signed(client.client_id, proofs, credentials.secret)
            case "none":
                return proofs.method == "none" or await self._is_held(client.client_id, proofs, connection)

    def _lies_within(self, networks: Sequence[Network], connection: Connection) -> bool:
        """Whether a request comes from one of these networks. Nobody's header decides that but a trusted proxy's."""
        address = self._means.proxies.address_of(connection)
        return bool(address) and any(ip_address(address) in network for network in networks)

    async def _fits_any_chosen(self, proofs: Proofs, digest: bytes, secret: str) -> bool:
        for stored in proofs.chosen if digest else ():
            if await self._fits_chosen(stored, digest, secret):
                return True
        return False

    async def _fits_chosen(self, stored: str, digest: bytes, secret: str) -> bool:
        """Whether a chosen secret fits; argon2id takes 17 ms, so a pair that fitted once is remembered by its HMAC.

        The stored hash is part of what is remembered: a changed secret is forgotten by itself.
        """
        known = hmac.digest(self._process_key, stored.encode() + b"\0" + digest, "sha256")
        if known in self._verified:
            self._verified.move_to_end(known)
            return True
        try:
            verified = await self._passwords.verify(stored, secret)
        except Busy:
            raise OAuthError(
                "temporarily_unavailable", "Too many requests, try again later", 503, headers={"Retry-After": "1"}
            ) from None
        if verified.ok:
            self._verified[known] = None
            if len(self._verified) > _REMEMBERED_SECRETS:
                self._verified.popitem(last=False)
        return verified.ok

    async def _is_signed(self, client_id: str, proofs: Proofs, assertion: str) -> bool:
        if proofs.keys is None:
            return False
        try:
            await self._means.assertions.check(client_id, proofs.keys, assertion)
        except NotProved as error:
            log.info("client.not_proved", client_id=client_id, reason=str(error))
            return False
        return True

    async def _is_held(self, client_id: str, proofs: Proofs, connection: Connection) -> bool:
        """Whether the connection's certificate is the client's. Spec: RFC 8705 2.1, 2.2."""
        means = self._means
        certificate = means.proxies.certificate_of(connection)
        if certificate is None:
            return False
        if proofs.method == "tls_client_auth":
            authorities, subject = means.authorities, proofs.subject
            return (
                authorities is not None
                and subject is not None
                and authorities.has_vouched(certificate, subject, means.now())
            )
        if proofs.keys is None or proofs.keys.keys is None:
            return False
        try:
            keys = await means.client_keys.get(proofs.keys.keys)
        except NotPublished as error:
            log.info("client.not_proved", client_id=client_id, reason=str(error))
            return False
        return is_registered(certificate, keys.listed)


def _digest_of(secret: str) -> bytes:
    """SHA-256 of what may be a secret, nothing of what cannot be one."""
    raw = secret.encode("utf-8", "surrogatepass")
    return hashlib.sha256(raw).digest() if 0 < len(raw) <= MAX_SECRET_BYTES else b""


def _fits_generated(proofs: Proofs, digest: bytes) -> bool:
    fits = False
    for known in proofs.digests:  # every one is compared, whichever fits
        fits |= hmac.compare_digest(digest, known)
    return fits
