"""SCIM tokens: with which another system pushes people and groups, of one organization or of the installation.

Only the SHA-256 of the secret is kept. Each request looks its token up, and asks the ledger, so that one which was
revoked is refused at once. What a token was refused is kept for a while, for whoever looks why something does not
arrive.
"""

import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from pydantic import JsonValue
from sqlalchemy import ColumnElement, delete, or_, update
from sqlmodel import col, select

from watchword_database import Session
from watchword_database.endings import ended_with_everything
from watchword_database.ids import new_id
from watchword_directory import organization_table
from watchword_directory.models import ProviderCopy, ScimFailure, ScimToken
from watchword_events.names import Position

PREFIX: Final = "wws_"  # so that people and secret scanners see what it is
MOST_FAILURES: Final = 50  # of one token
_MAX_TEXT: Final = 256
_FAILURE_LIFE: Final = timedelta(days=30)
_NOTED_EVERY: Final = timedelta(minutes=1)
_STANDS = col(ScimToken.revoked_at).is_(None)
# With everything that was given out, and with a provider that was removed: another one may have its id later.
_DEAD = or_(
    ended_with_everything(col(ScimToken.rev), col(ScimToken.created_at)),
    col(ScimToken.provider_id).in_(select(col(ProviderCopy.id)).where(col(ProviderCopy.deleted))),
)


class UnknownToken(LookupError):
    """There is no such token, or no more."""


class ExpiryPassed(ValueError):
    """The token would have ended before it began."""


def create_token(
    session: Session,
    *,
    name: str,
    organization_id: str | None,
    provider_id: str | None,
    created_by: str | None,
    rev: Position,
    expires_at: datetime | None,
    now: datetime,
) -> tuple[ScimToken, str]:
    """A new token and, this once, its text. rev: noted before anything was looked at. Raises ExpiryPassed."""
    if expires_at is not None and expires_at <= now:
        raise ExpiryPassed
    secret = secrets.token_urlsafe(32)
    token = ScimToken(
        id=PREFIX + new_id(),
        version=1,
        name=name,
        secret_hash=_hash(secret),
        organization_id=organization_id,
        provider_id=provider_id,
        created_by=created_by,
        rev=rev,
        created_at=now,
        expires_at=expires_at,
    )
    session.add(token)
    return token, f"{token.id}.{secret}"


async def find_live(session: Session, presented: str, *, now: datetime) -> ScimToken | None:
    """The token behind a text, unless unknown, over, revoked or of an organization that is gone; its use is noted."""
    token_id, _, secret = presented.partition(".")
    if not secret or len(presented) > _MAX_TEXT or not presented.isascii():
        return None
    token = await session.get(ScimToken, token_id)
    if token is None or not hmac.compare_digest(_hash(secret), token.secret_hash):
        return None
    if token.revoked_at is not None or (token.expires_at is not None and token.expires_at <= now):
        return None
    home = token.organization_id
    if home is not None and await organization_table.find_organization(session, home) is None:
        return None
    used = or_(col(ScimToken.last_used_at).is_(None), col(ScimToken.last_used_at) < now - _NOTED_EVERY)
    noted = update(ScimToken).where(col(ScimToken.id) == token.id, used).values(last_used_at=now)
    await session.exec(noted.execution_options(synchronize_session=False))
    return token


def source_of(token: ScimToken) -> Mapping[str, JsonValue]:
    """The token as the ledger is asked about it, which ends it with everything else."""
    return {"rev": token.rev, "iat": token.created_at.timestamp()}


async def end_dead_tokens(session: Session, *, now: datetime) -> None:
    """Tokens that ended otherwise are revoked for good: they may be kept longer than what ended them."""
    await _claim_revoked(session, _DEAD, now=now)


async def get_token(session: Session, token_id: str) -> ScimToken:
    """The token. Raises UnknownToken for one that was revoked as well."""
    token = await session.get(ScimToken, token_id)
    if token is None or token.revoked_at is not None:
        raise UnknownToken(token_id)
    return token


async def list_tokens(
    session: Session,
    *,
    after: str,
    limit: int,
    organization_id: str | None = None,
    provider_id: str | None = None,
) -> Sequence[ScimToken]:
    """Tokens that were not revoked, oldest first, behind the id `after`."""
    statement = select(ScimToken).where(_STANDS, col(ScimToken.id) > after).order_by(col(ScimToken.id)).limit(limit)
    if organization_id is not None:
        statement = statement.where(col(ScimToken.organization_id) == organization_id)
    if provider_id is not None:
        statement = statement.where(col(ScimToken.provider_id) == provider_id)
    return (await session.exec(statement)).all()


async def revoke_token(session: Session, token_id: str, *, now: datetime) -> None:
    """Whoever has it is refused from now on. Raises UnknownToken for one that was revoked before, too."""
    if not await _claim_revoked(session, col(ScimToken.id) == token_id, now=now):
        raise UnknownToken(token_id)


async def revoke_tokens_of(session: Session, organization_id: str, *, now: datetime) -> None:
    """The organization has no token any more."""
    await _claim_revoked(session, col(ScimToken.organization_id) == organization_id, now=now)


async def _claim_revoked(session: Session, which: ColumnElement[bool], *, now: datetime) -> bool:
    """Whether there was one."""
    statement = (
        update(ScimToken)
        .where(which, _STANDS)
        .values(revoked_at=now, version=col(ScimToken.version) + 1)
        .returning(col(ScimToken.id))
    )
    return (await session.exec(statement.execution_options(synchronize_session=False))).first() is not None


async def note_failure(session: Session, failure: ScimFailure) -> None:
    """It is kept, and of the token's others the newest."""
    session.add(failure)
    await session.flush()
    of_it = col(ScimFailure.token_id) == failure.token_id
    kept = select(col(ScimFailure.id)).where(of_it).order_by(col(ScimFailure.id).desc()).limit(MOST_FAILURES)
    await session.exec(delete(ScimFailure).where(of_it, col(ScimFailure.id).not_in(kept)))


async def list_failures(session: Session, token_id: str) -> Sequence[ScimFailure]:
    """What the token was refused, the newest first; `MOST_FAILURES` at most."""
    of_it = col(ScimFailure.token_id) == token_id
    return (await session.exec(select(ScimFailure).where(of_it).order_by(col(ScimFailure.id).desc()))).all()


async def delete_old_failures(session: Session, *, now: datetime) -> None:
    """What was long ago is forgotten."""
    await session.exec(delete(ScimFailure).where(col(ScimFailure.at) <= now - _FAILURE_LIFE))


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
