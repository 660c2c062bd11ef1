"""Personal API keys: long-lived credentials of a person, for `/api/v1` and for scripts at the token endpoint.

Only the SHA-256 of the secret is kept; of a key that its owner signs with there is no secret here at all.
"""

import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from pydantic import JsonValue
from sqlalchemy import func, text
from sqlmodel import col, select

from watchword_database import Session, bus
from watchword_database.ids import new_id
from watchword_database.turns import take_turn
from watchword_events.contracts import ApiKeyCreated, ApiKeyRevoked
from watchword_events.exports import ApiKeyExport, Exported
from watchword_events.names import Position
from watchword_events.revocations import Claim, RevocationKind
from watchword_runtime.access import API_KEY_PREFIX
from watchword_runtime.feed import Feed
from watchword_runtime.internal import ExportQuery
from watchword_token.models import ApiKey

# The ledger keeps what ended a key without an expiry for as long as anybody could still hold it in a copy.
_KEPT: Final = timedelta(days=366)
# What the ledger ended together with other things of somebody, or with everything.
# Each of the three is a join by hash: one with OR would compare every key with every entry.
_DEAD: Final = text("""
UPDATE token.api_keys SET revoked_at = :now, version = version + 1 WHERE revoked_at IS NULL AND id IN (
    WITH ends AS MATERIALIZED (
        SELECT claim, value, position, issued_before FROM bus.revocations
         WHERE claim IN ('sub', 'gid', 'all') AND kind IN ('cut', 'lift')),
    named AS (
        SELECT k.id, k.rev, k.created_at, r.position, r.issued_before
          FROM token.api_keys AS k JOIN ends AS r ON r.value = k.user_id WHERE r.claim = 'sub' AND k.revoked_at IS NULL
         UNION ALL
        SELECT k.id, k.rev, k.created_at, r.position, r.issued_before
          FROM token.api_keys AS k JOIN ends AS r ON r.value = k.id WHERE r.claim = 'gid' AND k.revoked_at IS NULL
         UNION ALL
        SELECT k.id, k.rev, k.created_at, r.position, r.issued_before
          FROM token.api_keys AS k CROSS JOIN ends AS r WHERE r.claim = 'all' AND k.revoked_at IS NULL)
    SELECT id FROM named
     WHERE rev < position AND (issued_before IS NULL OR created_at < issued_before)
     LIMIT 1000)
RETURNING id, version, user_id
""")


def create_api_key(
    session: Session,
    *,
    user_id: str,
    name: str,
    scope: frozenset[str],
    rev: Position,
    now: datetime,
    expires_at: datetime | None = None,
    public_jwk: Mapping[str, JsonValue] | None = None,
) -> tuple[ApiKey, str]:
    """A new key and, this once, its text `ww_<id>.<secret>`; "" for one that its owner signs with.

    rev: noted before the owner was looked at.  public_jwk: of that one. Appends ApiKeyCreated.
    """
    secret = secrets.token_urlsafe(32) if public_jwk is None else None
    key = ApiKey(
        id=API_KEY_PREFIX + new_id(),
        user_id=user_id,
        name=name,
        secret_hash="" if secret is None else _hash(secret),
        public_jwk=None if public_jwk is None else {**public_jwk},
        scope=sorted(scope),
        rev=rev,
        created_at=now,
        expires_at=expires_at,
    )
    session.add(key)
    session.emit(ApiKeyCreated(id=key.id, version=1, user_id=user_id))
    return key, "" if secret is None else f"{key.id}.{secret}"


async def revoke_api_key(
    session: Session, key_id: str, *, feed: Feed, now: datetime, user_id: str | None = None
) -> int | None:
    """With this transaction the key works no more; the ledger entry's id, None when it was unknown or revoked.

    Everywhere at once: a key is checked against the ledger with its id as gid.  user_id: whose it has to be.
    Appends ApiKeyRevoked.
    """
    key = await session.get(ApiKey, key_id, with_for_update=True)
    if key is None or key.revoked_at is not None or user_id not in (None, key.user_id):
        return None
    key.revoked_at, key.version = now, key.version + 1
    keep_until = max(key.expires_at or now + _KEPT, now + timedelta(minutes=1))
    entry_id = await bus.revoke(
        session,
        claim=Claim.GID,
        value=key.id,
        kind=RevocationKind.CUT,
        reason="api-key",
        until=keep_until,
        keep_until=keep_until,
    )
    feed.pend(entry_id, Claim.GID, key.id)
    session.emit(ApiKeyRevoked(id=key.id, version=key.version, user_id=key.user_id))
    return entry_id


async def end_dead_keys(session: Session, *, now: datetime) -> int:
    """Keys that an entry of the ledger ended are revoked for good; how many.

    A key may live for ever, and an entry is forgotten when the longest grant is over. Appends ApiKeyRevoked for each.
    """
    ended = (await (await session.connection()).execute(_DEAD, {"now": now})).all()
    for key_id, version, user_id in ended:
        session.emit(ApiKeyRevoked(id=key_id, version=version, user_id=user_id))
    return len(ended)


async def find_api_key(session: Session, key_id: str) -> ApiKey | None:
    """A key that was not revoked."""
    key = await session.get(ApiKey, key_id)
    return key if key is not None and key.revoked_at is None else None


async def count_api_keys(session: Session, user_id: str) -> int:
    """How many keys of a person were not revoked; no other transaction that counts adds one before this ends."""
    await take_turn(session, f"token.api_keys.{user_id}")
    statement = select(func.count()).where(col(ApiKey.user_id) == user_id, col(ApiKey.revoked_at).is_(None))
    return int((await session.exec(statement)).one())


def is_secret_of(key: ApiKey, presented: str) -> bool:
    """Whether a text `<id>.<secret>` is the key's."""
    secret = presented.partition(".")[2]
    return bool(secret) and hmac.compare_digest(_hash(secret), key.secret_hash)


def source_of(key: ApiKey) -> dict[str, JsonValue]:
    """The key as the ledger is asked about it: its id stands for the grant."""
    return {"gid": key.id, "sub": key.user_id, "rev": key.rev, "iat": key.created_at.timestamp()}


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


async def list_api_keys(session: Session, *, after: str, limit: int, user_id: str | None) -> Sequence[ApiKey]:
    """Keys that were not revoked, oldest first, behind the id `after`."""
    statement = select(ApiKey).where(col(ApiKey.revoked_at).is_(None), col(ApiKey.id) > after)
    if user_id is not None:
        statement = statement.where(col(ApiKey.user_id) == user_id)
    return (await session.exec(statement.order_by(col(ApiKey.id)).limit(limit))).all()


def export_api_key(key: ApiKey) -> ApiKeyExport:
    """The key as other services check it."""
    return ApiKeyExport(
        id=key.id,
        user_id=key.user_id,
        name=key.name,
        secret_hash=key.secret_hash,
        scope=frozenset(key.scope),
        rev=key.rev,
        created_at_s=int(key.created_at.timestamp()),
        expires_at_s=int(key.expires_at.timestamp()) if key.expires_at else None,
    )


async def export_api_keys(session: Session, query: ExportQuery) -> list[Exported[ApiKeyExport]]:
    """What a pull of another service asks for; revoked keys are tombstones."""
    statement = select(ApiKey)
    if query.ids:
        statement = statement.where(col(ApiKey.id).in_(query.ids))
    else:
        statement = statement.where(col(ApiKey.id) > query.after).limit(query.limit)
    rows = (await session.exec(statement.order_by(col(ApiKey.id)))).all()
    return [
        Exported(
            id=key.id,
            version=key.version,
            deleted=key.revoked_at is not None,
            data=export_api_key(key) if key.revoked_at is None else None,
        )
        for key in rows
    ]
