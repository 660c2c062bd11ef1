"""Client certificates: how they arrive, whom they name and who vouches for them."""

import base64
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from watchword_events.names import Service
from watchword_runtime.certificates import Authorities, Subject, SubjectKind, check_subject, is_registered
from watchword_runtime.connections import Origin, Proxies, read_certificate
from watchword_testkit.authority import Authority

from .conftest import SettingsFor

NAMES: Sequence[x509.GeneralName] = (
    x509.DNSName("App.example"),
    x509.UniformResourceIdentifier("urn:app:1"),
    x509.IPAddress(ip_address("192.0.2.7")),
    x509.IPAddress(ip_address("2001:db8::7")),
    x509.RFC822Name("app@example.test"),
)
DN = "CN=app,O=Example\\, Inc.,C=DE"
OURS = Authority("Our clients")


@pytest.fixture
def authorities(tmp_path: Path) -> Authorities:
    path = tmp_path / "ca.pem"
    path.write_text(OURS.pem)
    return Authorities(path)


def pem(der: bytes) -> str:
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode()


# How they arrive -----------------------------------------------------------------------------------------------------

CERTIFICATE = OURS.client_certificate(DN)
BASE64 = base64.b64encode(CERTIFICATE).decode()


@pytest.mark.spec("RFC 9440 2.1")
@pytest.mark.parametrize(
    "value",
    [BASE64, f":{BASE64}:", pem(CERTIFICATE), quote(pem(CERTIFICATE)), pem(CERTIFICATE).replace("\n", " ")],
    ids=["base64", "structured field", "PEM", "escaped PEM", "PEM in one line"],
)
def test_a_certificate_is_read_in_the_forms_that_proxies_know(value: str) -> None:
    assert read_certificate(value.encode()) == CERTIFICATE


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"::",
        b"(null)",
        b"not base64",
        f":{BASE64}".encode(),
        f"{BASE64}, {BASE64}".encode(),
        (pem(CERTIFICATE) * 2).encode(),
        b"A" * 20_000,
        b"\xff\xfe",
        b"%",
    ],
)
def test_anything_else_is_none(value: bytes) -> None:
    assert read_certificate(value) is None


def test_only_a_trusted_proxys_header_counts(settings_for: SettingsFor) -> None:
    header = {b"x-client-cert": BASE64.encode()}
    proxies = Proxies(
        settings_for(Service.TOKEN, client_certificate_header="X-Client-Cert", trusted_proxies="10.0.0.0/8")
    )
    off = Proxies(settings_for(Service.TOKEN, trusted_proxies="10.0.0.0/8"))
    assert proxies.certificate_of(Origin(header, "10.1.2.3")) == CERTIFICATE
    assert proxies.certificate_of(Origin(header, "::ffff:10.1.2.3")) == CERTIFICATE
    for peer in ("192.0.2.1", "", None, "11.0.0.1"):
        assert proxies.certificate_of(Origin(header, peer)) is None
    forwarded = {**header, b"x-forwarded-for": b"10.1.2.3"}
    assert proxies.certificate_of(Origin(forwarded, "192.0.2.1")) is None
    assert proxies.certificate_of(Origin({}, "10.1.2.3")) is None
    assert off.certificate_of(Origin(header, "10.1.2.3")) is None


# Whom they name ------------------------------------------------------------------------------------------------------

NAMED: dict[SubjectKind, str] = {
    "tls_client_auth_subject_dn": DN,
    "tls_client_auth_san_dns": "app.example",
    "tls_client_auth_san_uri": "urn:app:1",
    "tls_client_auth_san_ip": "2001:db8::7",
    "tls_client_auth_san_email": "app@example.test",
}
OTHERS: dict[SubjectKind, list[str]] = {
    "tls_client_auth_subject_dn": ["CN=app", "CN=APP,O=Example\\, Inc.,C=DE", "C=DE,O=Example\\, Inc.,CN=app"],
    "tls_client_auth_san_dns": ["example", "x.app.example", "app.example.evil"],
    "tls_client_auth_san_uri": ["urn:app:2", "urn:app:1:2"],
    "tls_client_auth_san_ip": ["192.0.2.8"],
    "tls_client_auth_san_email": ["App@example.test", "app@example.test.evil"],
}


@pytest.mark.spec("RFC 8705 2.1; RFC 8705 2.1.2; RFC 5280 4.2.1.6")
@pytest.mark.parametrize("kind", NAMED)
def test_a_certificate_has_to_name_the_client_as_registered(authorities: Authorities, kind: SubjectKind) -> None:
    certificate = OURS.client_certificate(DN, names=NAMES)
    now = datetime.now(UTC)
    assert authorities.has_vouched(certificate, Subject(kind, check_subject(kind, NAMED[kind])), now)
    for other in OTHERS[kind]:
        assert not authorities.has_vouched(certificate, Subject(kind, check_subject(kind, other)), now), other
    without_names = OURS.client_certificate(DN)
    is_dn = kind == "tls_client_auth_subject_dn"
    assert authorities.has_vouched(without_names, Subject(kind, check_subject(kind, NAMED[kind])), now) is is_dn


def test_a_certificate_that_cannot_be_read_names_nobody(authorities: Authorities) -> None:
    name = b"\x82\x0bapp.example"
    certificate = OURS.client_certificate(DN, names=[x509.DNSName("app.example")])
    version = certificate.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x07", 1)
    kind_of_name = certificate.replace(name, b"\xa3" + name[1:], 1)
    assert len({certificate, version, kind_of_name}) == 3
    for odd in (version, kind_of_name, certificate[:-1], b"0"):
        assert not authorities.has_vouched(odd, Subject("tls_client_auth_san_dns", "app.example"), datetime.now(UTC))


@pytest.mark.spec("RFC 8705 2.1; RFC 5280 6")
def test_somebody_that_we_trust_has_to_vouch_for_the_name_and_now(authorities: Authorities) -> None:
    subject, now = Subject("tls_client_auth_subject_dn", DN), datetime.now(UTC)
    usable: dict[str, dict[str, Any]] = {
        "no usage": {},
        "for clients": {"usages": [ExtendedKeyUsageOID.CLIENT_AUTH]},
        "for anything": {"usages": [ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]},
    }
    for name, given in usable.items():
        assert authorities.has_vouched(OURS.client_certificate(DN, **given), subject, now), name
    good = OURS.client_certificate(DN)
    unusable = {
        "of another authority": Authority("Our clients").client_certificate(DN),
        "of its own making": OURS.client_certificate(DN, self_signed=True),
        "for servers": OURS.client_certificate(DN, usages=[ExtendedKeyUsageOID.SERVER_AUTH]),
        "altered": good[:-1] + bytes([good[-1] ^ 1]),
        "cut off": good[:-1],
        "no certificate": b"DN",
        "nothing": b"",
        "the authority itself": x509.load_pem_x509_certificate(OURS.pem.encode()).public_bytes(Encoding.DER),
    }
    for name, certificate in unusable.items():
        assert not authorities.has_vouched(certificate, subject, now), name
    for days in (-3, 3):
        assert not authorities.has_vouched(good, subject, now + timedelta(days=days))


@pytest.mark.spec("RFC 4514 2")
@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("tls_client_auth_subject_dn", "no name"),
        ("tls_client_auth_subject_dn", "CN"),
        ("tls_client_auth_san_dns", "*.example"),
        ("tls_client_auth_san_dns", "a b"),
        ("tls_client_auth_san_dns", "-x.example"),
        ("tls_client_auth_san_dns", ""),
        ("tls_client_auth_san_uri", "no scheme"),
        ("tls_client_auth_san_uri", "/path"),
        ("tls_client_auth_san_ip", "192.0.2.0/24"),
        ("tls_client_auth_san_ip", "host"),
        ("tls_client_auth_san_email", "nobody"),
    ],
)
def test_what_no_certificate_could_say_is_refused(kind: SubjectKind, value: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        check_subject(kind, value)


@pytest.mark.spec("RFC 8705 2.2")
def test_a_certificate_of_ones_own_making_is_good_when_it_was_registered() -> None:
    own = OURS.client_certificate(DN, self_signed=True)
    chain = [base64.b64encode(own).decode()]
    assert is_registered(own, [{"kty": "EC"}, {"x5c": chain}])
    again = OURS.client_certificate(DN, self_signed=True)
    for keys in ([], [{"x5c": []}], [{"x5c": "text"}], [{"x5c": [7]}], [{"x5c": [chain]}], [{"x5c": ["ä", *chain]}]):
        assert not is_registered(own, keys)  # type: ignore[arg-type]  # on purpose
    assert not is_registered(again, [{"x5c": chain}])


def test_a_file_that_cannot_be_used_stops_the_start(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    for content in (None, "no PEM"):
        if content is not None:
            path.write_text(content)
        with pytest.raises(SystemExit, match="WATCHWORD_CLIENT_CA_FILE"):
            Authorities(path)
