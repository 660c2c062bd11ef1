"""The XML libraries behind SAML (python3-saml, xmlsec, lxml): the only module that imports them, and only when needed.

What leaves this module is plain: values that were read from the very tree whose signature was verified. python3-saml
has its second say in `OpenedResponse.confirm`, over the original message and by its own reading of it, so that one
mistake alone lets nothing through.
Spec: SAML Core 2.3.3, 3.2.2, 5.4; XML Signature 3.2; XML Encryption 4.4; SAML Bindings 3.5.4.
"""

import base64
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, Final
from urllib.parse import urlsplit

import xmlsec
from lxml import etree
from onelogin.saml2 import xml_utils
from onelogin.saml2.response import OneLogin_Saml2_Response
from onelogin.saml2.settings import OneLogin_Saml2_Settings
from onelogin.saml2.utils import OneLogin_Saml2_Utils, OneLogin_Saml2_ValidationError

from watchword_federation.connectors.saml_guard import (
    NAMES,
    SAML,
    SAMLP,
    Element,
    check_message,
    check_response,
    check_signatures,
    decode,
    need,
    parse,
)
from watchword_federation.connectors.saml_response import (
    SUCCESS,
    Assertion,
    Confirmation,
    Envelope,
    Expected,
    NameId,
)
from watchword_federation.failures import Failure, SignInFailed
from watchword_runtime.saml_metadata import Certificate

UNSPECIFIED: Final = "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified"
_CONDITIONS: Final = frozenset(
    f"{{{SAML}}}{name}" for name in ("AudienceRestriction", "OneTimeUse", "ProxyRestriction")
)
_NOWHERE: Final = "https://idp.invalid/"  # python3-saml wants addresses that the checks of a response never use
_SCHEMAS: Final = Path(xml_utils.__file__).with_name("schemas")
# Neither lxml nor xmlsec says that a schema, or a keys manager, may be used by two threads at once.
_VALIDATING: Final = Lock()
_DECRYPTING: Final = Lock()


@cache
def _schema(name: str) -> Any:
    return etree.XMLSchema(etree.parse(_SCHEMAS / name))


def _validate_xml(xml: Any, schema: str, debug: bool = False) -> Any:
    """As python3-saml does it, which compiles the schema anew for each message: most of what a response cost."""
    root = xml_utils.OneLogin_Saml2_XML.to_etree(xml)
    with _VALIDATING:
        return root if _schema(schema).validate(root) else "invalid_xml"


xml_utils.OneLogin_Saml2_XML.validate_xml = staticmethod(_validate_xml)


@lru_cache(maxsize=8)
def _opening_with(key: str) -> Any:
    manager = xmlsec.KeysManager()
    manager.add_key(xmlsec.Key.from_memory(key, xmlsec.constants.KeyDataFormatPem, None))
    return manager


def _decrypt_element(encrypted_data: Any, key: str, debug: bool = False, inplace: bool = False) -> Any:
    """As python3-saml does it, which makes a keys manager for each message: that reads all of the system's authorities,
    nine tenths of what an encrypted response cost.
    """
    with _DECRYPTING:
        context = xmlsec.EncryptionContext(_opening_with(key))
        return context.decrypt(encrypted_data if inplace else deepcopy(encrypted_data))


OneLogin_Saml2_Utils.decrypt_element = staticmethod(_decrypt_element)


@dataclass(frozen=True, slots=True)
class Trust:
    """What a signature is checked with. certificates: that are in time.  expired: only to say so.

    signature: `assertion`, `response` or `either`.
    """

    certificates: tuple[Certificate, ...]
    expired: tuple[Certificate, ...]
    signature: str
    require_encryption: bool = False


@dataclass(frozen=True, slots=True)
class OpenedResponse:
    """A response whose signature was verified. is_encrypted: whether the assertion came so."""

    envelope: Envelope
    assertion: Assertion
    is_encrypted: bool
    signer: Certificate
    _raw: bytes = field(repr=False)
    _trust: Trust
    _keys: tuple[tuple[str, str], ...] = field(repr=False)

    def confirm(self, expected: Expected) -> None:
        """python3-saml accepts the same message as well. Raises SignInFailed."""
        parts = urlsplit(expected.acs_url)
        request = {"https": "on" if parts.scheme == "https" else "off", "http_host": parts.netloc}
        request["script_name"] = parts.path
        reason = "no key"
        sides = expected.issuer, expected.entity_id, self._trust
        # What came in the open needs no key of ours.
        several = (_settings(*sides, *pair) for pair in self._keys) if self.is_encrypted else (_open_settings(*sides),)
        for settings in several:
            try:
                response = OneLogin_Saml2_Response(settings, base64.b64encode(self._raw))
                response.is_valid(request, expected.request_id, raise_exceptions=True)
            except OneLogin_Saml2_ValidationError as error:
                reason = f"validation {error.code}"
            except Exception as error:
                reason = type(error).__name__
            else:
                return
        raise SignInFailed(Failure.RESPONSE_INVALID, f"python3-saml: {reason}")


@dataclass(frozen=True, slots=True)
class PostedResponse:
    """A response as it came, read once. Nothing of it is trusted: its shape was checked, its signature was not."""

    envelope: Envelope
    _raw: bytes = field(repr=False)
    _root: Element = field(repr=False)
    _assertion: Element | None = field(repr=False)

    def open(self, trust: Trust, *, keys: Sequence[tuple[str, str]]) -> OpenedResponse:
        """The response, decrypted if need be, its signature verified. Raises SignInFailed.

        keys: ours, each as private key and certificate in PEM; the one in use first.
        """
        whole = root = self._root  # what a signature of the response covers: the assertion as it came
        assertion = self._assertion
        is_encrypted = assertion is None
        need(not (trust.require_encryption and not is_encrypted), "the assertion is not encrypted, and has to be")
        if assertion is None:
            need(whole.find("saml:EncryptedAssertion", NAMES) is not None, "no assertion")
            # Serialized and parsed again: what was hidden passes the same guard as what came in the open.
            root = parse(_decrypted(whole, keys))
            assertion = check_response(root, decrypted=True)
            need(assertion is not None, "no assertion was encrypted")
        signer = _verified(whole, root, trust)
        return OpenedResponse(self.envelope, _assertion(assertion), is_encrypted, signer, self._raw, trust, tuple(keys))


def read_response(encoded: str) -> PostedResponse:
    """The response in a form field. Raises SignInFailed."""
    raw = decode(encoded)
    root = parse(raw)
    assertion = check_response(root, decrypted=False)
    return PostedResponse(_envelope(root), raw, root, assertion)


def open_message(encoded: str, trust: Trust) -> bytes:
    """A logout request or response in a form field whose own signature was verified. Raises SignInFailed."""
    raw = decode(encoded)
    root = parse(raw)
    check_message(root)
    check_signatures(root, (root,))
    need(root.find("ds:Signature", NAMES) is not None, "not signed", Failure.SIGNATURE_VALIDATION_FAILED)
    _verify(root, f"/samlp:{etree.QName(root).localname}/ds:Signature", trust)
    return raw


@dataclass(frozen=True, slots=True)
class LogoutMessage:
    """A logout request or response, whose signature is checked elsewhere. is_request: or else an answer."""

    is_request: bool
    id: str
    issuer: str
    destination: str | None
    in_response_to: str | None
    not_on_or_after: str | None
    name_id: NameId | None
    session_indexes: tuple[str, ...]
    is_success: bool


def read_logout(raw: bytes) -> LogoutMessage:
    """What a logout message says. Raises SignInFailed. Spec: SAML Core 3.7.1, 3.7.2."""
    root = parse(raw)
    check_message(root)
    check_signatures(root, (root,))
    is_request = root.tag == f"{{{SAMLP}}}LogoutRequest"
    need(is_request or root.tag == f"{{{SAMLP}}}LogoutResponse", "neither a logout request nor a response")
    need(root.get("Version") == "2.0" and root.get("ID"), "no version 2.0 or no ID")
    name_id = root.find("saml:NameID", NAMES)
    need(not is_request or name_id is not None, "no NameID")
    status = root.find("samlp:Status/samlp:StatusCode", NAMES)
    return LogoutMessage(
        is_request=is_request,
        id=root.get("ID"),
        issuer=_text(_only(root, "saml:Issuer")),
        destination=root.get("Destination"),
        in_response_to=root.get("InResponseTo"),
        not_on_or_after=root.get("NotOnOrAfter"),
        name_id=None if name_id is None else _name_id(name_id),
        session_indexes=tuple(_text(each) for each in root.findall("samlp:SessionIndex", NAMES)),
        is_success=status is not None and status.get("Value") == SUCCESS,
    )


def _decrypted(root: Element, keys: Sequence[tuple[str, str]]) -> bytes:
    """The response with the assertion in clear. Raises SignInFailed when none of our keys opens it."""
    for key, _ in keys:
        copy = deepcopy(root)
        hidden = copy.find("saml:EncryptedAssertion", NAMES)
        data = hidden.findall("xenc:EncryptedData", NAMES)
        need(len(data) == 1, "not one EncryptedData")
        try:
            plain = OneLogin_Saml2_Utils.decrypt_element(data[0], key, inplace=True)
            copy.replace(hidden, plain)
            return bytes(etree.tostring(copy))
        except (xmlsec.Error, ValueError, TypeError):
            continue
    raise SignInFailed(Failure.RESPONSE_INVALID, "no key of ours decrypts it: let the provider read our metadata again")


def _verified(whole: Element, root: Element, trust: Trust) -> Certificate:
    """Who signed. Every signature that is there must be right, and what has to be signed must be.

    whole: the response as it came.  root: the response with its assertion in clear. Spec: SAML Profiles 4.1.4.5.
    """
    in_assertion = root.find("saml:Assertion/ds:Signature", NAMES) is not None
    in_response = whole.find("ds:Signature", NAMES) is not None
    present = {name for name, there in (("assertion", in_assertion), ("response", in_response)) if there}
    wanted = present if trust.signature == "either" else {trust.signature}
    if not wanted or not wanted <= present:
        found = " and ".join(sorted(present)) or "nothing"
        reason = f"{found} is signed, the setting `signature` asks for {trust.signature}"
        raise SignInFailed(Failure.SIGNATURE_VALIDATION_FAILED, reason)
    signer = None
    if in_response:
        signer = _verify(whole, OneLogin_Saml2_Utils.RESPONSE_SIGNATURE_XPATH, trust)
    if in_assertion:
        signer = _verify(root, "/samlp:Response/saml:Assertion/ds:Signature", trust)
    if signer is None:
        raise SignInFailed(Failure.SIGNATURE_VALIDATION_FAILED, "nothing is signed")
    return signer


def _verify(root: Element, xpath: str, trust: Trust) -> Certificate:
    """The pinned certificate whose key made the one signature there; certificates in the message do not count."""
    for certificate in trust.certificates:
        if _is_signed_by(root, xpath, certificate):
            return certificate
    if any(_is_signed_by(root, xpath, certificate) for certificate in trust.expired):
        raise SignInFailed(Failure.CERTIFICATE_EXPIRED, "signed with a certificate that has expired")
    raise SignInFailed(Failure.SIGNATURE_VALIDATION_FAILED, "no known certificate verifies the signature")


def _is_signed_by(root: Element, xpath: str, certificate: Certificate) -> bool:
    try:
        return OneLogin_Saml2_Utils.validate_sign(root, cert=certificate.pem, xpath=xpath) is True
    except Exception:  # whatever a signature makes a library raise, it is not verified
        return False


@lru_cache(maxsize=64)
def _open_settings(issuer: str, entity_id: str, trust: Trust) -> OneLogin_Saml2_Settings:
    """Settings without a key of ours; making them costs a third of what python3-saml does."""
    return _settings(issuer, entity_id, trust)


def _settings(
    issuer: str, entity_id: str, trust: Trust, key: str = "", certificate: str = ""
) -> OneLogin_Saml2_Settings:
    by = trust.signature
    return OneLogin_Saml2_Settings(
        {
            "strict": True,
            "debug": False,
            "sp": {
                "entityId": entity_id,
                "assertionConsumerService": {"url": _NOWHERE},
                "x509cert": certificate,
                "privateKey": key,
            },
            "idp": {
                "entityId": issuer,
                "singleSignOnService": {"url": _NOWHERE},
                "x509certMulti": {"signing": [each.pem for each in trust.certificates], "encryption": []},
            },
            "security": {
                "wantAssertionsSigned": by == "assertion",
                "wantMessagesSigned": by == "response",
                "wantAssertionsEncrypted": trust.require_encryption,
                "wantNameId": False,
                "wantAttributeStatement": False,
                "rejectDeprecatedAlgorithm": True,
                "requestedAuthnContext": False,
                "allowRepeatAttributeName": True,
            },
        }
    )


# Reading -------------------------------------------------------------------------------------------------------------


def _envelope(root: Element) -> Envelope:
    need(root.get("Version") == "2.0" and root.get("ID"), "no version 2.0 or no ID")
    status = _only(root, "samlp:Status/samlp:StatusCode")
    below = status.find("samlp:StatusCode", NAMES)
    issuers = root.findall("saml:Issuer", NAMES)
    need(len(issuers) <= 1, "several issuers")
    return Envelope(
        id=root.get("ID"),
        in_response_to=root.get("InResponseTo"),
        issuer=_text(issuers[0]) if issuers else None,
        destination=root.get("Destination"),
        status=str(status.get("Value") or ""),
        substatus="" if below is None else str(below.get("Value") or ""),
    )


def _assertion(node: Element) -> Assertion:
    need(node.get("Version") == "2.0" and node.get("ID"), "the assertion has no version 2.0 or no ID")
    conditions = _only(node, "saml:Conditions")
    # SAML Core 2.5.1: a condition that is not understood makes the assertion worth nothing.
    need(all(child.tag in _CONDITIONS for child in conditions), "a condition that is not understood")
    statement = _only(node, "saml:AuthnStatement")
    subject = _only(node, "saml:Subject")
    names = subject.findall("saml:NameID", NAMES)
    need(len(names) <= 1, "several NameIDs")
    context = statement.find("saml:AuthnContext/saml:AuthnContextClassRef", NAMES)
    return Assertion(
        id=node.get("ID"),
        issuer=_text(_only(node, "saml:Issuer")),
        name_id=_name_id(names[0]) if names else None,
        confirmations=tuple(_confirmation(each) for each in subject.findall("saml:SubjectConfirmation", NAMES)),
        not_before=conditions.get("NotBefore"),
        not_on_or_after=conditions.get("NotOnOrAfter"),
        audiences=tuple(
            tuple(_text(each) for each in restriction.findall("saml:Audience", NAMES))
            for restriction in conditions.findall("saml:AudienceRestriction", NAMES)
        ),
        authn_instant=str(statement.get("AuthnInstant") or ""),
        authn_context=None if context is None else _text(context),
        session_index=statement.get("SessionIndex"),
        session_not_on_or_after=statement.get("SessionNotOnOrAfter"),
        attributes=_attributes(node),
    )


def _confirmation(node: Element) -> Confirmation:
    data = node.find("saml:SubjectConfirmationData", NAMES)
    said = {} if data is None else data.attrib
    return Confirmation(
        method=str(node.get("Method") or ""),
        recipient=said.get("Recipient"),
        in_response_to=said.get("InResponseTo"),
        not_before=said.get("NotBefore"),
        not_on_or_after=said.get("NotOnOrAfter"),
    )


def _attributes(node: Element) -> dict[str, tuple[str, ...]]:
    """Texts by attribute name; a name that comes twice has the values of both, as Keycloak sends roles."""
    found: dict[str, list[str]] = {}
    for attribute in node.findall("saml:AttributeStatement/saml:Attribute", NAMES):
        values = [each for each in attribute.findall("saml:AttributeValue", NAMES) if len(each) == 0]
        texts = [text for each in values if (text := each.text or "").strip()]
        found.setdefault(str(attribute.get("Name") or ""), []).extend(texts)
    return {name: tuple(values) for name, values in found.items() if name}


def _name_id(node: Element) -> NameId:
    return NameId(
        value=_text(node),
        format=node.get("Format") or UNSPECIFIED,
        name_qualifier=node.get("NameQualifier") or "",
        sp_name_qualifier=node.get("SPNameQualifier") or "",
    )


def _only(node: Element, path: str) -> Element:
    found = node.findall(path, NAMES)
    need(len(found) == 1, f"not one {path.rpartition(':')[2]}")
    return found[0]


def _text(node: Element) -> str:
    """The whole text of an element. The guard let no comment through, and here is no element in it: nothing is cut."""
    need(len(node) == 0, "an element where a text belongs")
    text: Any = node.text
    return str(text or "")
