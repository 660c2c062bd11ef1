"""What Demo Labs signs with: a key and its certificate, in files, so that they are the same after a restart."""

import datetime as dt
from pathlib import Path
from typing import Final

from watchword.embedded.process import write_private

_LIFE: Final = dt.timedelta(days=3650)
_BITS: Final = 2048


def key_pair(home: Path) -> tuple[Path, Path]:
    """The files of the private key and of the certificate, in PEM; drawn at the first start."""
    key_file, certificate_file = home / "labs.key", home / "labs.crt"
    if not (key_file.exists() and certificate_file.exists()):
        key, certificate = _drawn()
        write_private(key_file, key)
        write_private(certificate_file, certificate)
    return key_file, certificate_file


def _drawn() -> tuple[str, str]:
    # Here and not above: later starts only read the files.
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.x509.oid import NameOID

    key = rsa.generate_private_key(65537, _BITS)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Demo Labs")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + _LIFE)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return private, certificate.public_bytes(Encoding.PEM).decode()
