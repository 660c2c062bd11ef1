"""What Watchword writes to SAML providers, and the redirect binding in both directions."""

import base64
import zlib
from datetime import UTC, datetime
from typing import cast
from urllib.parse import parse_qsl, urlsplit
from xml.etree import ElementTree

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from tests.federation.saml_idp import Pair, pair

from watchword_federation.connectors.saml_messages import (
    MAX_INFLATED,
    Heading,
    authn_request,
    inflate,
    is_signed_by,
    logout_request,
    logout_response,
    read_redirect,
    redirect_url,
)
from watchword_federation.connectors.saml_response import NameId
from watchword_federation.failures import SignInFailed

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
NASTY = '"><evil a="&b;\'</x>'
HEADING = Heading(f"_{NASTY}", NOW, f"https://idp.test/?{NASTY}", f"urn:{NASTY}")


@pytest.fixture(scope="module")
def keys() -> Pair:
    return pair()


def private(keys: Pair) -> RSAPrivateKey:
    return cast(RSAPrivateKey, load_pem_private_key(keys.key.encode(), password=None))


@pytest.mark.spec("SAML Core 3.2.1; SAML Core 3.7.1; SAML Core 3.7.2")
def test_what_others_chose_stays_text() -> None:
    name_id = NameId(NASTY, NASTY, NASTY, NASTY)
    messages = [
        authn_request(HEADING, acs_url=NASTY, name_id_format=NASTY, force=True, passive=True, contexts=[NASTY]),
        logout_request(HEADING, name_id=name_id, session_index=NASTY, until=NOW),
        logout_response(HEADING, in_response_to=NASTY),
    ]
    for message in messages:
        root = ElementTree.fromstring(message)
        assert (root.get("ID"), root.get("Version"), root.get("IssueInstant")) == (
            f"_{NASTY}",
            "2.0",
            "2026-11-22T12:00:00Z",
        )
        assert root.get("Destination") == HEADING.destination
        assert [each.text for each in root.iter("{urn:oasis:names:tc:SAML:2.0:assertion}Issuer")] == [HEADING.issuer]
        assert not any(each.tag.endswith("evil") for each in root.iter())


@pytest.mark.spec("SAML Bindings 3.4.4; SAML Bindings 3.4.4.1; SAML Bindings 3.4.3")
def test_a_signed_redirect_is_read_again(keys: Pair) -> None:
    url = redirect_url("https://idp.test/?a=b", "SAMLRequest", "<x/>", relay_state="r s", key=private(keys))
    assert url.startswith("https://idp.test/?a=b&SAMLRequest=")
    received = read_redirect(urlsplit(url).query.removeprefix("a=b&").encode())
    assert (received.parameter, received.document, received.relay_state) == ("SAMLRequest", b"<x/>", "r s")
    assert is_signed_by(received, keys.certificate)
    assert not is_signed_by(received, pair("other").certificate)
    assert not is_signed_by(received, pair("curve", kind="ec").certificate)


def test_another_spelling_of_the_same_values_is_not_what_was_signed(keys: Pair) -> None:
    url = redirect_url("https://idp.test/", "SAMLRequest", "<x/>", relay_state="r s", key=private(keys))
    query = urlsplit(url).query
    assert dict(parse_qsl(query)) == dict(parse_qsl(query.replace("r+s", "r%20s")))
    assert not is_signed_by(read_redirect(query.replace("r+s", "r%20s").encode()), keys.certificate)


def test_an_unsigned_redirect_is_signed_by_nobody(keys: Pair) -> None:
    received = read_redirect(urlsplit(redirect_url("https://idp.test/", "SAMLResponse", "<x/>")).query.encode())
    assert not is_signed_by(received, keys.certificate)


def packed(data: bytes) -> str:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    return base64.b64encode(deflate.compress(data) + deflate.flush()).decode()


@pytest.mark.row(39)
def test_inflating_ends_at_64_kib() -> None:
    assert len(inflate(packed(b"a" * MAX_INFLATED))) == MAX_INFLATED
    for bomb in (b"a" * (MAX_INFLATED + 1), b"a" * 300_000_000):
        with pytest.raises(SignInFailed, match="response_invalid"):
            inflate(packed(bomb))


@pytest.mark.parametrize("encoded", ["", "%", "AAAA", base64.b64encode(b"<x/>").decode(), packed(b"a" * 99)[:-4]])
def test_what_is_not_deflated(encoded: str) -> None:
    with pytest.raises(SignInFailed, match="response_invalid"):
        inflate(encoded)


@pytest.mark.parametrize(
    "query",
    [
        b"",
        b"a=b",
        b"SAMLRequest=x&SAMLRequest=x",
        b"SAMLRequest=x&SAMLResponse=x",
        b"SAMLRequest=x&SAMLEncoding=other",
        "SAMLRequest=ä".encode(),
        b"SAMLRequest=" + b"A" * 70_000,
    ],
)
def test_what_is_no_message(query: bytes) -> None:
    with pytest.raises(SignInFailed, match="response_invalid"):
        read_redirect(query)
