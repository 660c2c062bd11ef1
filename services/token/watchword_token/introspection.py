"""Introspection: what a token means, told to those it was meant for."""

from datetime import UTC, datetime
from typing import Any, Final

import orjson
from pydantic import JsonValue

from watchword_runtime.connections import NOWHERE, Connection, Proxies
from watchword_runtime.feed import Feed
from watchword_token.clients import Client
from watchword_token.families import Families, RefreshToken
from watchword_token.formats import Formats
from watchword_token.pairwise import Names
from watchword_token.reply import Reply
from watchword_token.store import HotStore, source_of
from watchword_token.tokens import InvalidToken, Tokens

INACTIVE: Final = b'{"active":false}'
SIGNED_TYPE: Final = "token-introspection+jwt"
SIGNED_MEDIA_TYPE: Final = b"application/token-introspection+jwt"
ANY_SCOPE: Final = "introspect:any"
_ACTIVE: Final = b'{"active":true,"token_type":"Bearer",'
_ACTIVE_BOUND: Final = b'{"active":true,"token_type":"DPoP",'  # RFC 9449 6.2


class Introspection:
    """Answers about access tokens from memory alone, and about a client's own refresh tokens from its grant."""

    def __init__(
        self,
        tokens: Tokens,
        families: Families,
        store: HotStore,
        feed: Feed,
        formats: Formats,
        subjects: Names,
        proxies: Proxies,
    ) -> None:
        self._subjects = subjects
        self._proxies = proxies
        self._formats = formats
        self._tokens = tokens
        self._families = families
        self._store = store
        self._feed = feed

    async def introspect(self, token: str, client: Client, now_s: float, connection: Connection = NOWHERE) -> bytes:
        """The JSON about a token: its claims when it is live and this client may know, else only `active: false`.

        A caller may know about tokens whose audience includes it, tokens issued to it, and all with the scope
        `introspect:any`; about others it does not even learn whether they exist. Spec: RFC 7662 2.2, 4.
        """
        try:
            read = await self._tokens.read(token, now_s)
        except InvalidToken:
            refresh = self._families.read(token)
            return INACTIVE if refresh is None else await self._about_refresh(refresh, client, now_s)
        if not _may_know(client, read.claims) or not self._feed.is_live(read.claims, read.kid):
            return INACTIVE
        if "client_ip" in read.claims and not self._proxies.keeps_to_session(read.claims, connection):
            return INACTIVE
        return (_ACTIVE_BOUND if "jkt" in read.claims.get("cnf", ()) else _ACTIVE) + read.payload[1:]

    async def signed(self, body: bytes, client: Client, now_s: float) -> Reply:
        """The same JSON as a JWT for this client, encrypted where it registered that. Spec: RFC 9701 5."""
        claims: dict[str, JsonValue] = {
            "iss": self._tokens.issuer,
            "aud": client.client_id,
            "iat": int(now_s),
            "token_introspection": orjson.loads(body),
        }
        document = await self._formats.signed(client.introspection_alg, claims, typ=SIGNED_TYPE)
        own = client.formats
        if own is not None and own.introspection is not None:
            document = await self._formats.encrypted(own, own.introspection, document, cty="JWT")
        return Reply(document, media_type=SIGNED_MEDIA_TYPE)

    async def _about_refresh(self, token: RefreshToken, client: Client, now_s: float) -> bytes:
        now = datetime.fromtimestamp(now_s, UTC)
        found = await self._store.find_grant(token.gid)
        if found is None or found.grant.client_id != client.client_id or found.cur_hash != token.hash:
            return INACTIVE
        grant = found.grant
        if found.revoked_at is not None or grant.expires_at <= now or found.idle_at <= now:
            return INACTIVE
        claims: dict[str, Any] = {
            "sub": self._subjects.name(client.sector, grant.user_id),
            "client_id": grant.client_id,
            "gid": grant.id,
            "rev": grant.rev,
        }
        if grant.session_bound:
            claims["sid"] = grant.sid
        if grant.idp is not None:
            claims["idp"] = grant.idp
        if not self._feed.is_live(source_of(grant)):
            return INACTIVE
        if grant.details is not None:
            claims["authorization_details"] = orjson.loads(grant.details)
        exp = int(min(grant.expires_at, found.idle_at).timestamp())
        return orjson.dumps({"active": True, "iss": self._tokens.issuer, "scope": grant.scope, "exp": exp, **claims})


def _may_know(client: Client, claims: dict[str, Any]) -> bool:
    audience = claims["aud"]
    return (
        claims["client_id"] == client.client_id
        or (client.client_id == audience if isinstance(audience, str) else client.client_id in audience)
        or ANY_SCOPE in client.scope
    )
