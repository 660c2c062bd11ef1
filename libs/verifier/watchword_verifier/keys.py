"""The issuer's public keys: read from its JWKS, found by kid, each good for one algorithm."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Final, NamedTuple

import orjson
import structlog
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

log = structlog.get_logger()

MAX_KEYS: Final = 100
# NIST SP 800-131A: RSA below 2048 bits no longer signs. Above 4096 a check becomes work that a stranger could order.
# So is one with an exponent as long as the modulus: 9 ms, a hundred times as much as usual.
_RSA_BITS: Final = range(2048, 4096 + 1)
_RSA_EXPONENTS: Final = range(3, 2**32)
# One instance may answer with a JWKS that is a moment older than another's. A key that is missing is therefore kept for
# a while; one that must not be used any more is named by the revocation feed.
_KEEP_MISSING_S: Final = 600.0
_AFTER_FAILURE_S: Final = 1.0

_Key = ECKey | RSAKey | OKPKey
# Everything else a JWK may carry (private members, x5u, x5c) is none of our business.
_MEMBERS: Final = {"EC": ("crv", "x", "y"), "RSA": ("n", "e"), "OKP": ("crv", "x")}
_ALGORITHMS: Final[Mapping[str, tuple[str, ...]]] = {
    "EC": ("ES256",),
    "RSA": ("RS256", "PS256"),
    "OKP": ("EdDSA", "Ed25519"),
}


@dataclass(frozen=True, slots=True, eq=False)
class VerificationKey:
    """A public key and the one algorithm that it may be used with."""

    kid: str
    alg: str
    verifies: Callable[[bytes, bytes], bool]  # (message, signature)


def read_key(jwk: Mapping[str, object]) -> VerificationKey | None:
    """The key in a JWK, or None when it is not a public signature key that we know how to use.

    Without `alg` the first algorithm of its type holds. Spec: RFC 7517 4; RFC 8725 3.1, 3.2.
    """
    kty, kid = jwk.get("kty"), jwk.get("kid")
    if not isinstance(kty, str) or kty not in _MEMBERS or not isinstance(kid, str) or not kid:
        return None
    if jwk.get("use", "sig") != "sig":
        return None
    alg = jwk.get("alg", _ALGORITHMS[kty][0])
    key = public_key(jwk, alg) if isinstance(alg, str) else None
    return None if key is None else VerificationKey(kid, key.alg, key.verifies)


class PublicKey(NamedTuple):
    """A public key with the one algorithm that it is used with. thumbprint: of its required members, by SHA-256."""

    alg: str
    verifies: Callable[[bytes, bytes], bool]  # (message, signature)
    thumbprint: str


def public_key(jwk: Mapping[str, object], alg: str) -> PublicKey | None:
    """The public half of a JWK for this algorithm; None when it is none, of another kind, or too weak.

    Members beside those that make up the key decide nothing. Spec: RFC 7638 3; RFC 8725 3.2.
    """
    kty = jwk.get("kty")
    if not isinstance(kty, str) or alg not in _ALGORITHMS.get(kty, ()):
        return None
    values = {name: value for name in _MEMBERS[kty] if isinstance(value := jwk.get(name), str)}
    model = JWSRegistry.algorithms[alg]
    try:
        key = _import(kty, values)
        if key is None:
            return None
        model.check_key(key)
    except (JoseError, ValueError, KeyError):
        return None
    if isinstance(key, ECKey):
        return PublicKey(alg, partial(_verifies_es256, key.public_key), key.thumbprint())
    return PublicKey(alg, partial(model.verify, key=key), key.thumbprint())


_ECDSA_SHA256: Final = ECDSA(SHA256())


def _verifies_es256(key: EllipticCurvePublicKey, message: bytes, signature: bytes) -> bool:
    """Whether the key made the signature: r and s, 32 bytes each. Spec: RFC 7518 3.4.

    The same as joserfc's, without 4 µs of what surrounds it: this is most of what a first verification costs.
    """
    if len(signature) != 64:
        return False
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    try:
        key.verify(encode_dss_signature(r, s), message, _ECDSA_SHA256)
    except InvalidSignature:
        return False
    return True


def _import(kty: str, values: dict[str, str]) -> _Key | None:
    """The key, written in its one form again: whatever was written of it, it has one thumbprint."""
    match kty:
        case "EC":
            return ECKey.import_key(ECKey.import_key({"kty": kty, **values}).public_key)
        case "RSA":
            rsa = RSAKey.import_key({"kty": kty, **values}).public_key
            is_usual = rsa.key_size in _RSA_BITS and rsa.public_numbers().e in _RSA_EXPONENTS
            return RSAKey.import_key(rsa) if is_usual else None
        case _:
            okp = OKPKey.import_key({"kty": kty, **values}).public_key
            return OKPKey.import_key(okp) if isinstance(okp, Ed25519PublicKey) else None


def read_jwks(body: bytes) -> list[VerificationKey]:
    """The usable keys of a JWKS document. Raises ValueError when it is none."""
    document = orjson.loads(body)
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list) or len(keys) > MAX_KEYS:
        raise ValueError("not a JWKS")
    return [key for jwk in keys if isinstance(jwk, dict) and (key := read_key(jwk)) is not None]


class KeyCache:
    """The only place where a kid is looked up: nothing in a token can name another."""

    def __init__(
        self,
        fetch: Callable[[], Awaitable[bytes]],
        *,
        is_revoked: Callable[[str], bool],
        min_refetch_s: float,
        elapsed: Callable[[], float],
    ) -> None:
        """fetch: the JWKS document; raises OSError or ValueError.  is_revoked: whether a kid was revoked.

        elapsed: a clock that only goes forward, in seconds.
        """
        self._fetch = fetch
        self._is_revoked = is_revoked
        self._min_refetch_s = min_refetch_s
        self._elapsed = elapsed
        self._keys: dict[str, VerificationKey] = {}
        self._last_seen: dict[str, float] = {}
        self._fetched = float("-inf")
        self._begun = self._done = 0  # reads, numbered: the newest that began, the newest that succeeded
        self.name = ""  # of the JWKS that was read last, as the issuer calls it
        self.is_behind = False  # whether it still showed a key that was revoked
        self.is_current = False  # whether the last attempt to read the JWKS succeeded
        self._lock = asyncio.Lock()

    def find(self, kid: str) -> VerificationKey | None:
        """The key, if it is known."""
        return self._keys.get(kid)

    @property
    def kids(self) -> list[str]:
        """The keys whose tokens are accepted."""
        return list(self._keys)

    async def find_or_fetch(self, kid: str) -> VerificationKey | None:
        """The key; for an unknown one the JWKS is read again, but not more often than the minimum interval.

        That interval keeps invented kids from turning into requests to the issuer.
        """
        if kid not in self._keys:
            await self.refresh(at_most_every_s=self._min_refetch_s)
        return self._keys.get(kid)

    async def refresh(self, *, at_most_every_s: float = 0.0) -> bool:
        """The JWKS has been read, unless that happened within the interval; False when it could not be.

        What was under way when it was asked for may have been answered before: without an interval it is read again.
        """
        begun = self._begun
        async with self._lock:
            if self._done > begun or self._elapsed() - self._fetched < at_most_every_s:
                return True
            self._begun = number = self._begun + 1
            # Counts as failed until it has succeeded, also when whoever asked gives up.
            self.is_current = False
            self._fetched = self._elapsed() - self._min_refetch_s + _AFTER_FAILURE_S
            try:
                body = await self._fetch()
                found = read_jwks(body)
            except (OSError, ValueError) as error:
                # From its end on: whoever waited meanwhile does not wait for another that fails as slowly.
                self._fetched = self._elapsed() - self._min_refetch_s + _AFTER_FAILURE_S
                log.warning("jwks.unreadable", error=type(error).__name__)
                return False
            self._fetched, self._done, self.is_current = self._elapsed(), number, True
            self.name = sha256(body).hexdigest()[:32]
            self.is_behind = any(self._is_revoked(key.kid) for key in found)
            self._learn(found)
            return True

    def _learn(self, found: Iterable[VerificationKey]) -> None:
        now = self._elapsed()
        self._last_seen |= {key.kid: now for key in found}
        # The object of a known key stays, and with it what was verified by it; a kid never changes its key.
        known = {key.kid: key for key in found} | self._keys
        keys = {
            kid: key
            for kid, key in known.items()
            if now - self._last_seen[kid] <= _KEEP_MISSING_S and not self._is_revoked(kid)
        }
        if keys.keys() != self._keys.keys():
            log.info("jwks.learned", kids=sorted(keys))
        self._keys = keys
        self._last_seen = {kid: self._last_seen[kid] for kid in keys}
