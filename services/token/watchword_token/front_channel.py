"""Answers of the authorization endpoint that hold something made here: tokens, or the whole answer as a signed JWT.

authz decides and hands over; here the answer is completed, at the request of the browser that it is for. What had been
decided is asked for once more: between the two hops somebody may have been signed out.
"""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Final

import orjson
import structlog
from pydantic import JsonValue

from watchword_database import Database, bus, transaction
from watchword_events.handovers import AuthorizationResponse
from watchword_token.approvals import Approvals, Checked, Spoiled
from watchword_token.clients import Client
from watchword_token.issuing import Issuing, TokenRequest
from watchword_web.errors import OAuthError

log = structlog.get_logger()

LIFE_S: Final = 120  # a client reads it when it arrives
_REVOKED: Final = {"error": "access_denied", "error_description": "what was allowed has been revoked"}


class FrontChannel:
    """Completes answers on their way through the browser."""

    def __init__(self, issuing: Issuing, approvals: Approvals, database: Database) -> None:
        self._issuing = issuing
        self._approvals = approvals
        self._database = database

    async def complete(
        self, request: TokenRequest, payload: AuthorizationResponse, ticket: str, code: str | None
    ) -> dict[str, str] | None:
        """What the application is told; the ticket is taken with it. None when it was taken before or is over.

        code: as it came beside the ticket.  Raises Behind.
        Spec: RFC 6749 4.2.2; OpenID Connect Core 3.2.2.5, 3.3.2.5; JARM 2.1.
        """
        checked = None
        params = dict(payload.params)
        if payload.approval is not None:
            try:
                checked = await self._approvals.check(request, payload.approval, ticket, may_refresh=False)
            except Spoiled as spoiled:
                log.info("authorization.spoiled", client_id=payload.client_id, detail=str(spoiled))
                params, code = {**params, **_REVOKED}, None
            except OAuthError as refused:
                params, code = {**params, "error": refused.error, "error_description": refused.description}, None
        async with transaction(self._database) as session:
            taken = await bus.take(session, AuthorizationResponse, ticket, now=request.now)
            # A code becomes the grant when it is redeemed; what comes without one has to be found, too.
            if taken is not None and checked is not None and code is None:
                session.add(checked.grant)
        if taken is None:
            return None
        if code is not None:
            params = {"code": code, **params}
        if checked is not None:
            params |= await self._tokens(request, payload, checked, code)
            log.info("authorization.answered", client_id=payload.client_id, gid=checked.grant.id)
        if payload.is_signed:
            return {"response": await self._signed(request.client, params, int(request.now_s))}
        return params

    async def _tokens(
        self, request: TokenRequest, payload: AuthorizationResponse, checked: Checked, code: str | None
    ) -> dict[str, str]:
        params: dict[str, str] = {}
        access_token = None
        if payload.access_token:
            issued = await self._approvals.access_token(request, checked)
            access_token = issued.token
            params |= {
                "access_token": access_token.decode(),
                "token_type": "Bearer",
                "expires_in": str(issued.expires_in_s),
                "scope": checked.grant.scope,
            }
            if issued.details:
                params["authorization_details"] = orjson.dumps(issued.details).decode()
        if payload.id_token:
            id_token = await self._approvals.id_token(
                request, checked, access_token=access_token, code=code, nonce=payload.nonce
            )
            params["id_token"] = id_token.decode()
        return params

    async def _signed(self, client: Client, params: Mapping[str, str], now_s: int) -> str:
        """The parameters as one JWT for this client. Spec: JARM 2.1."""
        claims: dict[str, JsonValue] = {
            **params,
            "iss": self._issuing.tokens.issuer,
            "aud": client.client_id,
            "exp": now_s + LIFE_S,
        }
        return (await self._issuing.formats.signed(client.response_alg, claims)).decode()


def is_of(payload: AuthorizationResponse, code: str | None) -> bool:
    """Whether this is the code, or the lack of one, that authz handed the answer over with."""
    if code is None or payload.code_hash is None:
        return code is None and payload.code_hash is None
    return hmac.compare_digest(bus.ticket_hash(code).hex(), payload.code_hash)


def is_bound_to(payload: AuthorizationResponse, secret: str | None) -> bool:
    """Whether the browser that holds this secret of a flow is the one that the answer is for."""
    if secret is None:
        return False
    return hmac.compare_digest(hashlib.sha256(secret.encode()).hexdigest(), payload.binding)
