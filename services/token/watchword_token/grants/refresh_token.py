"""refresh_token: rotation in place, one row per family. Spec: RFC 6749 6; RFC 9700 4.14.2."""

from datetime import timedelta
from typing import Final

import structlog
from pydantic import JsonValue

from watchword_events.exports import UserExport
from watchword_policy.scopes import format_scope, granted, narrowed
from watchword_token.clients import Client
from watchword_token.families import Families, RefreshToken
from watchword_token.id_token import make_id_token
from watchword_token.issuing import Issuing, TokenRequest, answer, lineage_of, requested_resource, requested_scope
from watchword_token.memory import Kept
from watchword_token.profile import PRIVILEGED, User
from watchword_token.revocation import Revoking
from watchword_token.store import HotStore, Rotated, Rotation
from watchword_web.errors import OAuthError

log = structlog.get_logger()

# A retry of the same request gets the same successor within this time, until the successor is used.
RETRY_CONFIDENTIAL: Final = timedelta(seconds=10)
RETRY_PUBLIC: Final = timedelta(seconds=2)  # anybody could be the one who retries


class RefreshTokenGrant:
    """A refresh token becomes an access token and its own successor."""

    def __init__(
        self, issuing: Issuing, store: HotStore, families: Families, revoking: Revoking, users: Kept[UserExport, User]
    ) -> None:
        self._issuing = issuing
        self._store = store
        self._families = families
        self._revoking = revoking
        self._users = users

    async def redeem(self, request: TokenRequest) -> bytes:
        """An access token and the next refresh token; with `openid` in the request's scope also an ID token.

        A token that was replaced before, outside the retry window, ends its family: committed before the refusal, with
        RefreshTokenReused and GrantRevoked. Raises OAuthError: invalid_grant for every token that is not good;
        invalid_scope and invalid_target, which cost no token.
        Spec: RFC 6749 6, 10.4; OpenID Connect Core 12.
        """
        client, form = request.client, request.form
        text = form.get("refresh_token")
        if text is None:
            raise OAuthError("invalid_request", "refresh_token is missing")
        presented = self._families.read(text)
        if presented is None:
            raise _invalid("not ours")
        requested = requested_scope(form)
        resource = requested_resource(form, client)
        successor = self._families.successor(presented)
        rotation = Rotation(
            gid=presented.gid,
            client_id=client.client_id,
            old=presented.hash,
            new=successor.hash,
            idle_s=client.refresh_idle_s,
            scope=" ".join(requested),
            resource=" ".join(resource),
        )
        grant = await self._store.rotate_refresh_token(rotation)
        if grant is None:
            grant = await self._retried(request, rotation, presented)
        lineage = _lineage(grant)
        source = {**lineage, "sub": grant.user_id, "client_id": grant.client_id, "rev": grant.rev}
        key = await self._issuing.key_for(request, source)
        if key is None:
            raise _invalid("revoked")
        scope = await self._evaluated(grant, client, requested)
        issued = await self._issuing.access_token(
            request,
            key,
            subject=grant.user_id,
            scope=scope,
            resource=resource or tuple(grant.resource.split()),
            lineage=lineage,
            not_after=grant.expires_at if grant.session_bound else None,
        )
        id_token = b""
        if "openid" in requested:
            id_token = await self._id_token(request, grant, scope, issued.token)
        return answer(issued, scope, refresh_token=successor.text, id_token=id_token)

    async def _retried(self, request: TokenRequest, rotation: Rotation, presented: RefreshToken) -> Rotated:
        """The grant, when its newest token is the answer to an earlier, equal request. Raises OAuthError otherwise.

        Each line is one reason why the rotation changed nothing; only the last one ends the family.
        """
        found = await self._store.find_grant(presented.gid)
        if found is None or found.grant.client_id != rotation.client_id:
            raise _invalid("unknown or another client's")
        grant = found.grant
        if found.revoked_at is not None or grant.expires_at <= request.now or found.idle_at <= request.now:
            raise _invalid("revoked or expired")
        is_current = found.cur_hash == presented.hash
        window = RETRY_PUBLIC if request.client.is_public else RETRY_CONFIDENTIAL
        is_retry = (
            found.prev_hash == presented.hash
            and found.rotated_at is not None
            and request.now - found.rotated_at <= window
        )
        if is_current or is_retry:
            # RFC 6749 6: the scope must not include any that was not granted.
            if not set(rotation.scope.split()) <= set(grant.scope.split()):
                raise OAuthError("invalid_scope", "The scope is wider than what was granted")
            if rotation.resource and grant.resource and rotation.resource not in grant.resource.split():
                raise OAuthError("invalid_target", "The resource is not among those that were granted")
        if is_current:
            raise _invalid("expired meanwhile")
        if is_retry:
            return grant
        log.warning(
            "refresh_token.reused", gid=grant.id, client_id=grant.client_id, user_id=grant.user_id, seq=presented.seq
        )
        await self._revoking.revoke_grant(grant.id, reason="refresh-token-reuse")
        raise _invalid("replaced before: the family is revoked")

    async def _evaluated(self, grant: Rotated, client: Client, requested: frozenset[str]) -> str:
        """Granted before, asked for now, allowed to the client and to the person today."""
        before = frozenset(grant.scope.split())
        may_hold: frozenset[str] | None = None
        if PRIVILEGED in grant.scope:
            user = await self._users.get(grant.user_id)
            may_hold = user.may_hold(before) if user is not None else frozenset()
        scope = granted(narrowed(before, requested), client=client.scope, user=may_hold, consent=None)
        return grant.scope if scope == before else format_scope(scope)

    async def _id_token(self, request: TokenRequest, grant: Rotated, scope: str, access_token: bytes) -> bytes:
        user = await self._users.get(grant.user_id)
        if user is None or not user.active:
            raise _invalid("no such user")
        return await make_id_token(
            self._issuing.keys,
            request.client,
            issuer=self._issuing.tokens.issuer,
            user_id=grant.user_id,
            sid=grant.sid,
            auth_time=grant.auth_time,
            amr=grant.amr,
            acr=grant.acr,
            access_token=access_token,
            claims=user.claims(frozenset(scope.split())),
            now_s=int(request.now_s),
        )


def _lineage(grant: Rotated) -> dict[str, JsonValue]:
    return lineage_of(
        gid=grant.id,
        sid=grant.sid if grant.session_bound else None,
        idp=grant.idp,
        auth_time=grant.auth_time,
    )


def _invalid(detail: str) -> OAuthError:
    return OAuthError(
        "invalid_grant", "The refresh token is invalid, expired, revoked or another client's", 400, detail
    )
