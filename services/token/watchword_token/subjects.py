"""Tokens of this installation that somebody shows in order to get another: whose they are, what they descend from.

A token is read, then the ledger is asked about everything that it carries. Whoever is meant by it has to be active.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import JsonValue

from watchword_events.exports import UserExport
from watchword_token.issuing import Issuing, MintKey, TokenRequest
from watchword_token.keys import EncryptionKey
from watchword_token.memory import Kept
from watchword_token.profile import User
from watchword_token.store import HotStore, Rotated
from watchword_token.tokens import InvalidToken, Read, Tokens
from watchword_web.errors import OAuthError

_URN: Final = "urn:ietf:params:oauth:token-type:"
ACCESS_TOKEN: Final = f"{_URN}access_token"
ID_TOKEN: Final = f"{_URN}id_token"
JWT: Final = f"{_URN}jwt"
TOKEN_TYPES: Final = (ACCESS_TOKEN, ID_TOKEN, JWT)
DESCENT: Final = ("gid", "sid", "idp")  # what the ledger ends a token by, beside its subject and clients
# What goes on into whatever a token is exchanged for: with these it is revoked, and says whose it is.
_CARRIED: Final = (*DESCENT, "auth_time", "acr", "act", "fed:iss")

TokenType = Literal["access_token", "id_token"]


def check_issued_type(issued_type: str, key: MintKey) -> None:
    """Raises OAuthError where a JWT is asked for, and the client, or whom it is for, takes opaque tokens."""
    if issued_type == JWT and isinstance(key, EncryptionKey):
        raise OAuthError("invalid_request", "This client or resource gets opaque tokens: ask for an access_token")


class Unusable(Exception):
    """The token cannot be exchanged. The message is for the log."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a token is about.

    client_id: to whom it was issued.  audience: for whom it is.  source: what the ledger was asked.  carried: claims
    that go on.  via: clients whose tokens were exchanged until here.  user: the person, None for a client itself or a
    subject of a trusted issuer.  grant: what the person allowed, of which the token came.
    """

    sub: str
    client_id: str
    audience: frozenset[str]
    scope: frozenset[str]
    exp: int
    source: Mapping[str, JsonValue]
    carried: Mapping[str, JsonValue]
    via: tuple[str, ...]
    user: User | None
    may_act: Mapping[str, JsonValue] | None = None
    grant: Rotated | None = None

    def is_for(self, client_id: str) -> bool:
        """Whether the token was issued to a client or is meant for it."""
        return client_id == self.client_id or client_id in self.audience


class Subjects:
    """Reads tokens of this installation."""

    def __init__(self, issuing: Issuing, store: HotStore, users: Kept[UserExport, User]) -> None:
        self._tokens: Tokens = issuing.tokens
        self._feed = issuing.feed
        self._store = store
        self._users = users

    async def of_access_token(self, token: str, request: TokenRequest) -> Subject:
        """Whom an access token is about. Raises Unusable when it is not ours, over, revoked, or nobody's any more."""
        read = await self._read(token, request, "access_token")
        return await self._subject(read, frozenset(str(read.claims.get("scope", "")).split()), None)

    async def of_id_token(self, token: str, request: TokenRequest) -> Subject:
        """Whom an ID token is about, with the scope of the grant that it came of. Raises Unusable."""
        read = await self._read(token, request, "id_token")
        claims = read.claims
        found = await self._store.find_grant(claims["gid"])
        if found is None or found.revoked_at is not None or found.grant.client_id != claims["aud"]:
            raise Unusable("the grant is over")
        # An ID token has no client_id of its own: it is for the one that it was issued to.
        read = read._replace(claims={**claims, "client_id": claims["aud"]})
        return await self._subject(read, frozenset(found.grant.scope.split()), found.grant)

    async def _read(self, token: str, request: TokenRequest, kind: TokenType) -> Read:
        read = self._tokens.read if kind == "access_token" else self._tokens.read_id_token
        try:
            return await read(token, request.now_s)
        except InvalidToken as error:
            raise Unusable(str(error)) from None

    async def _subject(self, read: Read, scope: frozenset[str], grant: Rotated | None) -> Subject:
        claims: dict[str, Any] = read.claims
        if not self._feed.is_live(claims, read.kid):
            raise Unusable("revoked")
        audience = claims["aud"]
        via = tuple(claims.get("via", ()))
        user = None
        if "fed:iss" not in claims and claims["sub"] not in (claims["client_id"], *via):
            user = await self._users.get(claims["sub"])
            if user is None or not user.active:
                raise Unusable("no such user")
            grant = grant or await self._grant(claims)
        return Subject(
            sub=claims["sub"],
            client_id=claims["client_id"],
            audience=frozenset([audience] if isinstance(audience, str) else audience),
            scope=scope,
            exp=claims["exp"],
            source=claims,
            carried={name: claims[name] for name in _CARRIED if name in claims},
            via=via,
            user=user,
            may_act=claims.get("may_act"),
            grant=grant,
        )

    async def _grant(self, claims: Mapping[str, Any]) -> Rotated | None:
        """What the person allowed; None for a token of a credential of theirs, which is no grant."""
        found = await self._store.find_grant(claims["gid"]) if "gid" in claims else None
        if found is not None and found.revoked_at is not None:
            raise Unusable("the grant is over")
        return found.grant if found is not None else None
