"""refresh_token: rotation in place, one row per family. Spec: RFC 6749 6; RFC 9700 4.14.2."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

import structlog
from pydantic import JsonValue

from watchword_events.exports import UserExport
from watchword_policy.scopes import format_scope, granted, is_privileged, narrowed
from watchword_token.access import NOTHING, AccessRules, NotLetIn
from watchword_token.clients import Client
from watchword_token.families import Families, RefreshToken
from watchword_token.id_token import address_claim, make_id_token, prepare_id_token
from watchword_token.issuing import Issuing, TokenRequest, answer, lineage_of, requested_scope
from watchword_token.memory import Kept
from watchword_token.particulars import Particulars, particulars_of
from watchword_token.profile import User
from watchword_token.resources import requested_resource, scope_for
from watchword_token.revocation import Revoking
from watchword_token.store import HotStore, Rotated, Rotation, source_of
from watchword_web.errors import OAuthError

log = structlog.get_logger()

# A retry of the same request gets the same successor within this time, until the successor is used.
RETRY_CONFIDENTIAL: Final = timedelta(seconds=10)
RETRY_PUBLIC: Final = timedelta(seconds=2)  # without a key anybody could be the one who retries


class RefreshTokenGrant:
    """A refresh token becomes an access token and its own successor."""

    def __init__(
        self,
        issuing: Issuing,
        store: HotStore,
        families: Families,
        revoking: Revoking,
        users: Kept[UserExport, User],
        access: AccessRules,
    ) -> None:
        self._issuing = issuing
        self._store = store
        self._families = families
        self._revoking = revoking
        self._users = users
        self._access = access

    async def redeem(self, request: TokenRequest) -> bytes:
        """An access token and the next refresh token; with `openid` in the answer's scope also an ID token.

        A token that was replaced before, outside the retry window, ends its family: committed before the refusal, with
        RefreshTokenReused and GrantRevoked. Raises OAuthError: invalid_grant for every token that is not good;
        invalid_scope, invalid_target and invalid_authorization_details, which cost no token.
        Spec: RFC 6749 6, 10.4; RFC 9449 5; OpenID Connect Core 12.
        """
        client, form = request.client, request.form
        text = form.get("refresh_token")
        if text is None:
            raise OAuthError("invalid_request", "refresh_token is missing")
        presented = self._families.read(text)
        if presented is None:
            raise _invalid("not ours")
        requested = requested_scope(form)
        resource = requested_resource(form, client, self._issuing.resources)
        is_governed = self._access.governs(client)  # while that is not known, no token is spent
        await self._check_details(request, presented)
        await prepare_id_token(self._issuing.formats, client, requested or client.scope)
        # FAPI 2.0 Security Profile 5.3.2.1: no rotation; the client has to prove itself at each use anyhow.
        successor = presented if client.keeps_refresh_token else self._families.successor(presented)
        rotation = Rotation(
            gid=presented.gid,
            client_id=client.client_id,
            old=presented.hash,
            new=successor.hash,
            idle_s=client.refresh_idle_s,
            scope=" ".join(requested),
            resource=" ".join(resource),
            bound_to=request.binding.text if request.binding is not None else "",
        )
        grant = await self._store.rotate_refresh_token(rotation)
        if grant is None:
            grant = await self._retried(request, rotation, presented)
        resource = resource or tuple(grant.resource.split())
        key = await self._issuing.key_for(request, source_of(grant), resource)
        if key is None:
            raise _invalid("revoked")
        scope = await self._evaluated(grant, client, requested)
        scope = scope_for(scope, client, resource, self._issuing.resources)
        particulars = particulars_of(grant.details, grant.claims, client, form)
        access = await self._let_in(request, grant) if is_governed else NOTHING
        issued = await self._issuing.access_token(
            request,
            key,
            subject=grant.user_id,
            scope=scope,
            resource=resource,
            lineage=_lineage(grant),
            particulars=particulars,
            access=access,
            not_after=grant.expires_at if grant.session_bound else None,
            address=grant.address,
        )
        id_token = b""
        if "openid" in scope.split(" "):
            id_token = await self._id_token(request, grant, scope, particulars, issued.token, access)
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
        if grant.bound_to is not None and grant.bound_to != rotation.bound_to:
            # RFC 9449 5: who cannot prove the key can neither refresh nor end the family.
            raise _invalid("bound to a key that was not proved")
        is_current = found.cur_hash == presented.hash
        window = RETRY_PUBLIC if request.client.is_public and grant.bound_to is None else RETRY_CONFIDENTIAL
        is_retry = (
            found.prev_hash == presented.hash
            and found.rotated_at is not None
            and request.now - found.rotated_at <= window
        )
        if is_current or is_retry:
            # RFC 6749 6: the scope must not include any that was not granted.
            if not set(rotation.scope.split()) <= set(grant.scope.split()):
                raise OAuthError("invalid_scope", "The scope is wider than what was granted")
            if grant.resource and not set(rotation.resource.split()) <= set(grant.resource.split()):
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
        if any(map(is_privileged, before)) or client.required_permission is not None:
            user = await self._users.get(grant.user_id)
            if client.required_permission is not None and (user is None or not user.may_use(client)):
                raise _invalid("the person may not use the client any more")
            may_hold = user.may_hold(before) if user is not None else frozenset()
        scope = granted(narrowed(before, requested), client=client.scope, user=may_hold, consent=None)
        return grant.scope if scope == before else format_scope(scope)

    async def _check_details(self, request: TokenRequest, presented: RefreshToken) -> None:
        """Details that were not granted are refused before the token is used up. Raises OAuthError."""
        if "authorization_details" in request.form:
            found = await self._store.find_grant(presented.gid)
            if found is not None and found.grant.client_id == request.client.client_id:
                particulars_of(found.grant.details, None, request.client, request.form)

    async def _let_in(self, request: TokenRequest, grant: Rotated) -> Mapping[str, JsonValue]:
        """What access rules give the person now. Where they do not let them in any more, the grant ends."""
        user = await self._users.get(grant.user_id)
        if user is None:
            raise _invalid("no such user")
        try:
            return await self._access.of_grant(grant, request.client, user, request.now)
        except NotLetIn as refused:
            await self._revoking.revoke_grant(grant.id, reason="access-rules")
            said = f"Access rules do not let the person in any more (decision {refused.decision_id})"
            raise OAuthError("invalid_grant", said) from None

    async def _id_token(
        self,
        request: TokenRequest,
        grant: Rotated,
        scope: str,
        particulars: Particulars,
        access_token: bytes,
        access: Mapping[str, JsonValue],
    ) -> bytes:
        user = await self._users.get(grant.user_id)
        if user is None or not user.active:
            raise _invalid("no such user")
        return await make_id_token(
            self._issuing.formats,
            self._issuing.subjects,
            request.client,
            issuer=self._issuing.tokens.issuer,
            user_id=grant.user_id,
            gid=grant.id,
            sid=grant.sid,
            auth_time=grant.auth_time,
            amr=grant.amr,
            acr=grant.acr,
            access_token=access_token,
            claims=user.claims(frozenset(scope.split()), "id_token", request.client.groups)
            | address_claim(scope, grant.address),
            named=user.named(particulars.id_token, request.client.groups),
            access=access,
            now_s=int(request.now_s),
            rev=request.position,
        )


def _lineage(grant: Rotated) -> dict[str, JsonValue]:
    return lineage_of(
        gid=grant.id,
        sid=grant.sid if grant.session_bound else None,
        idp=grant.idp,
        auth_time=grant.auth_time,
        acr=grant.acr,
    )


def _invalid(detail: str) -> OAuthError:
    return OAuthError(
        "invalid_grant", "The refresh token is invalid, expired, revoked or another client's", 400, detail
    )
