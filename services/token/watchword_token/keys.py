"""Signing and encryption keys: made once for the whole installation, sealed at rest, held as key objects.

Loading a PEM for each signature would cost a hundred times the signature. Private keys are sealed with AES-256-GCM and
their kid as associated data: a row that is moved under another kid does not open. Spec: RFC 7517 5; RFC 7638 3.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, cast

import orjson
import structlog
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from joserfc.jwk import ECKey, OKPKey, RSAKey
from pydantic import JsonValue
from sqlalchemy import text
from sqlmodel import col, select

from watchword_database import Database, Session, bus, transaction
from watchword_database.ids import new_id
from watchword_events.contracts import KeyPublished
from watchword_events.names import KeyId
from watchword_runtime.clock import Clock
from watchword_runtime.keyring import Keyring, Sealer
from watchword_token.encoding import b64url
from watchword_token.models import Key, KeyState, KeyUse

log = structlog.get_logger()

Alg = Literal["ES256", "RS256", "EdDSA"]
SIGNING_ALGS: Final[tuple[Alg, ...]] = ("ES256", "RS256", "EdDSA")
OPAQUE_ALG: Final = "A256GCM"
UNKNOWN_KEY_PAUSE_S: Final = 1.0  # a stranger's tokens must not make us read the table for each of them

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


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
    sign: Callable[[bytes], bytes]
    is_genuine: Callable[[bytes, bytes], bool]
    is_slow: bool


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


class Keys:
    """The keys of this installation as this instance has loaded them."""

    def __init__(self, database: Database, keyring: Keyring, *, now: Clock) -> None:
        self._database = database
        self._keyring = keyring
        self._now = now
        self._sealers: dict[KeyUse, Sealer] = {}
        self._process_id = 0
        self._encryption: EncryptionKey | None = None
        self._loading = asyncio.Lock()
        self._loaded_at = float("-inf")
        self._active: dict[Alg, SigningKey] = {}
        self.by_access_header: dict[bytes, SigningKey] = {}
        self.by_enc_header: dict[bytes, EncryptionKey] = {}
        self.jwks = b'{"keys":[]}'

    @property
    def encryption(self) -> EncryptionKey:
        """The key that seals new opaque tokens. Raises ConnectionError while none is loaded."""
        if self._encryption is None:
            raise ConnectionError("keys are not loaded")
        return self._encryption

    def signing(self, alg: Alg) -> SigningKey:
        """The key that signs with an algorithm. Raises ConnectionError while none is loaded."""
        try:
            return self._active[alg]
        except KeyError:
            raise ConnectionError("keys are not loaded") from None

    async def start(self) -> None:
        """Every kind of key exists, made by exactly one of all instances, and is loaded. Appends KeyPublished."""
        async with transaction(self._database) as session:
            self._process_id = await bus.sealer_id(session)
        self._sealers = {
            KeyUse.SIG: Sealer(self._keyring.key("signing-keys"), self._process_id),
            KeyUse.ENC: Sealer(self._keyring.key("encryption-keys"), self._process_id),
        }
        async with transaction(self._database) as session:
            await self.complete(session)
        await self.reload()

    async def complete(self, session: Session) -> None:
        """With this transaction there is an active key for each algorithm; others who want the same wait for it."""
        connection = await session.connection()
        await connection.execute(text("LOCK TABLE token.keys IN SHARE ROW EXCLUSIVE MODE"))
        rows = await session.exec(select(Key).where(Key.state == KeyState.ACTIVE))
        present = {row.alg for row in rows}
        for alg in SIGNING_ALGS:
            if alg not in present:
                await self._make_signing_key(session, alg)
        if OPAQUE_ALG not in present:
            kid = new_id()
            sealed = self._sealers[KeyUse.ENC].seal(AESGCM.generate_key(256), kid.encode())
            session.add(Key(kid=kid, use=KeyUse.ENC, alg=OPAQUE_ALG, sealed=sealed, created_at=self._now()))
            log.info("key.created", kid=kid, alg=OPAQUE_ALG)

    async def _make_signing_key(self, session: Session, alg: Alg) -> None:
        private = await asyncio.to_thread(_generate, alg)  # an RSA key takes a tenth of a second and more
        public_jwk = _public_jwk(private, alg)
        kid = str(public_jwk["kid"])
        der = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        sealed = self._sealers[KeyUse.SIG].seal(der, kid.encode())
        session.add(Key(kid=kid, use=KeyUse.SIG, alg=alg, public_jwk=public_jwk, sealed=sealed, created_at=self._now()))
        session.emit(KeyPublished(id=kid, version=1, alg=alg, public_jwk=public_jwk))
        log.info("key.created", kid=kid, alg=alg)

    async def revoke(self, session: Session, kid: str) -> bool:
        """With this transaction the key makes nothing more and another has taken its place; False when unknown.

        The caller writes the ledger entry, in the same transaction, and reloads afterwards.
        """
        row = await session.get(Key, kid, with_for_update=True)
        if row is None:
            return False
        if row.state == KeyState.ACTIVE:
            row.state, row.version = KeyState.REVOKED, row.version + 1
            await session.flush()
            await self.complete(session)
        return True

    async def reload(self) -> None:
        """What stands in the table is loaded."""
        async with self._loading:
            async with transaction(self._database) as session:
                rows = list(await session.exec(select(Key).order_by(col(Key.created_at), col(Key.kid))))
            self._loaded_at = time.monotonic()
            signing = [self._open_signing(row) for row in rows if row.use == KeyUse.SIG]
            known = {key.kid: key for key in self.by_enc_header.values()}
            encryption = [
                known.get(KeyId(row.kid)) or self._open_encryption(row)
                for row in rows
                if row.use == KeyUse.ENC and row.state == KeyState.ACTIVE
            ]
            self._active = {key.alg: key for key in signing if key.state is KeyState.ACTIVE}
            live = [key for key in signing if key.state is not KeyState.REVOKED]
            self.by_access_header = {key.access_header: key for key in live}
            self.by_enc_header = {key.header: key for key in encryption}
            self._encryption = encryption[-1] if encryption else None
            self.jwks = orjson.dumps({"keys": [key.public_jwk for key in live]})

    async def reload_for_unknown(self) -> bool:
        """True when the table was read again, at most once a second: another instance may have made a key."""
        if time.monotonic() - self._loaded_at < UNKNOWN_KEY_PAUSE_S:
            return False
        await self.reload()
        return True

    def _open_signing(self, row: Key) -> SigningKey:
        der = self._sealers[KeyUse.SIG].open(row.sealed, row.kid.encode())
        private = load_der_private_key(der, password=None)
        if row.public_jwk is None or row.alg not in SIGNING_ALGS:
            raise ValueError(f"signing key {row.kid} is incomplete")
        sign, is_genuine = _operations(cast(PrivateKey, private))
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


def _generate(alg: Alg) -> PrivateKey:
    match alg:
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        case "RS256":
            return rsa.generate_private_key(public_exponent=65537, key_size=2048)
        case "EdDSA":
            return ed25519.Ed25519PrivateKey.generate()


def _public_jwk(private: PrivateKey, alg: Alg) -> dict[str, JsonValue]:
    """The public half with kid (its thumbprint), alg and use. Spec: RFC 7517 4; RFC 7638 3."""
    jwk: ECKey | RSAKey | OKPKey
    if isinstance(private, ec.EllipticCurvePrivateKey):
        jwk = ECKey.import_key(private)
    elif isinstance(private, rsa.RSAPrivateKey):
        jwk = RSAKey.import_key(private)
    else:
        jwk = OKPKey.import_key(private)
    public = {str(k): cast(JsonValue, v) for k, v in jwk.as_dict(private=False).items()}
    return {**public, "kid": jwk.thumbprint(), "alg": alg, "use": "sig"}


def _operations(private: PrivateKey) -> tuple[Callable[[bytes], bytes], Callable[[bytes, bytes], bool]]:
    """How to sign with a key and how to check, with JWS signatures (RFC 7518 3.4: r and s, not DER)."""
    if isinstance(private, ec.EllipticCurvePrivateKey):
        return _es256(private)
    if isinstance(private, rsa.RSAPrivateKey):
        scheme, digest, rsa_public = padding.PKCS1v15(), hashes.SHA256(), private.public_key()

        def sign_rs256(data: bytes) -> bytes:
            return private.sign(data, scheme, digest)

        return sign_rs256, _checked(lambda data, signature: rsa_public.verify(signature, data, scheme, digest))
    ed_public = private.public_key()
    return private.sign, _checked(lambda data, signature: ed_public.verify(signature, data))


def _es256(
    private: ec.EllipticCurvePrivateKey,
) -> tuple[Callable[[bytes], bytes], Callable[[bytes, bytes], bool]]:
    scheme, public = ec.ECDSA(hashes.SHA256()), private.public_key()

    def sign(data: bytes) -> bytes:
        # DER of two numbers below 2**256: SEQUENCE, INTEGER r, INTEGER s, each with at most one leading zero byte.
        der = private.sign(data, scheme)
        end_of_r = 4 + der[3]
        r, s = der[4:end_of_r], der[end_of_r + 2 :]
        return r[-32:].rjust(32, b"\0") + s[-32:].rjust(32, b"\0")

    def check(data: bytes, signature: bytes) -> None:
        if len(signature) != 64:
            raise InvalidSignature
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        public.verify(encode_dss_signature(r, s), data, scheme)

    return sign, _checked(check)


def _checked(check: Callable[[bytes, bytes], None]) -> Callable[[bytes, bytes], bool]:
    def is_genuine(data: bytes, signature: bytes) -> bool:
        try:
            check(data, signature)
        except InvalidSignature:
            return False
        return True

    return is_genuine
