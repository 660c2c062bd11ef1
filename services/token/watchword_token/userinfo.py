"""Userinfo: the claims of the person behind an access token."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson
from pydantic import JsonValue

from watchword_events.exports import ClientExport, UserExport
from watchword_policy.scopes import CLIENT_IP
from watchword_runtime.connections import NOWHERE, Connection, Proxies
from watchword_runtime.feed import Feed
from watchword_token.access import NAMES
from watchword_token.binding import Bindings
from watchword_token.client_formats import ClientFormats
from watchword_token.clients import Client
from watchword_token.formats import Formats
from watchword_token.memory import Kept
from watchword_token.pairwise import Names
from watchword_token.profile import User
from watchword_token.reply import Reply
from watchword_token.tokens import InvalidToken, Tokens
from watchword_verifier import Shown
from watchword_web.errors import OAuthError, insufficient_scope, invalid_token, missing_token
from watchword_web.forms import Params


class Presented(NamedTuple):
    """An access token as a request presents it. is_bound: with the scheme DPoP, so that a proof must come with it."""

    token: str
    is_bound: bool


def read_token(authorization: bytes | None, form: Params) -> Presented:
    """The one access token of a request, from its header or its form body; never from the query.

    Raises OAuthError: 401 without an error code when there is none or for another scheme, invalid_request for two.
    Spec: RFC 6750 2.1, 2.2, 3.1; RFC 9449 7.1.
    """
    posted = form.get("access_token")
    if authorization is None:
        if posted is None:
            raise missing_token()
        return Presented(posted, is_bound=False)
    if posted is not None:
        # RFC 6750 2: not more than one method per request.
        raise OAuthError("invalid_request", "More than one access token was sent")
    scheme, _, token = authorization.partition(b" ")
    scheme = scheme.lower()
    if scheme not in (b"bearer", b"dpop"):
        raise missing_token()
    return Presented(token.strip().decode("latin-1"), is_bound=scheme == b"dpop")


class Userinfo:
    """Answers from memory: no query for a person who was asked about before."""

    def __init__(
        self,
        tokens: Tokens,
        feed: Feed,
        users: Kept[UserExport, User],
        clients: Kept[ClientExport, Client],
        bindings: Bindings,
        formats: Formats,
        subjects: Names,
        proxies: Proxies,
    ) -> None:
        self._subjects = subjects
        self._proxies = proxies
        self._tokens = tokens
        self._clients = clients
        self._formats = formats
        self._bindings = bindings
        self._feed = feed
        self._users = users

    async def answer(
        self, presented: Presented, shown: Shown, now_s: float, connection: Connection = NOWHERE
    ) -> bytes | Reply:
        """The JSON with `sub`, the claims that the token's scope opens, those that it names and what access rules gave;
        as a JWT for a client that registered that.

        The token must be one of ours, in time, live, meant for us (aud has the issuer), carry `openid` and come from
        its holder. Raises OAuthError invalid_token, insufficient_scope, invalid_dpop_proof or use_dpop_nonce.
        Spec: OpenID Connect Core 5.3, 5.3.2; RFC 6750 3.1; RFC 9068 4; RFC 9449 7.1.
        """
        try:
            read = await self._tokens.read(presented.token, now_s)
        except InvalidToken as error:
            raise invalid_token(str(error)) from None
        claims = read.claims
        audience, issuer = claims["aud"], self._tokens.issuer
        # RFC 9068 4: a token that is not meant for this resource is refused, however genuine.
        if issuer != audience if isinstance(audience, str) else issuer not in audience:
            raise invalid_token("another audience") if "openid" in _scope(claims) else insufficient_scope("openid")
        if "openid" not in _scope(claims):
            raise insufficient_scope("openid")
        if not self._feed.is_live(claims, read.kid):
            raise invalid_token("revoked")
        if presented.is_bound or "cnf" in claims:
            await self._bindings.check_holder(presented.token, claims, shown, now_s)
        if "client_ip" in claims and not self._proxies.keeps_to_session(claims, connection):
            raise invalid_token("used for another address than the session's")
        client = self._clients.find(claims["client_id"]) or await self._clients.get(claims["client_id"])
        if client is None:
            raise invalid_token("no such client")
        user_id = claims["sub"] if client.sector is None else await self._subjects.user_of(claims["sub"])
        user = None if user_id is None else self._users.find(user_id) or await self._users.get(user_id)
        if user is None or not user.active:
            raise invalid_token("no such user")
        body = document_of(user, client, claims)
        return body if client.formats is None else await self._formatted(client.client_id, client.formats, body)

    async def _formatted(self, client_id: str, own: ClientFormats, body: bytes) -> bytes | Reply:
        """The document as the client wants it; a signed one says who made it and for whom."""
        alg, encryption = own.userinfo_alg, own.userinfo
        if alg is None and encryption is None:
            return body
        if alg is not None:
            claims: dict[str, JsonValue] = {**orjson.loads(body), "iss": self._tokens.issuer, "aud": client_id}
            body = await self._formats.signed(alg, claims)
        if encryption is not None:
            body = await self._formats.encrypted(own, encryption, body, cty="JWT" if alg is not None else None)
        return Reply(body, media_type=b"application/jwt")


def _scope(claims: Mapping[str, object]) -> list[str]:
    scope = claims.get("scope")
    return scope.split(" ") if isinstance(scope, str) else []


def document_of(user: User, client: Client, claims: Mapping[str, Any]) -> bytes:
    """The JSON for a person and a client. claims: of the access token. Spec: OpenID Connect Core 5.3.2."""
    body = user.answer(claims["scope"], claims.get("userinfo_claims", ()), client.groups)
    given: dict[str, JsonValue] = {name: claims[name] for name in NAMES if name in claims}
    if "client_ip" in claims and CLIENT_IP in _scope(claims):
        given["client_ip"] = claims["client_ip"]
    if given:
        body = body[:-1] + b"," + orjson.dumps(given)[1:]
    if client.sector is not None:
        body = orjson.dumps({**orjson.loads(body), "sub": claims["sub"]})
    return body
