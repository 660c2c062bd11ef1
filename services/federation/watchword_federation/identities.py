"""From a provider's claims to a verified identity: typed, bounded, nothing guessed."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, TypeGuard

from pydantic import JsonValue

from watchword_events.handovers import VerifiedIdentity
from watchword_federation.failures import Failure, SignInFailed
from watchword_policy.vouching import Trust, vouches_for

MAX_TEXT: Final = 512
_MAX_SUBJECT: Final = 255  # OpenID Connect Core 2: characters of ASCII, compared case-sensitively
_MAX_EMAIL: Final = 320
_MAX_URL: Final = 2048
_MAX_AMR: Final = 16
LAST_TIME_S: Final = 253_402_300_799  # the last second that a datetime can hold
# These belong to one token, not to the person.
_OF_THE_TOKEN: Final = frozenset(
    {"iss", "aud", "azp", "exp", "iat", "nbf", "jti", "nonce", "at_hash", "c_hash", "s_hash", "sid", "typ"}
)
# These belong to one sign-in: userinfo, which nobody signs and which outlives it, proves no second factor.
_OF_THE_SIGN_IN: Final = frozenset({"auth_time", "amr", "acr"})
# A value and its proof are taken from the same document, or an unsigned one could vouch for the other's.
_PAIRS: Final = (("email", "email_verified"), ("phone_number", "phone_number_verified"))


def is_subject(value: JsonValue) -> TypeGuard[str]:
    """Whether a value can name a person at their provider. Spec: OpenID Connect Core 2."""
    return isinstance(value, str) and 0 < len(value) <= _MAX_SUBJECT and value.isprintable()


def merge_userinfo(claims: Mapping[str, JsonValue], userinfo: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """The ID token's claims, completed by userinfo; what is signed wins. The subjects were found equal before.

    Spec: OpenID Connect Core 5.3.2.
    """
    merged: dict[str, JsonValue] = {
        name: value
        for name, value in userinfo.items()
        if name not in _OF_THE_TOKEN | _OF_THE_SIGN_IN and value is not None
    }
    merged.update((name, value) for name, value in claims.items() if value is not None)
    for value, proof in _PAIRS:
        source = claims if claims.get(value) is not None else userinfo
        merged.pop(proof, None)
        if source.get(proof) is not None:
            merged[proof] = source[proof]
    return merged


def identity_of(
    provider_id: str, claims: Mapping[str, JsonValue], now: datetime, *, email_trust: Trust = "claim"
) -> VerifiedIdentity:
    """The identity that verified claims describe. Values of a wrong type count as absent.

    claims: with `iss`, `sub` and `iat` already checked.  email_trust: what makes an address a verified one.
    Raises SignInFailed(missing_user_info) when nothing in them can name the person.
    """
    email = _text(claims, "email", _MAX_EMAIL)
    name = _text(claims, "name", MAX_TEXT) or _full_name(claims)
    preferred = _text(claims, "preferred_username", MAX_TEXT)
    if not (email or name or preferred):
        raise SignInFailed(Failure.MISSING_USER_INFO, "no email, name or preferred_username")
    amr = claims.get("amr")
    return VerifiedIdentity(
        provider_id=provider_id,
        issuer=str(claims["iss"]),
        subject=str(claims["sub"]),
        email=email,
        email_verified=email is not None and vouches_for(email, claims, email_trust),
        name=name,
        given_name=_text(claims, "given_name", MAX_TEXT),
        family_name=_text(claims, "family_name", MAX_TEXT),
        preferred_username=preferred,
        picture=_picture(claims),
        claims={name: value for name, value in claims.items() if name not in _OF_THE_TOKEN and value is not None},
        # A provider's clock may be up to a minute ahead; nobody signed in later than now.
        auth_time=min(_auth_time(claims), now),
        amr=tuple(item for item in amr[:_MAX_AMR] if isinstance(item, str)) if isinstance(amr, list) else (),
        acr=_text(claims, "acr", MAX_TEXT),
    )


def _text(claims: Mapping[str, JsonValue], name: str, longest: int) -> str | None:
    value = claims.get(name)
    if not isinstance(value, str):
        return None
    value = value.strip()
    return value if 0 < len(value) <= longest and value.isprintable() else None


def _full_name(claims: Mapping[str, JsonValue]) -> str | None:
    parts = (_text(claims, "given_name", MAX_TEXT), _text(claims, "family_name", MAX_TEXT))
    return " ".join(part for part in parts if part) or None


def _picture(claims: Mapping[str, JsonValue]) -> str | None:
    picture = _text(claims, "picture", _MAX_URL)
    return picture if picture is not None and picture.startswith("https://") else None


def _auth_time(claims: Mapping[str, JsonValue]) -> datetime:
    """When the person signed in at the provider; where it does not say, when it spoke of them."""
    for seconds in (claims.get("auth_time"), claims["iat"]):
        if isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 <= seconds <= LAST_TIME_S:
            return datetime.fromtimestamp(seconds, UTC)
    raise SignInFailed(Failure.ID_TOKEN_INVALID, "iat is not a date")
