"""ID tokens: what a client learns about the sign-in itself."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from pydantic import JsonValue

from watchword_policy.scopes import CLIENT_IP
from watchword_token.clients import Client
from watchword_token.encoding import b64url
from watchword_token.formats import Formats
from watchword_token.issuing import check_size
from watchword_token.key_material import Alg
from watchword_token.pairwise import Names

LIFE_S: Final = 300  # a client checks it when it arrives; it is no session
_NOTHING: Final[Mapping[str, JsonValue]] = {}
_HASHES: Final[Mapping[Alg, str]] = {"ES256": "sha256", "RS256": "sha256", "EdDSA": "sha512"}


async def make_id_token(
    formats: Formats,
    subjects: Names,
    client: Client,
    *,
    issuer: str,
    user_id: str,
    gid: str,
    sid: str,
    auth_time: datetime,
    amr: str,
    acr: str | None,
    claims: Mapping[str, JsonValue],
    access: Mapping[str, JsonValue],
    now_s: int,
    rev: int,
    named: Mapping[str, JsonValue] = _NOTHING,
    access_token: bytes | None = None,
    code: str | None = None,
    nonce: str | None = None,
) -> bytes:
    """A signed ID token for a client, with the algorithm that it registered, and encrypted where it asked for that.

    amr: joined by spaces.  claims: of the person; a client may have asked to be told them at userinfo only, where it
    can ask there.  named: those that it asked for here by name.  access: what access rules gave, which no client is
    told elsewhere only.  access_token, code: what comes beside the ID token, which carries its hash.  gid, rev: of the
    grant and when this was made, so that an ID token that is exchanged can be revoked like the others.
    Raises OAuthError token_too_large.

    Spec: OpenID Connect Core 2, 3.1.3.6 (at_hash), 3.3.2.11 (c_hash), 5.4, 10.2, 12.2; OpenID Connect Back-Channel
    Logout 1.0 2.1 (sid).
    """
    token = id_claims(
        client,
        issuer=issuer,
        sub=subjects.name(client.sector, user_id),
        claims=claims,
        named=named,
        access=access,
        auth_time=auth_time,
        amr=amr,
        acr=acr,
        now_s=now_s,
        is_alone=access_token is None and code is None,
    )
    token |= {"sid": sid, "gid": gid, "rev": rev}
    if access_token is not None:
        token["at_hash"] = half_hash(access_token, client.id_alg)
    if code is not None:
        token["c_hash"] = half_hash(code.encode(), client.id_alg)
    if nonce is not None:
        token["nonce"] = nonce
    made = await formats.signed(client.id_alg, token)
    own = client.formats
    if own is not None and own.id_token is not None:
        made = await formats.encrypted(own, own.id_token, made, cty="JWT")
    check_size(client, "ID token", made)
    return made


def id_claims(
    client: Client,
    *,
    issuer: str,
    sub: str,
    claims: Mapping[str, JsonValue],
    named: Mapping[str, JsonValue],
    access: Mapping[str, JsonValue],
    auth_time: datetime,
    amr: str,
    acr: str | None,
    now_s: int,
    is_alone: bool,
) -> dict[str, JsonValue]:
    """What an ID token says of the person and the sign-in. is_alone: nothing comes beside it.

    The others: as for `make_id_token`. Spec: OpenID Connect Core 2, 5.4.
    """
    token: dict[str, JsonValue] = {
        **(claims if is_alone or not client.userinfo_claims_only else {}),
        **named,
        **access,
        "iss": issuer,
        "sub": sub,
        "aud": client.client_id,
        "exp": now_s + LIFE_S,
        "iat": now_s,
        "auth_time": int(auth_time.timestamp()),
    }
    if acr is not None:
        token["acr"] = acr
    if amr:
        token["amr"] = list(amr.split(" "))
    return token


async def prepare_id_token(formats: Formats, client: Client, scope: frozenset[str]) -> None:
    """Nothing of the client's will be missing when the ID token is made. Raises OAuthError, as `Formats.prepare`."""
    own = client.formats
    if own is not None and own.id_token is not None and "openid" in scope:
        await formats.prepare(own, own.id_token)


def address_claim(scope: str, address: str) -> dict[str, JsonValue]:
    """`client_ip`, where the scope opens it: the address that the person signed in from."""
    return {"client_ip": address} if CLIENT_IP in scope.split() else {}


def half_hash(value: bytes, alg: Alg) -> str:
    """The left half of the hash of an access token or code. Spec: OpenID Connect Core 3.1.3.6, 3.3.2.11."""
    digest = hashlib.new(_HASHES[alg], value).digest()
    return b64url(digest[: len(digest) // 2]).decode()
