"""Access tokens, made and read: signed JWTs, or sealed ones that only this service can read.

A token is recognised by its header segment, byte for byte: there is one spelling per key, made when the key was loaded.
So nothing in a header is ever interpreted: no `alg`, `kid`, `jku`, `jwk` or `crit` of a stranger's making decides how a
token is read, and an ID token, whose header says another `typ`, is no access token.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import orjson
from pydantic import JsonValue

from watchword_policy.scopes import ADMIN_SCOPE, EVENTS_SCOPE, SCIM_SCOPE, SIGN_IN
from watchword_token.clients import Client
from watchword_token.encoding import b64url, b64url_decode
from watchword_token.keys import Keys, SigningKey

MAX_TOKEN_BYTES: Final = 16 * 1024
CLOCK_SKEW_S: Final = 5  # another instance's clock may be ahead of ours by this much

# aud gains the issuer with these: userinfo, the token endpoint and the administration are Watchword's own resources.
_OWN_SCOPES: Final = frozenset({"openid", SIGN_IN, ADMIN_SCOPE, EVENTS_SCOPE, SCIM_SCOPE, "revocations:read"})


class InvalidToken(Exception):
    """The token is not one of ours, or its time is over. The message is for the log, not for the bearer."""


class Read(NamedTuple):
    """An access token that is ours and in time; whether it is live is for the feed to say.

    payload: the JSON of `claims` as it stands in the token.
    """

    claims: dict[str, Any]
    payload: bytes
    kid: str


def audience_of(
    client: Client, scope: str, resource: tuple[str, ...], issuer: str, *, administers: bool = False
) -> JsonValue:
    """Who shall accept the token: what was asked for, else the client's audience list, else the client itself.

    administers: whether it is of a person who may administer Watchword through the client. Then it is for Watchword as
    well, unless it was asked for somebody else, who could show it here.
    Spec: RFC 9068 3; RFC 8707 2.2.
    """
    audience = resource or client.audience or (client.client_id,)
    is_for_us = (administers and not resource) or not _OWN_SCOPES.isdisjoint(scope.split(" "))
    if is_for_us and issuer not in audience:
        return [*audience, issuer]
    return audience[0] if len(audience) == 1 else list(audience)


class Tokens:
    """Makes and reads access tokens with the keys that are loaded."""

    def __init__(self, keys: Keys, *, issuer: str, remembered: int) -> None:
        """remembered: how many verified signatures to keep in mind."""
        self._keys = keys
        self.issuer = issuer
        self._verified: OrderedDict[bytes, None] = OrderedDict()
        self._remembered = remembered

    async def read(self, token: str, now_s: float) -> Read:
        """The claims of a token that this installation made and whose time is not over. Raises InvalidToken.

        Spec: RFC 9068 4; RFC 8725 3.
        """
        raw = _encoded(token)
        dots = raw.count(b".")
        if dots == 2:
            payload, kid = await self._open_signed(raw, lambda: self._keys.by_access_header)
        elif dots == 4:
            payload, kid = await self._open_sealed(raw)
        else:
            raise InvalidToken("not compact JOSE")
        claims = orjson.loads(payload)
        if claims["exp"] <= now_s or claims["iat"] > now_s + CLOCK_SKEW_S or claims["iss"] != self.issuer:
            raise InvalidToken("expired, from the future or of another issuer")
        return Read(claims, payload, kid)

    async def read_id_token(self, token: str, now_s: float) -> Read:
        """The claims of an ID token that this installation made and whose time is not over. Raises InvalidToken.

        Other documents have the same header (signed answers of the authorization endpoint): only an ID token says of
        which grant and person it tells. Spec: OpenID Connect Core 3.1.3.7.
        """
        payload, kid = await self._open_signed(_encoded(token), lambda: self._keys.by_id_header)
        claims = orjson.loads(payload)
        if not {"sub", "aud", "iat", "gid", "rev"} <= claims.keys():
            raise InvalidToken("no ID token")
        if claims["exp"] <= now_s or claims["iat"] > now_s + CLOCK_SKEW_S or claims["iss"] != self.issuer:
            raise InvalidToken("expired, from the future or of another issuer")
        return Read(claims, payload, kid)

    async def _open_signed(self, raw: bytes, by_header: Callable[[], Mapping[bytes, SigningKey]]) -> tuple[bytes, str]:
        signed, _, signature = raw.rpartition(b".")
        header, _, payload = signed.partition(b".")
        key = by_header().get(header)
        if key is None and await self._keys.reload_for_unknown():
            key = by_header().get(header)
        if key is None:
            raise InvalidToken("no such key")
        digest = hashlib.sha256(raw).digest()
        try:
            if digest in self._verified:
                self._verified.move_to_end(digest)
            elif key.is_genuine(signed, b64url_decode(signature)):
                self._remember(digest)
            else:
                raise InvalidToken("signature")
            return b64url_decode(payload), key.kid
        except ValueError:
            raise InvalidToken("encoding") from None

    async def _open_sealed(self, raw: bytes) -> tuple[bytes, str]:
        header, empty, iv, ciphertext, tag = raw.split(b".")
        key = self._keys.by_enc_header.get(header)
        if key is None and await self._keys.reload_for_unknown():
            key = self._keys.by_enc_header.get(header)
        if key is None or empty:
            raise InvalidToken("no such key")
        try:
            return key.open(b64url_decode(iv), b64url_decode(ciphertext), b64url_decode(tag)), key.kid
        except ValueError:
            raise InvalidToken("sealed by somebody else or altered") from None

    def _remember(self, digest: bytes) -> None:
        """A signature stays good; whether the token is in time and live is asked again at each use."""
        self._verified[digest] = None
        if len(self._verified) > self._remembered:
            self._verified.popitem(last=False)


def _encoded(token: str) -> bytes:
    if len(token) > MAX_TOKEN_BYTES:
        raise InvalidToken("too long")
    try:
        return token.encode("ascii")
    except UnicodeEncodeError:
        raise InvalidToken("not ASCII") from None


def compact(key: SigningKey, header: bytes, payload: bytes) -> bytes:
    """header.payload.signature, signed at once: 30 µs with ES256 or EdDSA, 400 with RS256. Spec: RFC 7515 3.1."""
    signed = b"%b.%b" % (header, b64url(payload))
    return b"%b.%b" % (signed, b64url(key.sign(signed)))


async def compact_aside(key: SigningKey, header: bytes, payload: bytes) -> bytes:
    """As `compact`; a slow key signs in a thread, without the interpreter's lock, so that others need not wait."""
    if key.is_slow:
        return await asyncio.to_thread(compact, key, header, payload)
    return compact(key, header, payload)
