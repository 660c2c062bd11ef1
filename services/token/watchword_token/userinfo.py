"""Userinfo: the claims of the person behind an access token."""

from watchword_events.exports import UserExport
from watchword_runtime.feed import Feed
from watchword_token.memory import Kept
from watchword_token.profile import User
from watchword_token.tokens import InvalidToken, Tokens
from watchword_web.errors import OAuthError, insufficient_scope, invalid_token, missing_token
from watchword_web.forms import Params


def read_bearer(authorization: bytes | None, form: Params) -> str:
    """The one bearer token of a request, from its header or its form body; never from the query.

    Raises OAuthError: 401 without an error code when there is none, invalid_request for two, invalid_token for another
    scheme. Spec: RFC 6750 2.1, 2.2, 3.1.
    """
    posted = form.get("access_token")
    if authorization is None:
        if posted is None:
            raise missing_token()
        return posted
    if posted is not None:
        # RFC 6750 2: not more than one method per request.
        raise OAuthError("invalid_request", "More than one access token was sent")
    scheme, _, token = authorization.partition(b" ")
    if scheme.lower() != b"bearer":
        raise missing_token()
    return token.strip().decode("latin-1")


class Userinfo:
    """Answers from memory: no query for a person who was asked about before."""

    def __init__(self, tokens: Tokens, feed: Feed, users: Kept[UserExport, User]) -> None:
        self._tokens = tokens
        self._feed = feed
        self._users = users

    async def answer(self, token: str, now_s: float) -> bytes:
        """The JSON with `sub` and the claims that the token's scope opens.

        The token must be one of ours, in time, live, meant for us (aud has the issuer) and carry `openid`. Raises
        OAuthError invalid_token or insufficient_scope. Spec: OpenID Connect Core 5.3; RFC 6750 3.1; RFC 9068 4.
        """
        try:
            read = await self._tokens.read(token, now_s)
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
        user = self._users.find(claims["sub"]) or await self._users.get(claims["sub"])
        if user is None or not user.active:
            raise invalid_token("no such user")
        return user.answer(claims["scope"])


def _scope(claims: dict[str, object]) -> list[str]:
    scope = claims.get("scope")
    return scope.split(" ") if isinstance(scope, str) else []
