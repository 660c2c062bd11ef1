"""The shared phases of every grant: is the source live, make the access token, write the answer."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple

import orjson
from pydantic import JsonValue

from watchword_database.ids import new_id
from watchword_events.names import Position
from watchword_policy.scopes import InvalidScope, parse_scope
from watchword_runtime.feed import Feed
from watchword_token.clients import Client
from watchword_token.keys import EncryptionKey, Keys, SigningKey
from watchword_token.tokens import Tokens, audience_of, compact, compact_aside
from watchword_web.errors import OAuthError
from watchword_web.forms import Params


class TokenRequest(NamedTuple):
    """A request at the token endpoint after client authentication.

    position: what this instance had applied before it read anything that the answer depends on; tokens carry it as
    `rev`, so that whatever is revoked meanwhile kills them.
    """

    form: Params
    client: Client
    position: Position
    now_s: float

    @property
    def now(self) -> datetime:
        """The same, for columns."""
        return datetime.fromtimestamp(self.now_s, UTC)


class Behind(Exception):
    """A source carries a `rev` that this instance has not applied yet: catch up, then begin the request again.

    A token stamped with an older position than its source would be killed by what the source was decided after.
    """

    def __init__(self, rev: int) -> None:
        super().__init__(rev)
        self.rev = rev


MintKey = SigningKey | EncryptionKey
_NO_LINEAGE: Final[Mapping[str, JsonValue]] = {}


class Issued(NamedTuple):
    """A fresh access token."""

    token: bytes
    expires_in_s: int


class Issuing:
    """Makes tokens from sources that are live."""

    def __init__(self, tokens: Tokens, keys: Keys, feed: Feed) -> None:
        self.tokens = tokens
        self.keys = keys
        self.feed = feed

    async def key_for(self, request: TokenRequest, source: Mapping[str, JsonValue]) -> MintKey | None:
        """The key that shall make the token, if nothing revoked matches the source (its lineage and its own `rev`).

        None when the source is dead. Raises Behind, and ConnectionError while no key is loaded.
        """
        if source["rev"] > request.position:  # type: ignore[operator]  # a position, always
            raise Behind(source["rev"])  # type: ignore[arg-type]  # as above
        client = request.client
        key: MintKey = self.keys.encryption if client.opaque else self.keys.signing(client.access_alg)
        if self.feed.is_live(source, key.kid):
            return key
        if not self.feed.is_live(source):
            return None
        # It is the key that was revoked, by another instance; its successor stands in the table.
        await self.keys.reload()
        key = self.keys.encryption if client.opaque else self.keys.signing(client.access_alg)
        return key if self.feed.is_live(source, key.kid) else None

    async def access_token(
        self,
        request: TokenRequest,
        key: MintKey,
        *,
        subject: str,
        scope: str,
        resource: tuple[str, ...] = (),
        lineage: Mapping[str, JsonValue] = _NO_LINEAGE,
        not_after: datetime | None = None,
    ) -> Issued:
        """A token in the client's format. lineage: gid, sid, idp and what else makes it revocable; no null values.

        key: from `key_for`, which asked whether the source is live.  not_after: when the session that it depends on
        ends at the latest.  Spec: RFC 9068 2, 2.2; RFC 7516 4.1 (dir, A256GCM).
        """
        client, now_s = request.client, int(request.now_s)
        exp = now_s + client.lifetime_s
        if not_after is not None:
            exp = min(exp, int(not_after.timestamp()))
        claims: dict[str, JsonValue] = {
            "iss": self.tokens.issuer,
            "sub": subject,
            "aud": audience_of(client, scope, resource, self.tokens.issuer),
            "exp": exp,
            "iat": now_s,
            "jti": new_id(),
            "client_id": client.client_id,
            "rev": request.position,
            "scope": scope,
            **lineage,
        }
        if not scope:
            del claims["scope"]
        payload = orjson.dumps(claims)
        if isinstance(key, EncryptionKey):
            token = key.seal(payload)
        elif key.is_slow:
            token = await compact_aside(key, key.access_header, payload)
        else:
            token = compact(key, key.access_header, payload)
        return Issued(token, exp - now_s)


def lineage_of(*, gid: str, sid: str | None, idp: str | None, auth_time: datetime) -> dict[str, JsonValue]:
    """What a person's token descends from. sid: None for a grant that does not depend on the session."""
    lineage: dict[str, JsonValue] = {"gid": gid, "auth_time": int(auth_time.timestamp())}
    if sid is not None:
        lineage["sid"] = sid
    if idp is not None:
        lineage["idp"] = idp
    return lineage


def answer(issued: Issued, scope: str, *, refresh_token: str = "", id_token: bytes = b"") -> bytes:
    """The JSON of a successful answer. Spec: RFC 6749 5.1; OpenID Connect Core 3.1.3.3."""
    parts = [b'{"access_token":"%b","token_type":"Bearer","expires_in":%d' % issued]
    if scope:
        parts.append(b',"scope":' + orjson.dumps(scope))
    if refresh_token:
        parts.append(b',"refresh_token":"%b"' % refresh_token.encode())
    if id_token:
        parts.append(b',"id_token":"%b"' % id_token)
    parts.append(b"}")
    return b"".join(parts)


def requested_scope(form: Params) -> frozenset[str]:
    """The scope that is asked for, empty when none is named. Raises OAuthError invalid_scope. Spec: RFC 6749 3.3."""
    raw = form.get("scope")
    if raw is None:
        return frozenset()
    try:
        return parse_scope(raw)
    except InvalidScope:
        raise OAuthError("invalid_scope", "The scope is malformed") from None


def requested_resource(form: Params, client: Client) -> tuple[str, ...]:
    """The resource that the token shall be for, of those that the client may use. Spec: RFC 8707 2, 2.2."""
    resource = form.get("resource")
    if resource is None:
        return ()
    if resource not in client.audience:
        raise OAuthError("invalid_target", "The client may not use this resource")
    return (resource,)
