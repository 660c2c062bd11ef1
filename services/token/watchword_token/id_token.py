"""ID tokens: what a client learns about the sign-in itself."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Final

import orjson
from pydantic import JsonValue

from watchword_token.clients import Client
from watchword_token.encoding import b64url
from watchword_token.keys import Alg, Keys
from watchword_token.tokens import compact_aside

LIFE_S: Final = 300  # a client checks it when it arrives; it is no session
_HASHES: Final[Mapping[Alg, str]] = {"ES256": "sha256", "RS256": "sha256", "EdDSA": "sha512"}


async def make_id_token(
    keys: Keys,
    client: Client,
    *,
    issuer: str,
    user_id: str,
    sid: str,
    auth_time: datetime,
    amr: str,
    acr: str | None,
    access_token: bytes,
    claims: Mapping[str, JsonValue],
    now_s: int,
    nonce: str | None = None,
) -> bytes:
    """A signed ID token for a client, with the algorithm that it registered. amr: joined by spaces.

    Spec: OpenID Connect Core 2, 3.1.3.6 (at_hash), 12.2; OpenID Connect Back-Channel Logout 1.0 2.1 (sid).
    """
    key = keys.signing(client.id_alg)
    token: dict[str, JsonValue] = {
        **claims,
        "iss": issuer,
        "sub": user_id,
        "aud": client.client_id,
        "exp": now_s + LIFE_S,
        "iat": now_s,
        "auth_time": int(auth_time.timestamp()),
        "sid": sid,
        "at_hash": at_hash(access_token, client.id_alg),
    }
    if nonce is not None:
        token["nonce"] = nonce
    if acr is not None:
        token["acr"] = acr
    if amr:
        token["amr"] = list(amr.split(" "))
    return await compact_aside(key, key.id_header, orjson.dumps(token))


def at_hash(access_token: bytes, alg: Alg) -> str:
    """The left half of the access token's hash. Spec: OpenID Connect Core 3.1.3.6."""
    digest = hashlib.new(_HASHES[alg], access_token).digest()
    return b64url(digest[: len(digest) // 2]).decode()
