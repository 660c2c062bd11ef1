"""Signs, encrypts and rearranges SAML responses: as providers do, and as attackers do."""

import base64
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import xmlsec
from lxml import etree
from tests.federation.saml_idp import Pair

NAMES = {
    "samlp": "urn:oasis:names:tc:SAML:2.0:protocol",
    "saml": "urn:oasis:names:tc:SAML:2.0:assertion",
    "ds": "http://www.w3.org/2000/09/xmldsig#",
    "xenc": "http://www.w3.org/2001/04/xmlenc#",
}
SAML = f"{{{NAMES['saml']}}}"
SAMLP = f"{{{NAMES['samlp']}}}"
DS = f"{{{NAMES['ds']}}}"

Node = Any  # lxml has no types
Change = Callable[[Node], object]


def opened(encoded: str) -> Node:
    """The tree of a response in base64."""
    return etree.fromstring(base64.b64decode(encoded))


def packed(root: Node) -> str:
    """A tree as it is posted."""
    return base64.b64encode(etree.tostring(root)).decode()


def raw(xml: str | bytes) -> str:
    """A text as it is posted."""
    return base64.b64encode(xml.encode() if isinstance(xml, str) else xml).decode()


def one(root: Node, path: str) -> Node:
    """The first element at a path."""
    found = root.find(path, NAMES)
    assert found is not None, path
    return found


def assertion_of(root: Node) -> Node:
    """The assertion."""
    return one(root, "saml:Assertion")


def unsigned(node: Node) -> Node:
    """The element without its signature."""
    for signature in node.findall("ds:Signature", NAMES):
        node.remove(signature)
    return node


def sign(node: Node, keys: Pair, *, digest: Any = None, method: Any = None) -> Node:
    """The element with a signature over itself, behind its issuer."""
    unsigned(node)
    method = method or xmlsec.Transform.RSA_SHA256
    signature = xmlsec.template.create(node, xmlsec.Transform.EXCL_C14N, method, ns="ds")
    reference = xmlsec.template.add_reference(signature, digest or xmlsec.Transform.SHA256, uri=f"#{node.get('ID')}")
    xmlsec.template.add_transform(reference, xmlsec.Transform.ENVELOPED)
    xmlsec.template.add_transform(reference, xmlsec.Transform.EXCL_C14N)
    xmlsec.template.add_x509_data(xmlsec.template.ensure_key_info(signature))
    one(node, "saml:Issuer").addnext(signature)
    xmlsec.tree.add_ids(node.getroottree().getroot(), ["ID"])
    context = xmlsec.SignatureContext()
    context.key = xmlsec.Key.from_memory(keys.key, xmlsec.KeyFormat.PEM)
    context.key.load_cert_from_memory(keys.certificate, xmlsec.KeyFormat.PEM)
    context.sign(signature)
    return node


def encrypt(root: Node, certificate: str, *, data: Any = None, key: Any = None) -> Node:
    """The response with its assertion encrypted: AES-256-GCM and RSA-OAEP, unless said otherwise."""
    assertion = assertion_of(root)
    hidden = etree.Element(f"{SAML}EncryptedAssertion", nsmap={"saml": NAMES["saml"]})
    root.replace(assertion, hidden)
    hidden.append(assertion)
    template = xmlsec.template.encrypted_data_create(
        hidden, data or xmlsec.Transform.AES256_GCM, type=xmlsec.EncryptionType.ELEMENT, ns="xenc"
    )
    xmlsec.template.encrypted_data_ensure_cipher_value(template)
    info = xmlsec.template.encrypted_data_ensure_key_info(template, ns="ds")
    wrapped = xmlsec.template.add_encrypted_key(info, key or xmlsec.Transform.RSA_OAEP)
    xmlsec.template.encrypted_data_ensure_cipher_value(wrapped)
    manager = xmlsec.KeysManager()
    manager.add_key(xmlsec.Key.from_memory(certificate, xmlsec.KeyFormat.CERT_PEM))
    context = xmlsec.EncryptionContext(manager)
    size = 192 if data is xmlsec.Transform.DES3 else 256
    kind = xmlsec.KeyData.DES if data is xmlsec.Transform.DES3 else xmlsec.KeyData.AES
    context.key = xmlsec.Key.generate(kind, size, xmlsec.KeyDataType.SESSION)
    context.encrypt_xml(template, assertion)
    return root


def changed(encoded: str, keys: Pair, change: Change) -> str:
    """The response after something about its assertion was changed by a provider that signs it again."""
    root = opened(encoded)
    change(root)
    sign(assertion_of(root), keys)
    return packed(root)


def copy_of(node: Node, *, subject: str = "admin@acme.test", new_id: str | None = "_evil") -> Node:
    """A copy of an assertion about somebody else, not signed."""
    made = unsigned(deepcopy(node))
    one(made, "saml:Subject/saml:NameID").text = subject
    if new_id is not None:
        made.set("ID", new_id)
    return made
