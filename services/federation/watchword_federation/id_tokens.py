"""ID tokens of upstream providers: every check spelled out, on joserfc.

Authlib's `parse_id_token` is not used: it takes the allowed algorithms from the provider's own metadata and checks the
nonce only where it is told to.
Spec: OpenID Connect Core 3.1.3.7, 3.1.3.8; RFC 8725 3.1, 3.11.
"""

import base64
import hashlib
import hmac
import math
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from pydantic import JsonValue

from watchword_federation.failures import Failure, SignInFailed
from watchword_federation.identities import LAST_TIME_S, is_subject
from watchword_runtime import foreign_jwts
from watchword_runtime.foreign_jwts import Header, UnusableJwt
from watchword_runtime.public_keys import PublicKey

SKEW_S: Final = 60
_MAX_AUDIENCES: Final = 32
_TENANT: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_PLACE: Final = re.compile(r"\{\w+\}")

# The left half of the access token's hash, by the hash of the ID token's algorithm; Ed25519 uses SHA-512.
_AT_HASH: Final = {
    "RS256": hashlib.sha256,
    "PS256": hashlib.sha256,
    "ES256": hashlib.sha256,
    "EdDSA": hashlib.sha512,
    "Ed25519": hashlib.sha512,
}


Nonce = Literal["required", "optional", "off"]


@dataclass(frozen=True, slots=True)
class Expected:
    """What the ID token of one sign-in must say. max_age_s: when given, `auth_time` must be there and younger.

    aliases: other names of the same issuer.  pattern: what its name looks like instead of `issuer`; each `{…}` in it
    stands for the token's claim `pattern_claim`.  nonce_policy: `optional` and `off` for providers that leave it out.
    """

    issuer: str
    client_id: str
    nonce: str
    max_age_s: int | None = None
    aliases: tuple[str, ...] = ()
    pattern: str | None = None
    pattern_claim: str = "tid"
    nonce_policy: Nonce = "required"
    skew_s: int = SKEW_S


def read_header(token: str) -> Header:
    """The algorithm and key id of an ID token whose signature has not been checked.

    Raises SignInFailed(id_token_invalid).  Spec: RFC 8725 3.1, 3.11 (access, logout and security event tokens of the
    same issuer are not ID tokens).
    """
    try:
        return foreign_jwts.read_header(token)
    except UnusableJwt as error:
        raise _invalid(str(error)) from error


def verify_id_token(
    token: str, key: PublicKey, *, expected: Expected, access_token: str | None, now: datetime
) -> dict[str, JsonValue]:
    """The claims of an ID token that passed every check.

    key: the provider's key for this token's header.  access_token: what came with it, for `at_hash`.
    Raises SignInFailed: issuer_mismatch, clock_skew, or id_token_invalid with the failed check as detail.
    Spec: OpenID Connect Core 3.1.3.7.
    """
    header = read_header(token)
    try:
        claims = foreign_jwts.verified_claims(token, header, key)
    except UnusableJwt as error:
        raise _invalid(str(error)) from error
    check_issuer(claims, expected)
    _check_subject(claims)
    check_audience(claims, expected)
    _check_nonce(claims, expected)
    check_times(claims, now, expected.skew_s)
    _check_auth_time(claims, expected, now)
    _check_access_token(claims, header, access_token)
    return claims


def check_issuer(claims: dict[str, JsonValue], expected: Expected) -> None:
    """Who issued the token is who was expected. Raises SignInFailed(issuer_mismatch)."""
    issuer = claims.get("iss")
    if not isinstance(issuer, str) or issuer not in (expected.issuer, *expected.aliases, _filled(claims, expected)):
        raise SignInFailed(Failure.ISSUER_MISMATCH, "iss of the ID token")


def named(name: str, claims: dict[str, JsonValue], expected: Expected) -> str:
    """How the person or session is called that a verified token names: two tenants may use one name for two.

    Spec: OpenID Connect Core 2 (a subject is unique within its issuer).
    """
    issuer = claims["iss"]
    return name if issuer in (expected.issuer, *expected.aliases) else f"{issuer}\n{name}"


def _filled(claims: dict[str, JsonValue], expected: Expected) -> str:
    """The issuer that a token of this tenant has; "" where there is no pattern, or the tenant is no plain word."""
    tenant = claims.get(expected.pattern_claim)
    if expected.pattern is None or not isinstance(tenant, str) or not _TENANT.fullmatch(tenant):
        return ""
    return _PLACE.sub(tenant, expected.pattern)


def _check_subject(claims: dict[str, JsonValue]) -> None:
    if not is_subject(claims.get("sub")):
        raise _invalid("sub missing or not usable")


def check_audience(claims: dict[str, JsonValue], expected: Expected) -> None:
    """The token is for this client. Raises SignInFailed(id_token_invalid)."""
    audience = claims.get("aud")
    several = audience if isinstance(audience, list) else [audience]
    if len(several) > _MAX_AUDIENCES or not all(isinstance(one, str) for one in several):
        raise _invalid("aud is not a string or a short list of strings")
    if expected.client_id not in several:
        raise _invalid("aud does not name this client")
    if len(several) > 1 and "azp" not in claims:
        raise _invalid("azp missing with several audiences")
    if "azp" in claims and claims["azp"] != expected.client_id:
        raise _invalid("azp is another client")


def _check_nonce(claims: dict[str, JsonValue], expected: Expected) -> None:
    nonce = claims.get("nonce")
    if expected.nonce_policy == "off" or (expected.nonce_policy == "optional" and nonce is None):
        return
    if not isinstance(nonce, str) or not hmac.compare_digest(nonce.encode(), expected.nonce.encode()):
        raise _invalid("nonce missing or not the one of this sign-in")


def check_times(claims: dict[str, JsonValue], now: datetime, skew_s: int) -> None:
    """The token is in time, give or take `skew_s`. Raises SignInFailed(clock_skew)."""
    at = now.timestamp()
    expires, issued = _time(claims, "exp"), _time(claims, "iat")
    # The nonce was right, so the token was made for this very sign-in: a wrong time is a wrong clock.
    if expires <= at - skew_s:
        raise SignInFailed(Failure.CLOCK_SKEW, "exp has passed")
    if issued > at + skew_s:
        raise SignInFailed(Failure.CLOCK_SKEW, "iat lies ahead")
    if "nbf" in claims and _time(claims, "nbf") > at + skew_s:
        raise SignInFailed(Failure.CLOCK_SKEW, "nbf lies ahead")


def _check_auth_time(claims: dict[str, JsonValue], expected: Expected, now: datetime) -> None:
    if expected.max_age_s is not None and "auth_time" not in claims:
        raise _invalid("auth_time missing although max_age was asked for")
    if "auth_time" not in claims:
        return
    authenticated = _time(claims, "auth_time")
    if authenticated > now.timestamp() + expected.skew_s:
        raise SignInFailed(Failure.CLOCK_SKEW, "auth_time lies ahead")
    if expected.max_age_s is not None and now.timestamp() - authenticated > expected.max_age_s + expected.skew_s:
        raise _invalid("auth_time older than max_age")


def _check_access_token(claims: dict[str, JsonValue], header: Header, access_token: str | None) -> None:
    if "at_hash" not in claims:
        return
    claimed = claims["at_hash"]
    if not isinstance(claimed, str) or access_token is None:
        raise _invalid("at_hash without an access token or not a string")
    digest = _AT_HASH[header.alg](access_token.encode()).digest()
    half = base64.urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=")
    if not hmac.compare_digest(claimed.encode(), half):
        raise _invalid("at_hash belongs to another access token")


def _time(claims: dict[str, JsonValue], name: str) -> float:
    """A NumericDate that a datetime can hold. Spec: RFC 7519 2."""
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _invalid(f"{name} missing or not a number")
    if not math.isfinite(value) or not 0 <= value <= LAST_TIME_S:
        raise _invalid(f"{name} is not a date")
    return value


def _invalid(check: str) -> SignInFailed:
    return SignInFailed(Failure.ID_TOKEN_INVALID, check)
