"""Named SQL of registration. `get_` raises, `find_` may return None, `claim_` changes exactly once."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, and_, delete, func, update
from sqlmodel import col, select

from watchword_admin.models import Client, ClientKind, RegistrationToken
from watchword_database import Session
from watchword_database.endings import ended_with_everything
from watchword_database.turns import take_turn

_WAS_CUT = ended_with_everything(col(RegistrationToken.rev), col(RegistrationToken.created_at))
_NOT_VOUCHED_FOR = col(Client.kind) != ClientKind.REGISTERED.value


async def find_token(session: Session, token_id: str, secret_hash: bytes, *, now: datetime) -> RegistrationToken | None:
    """The initial access token, if it can still be used."""
    statement = select(RegistrationToken).where(_is_good(token_id, secret_hash, now))
    return (await session.exec(statement)).one_or_none()


async def claim_use(session: Session, token_id: str, secret_hash: bytes, *, now: datetime) -> bool:
    """True for each transaction that takes one of the token's uses."""
    statement = (
        update(RegistrationToken)
        .where(_is_good(token_id, secret_hash, now))
        .values(uses_left=RegistrationToken.uses_left - 1)
        .returning(col(RegistrationToken.id))
    )
    return (await session.exec(statement)).scalar_one_or_none() is not None


def _is_good(token_id: str, secret_hash: bytes, now: datetime) -> ColumnElement[bool]:
    return and_(
        col(RegistrationToken.id) == token_id,
        col(RegistrationToken.secret_hash) == secret_hash,
        col(RegistrationToken.uses_left) > 0,
        col(RegistrationToken.expires_at) > now,
        col(RegistrationToken.revoked_at).is_(None),
        ~_WAS_CUT,
    )


async def end_dead_tokens(session: Session, *, now: datetime) -> None:
    """Tokens that ended with everything else are revoked for good: they may be kept longer than what ended them."""
    dead = update(RegistrationToken).where(col(RegistrationToken.revoked_at).is_(None), _WAS_CUT)
    await session.exec(dead.values(revoked_at=now))


async def find_initial_token(session: Session, token_id: str) -> RegistrationToken | None:
    """The initial access token with this id, whatever became of it."""
    return (await session.exec(select(RegistrationToken).where(col(RegistrationToken.id) == token_id))).one_or_none()


async def claim_revocation(session: Session, token_id: str, *, now: datetime) -> bool:
    """True for the one transaction after which the token registers nobody."""
    statement = (
        update(RegistrationToken)
        .where(col(RegistrationToken.id) == token_id, col(RegistrationToken.revoked_at).is_(None))
        .values(revoked_at=now)
        .returning(col(RegistrationToken.id))
    )
    return (await session.exec(statement)).scalar_one_or_none() is not None


async def list_initial_tokens(session: Session, *, after: str, limit: int) -> Sequence[RegistrationToken]:
    """Initial access tokens in the order of their ids, which is that of their making; those after `after`."""
    statement = (
        select(RegistrationToken)
        .where(col(RegistrationToken.id) > after)
        .order_by(col(RegistrationToken.id))
        .limit(limit)
    )
    return (await session.exec(statement)).all()


async def count_not_vouched_for(session: Session) -> int:
    """How many clients nobody here vouches for; no other transaction adds one before this ends."""
    await take_turn(session, "admin.clients.not_vouched_for")
    statement = select(func.count()).select_from(Client).where(_NOT_VOUCHED_FOR, col(Client.deleted_at).is_(None))
    return int((await session.exec(statement)).one())


def _is_idle(since: datetime) -> ColumnElement[bool]:
    """Nobody vouches for it, it was not used since then, and it does nothing but sign people in."""
    machine = col(Client.document)["grant_types"].contains(["client_credentials"])
    return and_(
        _NOT_VOUCHED_FOR,
        col(Client.deleted_at).is_(None),
        col(Client.enabled),
        func.coalesce(col(Client.used_at), col(Client.created_at)) < since,
        ~machine,
    )


async def list_idle(session: Session, *, since: datetime, after: str, limit: int) -> Sequence[str]:
    """The ids of clients that were not used since then as far as is known here, in order, those after `after`."""
    statement = select(col(Client.id)).where(_is_idle(since), col(Client.id) > after)
    return (await session.exec(statement.order_by(col(Client.id)).limit(limit))).all()


async def find_idle_for_change(session: Session, client_id: str, *, since: datetime) -> Client | None:
    """The client, locked until the end of the transaction, if it is idle still."""
    statement = select(Client).where(_is_idle(since), col(Client.id) == client_id).with_for_update()
    return (await session.exec(statement)).one_or_none()


async def note_use(session: Session, client_id: str, used_at: datetime) -> None:
    """The client was used then, or later."""
    statement = update(Client).where(
        col(Client.id) == client_id, func.coalesce(col(Client.used_at), col(Client.created_at)) < used_at
    )
    await session.exec(statement.values(used_at=used_at))


async def drop_old_tokens(session: Session, *, before: datetime) -> None:
    """Initial access tokens that ended before then are gone."""
    ended = func.coalesce(col(RegistrationToken.revoked_at), col(RegistrationToken.expires_at))
    await session.exec(delete(RegistrationToken).where(ended < before))


async def find_own(session: Session, client_id: str, token_hash: bytes) -> Client | None:
    """The client that this registration access token belongs to."""
    statement = select(Client).where(_is_own(client_id, token_hash))
    return (await session.exec(statement)).one_or_none()


async def claim_own(session: Session, client_id: str, token_hash: bytes, *, successor: bytes) -> Client | None:
    """The client, locked, for the one transaction that replaces its registration access token by the successor."""
    statement = (
        update(Client)
        .where(_is_own(client_id, token_hash))
        .values(registration_token=successor)
        .returning(Client)
        .execution_options(populate_existing=True)
    )
    return (await session.exec(statement)).scalar_one_or_none()


def _is_own(client_id: str, token_hash: bytes) -> ColumnElement[bool]:
    return and_(
        col(Client.id) == client_id,
        col(Client.registration_token) == token_hash,
        col(Client.deleted_at).is_(None),
    )
