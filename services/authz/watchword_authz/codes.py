"""What a person allowed, and the authorization code with which `token` makes a grant of it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from watchword_authz import store
from watchword_authz.access import Verdict
from watchword_authz.models import IssuedGrant, UserSession
from watchword_authz.requests import AuthorizationRequest
from watchword_database import bus
from watchword_database.engine import Session
from watchword_database.ids import new_id
from watchword_events.exports import ClientExport, UserExport
from watchword_events.handovers import Approval, Code
from watchword_policy.assurance import stated

LIFE: Final = timedelta(seconds=60)  # threat 6


@dataclass(frozen=True, slots=True)
class Approved:
    """What a person allowed, and until when what came of it may live."""

    approval: Approval
    keep_until: datetime


async def approve(
    session: Session,
    *,
    request: AuthorizationRequest,
    client: ClientExport,
    client_version: int,
    user: UserExport,
    user_version: int,
    signed_in: UserSession,
    verdict: Verdict,
    rev: int,
    now: datetime,
) -> Approved:
    """What `token` makes a grant of; the id of the grant to come is noted.

    verdict: of the access rules.  rev: the ledger position noted before session, user, client and consent were read.
    """
    gid = new_id()
    is_offline = "offline_access" in request.scope
    longest = timedelta(seconds=client.refresh_max_s) if is_offline else timedelta(0)
    keep_until = max(signed_in.expires_at, now + longest)
    row = IssuedGrant(
        gid=gid,
        user_id=user.id,
        client_id=client.client_id,
        sid=signed_in.id,
        offline=is_offline,
        issued_at=now,
        keep_until=keep_until,
    )
    await store.put_grant(session, row)
    approval = Approval(
        gid=gid,
        sid=signed_in.id,
        user_id=user.id,
        user_version=user_version,
        claims_version=user.claims_version,
        client_id=client.client_id,
        client_version=client_version,
        scope=tuple(sorted(request.scope)),
        resource=request.resource,
        authorization_details=request.details,
        claims_request=request.claims,
        auth_time=signed_in.auth_time,
        amr=tuple(signed_in.amr),
        acr=stated(request.acr_values, acr=signed_in.acr, amr=signed_in.amr),
        idp=signed_in.provider_id,
        rev=rev,
        session_expires_at=signed_in.expires_at,
        issuer=verdict.facts.iss,
        address=verdict.facts.ip,
        service_account=verdict.decision.service_account,
        roles=verdict.decision.roles,
        policy=verdict.decision.policy,
    )
    return Approved(approval, keep_until)


async def issue_code(
    session: Session, approved: Approved, *, flow_id: str, request: AuthorizationRequest, now: datetime
) -> str:
    """A code of 43 characters, good once, for 60 s and for this client alone.

    Spec: RFC 6749 4.1.2; OpenID Connect Core 3.1.2.5.
    """
    code = Code(
        **dict(approved.approval),
        redirect_uri=request.redirect_uri,
        redirect_uri_given=request.redirect_uri_given,
        code_challenge=request.code_challenge,
        nonce=request.nonce,
        dpop_jkt=request.dpop_jkt,
    )
    # A replayed code still finds its grant as long as that may live (design 2).
    return await bus.hand_over(session, code, flow=flow_id, now=now, ttl=LIFE, keep=approved.keep_until - now)
