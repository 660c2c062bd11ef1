"""Every check of an upstream's ID token, a row for each that must not pass."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from joserfc import jws, jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey
from pydantic import JsonValue

from watchword_federation.failures import SignInFailed
from watchword_federation.id_tokens import Expected, read_header, verify_id_token
from watchword_runtime.public_keys import PublicKey, usable_keys

pytestmark = pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")  # the old name of Ed25519

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
AT = int(NOW.timestamp())
ISSUER = "https://idp.acme.test"
EXPECTED = Expected(issuer=ISSUER, client_id="us", nonce="n-1")
ACCESS_TOKEN = "an-access-token"
EC = ECKey.generate_key("P-256", {"kid": "k1"})
RSA = RSAKey.generate_key(2048, {"kid": "k1"})
ED = OKPKey.generate_key("Ed25519", {"kid": "k1"})
GOOD = {"iss": ISSUER, "sub": "alice", "aud": "us", "nonce": "n-1", "iat": AT, "exp": AT + 300}
MISSING = object()


def public(key: RSAKey | ECKey | OKPKey, **members: str) -> PublicKey:
    return usable_keys({"keys": [{**cast("dict[str, JsonValue]", key.as_dict(private=False)), **members}]})[0]


def sign(claims: object, key: Any = EC, alg: str = "ES256", **header: object) -> str:
    payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    registry = jws.JWSRegistry(algorithms=[alg], strict_check_header=False)
    registry.max_header_length = registry.max_payload_length = 10**8
    return jws.serialize_compact({"alg": alg, "kid": "k1", **header}, payload, key, registry=registry)


def verify(token: str, key: PublicKey | None = None, expected: Expected = EXPECTED) -> dict[str, Any]:
    return verify_id_token(token, key or public(EC), expected=expected, access_token=ACCESS_TOKEN, now=NOW)


def changed(**claims: object) -> dict[str, object]:
    return {name: value for name, value in {**GOOD, **claims}.items() if value is not MISSING}


def at_hash(token: str, digest: str = "sha256") -> str:
    whole = hashlib.new(digest, token.encode()).digest()
    return base64.urlsafe_b64encode(whole[: len(whole) // 2]).rstrip(b"=").decode()


@pytest.mark.spec("OpenID Connect Core 3.1.3.7")
@pytest.mark.parametrize(
    "claims",
    [
        pytest.param(changed(), id="plain"),
        pytest.param(changed(aud=["us"]), id="audience in a list"),
        pytest.param(changed(aud=["us", "them"], azp="us"), id="several audiences with azp"),
        pytest.param(changed(azp="us"), id="azp beside one audience"),
        pytest.param(changed(exp=AT - 59), id="expired within the skew"),
        pytest.param(changed(iat=AT + 59, nbf=AT + 59), id="ahead within the skew"),
        pytest.param(changed(exp=AT + 300.5, iat=AT - 0.5), id="fractional dates"),
        pytest.param(changed(at_hash=at_hash(ACCESS_TOKEN)), id="with at_hash"),
        pytest.param(changed(groups=["a"], address={"country": "NO"}), id="with other claims"),
    ],
)
def test_an_honest_id_token_is_accepted(claims: Mapping[str, object]) -> None:
    assert verify(sign(claims)) == claims


@pytest.mark.parametrize(
    ("key", "alg", "digest"),
    [
        pytest.param(RSA, "RS256", "sha256", id="RS256"),
        pytest.param(RSA, "PS256", "sha256", id="PS256"),
        pytest.param(EC, "ES256", "sha256", id="ES256"),
        pytest.param(ED, "EdDSA", "sha512", id="EdDSA"),
        pytest.param(ED, "Ed25519", "sha512", id="Ed25519"),
    ],
)
def test_each_allowed_algorithm_verifies_with_its_own_at_hash(
    key: RSAKey | ECKey | OKPKey, alg: str, digest: str
) -> None:
    claims = changed(at_hash=at_hash(ACCESS_TOKEN, digest))
    assert verify(sign(claims, key, alg), public(key)) == claims


@pytest.mark.row(14)
@pytest.mark.spec("OpenID Connect Core 3.1.3.7; RFC 7519 2")
@pytest.mark.parametrize(
    ("claims", "failure"),
    [
        pytest.param(changed(iss=MISSING), "issuer_mismatch", id="no iss"),
        pytest.param(changed(iss="https://idp.acme.test/"), "issuer_mismatch", id="iss with a slash more"),
        pytest.param(changed(iss="HTTPS://idp.acme.test"), "issuer_mismatch", id="iss in upper case"),
        pytest.param(changed(iss=[ISSUER]), "issuer_mismatch", id="iss in a list"),
        pytest.param(changed(sub=MISSING), "id_token_invalid", id="no sub"),
        pytest.param(changed(sub=""), "id_token_invalid", id="empty sub"),
        pytest.param(changed(sub=4711), "id_token_invalid", id="sub a number"),
        pytest.param(changed(sub="a" * 256), "id_token_invalid", id="sub of 256 characters"),
        pytest.param(changed(sub="alice\n"), "id_token_invalid", id="sub with a line break"),
        pytest.param(changed(sub="al\u0000ice"), "id_token_invalid", id="sub with U+0000"),
        pytest.param(changed(aud=MISSING), "id_token_invalid", id="no aud"),
        pytest.param(changed(aud="them"), "id_token_invalid", id="aud of another client"),
        pytest.param(changed(aud="us and them"), "id_token_invalid", id="aud merely contains us"),
        pytest.param(changed(aud=[]), "id_token_invalid", id="no audience in the list"),
        pytest.param(changed(aud=["us", 1]), "id_token_invalid", id="a number among the audiences"),
        pytest.param(changed(aud={"us": 1}), "id_token_invalid", id="aud an object"),
        pytest.param(changed(aud=["us"] * 33, azp="us"), "id_token_invalid", id="33 audiences"),
        pytest.param(changed(aud=["us", "them"]), "id_token_invalid", id="several audiences, no azp"),
        pytest.param(changed(aud=["us", "them"], azp="them"), "id_token_invalid", id="azp another client"),
        pytest.param(changed(azp="them"), "id_token_invalid", id="azp another client, one audience"),
        pytest.param(changed(azp=None), "id_token_invalid", id="azp null"),
        pytest.param(changed(nonce=MISSING), "id_token_invalid", id="no nonce"),
        pytest.param(changed(nonce="n-2"), "id_token_invalid", id="nonce of another sign-in"),
        pytest.param(changed(nonce=["n-1"]), "id_token_invalid", id="nonce in a list"),
        pytest.param(changed(nonce=""), "id_token_invalid", id="empty nonce"),
        pytest.param(changed(nonce=MISSING, nonce_supported=False), "id_token_invalid", id="nonce_supported false"),
        pytest.param(changed(exp=MISSING), "id_token_invalid", id="no exp"),
        pytest.param(changed(exp=str(AT + 300)), "id_token_invalid", id="exp a string"),
        pytest.param(changed(exp=True), "id_token_invalid", id="exp true"),
        pytest.param(changed(exp=10**30), "id_token_invalid", id="exp beyond all dates"),
        pytest.param(changed(exp=AT - 60), "clock_skew", id="expired"),
        pytest.param(changed(iat=MISSING), "id_token_invalid", id="no iat"),
        pytest.param(changed(iat=-1), "id_token_invalid", id="iat negative"),
        pytest.param(changed(iat=AT + 61), "clock_skew", id="iat ahead"),
        pytest.param(changed(nbf=AT + 61), "clock_skew", id="nbf ahead"),
        pytest.param(changed(nbf="soon"), "id_token_invalid", id="nbf a word"),
        pytest.param(changed(auth_time="now"), "id_token_invalid", id="auth_time a word"),
        pytest.param(changed(auth_time=AT + 61), "clock_skew", id="auth_time ahead"),
        pytest.param(changed(at_hash=at_hash("another")), "id_token_invalid", id="at_hash of another token"),
        pytest.param(changed(at_hash=None), "id_token_invalid", id="at_hash null"),
        pytest.param(changed(at_hash=""), "id_token_invalid", id="at_hash empty"),
        pytest.param(
            changed(at_hash=at_hash(ACCESS_TOKEN, "sha512")), "id_token_invalid", id="at_hash by another hash"
        ),
    ],
)
def test_a_claim_that_is_missing_or_wrong_is_refused(claims: Mapping[str, object], failure: str) -> None:
    with pytest.raises(SignInFailed) as refusal:
        verify(sign(claims))
    assert refusal.value.code == failure


@pytest.mark.row(14)
@pytest.mark.spec("OpenID Connect Core 3.1.3.8")
def test_at_hash_without_an_access_token_is_refused() -> None:
    token = sign(changed(at_hash=at_hash(ACCESS_TOKEN)))
    with pytest.raises(SignInFailed):
        verify_id_token(token, public(EC), expected=EXPECTED, access_token=None, now=NOW)


@pytest.mark.parametrize(
    ("auth_time", "accepted"),
    [
        pytest.param(AT - 660, True, id="old enough, within the skew"),
        pytest.param(AT - 661, False, id="too old"),
        pytest.param(MISSING, False, id="missing"),
    ],
)
def test_auth_time_must_satisfy_the_max_age_that_was_asked_for(auth_time: object, *, accepted: bool) -> None:
    expected = Expected(issuer=ISSUER, client_id="us", nonce="n-1", max_age_s=600)
    token = sign(changed(auth_time=auth_time))
    if accepted:
        assert verify(token, expected=expected)["sub"] == "alice"
    else:
        with pytest.raises(SignInFailed, match="id_token_invalid"):
            verify(token, expected=expected)


def pem_of(key: RSAKey) -> bytes:
    return key.as_bytes(encoding="PEM", private=False)


def compact(header: object, payload: object, signature: bytes = b"") -> str:
    """A token put together by hand, as no library would let one do it."""
    parts = (json.dumps(header).encode(), json.dumps(payload).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def hmac_token(secret: bytes) -> str:
    signed = compact({"alg": "HS256", "kid": "k1"}, GOOD).rpartition(".")[0]
    mac = base64.urlsafe_b64encode(hmac.digest(secret, signed.encode(), "sha256")).rstrip(b"=").decode()
    return f"{signed}.{mac}"


@pytest.mark.row(16)
@pytest.mark.spec("RFC 8725 3.1")
@pytest.mark.parametrize(
    "token",
    [
        pytest.param(compact({"alg": "none"}, GOOD), id="alg none, no signature"),
        pytest.param(compact({"alg": "none", "kid": "k1"}, GOOD, b"x"), id="alg none with a signature"),
        pytest.param(sign(GOOD).rpartition(".")[0] + ".", id="no signature"),
        pytest.param(hmac_token(pem_of(RSA)), id="HS256 with our PEM"),
        pytest.param(hmac_token(json.dumps(RSA.as_dict(private=False)).encode()), id="HS256 with our JWK"),
        pytest.param(sign(GOOD, RSA, "RS512"), id="RS512 is not on the list"),
        pytest.param(sign(GOOD, EC, "ES256"), id="ES256 with the kid of an RSA key"),
        pytest.param(sign(GOOD, RSAKey.generate_key(2048), "RS256"), id="another key with the same kid"),
        pytest.param(sign(GOOD, RSA, "RS256")[:-8] + "AAAAAAAA", id="altered signature"),
        pytest.param(
            sign(GOOD, RSAKey.generate_key(2048), "RS256", jwk={"kty": "RSA", "n": "AQAB", "e": "AQAB"}),
            id="brings a jwk of its own",
        ),
    ],
)
def test_algorithm_and_key_confusion_is_refused(token: str) -> None:
    with pytest.raises(SignInFailed, match="id_token_invalid"):
        verify(token, public(RSA))


def test_a_key_that_names_its_algorithm_verifies_no_other() -> None:
    token = sign(GOOD, RSA, "PS256")
    with pytest.raises(SignInFailed, match="id_token_invalid"):
        verify(token, public(RSA, alg="RS256"))
    assert verify(token, public(RSA, alg="PS256"))


@pytest.mark.row(17)
@pytest.mark.spec("RFC 8725 3.11; RFC 7515 4.1.11")
@pytest.mark.parametrize(
    "header",
    [
        pytest.param({"alg": "NONE"}, id="alg NONE"),
        pytest.param({"alg": ["ES256"]}, id="alg a list"),
        pytest.param({"alg": None}, id="alg null"),
        pytest.param({}, id="no alg"),
        pytest.param({"alg": "ES256", "kid": 1}, id="kid a number"),
        pytest.param({"alg": "ES256", "crit": ["exp"], "exp": 1}, id="critical extension"),
        pytest.param({"alg": "ES256", "b64": False}, id="unencoded payload"),
        pytest.param({"alg": "ES256", "typ": "at+jwt"}, id="an access token"),
        pytest.param({"alg": "ES256", "typ": "logout+jwt"}, id="a logout token"),
        pytest.param({"alg": "ES256", "typ": "secevent+jwt"}, id="a security event token"),
        pytest.param({"alg": "ES256", "typ": 1}, id="typ a number"),
        pytest.param({"alg": "ES256", "x5c": ["A" * 4000]}, id="a header of 4 KB"),
    ],
)
def test_a_header_that_could_mislead_is_refused(header: dict[str, object]) -> None:
    with pytest.raises(SignInFailed, match="id_token_invalid"):
        read_header(compact(header, GOOD, b"x" * 64))


@pytest.mark.row(17)
@pytest.mark.parametrize("kid", ["../../dev/null", "' OR 1=1 --", "k" * 500])
def test_a_kid_is_only_compared(kid: str) -> None:
    assert read_header(sign(GOOD, kid=kid)).kid == kid


@pytest.mark.row(18)
@pytest.mark.parametrize(
    "token",
    [
        pytest.param("", id="empty"),
        pytest.param("a.b", id="two parts"),
        pytest.param("a.b.c.d.e", id="encrypted"),
        pytest.param(sign(GOOD) + "=", id="base64 padding"),
        pytest.param(sign(GOOD) + "\n", id="line break at the end"),
        pytest.param(sign(GOOD).replace(".", ". ", 1), id="blank"),
        pytest.param("." * 1_000_000, id="a million dots"),
        pytest.param("A" * 10_000_000, id="ten megabytes"),
        pytest.param(sign(b"[" * 5000), id="payload nested 5,000 deep"),
        pytest.param(sign(b'{"a":' * 25 + b"1" + b"}" * 25), id="payload nested 25 deep"),
        pytest.param(sign(b"[]"), id="payload a list"),
        pytest.param(sign(b'{"exp": NaN}'), id="payload with NaN"),
        pytest.param(sign(b'{"sub": "\\ud800"}'), id="lone surrogate"),
        pytest.param(sign(json.dumps(changed(filler="x" * 20_000)).encode()), id="20 KB"),
        pytest.param("W1tb" * 400 + ".e30.AAAA", id="header nested deep"),
    ],
)
def test_malformed_and_huge_tokens_are_refused_quickly(token: str) -> None:
    key = public(EC)  # imported before the clock runs
    began = time.process_time()
    with pytest.raises(SignInFailed, match="id_token_invalid"):
        verify(token, key)
    assert time.process_time() - began < 0.25, "a parser that a stranger can keep busy would need seconds"


def test_a_refusal_never_shows_what_the_token_said() -> None:
    with pytest.raises(SignInFailed) as refusal:
        verify(sign(changed(aud="them", email="canary@acme.test")))
    shown = repr([refusal.value.title, refusal.value.message, refusal.value.detail, str(refusal.value)])
    assert "canary" not in shown
    assert "them" not in refusal.value.detail


def test_jwt_written_by_joserfc_itself_is_accepted() -> None:
    token = jwt.encode({"alg": "ES256", "kid": "k1"}, dict(GOOD), EC, algorithms=["ES256"])
    later = NOW + timedelta(seconds=1)
    assert verify_id_token(token, public(EC), expected=EXPECTED, access_token=None, now=later)["sub"] == "alice"
