"""ID tokens of upstream providers: every check spelled out, on joserfc.

Authlib's `parse_id_token` is not used: it takes the allowed algorithms from the provider's own metadata and checks the
nonce only where it is told to.
Spec: OpenID Connect Core 3.1.3.7, 3.1.3.8; RFC 8725 3.1, 3.11.
"""

import base64
import binascii
import hashlib
import hmac
import math
import re
import warnings
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from joserfc import jws
from joserfc.errors import JoseError, SecurityWarning
from pydantic import JsonValue

from watchword_federation.documents import UnusableDocument, parse_object
from watchword_federation.failures import Failure, SignInFailed
from watchword_federation.keys import ALGORITHMS, UpstreamKey

SKEW_S: Final = 60
MAX_TOKEN_BYTES: Final = 16 * 1024
_MAX_HEADER_BYTES: Final = 2048
_MAX_SUBJECT: Final = 255
_MAX_AUDIENCES: Final = 32
_LAST_TIME_S: Final = 253_402_300_799  # the last second that a datetime can hold
_SHAPE: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")

# The left half of the access token's hash, by the hash of the ID token's algorithm; Ed25519 uses SHA-512.
_AT_HASH: Final = {
    "RS256": hashlib.sha256,
    "PS256": hashlib.sha256,
    "ES256": hashlib.sha256,
    "EdDSA": hashlib.sha512,
    "Ed25519": hashlib.sha512,
}


@dataclass(frozen=True, slots=True)
class Header:
    """What the header of an ID token says; nothing in it is trusted, it only helps to find the key."""

    alg: str
    kid: str | None


@dataclass(frozen=True, slots=True)
class Expected:
    """What the ID token of one sign-in must say. max_age_s: when given, `auth_time` must be there and younger."""

    issuer: str
    client_id: str
    nonce: str
    max_age_s: int | None = None


def read_header(token: str) -> Header:
    """The algorithm and key id of an ID token whose signature has not been checked.

    Raises SignInFailed(id_token_invalid) for anything but a small JWS in compact form with an allowed algorithm.
    """
    if len(token) > MAX_TOKEN_BYTES or not _SHAPE.fullmatch(token):
        raise _invalid("not a JWS in compact form of at most 16 KiB")
    encoded = token.partition(".")[0]
    try:
        raw = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
        header = parse_object(raw, max_bytes=_MAX_HEADER_BYTES)
    except (binascii.Error, ValueError) as error:
        raise _invalid("header is not a JSON object") from error
    alg, kid, typ = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
    # RFC 8725 3.1: the algorithm is one of ours, never chosen from what the header or the metadata offers.
    if not isinstance(alg, str) or alg not in ALGORITHMS:
        raise _invalid("algorithm not allowed")
    if kid is not None and not isinstance(kid, str):
        raise _invalid("kid is not a string")
    # RFC 7515 4.1.11: an extension that is not understood must be refused; none is.
    if "crit" in header or "b64" in header:
        raise _invalid("critical extension")
    # RFC 8725 3.11: access, logout and security event tokens of the same issuer are not ID tokens.
    if not isinstance(typ, str) or typ.lower() not in {"jwt", "application/jwt"}:
        raise _invalid("typ is not JWT")
    return Header(alg, kid)


def verify_id_token(
    token: str, key: UpstreamKey, *, expected: Expected, access_token: str | None, now: datetime
) -> dict[str, JsonValue]:
    """The claims of an ID token that passed every check.

    key: the provider's key for this token's header.  access_token: what came with it, for `at_hash`.
    Raises SignInFailed: issuer_mismatch, clock_skew, or id_token_invalid with the failed check as detail.
    Spec: OpenID Connect Core 3.1.3.7.
    """
    header = read_header(token)
    claims = _verified_claims(token, header, key)
    _check_issuer(claims, expected)
    _check_subject(claims)
    _check_audience(claims, expected)
    _check_nonce(claims, expected)
    _check_times(claims, now)
    _check_auth_time(claims, expected, now)
    _check_access_token(claims, header, access_token)
    return claims


def _verified_claims(token: str, header: Header, key: UpstreamKey) -> dict[str, JsonValue]:
    if header.alg not in key.algorithms:
        raise _invalid("algorithm does not belong to the key")
    registry = jws.JWSRegistry(algorithms=[header.alg], strict_check_header=False)
    registry.max_header_length = _MAX_HEADER_BYTES
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)  # the name EdDSA is old, not weak: RFC 9864
            verified = jws.deserialize_compact(token, key.key, registry=registry)
        return parse_object(verified.payload or b"", max_bytes=MAX_TOKEN_BYTES)
    except UnusableDocument as error:
        raise _invalid(f"payload {error}") from error
    # joserfc parses the header with the json module: a signed `[[[…` is a RecursionError there.
    except (JoseError, ValueError, RecursionError) as error:
        raise _invalid(f"signature: {type(error).__name__}") from error


def _check_issuer(claims: dict[str, JsonValue], expected: Expected) -> None:
    if claims.get("iss") != expected.issuer:
        raise SignInFailed(Failure.ISSUER_MISMATCH, "iss of the ID token")


def _check_subject(claims: dict[str, JsonValue]) -> None:
    subject = claims.get("sub")
    # OpenID Connect Core 2: at most 255 ASCII characters, compared case-sensitively.
    if not isinstance(subject, str) or not 0 < len(subject) <= _MAX_SUBJECT or not subject.isprintable():
        raise _invalid("sub missing or not usable")


def _check_audience(claims: dict[str, JsonValue], expected: Expected) -> None:
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
    if not isinstance(nonce, str) or not hmac.compare_digest(nonce.encode(), expected.nonce.encode()):
        raise _invalid("nonce missing or not the one of this sign-in")


def _check_times(claims: dict[str, JsonValue], now: datetime) -> None:
    at = now.timestamp()
    expires, issued = _time(claims, "exp"), _time(claims, "iat")
    # The nonce was right, so the token was made for this very sign-in: a wrong time is a wrong clock.
    if expires <= at - SKEW_S:
        raise SignInFailed(Failure.CLOCK_SKEW, "exp has passed")
    if issued > at + SKEW_S:
        raise SignInFailed(Failure.CLOCK_SKEW, "iat lies ahead")
    if "nbf" in claims and _time(claims, "nbf") > at + SKEW_S:
        raise SignInFailed(Failure.CLOCK_SKEW, "nbf lies ahead")


def _check_auth_time(claims: dict[str, JsonValue], expected: Expected, now: datetime) -> None:
    if expected.max_age_s is not None and "auth_time" not in claims:
        raise _invalid("auth_time missing although max_age was asked for")
    if "auth_time" not in claims:
        return
    authenticated = _time(claims, "auth_time")
    if authenticated > now.timestamp() + SKEW_S:
        raise SignInFailed(Failure.CLOCK_SKEW, "auth_time lies ahead")
    if expected.max_age_s is not None and now.timestamp() - authenticated > expected.max_age_s + SKEW_S:
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
    if not math.isfinite(value) or not 0 <= value <= _LAST_TIME_S:
        raise _invalid(f"{name} is not a date")
    return value


def _invalid(check: str) -> SignInFailed:
    return SignInFailed(Failure.ID_TOKEN_INVALID, check)
