"""A certificate authority of somebody else's, for servers whose certificates only it vouches for."""

import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


class Authority:
    """Signs certificates with a key that nobody knows. pem: its own certificate."""

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        built = _builder(self._name, self._name, self._key.public_key()).add_extension(constraints, critical=True)
        self.pem = built.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()

    def server_context(self, host: str, directory: Path) -> ssl.SSLContext:
        """What a server at this host shows. directory: where the key may be written."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        names = x509.SubjectAlternativeName([x509.DNSName(host)])
        made = _builder(subject, self._name, key.public_key()).add_extension(names, critical=False)
        path = directory / f"{host}.pem"
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path.write_bytes(private + made.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    def client_certificate(
        self,
        subject: str,
        *,
        names: Sequence[x509.GeneralName] = (),
        usages: Sequence[x509.ObjectIdentifier] = (),
        self_signed: bool = False,
    ) -> bytes:
        """A client's certificate (DER) for a distinguished name, good for a day."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name.from_rfc4514_string(subject)
        built = _builder(name, name if self_signed else self._name, key.public_key())
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key((key if self_signed else self._key).public_key())
        built = built.add_extension(issuer, critical=False)
        if names:
            built = built.add_extension(x509.SubjectAlternativeName(names), critical=False)
        if usages:
            built = built.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        return built.sign(key if self_signed else self._key, hashes.SHA256()).public_bytes(Encoding.DER)


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
    )
