"""Clients in memory, and their authentication at every endpoint of this service."""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple
from urllib.parse import unquote_plus

from watchword_events.exports import ClientExport
from watchword_events.names import ClientId
from watchword_policy.scopes import format_scope
from watchword_runtime.internal import Unreachable
from watchword_runtime.passwords import Busy, Passwords
from watchword_token.keys import Alg
from watchword_token.lifetimes import LONGEST_ACCESS_TOKEN, LONGEST_GRANT
from watchword_token.memory import Kept
from watchword_web.errors import OAuthError, invalid_client

Method = Literal["client_secret_basic", "client_secret_post", "none"]

MAX_SECRET_BYTES: Final = 1024
_REMEMBERED_SECRETS: Final = 10_000
_GENERATED: Final = "sha256:"
_NO_DIGEST: Final = bytes(32)
# Scopes that say something about a person; a client acting for itself has none.
PERSONAL_SCOPES: Final = frozenset({"openid", "profile", "email", "phone", "address", "groups", "offline_access"})


@dataclass(frozen=True, slots=True, eq=False)
class Client:
    """A client as hot paths need it. digests: SHA-256 of generated secrets.  chosen: argon2id hashes of others."""

    client_id: ClientId
    enabled: bool
    method: Method
    digests: tuple[bytes, ...]
    chosen: tuple[str, ...]
    grant_types: frozenset[str]
    scope: frozenset[str]
    machine_scope: str
    audience: tuple[str, ...]
    opaque: bool
    lifetime_s: int
    access_alg: Alg
    id_alg: Alg
    refresh_idle_s: int
    refresh_max_s: int
    session_bound: bool
    origins: tuple[str, ...]

    @property
    def is_public(self) -> bool:
        """Has no secret: anybody can name it. Spec: RFC 6749 2.1."""
        return self.method == "none"


def client_of(export: ClientExport) -> Client:
    """The hot form of an exported client."""
    hashes = [secret.hash for secret in export.secrets]
    return Client(
        client_id=ClientId(export.client_id),
        enabled=export.enabled,
        method=export.token_endpoint_auth_method,
        digests=tuple(bytes.fromhex(h.removeprefix(_GENERATED)) for h in hashes if h.startswith(_GENERATED)),
        chosen=tuple(h for h in hashes if not h.startswith(_GENERATED)),
        grant_types=export.grant_types,
        scope=export.scope,
        machine_scope=format_scope(export.scope - PERSONAL_SCOPES),
        audience=export.audience,
        opaque=export.access_token_format == "opaque",
        lifetime_s=min(export.access_token_lifetime_s, int(LONGEST_ACCESS_TOKEN.total_seconds())),
        access_alg=export.access_token_signing_alg,
        id_alg=export.id_token_signed_response_alg,
        refresh_idle_s=export.refresh_idle_s,
        refresh_max_s=min(export.refresh_max_s, int(LONGEST_GRANT.total_seconds())),
        session_bound=export.refresh_requires_session,
        origins=export.allowed_origins,
    )


class Credentials(NamedTuple):
    """Who a request says it is from, and by which method it proves that."""

    client_id: str
    secret: str
    method: Method


def read_credentials(authorization: bytes | None, form: Mapping[str, str]) -> Credentials:
    """The one set of client credentials in a request.

    Raises OAuthError: invalid_client when there are none or they cannot be read, invalid_request for two methods at
    once or two names. Spec: RFC 6749 2.3, 2.3.1, 3.2.1.
    """
    named, posted = form.get("client_id"), form.get("client_secret")
    if authorization is not None:
        if posted is not None:
            # RFC 6749 2.3: a client must not use more than one authentication method per request.
            raise OAuthError("invalid_request", "More than one way of client authentication was used")
        client_id, secret = _read_basic(authorization)
        if named is not None and named != client_id:
            raise OAuthError("invalid_request", "client_id is not the client that authenticates")
        return Credentials(client_id, secret, "client_secret_basic")
    if named is None:
        raise invalid_client("no credentials")
    if posted is not None:
        return Credentials(named, posted, "client_secret_post")
    return Credentials(named, "", "none")


def _read_basic(authorization: bytes) -> tuple[str, str]:
    """Name and secret, each urlencoded before they were joined. Spec: RFC 6749 2.3.1; RFC 7617 2."""
    scheme, _, encoded = authorization.partition(b" ")
    if scheme.lower() != b"basic":
        raise invalid_client("not Basic")
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        raise invalid_client("Basic cannot be read") from None
    name, colon, secret = decoded.partition(":")
    if not colon or not name or "\x00" in decoded:
        raise invalid_client("Basic without a name")
    if "%" not in decoded and "+" not in decoded:
        return name, secret
    try:
        return unquote_plus(name, errors="strict"), unquote_plus(secret, errors="strict")
    except UnicodeDecodeError:
        raise invalid_client("Basic cannot be read") from None


class Clients:
    """Who calls the endpoints of this service."""

    def __init__(self, kept: Kept[ClientExport, Client], passwords: Passwords) -> None:
        self.kept = kept
        self._passwords = passwords
        self._verified: OrderedDict[bytes, None] = OrderedDict()
        self._process_key = secrets.token_bytes(32)

    async def authenticate(self, credentials: Credentials) -> Client:
        """The enabled client that the credentials prove (a public one proves nothing, and is only named).

        Raises OAuthError invalid_client, the same for everything that is wrong; 503 when too many chosen secrets wait.
        A client whose settings changed a moment ago is asked of its owner before it is refused.
        Spec: RFC 6749 2.3, 5.2; RFC 7009 2.1; RFC 7662 2.1.
        """
        client = self.kept.find(credentials.client_id) or await self.kept.get(credentials.client_id)
        if client is not None and await self._is_proved(client, credentials):
            return client
        if client is not None:
            client = await self.renewed(client)
            if client is not None and await self._is_proved(client, credentials):
                return client
        else:
            hmac.compare_digest(hashlib.sha256(credentials.secret.encode()).digest(), _NO_DIGEST)
        raise invalid_client("unknown, disabled, wrong secret or wrong method")

    async def renewed(self, client: Client) -> Client | None:
        """The client as `admin` has it now, None when nothing newer can be had at the moment."""
        try:
            return await self.kept.renew(client.client_id)
        except Unreachable:
            return None

    async def _is_proved(self, client: Client, credentials: Credentials) -> bool:
        # One method per client: a secret that leaked by one way is not good for another, and a confidential client
        # cannot be named without its secret.
        if not client.enabled or client.method != credentials.method:
            return False
        if client.is_public:
            return True
        raw = credentials.secret.encode("utf-8", "surrogatepass")
        if not raw or len(raw) > MAX_SECRET_BYTES:
            return False
        digest = hashlib.sha256(raw).digest()
        fits = False
        for known in client.digests:  # every one is compared, whichever fits
            fits |= hmac.compare_digest(digest, known)
        if fits:
            return True
        for stored in client.chosen:
            if await self._fits_chosen(stored, digest, credentials.secret):
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
