"""authorization_code: the ticket that authz handed over becomes a grant and its first tokens. Spec: RFC 6749 4.1."""

import base64
import hashlib
import hmac
import re
from datetime import datetime, timedelta
from typing import Final, NoReturn

import structlog
from pydantic import JsonValue

from watchword_database import Database, bus, transaction
from watchword_database.bus import Taken, ticket_hash
from watchword_events.exports import UserExport
from watchword_events.handovers import Code
from watchword_events.names import GrantId
from watchword_policy.scopes import format_scope, granted
from watchword_token.clients import Client
from watchword_token.families import Families, RefreshToken
from watchword_token.id_token import make_id_token
from watchword_token.issuing import Issuing, MintKey, TokenRequest, answer, lineage_of, requested_resource
from watchword_token.lifetimes import LONGEST_ACCESS_TOKEN
from watchword_token.memory import Kept
from watchword_token.models import Grant
from watchword_token.profile import User
from watchword_token.revocation import Revoking
from watchword_token.store import HotStore
from watchword_web.errors import OAuthError

log = structlog.get_logger()

_CODE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
# RFC 7636 4.1: 43 to 128 unreserved characters.
_VERIFIER: Final = re.compile(r"[A-Za-z0-9._~-]{43,128}")


class AuthorizationCodeGrant:
    """A code becomes a grant, once."""

    def __init__(
        self,
        issuing: Issuing,
        database: Database,
        store: HotStore,
        families: Families,
        revoking: Revoking,
        users: Kept[UserExport, User],
    ) -> None:
        self._issuing = issuing
        self._database = database
        self._store = store
        self._families = families
        self._revoking = revoking
        self._users = users

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
        async with transaction(self._database) as session:
            seen = await bus.peek(session, Code, code)
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
        resource = requested_resource(form, client)
        if resource and payload.resource and resource[0] not in payload.resource:
            raise OAuthError("invalid_target", "The resource is not among those that were authorized")
        key = await self._issuing.key_for(request, _source(payload))
        if key is None:
            raise _invalid("revoked")
        user = await self._users.get(payload.user_id, payload.user_version)
        if user is None or not user.active:
            raise _invalid("no such user")
        asked = frozenset(payload.scope)  # within what the person consented to: authz asked
        scope = granted(asked, client=client.scope, user=user.may_hold(asked), consent=None)
        refresh = self._families.first(GrantId(payload.gid)) if "refresh_token" in client.grant_types else None
        grant = _grant(request, payload, scope, code, refresh)
        async with transaction(self._database) as session:
            taken = await bus.take(session, Code, code, now=request.now)
            if taken is not None:
                session.add(grant)
        if taken is None:
            await self._refuse_late(code)
        return await self._answer(request, key, payload, grant, user, resource, refresh)

    async def _answer(
        self,
        request: TokenRequest,
        key: MintKey,
        payload: Code,
        grant: Grant,
        user: User,
        resource: tuple[str, ...],
        refresh: RefreshToken | None,
    ) -> bytes:
        issued = await self._issuing.access_token(
            request,
            key,
            subject=grant.user_id,
            scope=grant.scope,
            resource=resource or payload.resource,
            lineage=lineage_of(
                gid=grant.id,
                sid=grant.sid if grant.session_bound else None,
                idp=grant.idp,
                auth_time=grant.auth_time,
            ),
            not_after=payload.session_expires_at if grant.session_bound else None,
        )
        scope = frozenset(grant.scope.split())
        id_token = b""
        if "openid" in scope:
            id_token = await make_id_token(
                self._issuing.keys,
                request.client,
                issuer=self._issuing.tokens.issuer,
                user_id=grant.user_id,
                sid=grant.sid,
                auth_time=grant.auth_time,
                amr=grant.amr,
                acr=grant.acr,
                access_token=issued.token,
                claims=user.claims(scope),
                now_s=int(request.now_s),
                nonce=payload.nonce,
            )
        log.info("code.redeemed", client_id=grant.client_id, user_id=grant.user_id, gid=grant.id)
        return answer(issued, grant.scope, refresh_token=refresh.text if refresh else "", id_token=id_token)

    async def _refuse_replay(self, payload: Code) -> NoReturn:
        """RFC 6749 4.1.2: a second use must be denied, and what the first one produced should be revoked."""
        log.warning("code.reused", client_id=payload.client_id, user_id=payload.user_id, gid=payload.gid)
        await self._revoking.revoke_grant(payload.gid, reason="code-reuse")
        raise _invalid("used before: its grant is revoked")

    async def _refuse_late(self, code: str) -> NoReturn:
        """The code was looked at and could not be taken: expired, or taken by another request in between."""
        async with transaction(self._database) as session:
            seen: Taken[Code] | None = await bus.peek(session, Code, code)
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


def _source(payload: Code) -> dict[str, JsonValue]:
    """The code as the feed asks about it: with its own position and everything that it descends from."""
    return {
        "sub": payload.user_id,
        "client_id": payload.client_id,
        "sid": payload.sid,
        "gid": payload.gid,
        "idp": payload.idp,
        "rev": payload.rev,
    }


def _grant(
    request: TokenRequest, payload: Code, scope: frozenset[str], code: str, refresh: RefreshToken | None
) -> Grant:
    """The row that the code becomes. Session-bound grants end with the session at the latest."""
    client, now = request.client, request.now
    session_bound = client.session_bound and "offline_access" not in scope
    life = timedelta(seconds=client.refresh_max_s) if refresh else LONGEST_ACCESS_TOKEN
    expires_at: datetime = min(now + life, payload.session_expires_at) if session_bound else now + life
    return Grant(
        id=payload.gid,
        user_id=payload.user_id,
        client_id=payload.client_id,
        sid=payload.sid,
        session_bound=session_bound,
        idp=payload.idp,
        scope=format_scope(scope),
        resource=" ".join(payload.resource),
        rev=request.position,
        auth_time=payload.auth_time,
        amr=" ".join(payload.amr),
        acr=payload.acr,
        code_hash=ticket_hash(code),
        created_at=now,
        expires_at=expires_at,
        seq=1 if refresh else 0,
        cur_hash=refresh.hash if refresh else None,
        idle_at=now + timedelta(seconds=client.refresh_idle_s),
    )


def _invalid(detail: str) -> OAuthError:
    return OAuthError("invalid_grant", "The code is invalid, expired, used before or another client's", 400, detail)
