"""The protocol endpoints: read by `hot`, decided elsewhere."""

import asyncio
from collections.abc import Mapping
from typing import Final

from watchword_token.clients import Client, Clients, read_credentials
from watchword_token.families import Families
from watchword_token.grants import Grant
from watchword_token.introspection import Introspection
from watchword_token.issuing import Behind, Issuing, TokenRequest
from watchword_token.revocation import Revoking, revoke_presented
from watchword_token.routes.hot import Asked
from watchword_token.throttle import Throttle
from watchword_token.tokens import Tokens
from watchword_token.userinfo import Userinfo, read_bearer
from watchword_web.errors import OAuthError, invalid_client

# Refusals that a client's newest settings could turn around: what was configured a moment ago works at once.
_CURABLE: Final = frozenset({"unauthorized_client", "invalid_scope", "invalid_target"})
_CATCH_UP_S: Final = 1.0
_CATCH_UP_STEP_S: Final = 0.005


class TokenEndpoint:
    """POST /oauth2/token. Spec: RFC 6749 3.2."""

    def __init__(self, clients: Clients, throttle: Throttle, issuing: Issuing, grants: Mapping[str, Grant]) -> None:
        self._clients = clients
        self._throttle = throttle
        self._issuing = issuing
        self._grants = grants

    async def answer(self, asked: Asked) -> bytes:
        """The tokens; begun again, with everything read afresh, where this instance had not applied enough yet."""
        try:
            return await self._issue(asked)
        except Behind as behind:
            rev = behind.rev
        async with asyncio.timeout(_CATCH_UP_S):
            while self._issuing.feed.position < rev:
                await asyncio.sleep(_CATCH_UP_STEP_S)
        return await self._issue(asked)

    async def _issue(self, asked: Asked) -> bytes:
        position = self._issuing.feed.position  # before anything is read that the answer depends on
        form = asked.form
        client = await self._clients.authenticate(read_credentials(asked.authorization, form))
        self._throttle.client(client.client_id, asked.now_s)
        grant_type = form.get("grant_type")
        if grant_type is None:
            raise OAuthError("invalid_request", "grant_type is missing")
        grant = self._grants.get(grant_type)
        if grant is None:
            raise OAuthError("unsupported_grant_type", "This grant type is not offered")
        request = TokenRequest(form, client, position, asked.now_s)
        try:
            check_grant_type(client, grant_type)
            return await grant.redeem(request)
        except OAuthError as error:
            newest = await self._clients.renewed(client) if error.error in _CURABLE else None
            if newest is None:
                raise
        check_grant_type(newest, grant_type)
        return await grant.redeem(request._replace(client=newest))


def check_grant_type(client: Client, grant_type: str) -> None:
    """Raises OAuthError unless the client registered for the grant type. Spec: RFC 6749 5.2."""
    if grant_type not in client.grant_types:
        raise OAuthError("unauthorized_client", "The client may not use this grant type")


class IntrospectionEndpoint:
    """POST /oauth2/introspect. Spec: RFC 7662 2."""

    def __init__(self, clients: Clients, throttle: Throttle, introspection: Introspection) -> None:
        self._clients = clients
        self._throttle = throttle
        self._introspection = introspection

    async def answer(self, asked: Asked) -> bytes:
        """What the token means to the caller."""
        client = await self._clients.authenticate(read_credentials(asked.authorization, asked.form))
        # RFC 7662 2.1: the endpoint requires authorization, and a public client's name is none.
        if client.is_public:
            raise invalid_client("public")
        self._throttle.client(client.client_id, asked.now_s)
        return await self._introspection.introspect(token_in(asked), client, asked.now_s)


class RevocationEndpoint:
    """POST /oauth2/revoke. Spec: RFC 7009 2."""

    def __init__(
        self, clients: Clients, throttle: Throttle, *, tokens: Tokens, families: Families, revoking: Revoking
    ) -> None:
        self._clients = clients
        self._throttle = throttle
        self._tokens = tokens
        self._families = families
        self._revoking = revoking

    async def answer(self, asked: Asked) -> bytes:
        """An empty object: the token is dead, or was none."""
        client = await self._clients.authenticate(read_credentials(asked.authorization, asked.form))
        self._throttle.client(client.client_id, asked.now_s)
        await revoke_presented(
            token_in(asked),
            client,
            tokens=self._tokens,
            families=self._families,
            revoking=self._revoking,
            now_s=asked.now_s,
        )
        return b"{}"


class UserinfoEndpoint:
    """GET and POST /oauth2/userinfo. Spec: OpenID Connect Core 5.3.1."""

    def __init__(self, userinfo: Userinfo) -> None:
        self._userinfo = userinfo

    async def answer(self, asked: Asked) -> bytes:
        """The person's claims."""
        return await self._userinfo.answer(read_bearer(asked.authorization, asked.form), asked.now_s)


def token_in(asked: Asked) -> str:
    """The token that a form is about. Raises OAuthError."""
    token = asked.form.get("token")
    if token is None:
        raise OAuthError("invalid_request", "token is missing")
    return token
