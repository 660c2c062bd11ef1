"""What identity providers say of themselves, and what is refused of it."""

import base64
from datetime import UTC, datetime, timedelta

import pytest
from tests.federation.saml_idp import Pair, pair

from watchword_runtime.saml_metadata import (
    MAX_METADATA,
    UnusableCertificate,
    UnusableMetadata,
    certificate_of,
    is_entity_id,
    read_certificates,
    read_metadata,
)

MD = "urn:oasis:names:tc:SAML:2.0:metadata"
PROTOCOL = "urn:oasis:names:tc:SAML:2.0:protocol"
REDIRECT = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect"
POST = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"


@pytest.fixture(scope="module")
def keys() -> Pair:
    return pair()


def key_of(bare: str, use: str = 'use="signing"') -> str:
    return (
        f'<KeyDescriptor {use}><KeyInfo xmlns="http://www.w3.org/2000/09/xmldsig#"><X509Data><X509Certificate>\n{bare}\n'
        "</X509Certificate></X509Data></KeyInfo></KeyDescriptor>"
    )


def entity(
    keys: str, *, entity_id: str = "urn:idp", role: str = "", more: str = "", sso: str = "https://idp/sso"
) -> str:
    return (
        f'<EntityDescriptor xmlns="{MD}" entityID="{entity_id}" {more}>'
        f'<IDPSSODescriptor protocolSupportEnumeration="{PROTOCOL}" {role}>{keys}'
        f'<SingleLogoutService Binding="{REDIRECT}" Location="https://idp/slo" ResponseLocation="https://idp/slo-r"/>'
        f'<SingleSignOnService Binding="{POST}" Location="https://idp/post"/>'
        f'<SingleSignOnService Binding="{REDIRECT}" Location="{sso}"/>'
        "</IDPSSODescriptor></EntityDescriptor>"
    )


@pytest.mark.spec("SAML Metadata 2.3; SAML Metadata 2.4.3")
def test_what_a_provider_says(keys: Pair) -> None:
    following = pair("next")
    document = entity(
        key_of(keys.bare) + key_of(following.bare, "") + key_of(pair("enc").bare, 'use="encryption"'),
        role='WantAuthnRequestsSigned="true" cacheDuration="PT2H"',
        more='validUntil="2099-01-01T00:00:00Z"',
    )
    found = read_metadata(document.encode())
    assert (found.entity_id, found.sso_url) == ("urn:idp", "https://idp/sso")
    assert (found.slo_url, found.slo_response_url) == ("https://idp/slo", "https://idp/slo-r")
    assert found.certificates == (keys.certificate, following.certificate)
    assert found.wants_signed_requests
    assert found.valid_until == datetime(2099, 1, 1, tzinfo=UTC)
    assert found.cache_for == timedelta(hours=2)


@pytest.mark.spec("SAML Profiles 4.1.6")
def test_one_of_several_is_meant_by_its_id(keys: Pair) -> None:
    both = f'<EntitiesDescriptor xmlns="{MD}">{entity(key_of(keys.bare))}{entity(key_of(keys.bare), entity_id="urn:b")}'
    both += "</EntitiesDescriptor>"
    assert read_metadata(both.encode(), entity_id="urn:b").entity_id == "urn:b"
    with pytest.raises(UnusableMetadata, match="several"):
        read_metadata(both.encode())
    with pytest.raises(UnusableMetadata, match="does not describe"):
        read_metadata(both.encode(), entity_id="urn:c")


REFUSED = {
    "nothing": "",
    "no xml": "{}",
    "another document": "<html/>",
    "a document type": f'<!DOCTYPE r [<!ENTITY a "b">]><EntityDescriptor xmlns="{MD}"/>',
    "an external document type": f'<!DOCTYPE r SYSTEM "http://169.254.169.254/"><EntityDescriptor xmlns="{MD}"/>',
    "a service provider": f'<EntityDescriptor xmlns="{MD}" entityID="urn:x"><SPSSODescriptor/></EntityDescriptor>',
    "no key": entity(""),
    "no usable key": entity(key_of("AAAA")),
    "a script as address": entity("KEY", sso="javascript:alert(1)"),
    "an address with a space": entity("KEY", sso="https://idp/ sso"),
    "an id with a space": entity("KEY", entity_id="urn: x"),
    "a validity that ends on no day": entity("KEY", more='validUntil="2099-02-31T00:00:00Z"'),
    "a validity in the year 0": entity("KEY", more='validUntil="0000-01-01T00:00:00Z"'),
    "a validity in local time": entity("KEY", more='validUntil="2099-01-01T00:00:00+02:00"'),
    "an older protocol": entity("KEY").replace(PROTOCOL, "urn:oasis:names:tc:SAML:1.1:protocol"),
    "only POST": entity("KEY").replace(f'SingleSignOnService Binding="{REDIRECT}"', 'X Binding="x"'),
    "too large": entity("KEY") + " " * MAX_METADATA,
}


@pytest.mark.parametrize("document", REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_used_is_refused(document: str, keys: Pair) -> None:
    with pytest.raises(UnusableMetadata):
        read_metadata(document.replace("KEY", key_of(keys.bare)).encode())


def test_certificates_come_as_people_have_them(keys: Pair) -> None:
    other = pair("other", kind="ec")
    assert [each.pem for each in read_certificates(keys.certificate + other.certificate)] == [
        keys.certificate,
        other.certificate,
    ]
    (bare,) = read_certificates([keys.bare, keys.certificate])
    assert bare.pem == keys.certificate
    assert bare.subject == "CN=idp"
    assert not bare.has_expired(bare.not_after - timedelta(seconds=1))
    assert bare.has_expired(bare.not_after)


@pytest.mark.parametrize("given", ["", "x", "AAAA", pair().key, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END"])
def test_what_is_no_certificate(given: str) -> None:
    with pytest.raises(UnusableCertificate):
        read_certificates(given)


@pytest.mark.parametrize(
    ("known", "unknown"),
    [("2a8648ce3d030107", "2a8648ce3d030103"), ("2a8648ce3d0201", "2a8648ce3d0209")],
    ids=["curve", "kind"],
)
def test_a_key_of_an_unknown_curve_or_kind_is_refused(known: str, unknown: str) -> None:
    der = base64.b64decode(pair(kind="ec").bare).replace(bytes.fromhex(known), bytes.fromhex(unknown))
    with pytest.raises(UnusableCertificate):
        certificate_of(der)


def test_a_weak_key_is_refused() -> None:
    with pytest.raises(UnusableCertificate, match="2048"):
        read_certificates(pair("weak", kind="weak").certificate)


@pytest.mark.spec("SAML Core 8.3.6")
@pytest.mark.parametrize(
    ("value", "expected"),
    [("urn:x", True), ("https://idp.test/metadata?x=1", True), ("", False), ("a b", False), ("x" * 1025, False)],
)
def test_entity_ids(value: str, expected: bool) -> None:
    assert is_entity_id(value) is expected
