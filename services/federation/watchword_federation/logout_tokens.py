"""Logout tokens: a provider says from server to server that sessions have ended.

Spec: OpenID Connect Back-Channel Logout 2.4, 2.6.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from pydantic import JsonValue

from watchword_events.exports import ProviderExport
from watchword_federation.connectors import Once
from watchword_federation.connectors.oidc import OidcConnector, expected_of
from watchword_federation.failures import Failure, SignInFailed
from watchword_federation.id_tokens import check_audience, check_issuer, check_times, named
from watchword_runtime import foreign_jwts
from watchword_runtime.foreign_jwts import UnusableJwt

EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"
_TYPES: Final = frozenset({"jwt", "logout+jwt"})
# Tokens without an end are accepted while they are young, and a copy of one not for this long.
_LIFE: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class SessionsEnded:
    """Whose sessions ended at the provider: all of a subject's, or the one that is named. once: spent then.

    subject, session: as in ProviderSession.
    """

    subject: str | None = field(repr=False)
    session: str | None = field(repr=False)
    once: Once


async def read_logout_token(
    oidc: OidcConnector, provider: ProviderExport, token: str, *, now: datetime
) -> SessionsEnded:
    """What a logout token says, after every check. Raises SignInFailed.

    Spec: OpenID Connect Back-Channel Logout 2.6.
    """
    endpoints = await oidc.endpoints(provider)
    try:
        header = foreign_jwts.read_header(token, types=_TYPES)
        claims = foreign_jwts.verified_claims(token, header, await oidc.key_for(provider, endpoints, header))
    except UnusableJwt as error:
        raise _invalid(str(error)) from error
    expected = expected_of(provider, endpoints)
    check_issuer(claims, expected)
    check_audience(claims, expected)
    skew = timedelta(seconds=expected.skew_s)
    until = _until(claims, skew)
    check_times({"exp": (until - skew).timestamp(), **claims}, now, expected.skew_s)
    events = claims.get("events")
    if not isinstance(events, dict) or not isinstance(events.get(EVENT), dict):
        raise _invalid("events does not say that sessions ended")
    # An ID token, which has a nonce, must never do as a logout token.
    if "nonce" in claims:
        raise _invalid("a logout token has no nonce")
    # One that says what cannot be read would end more sessions than are meant, or others.
    jti, subject, session = (_text(claims, name) for name in ("jti", "sub", "sid"))
    if jti is None or (subject is None and session is None):
        raise _invalid("jti, or both sub and sid are missing")
    subject, session = (None if each is None else named(each, claims, expected) for each in (subject, session))
    return SessionsEnded(subject, session, Once("oidc-logout", f"{provider.id}\n{jti}", until))


def _until(claims: dict[str, JsonValue], skew: timedelta) -> datetime:
    """Until when the token could be presented again; one that does not say when it is over lives for ten minutes."""
    issued, expires = claims.get("iat"), claims.get("exp")
    if not isinstance(issued, int | float) or isinstance(issued, bool):
        raise _invalid("iat missing or not a number")
    seconds = expires if isinstance(expires, int | float) and "exp" in claims else issued + _LIFE.total_seconds()
    try:
        return datetime.fromtimestamp(seconds, UTC) + skew
    except (ValueError, OverflowError, OSError) as error:
        raise _invalid("exp is not a date") from error


def _text(claims: dict[str, JsonValue], name: str) -> str | None:
    """None for a claim that is not there. Raises SignInFailed for one that names nothing."""
    value = claims.get(name)
    if value is None or (isinstance(value, str) and 0 < len(value) <= 255):
        return value
    raise _invalid(f"{name} is no text of at most 255 characters")


def _invalid(reason: str) -> SignInFailed:
    return SignInFailed(Failure.ID_TOKEN_INVALID, f"logout token: {reason}")
