"""Responses that must not sign anybody in, each made of a live one: what attackers send, and what providers get wrong.

XSW: Somorovsky et al., "On Breaking SAML: Be Whoever You Want to Be", 2012.
"""

import base64
import datetime as dt
import re
import zlib
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import xmlsec
from lxml import etree
from tests.federation.saml_forge import (
    DS,
    NAMES,
    SAML,
    SAMLP,
    Node,
    assertion_of,
    changed,
    copy_of,
    encrypt,
    one,
    opened,
    packed,
    raw,
    sign,
    unsigned,
)
from tests.federation.saml_idp import Pair

SIGNATURE = "signature_validation_failed"
INVALID = "response_invalid"


@dataclass(frozen=True)
class Live:
    """A live response, whose assertion is signed, and what an attacker may know.

    keys: the provider's, for what a provider itself gets wrong.  ours: our certificate, which is public.
    """

    encoded: str
    keys: Pair
    ours: str
    stranger: Pair

    @property
    def root(self) -> Node:
        """A fresh tree of it."""
        return opened(self.encoded)

    @property
    def text(self) -> str:
        """It as XML."""
        return base64.b64decode(self.encoded).decode()


Make = Callable[[Live], str]


# Wrapping: the signed assertion is moved, an unsigned one stands where it would be read -------------------------------


def _response_copy(root: Node) -> Node:
    evil = deepcopy(root)
    evil.set("ID", "_evil-response")
    for assertion in evil.findall("saml:Assertion", NAMES):
        evil.replace(assertion, copy_of(assertion))
    return unsigned(evil)


def xsw1(live: Live) -> str:
    """The signed response inside the signature of a copy."""
    root = sign(live.root, live.keys)
    evil = _response_copy(root)
    signature = deepcopy(one(root, "ds:Signature"))
    unsigned(root)
    signature.append(root)
    one(evil, "saml:Issuer").addnext(signature)
    return packed(evil)


def xsw2(live: Live) -> str:
    """The signed response beside the detached signature of a copy."""
    root = sign(live.root, live.keys)
    evil = _response_copy(root)
    signature = deepcopy(one(root, "ds:Signature"))
    one(evil, "saml:Issuer").addnext(signature)
    signature.addnext(unsigned(root))
    return packed(evil)


def xsw3(live: Live) -> str:
    """An unsigned assertion before the signed one."""
    root = live.root
    assertion_of(root).addprevious(copy_of(assertion_of(root)))
    return packed(root)


def xsw3_after(live: Live) -> str:
    """An unsigned assertion behind the signed one."""
    root = live.root
    assertion_of(root).addnext(copy_of(assertion_of(root)))
    return packed(root)


def xsw4(live: Live) -> str:
    """The signed assertion inside the unsigned one."""
    root = live.root
    good = assertion_of(root)
    evil = copy_of(good)
    root.replace(good, evil)
    evil.append(good)
    return packed(root)


def xsw5(live: Live) -> str:
    """The signature moved into a changed assertion, the original at the end."""
    root = live.root
    good = assertion_of(root)
    evil = copy_of(good)
    signature = one(good, "ds:Signature")
    root.replace(good, evil)
    one(evil, "saml:Issuer").addnext(signature)
    root.append(good)
    return packed(root)


def xsw6(live: Live) -> str:
    """The original inside the signature of the changed one."""
    root = live.root
    good = assertion_of(root)
    evil = copy_of(good)
    signature = one(good, "ds:Signature")
    root.replace(good, evil)
    one(evil, "saml:Issuer").addnext(signature)
    signature.append(good)
    return packed(root)


def xsw7(live: Live) -> str:
    """The changed one in Extensions, where schemas let anything stand."""
    root = live.root
    extensions = etree.Element(f"{SAMLP}Extensions")
    extensions.append(copy_of(assertion_of(root), new_id=assertion_of(root).get("ID")))
    one(root, "saml:Issuer").addnext(extensions)
    return packed(root)


def xsw8(live: Live) -> str:
    """The original in an Object of the signature of the changed one."""
    root = live.root
    good = assertion_of(root)
    evil = copy_of(good)
    signature = one(good, "ds:Signature")
    root.replace(good, evil)
    one(evil, "saml:Issuer").addnext(signature)
    etree.SubElement(signature, f"{DS}Object").append(good)
    return packed(root)


def xsw_same_id(live: Live) -> str:
    """Two assertions with one ID."""
    root = live.root
    assertion_of(root).addprevious(copy_of(assertion_of(root), new_id=assertion_of(root).get("ID")))
    return packed(root)


def xsw_xml_id(live: Live) -> str:
    """An `xml:id` that libxml2 takes for an ID by itself."""
    root = live.root
    good = assertion_of(root)
    status = one(root, "samlp:Status")
    status.set("{http://www.w3.org/XML/1998/namespace}id", good.get("ID"))
    return packed(root)


def xsw_foreign_root(live: Live) -> str:
    """A response inside another element."""
    outside = etree.Element("Envelope")
    outside.append(live.root)
    return packed(outside)


def xsw_subject(live: Live) -> str:
    """The signed assertion inside the subject of the changed one."""
    root = live.root
    good = assertion_of(root)
    evil = copy_of(good)
    root.replace(good, evil)
    one(evil, "saml:Subject/saml:SubjectConfirmation/saml:SubjectConfirmationData").append(good)
    return packed(root)


# Signatures ----------------------------------------------------------------------------------------------------------


def stripped(live: Live) -> str:
    """No signature at all."""
    root = live.root
    unsigned(assertion_of(root))
    return packed(root)


def self_signed(live: Live) -> str:
    """Signed with another key, whose certificate is in the KeyInfo (Casdoor CVE-2026-9090)."""
    return changed(live.encoded, live.stranger, lambda root: None)


def tampered(live: Live) -> str:
    """Another name in the signed assertion."""
    root = live.root
    one(root, "saml:Assertion/saml:Subject/saml:NameID").text = "admin@acme.test"
    return packed(root)


def response_signed_alone(live: Live) -> str:
    """The response signed instead of the assertion, which the setting asks for."""
    root = live.root
    unsigned(assertion_of(root))
    return packed(sign(root, live.keys))


def empty_reference(live: Live) -> str:
    """A reference to the whole document."""
    root = live.root
    one(assertion_of(root), ".//ds:Reference").set("URI", "")
    return packed(root)


def foreign_reference(live: Live) -> str:
    """A reference to the response."""
    root = live.root
    one(assertion_of(root), ".//ds:Reference").set("URI", f"#{root.get('ID')}")
    return packed(root)


def two_references(live: Live) -> str:
    """A second reference in one signature."""
    root = live.root
    reference = one(assertion_of(root), ".//ds:Reference")
    reference.addnext(deepcopy(reference))
    return packed(root)


def two_signed_infos(live: Live) -> str:
    """A second SignedInfo (xml-crypto CVE-2025-29775)."""
    root = live.root
    info = one(assertion_of(root), "ds:Signature/ds:SignedInfo")
    info.addnext(deepcopy(info))
    return packed(root)


def two_signatures(live: Live) -> str:
    """The signature twice."""
    root = live.root
    signature = one(assertion_of(root), "ds:Signature")
    signature.addnext(deepcopy(signature))
    return packed(root)


def misplaced_signature(live: Live) -> str:
    """The signature somewhere below."""
    root = live.root
    one(root, "samlp:Status").append(one(assertion_of(root), "ds:Signature"))
    return packed(root)


def hmac(live: Live) -> str:
    """The provider's public certificate as the secret of an HMAC."""
    root = live.root
    method = one(assertion_of(root), ".//ds:SignatureMethod")
    method.set("Algorithm", "http://www.w3.org/2000/09/xmldsig#hmac-sha1")
    return packed(root)


def sha1(live: Live) -> str:
    """A signature with SHA-1."""
    root = live.root
    sign(assertion_of(root), live.keys, digest=xmlsec.Transform.SHA1, method=xmlsec.Transform.RSA_SHA1)
    return packed(root)


def sha1_digest(live: Live) -> str:
    """A digest with SHA-1."""
    root = live.root
    sign(assertion_of(root), live.keys, digest=xmlsec.Transform.SHA1)
    return packed(root)


def inclusive_c14n(live: Live) -> str:
    """Canonicalization that takes the surroundings along."""
    root = live.root
    method = one(assertion_of(root), ".//ds:CanonicalizationMethod")
    method.set("Algorithm", "http://www.w3.org/TR/2001/REC-xml-c14n-20010315")
    return packed(root)


def comment_in_digest(live: Live) -> str:
    """A comment in the digest (xml-crypto CVE-2025-29774)."""
    root = live.root
    digest = one(assertion_of(root), ".//ds:DigestValue")
    digest.append(etree.Comment("x"))
    return packed(root)


# Programs and tricks of parsers --------------------------------------------------------------------------------------


def _transform(live: Live, algorithm: str, body: str) -> str:
    root = live.root
    transform = etree.fromstring(
        f'<ds:Transform xmlns:ds="{NAMES["ds"]}" Algorithm="{algorithm}">{body}</ds:Transform>'
    )
    one(assertion_of(root), ".//ds:Transforms").insert(0, transform)
    return packed(root)


_EXPONENTIAL = (
    '<xsl:stylesheet xmlns:xsl="http://www.w3.org/1999/XSL/Transform" version="1.0">'
    '<xsl:template match="/"><xsl:call-template name="t"><xsl:with-param name="n" select="27"/></xsl:call-template>'
    '</xsl:template><xsl:template name="t"><xsl:param name="n"/><xsl:if test="$n &gt; 0">'
    '<xsl:call-template name="t"><xsl:with-param name="n" select="$n - 1"/></xsl:call-template>'
    '<xsl:call-template name="t"><xsl:with-param name="n" select="$n - 1"/></xsl:call-template>'
    "</xsl:if></xsl:template></xsl:stylesheet>"
)


def xslt(live: Live) -> str:
    """A stylesheet that runs for hours, as a transform (python3-saml #447)."""
    return _transform(live, "http://www.w3.org/TR/1999/REC-xslt-19991116", _EXPONENTIAL)


def xslt_in_honest_transform(live: Live) -> str:
    """The same below a transform that is allowed."""
    return _transform(live, "http://www.w3.org/2001/10/xml-exc-c14n#", _EXPONENTIAL)


def xpath(live: Live) -> str:
    """An XPath filter."""
    body = f'<ds:XPath xmlns:ds="{NAMES["ds"]}">count(//. | //@* | //namespace::*) &gt; 0</ds:XPath>'
    return _transform(live, "http://www.w3.org/TR/1999/REC-xpath-19991116", body)


def base64_transform(live: Live) -> str:
    """A transform that reads texts."""
    return _transform(live, "http://www.w3.org/2000/09/xmldsig#base64", "")


def _with_doctype(live: Live, doctype: str, use: str = "") -> str:
    text = re.sub(r"^<\?xml[^>]*\?>\s*", "", live.text)
    return raw(f"<?xml version='1.0'?>{doctype}{text.replace('alice@acme.test', use or 'alice@acme.test')}")


def entity_expansion(live: Live) -> str:
    """A billion laughs."""
    lines = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    return _with_doctype(live, f'<!DOCTYPE r [<!ENTITY l0 "lol">{lines}]>', "&l9;")


def quadratic_expansion(live: Live) -> str:
    """One large entity, often."""
    return _with_doctype(live, f'<!DOCTYPE r [<!ENTITY a "{"a" * 50_000}">]>', "&a;" * 1000)


def external_entity(live: Live) -> str:
    """A file of the server."""
    return _with_doctype(live, '<!DOCTYPE r [<!ENTITY f SYSTEM "file:///etc/passwd">]>', "&f;")


def external_dtd(live: Live) -> str:
    """A document type from elsewhere."""
    return _with_doctype(live, '<!DOCTYPE r SYSTEM "http://169.254.169.254/dtd">')


def comment_in_name(live: Live) -> str:
    """A comment that cuts the name for some readers (VU#475445)."""
    return raw(live.text.replace("alice@acme.test<", "admin@acme.test<!-- -->.evil.test<", 1))


def instruction_in_name(live: Live) -> str:
    """A processing instruction that does."""
    return raw(live.text.replace("alice@acme.test<", "admin@acme.test<?x y?>.evil.test<", 1))


def cdata_in_name(live: Live) -> str:
    """A CDATA section."""
    return raw(live.text.replace("alice@acme.test<", "<![CDATA[admin@acme.test]]><", 1))


def comment_before(live: Live) -> str:
    """A comment beside the root."""
    return raw(re.sub(r"^(<\?xml[^>]*\?>)?", "<!-- x -->", live.text))


def instruction_before(live: Live) -> str:
    """A stylesheet instruction beside the root."""
    text = re.sub(r"^<\?xml[^>]*\?>\s*", "", live.text)
    return raw(f'<?xml version="1.0"?><?xml-stylesheet href="x"?>{text}')


def utf16(live: Live) -> str:
    """Another encoding."""
    text = re.sub(r"^<\?xml[^>]*\?>\s*", "", live.text)
    return raw(("<?xml version='1.0' encoding='UTF-16'?>" + text).encode("utf-16"))


def utf7(live: Live) -> str:
    """An encoding that hides brackets."""
    text = re.sub(r"^<\?xml[^>]*\?>\s*", "", live.text)
    return raw(f"<?xml version='1.0' encoding='UTF-7'?>{text}")


def relative_namespace(live: Live) -> str:
    """A namespace whose canonicalization fails (void canonicalization)."""
    return raw(live.text.replace("<ns1:Assertion ", '<ns1:Assertion xmlns:r="relative" ', 1))


def repeated_attribute(live: Live) -> str:
    """An attribute twice."""
    return raw(live.text.replace(" Version=", ' Version="2.0" Version=', 1))


def same_attribute_by_namespace(live: Live) -> str:
    """An attribute twice, by two prefixes of one namespace."""
    twice = '<ns1:Assertion xmlns:p="urn:x" xmlns:q="urn:x" p:a="1" q:a="2" '
    return raw(live.text.replace("<ns1:Assertion ", twice, 1))


# Size and shape ------------------------------------------------------------------------------------------------------


def many_elements(live: Live) -> str:
    """Thousands of elements."""
    return raw(live.text.replace("<ns0:Status>", f"<ns0:Extensions>{'<a/>' * 9000}</ns0:Extensions><ns0:Status>", 1))


def deep_elements(live: Live) -> str:
    """Hundreds of levels."""
    deep = "<a>" * 1500 + "</a>" * 1500
    return raw(live.text.replace("<ns0:Status>", f"<ns0:Extensions>{deep}</ns0:Extensions><ns0:Status>", 1))


def many_attributes(live: Live) -> str:
    """An element whose attributes are sorted for seconds."""
    attributes = " ".join(f'a{n}=""' for n in range(15_000))
    return raw(live.text.replace("<ns1:Assertion ", f"<ns1:Assertion {attributes} ", 1))


def many_namespaces(live: Live) -> str:
    """Namespaces that are looked up one by one."""
    spaces = " ".join(f'xmlns:n{n}="urn:{n}"' for n in range(6_000))
    return raw(live.text.replace("<ns1:Assertion ", f"<ns1:Assertion {spaces} ", 1))


def many_keys(live: Live) -> str:
    """Encrypted keys, each an RSA operation."""
    root = encrypt(live.root, live.ours)
    key = one(root, ".//xenc:EncryptedKey")
    for _ in range(100):
        key.addnext(deepcopy(key))
    return packed(root)


def too_large(live: Live) -> str:
    """More than 256 KiB."""
    return raw(live.text + " " * 195_000)


def compressed(live: Live) -> str:
    """A deflated response, which this binding does not know."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    return base64.b64encode(deflate.compress(b"<" + b"A" * 50_000_000) + deflate.flush()).decode()


# Encryption ----------------------------------------------------------------------------------------------------------


def encrypted_unsigned(live: Live) -> str:
    """Encrypted for our public key, signed by nobody (Keycloak CVE-2026-2092)."""
    root = live.root
    unsigned(assertion_of(root))
    return packed(encrypt(root, live.ours))


def encrypted_beside_signed(live: Live) -> str:
    """A hidden assertion beside the signed one."""
    root = live.root
    good = deepcopy(assertion_of(root))
    unsigned(assertion_of(root))
    encrypt(root, live.ours)
    root.append(good)
    return packed(root)


def encrypted_program(live: Live) -> str:
    """A stylesheet that shows only after decryption."""
    return packed(encrypt(opened(xslt(live)), live.ours))


def encrypted_comment(live: Live) -> str:
    """A comment that shows only after decryption."""
    root = live.root
    one(assertion_of(root), "saml:Subject/saml:NameID").append(etree.Comment("x"))
    return packed(encrypt(root, live.ours))


def encrypted_twice(live: Live) -> str:
    """An encrypted assertion inside an encrypted one."""
    root = encrypt(live.root, live.ours)
    inner = one(root, "saml:EncryptedAssertion")
    inner.tag = f"{SAML}Assertion"
    encrypt(root, live.ours)
    return packed(root)


def encrypted_for_somebody(live: Live) -> str:
    """Encrypted for another key."""
    return packed(encrypt(live.root, live.stranger.certificate))


def cipher_reference(live: Live) -> str:
    """A cipher text from elsewhere."""
    root = encrypt(live.root, live.ours)
    data = one(root, "saml:EncryptedAssertion/xenc:EncryptedData/xenc:CipherData")
    for child in list(data):
        data.remove(child)
    etree.SubElement(data, f"{{{NAMES['xenc']}}}CipherReference").set("URI", "http://169.254.169.254/")
    return packed(root)


def retrieval_method(live: Live) -> str:
    """A key from elsewhere."""
    root = live.root
    info = one(assertion_of(root), "ds:Signature/ds:KeyInfo")
    etree.SubElement(info, f"{DS}RetrievalMethod").set("URI", "http://169.254.169.254/")
    return packed(root)


# What a provider itself gets wrong: everything below is signed as it has to be ---------------------------------------


def _again(change: Callable[[Node], Any]) -> Make:
    def make(live: Live) -> str:
        return changed(live.encoded, live.keys, change)

    return make


def _set(path: str, name: str, value: str | float | None) -> Make:
    """An attribute set, to a time so many seconds from now if it is a number, or gone."""

    def change(root: Node) -> None:
        node = one(root, path) if path else root
        if value is None:
            node.attrib.pop(name, None)
        else:
            node.set(name, value if isinstance(value, str) else _at(value))

    return _again(change)


def _text(path: str, text: str) -> Make:
    def change(root: Node) -> None:
        one(root, path).text = text

    return _again(change)


def _gone(path: str) -> Make:
    def change(root: Node) -> None:
        node = one(root, path)
        node.getparent().remove(node)

    return _again(change)


def _append(path: str, xml: str) -> Make:
    return _again(lambda root: one(root, path).append(etree.fromstring(xml)))


def _at(seconds: float) -> str:
    return (dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def longer_recipient(live: Live) -> str:
    """A recipient that only contains our address."""
    data = "saml:Assertion/saml:Subject/saml:SubjectConfirmation/saml:SubjectConfirmationData"
    return changed(
        live.encoded,
        live.keys,
        lambda root: one(root, data).set("Recipient", f"https://evil.test/?{one(root, data).get('Recipient')}"),
    )


def longer_destination(live: Live) -> str:
    """A destination that only begins with our address."""
    root = live.root
    root.set("Destination", f"{root.get('Destination')}-suffix")
    return packed(root)


def second_audience_restriction(live: Live) -> str:
    """Two restrictions, of which only one is met."""
    name = f'saml:AudienceRestriction xmlns:saml="{NAMES["saml"]}"'
    xml = f"<{name}><saml:Audience>urn:x</saml:Audience></saml:AudienceRestriction>"
    return _append("saml:Assertion/saml:Conditions", xml)(live)


CONDITIONS = "saml:Assertion/saml:Conditions"
CONFIRMATION = "saml:Assertion/saml:Subject/saml:SubjectConfirmation"
DATA = f"{CONFIRMATION}/saml:SubjectConfirmationData"
STATEMENT = "saml:Assertion/saml:AuthnStatement"
SENDER_VOUCHES = "urn:oasis:names:tc:SAML:2.0:cm:sender-vouches"
XSI = "http://www.w3.org/2001/XMLSchema-instance"
UNKNOWN_CONDITION = f'<saml:Condition xmlns:saml="{NAMES["saml"]}" xmlns:xsi="{XSI}" xsi:type="saml:OneTimeUseType"/>'

# name → how it is made, and the failure that the page names
CASES: dict[str, tuple[Make, str]] = {
    "XSW 1": (xsw1, SIGNATURE),
    "XSW 2": (xsw2, SIGNATURE),
    "XSW 3": (xsw3, SIGNATURE),
    "XSW 3, behind": (xsw3_after, SIGNATURE),
    "XSW 4": (xsw4, SIGNATURE),
    "XSW 5": (xsw5, SIGNATURE),
    "XSW 6": (xsw6, SIGNATURE),
    "XSW 7": (xsw7, SIGNATURE),
    "XSW 8": (xsw8, INVALID),
    "XSW, one ID": (xsw_same_id, SIGNATURE),
    "XSW, xml:id": (xsw_xml_id, INVALID),
    "XSW, foreign root": (xsw_foreign_root, INVALID),
    "XSW, in the subject": (xsw_subject, SIGNATURE),
    "no signature": (stripped, SIGNATURE),
    "self-signed certificate in KeyInfo": (self_signed, SIGNATURE),
    "tampered": (tampered, SIGNATURE),
    "only the response signed": (response_signed_alone, SIGNATURE),
    "empty reference": (empty_reference, SIGNATURE),
    "foreign reference": (foreign_reference, SIGNATURE),
    "two references": (two_references, SIGNATURE),
    "two SignedInfo": (two_signed_infos, SIGNATURE),
    "two signatures": (two_signatures, SIGNATURE),
    "misplaced signature": (misplaced_signature, SIGNATURE),
    "HMAC with the public key": (hmac, INVALID),
    "RSA-SHA1": (sha1, INVALID),
    "SHA-1 digest": (sha1_digest, INVALID),
    "inclusive canonicalization": (inclusive_c14n, INVALID),
    "comment in the digest": (comment_in_digest, INVALID),
    "XSLT": (xslt, INVALID),
    "XSLT in an honest transform": (xslt_in_honest_transform, INVALID),
    "XPath": (xpath, INVALID),
    "base64 transform": (base64_transform, INVALID),
    "billion laughs": (entity_expansion, INVALID),
    "quadratic expansion": (quadratic_expansion, INVALID),
    "external entity": (external_entity, INVALID),
    "external DTD": (external_dtd, INVALID),
    "comment in the NameID": (comment_in_name, INVALID),
    "instruction in the NameID": (instruction_in_name, INVALID),
    "CDATA in the NameID": (cdata_in_name, INVALID),
    "comment before the root": (comment_before, INVALID),
    "instruction before the root": (instruction_before, INVALID),
    "UTF-16": (utf16, INVALID),
    "UTF-7": (utf7, INVALID),
    "relative namespace": (relative_namespace, INVALID),
    "attribute twice": (repeated_attribute, INVALID),
    "attribute twice by namespace": (same_attribute_by_namespace, INVALID),
    "many elements": (many_elements, INVALID),
    "deep elements": (deep_elements, INVALID),
    "many attributes": (many_attributes, INVALID),
    "many namespaces": (many_namespaces, INVALID),
    "many encrypted keys": (many_keys, INVALID),
    "too large": (too_large, INVALID),
    "deflated bomb": (compressed, INVALID),
    "encrypted, unsigned": (encrypted_unsigned, SIGNATURE),
    "encrypted beside signed": (encrypted_beside_signed, SIGNATURE),
    "encrypted XSLT": (encrypted_program, INVALID),
    "encrypted comment": (encrypted_comment, INVALID),
    "encrypted twice": (encrypted_twice, SIGNATURE),
    "encrypted for somebody else": (encrypted_for_somebody, INVALID),
    "CipherReference": (cipher_reference, INVALID),
    "RetrievalMethod": (retrieval_method, INVALID),
    "other issuer": (_text("saml:Assertion/saml:Issuer", "https://evil.test"), "issuer_mismatch"),
    "other issuer of the response": (_text("saml:Issuer", "https://evil.test"), "issuer_mismatch"),
    "issuer with a slash": (_text("saml:Assertion/saml:Issuer", "https://idp.acme.test/metadata/"), "issuer_mismatch"),
    "no audience": (_gone(f"{CONDITIONS}/saml:AudienceRestriction"), "audience_mismatch"),
    "other audience": (_text(f"{CONDITIONS}/saml:AudienceRestriction/saml:Audience", "urn:x"), "audience_mismatch"),
    "second audience restriction": (second_audience_restriction, "audience_mismatch"),
    "no recipient": (_set(DATA, "Recipient", None), "recipient_mismatch"),
    "other recipient": (_set(DATA, "Recipient", "https://evil.test/acs"), "recipient_mismatch"),
    "recipient that contains ours": (longer_recipient, "recipient_mismatch"),
    "other destination": (_set("", "Destination", "https://evil.test/acs"), "recipient_mismatch"),
    "destination that begins with ours": (longer_destination, "recipient_mismatch"),
    "empty destination": (_set("", "Destination", ""), "recipient_mismatch"),
    "expired": (_set(CONDITIONS, "NotOnOrAfter", -61), "clock_skew"),
    "not yet": (_set(CONDITIONS, "NotBefore", 90), "clock_skew"),
    "no end": (_set(CONDITIONS, "NotOnOrAfter", None), INVALID),
    "end in local time": (_set(CONDITIONS, "NotOnOrAfter", "2099-01-01T00:00:00+00:00"), INVALID),
    "end on no day": (_set(CONDITIONS, "NotOnOrAfter", "2099-02-31T00:00:00Z"), INVALID),
    "no conditions": (_gone(CONDITIONS), INVALID),
    "unknown condition": (_append(CONDITIONS, UNKNOWN_CONDITION), INVALID),
    "confirmation expired": (_set(DATA, "NotOnOrAfter", -61), "clock_skew"),
    "confirmation without end": (_set(DATA, "NotOnOrAfter", None), INVALID),
    "confirmation with a beginning": (_set(DATA, "NotBefore", -10), INVALID),
    "confirmation of another kind": (
        _set(CONFIRMATION, "Method", "urn:oasis:names:tc:SAML:2.0:cm:sender-vouches"),
        INVALID,
    ),
    "no confirmation": (_gone(CONFIRMATION), INVALID),
    "no confirmation data": (_gone(DATA), "recipient_mismatch"),
    "other request": (_set(DATA, "InResponseTo", "_other"), "state_mismatch"),
    "no request in the confirmation": (_set(DATA, "InResponseTo", None), "state_mismatch"),
    "request stripped from the response": (_set("", "InResponseTo", None), "unsolicited_response"),
    "request of nobody": (_set("", "InResponseTo", "_" + "A" * 43), "state_mismatch"),
    "no authentication": (_gone(STATEMENT), INVALID),
    "authenticated in the future": (_set(STATEMENT, "AuthnInstant", 120), "clock_skew"),
    "session over": (_set(STATEMENT, "SessionNotOnOrAfter", -61), "clock_skew"),
    "no subject": (_gone("saml:Assertion/saml:Subject"), INVALID),
    "no name": (_gone("saml:Assertion/saml:Subject/saml:NameID"), "account_not_found"),
    "empty name": (_text("saml:Assertion/saml:Subject/saml:NameID", ""), "account_not_found"),
    "name with a space at its end": (_text("saml:Assertion/saml:Subject/saml:NameID", "admin "), "account_not_found"),
    "name of 300 characters": (_text("saml:Assertion/saml:Subject/saml:NameID", "a" * 300), "account_not_found"),
    "elements in the name": (_append("saml:Assertion/saml:Subject/saml:NameID", "<b>x</b>"), INVALID),
    "version 1.1": (_set("saml:Assertion", "Version", "1.1"), INVALID),
    "response of version 1.1": (_set("", "Version", "1.1"), INVALID),
    "no status": (_gone("samlp:Status"), INVALID),
}
