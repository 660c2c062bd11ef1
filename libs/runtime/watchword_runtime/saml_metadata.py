"""What a SAML identity provider says of itself: its metadata and its certificates, read without trusting them.

Uploaded metadata becomes settings in `admin`; metadata behind an address is read again and again by `federation`. Both
read it here, without the XML libraries that verify signatures: what they trust is where it came from.
Spec: SAML Metadata 2.3, 2.4.3; SAML Profiles 4.1.6.
"""

import base64
import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from xml.etree.ElementTree import Element, ParseError

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.utils import CryptographyDeprecationWarning
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

MAX_METADATA: Final = 256 * 1024
MAX_CERTIFICATES: Final = 8
_MAX_URI: Final = 2048
_MD: Final = "{urn:oasis:names:tc:SAML:2.0:metadata}"
_DS: Final = "{http://www.w3.org/2000/09/xmldsig#}"
_REDIRECT: Final = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
_PROTOCOL: Final = "urn:oasis:names:tc:SAML:2.0:protocol"
_PEM: Final = re.compile(r"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----")
_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d{1,9})?Z")
_DURATION: Final = re.compile(r"P(?:(\d{1,4})D)?(?:T(?:(\d{1,5})H)?(?:(\d{1,6})M)?(?:(\d{1,7})(?:\.\d+)?S)?)?")
_RSA_BITS: Final = range(2048, 8192 + 1)  # above, one verification costs milliseconds
_CURVES: Final = ("secp256r1", "secp384r1", "secp521r1")


class UnusableMetadata(ValueError):
    """The document is not the metadata of one SAML 2.0 identity provider that can be worked with."""


class UnusableCertificate(ValueError):
    """What was given is no X.509 certificate with a key that may verify signatures."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate that is trusted because it was pinned; who issued it does not matter.

    pem: as it is stored.  fingerprint: SHA-256 of its DER, lower-case hexadecimal.
    """

    pem: str
    fingerprint: str
    subject: str
    not_before: datetime
    not_after: datetime

    def has_expired(self, now: datetime) -> bool:
        """Whether its time is over."""
        return now >= self.not_after


@dataclass(frozen=True, slots=True)
class IdpMetadata:
    """What a sign-in and a sign-out through one identity provider need. certificates: PEM, of its signing keys.

    slo_url: where requests go; slo_response_url: where answers go.  valid_until, cache_for: as the document says.
    """

    entity_id: str
    sso_url: str
    certificates: tuple[str, ...]
    slo_url: str | None = None
    slo_response_url: str | None = None
    wants_signed_requests: bool = False
    valid_until: datetime | None = None
    cache_for: timedelta | None = None


def read_metadata(raw: bytes, *, entity_id: str = "") -> IdpMetadata:
    """The metadata in `raw`, a document of at most 256 KiB without a DTD.

    entity_id: of the provider that is meant; "" where the document describes only one.  Raises UnusableMetadata.
    """
    if len(raw) > MAX_METADATA:
        raise UnusableMetadata(f"it is larger than {MAX_METADATA // 1024} KiB")
    try:
        root = fromstring(raw, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise UnusableMetadata("it is not well-formed XML, or has a document type") from error
    entity, role = _described(root, entity_id)
    sso = _endpoint(role, "SingleSignOnService")
    if sso is None:
        raise UnusableMetadata("the provider has no SingleSignOnService with the binding HTTP-Redirect")
    slo = _endpoint(role, "SingleLogoutService")
    certificates = tuple(dict.fromkeys(_certificates(role)))[:MAX_CERTIFICATES]
    if not certificates:
        raise UnusableMetadata("the provider has no signing certificate that may be used")
    answers = slo is not None and "ResponseLocation" in slo.attrib
    return IdpMetadata(
        entity_id=_entity_id(entity),
        sso_url=_location(sso, "Location"),
        certificates=certificates,
        slo_url=None if slo is None else _location(slo, "Location"),
        slo_response_url=_location(slo, "ResponseLocation") if slo is not None and answers else None,
        wants_signed_requests=role.get("WantAuthnRequestsSigned") in {"true", "1"},
        valid_until=min(_times(root, entity, role), default=None),
        cache_for=min(_durations(root, entity, role), default=None),
    )


def _described(root: Element, entity_id: str) -> tuple[Element, Element]:
    """The one entity that is meant, and its role as an identity provider."""
    entities = [root] if root.tag == f"{_MD}EntityDescriptor" else list(root.iter(f"{_MD}EntityDescriptor"))
    found = [
        (entity, role)
        for entity in entities
        for role in entity.findall(f"{_MD}IDPSSODescriptor")
        if _PROTOCOL in role.get("protocolSupportEnumeration", "").split()
        and (not entity_id or entity.get("entityID") == entity_id)
    ]
    if not found:
        raise UnusableMetadata(f"it does not describe the SAML 2.0 identity provider {entity_id}".rstrip())
    if len(found) > 1:
        raise UnusableMetadata("it describes several identity providers: name one by its entity ID")
    return found[0]


def _entity_id(entity: Element) -> str:
    value = entity.get("entityID", "")
    if not is_entity_id(value):
        raise UnusableMetadata("its entityID is no URI")
    return value


def is_entity_id(value: str) -> bool:
    """Whether an identifier may name a SAML entity: a URI of at most 1,024 characters. Spec: SAML Core 8.3.6."""
    return 0 < len(value) <= 1024 and re.fullmatch(r"[!-~]+", value) is not None and '"' not in value


def _endpoint(role: Element, name: str) -> Element | None:
    return next((each for each in role.findall(f"{_MD}{name}") if each.get("Binding") == _REDIRECT), None)


def _location(endpoint: Element, name: str) -> str:
    value = endpoint.get(name, "")
    # `javascript:` and the like would be opened in the person's browser.
    if not value.startswith(("https://", "http://")) or len(value) > _MAX_URI or not re.fullmatch(r"[!-~]+", value):
        raise UnusableMetadata(f"{name} of an endpoint is no web address")
    return value


def _certificates(role: Element) -> Iterator[str]:
    for descriptor in role.findall(f"{_MD}KeyDescriptor"):
        if descriptor.get("use", "signing") != "signing":
            continue
        for element in descriptor.iter(f"{_DS}X509Certificate"):
            try:
                yield certificate_of(_der(element.text or "")).pem
            except UnusableCertificate:
                continue  # a key that we cannot use beside one that we can


def _times(*elements: Element) -> Iterator[datetime]:
    for element in elements:
        if (value := element.get("validUntil")) is not None:
            found = _TIME.fullmatch(value)
            if found is None:
                raise UnusableMetadata("validUntil is no time in UTC")
            try:
                yield datetime.fromisoformat(found[1]).replace(tzinfo=UTC)
            except ValueError:
                raise UnusableMetadata("validUntil is no time") from None


def _durations(*elements: Element) -> Iterator[timedelta]:
    for element in elements:
        found = _DURATION.fullmatch(element.get("cacheDuration", ""))
        if found is not None and any(found.groups()):
            days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
            yield timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def read_certificates(given: str | Iterable[str]) -> tuple[Certificate, ...]:
    """The certificates in a text, or in each of several: PEM, or the bare base64 that metadata holds.

    Raises UnusableCertificate.
    """
    texts = [given] if isinstance(given, str) else list(given)
    found = [certificate_of(_der(part)) for text in texts for part in (_PEM.findall(text) or [text])]
    return tuple({each.fingerprint: each for each in found}.values())


def _der(text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError:  # binascii.Error, or that a letter is not ASCII
        raise UnusableCertificate("this is neither PEM nor base64") from None


def certificate_of(der: bytes) -> Certificate:
    """A certificate by its DER. Raises UnusableCertificate for one whose key is weak or of another kind."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)  # odd serial numbers do not matter here
            loaded = x509.load_der_x509_certificate(der)
            key = loaded.public_key()
            subject = loaded.subject.rfc4514_string()
    except (ValueError, TypeError, x509.UnsupportedGeneralNameType, UnsupportedAlgorithm) as error:
        raise UnusableCertificate("this is no X.509 certificate") from error
    match key:
        case rsa.RSAPublicKey() if key.key_size in _RSA_BITS:
            pass
        case ec.EllipticCurvePublicKey() if key.curve.name in _CURVES:
            pass
        case _:
            raise UnusableCertificate("its key is neither RSA of 2048 bits or more nor on a NIST curve")
    return Certificate(
        pem=loaded.public_bytes(Encoding.PEM).decode(),
        fingerprint=loaded.fingerprint(SHA256()).hex(),
        subject=subject,
        not_before=loaded.not_valid_before_utc,
        not_after=loaded.not_valid_after_utc,
    )
