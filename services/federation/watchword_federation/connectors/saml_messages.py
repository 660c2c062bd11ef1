"""SAML messages that Watchword writes, and the redirect binding in both directions.

What is written here holds only our own and configured values, each escaped. What is read is a query string whose
signature covers the octets as they came. Spec: SAML Bindings 3.4.4; SAML Core 3.2.1, 3.4.1, 3.7.
"""

import base64
import binascii
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from html import escape
from typing import Final
from urllib.parse import quote_plus, unquote_plus

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm
from cryptography.x509 import load_pem_x509_certificate

from watchword_federation.connectors.saml_response import NameId
from watchword_federation.failures import Failure, SignInFailed

RSA_SHA256: Final = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
MAX_INFLATED: Final = 64 * 1024
MAX_QUERY: Final = 64 * 1024
_MORE: Final = "http://www.w3.org/2001/04/xmldsig-more#"
_ALGORITHMS: Final[dict[str, tuple[type[rsa.RSAPublicKey] | type[ec.EllipticCurvePublicKey], HashAlgorithm]]] = {
    f"{_MORE}rsa-sha256": (rsa.RSAPublicKey, SHA256()),
    f"{_MORE}rsa-sha384": (rsa.RSAPublicKey, SHA384()),
    f"{_MORE}rsa-sha512": (rsa.RSAPublicKey, SHA512()),
    f"{_MORE}ecdsa-sha256": (ec.EllipticCurvePublicKey, SHA256()),
    f"{_MORE}ecdsa-sha384": (ec.EllipticCurvePublicKey, SHA384()),
}
_NAMESPACES: Final = (
    'xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion"'
)
_POST: Final = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"
_SUCCESS: Final = "urn:oasis:names:tc:SAML:2.0:status:Success"
_PASSWORD_REASON: Final = "urn:oasis:names:tc:SAML:2.0:logout:user"


@dataclass(frozen=True, slots=True)
class Heading:
    """What begins every message. id: an NCName.  issuer: our entity id."""

    id: str
    issued_at: datetime
    destination: str
    issuer: str

    def attributes(self) -> str:
        """As XML attributes."""
        issued = self.issued_at.strftime("%Y-%m-%dT%H:%M:%SZ")
        return (
            f'{_NAMESPACES} ID="{escape(self.id)}" Version="2.0" IssueInstant="{issued}" '
            f'Destination="{escape(self.destination)}"'
        )

    def issuer_element(self) -> str:
        """As XML element."""
        return f"<saml:Issuer>{escape(self.issuer)}</saml:Issuer>"


def authn_request(
    heading: Heading,
    *,
    acs_url: str,
    name_id_format: str,
    force: bool,
    passive: bool,
    contexts: Iterable[str],
) -> str:
    """A request to authenticate the person. Spec: SAML Core 3.4.1."""
    listed = "".join(f"<saml:AuthnContextClassRef>{escape(each)}</saml:AuthnContextClassRef>" for each in contexts)
    wanted = f'<samlp:RequestedAuthnContext Comparison="exact">{listed}</samlp:RequestedAuthnContext>' if listed else ""
    flags = "".join(f' {name}="true"' for name, set_ in (("ForceAuthn", force), ("IsPassive", passive)) if set_)
    return (
        f"<samlp:AuthnRequest {heading.attributes()}{flags}"
        f' ProtocolBinding="{_POST}" AssertionConsumerServiceURL="{escape(acs_url)}">'
        f"{heading.issuer_element()}"
        f'<samlp:NameIDPolicy Format="{escape(name_id_format)}" AllowCreate="true"/>{wanted}</samlp:AuthnRequest>'
    )


def logout_request(heading: Heading, *, name_id: NameId, session_index: str | None, until: datetime) -> str:
    """A request to end a session at the provider. Spec: SAML Core 3.7.1."""
    qualifiers = {
        "Format": name_id.format,
        "NameQualifier": name_id.name_qualifier,
        "SPNameQualifier": name_id.sp_name_qualifier,
    }
    said = "".join(f' {name}="{escape(value)}"' for name, value in qualifiers.items() if value)
    index = "" if session_index is None else f"<samlp:SessionIndex>{escape(session_index)}</samlp:SessionIndex>"
    return (
        f'<samlp:LogoutRequest {heading.attributes()} Reason="{_PASSWORD_REASON}" '
        f'NotOnOrAfter="{until.strftime("%Y-%m-%dT%H:%M:%SZ")}">{heading.issuer_element()}'
        f"<saml:NameID{said}>{escape(name_id.value)}</saml:NameID>{index}</samlp:LogoutRequest>"
    )


def logout_response(heading: Heading, *, in_response_to: str) -> str:
    """The answer that a session has ended. Spec: SAML Core 3.7.2."""
    return (
        f'<samlp:LogoutResponse {heading.attributes()} InResponseTo="{escape(in_response_to)}">'
        f'{heading.issuer_element()}<samlp:Status><samlp:StatusCode Value="{_SUCCESS}"/></samlp:Status>'
        f"</samlp:LogoutResponse>"
    )


def redirect_url(
    endpoint: str, parameter: str, message: str, *, relay_state: str | None = None, key: rsa.RSAPrivateKey | None = None
) -> str:
    """The address with which a message travels by redirect. key: signs it, with RSA-SHA256.

    parameter: `SAMLRequest` or `SAMLResponse`. Spec: SAML Bindings 3.4.4.1.
    """
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = deflate.compress(message.encode()) + deflate.flush()
    parts = [f"{parameter}={quote_plus(base64.b64encode(packed))}"]
    if relay_state is not None:
        parts.append(f"RelayState={quote_plus(relay_state)}")
    if key is not None:
        parts.append(f"SigAlg={quote_plus(RSA_SHA256)}")
        signature = key.sign("&".join(parts).encode(), padding.PKCS1v15(), SHA256())
        parts.append(f"Signature={quote_plus(base64.b64encode(signature))}")
    return f"{endpoint}{'&' if '?' in endpoint else '?'}{'&'.join(parts)}"


@dataclass(frozen=True, slots=True)
class Received:
    """A message that came by redirect. signed: the octets that `signature` covers; None for an unsigned message."""

    parameter: str
    document: bytes = field(repr=False)
    relay_state: str | None
    algorithm: str | None = None
    signature: bytes | None = field(default=None, repr=False)
    signed: bytes | None = field(default=None, repr=False)


def read_redirect(query: bytes) -> Received:
    """The message in a query string. Raises SignInFailed(response_invalid).

    query: as it came: another encoding of the same values has another signature. Spec: SAML Bindings 3.4.4.1.
    """
    raw = _raw_parameters(query)
    parameters = [name for name in ("SAMLRequest", "SAMLResponse") if name in raw]
    if len(parameters) != 1:
        raise _invalid("neither a SAML request nor a response, or both")
    if "SAMLEncoding" in raw and unquote_plus(raw["SAMLEncoding"]) != (
        "urn:oasis:names:tc:SAML:2.0:bindings:URL-Encoding:DEFLATE"
    ):
        raise _invalid("another encoding than DEFLATE")
    document = inflate(unquote_plus(raw[parameters[0]]))
    relay_state = unquote_plus(raw["RelayState"]) if "RelayState" in raw else None
    if "Signature" not in raw or "SigAlg" not in raw:
        return Received(parameters[0], document, relay_state)
    signed = "&".join(f"{name}={raw[name]}" for name in (parameters[0], "RelayState", "SigAlg") if name in raw)
    return Received(
        parameters[0],
        document,
        relay_state,
        algorithm=unquote_plus(raw["SigAlg"]),
        signature=_base64(unquote_plus(raw["Signature"])),
        signed=signed.encode(),
    )


def _raw_parameters(query: bytes) -> dict[str, str]:
    if len(query) > MAX_QUERY or not query.isascii():
        raise _invalid("the query is too long, or not ASCII")
    found: dict[str, str] = {}
    for pair in query.decode().split("&"):
        name, _, value = pair.partition("=")
        if name in found:
            raise _invalid("a parameter was sent twice")
        found[name] = value
    return found


def inflate(encoded: str) -> bytes:
    """What was deflated and encoded in base64, of at most 64 KiB. Raises SignInFailed(response_invalid).

    400 KB can inflate to 300 MB, so that the limit holds while it is done.
    """
    packed = _base64(encoded)
    unpack = zlib.decompressobj(-15)
    try:
        document = unpack.decompress(packed, MAX_INFLATED + 1)
    except zlib.error as error:
        raise _invalid("not deflated") from error
    if len(document) > MAX_INFLATED or unpack.unconsumed_tail:
        raise _invalid("inflates to more than 64 KiB")
    if not unpack.eof:
        raise _invalid("not deflated to its end")
    return document


def _base64(text: str) -> bytes:
    cleaned = re.sub(r"[\r\n\t ]", "", text)
    try:
        return base64.b64decode(cleaned, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _invalid("not base64") from error


def is_signed_by(message: Received, certificate: str) -> bool:
    """Whether the key of a certificate made the message's signature, with an algorithm that we accept."""
    if message.signature is None or message.signed is None or message.algorithm not in _ALGORITHMS:
        return False
    kind, digest = _ALGORITHMS[message.algorithm]
    key = load_pem_x509_certificate(certificate.encode()).public_key()
    try:
        if kind is rsa.RSAPublicKey and isinstance(key, rsa.RSAPublicKey):
            key.verify(message.signature, message.signed, padding.PKCS1v15(), digest)
        elif kind is ec.EllipticCurvePublicKey and isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(message.signature, message.signed, ec.ECDSA(digest))
        else:
            return False
    except InvalidSignature:
        return False
    return True


def _invalid(reason: str) -> SignInFailed:
    return SignInFailed(Failure.RESPONSE_INVALID, reason)
