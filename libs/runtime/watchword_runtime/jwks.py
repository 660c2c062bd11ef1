"""The signing keys of `token`, as another service knows them, and what a signed access token says."""

import base64
import re
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

import orjson
import structlog
from httpx2 import codes
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey

from watchword_events.names import Service
from watchword_runtime.internal import InternalClient, Unreachable

log = structlog.get_logger()

JWKS_PATH: Final = "/oauth2/jwks"
MAX_TOKEN_BYTES: Final = 16 * 1024
CLOCK_SKEW_S: Final = 5  # another instance's clock may be ahead of ours by this much
_REMEMBERED: Final = 2_000
_UNKNOWN_S: Final = 1.0  # a stranger's tokens must not make us fetch the keys for each of them
_MAX_AGE_S: Final = 300.0
_MAX_KEYS: Final = 32
_MIN_RSA_BITS: Final = 2048
_COMPACT: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_TYPES: Final = frozenset({"at+jwt", "application/at+jwt"})
# What a key of an algorithm has to be: its class and curve.
_KINDS: Final[Mapping[str, tuple[type[ECKey] | type[RSAKey] | type[OKPKey], str | None]]] = {
    "ES256": (ECKey, "P-256"),
    "RS256": (RSAKey, None),
    "EdDSA": (OKPKey, "Ed25519"),
}


class NotGenuine(Exception):
    """The text is no access token of this installation, or its time is over. For the log, not for the bearer."""


@dataclass(frozen=True, slots=True)
class Genuine:
    """An access token that is ours and in time. Whether it is live is for the feed to say."""

    claims: Mapping[str, Any]
    kid: str


class AccessTokenKeys:
    """Verifies access tokens with keys that are fetched from `token` and kept."""

    def __init__(self, internal: InternalClient, *, issuer: str) -> None:
        self._internal = internal
        self._issuer = issuer
        self._keys: dict[str, tuple[str, Key]] = {}  # algorithm and key by kid
        self._genuine: OrderedDict[bytes, Genuine] = OrderedDict()  # by the SHA-256 of a token that these keys verified
        self._fetched = float("-inf")
        self._begun = self._done = 0  # fetches, numbered: the newest that began, the newest whose answer counts
        self._told = False

    def changed(self) -> None:
        """A key event was heard: the keys are fetched again before the next token is looked at."""
        self._told = True

    async def verify(self, token: str, now: datetime) -> Genuine:
        """What a genuine access token says; its signature is verified once. Raises NotGenuine, Unreachable when no
        keys can be had.

        Spec: RFC 9068 4; RFC 8725 3.1, 3.11.
        """
        if len(token) > MAX_TOKEN_BYTES or not _COMPACT.fullmatch(token):
            raise NotGenuine("not compact JWS")
        digest = sha256(token.encode()).digest()
        known = self._genuine.get(digest)
        if known is not None:
            await self.key(known.kid)
            if digest in self._genuine:  # the keys are still those
                _require_time_left(known.claims, int(now.timestamp()))
                self._genuine.move_to_end(digest)
                return known
        genuine = await self._verified(token, now)
        self._genuine[digest] = genuine
        if len(self._genuine) > _REMEMBERED:
            self._genuine.popitem(last=False)
        return genuine

    async def _verified(self, token: str, now: datetime) -> Genuine:
        header = _header(token)
        kid = header.get("kid")
        if not isinstance(kid, str):
            raise NotGenuine("no kid")
        if str(header.get("typ", "")).lower() not in _TYPES:
            raise NotGenuine("typ is not at+jwt")  # an ID token, a logout token, a client assertion
        known = await self.key(kid)
        if known is None:
            raise NotGenuine("unknown kid")
        alg, key = known
        if header.get("alg") != alg:
            raise NotGenuine("alg is not the key's")
        try:
            decoded = jwt.decode(token, key, algorithms=[alg])
        except (JoseError, ValueError, TypeError, RecursionError) as error:
            raise NotGenuine(type(error).__name__) from None
        check_claims(decoded.claims, issuer=self._issuer, now=now)
        return Genuine(decoded.claims, kid)

    async def key(self, kid: str) -> tuple[str, Key] | None:
        """The algorithm and the key that go by it; None for an unknown one. Raises Unreachable when there are none."""
        age = time.monotonic() - self._fetched
        if self._told or age > _MAX_AGE_S or (kid not in self._keys and age > _UNKNOWN_S):
            await self._fetch()
        return self._keys.get(kid)

    async def _fetch(self) -> None:
        """The keys are as `token` has them; while it cannot be asked the known ones go on. Raises Unreachable."""
        self._told = False
        self._begun = number = self._begun + 1
        try:
            jwks = await self._ask()
        except Unreachable as error:
            if not self._keys:
                raise
            log.warning("access.keys_not_fetched", reason=str(error))
            self._fetched = time.monotonic() - _MAX_AGE_S + _UNKNOWN_S  # asked again that soon
            return
        if number < self._done:  # who asked later was answered sooner
            return
        self._done = number
        found = (_import(jwk) for jwk in jwks[:_MAX_KEYS] if isinstance(jwk, dict))
        self._keys = {kid: (alg, key) for kid, alg, key in filter(None, found)}
        self._genuine.clear()
        self._fetched = time.monotonic()

    async def _ask(self) -> list[object]:
        response = await self._internal.get(Service.TOKEN, JWKS_PATH)
        if response.status_code != codes.OK:
            raise Unreachable(f"token: answered {response.status_code}")
        try:
            document = orjson.loads(response.content)
        except orjson.JSONDecodeError:
            document = None
        if not isinstance(document, dict) or not isinstance(document.get("keys"), list):
            raise Unreachable("token: its key set is not understood")
        return list(document["keys"])


def check_claims(claims: Mapping[str, Any], *, issuer: str, now: datetime) -> None:
    """Raises NotGenuine unless an access token is of this issuer, for it, and in time. Spec: RFC 9068 4."""
    now_s = int(now.timestamp())
    registry = jwt.JWTClaimsRegistry(
        now=now_s,
        leeway=CLOCK_SKEW_S,
        iss={"essential": True, "value": issuer},
        aud={"essential": True, "value": issuer},
        exp={"essential": True},
        iat={"essential": True},
        sub={"essential": True},
        client_id={"essential": True},
        jti={"essential": True},
    )
    try:
        registry.validate({**claims})
    except (JoseError, ValueError, TypeError) as error:
        raise NotGenuine(type(error).__name__) from None
    _require_time_left(claims, now_s)
    if not all(isinstance(claims[name], str) for name in ("sub", "client_id", "jti")):
        raise NotGenuine("an identifier is no text")
    if not isinstance(claims.get("scope", ""), str):
        raise NotGenuine("scope is no text")


def _require_time_left(claims: Mapping[str, Any], now_s: int) -> None:
    """Without the leeway: other clocks may run ahead, but no token lives longer. Raises NotGenuine."""
    if claims["exp"] <= now_s:
        raise NotGenuine("expired")


def _header(token: str) -> dict[str, object]:
    segment = token.partition(".")[0]
    try:
        header = orjson.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    except ValueError:
        raise NotGenuine("header is no JSON") from None
    if not isinstance(header, dict):
        raise NotGenuine("header is no object")
    return header


def _import(jwk: dict[str, Any]) -> tuple[str, str, Key] | None:
    """kid, algorithm and key; None for a key that is not for signatures or is of a kind that we do not use.

    The algorithm is the key's own, never a token's choice. Spec: RFC 8725 3.1, 3.2.
    """
    kid, alg = jwk.get("kid"), jwk.get("alg")
    if not isinstance(kid, str) or not isinstance(alg, str) or jwk.get("use", "sig") != "sig" or alg not in _KINDS:
        return None
    kind, curve = _KINDS[alg]
    if jwk.get("crv") != curve:
        return None
    public = {name: value for name, value in jwk.items() if name in {"kty", "crv", "x", "y", "n", "e", "kid"}}
    try:
        key: Key = kind.import_key(public)
        if isinstance(key, RSAKey) and key.public_key.key_size < _MIN_RSA_BITS:
            return None
    except (JoseError, ValueError, TypeError):
        log.warning("access.key_not_understood", kid=kid[:64])
        return None
    return kid, alg, key
