"""What a SAML message may look like before any cryptography is done with it, and again once it was decrypted.

Signatures in XML are attacked by what surrounds them: a second assertion, a transform that computes for hours, a
comment that cuts a name in two. None of that is in an honest message, so that all of it is refused by shape alone,
before a key is used. Only `saml_library` imports this module: it needs lxml. Spec: SAML Core 5.4; XML Signature 8.
"""

import base64
import binascii
import re
from typing import Any, Final

from lxml import etree

from watchword_federation.failures import Failure, SignInFailed

MAX_ENCODED: Final = 256 * 1024
# Canonicalization sorts the attributes of an element by insertion and looks namespaces up one by one: a large message
# of the wrong shape would cost seconds.
MAX_ELEMENTS: Final = 4000
_MAX_ATTRIBUTES: Final = 32
_MAX_NAMESPACES: Final = 1024
_MAX_DEPTH: Final = 64
_MAX_ENCRYPTED_KEYS: Final = 2  # each costs one RSA operation
SAMLP: Final = "urn:oasis:names:tc:SAML:2.0:protocol"
SAML: Final = "urn:oasis:names:tc:SAML:2.0:assertion"
DS: Final = "http://www.w3.org/2000/09/xmldsig#"
XENC: Final = "http://www.w3.org/2001/04/xmlenc#"
_XENC11: Final = "http://www.w3.org/2009/xmlenc11#"
_MORE: Final = "http://www.w3.org/2001/04/xmldsig-more#"
_EXC_C14N: Final = "http://www.w3.org/2001/10/xml-exc-c14n#"
NAMES: Final = {"samlp": SAMLP, "saml": SAML, "ds": DS, "xenc": XENC}
RESPONSE: Final = f"{{{SAMLP}}}Response"
_SIGNATURE: Final = f"{{{DS}}}Signature"
_TRANSFORM: Final = f"{{{DS}}}Transform"
_ENCRYPTION_METHOD: Final = f"{{{XENC}}}EncryptionMethod"

# By local name, whatever the namespace: what is spelled almost right is not let through as something unknown.
_ALLOWED: Final[dict[str, frozenset[str]]] = {
    "Transform": frozenset({f"{DS}enveloped-signature", _EXC_C14N}),
    "CanonicalizationMethod": frozenset({_EXC_C14N}),
    "SignatureMethod": frozenset(
        f"{_MORE}{name}" for name in ("rsa-sha256", "rsa-sha384", "rsa-sha512", "ecdsa-sha256", "ecdsa-sha384")
    ),
    "DigestMethod": frozenset({f"{XENC}sha256", f"{XENC}sha512"}),
    # Unauthenticated modes (CBC) and PKCS #1 v1.5 tell an attacker about the plain text (Bleichenbacher, padding
    # oracles).
    "EncryptionMethod": frozenset(
        {f"{XENC}rsa-oaep-mgf1p", f"{_XENC11}rsa-oaep", f"{_XENC11}aes128-gcm", f"{_XENC11}aes256-gcm"}
    ),
}
# Programs, references to elsewhere, a truncated MAC, and what is encrypted below the level where the guard looks.
_FORBIDDEN: Final = frozenset(
    {
        "CipherReference",
        "RetrievalMethod",
        "Object",
        "Manifest",
        "stylesheet",
        "transform",
        "XPath",
        "HMACOutputLength",
        "EncryptedAttribute",
        "EncryptedID",
    }
)
_XMLNS: Final = re.compile(rb"""\bxmlns(?::[^\s=]*)?\s*=\s*["']([^"']*)""")
_ABSOLUTE: Final = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*:")
_XML: Final = "{http://www.w3.org/XML/1998/namespace}"

Element = Any  # lxml's, which has no types; it never leaves `saml_library`


def decode(encoded: str) -> bytes:
    """The XML in a form field. Raises SignInFailed(response_invalid)."""
    need(len(encoded) <= MAX_ENCODED, "larger than 256 KiB")
    cleaned = re.sub(r"[\r\n\t ]", "", encoded)
    need(re.fullmatch(r"[A-Za-z0-9+/]+={0,2}", cleaned) is not None, "not base64")
    try:
        return base64.b64decode(cleaned)
    except binascii.Error:
        raise SignInFailed(Failure.RESPONSE_INVALID, "not base64") from None


def parse(raw: bytes) -> Element:
    """The root of a document that is UTF-8 and has no document type, comment, CDATA or processing instruction.

    Raises SignInFailed(response_invalid).
    """
    # `<!` begins all of them but the instruction; UTF-16 does not begin with `<`.
    need(raw[:1] == b"<" and b"<!" not in raw, "document type, comment, CDATA or another encoding than UTF-8")
    spaces = _XMLNS.findall(raw)
    need(len(spaces) <= _MAX_NAMESPACES, "too many namespaces")
    # Canonicalization of a relative namespace is an error that libraries have taken for an empty text.
    need(all(not uri or _ABSOLUTE.match(uri) for uri in spaces), "a relative namespace")
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        raw.decode("utf-8")
        root = etree.fromstring(raw, parser)
    except (etree.XMLSyntaxError, ValueError):
        raise SignInFailed(Failure.RESPONSE_INVALID, "not well-formed XML in UTF-8") from None
    encoding = root.getroottree().docinfo.encoding
    need(encoding is None or encoding.upper() in {"UTF-8", "US-ASCII", "ASCII"}, "another encoding than UTF-8")
    need(root.getprevious() is None and root.getnext() is None, "something beside the root element")
    return root


def check_message(root: Element) -> None:
    """Size, names and algorithms are what an honest message has. Raises SignInFailed."""
    count = depth = keys = 0
    ids: set[str] = set()
    for event, element in etree.iterwalk(root, events=("start", "end", "comment", "pi")):
        if event == "end":
            depth -= 1
            continue
        need(event == "start", "a comment or processing instruction")
        count, depth = count + 1, depth + 1
        need(count <= MAX_ELEMENTS and depth <= _MAX_DEPTH, "too many elements, or too deep")
        name = etree.QName(element).localname
        need(name not in _FORBIDDEN, f"an element {name}")
        if name in _ALLOWED:
            _check_algorithm(element, name)
        keys += name == "EncryptedKey"
        need(keys <= _MAX_ENCRYPTED_KEYS, "too many encrypted keys")
        _check_attributes(element, ids)


def _check_attributes(element: Element, ids: set[str]) -> None:
    """No ID stands there twice. ids: of the elements before, and then of this one, too."""
    need(len(element.attrib) <= _MAX_ATTRIBUTES, "too many attributes")
    for name, value in element.attrib.items():
        # libxml2 takes `xml:id` for an ID by itself: a reference could lead there instead.
        need(not name.startswith(_XML) or name == f"{_XML}lang", "an attribute of XML's own namespace")
        if name.lower() == "id":
            need(value not in ids, "two elements with one ID", Failure.SIGNATURE_VALIDATION_FAILED)
            ids.add(value)


def _check_algorithm(element: Element, name: str) -> None:
    parent = element.getparent()
    # The digest inside an EncryptionMethod is OAEP's; SHA-1 is not weak there.
    if name == "DigestMethod" and parent is not None and parent.tag == _ENCRYPTION_METHOD:
        return
    need(element.get("Algorithm") in _ALLOWED[name], f"an algorithm of {name} that is not accepted")
    if element.tag == _TRANSFORM:
        need(all(child.tag == f"{{{_EXC_C14N}}}InclusiveNamespaces" for child in element), "a transform with a program")


def check_signatures(root: Element, signable: tuple[Element, ...]) -> None:
    """Each signature stands directly in what it signs, alone, and signs that. Raises SignInFailed.

    signable: the elements that may be signed. Spec: SAML Core 5.4.2.
    """
    for signature in root.iter(_SIGNATURE):
        parent = signature.getparent()
        _sign(any(parent is each for each in signable), "a signature in another place")
        _sign(len(parent.findall("ds:Signature", NAMES)) == 1, "several signatures of one element")
        _sign(len(signature.findall("ds:SignedInfo", NAMES)) == 1, "not one SignedInfo")
        references = signature.findall(".//ds:Reference", NAMES)
        own = parent.get("ID")
        _sign(len(references) == 1 and bool(own), "not one reference to an ID")
        _sign(references[0].get("URI") == f"#{own}", "a reference to another element")


def check_response(root: Element, *, decrypted: bool) -> Element | None:
    """The one assertion of a response, its direct child; None while it is encrypted. Raises SignInFailed.

    Everything of `check_message` and `check_signatures` holds afterwards.
    """
    need(root.tag == RESPONSE, "the root is no Response")
    check_message(root)
    plain = root.findall(".//saml:Assertion", NAMES)
    hidden = root.findall(".//saml:EncryptedAssertion", NAMES)
    _sign(len(plain) + len(hidden) <= 1, "several assertions")
    _sign(all(each.getparent() is root for each in (*plain, *hidden)), "an assertion in another place")
    need(not (decrypted and hidden), "an assertion that is encrypted twice")
    assertion = plain[0] if plain else None
    check_signatures(root, (root,) if assertion is None else (root, assertion))
    return assertion


def need(holds: object, reason: str, failure: Failure = Failure.RESPONSE_INVALID) -> None:
    """Raises SignInFailed unless it holds."""
    if not holds:
        raise SignInFailed(failure, reason)


def _sign(holds: object, reason: str) -> None:
    need(holds, reason, Failure.SIGNATURE_VALIDATION_FAILED)
