"""Named SQL of trusted issuers. `get_` raises, `find_` may return None, `claim_` changes once."""

from collections.abc import Sequence

from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select

from watchword_admin.models import TrustedIssuer
from watchword_admin.store import Unknown
from watchword_database import Session

_STANDS = col(TrustedIssuer.deleted_at).is_(None)


async def find_issuer(session: Session, issuer_id: str) -> TrustedIssuer | None:
    """The issuer, unless unknown or removed."""
    return (await session.exec(select(TrustedIssuer).where(col(TrustedIssuer.id) == issuer_id, _STANDS))).one_or_none()


async def get_issuer_for_change(session: Session, issuer_id: str) -> TrustedIssuer:
    """The issuer, locked until the end of the transaction. Raises Unknown."""
    statement = select(TrustedIssuer).where(col(TrustedIssuer.id) == issuer_id, _STANDS).with_for_update()
    issuer = (await session.exec(statement)).one_or_none()
    if issuer is None:
        raise Unknown(issuer_id)
    return issuer


async def is_removed_issuer(session: Session, issuer_id: str) -> bool:
    """Whether there was such an issuer, which has been removed."""
    removed = col(TrustedIssuer.deleted_at).is_not(None)
    statement = select(col(TrustedIssuer.id)).where(col(TrustedIssuer.id) == issuer_id, removed)
    return (await session.exec(statement)).one_or_none() is not None


async def claim_new_issuer(session: Session, issuer: TrustedIssuer) -> bool:
    """True when the issuer is trusted now; False when it was already, or another has its prefix."""
    statement = insert(TrustedIssuer).values(**issuer.model_dump()).on_conflict_do_nothing()
    return (await session.exec(statement.returning(col(TrustedIssuer.id)))).scalar_one_or_none() is not None


async def list_issuers(session: Session, *, after: str, limit: int, iss: str | None = None) -> Sequence[TrustedIssuer]:
    """Issuers in the order of their `iss`, those after one; only the one with this `iss`."""
    statement = select(TrustedIssuer).where(_STANDS, col(TrustedIssuer.iss) > after)
    if iss is not None:
        statement = statement.where(col(TrustedIssuer.iss) == iss)
    return (await session.exec(statement.order_by(col(TrustedIssuer.iss)).limit(limit))).all()


async def list_issuers_by_id(session: Session, *, after: str, limit: int) -> Sequence[TrustedIssuer]:
    """Issuers in the order of their ids, those after one."""
    statement = select(TrustedIssuer).where(_STANDS, col(TrustedIssuer.id) > after)
    return (await session.exec(statement.order_by(col(TrustedIssuer.id)).limit(limit))).all()


async def export_issuers(
    session: Session, *, ids: Sequence[str], iss: str | None, after: str, limit: int
) -> Sequence[TrustedIssuer]:
    """Issuers by their ids, the one with an `iss`, or the page after an id with tombstones."""
    statement = select(TrustedIssuer).order_by(col(TrustedIssuer.id)).limit(limit)
    if ids:
        statement = statement.where(col(TrustedIssuer.id).in_(ids))
    elif iss is not None:
        statement = statement.where(col(TrustedIssuer.iss) == iss, _STANDS)
    else:
        statement = statement.where(col(TrustedIssuer.id) > after)
    return (await session.exec(statement)).all()
