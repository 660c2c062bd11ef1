"""`id_token_hint`: which person and session an ID token of ours was about, however long ago it expired."""

import base64
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import orjson
from joserfc import jwt
from joserfc.errors import JoseError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from watchword_runtime.feed import Feed
from watchword_runtime.jwks import MAX_TOKEN_BYTES, AccessTokenKeys

_TOKEN: Final = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)

# (client_id, sub, sid): the user's id, None when it cannot be told.
Whom = Callable[[str, str, str | None], Awaitable[str | None]]


@dataclass(frozen=True, slots=True)
class Hint:
    """What a genuine ID token says. sid is None in one without a session."""

    user_id: str
    client_id: str
    sid: str | None


class _Header(BaseModel):
    model_config = ConfigDict(extra="ignore")

    alg: str
    kid: str = Field(max_length=128)
    typ: str | None = None


class _Claims(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    iss: str
    sub: str = Field(min_length=1)
    aud: str | list[str]
    azp: str | None = None
    sid: str | None = None


class IdTokenHints:
    """Verifies hints with the public keys of `token`."""

    def __init__(self, keys: AccessTokenKeys, *, issuer: str, feed: Feed, whom: Whom) -> None:
        """whom: finds the person whom a client knows by a pairwise subject."""
        self._keys = keys
        self._whom = whom
        self._issuer = issuer
        self._feed = feed

    async def verify(self, token: str) -> Hint | None:
        """What the token says, also after its expiry; None when it is not an ID token that we signed.

        The algorithm is that of the key: the header's is compared with it, never chosen from. `jwk`, `jku` and `x5c`
        in the header are ignored. Raises Unreachable when no keys can be had.
        Spec: OpenID Connect RP-Initiated Logout 1.0 2; OpenID Connect Core 3.1.2.1; RFC 8725 3.1, 3.11.
        """
        if len(token) > MAX_TOKEN_BYTES or not _TOKEN.fullmatch(token):
            return None
        try:
            header = _Header.model_validate(orjson.loads(_decode(token.partition(".")[0])))
        except (ValueError, ValidationError):
            return None
        # Access and logout tokens carry a type of their own; an ID token carries none, or JWT.
        if header.typ not in (None, "JWT"):
            return None
        known = await self._keys.key(header.kid)
        if known is None or known[0] != header.alg:
            return None
        if not self._feed.is_live({"rev": self._feed.position}, kid=header.kid):
            return None
        try:
            claims = _Claims.model_validate(jwt.decode(token, known[1], algorithms=[header.alg]).claims)
        except (JoseError, ValidationError, ValueError, RecursionError):
            return None
        audience = [claims.aud] if isinstance(claims.aud, str) else claims.aud
        client_id = claims.azp or (audience[0] if len(audience) == 1 else None)
        if claims.iss != self._issuer or client_id is None or client_id not in audience:
            return None
        user_id = await self._whom(client_id, claims.sub, claims.sid)
        return None if user_id is None else Hint(user_id, client_id, claims.sid)


def _decode(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
