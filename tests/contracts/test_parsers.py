"""Whatever comes from elsewhere is understood or refused by the reader's own refusal, whatever it is.

Readers with more to say about what they understand have properties of their own beside their tests: forms and JSON,
redirect URIs, scopes, rules, cursors, proofs, tokens, request objects, details of authorization.
"""

import contextlib
import json
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watchword_authz.device_requests import read_user_code, user_code_of
from watchword_authz.identifiers import identify
from watchword_database import bus, transaction
from watchword_directory.attributes import attribute_name
from watchword_directory.texts import birthdate, clean_text, web_address
from watchword_events.catalogue import CATALOGUE
from watchword_events.envelope import UnknownEvent, open_event
from watchword_events.handovers import SignedIn
from watchword_events.names import Service
from watchword_events.teams import matches
from watchword_federation.failures import SignInFailed
from watchword_federation.id_tokens import read_header as read_id_token_header
from watchword_policy.identifiers import InvalidUsername, canonical_username
from watchword_runtime.certificates import check_subject
from watchword_runtime.client_assertions import NotProved, client_named_in
from watchword_runtime.client_credentials import read_credentials
from watchword_runtime.clock import utc_now
from watchword_runtime.connections import read_certificate
from watchword_runtime.documents import UnusableDocument, parse_object
from watchword_runtime.foreign_jwts import UnusableJwt, read_header, unverified_claims
from watchword_runtime.keyring import Sealer, Unsealable
from watchword_runtime.outbound import tls_of
from watchword_runtime.public_keys import UnusableKeys, usable_keys
from watchword_runtime.saml_metadata import UnusableCertificate, UnusableMetadata, read_certificates, read_metadata
from watchword_testkit.databases import TestDatabase
from watchword_testkit.holder import b64
from watchword_web.addresses import client_address
from watchword_web.errors import OAuthError


def as_bytes(text: str) -> bytes:
    """Whatever stands in it."""
    return text.encode("utf-8", "surrogatepass")


JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
TEXT: Final = st.text(max_size=60)
RAW: Final = st.binary(max_size=80)
OBJECT: Final = st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "sub", "iss", "exp", "nonce"]), JSON)
# Something that looks like a JWT: what is inside, and how it is wrapped, is anything.
JWT: Final = TEXT | st.tuples(OBJECT | JSON, OBJECT | JSON, RAW).map(
    lambda parts: ".".join((b64(json.dumps(parts[0]).encode()), b64(json.dumps(parts[1]).encode()), b64(parts[2])))
)
KEYS: Final = st.fixed_dictionaries(
    {"keys": st.lists(st.dictionaries(st.sampled_from(["kty", "crv", "x", "y", "n", "e", "k", "alg", "use", "kid"]),
                                      st.sampled_from(["EC", "RSA", "OKP", "P-256", "Ed25519", "AQAB", "sig"]) | JSON),
                      max_size=3) | JSON}
)  # fmt: skip
PEM: Final = st.tuples(st.sampled_from(["CERTIFICATE", "X"]), TEXT).map(
    lambda parts: f"-----BEGIN {parts[0]}-----\n{parts[1]}\n-----END {parts[0]}-----"
)
XML: Final = st.tuples(st.sampled_from(["EntityDescriptor", "EntitiesDescriptor", "x"]), TEXT).map(
    lambda parts: (
        f'<{parts[0]} xmlns="urn:oasis:names:tc:SAML:2.0:metadata" entityID="x">{parts[1]}</{parts[0]}>'.encode(
            "utf-8", "surrogatepass"
        )
    )
)
FORM: Final = st.dictionaries(
    st.sampled_from(["client_id", "client_secret", "client_assertion", "client_assertion_type"]), JWT, max_size=3
)
BASIC: Final = (
    st.none() | RAW | RAW.map(lambda raw: b"Basic " + raw) | RAW.map(lambda raw: b"Basic " + b64(raw).encode())
)

# Name → what reads, what it is given, and how it refuses.
READERS: Final[dict[str, tuple[Callable[[Any], object], st.SearchStrategy[Any], tuple[type[Exception], ...]]]] = {
    "client credentials": (lambda given_: read_credentials(*given_), st.tuples(BASIC, FORM), (OAuthError,)),
    "client assertion": (client_named_in, JWT, (NotProved,)),
    "header of a foreign JWT": (read_header, JWT, (UnusableJwt,)),
    "claims of a foreign JWT": (unverified_claims, JWT, (UnusableJwt,)),
    "header of an ID token": (read_id_token_header, JWT, (SignInFailed,)),
    "JSON document": (
        lambda raw: parse_object(raw, max_bytes=70),
        RAW | JSON.map(lambda value: json.dumps(value).encode()),
        (UnusableDocument,),
    ),
    "key set": (usable_keys, KEYS, (UnusableKeys,)),
    "certificate in a header": (read_certificate, RAW | PEM.map(as_bytes), ()),
    "certificates": (read_certificates, TEXT | PEM, (UnusableCertificate,)),
    "authorities": (tls_of, TEXT | PEM, (OSError, ValueError)),
    "SAML metadata": (read_metadata, RAW | XML, (UnusableMetadata,)),
    "subject of a certificate": (
        lambda given_: check_subject(*given_),
        st.tuples(
            st.sampled_from(["subject_dn", "san_ip", "san_dns", "san_email", "san_uri"]).map(
                "tls_client_auth_{}".format
            ),
            TEXT,
        ),
        (ValueError,),
    ),
    "event": (
        lambda given_: open_event({"ce-type": given_[0]}, given_[1]),
        st.tuples(TEXT | st.sampled_from([row.type for row in CATALOGUE]),
                  RAW | JSON.map(lambda value: json.dumps(value).encode())),
        (UnknownEvent,),
    ),
    "subject of an event": (lambda given_: matches(*given_), st.tuples(TEXT, TEXT), ()),
    "user code": (read_user_code, TEXT, ()),
    "identifier": (identify, TEXT | st.emails(), ()),
    "user name": (canonical_username, TEXT, (InvalidUsername,)),
    "name of an attribute": (attribute_name, TEXT, (ValueError,)),
    "line of text": (clean_text, TEXT, (ValueError,)),
    "web address": (web_address, TEXT | TEXT.map(lambda text: f"https://{text}"), (ValueError,)),
    "birth date": (birthdate, TEXT | st.from_regex(r"\d{4}-\d\d-\d\d"), (ValueError,)),
}  # fmt: skip


@pytest.mark.parametrize(("read", "strategy", "refusals"), READERS.values(), ids=READERS)
def test_anything_is_understood_or_refused(
    read: Callable[[Any], object], strategy: st.SearchStrategy[Any], refusals: tuple[type[Exception], ...]
) -> None:
    @settings(max_examples=60)
    @given(strategy)
    def check(given_: Any) -> None:
        with contextlib.suppress(*refusals):
            read(given_)

    check()


@given(st.binary(min_size=1, max_size=40), st.binary(max_size=20), st.binary(max_size=20), st.data())
def test_what_is_sealed_is_opened_for_what_it_was_sealed_for_and_only_unaltered(
    plain: bytes, bound_to: bytes, other: bytes, data: st.DataObject
) -> None:
    sealer = Sealer(b"k" * 32, 7)
    sealed = sealer.seal(plain, bound_to)
    assert sealer.open(sealed, bound_to) == plain
    at = data.draw(st.integers(0, len(sealed) - 1))
    altered = bytearray(sealed)
    altered[at] ^= data.draw(st.integers(1, 255))
    for wrong, aad in ((bytes(altered), bound_to), (sealed[:at], bound_to), (sealed + b"x", bound_to)):
        with pytest.raises(Unsealable):
            sealer.open(wrong, aad)
    if other != bound_to:
        with pytest.raises(Unsealable):
            sealer.open(sealed, other)
    with pytest.raises(Unsealable):
        Sealer(b"j" * 32, 7).open(sealed, bound_to)


@given(st.binary(min_size=32, max_size=32), st.uuids().map(str), st.sampled_from([str.lower, str.upper, str.title]),
       st.sampled_from(["", " ", "-", ". "]))  # fmt: skip
def test_a_user_code_is_read_however_it_is_typed(
    key: bytes, device_id: str, letters: Callable[[str], str], between: str
) -> None:
    code = user_code_of(key, device_id)
    assert read_user_code(between.join(letters(code.replace("-", "")))) == code


@given(st.lists(TEXT | st.ip_addresses().map(str), max_size=4), st.ip_addresses().map(str))
def test_who_calls_is_the_peer_or_what_a_trusted_proxy_reports(hops: list[str], peer: str) -> None:
    header = [(b"x-forwarded-for", ",".join(hops).encode("latin-1", "replace"))]
    networks = [ip_network("10.0.0.0/8")]
    found = ip_address(client_address(header, peer, networks))
    if ip_address(peer) not in networks[0]:
        mapped = getattr(ip_address(peer), "ipv4_mapped", None)
        assert found == (mapped or ip_address(peer))


TICKETS: Final = st.text(alphabet=st.characters(codec="utf-8"), max_size=60)


async def test_no_text_is_a_ticket_but_the_one_that_was_given(database: TestDatabase) -> None:
    drawn: list[str] = []

    @given(TICKETS)
    def draw(text: str) -> None:
        drawn.append(text)

    draw()
    directory, authz = database.open(Service.DIRECTORY), database.open(Service.AUTHZ)
    payload = SignedIn(
        binding="b", user_id="u", user_version=1, claims_version=1, provider_id="p", issuer="i", auth_time=utc_now()
    )
    async with transaction(directory) as session:
        ticket = await bus.hand_over(session, payload, flow="flow", now=utc_now())
    drawn += [ticket[:-1], f"{ticket}A", ticket.swapcase(), f" {ticket}", f"{ticket}\n"]
    async with transaction(authz) as session:
        for text in drawn:
            assert await bus.take(session, SignedIn, text, now=utc_now()) is None, text
        taken = await bus.take(session, SignedIn, ticket, now=utc_now())
        assert taken is not None
        assert await bus.take(session, SignedIn, ticket, now=utc_now()) is None
