"""What makes an access token valid, apart from revocation: the checks of RFC 9068 section 4, in their order.

Pure functions: what is read from a token, and the list of what its claims must satisfy.
"""

import re
from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

import orjson

MAX_TOKEN_BYTES: Final = 16 * 1024
_JWS: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)
_JWE: Final = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*){4}", re.ASCII)
_TYPES: Final = frozenset({"at+jwt", "application/at+jwt"})


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


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified access token says. Empty text stands for what it does not say; `raw` has everything."""

    issuer: str
    subject: str
    client_id: str
    audience: frozenset[str]
    scope: frozenset[str]
    permissions: frozenset[str]
    token_id: str
    grant_id: str
    session_id: str
    provider: str
    issued_at: datetime
    expires_at: datetime
    raw: Mapping[str, object]

    @classmethod
    def of(cls, payload: Mapping[str, object]) -> "Claims":
        """The typed form of checked claims."""
        return cls(
            issuer=_text(payload, "iss"),
            subject=_text(payload, "sub"),
            client_id=_text(payload, "client_id"),
            audience=audience_of(payload),
            scope=frozenset(_text(payload, "scope").split()),
            permissions=_texts(payload, "permissions"),
            token_id=_text(payload, "jti"),
            grant_id=_text(payload, "gid"),
            session_id=_text(payload, "sid"),
            provider=_text(payload, "idp"),
            issued_at=_moment(payload, "iat"),
            expires_at=_moment(payload, "exp"),
            raw=MappingProxyType(dict(payload)),
        )


@dataclass(frozen=True, slots=True)
class Unverified:
    """A token taken apart; nothing in it may be believed yet."""

    typ: str
    alg: str
    kid: str
    message: bytes
    signature: bytes
    payload: bytes

    def claims(self) -> dict[str, object]:
        """The payload as JSON. Raises TokenRefused; nesting beyond what the parser takes is a refusal, not a crash."""
        return _json(self.payload)


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


def take_apart(token: str) -> Unverified:
    """The parts of a compact JWS. Raises TokenRefused. Spec: RFC 7515 5.2; RFC 8725 3.11."""
    if _JWS.fullmatch(token) is None:
        raise TokenRefused(Reason.MALFORMED, "not three base64url parts")
    message, _, signature = token.rpartition(".")
    head, _, payload = message.partition(".")
    header = _json(_decoded(head))
    if "crit" in header:
        # RFC 7515 4.1.11: an extension that is not understood must be refused, and none is.
        raise TokenRefused(Reason.MALFORMED, "crit")
    typ, alg, kid = header.get("typ"), header.get("alg"), header.get("kid")
    # RFC 9068 4: the typ keeps ID tokens, logout tokens and other JWTs of this issuer from being taken for access.
    if not isinstance(typ, str) or typ.lower() not in _TYPES:
        raise TokenRefused(Reason.WRONG_TYPE)
    if not isinstance(alg, str) or not isinstance(kid, str):
        raise TokenRefused(Reason.MALFORMED, "alg and kid are needed")
    return Unverified(typ, alg, kid, message.encode(), _decoded(signature), _decoded(payload))


Check = Callable[[Mapping[str, object], Expected, float], Reason | None]


def has_required_claims(claims: Mapping[str, object], expected: Expected, now_s: float) -> Reason | None:
    """RFC 9068 2.2: iss, exp, aud, sub, client_id, iat and jti are required; times are numbers, the rest is text."""
    if not all(_is_time(claims.get(name)) for name in ("exp", "iat")):
        return Reason.MISSING_CLAIM
    for name in ("iss", "sub", "client_id", "jti"):
        if not claims.get(name) or not isinstance(claims[name], str):
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
    return None if audience_of(claims) & expected.audiences else Reason.WRONG_AUDIENCE


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


def _decoded(part: str) -> bytes:
    try:
        return urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except ValueError:
        raise TokenRefused(Reason.MALFORMED, "base64url") from None


def _json(data: bytes) -> dict[str, object]:
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise TokenRefused(Reason.MALFORMED, "JSON") from None
    if not isinstance(value, dict):
        raise TokenRefused(Reason.MALFORMED, "not a JSON object")
    return value


def _is_time(value: object) -> bool:
    """A NumericDate between 1970 and 9999; true is no number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 253_402_300_800


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _text(claims: Mapping[str, object], name: str) -> str:
    value = claims.get(name)
    return value if isinstance(value, str) else ""


def _texts(claims: Mapping[str, object], name: str) -> frozenset[str]:
    value = claims.get(name)
    return frozenset(item for item in value if isinstance(item, str)) if isinstance(value, list) else frozenset()


def _moment(claims: Mapping[str, object], name: str) -> datetime:
    return datetime.fromtimestamp(_number(claims.get(name)), UTC)
