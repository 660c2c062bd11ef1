"""What a person's approval becomes: a grant and its first tokens, the same for every ticket that carries one.

A ticket is checked first and taken last: `check` refuses without consuming anything, the grant type takes its ticket
and adds the grant in one transaction, `answer` makes the tokens.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from pydantic import JsonValue

from watchword_database.bus import ticket_hash
from watchword_events.exports import UserExport
from watchword_events.handovers import Approval
from watchword_events.names import GrantId
from watchword_policy.scopes import format_scope, granted
from watchword_token.access import AccessRules, NotLetIn
from watchword_token.families import Families, RefreshToken
from watchword_token.id_token import address_claim, make_id_token, prepare_id_token
from watchword_token.issuing import Issued, Issuing, MintKey, TokenRequest, answer, lineage_of
from watchword_token.lifetimes import LONGEST_ACCESS_TOKEN
from watchword_token.memory import Kept
from watchword_token.models import Grant
from watchword_token.particulars import Particulars, columns_of, particulars_of
from watchword_token.profile import User
from watchword_token.resources import requested_resource, scope_for
from watchword_web.errors import OAuthError


class Spoiled(Exception):
    """The approval leads to nothing any more. The message is for the log, not for the client."""


class Checked(NamedTuple):
    """An approval that may become a grant. grant: not stored yet.

    resource: what the first token shall be for.  scope: of that token.  access: what access rules give.
    """

    approval: Approval
    key: MintKey
    user: User
    grant: Grant
    refresh: RefreshToken | None
    resource: tuple[str, ...]
    scope: str
    particulars: Particulars
    access: Mapping[str, JsonValue]


class Approvals:
    """Makes grants of what people allowed."""

    def __init__(
        self, issuing: Issuing, families: Families, users: Kept[UserExport, User], access: AccessRules
    ) -> None:
        self._issuing = issuing
        self._access = access
        self._families = families
        self._users = users

    def is_live(self, source: Mapping[str, JsonValue]) -> bool:
        """Whether nothing that was revoked matches what waits to be decided."""
        return self._issuing.feed.is_live(source)

    async def check(
        self, request: TokenRequest, approval: Approval, ticket: str, *, may_refresh: bool = True
    ) -> Checked:
        """The grant that an approval can become; nothing is consumed.

        ticket: the code that the client presents, of which a replay is recognised later.  may_refresh: False for tokens
        that travel through the browser (RFC 6749 4.2.2).
        Raises Spoiled when it was revoked or the person may not any more, OAuthError invalid_target or token_too_large.
        """
        client = request.client
        resources = self._issuing.resources
        resource = requested_resource(request.form, client, resources)
        if approval.resource and not set(resource) <= set(approval.resource):
            raise OAuthError("invalid_target", "The resource is not among those that were authorized")
        resource = resource or approval.resource
        key = await self._issuing.key_for(request, _source(approval), resource)
        if key is None:
            raise Spoiled("revoked")
        user = await self._users.get(approval.user_id, approval.user_version)
        if user is None or not user.active:
            raise Spoiled("no such user")
        if not user.may_use(client):
            raise Spoiled("the person may not use the client any more")
        asked = frozenset(approval.scope)  # within what the person consented to: authz asked
        scope = granted(asked, client=client.scope, user=user.may_hold(asked), consent=None)
        is_refreshable = may_refresh and "refresh_token" in client.grant_types
        refresh = self._families.first(GrantId(approval.gid)) if is_refreshable else None
        grant = _grant(request, approval, scope, ticket, refresh)
        try:
            access = await self._access.of_approval(grant, approval, client, request.now)
        except NotLetIn as refused:
            raise Spoiled(f"access rules do not let the person in any more (decision {refused.decision_id})") from None
        await prepare_id_token(self._issuing.formats, client, scope)
        told = scope_for(grant.scope, client, resource, resources)
        particulars = particulars_of(grant.details, grant.claims, client, request.form)
        checked = Checked(approval, key, user, grant, refresh, resource, told, particulars, access)
        if client.max_token_bytes is not None:
            await self.answer(request, checked)  # made once for its size: what is refused consumes nothing
        return checked

    async def answer(self, request: TokenRequest, checked: Checked, *, nonce: str | None = None) -> bytes:
        """Access token, ID token with `openid`, and a refresh token where the client may have one.

        Spec: RFC 6749 5.1; OpenID Connect Core 3.1.3.3.
        """
        grant = checked.grant
        issued = await self.access_token(request, checked)
        id_token = b""
        if "openid" in grant.scope.split():
            id_token = await self.id_token(request, checked, access_token=issued.token, nonce=nonce)
        refresh_token = checked.refresh.text if checked.refresh else ""
        return answer(issued, checked.scope, refresh_token=refresh_token, id_token=id_token)

    async def access_token(self, request: TokenRequest, checked: Checked) -> Issued:
        """The grant's first access token."""
        grant = checked.grant
        return await self._issuing.access_token(
            request,
            checked.key,
            subject=grant.user_id,
            scope=checked.scope,
            resource=checked.resource,
            lineage=lineage_of(
                gid=grant.id,
                sid=grant.sid if grant.session_bound else None,
                idp=grant.idp,
                auth_time=grant.auth_time,
                acr=grant.acr,
            ),
            particulars=checked.particulars,
            access=checked.access,
            not_after=checked.approval.session_expires_at if grant.session_bound else None,
            address=grant.address,
        )

    async def id_token(
        self,
        request: TokenRequest,
        checked: Checked,
        *,
        access_token: bytes | None = None,
        code: str | None = None,
        nonce: str | None = None,
    ) -> bytes:
        """An ID token about the sign-in behind the approval. access_token, code: what comes beside it."""
        grant = checked.grant
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
            claims=checked.user.claims(frozenset(grant.scope.split()), "id_token", request.client.groups)
            | address_claim(grant.scope, grant.address),
            named=checked.user.named(checked.particulars.id_token, request.client.groups),
            access=checked.access,
            now_s=int(request.now_s),
            rev=request.position,
            access_token=access_token,
            code=code,
            nonce=nonce,
        )


def _source(approval: Approval) -> dict[str, JsonValue]:
    """The approval as the feed asks about it: with its own position and everything that it descends from."""
    return {
        "sub": approval.user_id,
        "client_id": approval.client_id,
        "sid": approval.sid,
        "gid": approval.gid,
        "idp": approval.idp,
        "rev": approval.rev,
        "iat": approval.auth_time.timestamp(),
    }


def _grant(
    request: TokenRequest, approval: Approval, scope: frozenset[str], ticket: str, refresh: RefreshToken | None
) -> Grant:
    """The row that the approval becomes. Session-bound grants end with the session at the latest."""
    client, now = request.client, request.now
    details, claims = columns_of(approval)
    session_bound = client.session_bound and "offline_access" not in scope
    life = timedelta(seconds=client.refresh_max_s) if refresh else LONGEST_ACCESS_TOKEN
    expires_at: datetime = min(now + life, approval.session_expires_at) if session_bound else now + life
    return Grant(
        id=approval.gid,
        user_id=approval.user_id,
        client_id=approval.client_id,
        sid=approval.sid,
        session_bound=session_bound,
        idp=approval.idp,
        scope=format_scope(scope),
        resource=" ".join(approval.resource),
        details=details,
        claims=claims,
        rev=request.position,
        issuer=approval.issuer,
        address=approval.address,
        auth_time=approval.auth_time,
        amr=" ".join(approval.amr),
        acr=approval.acr,
        # RFC 9449 5: of a confidential client, authentication binds the refresh token.
        bound_to=request.binding.text if request.binding is not None and client.is_public else None,
        code_hash=ticket_hash(ticket),
        created_at=now,
        expires_at=expires_at,
        seq=1 if refresh else 0,
        cur_hash=refresh.hash if refresh else None,
        idle_at=now + timedelta(seconds=client.refresh_idle_s),
    )
