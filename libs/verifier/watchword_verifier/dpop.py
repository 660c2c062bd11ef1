"""Proofs of possession: what makes a DPoP proof valid, and server nonces. Spec: RFC 9449 4.3, 8, 9.

Pure functions and a clock: who checks one (an authorization server, a resource server) adds where it notes which proofs
were used. A proof is signed by whoever sends it: everything in it is hostile until the token names its key.
"""

import hmac
import re
from base64 import urlsafe_b64encode
from collections.abc import Collection, Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

from watchword_verifier.keys import PublicKey, public_key
from watchword_verifier.tokens import TokenRefused, decoded, json_object

# Not RS256: keys are made for DPoP anew, and PKCS #1 v1.5 is on its way out (FAPI 2.0 forbids it).
ALGORITHMS: Final = ("ES256", "EdDSA", "Ed25519", "PS256")
MAX_PROOF_BYTES: Final = 4 * 1024  # with an RSA key of 4096 bits it has half of that
MAX_JTI: Final = 256
# How far `iat` may lie from our clock. With a nonce of ours it is the nonce that says when the proof was made (RFC 9449
# 11.1), and a telephone whose clock is wrong by minutes gets in.
WITHIN_S: Final = 60.0
WITHIN_WITH_NONCE_S: Final = 300.0
NONCE_PERIOD_S: Final = 60
_COMPACT: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_PORTS: Final[Mapping[str, int]] = {"http": 80, "https": 443}


class ProofRefused(Exception):
    """The proof does not count. The message is for the log."""


class NonceNeeded(ProofRefused):
    """The proof carries no nonce, or one that is not good any more: the answer gives out another. Spec: RFC 9449 8."""


class Proof(NamedTuple):
    """What a genuine proof says. thumbprint: of the key that signed it, as in `cnf.jkt`."""

    thumbprint: str
    alg: str
    jti: str
    issued_s: float
    nonce: str | None

    @property
    def once(self) -> str:
        """What may be used once: another key's jti is another."""
        return f"{self.thumbprint}:{self.jti}"


def read_proof(proof: str, *, method: str, urls: Collection[str], access_token: str | None = None) -> Proof:
    """A proof that its key signed for this request and, at a resource, for this token. Raises ProofRefused.

    urls: where the request came in, without query.  Whether it is fresh and was not used before comes after this.
    Spec: RFC 9449 4.2, 4.3.
    """
    if len(proof) > MAX_PROOF_BYTES or _COMPACT.fullmatch(proof) is None:
        raise ProofRefused("not a compact JWS, or too long")
    message, _, signature = proof.encode().rpartition(b".")
    head, _, payload = message.partition(b".")
    try:
        key = _read_head(head)
        is_genuine = key.verifies(message, decoded(signature))
        claims = json_object(decoded(payload))
    except TokenRefused as error:
        raise ProofRefused(str(error)) from None
    if not is_genuine:
        raise ProofRefused("signature")
    jti, issued, nonce = claims.get("jti"), claims.get("iat"), claims.get("nonce")
    if not isinstance(jti, str) or not 0 < len(jti) <= MAX_JTI:
        raise ProofRefused("jti")
    if isinstance(issued, bool) or not isinstance(issued, int | float):
        raise ProofRefused("iat")
    if nonce is not None and not isinstance(nonce, str):
        raise ProofRefused("nonce")
    if claims.get("htm") != method:
        raise ProofRefused("htm")
    if not _is_at(claims.get("htu"), urls):
        raise ProofRefused("htu")
    if access_token is not None and not _is_hash(claims.get("ath"), access_token):
        raise ProofRefused("ath")
    return Proof(key.thumbprint, key.alg, jti, float(issued), nonce)


def check_freshness(proof: Proof, now_s: float, nonces: "Nonces | None") -> float:
    """Until when a used proof has to be remembered, in seconds since 1970. Raises ProofRefused, NonceNeeded.

    nonces: None where none are given out; a proof that carries one nevertheless is then judged by its `iat` alone.
    Spec: RFC 9449 4.3, 8, 11.1.
    """
    if nonces is None:
        within = WITHIN_S
    elif proof.nonce is not None and nonces.is_good(proof.nonce, now_s):
        within = WITHIN_WITH_NONCE_S
    else:
        raise NonceNeeded("no nonce, or an old one")
    if not -within <= proof.issued_s - now_s <= within:
        raise ProofRefused("iat is not now")
    return proof.issued_s + within


@lru_cache(maxsize=1024)  # a client writes the same header each time
def _read_head(head: bytes) -> PublicKey:
    """The key in a proof's header, for the algorithm there. Raises TokenRefused, ProofRefused. Spec: RFC 9449 4.2."""
    header = json_object(decoded(head))
    typ, alg, jwk = header.get("typ"), header.get("alg"), header.get("jwk")
    if not isinstance(typ, str) or typ.lower() != "dpop+jwt":
        raise ProofRefused("typ")
    if "crit" in header or "b64" in header:
        raise ProofRefused("crit")
    if not isinstance(jwk, dict) or not _PRIVATE.isdisjoint(jwk):
        # RFC 9449 4.3: the jwk must not contain a private key.
        raise ProofRefused("jwk")
    key = public_key(jwk, alg) if isinstance(alg, str) and alg in ALGORITHMS else None
    if key is None:
        raise ProofRefused("alg, or a key of another kind")
    return key


def _is_at(htu: object, urls: Collection[str]) -> bool:
    """Whether the URL is where the request came in; query and fragment do not count. Spec: RFC 9449 4.3."""
    if not isinstance(htu, str):
        return False
    return htu in urls or _normal(htu) in {_normal(url) for url in urls}


def _normal(url: str) -> str | None:
    """The form in which equivalent URLs are equal, None for what is no absolute one. Spec: RFC 3986 6.2.2, 6.2.3."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    scheme = parts.scheme.lower()
    if not scheme or not parts.hostname or "@" in parts.netloc or "\\" in url:
        return None
    shown = "" if port is None or port == _PORTS.get(scheme) else f":{port}"
    return f"{scheme}://{parts.hostname.lower()}{shown}{_unescaped(parts.path or '/')}"


def _unescaped(path: str) -> str:
    """Escapes of characters that need none are resolved, the others written one way; dots and slashes stay."""

    def one(match: re.Match[str]) -> str:
        char = unquote(match[0], encoding="latin-1")
        return char if re.fullmatch(r"[A-Za-z0-9_~-]", char) else match[0].upper()

    return re.sub(r"%[0-9A-Fa-f]{2}", one, path)


def _is_hash(ath: object, access_token: str) -> bool:
    return isinstance(ath, str) and hmac.compare_digest(ath.encode(), hash_of(access_token))


def hash_of(access_token: str) -> bytes:
    """The `ath` of an access token. Spec: RFC 9449 4.2."""
    return urlsafe_b64encode(sha256(access_token.encode()).digest()).rstrip(b"=")


class Nonces:
    """Nonces that nobody has to store: each period has its own, and the one before it is still good.

    All instances with the same key give out the same. Spec: RFC 9449 8, 9.
    """

    def __init__(self, key: bytes, *, period_s: int = NONCE_PERIOD_S) -> None:
        """key: 32 bytes that only those who check the proofs know."""
        self._key = key
        self._period_s = period_s
        self._made: dict[int, str] = {}

    def current(self, now_s: float) -> str:
        """What a client shall put into its next proofs."""
        return self._of(int(now_s // self._period_s))

    def is_good(self, nonce: str, now_s: float) -> bool:
        """Whether it was given out in this period or the one before; or in the next, where clocks differ."""
        period = int(now_s // self._period_s)
        given = nonce.encode("utf-8", "surrogatepass")
        return any(hmac.compare_digest(given, self._of(period + at).encode()) for at in (0, -1, 1))

    def _of(self, period: int) -> str:
        made = self._made.get(period)
        if made is None:
            digest = hmac.digest(self._key, b"dpop-nonce %d" % period, "sha256")
            made = urlsafe_b64encode(digest[:18]).decode()
            self._made = {at: text for at, text in self._made.items() if abs(at - period) <= 2} | {period: made}
        return made


class Replays:
    """Which proofs were used, in the memory of one process."""

    def __init__(self, most: int = 100_000) -> None:
        """most: the oldest leave first. Who could push one out holds a token, and proves its key, that often."""
        self._most = most
        self._used: dict[bytes, float] = {}

    def is_first(self, once: str, until_s: float, now_s: float) -> bool:
        """True for the first use; remembered until then."""
        key = sha256(once.encode("utf-8", "surrogatepass")).digest()
        if self._used.get(key, float("-inf")) > now_s:
            return False
        self._used.pop(key, None)
        self._used[key] = until_s
        while self._used:
            oldest = next(iter(self._used))
            if len(self._used) <= self._most and self._used[oldest] > now_s:
                break
            del self._used[oldest]
        return True
