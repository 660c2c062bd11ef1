"""authorization_code: the ticket that authz handed over becomes a grant and its first tokens. Spec: RFC 6749 4.1."""

import base64
import hashlib
import hmac
import re
from typing import Final, NoReturn

import structlog

from watchword_database import Database, bus
from watchword_database.bus import Taken, ticket_hash
from watchword_events.handovers import Code
from watchword_token.approvals import Approvals, Spoiled
from watchword_token.binding import Binding
from watchword_token.clients import Client
from watchword_token.issuing import TokenRequest
from watchword_token.revocation import Revoking
from watchword_token.store import HotStore
from watchword_web.errors import OAuthError

log = structlog.get_logger()

_CODE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
# RFC 7636 4.1: 43 to 128 unreserved characters.
_VERIFIER: Final = re.compile(r"[A-Za-z0-9._~-]{43,128}")


class AuthorizationCodeGrant:
    """A code becomes a grant, once."""

    def __init__(self, approvals: Approvals, database: Database, store: HotStore, revoking: Revoking) -> None:
        self._approvals = approvals
        self._database = database
        self._store = store
        self._revoking = revoking

    async def redeem(self, request: TokenRequest) -> bytes:
        """Access token, ID token with `openid`, and a refresh token where the client may have one.

        Nothing is consumed until the client, the redirect URI and the verifier fit, so that a stranger cannot spend
        somebody's code. A second use by the same client, however late, revokes what the first one produced
        (GrantRevoked) before it is refused. Raises OAuthError invalid_grant, invalid_request or invalid_target.
        Spec: RFC 6749 4.1.2, 4.1.3; RFC 7636 4.6; RFC 9700 2.1.1, 4.5; OpenID Connect Core 3.1.3.
        """
        client, form = request.client, request.form
        code = form.get("code")
        if code is None:
            raise OAuthError("invalid_request", "code is missing")
        if not _CODE.fullmatch(code):
            raise _invalid("not a code")
        seen = await bus.look(self._database, Code, code)
        if seen is None:
            await self._refuse_forgotten(code, client)
            raise _invalid("unknown")
        payload = seen.payload
        if payload.client_id != client.client_id:
            raise _invalid("another client's")
        if seen.taken_at is not None:
            await self._refuse_replay(payload)
        check_redirect_uri(payload, form.get("redirect_uri"))
        check_verifier(payload, form.get("code_verifier"), client)
        check_key(payload, request.binding)
        try:
            checked = await self._approvals.check(request, payload, code)
        except Spoiled as spoiled:
            raise _invalid(str(spoiled)) from None
        if not await bus.exchange(self._database, Code, code, checked.grant, now=request.now):
            await self._refuse_late(code)
        log.info("code.redeemed", client_id=client.client_id, user_id=payload.user_id, gid=payload.gid)
        return await self._approvals.answer(request, checked, nonce=payload.nonce)

    async def _refuse_replay(self, payload: Code) -> NoReturn:
        """RFC 6749 4.1.2: a second use must be denied, and what the first one produced should be revoked."""
        log.warning("code.reused", client_id=payload.client_id, user_id=payload.user_id, gid=payload.gid)
        await self._revoking.revoke_grant(payload.gid, reason="code-reuse")
        raise _invalid("used before: its grant is revoked")

    async def _refuse_late(self, code: str) -> NoReturn:
        """The code was looked at and could not be taken: expired, or taken by another request in between."""
        seen: Taken[Code] | None = await bus.look(self._database, Code, code)
        if seen is not None and seen.taken_at is not None:
            await self._refuse_replay(seen.payload)
        raise _invalid("expired")

    async def _refuse_forgotten(self, code: str, client: Client) -> None:
        """A used code whose hand-over has been swept away is still known by the grant that it became."""
        found = await self._store.find_grant_by_code(ticket_hash(code))
        if found is not None and found.grant.client_id == client.client_id:
            grant = found.grant
            log.warning("code.reused", client_id=grant.client_id, user_id=grant.user_id, gid=grant.id)
            await self._revoking.revoke_grant(grant.id, reason="code-reuse")


def check_key(payload: Code, binding: Binding | None) -> None:
    """Raises invalid_grant unless the key that the code is bound to signed the request's proof. Spec: RFC 9449 10."""
    if payload.dpop_jkt is not None and (binding is None or binding != ("jkt", payload.dpop_jkt)):
        raise _invalid("bound to another key")


def check_redirect_uri(payload: Code, redirect_uri: str | None) -> None:
    """Raises invalid_grant unless the URI is the one that was asked to redirect to; it may be left out if it was then.

    Spec: RFC 6749 4.1.3.
    """
    if redirect_uri is None:
        if payload.redirect_uri_given:
            raise _invalid("redirect_uri is missing")
    elif redirect_uri != payload.redirect_uri:
        raise _invalid("another redirect_uri")


def check_verifier(payload: Code, verifier: str | None, client: Client) -> None:
    """Raises invalid_grant unless the verifier fits the challenge; a public client must have sent a challenge.

    Spec: RFC 7636 4.6; RFC 9700 2.1.1 (a verifier without a challenge is a downgrade attempt), 4.8.2.
    """
    if payload.code_challenge is None:
        if verifier is not None or client.is_public:
            raise _invalid("a verifier without a challenge, or a public client without PKCE")
        return
    if verifier is None or not _VERIFIER.fullmatch(verifier):
        raise _invalid("verifier missing or malformed")
    digest = hashlib.sha256(verifier.encode("ascii")).digest()
    challenge = base64.urlsafe_b64encode(digest).rstrip(b"=")
    if not hmac.compare_digest(challenge, payload.code_challenge.encode()):
        raise _invalid("wrong verifier")


def _invalid(detail: str) -> OAuthError:
    return OAuthError("invalid_grant", "The code is invalid, expired, used before or another client's", 400, detail)
