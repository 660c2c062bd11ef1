"""Which keys are learned from a JWKS, and how often it is read."""

import asyncio
from base64 import urlsafe_b64encode

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from watchword_verifier.client import IssuerUnavailable
from watchword_verifier.keys import MAX_KEYS, KeyCache, read_jwks, read_key

EC = ECKey.generate_key("P-256")
RSA = RSAKey.generate_key(2048)
LONG_EXPONENT = urlsafe_b64encode(b"\x3f" + b"\xff" * 255).rstrip(b"=").decode()
ED = OKPKey.generate_key("Ed25519")


def jwk(key: ECKey | RSAKey | OKPKey | OctKey, *, private: bool = False, **members: object) -> dict[str, object]:
    return {**key.as_dict(private=private), "kid": "k1", **members}


class Jwks:
    """A JWKS endpoint whose keys a test changes, and a clock."""

    def __init__(self, *kids: str) -> None:
        self.kids = set(kids)
        self.revoked: set[str] = set()
        self.reads = 0
        self.down = False
        self.now_s = 1000.0
        self.cache = KeyCache(self.fetch, is_revoked=self.is_revoked, min_refetch_s=10, elapsed=lambda: self.now_s)

    def is_revoked(self, kid: str) -> bool:
        return kid in self.revoked

    async def fetch(self) -> bytes:
        self.reads += 1
        kids = sorted(self.kids)
        await asyncio.sleep(0)
        if self.down:
            raise IssuerUnavailable("down")
        return orjson.dumps({"keys": [jwk(EC, kid=kid) for kid in kids]})


@pytest.mark.parametrize(
    ("value", "alg"),
    [
        pytest.param(jwk(EC), "ES256", id="P-256"),
        pytest.param(jwk(RSA), "RS256", id="RSA"),
        pytest.param(jwk(RSA, alg="PS256", use="sig"), "PS256", id="RSA for PSS"),
        pytest.param(jwk(ED), "EdDSA", id="Ed25519"),
        pytest.param(jwk(ED, alg="Ed25519"), "Ed25519", id="Ed25519 by its new name"),
        pytest.param(jwk(EC, private=True), "ES256", id="private members are not read"),
        pytest.param(jwk(EC, x5u="https://evil.example", key_ops=["sign"]), "ES256", id="other members are not read"),
    ],
)
def test_a_key_is_good_for_one_algorithm(value: dict[str, object], alg: str) -> None:
    key = read_key(value)
    assert key is not None
    assert key.alg == alg


@pytest.mark.spec("RFC 7518 3.4")
def test_an_es256_signature_is_r_and_s_of_32_bytes_each() -> None:
    key = read_key(jwk(EC))
    assert key is not None
    message = b"header.payload"
    der = EC.private_key.sign(message, ECDSA(SHA256()))
    r, s = decode_dss_signature(der)
    good = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    assert key.verifies(message, good)
    swapped = good[32:] + good[:32]
    for bad in (der, good[:-1], good + b"\0", b"", bytes(64), b"\xff" * 64, swapped):
        assert not key.verifies(message, bad)
    assert not key.verifies(b"another", good)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(jwk(OctKey.generate_key(256), private=True), id="a shared secret"),
        pytest.param(jwk(RSAKey.generate_key(1024)), id="RSA of 1024 bits"),
        pytest.param(jwk(RSA, e=LONG_EXPONENT), id="RSA with an exponent of 2046 bits, which is work"),
        pytest.param(jwk(ECKey.generate_key("P-384")), id="P-384"),
        pytest.param(jwk(OKPKey.generate_key("X25519")), id="a key for key agreement"),
        pytest.param(jwk(OKPKey.generate_key("Ed448")), id="Ed448"),
        pytest.param(jwk(EC, use="enc"), id="for encryption"),
        pytest.param(jwk(EC, alg="none"), id="alg none"),
        pytest.param(jwk(EC, alg="HS256"), id="alg HS256"),
        pytest.param(jwk(EC, alg="RS256"), id="algorithm of another type"),
        pytest.param(jwk(EC, alg=["ES256"]), id="alg is a list"),
        pytest.param(jwk(EC, kid=""), id="empty kid"),
        pytest.param(jwk(EC, kid=7), id="kid is a number"),
        pytest.param(jwk(EC, x="AAAA"), id="a point that is not on the curve"),
        pytest.param(jwk(EC, x=None), id="a point without x"),
        pytest.param(jwk(EC, y="!"), id="y is not base64url"),
        pytest.param(jwk(EC, kty="XX"), id="unknown type"),
        pytest.param({}, id="nothing"),
    ],
)
@pytest.mark.spec("RFC 8725 3.2")
def test_other_keys_are_not_learned(value: dict[str, object]) -> None:
    assert read_key(value) is None


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"keys": 7}', b"[" * 9000, orjson.dumps({"keys": [jwk(EC)] * (MAX_KEYS + 1)})]
)
def test_what_is_no_jwks_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - any
        read_jwks(body)


async def test_an_unknown_kid_is_looked_for_only_so_often() -> None:
    jwks = Jwks("a")
    assert await jwks.cache.find_or_fetch("a") is not None
    jwks.kids.add("b")
    for kid in ("b", "c", "d"):
        assert await jwks.cache.find_or_fetch(kid) is None
    assert jwks.reads == 1
    jwks.now_s += 11
    assert await jwks.cache.find_or_fetch("b") is not None
    assert jwks.reads == 2


async def test_many_who_look_for_a_new_key_share_one_read() -> None:
    jwks = Jwks("a")
    found = await asyncio.gather(*(jwks.cache.find_or_fetch("a") for _ in range(50)))
    assert all(found)
    assert jwks.reads == 1


async def test_who_asks_during_a_read_gets_what_was_published_before_they_asked() -> None:
    jwks = Jwks("a")
    reading = asyncio.create_task(jwks.cache.refresh())
    await asyncio.sleep(0)  # the issuer has answered, and the answer is on its way
    jwks.kids.add("b")
    jwks.now_s += 0.001
    assert await asyncio.gather(*(jwks.cache.refresh() for _ in range(50)), reading)
    assert jwks.cache.find("b") is not None
    assert jwks.reads <= 3  # one for all who asked before it began, and one for all who asked during that


async def test_a_key_set_that_shows_a_revoked_key_is_behind() -> None:
    jwks = Jwks("a")
    await jwks.cache.refresh()
    assert not jwks.cache.is_behind
    jwks.revoked.add("a")
    await jwks.cache.refresh()
    assert jwks.cache.is_behind
    jwks.kids = {"b"}
    await jwks.cache.refresh()
    assert not jwks.cache.is_behind


async def test_keys_stay_while_the_issuer_is_down() -> None:
    jwks = Jwks("a")
    assert await jwks.cache.refresh()
    jwks.down = True
    jwks.now_s += 3600
    assert not await jwks.cache.refresh()
    assert not jwks.cache.is_current
    assert jwks.cache.find("a") is not None


async def test_after_a_failure_it_is_read_again_soon_but_not_at_once() -> None:
    jwks = Jwks("a")
    jwks.down = True
    for _ in range(5):
        assert await jwks.cache.find_or_fetch("a") is None
    assert jwks.reads == 1
    jwks.down = False
    jwks.now_s += 1.5
    assert await jwks.cache.find_or_fetch("a") is not None


async def test_a_known_key_keeps_its_object_so_that_verified_tokens_stay_known() -> None:
    jwks = Jwks("a")
    await jwks.cache.refresh()
    first = jwks.cache.find("a")
    jwks.now_s += 1
    await jwks.cache.refresh()
    assert jwks.cache.find("a") is first


async def test_a_key_that_is_missing_for_a_moment_stays_and_one_that_left_goes() -> None:
    jwks = Jwks("a", "b")
    await jwks.cache.refresh()
    jwks.kids = {"a"}
    jwks.now_s += 60
    await jwks.cache.refresh()
    assert jwks.cache.find("b") is not None
    jwks.now_s += 600
    await jwks.cache.refresh()
    assert jwks.cache.find("b") is None


async def test_a_revoked_key_is_dropped_and_never_learned_again() -> None:
    jwks = Jwks("a", "b")
    await jwks.cache.refresh()
    jwks.revoked.add("a")
    for _ in range(2):
        jwks.now_s += 1
        await jwks.cache.refresh()
        assert jwks.cache.find("a") is None
        assert jwks.cache.find("b") is not None
