"""Which keys of a provider may be used, and which of them fits a token."""

from typing import cast

import pytest
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from pydantic import JsonValue

from watchword_runtime.public_keys import MAX_KEYS, UnusableKeys, find_key, usable_keys

EC = ECKey.generate_key("P-256")
RSA = RSAKey.generate_key(2048)
ED = OKPKey.generate_key("Ed25519")


def jwk(key: RSAKey | ECKey | OKPKey | OctKey, *, private: bool = False, **members: object) -> dict[str, object]:
    return {**key.as_dict(private=private), **members}


def as_sent(**document: object) -> dict[str, JsonValue]:
    """What a stranger sends, whatever it is."""
    return cast("dict[str, JsonValue]", document)


def usable(*keys: object) -> list[str | None]:
    return [key.kid for key in usable_keys(as_sent(keys=list(keys)))]


def test_good_keys_are_used_with_the_algorithms_of_their_kind() -> None:
    keys = usable_keys(
        as_sent(keys=[jwk(RSA, kid="r"), jwk(EC, kid="e", use="sig"), jwk(ED, kid="o", key_ops=["verify"])])
    )
    assert {key.kid: set(key.algorithms) for key in keys} == {
        "r": {"RS256", "PS256"},
        "e": {"ES256"},
        "o": {"EdDSA", "Ed25519"},
    }


@pytest.mark.spec("RFC 8725 3.5")
@pytest.mark.parametrize(
    "key",
    [
        pytest.param({**jwk(RSA), "n": str(jwk(RSA)["n"])[:171]}, id="RSA of 1024 bits"),
        pytest.param(jwk(RSAKey.generate_key(2048), e="Aw"), id="RSA with exponent 3"),
        pytest.param(jwk(RSA, e="AQAAAAAAAAAB"), id="RSA with a huge exponent"),
        pytest.param({"kty": "RSA", "n": "_" * 4000, "e": "AQAB"}, id="RSA of 24,000 bits"),
        pytest.param({"kty": "RSA", "e": "AQAB"}, id="RSA without modulus"),
        pytest.param(jwk(ECKey.generate_key("P-384")), id="a curve without algorithm here"),
        pytest.param(jwk(OKPKey.generate_key("X25519")), id="a curve that cannot sign"),
        pytest.param({"kty": "EC", "crv": "P-256", "x": "AQ", "y": "AQ"}, id="a point that is not on the curve"),
        pytest.param(jwk(OctKey.generate_key(256), private=True), id="symmetric"),
        pytest.param(jwk(EC, private=True), id="private, published"),
        pytest.param(jwk(EC, use="enc"), id="for encryption"),
        pytest.param(jwk(EC, key_ops=["sign"]), id="for signing only"),
        pytest.param(jwk(EC, kid=1), id="kid a number"),
        pytest.param(jwk(EC, kid="k" * 257), id="kid of 257 characters"),
        pytest.param(jwk(EC, alg="ES512"), id="for another algorithm"),
        pytest.param(jwk(RSA, alg="EdDSA"), id="RSA key said to be for EdDSA"),
        pytest.param(jwk(EC, alg="HS256"), id="EC key said to be for HS256"),
        pytest.param(jwk(RSA, alg=["RS256"]), id="alg a list"),
        pytest.param({"kty": "XYZ"}, id="unknown kind"),
        pytest.param({"kty": ["RSA"]}, id="kind a list"),
        pytest.param({}, id="empty"),
        pytest.param("key", id="no object"),
    ],
)
def test_a_weak_or_unfit_key_is_left_out_and_others_stay(key: object) -> None:
    assert usable(key, jwk(EC, kid="good")) == ["good"]


@pytest.mark.parametrize(
    "document",
    [
        pytest.param({}, id="no keys"),
        pytest.param({"keys": {}}, id="keys an object"),
        pytest.param({"keys": [jwk(EC)] * (MAX_KEYS + 1)}, id="33 keys"),
    ],
)
def test_a_document_without_a_short_list_of_keys_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(UnusableKeys):
        usable_keys(as_sent(**document))


def test_certificates_and_addresses_in_a_key_are_ignored() -> None:
    (key,) = usable_keys(as_sent(keys=[jwk(EC, kid="k", x5u="https://evil.test", x5c=["!"], x5t="zz")]))
    assert key.key.as_dict(private=False) == {
        name: EC.as_dict(private=False)[name] for name in ("kty", "crv", "x", "y")
    }


def test_a_key_is_found_by_kid_and_algorithm_together() -> None:
    keys = usable_keys(as_sent(keys=[jwk(EC, kid="1"), jwk(RSA, kid="1"), jwk(RSA, kid="2", alg="RS256")]))
    found = find_key(keys, kid="1", alg="ES256")
    assert found is not None
    assert found.kid == "1"
    assert found.algorithms == {"ES256"}
    assert find_key(keys, kid="3", alg="ES256") is None
    assert find_key(keys, kid="2", alg="PS256") is None


@pytest.mark.spec("OpenID Connect Core 10.1")
def test_a_token_without_kid_needs_a_single_fitting_key() -> None:
    one = usable_keys(as_sent(keys=[jwk(EC, kid="1"), jwk(RSA, kid="2")]))
    assert find_key(one, kid=None, alg="ES256") is not None
    two = usable_keys(as_sent(keys=[jwk(EC, kid="1"), jwk(ECKey.generate_key("P-256"), kid="2")]))
    assert find_key(two, kid=None, alg="ES256") is None


def test_two_keys_with_one_kid_are_ambiguous() -> None:
    keys = usable_keys(as_sent(keys=[jwk(EC, kid="1"), jwk(ECKey.generate_key("P-256"), kid="1")]))
    assert find_key(keys, kid="1", alg="ES256") is None
