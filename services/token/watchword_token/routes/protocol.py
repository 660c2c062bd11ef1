"""The protocol endpoints: read by `hot`, decided elsewhere."""

import asyncio
from collections.abc import Mapping
from typing import Final

from watchword_runtime.client_credentials import read_credentials
from watchword_runtime.connections import Proxies
from watchword_runtime.receipts import Endings
from watchword_runtime.telemetry import Telemetry
from watchword_token.binding import Bindings
from watchword_token.clients import Client, Clients
from watchword_token.families import Families
from watchword_token.grants import Grant
from watchword_token.introspection import SIGNED_MEDIA_TYPE, Introspection
from watchword_token.issuing import Behind, Issuing, NotAllowed, TokenRequest
from watchword_token.pairwise import Names
from watchword_token.persons import credential_in
from watchword_token.reply import Reply
from watchword_token.revocation import Revoking, revoke_presented
from watchword_token.routes.hot import Asked
from watchword_token.throttle import Throttle
from watchword_token.tokens import Tokens
from watchword_token.userinfo import Userinfo, read_token
from watchword_verifier import Shown
from watchword_web.errors import OAuthError, invalid_client
from watchword_web.forms import parse_form

# Refusals that a client's newest settings could turn around: what was configured a moment ago works at once.
_CURABLE: Final = frozenset({"unauthorized_client", "invalid_scope", "invalid_target"})
_CATCH_UP_S: Final = 1.0
_USERINFO: Final = "/oauth2/userinfo"
_CATCH_UP_STEP_S: Final = 0.005


class TokenEndpoint:
    """POST /oauth2/token. Spec: RFC 6749 3.2."""

    def __init__(
        self,
        clients: Clients,
        throttle: Throttle,
        issuing: Issuing,
        bindings: Bindings,
        grants: Mapping[str, Grant],
        proxies: Proxies,
        telemetry: Telemetry,
    ) -> None:
        self._proxies = proxies
        self._clients = clients
        self._throttle = throttle
        self._issuing = issuing
        self._bindings = bindings
        self._grants = grants
        self._telemetry = telemetry

    async def answer(self, asked: Asked) -> bytes | Reply:
        """The tokens, counted."""
        try:
            answer = await self._answer(asked)
        except OAuthError as error:
            self._telemetry.refusals[error.error] += 1
            raise
        self._telemetry.tokens[asked.form["grant_type"]] += 1
        return answer

    async def _answer(self, asked: Asked) -> bytes | Reply:
        """The tokens; begun again, with everything read afresh, where this instance had not applied enough yet.

        What proves the client, and the key that its tokens are bound to, may be used once: it is looked at once.
        """
        position = self._issuing.feed.position  # before anything is read that the answer depends on
        credential = None
        if asked.form.get("grant_type") == "client_credentials":
            credential = credential_in(asked.authorization, asked.headers, asked.form)
        if credential is None:
            client = await self._clients.authenticate(read_credentials(asked.authorization, asked.form), asked)
        else:
            client = await self._clients.named(asked.form.get("client_id"))
        self._throttle.client(client.client_id, asked.now_s)
        request = TokenRequest(asked.form, client, position, asked.now_s)
        if credential is not None:
            request = request._replace(credential=credential, address=self._proxies.address_of(asked))
        proof = asked.headers.get(b"dpop")
        if proof is None and not client.bound_to:
            return await self._issued(request)
        binding = await self._bindings.binding_of(client, proof, asked, asked.now_s)
        body = await self._issued(request._replace(binding=binding))
        return Reply(body, self._bindings.next_nonce(asked.now_s) if proof is not None else ())

    async def _issued(self, request: TokenRequest) -> bytes:
        try:
            return await self._redeem(request)
        except Behind as behind:
            rev = behind.rev
        async with asyncio.timeout(_CATCH_UP_S):
            while self._issuing.feed.position < rev:
                await asyncio.sleep(_CATCH_UP_STEP_S)
        position = self._issuing.feed.position
        client = await self._clients.current(request.client)
        return await self._redeem(request._replace(client=client, position=position))

    async def _redeem(self, request: TokenRequest) -> bytes:
        client, grant_type = request.client, request.form.get("grant_type")
        if grant_type is None:
            raise OAuthError("invalid_request", "grant_type is missing")
        grant = self._grants.get(grant_type)
        if grant is None:
            raise OAuthError("unsupported_grant_type", "This grant type is not offered")
        try:
            check_grant_type(client, grant_type)
            return await grant.redeem(request)
        except OAuthError as error:
            is_curable = error.error in _CURABLE or isinstance(error, NotAllowed)
            newest = await self._clients.renewed(client) if is_curable else None
            if newest is None:
                raise
        check_grant_type(newest, grant_type)
        return await grant.redeem(request._replace(client=newest))


def check_grant_type(client: Client, grant_type: str) -> None:
    """Raises OAuthError unless the client registered for the grant type. Spec: RFC 6749 5.2."""
    if grant_type not in client.grant_types:
        raise OAuthError("unauthorized_client", "The client may not use this grant type")


class IntrospectionEndpoint:
    """POST /oauth2/introspect. Spec: RFC 7662 2; RFC 9701 4."""

    def __init__(self, clients: Clients, throttle: Throttle, introspection: Introspection) -> None:
        self._clients = clients
        self._throttle = throttle
        self._introspection = introspection

    async def answer(self, asked: Asked) -> bytes | Reply:
        """What the token means to the caller."""
        client = await self._clients.authenticate(read_credentials(asked.authorization, asked.form), asked)
        # RFC 7662 2.1: the endpoint requires authorization, and a public client's name is none.
        if client.is_public:
            raise invalid_client("public")
        self._throttle.client(client.client_id, asked.now_s)
        body = await self._introspection.introspect(token_in(asked), client, asked.now_s, asked)
        # RFC 9701 4: a signed answer is for who asks for one.
        if SIGNED_MEDIA_TYPE in asked.headers.get(b"accept", b""):
            return await self._introspection.signed(body, client, asked.now_s)
        return body


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
        endings: Endings,
        subjects: Names,
    ) -> None:
        self._endings = endings
        self._subjects = subjects
        self._clients = clients
        self._throttle = throttle
        self._tokens = tokens
        self._families = families
        self._revoking = revoking

    async def answer(self, asked: Asked) -> bytes | Reply:
        """An empty object: the token is dead, or was none."""
        client = await self._clients.authenticate(read_credentials(asked.authorization, asked.form), asked)
        self._throttle.client(client.client_id, asked.now_s)
        ending = self._endings.asked(parse_form(asked.query)) if asked.query else self._endings.here()
        # A waiting call looks into the table again and again: that is not for whoever knows a name.
        if ending.everywhere and client.is_public:
            raise OAuthError("unauthorized_client", "A client that waits for all authenticates itself")
        entries = await revoke_presented(
            token_in(asked),
            client,
            tokens=self._tokens,
            families=self._families,
            revoking=self._revoking,
            subjects=self._subjects,
            now_s=asked.now_s,
        )
        await ending.finish(entries)
        if not ending.everywhere:
            return b"{}"
        headers = ending.headers.items()
        return Reply(b"{}", tuple((name.lower().encode(), value.encode()) for name, value in headers))


class UserinfoEndpoint:
    """GET and POST /oauth2/userinfo. Spec: OpenID Connect Core 5.3.1."""

    def __init__(self, userinfo: Userinfo, proxies: Proxies) -> None:
        self._userinfo = userinfo
        self._proxies = proxies

    async def answer(self, asked: Asked) -> bytes | Reply:
        """The person's claims."""
        presented = read_token(asked.authorization, asked.form)
        proof = asked.headers.get(b"dpop", b"").decode("latin-1") if presented.is_bound else None
        shown = Shown(proof, asked.method, _USERINFO, self._proxies.certificate_of(asked))
        return await self._userinfo.answer(presented, shown, asked.now_s, asked)


def token_in(asked: Asked) -> str:
    """The token that a form is about. Raises OAuthError."""
    token = asked.form.get("token")
    if token is None:
        raise OAuthError("invalid_request", "token is missing")
    return token
