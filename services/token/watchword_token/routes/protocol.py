"""The protocol endpoints, as plain ASGI: read, decide elsewhere, answer. They are hot: see docs/performance.md."""

import asyncio
from collections.abc import Mapping
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from watchword_runtime.clock import Clock
from watchword_token.clients import Client, Clients, read_credentials
from watchword_token.families import Families
from watchword_token.grants import Grant
from watchword_token.introspection import Introspection
from watchword_token.issuing import Behind, Issuing, TokenRequest
from watchword_token.revocation import Revoking, revoke_presented
from watchword_token.throttle import GUESSES, Throttle
from watchword_token.tokens import Tokens
from watchword_token.userinfo import Userinfo, read_bearer
from watchword_web.errors import OAuthError, invalid_client
from watchword_web.forms import Params, check_form_type, parse_form
from watchword_web.hot import header, method_not_allowed, read_body, send_json

_FORM: Final = b"application/x-www-form-urlencoded"
# Refusals that a client's newest settings could turn around: what was configured a moment ago works at once.
_CURABLE: Final = frozenset({"unauthorized_client", "invalid_scope", "invalid_target"})
_CATCH_UP_S: Final = 1.0
_CATCH_UP_STEP_S: Final = 0.005


async def read_form(scope: Scope, receive: Receive) -> Params:
    """The form of a request. Raises BadRequest for any other body. Spec: RFC 6749 3.2, appendix B."""
    content_type = header(scope, b"content-type") or b""
    if content_type != _FORM:
        check_form_type(content_type.decode("latin-1"))
    return parse_form(await read_body(scope, receive))


class Guarded:
    """An endpoint whose outages (a server that it needs is away) are all ConnectionError, which is answered 503."""

    __slots__ = ("_endpoint", "_outages")

    def __init__(self, endpoint: ASGIApp, outages: tuple[type[Exception], ...]) -> None:
        self._endpoint = endpoint
        self._outages = outages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._endpoint(scope, receive, send)
        except self._outages as error:
            raise ConnectionError(type(error).__name__) from error


class TokenEndpoint:
    """POST /oauth2/token. Spec: RFC 6749 3.2."""

    def __init__(
        self, clients: Clients, throttle: Throttle, issuing: Issuing, grants: Mapping[str, Grant], now: Clock
    ) -> None:
        self._clients = clients
        self._throttle = throttle
        self._issuing = issuing
        self._grants = grants
        self._now = now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            raise method_not_allowed("POST")
        now = self._now()
        address = self._throttle.enter(scope, now)
        form = await read_form(scope, receive)
        try:
            body = await self._redeem(header(scope, b"authorization"), form)
        except OAuthError as error:
            if error.error in GUESSES:
                self._throttle.failed(address, now)
            raise
        await send_json(send, body)

    async def _redeem(self, authorization: bytes | None, form: Params) -> bytes:
        """The answer; begun again, with everything read afresh, where this instance had not applied enough yet."""
        try:
            return await self._redeem_once(authorization, form)
        except Behind as behind:
            rev = behind.rev
        async with asyncio.timeout(_CATCH_UP_S):
            while self._issuing.feed.position < rev:
                await asyncio.sleep(_CATCH_UP_STEP_S)
        return await self._redeem_once(authorization, form)

    async def _redeem_once(self, authorization: bytes | None, form: Params) -> bytes:
        position = self._issuing.feed.position  # before anything is read that the answer depends on
        client = await self._clients.authenticate(read_credentials(authorization, form))
        now = self._now()
        self._throttle.client(client.client_id, now)
        grant_type = form.get("grant_type")
        if grant_type is None:
            raise OAuthError("invalid_request", "grant_type is missing")
        grant = self._grants.get(grant_type)
        if grant is None:
            raise OAuthError("unsupported_grant_type", "This grant type is not offered")
        try:
            return await self._checked(grant, grant_type, TokenRequest(form, client, position, now))
        except OAuthError as error:
            newest = await self._clients.renewed(client) if error.error in _CURABLE else None
            if newest is None:
                raise
        return await self._checked(grant, grant_type, TokenRequest(form, newest, position, now))

    async def _checked(self, grant: Grant, grant_type: str, request: TokenRequest) -> bytes:
        if grant_type not in request.client.grant_types:
            raise OAuthError("unauthorized_client", "The client may not use this grant type")
        return await grant.redeem(request)


class IntrospectionEndpoint:
    """POST /oauth2/introspect. Spec: RFC 7662 2."""

    def __init__(self, clients: Clients, throttle: Throttle, introspection: Introspection, now: Clock) -> None:
        self._clients = clients
        self._throttle = throttle
        self._introspection = introspection
        self._now = now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        now = self._now()
        client, form = await authenticated_form(scope, receive, self._clients, self._throttle, self._now)
        # RFC 7662 2.1: the endpoint requires authorization, and a public client's name is none.
        if client.is_public:
            raise invalid_client("public")
        token = form.get("token")
        if token is None:
            raise OAuthError("invalid_request", "token is missing")
        await send_json(send, await self._introspection.introspect(token, client, now))


class RevocationEndpoint:
    """POST /oauth2/revoke. Spec: RFC 7009 2."""

    def __init__(
        self,
        clients: Clients,
        throttle: Throttle,
        *,
        tokens: Tokens,
        families: Families,
        revoking: Revoking,
        now: Clock,
    ) -> None:
        self._clients = clients
        self._throttle = throttle
        self._tokens = tokens
        self._families = families
        self._revoking = revoking
        self._now = now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client, form = await authenticated_form(scope, receive, self._clients, self._throttle, self._now)
        token = form.get("token")
        if token is None:
            raise OAuthError("invalid_request", "token is missing")
        await revoke_presented(
            token,
            client,
            tokens=self._tokens,
            families=self._families,
            revoking=self._revoking,
            now_s=int(self._now().timestamp()),
        )
        await send_json(send, b"{}")


async def authenticated_form(
    scope: Scope, receive: Receive, clients: Clients, throttle: Throttle, clock: Clock
) -> tuple[Client, Params]:
    """The client that a POST request proves, and its form. Raises OAuthError."""
    if scope["method"] != "POST":
        raise method_not_allowed("POST")
    now = clock()
    address = throttle.enter(scope, now)
    form = await read_form(scope, receive)
    try:
        client = await clients.authenticate(read_credentials(header(scope, b"authorization"), form))
    except OAuthError as error:
        if error.error in GUESSES:
            throttle.failed(address, now)
        raise
    throttle.client(client.client_id, now)
    return client, form


class UserinfoEndpoint:
    """GET and POST /oauth2/userinfo. Spec: OpenID Connect Core 5.3.1."""

    def __init__(self, throttle: Throttle, userinfo: Userinfo, now: Clock) -> None:
        self._throttle = throttle
        self._userinfo = userinfo
        self._now = now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        now = self._now()
        self._throttle.enter(scope, now)
        form: Params = {}
        match scope["method"]:
            case "GET":
                pass
            case "POST":
                if header(scope, b"content-type") is not None:
                    form = await read_form(scope, receive)
            case _:
                raise method_not_allowed("GET", "POST")
        token = read_bearer(header(scope, b"authorization"), form)
        await send_json(send, await self._userinfo.answer(token, now))
