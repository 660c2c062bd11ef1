"""DPoP proofs: one row for each thing that RFC 9449 section 4.3 forbids, then nonces and replays."""

import hmac
import time
from collections.abc import Callable
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey, RSAKey

from watchword_testkit.holder import LEFT_OUT, Holder, b64, compact
from watchword_verifier.dpop import (
    ALGORITHMS,
    MAX_PROOF_BYTES,
    WITHIN_S,
    WITHIN_WITH_NONCE_S,
    NonceNeeded,
    Nonces,
    ProofRefused,
    Replays,
    check_freshness,
    read_proof,
)

URL: Final = "https://orders.example/api/orders"
TOKEN: Final = "an access token"
HOLDER: Final = Holder()
NOW_S: Final = 1_900_000_000.0


def good(**changes: Any) -> str:
    return HOLDER.proof("GET", URL, token=TOKEN, **changes)


def refused(proof: str) -> str:
    with pytest.raises(ProofRefused) as caught:
        read_proof(proof, method="GET", urls=[URL], access_token=TOKEN)
    assert type(caught.value) is ProofRefused
    return str(caught.value)


@pytest.mark.spec("RFC 9449 4.2; RFC 9449 4.3")
@pytest.mark.parametrize("alg", ALGORITHMS)
def test_a_proof_of_any_kind_of_key_is_read(alg: str) -> None:
    holder = Holder(alg)
    read = read_proof(holder.proof("GET", URL, token=TOKEN), method="GET", urls=[URL], access_token=TOKEN)
    assert (read.thumbprint, read.alg) == (holder.thumbprint, alg)


def head(**changes: object) -> dict[str, Any]:
    return {"header": changes}


def with_another_signature() -> str:
    return good().rpartition(".")[0] + "." + Holder().proof("GET", URL).rpartition(".")[2]


def with_hmac_of_the_public_key() -> str:
    message = compact({"typ": "dpop+jwt", "alg": "HS256", "jwk": HOLDER.jwk}, {}, HOLDER.key, "ES256").rpartition(".")[
        0
    ]
    return f"{message}.{b64(hmac.digest(HOLDER.key.as_pem(private=False), message.encode(), 'sha256'))}"


PRIVATE: Final = HOLDER.key.as_dict(private=True)
WEAK: Final = RSAKey.generate_key(1024)
P384: Final = ECKey.generate_key("P-384")
OCT: Final = {"kty": "oct", "k": b64(b"0" * 32)}
OFF_CURVE: Final = {**HOLDER.jwk, "y": HOLDER.jwk["x"]}


@pytest.mark.spec("RFC 9449 4.3; RFC 8725 3.1")
@pytest.mark.parametrize(
    ("proof", "why"),
    [
        pytest.param(lambda: "", "compact", id="nothing"),
        pytest.param(lambda: "a.b", "compact", id="two parts"),
        pytest.param(lambda: good() + ".", "compact", id="four parts"),
        pytest.param(lambda: good() + "=", "compact", id="padding"),
        pytest.param(lambda: f"{good()}, {good()}", "compact", id="two in one header"),
        pytest.param(lambda: good(extra="x" * MAX_PROOF_BYTES), "compact", id="more than 4 KB"),
        pytest.param(lambda: good(**head(typ="at+jwt")), "typ", id="an access token's type"),
        pytest.param(lambda: good(**head(typ=LEFT_OUT)), "typ", id="no type"),
        pytest.param(lambda: good(**head(typ=1)), "typ", id="type is a number"),
        pytest.param(lambda: good(**head(alg="none")), "alg", id="alg none"),
        pytest.param(lambda: good(**head(alg="ES384")), "alg", id="alg of another curve"),
        pytest.param(lambda: good(**head(alg="RS256")), "alg", id="alg of another kind of key"),
        pytest.param(lambda: good(**head(alg=["ES256"])), "alg", id="alg is a list"),
        pytest.param(lambda: good(**head(alg=LEFT_OUT)), "alg", id="no alg"),
        pytest.param(lambda: Holder("RS256").proof("GET", URL, token=TOKEN), "alg", id="RS256"),
        pytest.param(with_hmac_of_the_public_key, "alg", id="HMAC with the public key"),
        pytest.param(lambda: good(**head(crit=["exp"])), "crit", id="critical extension"),
        pytest.param(lambda: good(**head(b64=False)), "crit", id="payload that is not encoded"),
        pytest.param(lambda: good(**head(jwk=LEFT_OUT)), "jwk", id="no key"),
        pytest.param(lambda: good(**head(jwk="kid")), "jwk", id="key is text"),
        pytest.param(lambda: good(**head(jwk=PRIVATE)), "jwk", id="private key"),
        pytest.param(lambda: good(**head(jwk={**HOLDER.jwk, "k": "x"})), "jwk", id="symmetric member"),
        pytest.param(lambda: good(**head(jwk=OCT)), "jwk", id="symmetric key"),
        pytest.param(lambda: good(**head(jwk={"kty": "EC"})), "another kind", id="key without members"),
        pytest.param(lambda: good(**head(jwk=OFF_CURVE)), "another kind", id="point that is not on the curve"),
        pytest.param(lambda: good(**head(jwk=P384.as_dict(private=False))), "another kind", id="P-384 for ES256"),
        pytest.param(lambda: Holder("PS256", WEAK).proof("GET", URL), "another kind", id="RSA of 1024 bits"),
        pytest.param(lambda: good(**head(jwk=Holder().jwk)), "signature", id="another key than the signer's"),
        pytest.param(with_another_signature, "signature", id="signature of something else"),
        pytest.param(lambda: good().replace(".", ".e30", 1), "", id="payload changed"),
        pytest.param(lambda: good(jti=LEFT_OUT), "jti", id="no jti"),
        pytest.param(lambda: good(jti=""), "jti", id="empty jti"),
        pytest.param(lambda: good(jti=7), "jti", id="jti is a number"),
        pytest.param(lambda: good(jti="x" * 300), "jti", id="very long jti"),
        pytest.param(lambda: good(iat=LEFT_OUT), "iat", id="no iat"),
        pytest.param(lambda: good(iat="1900000000"), "iat", id="iat is text"),
        pytest.param(lambda: good(iat=True), "iat", id="iat is true"),
        pytest.param(lambda: good(nonce=1), "nonce", id="nonce is a number"),
        pytest.param(lambda: good(htm="POST"), "htm", id="another method"),
        pytest.param(lambda: good(htm="get"), "htm", id="method in small letters"),
        pytest.param(lambda: good(htm=LEFT_OUT), "htm", id="no method"),
        pytest.param(lambda: good(htu=LEFT_OUT), "htu", id="no URL"),
        pytest.param(lambda: good(htu=[URL]), "htu", id="URL in a list"),
        pytest.param(lambda: good(htu="https://evil.example/api/orders"), "htu", id="another host"),
        pytest.param(lambda: good(htu="http://orders.example/api/orders"), "htu", id="another scheme"),
        pytest.param(lambda: good(htu="https://orders.example:8443/api/orders"), "htu", id="another port"),
        pytest.param(lambda: good(htu="https://orders.example:x/api/orders"), "htu", id="no port"),
        pytest.param(lambda: good(htu="https://orders.example/api/orders/"), "htu", id="slash at the end"),
        pytest.param(lambda: good(htu="https://orders.example/API/orders"), "htu", id="path in other letters"),
        pytest.param(lambda: good(htu="https://orders.example/x/../api/orders"), "htu", id="dots"),
        pytest.param(lambda: good(htu="https://orders.example/api%2Forders"), "htu", id="escaped slash"),
        pytest.param(lambda: good(htu="https://orders.example@evil.example/api/orders"), "htu", id="user part"),
        pytest.param(lambda: good(htu="/api/orders"), "htu", id="path alone"),
        pytest.param(lambda: good(ath=LEFT_OUT), "ath", id="no hash of the token"),
        pytest.param(lambda: good(ath=b64(b"0" * 32)), "ath", id="another token's hash"),
        pytest.param(lambda: good(ath=1), "ath", id="hash is a number"),
        pytest.param(lambda: good(ath="ä"), "ath", id="hash is not ASCII"),
    ],
)
def test_what_is_no_proof_for_this_request_is_refused(proof: Callable[[], str], why: str) -> None:
    assert why in refused(proof())


@pytest.mark.parametrize(
    "payload", [b"[" * 900, b"[]", b"{", b"\xff", b'{"iat": NaN}'], ids=["deep", "list", "broken", "bytes", "NaN"]
)
def test_a_payload_that_is_no_object_is_refused(payload: bytes) -> None:
    header = {"typ": "dpop+jwt", "alg": "ES256", "jwk": HOLDER.jwk}
    assert "malformed" in refused(compact(header, payload, HOLDER.key, "ES256"))


@pytest.mark.spec("RFC 9449 4.3; RFC 3986 6.2.2; RFC 3986 6.2.3")
@pytest.mark.parametrize(
    "htu",
    [
        URL,
        f"{URL}?a=b",
        f"{URL}#part",
        "HTTPS://ORDERS.example/api/orders",
        "https://orders.example:443/api/orders",
        "https://orders.example/api/%6Frders",
    ],
)
def test_equivalent_urls_are_equal(htu: str) -> None:
    assert read_proof(good(htu=htu), method="GET", urls=["https://other.example/", URL], access_token=TOKEN).jti


def test_without_a_path_it_is_the_root() -> None:
    proof = HOLDER.proof("GET", "https://orders.example")
    assert read_proof(proof, method="GET", urls=["https://orders.example/"])


@pytest.mark.spec("RFC 7638 3")
def test_one_key_has_one_thumbprint_however_it_is_written() -> None:
    jwk = {**HOLDER.jwk, "alg": "ES256", "use": "sig", "kid": "mine", "x5u": "https://evil.example"}
    read = read_proof(good(**head(jwk=jwk)), method="GET", urls=[URL])
    assert read.thumbprint == HOLDER.thumbprint


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: ".".join([b64(raw)] * 3)))
def test_no_text_is_more_than_refused(proof: str) -> None:
    refused(proof)


# Freshness -----------------------------------------------------------------------------------------------------------


@pytest.mark.spec("RFC 9449 11.1")
@pytest.mark.parametrize(
    ("age_s", "is_fresh"), [(0, True), (WITHIN_S, True), (-WITHIN_S, True), (WITHIN_S + 1, False), (-61, False)]
)
def test_without_nonces_the_time_decides(age_s: float, is_fresh: bool) -> None:
    proof = read_proof(good(now=NOW_S - age_s), method="GET", urls=[URL])
    if is_fresh:
        assert check_freshness(proof, NOW_S, None) == NOW_S - age_s + WITHIN_S
    else:
        with pytest.raises(ProofRefused):
            check_freshness(proof, NOW_S, None)


@pytest.mark.spec("RFC 9449 8; RFC 9449 9")
def test_with_nonces_one_of_this_period_or_the_last_is_needed() -> None:
    nonces = Nonces(b"k" * 32)
    for age_s, is_good in ((0, True), (60, True), (180, False), (-60, True), (-180, False)):
        nonce = nonces.current(NOW_S - age_s)
        proof = read_proof(good(now=NOW_S, nonce=nonce), method="GET", urls=[URL])
        if is_good:
            assert check_freshness(proof, NOW_S, nonces) > NOW_S
        else:
            with pytest.raises(NonceNeeded):
                check_freshness(proof, NOW_S, nonces)
    for wrong in (None, "", "guessed", "ä", Nonces(b"x" * 32).current(NOW_S)):
        proof = read_proof(good(now=NOW_S, nonce=wrong), method="GET", urls=[URL])
        with pytest.raises(NonceNeeded):
            check_freshness(proof, NOW_S, nonces)


def test_a_nonce_lets_a_clock_be_wrong_by_minutes_only() -> None:
    nonces = Nonces(b"k" * 32)
    for off_s, is_fresh in ((-WITHIN_WITH_NONCE_S, True), (WITHIN_WITH_NONCE_S, True), (3600, False), (-3600, False)):
        proof = read_proof(good(now=NOW_S + off_s, nonce=nonces.current(NOW_S)), method="GET", urls=[URL])
        if is_fresh:
            check_freshness(proof, NOW_S, nonces)
        else:
            with pytest.raises(ProofRefused):
                check_freshness(proof, NOW_S, nonces)


def test_all_instances_with_a_key_give_out_the_same_nonces_and_they_change() -> None:
    one, other = Nonces(b"k" * 32), Nonces(b"k" * 32)
    assert one.current(NOW_S) == other.current(NOW_S)
    assert one.current(NOW_S) != one.current(NOW_S + 60)


# Replays -------------------------------------------------------------------------------------------------------------


def test_a_proof_is_used_once_until_it_is_too_old() -> None:
    replays = Replays()
    now_s = time.time()
    assert replays.is_first("a", now_s + 60, now_s)
    assert not replays.is_first("a", now_s + 60, now_s)
    assert replays.is_first("b", now_s + 60, now_s)
    assert replays.is_first("a", now_s + 121, now_s + 61)


def test_no_more_than_told_are_remembered() -> None:
    replays = Replays(most=2)
    assert all(replays.is_first(name, NOW_S + 60, NOW_S) for name in "abc")
    assert not replays.is_first("c", NOW_S + 60, NOW_S)
    assert replays.is_first("a", NOW_S + 60, NOW_S)
