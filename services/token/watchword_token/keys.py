"""Signing and encryption keys as this instance has loaded them; `rotation` changes which there are.

Loading a PEM for each signature would cost a hundred times the signature. Private keys are sealed with AES-256-GCM and
their kid as associated data: a row that is moved under another kid does not open. Spec: RFC 7517 5; RFC 7638 3.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, TypeVar

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import JsonValue
from sqlmodel import col, select

from watchword_database import Database, bus, transaction
from watchword_events.names import KeyId
from watchword_runtime.keyring import Keyring, Sealer
from watchword_token.encoding import b64url
from watchword_token.key_material import OPAQUE_ALG, SIGNING_ALGS, Alg, IsGenuine, Sign, operations_of
from watchword_token.key_table import KeyTable
from watchword_token.models import Key, KeyState, KeyUse

UNKNOWN_KEY_PAUSE_S: Final = 1.0  # a stranger's tokens must not make us read the table for each of them
_PAUSES_S: Final = (0.0, 0.02, 0.1, 0.5)  # this instance knows of an entry that it writes before that is committed
# What such a key made may be good: the next one signs at another instance as soon as that has noticed.
_LIVE: Final = (KeyState.NEXT, KeyState.ACTIVE, KeyState.RETIRING)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A loaded signing key. Headers are encoded segments; `sign` and `is_genuine` take and give JWS signatures."""

    kid: KeyId
    alg: Alg
    state: KeyState
    created_at: datetime
    public_jwk: dict[str, JsonValue]
    access_header: bytes
    id_header: bytes
    sign: Sign
    is_genuine: IsGenuine
    is_slow: bool

    def header(self, typ: str) -> bytes:
        """The encoded header of another type of JWT than the usual ones. Spec: RFC 8725 3.11."""
        return _header(alg=self.alg, typ=typ, kid=self.kid)


class EncryptionKey:
    """A loaded key for opaque tokens. Nonces are a process number and a counter, so that none ever repeats."""

    __slots__ = ("_aead", "_count", "_prefix", "created_at", "header", "kid")

    def __init__(self, kid: str, key: bytes, process_id: int, created_at: datetime) -> None:
        self.kid = KeyId(kid)
        self.created_at = created_at
        self.header = _header(alg="dir", enc=OPAQUE_ALG, typ="at+jwt", kid=kid)
        self._aead = AESGCM(key)
        self._prefix = process_id.to_bytes(4, "big")
        self._count = 0

    def seal(self, plain: bytes) -> bytes:
        """The five-part compact form. Spec: RFC 7516 5.1; NIST SP 800-38D 8.2.1."""
        self._count += 1
        nonce = self._prefix + self._count.to_bytes(8, "big")
        sealed = self._aead.encrypt(nonce, plain, self.header)
        return b"%b..%b.%b.%b" % (self.header, b64url(nonce), b64url(sealed[:-16]), b64url(sealed[-16:]))

    def open(self, nonce: bytes, ciphertext: bytes, tag: bytes) -> bytes:
        """What was sealed. Raises ValueError when it was not sealed with this key, or altered."""
        if len(nonce) != 12 or len(tag) != 16:
            raise ValueError("nonce or tag of a wrong length")
        try:
            return self._aead.decrypt(nonce, ciphertext + tag, self.header)
        except InvalidTag:
            raise ValueError("altered") from None


K = TypeVar("K", SigningKey, EncryptionKey)


class Keys:
    """The keys of this installation as this instance has loaded them."""

    def __init__(
        self, database: Database, keyring: Keyring, *, is_revoked: Callable[[str], bool] = lambda _kid: False
    ) -> None:
        """is_revoked: whether the ledger has ended a key, by its kid."""
        self._is_revoked = is_revoked
        self._database = database
        self._keyring = keyring
        self._table: KeyTable | None = None
        self._sealers: dict[KeyUse, Sealer] = {}
        self._process_id = 0
        self._on_change: Callable[[], None] = lambda: None
        self.versions: Mapping[str, int] = {}
        self._encryption: EncryptionKey | None = None
        self._loading = asyncio.Lock()
        self.loaded = asyncio.Event()  # start() was through: there is a key for everything
        self._loaded_at = float("-inf")
        self._active: dict[Alg, SigningKey] = {}
        self.by_access_header: dict[bytes, SigningKey] = {}
        self.by_id_header: dict[bytes, SigningKey] = {}
        self.by_enc_header: dict[bytes, EncryptionKey] = {}
        self.jwks = b'{"keys":[]}'
        self.jwks_name = ""

    @property
    def encryption(self) -> EncryptionKey:
        """The key that seals new opaque tokens, revoked or not. Raises ConnectionError while none is loaded."""
        if self._encryption is None:
            raise ConnectionError("keys are not loaded")
        return self._encryption

    def signing(self, alg: Alg) -> SigningKey:
        """The key that signs with an algorithm, revoked or not. Raises ConnectionError while none is loaded."""
        try:
            return self._active[alg]
        except KeyError:
            raise ConnectionError("keys are not loaded") from None

    async def signer(self, alg: Alg) -> SigningKey:
        """The key to sign with now, which nobody has revoked. Raises ConnectionError, also while nobody can know."""
        key = self.signing(alg)
        return await self._successor(lambda: self.signing(alg)) if self._is_revoked(key.kid) else key

    async def sealer(self) -> EncryptionKey:
        """The key to seal with now, as `signer`."""
        key = self.encryption
        return await self._successor(lambda: self.encryption) if self._is_revoked(key.kid) else key

    async def _successor(self, find: Callable[[], K]) -> K:
        """The key in the place of a revoked one. It stands in the table as soon as the entry is committed."""
        for pause_s in _PAUSES_S:
            await asyncio.sleep(pause_s)
            await self.reload()
            key = find()
            if not self._is_revoked(key.kid):
                return key
        raise ConnectionError("the key was revoked, and has no successor yet")

    @property
    def table(self) -> KeyTable:
        """Which keys there are. Raises ConnectionError before start() was through."""
        if self._table is None:
            raise ConnectionError("keys are not loaded")
        return self._table

    def accepted(self) -> tuple[str, ...]:
        """The kids of all keys whose tokens are good here."""
        return tuple(
            [key.kid for key in self.by_access_header.values()] + [key.kid for key in self.by_enc_header.values()]
        )

    def when_changed(self, call: Callable[[], None]) -> None:
        """`call` whenever other keys have been loaded."""
        self._on_change = call

    async def start(self) -> None:
        """Every kind of key exists, made by exactly one of all instances, and is loaded. Appends KeyPublished."""
        async with transaction(self._database) as session:
            self._process_id = await bus.sealer_id(session)
        self._sealers = {
            KeyUse.SIG: Sealer(self._keyring.key("signing-keys"), self._process_id),
            KeyUse.ENC: Sealer(self._keyring.key("encryption-keys"), self._process_id),
        }
        self._table = KeyTable(self._sealers)
        async with transaction(self._database) as session:
            await self._table.complete(session)
        await self.reload()
        self.loaded.set()

    async def reload(self) -> None:
        """What stands in the table is loaded."""
        async with self._loading:
            async with transaction(self._database) as session:
                rows = list(await session.exec(select(Key).order_by(col(Key.created_at), col(Key.kid))))
            self._loaded_at = time.monotonic()
            live = [row for row in rows if row.state in _LIVE]
            opened = {key.kid: key for key in self.by_access_header.values()}
            signing = [
                replace(opened[KeyId(row.kid)], state=KeyState(row.state))
                if row.kid in opened
                else self._open_signing(row)
                for row in live
                if row.use == KeyUse.SIG
            ]
            known = {key.kid: key for key in self.by_enc_header.values()}
            encryption = {
                row.kid: known.get(KeyId(row.kid)) or self._open_encryption(row)
                for row in live
                if row.use == KeyUse.ENC
            }
            sealing = [row.kid for row in live if row.use == KeyUse.ENC and row.state == KeyState.ACTIVE]
            self._active = {key.alg: key for key in signing if key.state is KeyState.ACTIVE}
            self.by_access_header = {key.access_header: key for key in signing}
            self.by_id_header = {key.id_header: key for key in signing}
            self.by_enc_header = {key.header: key for key in encryption.values()}
            self._encryption = encryption[sealing[-1]] if sealing else None
            self.jwks = orjson.dumps({"keys": [key.public_jwk for key in signing]})
            self.jwks_name = hashlib.sha256(self.jwks).hexdigest()[:32]
            self.versions = {row.kid: row.version for row in rows}
        self._on_change()

    async def reload_for_unknown(self) -> bool:
        """True when the table was read again, at most once a second: another instance may have made a key."""
        if time.monotonic() - self._loaded_at < UNKNOWN_KEY_PAUSE_S:
            return False
        await self.reload()
        return True

    def _open_signing(self, row: Key) -> SigningKey:
        der = self._sealers[KeyUse.SIG].open(row.sealed, row.kid.encode())
        if row.public_jwk is None or row.alg not in SIGNING_ALGS:
            raise ValueError(f"signing key {row.kid} is incomplete")
        sign, is_genuine = operations_of(der)
        return SigningKey(
            kid=KeyId(row.kid),
            alg=row.alg,
            state=KeyState(row.state),
            created_at=row.created_at,
            public_jwk=row.public_jwk,
            access_header=_header(alg=row.alg, typ="at+jwt", kid=row.kid),
            id_header=_header(alg=row.alg, typ="JWT", kid=row.kid),
            sign=sign,
            is_genuine=is_genuine,
            is_slow=row.alg == "RS256",
        )

    def _open_encryption(self, row: Key) -> EncryptionKey:
        key = self._sealers[KeyUse.ENC].open(row.sealed, row.kid.encode())
        return EncryptionKey(row.kid, key, self._process_id, row.created_at)


def _header(**members: str) -> bytes:
    """A protected header as its segment. Its spelling must never change: tokens are recognised by it (tokens.py)."""
    return b64url(orjson.dumps(members))
