"""Ending tokens and grants: one ledger entry in the same transaction as the change, obeyed here before it returns."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import structlog

from watchword_database import Database, Session, bus, transaction
from watchword_events.contracts import GrantRevoked, RefreshTokenReused, TokenRevoked
from watchword_events.revocations import Claim, RevocationKind
from watchword_runtime.clock import Clock
from watchword_runtime.feed import Feed
from watchword_token.clients import Client
from watchword_token.families import Families
from watchword_token.lifetimes import LONGEST_ACCESS_TOKEN
from watchword_token.models import Grant
from watchword_token.pairwise import Names
from watchword_token.store import claim_grant_end
from watchword_token.tokens import InvalidToken, Tokens
from watchword_web.errors import OAuthError

log = structlog.get_logger()

Reason = Literal[
    "client", "administrator", "refresh-token-reuse", "code-reuse", "user", "consent-withdrawn", "access-rules"
]


@dataclass(frozen=True, slots=True)
class Revoking:
    """What ends grants and tokens."""

    database: Database
    feed: Feed
    now: Clock

    async def revoke_grant(self, gid: str, *, reason: Reason) -> bool:
        """The grant and every token of its family are dead, here before this returns; False when it was over before.

        Appends GrantRevoked and, for a re-used refresh token, RefreshTokenReused.
        """
        async with transaction(self.database) as session:
            entry_id = await self.end_grant(session, gid, reason=reason)
        if entry_id is None:
            return False
        await self.feed.settle([entry_id])
        return True

    async def end_grant(self, session: Session, gid: str, *, reason: Reason) -> int | None:
        """With this transaction the grant ends; the ledger entry's id, to be settled after it, or None."""
        now = self.now()
        grant = await claim_grant_end(session, gid, now=now)
        if grant is None:
            return None
        until = now + LONGEST_ACCESS_TOKEN
        entry_id = await bus.revoke(
            session,
            claim=Claim.GID,
            value=gid,
            kind=RevocationKind.CUT,
            reason=reason,
            until=until,
            keep_until=max(until, grant.expires_at),
        )
        self.feed.pend(entry_id, Claim.GID, gid)
        self._emit_end(session, grant, reason)
        log.info("grant.revoked", gid=gid, client_id=grant.client_id, user_id=grant.user_id, reason=reason)
        return entry_id

    def _emit_end(self, session: Session, grant: Grant, reason: Reason) -> None:
        who = {"client_id": grant.client_id, "user_id": grant.user_id}
        if reason == "refresh-token-reuse":
            session.emit(RefreshTokenReused(id=grant.id, version=grant.version, **who))
        session.emit(GrantRevoked(id=grant.id, version=grant.version, reason=reason, **who))

    async def revoke_token(self, jti: str, *, exp_s: int, client_id: str, user_id: str | None) -> int:
        """One access token is dead; the ledger entry's id, to be settled. Appends TokenRevoked."""
        until = datetime.fromtimestamp(exp_s, UTC)
        async with transaction(self.database) as session:
            entry_id = await bus.revoke(
                session,
                claim=Claim.JTI,
                value=jti,
                kind=RevocationKind.CUT,
                reason="client",
                until=until,
                keep_until=until,
            )
            self.feed.pend(entry_id, Claim.JTI, jti)
            session.emit(TokenRevoked(id=jti, version=1, client_id=client_id, user_id=user_id))
        log.info("token.revoked", jti=jti, client_id=client_id)
        return entry_id


async def revoke_presented(
    token: str,
    client: Client,
    *,
    tokens: Tokens,
    families: Families,
    revoking: Revoking,
    subjects: Names,
    now_s: float,
) -> list[int]:
    """A token that a client gives back is dead; one that means nothing here is none already. Ledger entries to settle.

    A refresh token takes its whole family with it. Raises OAuthError invalid_grant for another client's token.
    Spec: RFC 7009 2.1, 2.2.
    """
    if (refresh := families.read(token)) is not None:
        async with transaction(revoking.database) as session:
            grant = await session.get(Grant, refresh.gid)
        if grant is None:
            return []
        if grant.client_id != client.client_id:
            raise _foreign()
        async with transaction(revoking.database) as session:
            entry_id = await revoking.end_grant(session, refresh.gid, reason="client")
        return [] if entry_id is None else [entry_id]
    try:
        read = await tokens.read(token, now_s)
    except InvalidToken:
        # RFC 7009 2.2: an invalid token is answered like a revoked one.
        return []
    claims = read.claims
    if claims["client_id"] != client.client_id:
        raise _foreign()
    if revoking.feed.is_cut(Claim.JTI, claims["jti"], claims["rev"]):
        return []
    user_id = claims["sub"] if claims["sub"] != claims["client_id"] else None
    if user_id is not None and client.sector is not None:
        user_id = await subjects.user_of(user_id)
    return [
        await revoking.revoke_token(claims["jti"], exp_s=claims["exp"], client_id=client.client_id, user_id=user_id)
    ]


def _foreign() -> OAuthError:
    return OAuthError("invalid_grant", "The token was issued to another client")
