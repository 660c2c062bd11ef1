"""device_code: a device without a browser asks until somebody has decided elsewhere. Spec: RFC 8628 3.4, 3.5.

authz hands over two tickets: the device code itself, which waits, and the person's answer, found by the device's id. So
a poll needs no other service, and what has not been answered yet is told from what never was.
"""

import re
from typing import Final, NoReturn

import structlog

from watchword_database import Database, bus, transaction
from watchword_database.bus import Taken, ticket_hash
from watchword_events.handovers import Approval, DeviceAnswer, DeviceCode
from watchword_token.approvals import Approvals, Spoiled
from watchword_token.clients import Client
from watchword_token.issuing import TokenRequest
from watchword_token.revocation import Revoking
from watchword_token.store import HotStore, claim_poll
from watchword_web.errors import OAuthError

log = structlog.get_logger()

GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:device_code"
_CODE: Final = re.compile(r"[A-Za-z0-9_-]{43}")


class DeviceCodeGrant:
    """A device code becomes a grant, once, after somebody allowed it."""

    def __init__(self, approvals: Approvals, database: Database, store: HotStore, revoking: Revoking) -> None:
        self._approvals = approvals
        self._database = database
        self._store = store
        self._revoking = revoking

    async def redeem(self, request: TokenRequest) -> bytes:
        """The tokens, as for a code.

        A second use by the same client revokes what the first one produced (GrantRevoked) before it is refused.
        Raises OAuthError: authorization_pending, slow_down, access_denied, expired_token, invalid_grant.
        Spec: RFC 8628 3.4, 3.5; RFC 6749 5.2.
        """
        client = request.client
        code = request.form.get("device_code")
        if code is None:
            raise OAuthError("invalid_request", "device_code is missing")
        if not _CODE.fullmatch(code):
            raise _invalid("not a device code")
        async with transaction(self._database) as session:
            seen = await bus.peek(session, DeviceCode, code)
        if seen is None:
            await self._refuse_replay(code, client)
        payload = seen.payload
        if payload.client_id != client.client_id:
            raise _invalid("another client's")
        if seen.taken_at is None and seen.expires_at <= request.now:
            raise OAuthError("expired_token", "The device code has expired: begin again")
        answer = await self._answer(request, code, seen)
        try:
            checked = await self._approvals.check(request, answer, code)
        except Spoiled as spoiled:
            raise _invalid(str(spoiled)) from None
        async with transaction(self._database) as session:
            taken = await bus.take(session, DeviceCode, code, now=request.now)
            if taken is not None:
                await bus.take_flow(session, DeviceAnswer, flow=payload.device_id, now=request.now)
                session.add(checked.grant)
        if taken is None:
            await self._refuse_replay(code, client)
        log.info("device_code.redeemed", client_id=client.client_id, user_id=answer.user_id, gid=answer.gid)
        return await self._approvals.answer(request, checked)

    async def _answer(self, request: TokenRequest, code: str, seen: Taken[DeviceCode]) -> Approval:
        """What the person allowed. Raises OAuthError while there is nothing, or nothing was allowed.

        How often it was asked is committed before any refusal. Who asks too soon learns nothing else: of two questions
        at the same time, the second is impatience and no second use of the code. Spec: RFC 8628 3.5.
        """
        device = seen.payload
        async with transaction(self._database) as session:
            is_in_time = await claim_poll(
                session, ticket_hash(code), interval_s=device.interval_s, now=request.now, expires_at=seen.expires_at
            )
            answer = await bus.peek_flow(session, DeviceAnswer, flow=device.device_id, now=request.now)
        if not is_in_time:
            raise OAuthError("slow_down", "The device asks too often: wait five seconds longer each time")
        if seen.taken_at is not None:
            await self._refuse_replay(code, request.client)
        if answer is None:
            if not self._approvals.is_live({"client_id": device.client_id, "rev": device.rev}):
                raise _invalid("revoked")
            raise OAuthError("authorization_pending", "Nobody has decided yet")
        approval = answer.payload.approval
        if approval is None:
            raise OAuthError("access_denied", "The person did not allow it")
        return approval

    async def _refuse_replay(self, code: str, client: Client) -> NoReturn:
        """A code that is gone: what came of it ends, if this client got it. As for a code. Spec: RFC 6749 4.1.2."""
        found = await self._store.find_grant_by_code(ticket_hash(code))
        if found is None or found.grant.client_id != client.client_id:
            raise _invalid("unknown")
        grant = found.grant
        log.warning("device_code.reused", client_id=grant.client_id, user_id=grant.user_id, gid=grant.id)
        await self._revoking.revoke_grant(grant.id, reason="code-reuse")
        raise _invalid("used before: its grant is revoked")


def _invalid(detail: str) -> OAuthError:
    return OAuthError("invalid_grant", "The device code is invalid, used before or another client's", 400, detail)
