"""Named SQL of the authz service. `find_` may return None, `claim_` changes once; expiry stands in the WHERE."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import JsonValue
from sqlalchemy import delete, func, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select

from watchword_authz.models import (
    Authenticator,
    Consent,
    Credential,
    EndReason,
    Flow,
    IssuedGrant,
    Passkey,
    PushedRequest,
    RecoveryCode,
    RememberedDevice,
    UserCopy,
    UserSession,
)
from watchword_database import decisions
from watchword_database.engine import Database, Session
from watchword_database.ids import new_id

# A row that was changed by a statement may already be loaded in the session: what RETURNING says is newer.
_FRESH = {"populate_existing": True}
# Nobody has loaded the row in the session: there is nothing to compare with what the statement changed.
_UNSEEN = {"synchronize_session": False}
# What is allowed adds up: each scope, at each resource. A withdrawn consent says nothing, whatever is left in it.
_UNITED = text("ARRAY(SELECT DISTINCT each FROM unnest(consent.scope || excluded.scope) AS each ORDER BY each)")
_UNITED_AT = text("""(
SELECT coalesce(jsonb_object_agg(at, scopes), '{}')
  FROM (SELECT at, jsonb_agg(DISTINCT each ORDER BY each) AS scopes
          FROM (SELECT * FROM jsonb_each(consent.scope_at) WHERE consent.withdrawn_at IS NULL
                 UNION ALL SELECT * FROM jsonb_each(excluded.scope_at))
                   AS said (at, scopes), jsonb_array_elements(said.scopes) AS each
         GROUP BY at) AS united)""")
# On the way of each sign-in, as plain statements: a session costs ten times as much.
_FIND_FLOW: Final = f"""
SELECT {", ".join(Flow.model_fields)} FROM authz.flow WHERE id = $1 AND finished_at IS NULL AND expires_at > $2
"""
_PUT_FLOW: Final = f"""
INSERT INTO authz.flow ({", ".join(Flow.model_fields)})
VALUES ({", ".join(f"${place}" for place in range(1, len(Flow.model_fields) + 1))})
"""
_FIND_SESSION: Final = f"""
SELECT {", ".join(UserSession.model_fields)} FROM authz.session
 WHERE secret_hash = $1 AND ended_at IS NULL AND ends_at > $2
"""
_LOOK_AT_CONSENT: Final = f"""
SELECT {", ".join(Consent.model_fields)} FROM authz.consent
 WHERE user_id = $1 AND client_id = $2 AND withdrawn_at IS NULL
"""
_PUT_SESSION = insert(UserSession)
_PUT_GRANT = insert(IssuedGrant)
_VERSIONS = text("""
SELECT (SELECT version FROM authz.client_copy WHERE id = :client_id),
       (SELECT version FROM authz.user_copy WHERE id = :user_id)
""")
_PUT_PUSHED_REQUEST = """
INSERT INTO authz.pushed_request (reference_hash, client_id, asked, rev, created_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6)
"""

# flows ---------------------------------------------------------------------------------------------------------------


async def find_flow(database: Database, flow_id: str, now: datetime) -> Flow | None:
    """A flow that is neither finished nor expired."""
    row = await (await database.raw_pool()).fetchrow(_FIND_FLOW, flow_id, now)
    return None if row is None else Flow(**row)


async def put_flow(database: Database, flow: Flow) -> None:
    """The flow can be gone on with."""
    values = [getattr(flow, name) for name in Flow.model_fields]
    await (await database.raw_pool()).execute(_PUT_FLOW, *values)


async def claim_flow(session: Session, flow_id: str, now: datetime, **values: object) -> bool:
    """True when the flow was still open and now has these values; `finished_at=now` closes it, once."""
    result = await session.exec(
        update(Flow)
        .where(col(Flow.id) == flow_id, col(Flow.finished_at).is_(None), col(Flow.expires_at) > now)
        .values(**values),
        execution_options=_UNSEEN,
    )
    return result.rowcount == 1


# pushed requests -----------------------------------------------------------------------------------------------------


async def put_pushed_request(
    database: Database,
    reference_hash: bytes,
    *,
    client_id: str,
    asked: Mapping[str, JsonValue],
    rev: int,
    now: datetime,
    expires_at: datetime,
) -> None:
    """The request can be used. The one statement of its transaction: a session would cost more than all the rest."""
    pool = await database.raw_pool()
    await pool.execute(_PUT_PUSHED_REQUEST, reference_hash, client_id, asked, rev, now, expires_at)


async def claim_pushed_request(
    session: Session, reference_hash: bytes, *, client_id: str, now: datetime
) -> PushedRequest | None:
    """The request of this client with this reference, used by this transaction; None when it cannot be used."""
    result = await session.exec(
        update(PushedRequest)
        .where(
            col(PushedRequest.reference_hash) == reference_hash,
            col(PushedRequest.client_id) == client_id,
            col(PushedRequest.used_at).is_(None),
            col(PushedRequest.expires_at) > now,
        )
        .values(used_at=now)
        .returning(PushedRequest),
        execution_options=_FRESH,
    )
    return result.scalar_one_or_none()


# sessions ------------------------------------------------------------------------------------------------------------


async def find_session(database: Database, secret_hash: bytes, now: datetime) -> UserSession | None:
    """The session with this secret, unless it ended or its time is over (also before the sweeper saw it)."""
    row = await (await database.raw_pool()).fetchrow(_FIND_SESSION, secret_hash, now)
    return None if row is None else UserSession(**row)


async def put_session(session: Session, row: UserSession) -> None:
    """Somebody is signed in."""
    await (await session.connection()).execute(_PUT_SESSION, row.model_dump())


async def touch_session(session: Session, sid: str, idle: timedelta, now: datetime) -> None:
    """The session's idle time starts anew, within its longest life."""
    await session.exec(
        update(UserSession)
        .where(col(UserSession.id) == sid, col(UserSession.ended_at).is_(None), col(UserSession.ends_at) > now)
        .values(seen_at=now, ends_at=func.least(UserSession.expires_at, now + idle))
    )


async def claim_session(session: Session, sid: str, now: datetime, **values: object) -> UserSession | None:
    """The session with these values, when it was not over."""
    result = await session.exec(
        update(UserSession)
        .where(col(UserSession.id) == sid, col(UserSession.ended_at).is_(None), col(UserSession.ends_at) > now)
        .values(**values)
        .returning(UserSession),
        execution_options=_FRESH,
    )
    return result.scalar_one_or_none()


async def claim_ends(session: Session, sids: Sequence[str], reason: EndReason, now: datetime) -> list[UserSession]:
    """Those of the sessions that had not ended before; now they have, each at its next version."""
    result = await session.exec(
        update(UserSession)
        .where(col(UserSession.id).in_(sids), col(UserSession.ended_at).is_(None))
        .values(ended_at=now, end_reason=reason.value, version=UserSession.version + 1)
        .returning(UserSession),
        execution_options=_FRESH,
    )
    return list(result.scalars())


async def sids_of(session: Session, user_id: str) -> list[str]:
    """The sessions of a user that have not ended."""
    found = await session.exec(
        select(UserSession.id).where(UserSession.user_id == user_id, col(UserSession.ended_at).is_(None))
    )
    return list(found)


async def has_sessions(session: Session, user_id: str, *, besides: str) -> bool:
    """Whether the person has or had another session than this one, as far as they are kept."""
    found = await session.exec(
        select(UserSession.id).where(UserSession.user_id == user_id, UserSession.id != besides).limit(1)
    )
    return found.one_or_none() is not None


async def sids_from(session: Session, provider_id: str, upstream_sessions: Sequence[str]) -> list[str]:
    """The sessions that have not ended and came from these sessions at a provider."""
    found = await session.exec(
        select(UserSession.id).where(
            UserSession.provider_id == provider_id,
            col(UserSession.upstream_session).in_(upstream_sessions),
            col(UserSession.ended_at).is_(None),
        )
    )
    return list(found)


async def lock_expired(session: Session, now: datetime, limit: int) -> list[tuple[str, bool]]:
    """Sessions whose time is over, locked for this transaction, each with whether it was idle too long."""
    found = await session.exec(
        select(UserSession.id, UserSession.ends_at < UserSession.expires_at)
        .where(col(UserSession.ended_at).is_(None), UserSession.ends_at <= now)
        .order_by(col(UserSession.ends_at))
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return [(sid, bool(was_idle)) for sid, was_idle in found]


async def list_sessions(
    session: Session,
    now: datetime,
    *,
    user_id: str | None = None,
    ids: Sequence[str] = (),
    organizations: Collection[str] | None = None,
    after: str,
    limit: int,
) -> list[UserSession]:
    """Sessions that are not over, oldest first, after the one with this id; only those of a user, or with these ids.

    organizations: only of people whose home is one of these.
    """
    query = select(UserSession).where(
        col(UserSession.ended_at).is_(None), UserSession.ends_at > now, UserSession.id > after
    )
    if user_id is not None:
        query = query.where(UserSession.user_id == user_id)
    if ids:
        query = query.where(col(UserSession.id).in_(ids))
    if organizations is not None:
        home = col(UserCopy.data)["organization"].astext.in_(organizations)
        query = query.where(select(UserCopy.id).where(UserCopy.id == UserSession.user_id, home).exists())
    return list(await session.exec(query.order_by(col(UserSession.id)).limit(limit)))


# credentials ---------------------------------------------------------------------------------------------------------


async def find_credential(session: Session, user_id: str) -> Credential | None:
    """The user's password, None when they have none."""
    return await session.get(Credential, user_id)


async def put_password(session: Session, user_id: str, password_hash: str, now: datetime) -> int:
    """The version of the credential that holds the hash now; 1 for a first password."""
    statement = insert(Credential).values(user_id=user_id, version=1, password_hash=password_hash, changed_at=now)
    connection = await session.connection()
    result = await connection.execute(
        statement.on_conflict_do_update(
            index_elements=["user_id"],
            set_={"password_hash": password_hash, "changed_at": now, "version": Credential.version + 1},
        ).returning(col(Credential.version))
    )
    return int(result.scalar_one())


async def claim_password(session: Session, user_id: str, version: int, password_hash: str) -> bool:
    """True when the credential still has this version; it keeps it until the transaction ends, and holds the hash."""
    result = await session.exec(
        update(Credential)
        .where(col(Credential.user_id) == user_id, col(Credential.version) == version)
        .values(password_hash=password_hash)
    )
    return result.rowcount == 1


async def lock_password(session: Session, user_id: str, version: int) -> bool:
    """True when the credential still has this version; it keeps it until the transaction ends."""
    found = await session.exec(
        select(Credential.version).where(Credential.user_id == user_id, Credential.version == version).with_for_update()
    )
    return found.one_or_none() is not None


async def forget_devices(session: Session, user_id: str) -> None:
    """No device of the person stands in for the second factor any more."""
    await session.exec(delete(RememberedDevice).where(col(RememberedDevice.user_id) == user_id))


async def delete_person(session: Session, user_id: str) -> None:
    """Nothing is left of a deleted user's credentials and consents, nor of what access rules decided about them."""
    for owned in (Credential, Authenticator, RecoveryCode, Passkey, RememberedDevice):
        await session.exec(delete(owned).where(col(owned.user_id) == user_id))
    await session.exec(delete(Consent).where(col(Consent.user_id) == user_id))
    await decisions.forget_of(session, user_id)


# consents and grants -------------------------------------------------------------------------------------------------


async def find_consent(session: Session, user_id: str, client_id: str) -> Consent | None:
    """What the user allowed the client, unless it was withdrawn."""
    found = await session.exec(
        select(Consent).where(
            Consent.user_id == user_id, Consent.client_id == client_id, col(Consent.withdrawn_at).is_(None)
        )
    )
    return found.one_or_none()


async def look_at_consent(database: Database, user_id: str, client_id: str) -> Consent | None:
    """As `find_consent`, by one plain statement of its own."""
    row = await (await database.raw_pool()).fetchrow(_LOOK_AT_CONSENT, user_id, client_id)
    return None if row is None else Consent(**row)


async def hold_consent(session: Session, user_id: str, client_id: str) -> Consent | None:
    """As `find_consent`, as it is now; it is not withdrawn before the transaction ends."""
    found = await session.exec(
        select(Consent)
        .where(Consent.user_id == user_id, Consent.client_id == client_id, col(Consent.withdrawn_at).is_(None))
        .with_for_update(read=True)
    )
    return found.one_or_none()


async def add_consent(
    session: Session,
    user_id: str,
    client_id: str,
    *,
    scope: Sequence[str],
    scope_at: Mapping[str, Sequence[str]],
    now: datetime,
) -> Consent:
    """The consent, which says this now beside what it said before: a withdrawn one said nothing."""
    values: dict[str, Any] = {
        "scope": list(scope),
        "scope_at": {at: list(scopes) for at, scopes in scope_at.items()},
        "granted_at": now,
        "withdrawn_at": None,
    }
    statement = insert(Consent).values(id=new_id(), version=1, user_id=user_id, client_id=client_id, **values)
    united = {"scope": _UNITED, "scope_at": _UNITED_AT, "version": Consent.version + 1}
    result = await session.exec(
        statement.on_conflict_do_update(constraint="uq_consent_user_client", set_={**values, **united}).returning(
            Consent
        ),
        execution_options=_FRESH,
    )
    row: Consent = result.scalar_one()
    return row


async def claim_withdrawal(session: Session, consent_id: str, now: datetime) -> Consent | None:
    """The consent, now withdrawn; None when there is none or it was withdrawn before."""
    result = await session.exec(
        update(Consent)
        .where(col(Consent.id) == consent_id, col(Consent.withdrawn_at).is_(None))
        .values(withdrawn_at=now, scope=[], scope_at={}, version=Consent.version + 1)
        .returning(Consent),
        execution_options=_FRESH,
    )
    return result.scalar_one_or_none()


async def list_consents(session: Session, *, user_id: str | None, after: str, limit: int) -> list[Consent]:
    """Consents that stand, oldest first, after the one with this id."""
    query = select(Consent).where(col(Consent.withdrawn_at).is_(None), Consent.id > after)
    if user_id is not None:
        query = query.where(Consent.user_id == user_id)
    return list(await session.exec(query.order_by(col(Consent.id)).limit(limit)))


async def put_grant(session: Session, row: IssuedGrant) -> None:
    """The grant to come is noted."""
    await (await session.connection()).execute(_PUT_GRANT, row.model_dump())


async def claim_grants(session: Session, user_id: str, now: datetime, *, client_id: str | None) -> list[IssuedGrant]:
    """The grants of a user that may still live, taken out to be ended: of one client, or else (None) all that may
    outlive their session.
    """
    which = col(IssuedGrant.offline).is_(True) if client_id is None else col(IssuedGrant.client_id) == client_id
    result = await session.exec(
        delete(IssuedGrant)
        .where(col(IssuedGrant.user_id) == user_id, col(IssuedGrant.keep_until) > now, which)
        .returning(IssuedGrant)
    )
    return list(result.scalars())


async def list_grants(session: Session, user_id: str, now: datetime, *, limit: int) -> list[IssuedGrant]:
    """The grants of a user that may still live, the newest first."""
    return list(
        await session.exec(
            select(IssuedGrant)
            .where(IssuedGrant.user_id == user_id, IssuedGrant.keep_until > now)
            .order_by(col(IssuedGrant.issued_at).desc())
            .limit(limit)
        )
    )


async def clients_of(session: Session, user_id: str, sid: str) -> list[str]:
    """The clients that got something in a session of this user, in the order of their ids."""
    return list(
        await session.exec(
            select(IssuedGrant.client_id)
            .where(IssuedGrant.user_id == user_id, IssuedGrant.sid == sid)
            .distinct()
            .order_by(IssuedGrant.client_id)
        )
    )


# copies --------------------------------------------------------------------------------------------------------------


async def versions_of(session: Session, client_id: str, user_id: str) -> tuple[int, int]:
    """The versions at which the copies hold a client and a user; 0 where they do not."""
    connection = await session.connection()
    client, user = (await connection.execute(_VERSIONS, {"client_id": client_id, "user_id": user_id})).one()
    return client or 0, user or 0
