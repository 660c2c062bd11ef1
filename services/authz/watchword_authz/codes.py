"""Authorization codes: the ticket with which `token` makes a grant of what was decided here."""

from datetime import datetime, timedelta
from typing import Final

from watchword_authz.models import IssuedGrant, UserSession
from watchword_authz.requests import AuthorizationRequest
from watchword_database import bus
from watchword_database.engine import Session
from watchword_database.ids import new_id
from watchword_events.exports import ClientExport, UserExport
from watchword_events.handovers import Code

LIFE: Final = timedelta(seconds=60)  # security.md 3, row 6


async def issue_code(
    session: Session,
    *,
    flow_id: str,
    request: AuthorizationRequest,
    client: ClientExport,
    client_version: int,
    user: UserExport,
    user_version: int,
    signed_in: UserSession,
    rev: int,
    now: datetime,
) -> str:
    """A code of 43 characters, good once, for 60 s and for this client alone; its grant's id is noted.

    rev: the ledger position noted before session, user, client and consent were read.
    Spec: RFC 6749 4.1.2; OpenID Connect Core 3.1.2.5.
    """
    gid = new_id()
    is_offline = "offline_access" in request.scope
    longest = timedelta(seconds=client.refresh_max_s) if is_offline else timedelta(0)
    keep_until = max(signed_in.expires_at, now + longest)
    session.add(
        IssuedGrant(
            gid=gid,
            user_id=user.id,
            client_id=client.client_id,
            sid=signed_in.id,
            offline=is_offline,
            issued_at=now,
            keep_until=keep_until,
        )
    )
    payload = Code(
        gid=gid,
        sid=signed_in.id,
        user_id=user.id,
        user_version=user_version,
        claims_version=user.claims_version,
        client_id=client.client_id,
        client_version=client_version,
        redirect_uri=request.redirect_uri,
        redirect_uri_given=request.redirect_uri_given,
        code_challenge=request.code_challenge,
        scope=tuple(sorted(request.scope)),
        resource=request.resource,
        nonce=request.nonce,
        auth_time=signed_in.auth_time,
        amr=tuple(signed_in.amr),
        acr=signed_in.acr,
        idp=signed_in.provider_id,
        rev=rev,
        session_expires_at=signed_in.expires_at,
    )
    # A replayed code still finds its grant as long as that may live (design 2).
    return await bus.hand_over(session, payload, flow=flow_id, now=now, ttl=LIFE, keep=keep_until - now)
