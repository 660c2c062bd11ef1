"""Keys by purpose, derived from the installation's root; sealing with AES-256-GCM.

The root, and the master key that seals it, are seen only by the supervisor or a one-shot job: it derives each service's
keys and hands over nothing else, so that a service can open only what is its own.
"""

import base64
import binascii
import itertools
import json
from collections.abc import Mapping
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from watchword_events.names import Service

KEY_BYTES: Final = 32
_SALT: Final = b"watchword/keys/v1"
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16

# Purposes that one service alone holds. Those below are shared, and have no owner in their names.
_OWN: Final[Mapping[Service, tuple[str, ...]]] = {
    Service.AUTHZ: ("authenticators",),
    Service.TOKEN: ("signing-keys", "refresh", "encryption-keys"),
    Service.FEDERATION: ("upstream-flow", "saml-keys"),
    Service.DIRECTORY: ("last-claims",),
    Service.ADMIN: ("audit-seals", "webhook-secrets"),
}
_EVERY: Final = ("forms", "cursor")
_SHARED: Final[Mapping[str, frozenset[Service]]] = {
    "provider-secrets": frozenset({Service.ADMIN, Service.FEDERATION}),
    "client-secrets": frozenset({Service.ADMIN, Service.AUTHZ, Service.TOKEN}),
    "pairwise-subjects": frozenset({Service.AUTHZ, Service.TOKEN}),
    "dpop-nonces": frozenset({Service.AUTHZ, Service.TOKEN}),
    "decision-facts": frozenset({Service.AUTHZ, Service.TOKEN}),
}


class KeyringError(ValueError):
    """The settings hold no usable key for a purpose."""


class Unsealable(Exception):
    """What was to be opened is not what this key sealed with this associated data."""


def pair_purpose(caller: Service, owner: Service) -> str:
    """The purpose of the key with which `caller` authenticates its pulls to `owner`; both hold it."""
    return f"internal:{caller.value}>{owner.value}"


def derive_service_keys(root: bytes, service: Service) -> dict[str, str]:
    """The keys of one service by purpose, base64url without padding: what its setting `keys` holds as JSON.

    root: 32 random bytes or more. Spec: RFC 5869 2.
    """
    if len(root) < KEY_BYTES:
        raise KeyringError(f"the root has {len(root)} bytes, {KEY_BYTES} are needed")
    infos = {purpose: f"{service.value}/{purpose}" for purpose in (*_EVERY, *_OWN[service])}
    infos.update({purpose: f"shared/{purpose}" for purpose, holders in _SHARED.items() if service in holders})
    for other in Service:
        for pair in (pair_purpose(service, other), pair_purpose(other, service)):
            infos[pair] = pair
    return {purpose: _encode(_derive(root, info)) for purpose, info in sorted(infos.items())}


def fingerprint(key: bytes) -> str:
    """16 hexadecimal digits that name a key and say nothing about it."""
    return _derive(key, "fingerprint")[:8].hex()


def _derive(root: bytes, info: str) -> bytes:
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=_SALT, info=info.encode()).derive(root)


def _encode(key: bytes) -> str:
    return base64.urlsafe_b64encode(key).decode().rstrip("=")


class Keyring:
    """The derived keys of one service, by purpose."""

    def __init__(self, keys: str) -> None:
        """keys: the JSON object of the setting. Raises KeyringError when it is not one of 32-byte keys."""
        try:
            parsed = json.loads(keys)
        except ValueError as error:
            raise KeyringError("the keys are not JSON") from error
        if not isinstance(parsed, dict) or not all(isinstance(value, str) for value in parsed.values()):
            raise KeyringError("the keys are not a JSON object of strings")
        self._keys = {purpose: _decode(purpose, value) for purpose, value in parsed.items()}

    def key(self, purpose: str) -> bytes:
        """The 32 bytes for a purpose. Raises KeyringError when this service does not hold it."""
        try:
            return self._keys[purpose]
        except KeyError:
            raise KeyringError(f"no key for the purpose {purpose!r}: derive the keys of this service again") from None


def _decode(purpose: str, value: str) -> bytes:
    try:
        key = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
    except (binascii.Error, ValueError) as error:
        raise KeyringError(f"the key for {purpose!r} is not base64url") from error
    if len(key) != KEY_BYTES:
        raise KeyringError(f"the key for {purpose!r} has {len(key)} bytes, {KEY_BYTES} are needed")
    return key


class Sealer:
    """Seals and opens with AES-256-GCM; a nonce never repeats.

    A nonce is a 32-bit process number, allocated in PostgreSQL (`bus.sealer_id`), and a 64-bit counter: unique over
    all processes and restarts without randomness that could collide. Spec: NIST SP 800-38D 8.2.1.
    """

    __slots__ = ("_aead", "_counter", "_prefix")

    def __init__(self, key: bytes, process_id: int) -> None:
        """key: 32 bytes.  process_id: a number that no other process ever had or will have for this key."""
        self._aead = AESGCM(key)
        self._prefix = process_id.to_bytes(4, "big")
        self._counter = itertools.count()

    def seal(self, plain: bytes, aad: bytes) -> bytes:
        """nonce, ciphertext and tag. aad: what it is bound to, for example the row's id."""
        nonce = self._prefix + next(self._counter).to_bytes(8, "big")
        return nonce + self._aead.encrypt(nonce, plain, aad)

    def open(self, sealed: bytes, aad: bytes) -> bytes:
        """The plain bytes. Raises Unsealable when they were altered, or sealed for something else."""
        if len(sealed) < _NONCE_BYTES + _TAG_BYTES:
            raise Unsealable("too short")
        try:
            return self._aead.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], aad)
        except InvalidTag:
            raise Unsealable("altered, or sealed for something else") from None
