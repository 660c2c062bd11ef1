"""What makes an access token valid: one row for each thing that RFC 9068 and RFC 8725 forbid."""

from typing import Final

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.verifier.conftest import AUDIENCE, Issuer, b64

from watchword_verifier import Claims, Reason, TokenRefused
from watchword_verifier.tokens import MAX_TOKEN_BYTES, Expected, check_claims, check_size, is_opaque, take_apart

ISSUER: Final = Issuer(url="https://sso.example")
NOW_S: Final = 1_900_000_000.0
NAN, BEYOND = b'{"exp":NaN}', b'{"exp":1e999}'
HALF, MARKED = b'{"sub":"\\ud800"}', b"\xef\xbb\xbf{}"
EXPECTED: Final = Expected("https://sso.example", frozenset({AUDIENCE}), 10.0)


def header_of(**members: object) -> str:
    return b64(orjson.dumps({"typ": "at+jwt", "alg": "ES256", "kid": "k1", **members}))


def refused(token: str) -> Reason:
    with pytest.raises(TokenRefused) as caught:
        check_size(token)
        take_apart(token).claims()
    return caught.value.reason


def refused_claims(**changes: object) -> Reason | None:
    try:
        check_claims(ISSUER.claims(**{"iat": NOW_S, "exp": NOW_S + 300, **changes}), EXPECTED, NOW_S)
    except TokenRefused as error:
        return error.reason
    return None


@pytest.mark.parametrize(
    "token",
    [
        pytest.param("", id="nothing"),
        pytest.param("a.b", id="two parts"),
        pytest.param("a.b.c.d", id="four parts"),
        pytest.param(f"{header_of()}..AAAA", id="empty payload"),
        pytest.param(f"{header_of()}.e30.", id="no signature"),
        pytest.param(f"{header_of()}.e30.AAAA\n", id="trailing newline"),
        pytest.param(f" {header_of()}.e30.AAAA", id="leading space"),
        pytest.param(f"{header_of()}.e30=.AAAA", id="padding"),
        pytest.param(f"{header_of()}.e3+/.AAAA", id="base64 instead of base64url"),
        pytest.param(f"{header_of()}.e30.A", id="impossible base64 length"),
        pytest.param(f"{header_of()}.e30.ÄÄÄÄ", id="not ASCII"),
        pytest.param(f"{header_of()}.e30.\ud800", id="lone surrogate"),
        pytest.param(f"{header_of()}.{'A' * MAX_TOKEN_BYTES}.AAAA", id="more than 16 KB"),
        pytest.param(f"{b64(b'[]')}.e30.AAAA", id="header is a list"),
        pytest.param(f"{b64(b'{')}.e30.AAAA", id="header is no JSON"),
        pytest.param(f"{b64(b'[' * 9000)}.e30.AAAA", id="header of 9,000 brackets"),
        pytest.param(f"{header_of(crit=['exp'])}.e30.AAAA", id="critical extension"),
        pytest.param(f"{header_of(crit=[])}.e30.AAAA", id="empty crit"),
        pytest.param(f"{header_of(b64=False, crit=['b64'])}.e30.AAAA", id="payload that is not encoded"),
        pytest.param(f"{header_of(b64=False)}.e30.AAAA", id="payload that is not encoded, and not said to be critical"),
        pytest.param(f"{header_of(kid=None)}.e30.AAAA", id="no kid"),
        pytest.param(f"{header_of(kid={'k1': 1})}.e30.AAAA", id="kid is an object"),
        pytest.param(f"{header_of(alg=['ES256'])}.e30.AAAA", id="alg is a list"),
        pytest.param(f"{header_of()}.e30.AAAA=", id="padding of the signature"),
        pytest.param(f"{header_of()}.e30.AA#A", id="what stands for the other alphabet"),
        pytest.param(f"{header_of()}.e30.AA\x00A", id="a zero byte"),
        pytest.param(f"{header_of()}.{b64(NAN)}.AAAA", id="payload with NaN"),
        pytest.param(f"{header_of()}.{b64(BEYOND)}.AAAA", id="payload with a number beyond all"),
        pytest.param(f"{header_of()}.{b64(HALF)}.AAAA", id="payload with half a character"),
        pytest.param(f"{header_of()}.{b64(b'{} {}')}.AAAA", id="payload with something after it"),
        pytest.param(f"{header_of()}.{b64(MARKED)}.AAAA", id="payload with a byte order mark"),
        pytest.param(f"{header_of(kid=['k1'])}.e30.AAAA", id="kid is a list"),
        pytest.param(f"{header_of(alg=None)}.e30.AAAA", id="no alg"),
        pytest.param(f"{header_of()}.{b64(b'[' * 9000 + b']' * 2000)}.AAAA", id="payload of 9,000 brackets"),
        pytest.param(f"{header_of()}.{b64(b'[]')}.AAAA", id="payload is a list"),
        pytest.param(f"{header_of()}.{b64(b'{')}.AAAA", id="payload is no JSON"),
        pytest.param(f"{header_of()}.{b64(bytes([0xFF]))}.AAAA", id="payload is not UTF-8"),
    ],
)
@pytest.mark.spec("RFC 7515 5.2")
def test_what_is_no_token_is_refused(token: str) -> None:
    assert refused(token) is Reason.MALFORMED


@given(st.text(alphabet=st.characters(codec=None)) | st.from_regex(r"[A-Za-z0-9_-]*(\.[A-Za-z0-9_-]*){0,5}"))
def test_any_text_is_refused_and_never_an_error(token: str) -> None:
    refused(token)


@pytest.mark.row(15)
@pytest.mark.parametrize(
    "typ", [None, "", "JWT", "jwt", "logout+jwt", "at", "at+jwt;x", "dpop+jwt", 7, ["at+jwt"]], ids=repr
)
@pytest.mark.spec("RFC 9068 4")
def test_other_kinds_of_token_are_no_access_tokens(typ: object) -> None:
    assert refused(f"{header_of(typ=typ)}.e30.AAAA") is Reason.WRONG_TYPE


@pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "application/at+jwt"])
def test_the_type_of_an_access_token_is_a_media_type(typ: str) -> None:
    assert take_apart(f"{header_of(typ=typ)}.e30.AAAA").claims() == {}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        *[
            pytest.param({name: None}, Reason.MISSING_CLAIM, id=f"no {name}")
            for name in ("iss", "sub", "client_id", "jti", "iat", "exp")
        ],
        pytest.param({"aud": None}, Reason.WRONG_AUDIENCE, id="no aud"),
        pytest.param({"sub": 7}, Reason.MISSING_CLAIM, id="sub is a number"),
        pytest.param({"exp": "9999999999"}, Reason.MISSING_CLAIM, id="exp is text"),
        pytest.param({"exp": True}, Reason.MISSING_CLAIM, id="exp is true"),
        pytest.param({"exp": 1e300}, Reason.MISSING_CLAIM, id="exp after the end of time"),
        pytest.param({"exp": 2**63}, Reason.MISSING_CLAIM, id="exp of 64 bits"),
        pytest.param({"exp": [NOW_S + 300]}, Reason.MISSING_CLAIM, id="exp is a list"),
        pytest.param({"exp": {"$gt": 0}}, Reason.MISSING_CLAIM, id="exp is an object"),
        pytest.param({"exp": 0}, Reason.EXPIRED, id="exp is 0"),
        pytest.param({"exp": -0.0}, Reason.EXPIRED, id="exp is -0"),
        pytest.param({"exp": NOW_S - 10}, Reason.EXPIRED, id="expired to the second, leeway included"),
        pytest.param({"iat": str(NOW_S)}, Reason.MISSING_CLAIM, id="iat is text"),
        pytest.param({"nbf": True}, Reason.MALFORMED, id="nbf is true"),
        pytest.param({"jti": ""}, Reason.MISSING_CLAIM, id="empty jti"),
        pytest.param({"client_id": ["shop"]}, Reason.MISSING_CLAIM, id="client_id is a list"),
        pytest.param({"iss": ["https://sso.example"]}, Reason.MISSING_CLAIM, id="iss is a list"),
        pytest.param({"iss": "HTTPS://sso.example"}, Reason.WRONG_ISSUER, id="issuer in capitals"),
        pytest.param({"iss": "https://\u0455so.example"}, Reason.WRONG_ISSUER, id="issuer with a Cyrillic letter"),
        pytest.param({"aud": [[AUDIENCE]]}, Reason.WRONG_AUDIENCE, id="aud in a list in a list"),
        pytest.param({"aud": [{"aud": AUDIENCE}]}, Reason.WRONG_AUDIENCE, id="aud in an object in a list"),
        pytest.param({"aud": f"{AUDIENCE} other"}, Reason.WRONG_AUDIENCE, id="two audiences in one text"),
        pytest.param({"aud": 7}, Reason.WRONG_AUDIENCE, id="aud is a number"),
        pytest.param({"aud": "*"}, Reason.WRONG_AUDIENCE, id="aud is a star"),
        pytest.param({"scope": 7}, Reason.MALFORMED, id="scope is a number"),
        pytest.param({"iat": -1}, Reason.MISSING_CLAIM, id="iat before 1970"),
        pytest.param({"gid": ["g"]}, Reason.MALFORMED, id="gid is a list"),
        pytest.param({"scope": ["a"]}, Reason.MALFORMED, id="scope is a list"),
        pytest.param({"iss": "https://sso.example/"}, Reason.WRONG_ISSUER, id="issuer with a slash"),
        pytest.param({"iss": "https://evil.example"}, Reason.WRONG_ISSUER, id="another issuer"),
        pytest.param({"aud": "https://orders.example/"}, Reason.WRONG_AUDIENCE, id="audience with a slash"),
        pytest.param({"aud": []}, Reason.WRONG_AUDIENCE, id="empty aud"),
        pytest.param({"aud": {"a": AUDIENCE}}, Reason.WRONG_AUDIENCE, id="aud is an object"),
        pytest.param({"aud": "shop"}, Reason.WRONG_AUDIENCE, id="the client as audience"),
        pytest.param({"exp": NOW_S - 3600}, Reason.EXPIRED, id="expired"),
        pytest.param({"nbf": NOW_S + 3600}, Reason.NOT_YET_VALID, id="not yet valid"),
        pytest.param({"nbf": "soon"}, Reason.MALFORMED, id="nbf is text"),
        pytest.param({"iat": NOW_S + 60}, Reason.ISSUED_IN_THE_FUTURE, id="issued in the future"),
    ],
)
@pytest.mark.spec("RFC 9068 4")
def test_claims_that_break_a_rule_are_refused(changes: dict[str, object], reason: Reason) -> None:
    assert refused_claims(**changes) is reason


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="plain"),
        pytest.param({"aud": ["https://other.example", AUDIENCE]}, id="several audiences"),
        pytest.param({"exp": NOW_S + 300.5, "iat": NOW_S}, id="fractions of seconds"),
        pytest.param({"exp": NOW_S - 5}, id="expired within the leeway"),
        pytest.param({"iat": NOW_S + 5}, id="issued in the future within the leeway"),
        pytest.param({"nbf": NOW_S - 5}, id="valid already"),
        pytest.param({"sid": None, "idp": None, "scope": None, "gid": None}, id="a machine's token"),
    ],
)
def test_claims_that_keep_every_rule_are_accepted(changes: dict[str, object]) -> None:
    assert refused_claims(**changes) is None


@pytest.mark.parametrize("scope", ["", " ", "  "], ids=repr)
def test_an_empty_scope_is_no_scope(scope: str) -> None:
    assert Claims.of(ISSUER.claims(scope=scope)).scope == frozenset()


@pytest.mark.spec("RFC 7515 4")
def test_of_two_members_of_one_name_the_last_counts_everywhere() -> None:
    head = b64(b'{"typ":"JWT","typ":"at+jwt","alg":"none","alg":"ES256","kid":"k2","kid":"k1"}')
    payload = b64(b'{"sub":"bob","sub":"ann"}')
    parts = take_apart(f"{head}.{payload}.AAAA")
    assert (parts.alg, parts.kid, parts.claims()) == ("ES256", "k1", {"sub": "ann"})


def test_claims_have_types() -> None:
    claims = Claims.of(ISSUER.claims(aud=[AUDIENCE, 7], permissions=["orders:delete"], iat=100, exp=200, sid=None))
    assert claims.audience == {AUDIENCE}
    assert claims.scope == {"orders:read", "orders:write"}
    assert claims.permissions == {"orders:delete"}
    assert (claims.issued_at.timestamp(), claims.expires_at.timestamp()) == (100, 200)
    assert claims.session_id == ""
    assert claims.raw["sub"] == claims.subject == "ann"


@pytest.mark.parametrize(
    ("token", "opaque"), [("a..b.c.d", True), ("a.b.c.d.e", True), ("a.b.c", False), (".a.b.c.d", False)]
)
def test_a_jwe_is_known_by_its_five_parts(token: str, opaque: bool) -> None:
    assert is_opaque(token) is opaque
