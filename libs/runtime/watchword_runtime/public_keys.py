"""Public keys of others (identity providers, trusted issuers, clients): which may be used, and for what."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, JWKRegistry, OKPKey, RSAKey
from pydantic import JsonValue

# What a token may be signed with, and the kind of key for it. `none` and HS* are absent on purpose: a symmetric key is
# no proof of who signed. Ed25519 is what RFC 9864 calls EdDSA on that curve.
ALGORITHMS: Final[Mapping[str, str]] = {
    "RS256": "RSA",
    "PS256": "RSA",
    "ES256": "P-256",
    "EdDSA": "Ed25519",
    "Ed25519": "Ed25519",
}
_EDDSA: Final = ("EdDSA", "Ed25519")
MAX_KEYS: Final = 32
_RSA_BITS: Final = range(2048, 8192 + 1)  # above, one verification costs milliseconds
_MAX_KID: Final = 256
# Only what makes the public key is imported: x5c, x5u and the like are never looked at.
_PUBLIC: Final = ("kty", "crv", "n", "e", "x", "y")


class UnusableKeys(ValueError):
    """The document is not a set of keys that may be used."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key with the algorithms that it may verify."""

    kid: str | None
    algorithms: frozenset[str]
    key: RSAKey | ECKey | OKPKey


def usable_keys(document: Mapping[str, JsonValue]) -> tuple[PublicKey, ...]:
    """The signing keys of a JWKS that meet our policy; others are left out, as RFC 7517 5 asks for unknown ones.

    Raises UnusableKeys when there is no list of at most 32 keys.
    """
    listed = document.get("keys")
    if not isinstance(listed, list) or len(listed) > MAX_KEYS:
        raise UnusableKeys("no list of at most 32 keys")
    found = (_usable(entry) for entry in listed if isinstance(entry, dict))
    return tuple(key for key in found if key is not None)


def find_key(keys: tuple[PublicKey, ...], *, kid: str | None, alg: str) -> PublicKey | None:
    """The one key that can have signed a token with this header; None when there is none, or more than one.

    A token without kid is accepted only where a single key fits. Spec: OpenID Connect Core 10.1.
    """
    fitting = [key for key in keys if alg in key.algorithms and (kid is None or key.kid == kid)]
    return fitting[0] if len(fitting) == 1 else None


def _usable(entry: Mapping[str, JsonValue]) -> PublicKey | None:
    kid, alg, operations = entry.get("kid"), entry.get("alg"), entry.get("key_ops")
    if kid is not None and not (isinstance(kid, str) and len(kid) <= _MAX_KID):
        return None
    if entry.get("use", "sig") != "sig" or (operations is not None and operations != ["verify"]):
        return None
    # A private or symmetric key that was published proves nothing: anybody can sign with it.
    if "d" in entry or "k" in entry:
        return None
    kind, key = _import(entry)
    algorithms = frozenset(name for name, needs in ALGORITHMS.items() if needs == kind)
    if alg is not None:
        algorithms = frozenset(name for name in algorithms if name == alg or (name in _EDDSA and alg in _EDDSA))
    return PublicKey(kid, algorithms, key) if key is not None and algorithms else None


def _import(entry: Mapping[str, JsonValue]) -> tuple[str, RSAKey | ECKey | OKPKey | None]:
    """The kind of a key, as in ALGORITHMS, and the key; ("", None) for one that is malformed or too weak."""
    parameters: dict[str, str | list[str]] = {
        name: value for name in _PUBLIC if isinstance(value := entry.get(name), str)
    }
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)  # a weak key is refused below
            key = JWKRegistry.import_key(parameters)
        match key:
            case RSAKey():
                public = key.public_key
                strong = public.key_size in _RSA_BITS and 65537 <= public.public_numbers().e < 2**32
                return ("RSA", key) if strong else ("", None)
            case ECKey() | OKPKey():
                _ = key.public_key  # a point that is not on the curve is refused here
                return key.curve_name, key
            case _:
                return "", None
    except (JoseError, ValueError, TypeError, KeyError):
        return "", None


# How the content key of what is encrypted reaches its reader, and the kinds of keys for it. RSA1_5 is absent on purpose
# (its padding is an oracle), and so is everything with a shared secret or a password.
KEY_MANAGEMENT: Final[Mapping[str, frozenset[str]]] = {
    "RSA-OAEP-256": frozenset({"RSA"}),
    "ECDH-ES": frozenset({"P-256", "X25519"}),
    "ECDH-ES+A256KW": frozenset({"P-256", "X25519"}),
}
CONTENT_ENCRYPTION: Final = ("A128CBC-HS256", "A128GCM", "A256GCM")


@dataclass(frozen=True, slots=True)
class ReaderKey:
    """The public key of somebody who shall read what is encrypted."""

    kid: str | None
    key: RSAKey | ECKey | OKPKey


def reader_key(listed: Sequence[Mapping[str, JsonValue]], alg: str) -> ReaderKey | None:
    """The key of a set to encrypt with: the first that says it is for that, else the first that does not say.

    None when no key fits the algorithm. Spec: RFC 7517 4.2, 4.4; OpenID Connect Core 10.2.
    """
    unsaid: ReaderKey | None = None
    for entry in listed:
        kid, use = entry.get("kid"), entry.get("use")
        if use not in ("enc", None) or entry.get("alg", alg) != alg or "d" in entry:
            continue
        kind, key = _import(entry)
        if key is None or kind not in KEY_MANAGEMENT[alg]:
            continue
        found = ReaderKey(kid if isinstance(kid, str) else None, key)
        if use == "enc":
            return found
        unsaid = unsaid or found
    return unsaid
