"""Being told by Watchword that somebody's session is over. Spec: OpenID Connect Back-Channel Logout 1.0 2.4 to 2.8."""

import json
import time
from typing import Any, Final

import httpx2
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from watchword.demo.sessions import Session
from watchword.demo.shown import Person

_EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"
_ALGS: Final = ["ES256", "RS256", "EdDSA"]
_CLOCKS_DIFFER_S: Final = 60


class NoLogout(ValueError):
    """The token does not say what a logout token says; the text says what is wrong."""


async def read_logout_token(token: str, *, issuer: str, client_id: str, jwks_uri: str) -> dict[str, Any]:
    """The claims of a genuine logout token. Raises NoLogout, httpx2.HTTPError.

    Spec: OpenID Connect Back-Channel Logout 1.0 2.6.
    """
    async with httpx2.AsyncClient(trust_env=False, timeout=5.0) as http:
        published = (await http.get(jwks_uri)).raise_for_status().json()
    try:
        read = jwt.decode(token, KeySet.import_key_set(published), algorithms=_ALGS)
    except (JoseError, ValueError) as error:
        raise NoLogout(type(error).__name__) from None
    claims, now = read.claims, time.time()
    is_about_us = claims.get("iss") == issuer and client_id in _listed(claims.get("aud"))
    is_current = claims.get("iat", 0) <= now + _CLOCKS_DIFFER_S and now - _CLOCKS_DIFFER_S <= claims.get("exp", 0)
    if read.header.get("typ") != "logout+jwt" or not is_about_us or not is_current:
        raise NoLogout("of another kind, for somebody else, or not of now")
    events = claims.get("events")
    if (
        not isinstance(events, dict)
        or _EVENT not in events
        or "nonce" in claims
        or not (claims.get("sid") or claims.get("sub"))
    ):
        raise NoLogout(f"no logout: {json.dumps(sorted(claims))}")
    return dict(claims)


def concerns(session: Session, claims: dict[str, Any]) -> bool:
    """Whether a session here came from what is over there."""
    person = session.get("person")
    if not isinstance(person, Person):
        return False
    return bool(person.sid == claims["sid"] if claims.get("sid") else person.sub == claims["sub"])


def _listed(audience: object) -> list[object]:
    return audience if isinstance(audience, list) else [audience]
