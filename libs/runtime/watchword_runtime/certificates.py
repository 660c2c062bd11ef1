"""Names in client certificates, and who vouches for them. Spec: RFC 8705 2; RFC 5280 4.2.1.6, 6."""

import hmac
import re
import warnings
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Final, Literal

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import Criticality, ExtensionPolicy, Policy, PolicyBuilder, Store, VerificationError

SubjectKind = Literal[
    "tls_client_auth_subject_dn",
    "tls_client_auth_san_dns",
    "tls_client_auth_san_uri",
    "tls_client_auth_san_ip",
    "tls_client_auth_san_email",
]
_LABEL: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_FOR_CLIENTS: Final = frozenset({ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE})


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a client's certificate has to name. Spec: RFC 8705 2.1.2."""

    kind: SubjectKind
    value: str


def check_subject(kind: SubjectKind, value: str) -> str:
    """The value as it is compared. Raises ValueError when no certificate could say it. Spec: RFC 4514 2."""
    match kind:
        case "tls_client_auth_subject_dn":
            return _parse_name(value).rfc4514_string()
        case "tls_client_auth_san_ip":
            return str(ip_address(value))
        case "tls_client_auth_san_dns":
            if not all(_LABEL.fullmatch(label) for label in value.split(".")):
                raise ValueError("a DNS name consists of letters, digits and hyphens, without wildcards")
            return value.lower()
        case "tls_client_auth_san_email":
            if not re.fullmatch(r"[^@\s]+@[^@\s]+", value):
                raise ValueError("an e-mail address has one @")
            return value
        case "tls_client_auth_san_uri":
            if not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*:\S+", value):
                raise ValueError("a URI begins with a scheme")
            return value


class Authorities:
    """Who may vouch for the names in client certificates."""

    def __init__(self, path: Path) -> None:
        """path: a PEM file. Raises SystemExit when it cannot be used."""
        try:
            trusted = x509.load_pem_x509_certificates(path.read_bytes())
        except (OSError, ValueError) as error:
            raise SystemExit(f"WATCHWORD_CLIENT_CA_FILE: cannot use {path}: {error}. Name a PEM file.") from None
        self._store = Store(trusted)

    def has_vouched(self, certificate: bytes, subject: Subject, now: datetime) -> bool:
        """Whether one of them says that this certificate is the subject's, and it is in time and for clients.

        Spec: RFC 8705 2.1.
        """
        parsed = _parse(certificate)
        if parsed is None or not _names(parsed, subject):
            return False
        builder = PolicyBuilder().store(self._store).time(now)
        try:
            builder.extension_policies(ca_policy=_CA, ee_policy=_CLIENT).build_client_verifier().verify(parsed, [])
        except (VerificationError, ValueError):
            return False
        return True


def _check_purpose(_policy: Policy, _certificate: x509.Certificate, usage: x509.ExtendedKeyUsage | None) -> None:
    if usage is not None and _FOR_CLIENTS.isdisjoint(usage):
        raise ValueError("not for clients")


def _check_authority(_policy: Policy, _certificate: x509.Certificate, constraints: x509.BasicConstraints) -> None:
    if not constraints.ca:
        raise ValueError("no authority")


def _check_usage(_policy: Policy, _certificate: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    if usage is not None and not usage.key_cert_sign:
        raise ValueError("not for signing certificates")


# The library's defaults are made for web servers: they want an alternative name, which many client certificates lack,
# and a key usage, which many private authorities lack.
_CLIENT: Final = ExtensionPolicy.permit_all().may_be_present(
    x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _check_purpose
)
_CA: Final = (
    ExtensionPolicy.permit_all()
    .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, _check_authority)
    .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _check_usage)
)


def is_registered(certificate: bytes, keys: Sequence[Mapping[str, object]]) -> bool:
    """Whether the certificate is one of those that a client registered in its key set. Spec: RFC 8705 2.2."""
    presented = b64encode(certificate)
    found = False
    for jwk in keys:
        chain = jwk.get("x5c")
        if isinstance(chain, list) and chain and isinstance(chain[0], str):
            found |= hmac.compare_digest(chain[0].encode(), presented)
    return found


def _parse_name(text: str) -> x509.Name:
    try:
        return x509.Name.from_rfc4514_string(text)
    except ValueError:
        raise ValueError("a distinguished name looks like CN=app,O=Example,C=DE") from None


def _parse(certificate: bytes) -> x509.Certificate | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is odd in a stranger's certificate
            return x509.load_der_x509_certificate(certificate)
    except (ValueError, x509.InvalidVersion):
        return None


def _names(certificate: x509.Certificate, subject: Subject) -> bool:
    """Whether the certificate names the subject, and names it in the one way that was registered."""
    try:
        if subject.kind == "tls_client_auth_subject_dn":
            return certificate.subject == _parse_name(subject.value)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return False
    match subject.kind:
        case "tls_client_auth_san_dns":
            return subject.value in {name.lower() for name in names.get_values_for_type(x509.DNSName)}
        case "tls_client_auth_san_uri":
            return subject.value in names.get_values_for_type(x509.UniformResourceIdentifier)
        case "tls_client_auth_san_ip":
            return subject.value in {str(ip) for ip in names.get_values_for_type(x509.IPAddress)}
        case "tls_client_auth_san_email":
            return subject.value in names.get_values_for_type(x509.RFC822Name)
