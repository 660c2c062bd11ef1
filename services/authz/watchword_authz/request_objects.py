"""Request objects: an authorization request as a JWT that the client signed, by value. Spec: RFC 9101 4, 5.

Nothing of it is believed before the signature holds, and nothing is ever fetched to get one.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

import orjson
from pydantic import JsonValue

from watchword_events.exports import ClientExport
from watchword_runtime.client_keys import ClientKeys
from watchword_runtime.client_proofs import registered_keys
from watchword_runtime.foreign_jwts import UnusableJwt, read_header
from watchword_runtime.public_keys import ALGORITHMS
from watchword_runtime.published import NotPublished

# RFC 9101 10.8: a JWT of another kind that the client signed is no request.
_TYPES: Final = frozenset({"jwt", "oauth-authz-req+jwt"})
LONGEST_S: Final = 60.0
CLOCK_SKEW_S: Final = 10.0
_NUMBERS: Final = frozenset({"max_age"})
_LISTS: Final = frozenset({"resource"})
_JSON: Final = frozenset({"claims", "authorization_details"})


class InvalidRequestObject(Exception):
    """The request object is none of this client's that may be used. The message is for the log."""


async def read_request_object(
    token: str, client: ClientExport, names: frozenset[str], *, keys: ClientKeys, issuer: str, now: datetime
) -> dict[str, str]:
    """The parameters in a request object, as they would stand in a query. Raises InvalidRequestObject.

    The client signed it with the algorithm that it registered, for us, and not long ago. An encrypted one has five
    parts and is none.  names: of parameters that are read.  Spec: RFC 9101 4, 5, 6.2, 6.3, 10.2, 10.8; RFC 8725 3.1.
    """
    try:
        header = read_header(token, types=_TYPES, algorithms=ALGORITHMS)
        if header.alg != client.request_object_signing_alg:
            raise InvalidRequestObject("alg is not the registered one")
        claims = await keys.verified(registered_keys(client), header, token)
    except (UnusableJwt, NotPublished) as error:
        raise InvalidRequestObject(str(error)) from None
    _check_claims(claims, client.client_id, issuer, now.timestamp())
    return params_of(claims, names)


def _check_claims(claims: Mapping[str, JsonValue], client_id: str, issuer: str, now_s: float) -> None:
    """Each line is one rule about who made the object, for whom and when."""
    if claims.get("iss") != client_id or claims.get("client_id") != client_id:
        raise InvalidRequestObject("iss or client_id is not the client")
    audience = claims.get("aud")
    if issuer not in (audience if isinstance(audience, list) else [audience]):
        raise InvalidRequestObject("aud is not the issuer")
    # RFC 9101 10.8: with the client as its subject it could be an assertion by which the client authenticates.
    if claims.get("sub") == client_id:
        raise InvalidRequestObject("sub is the client")
    # RFC 9101 4: no request within a request.
    if "request" in claims or "request_uri" in claims:
        raise InvalidRequestObject("a request within a request")
    exp = _time(claims, "exp")
    if exp is None or not now_s < exp <= now_s + LONGEST_S + CLOCK_SKEW_S:
        raise InvalidRequestObject("exp is missing, over, or more than a minute ahead")
    for name in ("iat", "nbf"):
        at = _time(claims, name)
        if at is not None and at > now_s + CLOCK_SKEW_S:
            raise InvalidRequestObject(f"{name} lies in the future")


def _time(claims: Mapping[str, JsonValue], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidRequestObject(f"{name} is no time")
    return float(value)


def params_of(claims: Mapping[str, JsonValue], names: frozenset[str]) -> dict[str, str]:
    """Those of the claims that are parameters, as a query would carry them; empty ones are left out.

    Raises InvalidRequestObject for a value of a kind that the parameter does not have. Spec: RFC 9101 4.
    """
    found = {name: _text(name, claims[name]) for name in names if claims.get(name) is not None}
    return {name: text for name, text in found.items() if text}


def _text(name: str, value: JsonValue) -> str:
    if isinstance(value, str):
        if name in _LISTS and " " in value:
            raise InvalidRequestObject(f"{name} holds a space")
        return value
    if name in _NUMBERS and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if name in _JSON and isinstance(value, dict | list):
        return orjson.dumps(value).decode()
    if name in _LISTS and isinstance(value, list):
        texts = [_text(name, each) for each in value]
        return " ".join(dict.fromkeys(text for text in texts if text))
    raise InvalidRequestObject(f"{name} is of another kind")
