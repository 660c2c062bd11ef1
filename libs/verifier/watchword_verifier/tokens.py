"""What makes an access token valid, apart from revocation: the checks of RFC 9068 section 4, in their order.

Pure functions: what is read from a token, and the list of what its claims must satisfy.
"""

import re
from binascii import a2b_base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple

import orjson

MAX_TOKEN_BYTES: Final = 16 * 1024
_JWE: Final = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*){4}", re.ASCII)
_TYPES: Final = frozenset({"at+jwt", "application/at+jwt"})
# To the alphabet of plain base64; what only that one has becomes what neither has.
_FROM_BASE64URL: Final = bytes.maketrans(b"-_+/=", b"+/###")
_NUMBER: Final = (int, float)  # as a union it would be made anew at each check
_PADDING: Final = (b"", b"===", b"==", b"=")


class Reason(StrEnum):
    """Why a token is refused."""

    MALFORMED = "malformed"
    WRONG_TYPE = "wrong_type"
    UNKNOWN_KEY = "unknown_key"
    WRONG_ALGORITHM = "wrong_algorithm"
    BAD_SIGNATURE = "bad_signature"
    MISSING_CLAIM = "missing_claim"
    WRONG_ISSUER = "wrong_issuer"
    WRONG_AUDIENCE = "wrong_audience"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    ISSUED_IN_THE_FUTURE = "issued_in_the_future"
    REVOKED = "revoked"
    STALE = "stale"
    NOT_THE_HOLDER = "not_the_holder"
    BAD_PROOF = "bad_proof"
    NONCE_NEEDED = "nonce_needed"


class TokenRefused(Exception):
    """The token must not be accepted. reason: for the log; a caller of the resource learns only `invalid_token`."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.reason = reason
        self.detail = detail

    @property
    def is_temporary(self) -> bool:
        """Whether the token may be good and only we cannot know: answer 503, not 401."""
        return self.reason is Reason.STALE


@dataclass(frozen=True)
class Claims:
    """What a verified access token says, each read when it is asked for. Empty text stands for what it does not say.

    raw: all of it, as it stands in the token.
    """

    raw: Mapping[str, object]

    @classmethod
    def of(cls, payload: Mapping[str, object]) -> "Claims":
        """The typed form of checked claims."""
        return cls(MappingProxyType(payload))

    @property
    def issuer(self) -> str:
        return _text(self.raw, "iss")

    @property
    def subject(self) -> str:
        return _text(self.raw, "sub")

    @property
    def client_id(self) -> str:
        return _text(self.raw, "client_id")

    @cached_property
    def audience(self) -> frozenset[str]:
        return audience_of(self.raw)

    @cached_property
    def scope(self) -> frozenset[str]:
        return frozenset(_text(self.raw, "scope").split())

    @cached_property
    def permissions(self) -> frozenset[str]:
        return _texts(self.raw, "permissions")

    @property
    def token_id(self) -> str:
        return _text(self.raw, "jti")

    @property
    def grant_id(self) -> str:
        return _text(self.raw, "gid")

    @property
    def session_id(self) -> str:
        return _text(self.raw, "sid")

    @property
    def provider(self) -> str:
        return _text(self.raw, "idp")

    @property
    def acr(self) -> str:
        return _text(self.raw, "acr")

    @property
    def signed_in_s(self) -> float:
        """When the person signed in, in seconds since 1970; 0 for a token that does not say."""
        return _number(self.raw.get("auth_time"))

    @property
    def issued_at(self) -> datetime:
        return _moment(self.raw, "iat")

    @property
    def expires_at(self) -> datetime:
        return _moment(self.raw, "exp")


class Unverified(NamedTuple):
    """A token taken apart; nothing in it may be believed yet."""

    alg: str
    kid: str
    message: bytes
    signature: bytes
    payload: bytes

    def claims(self) -> dict[str, object]:
        """The payload as JSON. Raises TokenRefused; nesting beyond what the parser takes is a refusal, not a crash."""
        return json_object(self.payload)


@dataclass(frozen=True, slots=True)
class Expected:
    """What this resource server accepts."""

    issuer: str
    audiences: frozenset[str]
    leeway_s: float


def check_size(token: str) -> None:
    """The token is short and ASCII. Before anything else looks at it. Raises TokenRefused."""
    if len(token) > MAX_TOKEN_BYTES or not token.isascii():
        raise TokenRefused(Reason.MALFORMED, "too long, or not ASCII")


def is_opaque(token: str) -> bool:
    """Whether it has the shape of a JWE, which only the issuer can read."""
    return token.count(".") == 4 and _JWE.fullmatch(token) is not None


def kid_of_opaque(token: str) -> str | None:
    """The kid in a JWE's protected header, where there is one; whether it is true only the issuer can tell."""
    try:
        kid = json_object(decoded(token.partition(".")[0].encode())).get("kid")
    except TokenRefused:
        return None
    return kid if isinstance(kid, str) else None


def take_apart(token: str) -> Unverified:
    """The parts of a compact JWS. Raises TokenRefused. Spec: RFC 7515 5.2; RFC 8725 3.11."""
    message, _, signature = token.encode().rpartition(b".")
    head, _, payload = message.partition(b".")
    alg, kid = _read_head(head)
    return Unverified(alg, kid, message, decoded(signature), decoded(payload))


@lru_cache(maxsize=64)  # an issuer has a few keys, and writes the same header with each of them
def _read_head(head: bytes) -> tuple[str, str]:
    """alg and kid of the header of an access token. Raises TokenRefused."""
    header = json_object(decoded(head))
    if "crit" in header or "b64" in header:
        # RFC 7515 4.1.11: an extension that is not understood must be refused, and none is; not RFC 7797 either.
        raise TokenRefused(Reason.MALFORMED, "crit")
    typ, alg, kid = header.get("typ"), header.get("alg"), header.get("kid")
    # RFC 9068 4: the typ keeps ID tokens, logout tokens and other JWTs of this issuer from being taken for access.
    if not isinstance(typ, str) or typ.lower() not in _TYPES:
        raise TokenRefused(Reason.WRONG_TYPE)
    if not isinstance(alg, str) or not isinstance(kid, str):
        raise TokenRefused(Reason.MALFORMED, "alg and kid are needed")
    return alg, kid


Check = Callable[[Mapping[str, object], Expected, float], Reason | None]


def has_required_claims(claims: Mapping[str, object], expected: Expected, now_s: float) -> Reason | None:
    """RFC 9068 2.2: iss, exp, aud, sub, client_id, iat and jti are required; times are numbers, the rest is text."""
    if not (_is_time(claims.get("exp")) and _is_time(claims.get("iat"))):
        return Reason.MISSING_CLAIM
    for name in ("iss", "sub", "client_id", "jti"):
        value = claims.get(name)
        if not value or not isinstance(value, str):
            return Reason.MISSING_CLAIM
    for name in ("gid", "sid", "idp", "scope"):
        if not isinstance(claims.get(name, ""), str):
            return Reason.MALFORMED
    return None


def is_from_our_issuer(claims: Mapping[str, object], expected: Expected, now_s: float) -> Reason | None:
    """RFC 9068 4: iss is exactly the issuer whose keys these are."""
    return None if claims["iss"] == expected.issuer else Reason.WRONG_ISSUER


def is_meant_for_us(claims: Mapping[str, object], expected: Expected, now_s: float) -> Reason | None:
    """RFC 9068 4: aud names this resource."""
    return Reason.WRONG_AUDIENCE if expected.audiences.isdisjoint(audience_of(claims)) else None


def has_not_expired(claims: Mapping[str, object], expected: Expected, now_s: float) -> Reason | None:
    """RFC 9068 4: now is before exp."""
    return None if now_s < _number(claims["exp"]) + expected.leeway_s else Reason.EXPIRED


def is_valid_already(claims: Mapping[str, object], expected: Expected, now_s: float) -> Reason | None:
    """RFC 7519 4.1.5: now is not before nbf, where there is one."""
    if "nbf" not in claims:
        return None
    if not _is_time(claims["nbf"]):
        return Reason.MALFORMED
    return None if _number(claims["nbf"]) <= now_s + expected.leeway_s else Reason.NOT_YET_VALID


def was_issued_in_the_past(claims: Mapping[str, object], expected: Expected, now_s: float) -> Reason | None:
    """A token from the future was made by somebody who prepares for the revocation of a stolen key."""
    return None if _number(claims["iat"]) <= now_s + expected.leeway_s else Reason.ISSUED_IN_THE_FUTURE


# RFC 9068 section 4, after typ, key, algorithm and signature. Revocation comes last, and each time.
CHECKS: Final[tuple[Check, ...]] = (
    has_required_claims,
    is_from_our_issuer,
    is_meant_for_us,
    has_not_expired,
    is_valid_already,
    was_issued_in_the_past,
)


def check_claims(claims: Mapping[str, object], expected: Expected, now_s: float) -> None:
    """Every check holds. Raises TokenRefused with the first that does not."""
    for check in CHECKS:
        reason = check(claims, expected, now_s)
        if reason is not None:
            raise TokenRefused(reason)


def audience_of(claims: Mapping[str, object]) -> frozenset[str]:
    """The audiences, whether aud is text or a list; empty when it is neither."""
    aud = claims.get("aud")
    return frozenset({aud}) if isinstance(aud, str) else _texts(claims, "aud")


def end_of(claims: Mapping[str, object]) -> float:
    """When checked claims end, in seconds since 1970, without any leeway."""
    return _number(claims["exp"])


def decoded(part: bytes) -> bytes:
    """What some base64url without padding stands for. Raises TokenRefused, also when it is empty. Spec: RFC 7515 2."""
    try:
        data = a2b_base64(part.translate(_FROM_BASE64URL) + _PADDING[len(part) % 4], strict_mode=True)
    except ValueError:
        data = b""
    if not data:
        raise TokenRefused(Reason.MALFORMED, "not three base64url parts")
    return data


def json_object(data: bytes) -> dict[str, object]:
    """The object that some JSON is. Raises TokenRefused."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise TokenRefused(Reason.MALFORMED, "JSON") from None
    if not isinstance(value, dict):
        raise TokenRefused(Reason.MALFORMED, "not a JSON object")
    return value


def _is_time(value: object) -> bool:
    """A NumericDate between 1970 and 9999; true is no number."""
    return isinstance(value, _NUMBER) and value.__class__ is not bool and 0 <= value < 253_402_300_800


def _number(value: object) -> float:
    return float(value) if isinstance(value, _NUMBER) else 0.0


def _text(claims: Mapping[str, object], name: str) -> str:
    value = claims.get(name)
    return value if isinstance(value, str) else ""


def _texts(claims: Mapping[str, object], name: str) -> frozenset[str]:
    value = claims.get(name)
    return frozenset(item for item in value if isinstance(item, str)) if isinstance(value, list) else frozenset()


def _moment(claims: Mapping[str, object], name: str) -> datetime:
    return datetime.fromtimestamp(_number(claims.get(name)), UTC)
