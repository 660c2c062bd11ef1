"""Our own SAML keys: they sign requests to providers and open encrypted assertions, and nothing else.

    next ──(providers have read our metadata)──▶ active ──▶ previous ──(nobody encrypts for it any more)──▶ removed

A provider learns both keys from our metadata while there are two, so that activating the next one interrupts nobody.
No token is signed with any of them; keys for tokens are `token`'s alone. Spec: SAML Metadata 2.4.1.1.
"""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_der_private_key
from cryptography.x509.oid import NameOID

from watchword_database import Database, transaction
from watchword_database.ids import new_id
from watchword_federation import saml_store
from watchword_federation.models import SamlKey
from watchword_runtime.clock import Clock
from watchword_runtime.saml_metadata import Certificate, read_certificates
from watchword_runtime.seal import SecretSeal

KEY_BITS: Final = 3072
# A provider pins the certificate, so that its end protects nobody; some providers refuse an expired one.
CERTIFICATE_LIFE: Final = timedelta(days=10 * 365)
_BEFORE: Final = timedelta(days=1)  # for a provider whose clock is behind

log = structlog.get_logger()


class KeyState(StrEnum):
    """What a key of ours is used for."""

    ACTIVE = "active"
    NEXT = "next"
    PREVIOUS = "previous"


class KeyConflict(Exception):
    """The keys do not stand so that this could be done. The text says why."""


@dataclass(frozen=True, slots=True)
class SpKey:
    """A key as it is used. pem: the private key, for the XML libraries."""

    id: str
    state: KeyState
    certificate: Certificate
    private: rsa.RSAPrivateKey = field(repr=False)
    pem: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SpKeys:
    """All keys of ours. There is always an active one."""

    active: SpKey
    others: tuple[SpKey, ...]

    @property
    def published(self) -> tuple[SpKey, ...]:
        """Those in our metadata: the active one and the next."""
        return (self.active, *(key for key in self.others if key.state is KeyState.NEXT))

    def for_opening(self) -> tuple[tuple[str, str], ...]:
        """Private key and certificate in PEM of every key, the active one first."""
        return tuple((key.pem, key.certificate.pem) for key in (self.active, *self.others))


class KeyStore:
    """The table `federation.saml_key`, opened."""

    def __init__(self, database: Database, key: bytes, *, public_url: str, now: Clock) -> None:
        """key: of the purpose "saml-keys".  public_url: names the certificates."""
        self._database = database
        self._seal = SecretSeal(key, database)
        self._host = urlsplit(public_url).hostname or "watchword"
        self._now = now
        self._loaded: dict[str, tuple[rsa.RSAPrivateKey, str, Certificate]] = {}

    async def keys(self) -> SpKeys:
        """Our keys; the first time that anybody asks, one is made."""
        rows = await saml_store.list_keys(self._database)
        if not any(row.state == KeyState.ACTIVE for row in rows):
            await self._make(KeyState.ACTIVE)
            rows = await saml_store.list_keys(self._database)
        opened = [await self._open(row) for row in rows]
        self._loaded = {key.id: self._loaded[key.id] for key in opened}
        active = next(key for key in opened if key.state is KeyState.ACTIVE)
        return SpKeys(active, tuple(key for key in opened if key is not active))

    async def prepare(self) -> SpKey:
        """A next key, in our metadata from now on. Raises KeyConflict when there is one already."""
        await self.keys()  # a first one, if there was none: the next one follows somebody
        made = await self._make(KeyState.NEXT)
        if made is None:
            raise KeyConflict("There is a next key already: activate or remove it first.")
        return made

    async def activate(self, key_id: str) -> bool:
        """True when the next key signs from now on, and the one before only opens what is still encrypted for it."""
        async with transaction(self._database) as session:
            return await saml_store.claim_activation(session, key_id, now=self._now())

    async def remove(self, key_id: str) -> bool:
        """True when a next or previous key is gone; the active one stays."""
        async with transaction(self._database) as session:
            return await saml_store.claim_removal(session, key_id)

    async def _make(self, state: KeyState) -> SpKey | None:
        """A new key; None when another instance made one for this place a moment ago."""
        now, key_id = self._now(), new_id()
        private, certificate = await asyncio.to_thread(new_pair, self._host, now)
        der = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        async with transaction(self._database) as session:
            row = SamlKey(
                id=key_id,
                state=state.value,
                certificate=certificate,
                sealed=await self._seal.seal(der, key_id.encode()),
                created_at=now,
                changed_at=now,
            )
            if not await saml_store.claim_new_key(session, row):
                return None
        log.info("saml_key.created", key_id=key_id, state=state.value)
        return await self._open(row)

    async def _open(self, row: SamlKey) -> SpKey:
        if row.id not in self._loaded:
            self._loaded[row.id] = await asyncio.to_thread(self._load, row)
        private, pem, certificate = self._loaded[row.id]
        return SpKey(row.id, KeyState(row.state), certificate, private, pem)

    def _load(self, row: SamlKey) -> tuple[rsa.RSAPrivateKey, str, Certificate]:
        private = load_der_private_key(self._seal.open(row.sealed, row.id.encode()), password=None)
        assert isinstance(private, rsa.RSAPrivateKey)  # noqa: S101 - we made it
        pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        (certificate,) = read_certificates(row.certificate)
        return private, pem, certificate


def new_pair(host: str, now: datetime) -> tuple[rsa.RSAPrivateKey, str]:
    """A fresh RSA key and its self-signed certificate in PEM; it takes a tenth of a second and more."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{host} SAML"[:64])])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BEFORE)
        .not_valid_after(now + CERTIFICATE_LIFE)
        .sign(private, SHA256())
    )
    return private, certificate.public_bytes(Encoding.PEM).decode()
