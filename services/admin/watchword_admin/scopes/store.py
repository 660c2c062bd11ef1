"""Named SQL of scopes and resource servers. `get_` raises, `find_` may return None, `claim_` changes exactly once."""

from collections.abc import Sequence
from typing import TypeVar

from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select

from watchword_admin.models import Resource, Scope
from watchword_admin.store import Unknown
from watchword_database import Session

K = TypeVar("K", bound=Scope | Resource)


async def find(session: Session, kind: type[K], row_id: str) -> K | None:
    """The scope or resource server, unless unknown or deleted."""
    statement = select(kind).where(col(kind.id) == row_id, col(kind.deleted_at).is_(None))
    return (await session.exec(statement)).one_or_none()


async def get_for_change(session: Session, kind: type[K], row_id: str) -> K:
    """The row, locked until the end of the transaction. Raises Unknown."""
    statement = select(kind).where(col(kind.id) == row_id, col(kind.deleted_at).is_(None)).with_for_update()
    row = (await session.exec(statement)).one_or_none()
    if row is None:
        raise Unknown(row_id)
    return row


async def is_deleted(session: Session, kind: type[K], row_id: str) -> bool:
    """Whether there was such a row, which has been deleted."""
    statement = select(col(kind.id)).where(col(kind.id) == row_id, col(kind.deleted_at).is_not(None))
    return (await session.exec(statement)).one_or_none() is not None


async def claim_new(session: Session, row: Scope | Resource) -> bool:
    """True when it exists now; False when its name belongs to another."""
    kind = type(row)
    statement = insert(kind).values(**row.model_dump()).on_conflict_do_nothing().returning(col(kind.id))
    return (await session.exec(statement)).scalar_one_or_none() is not None


async def list_rows(session: Session, kind: type[K], *, after: str, limit: int, name: str | None = None) -> Sequence[K]:
    """Rows in the order of their names, those after `after`."""
    statement = select(kind).where(col(kind.deleted_at).is_(None), col(kind.name) > after)
    if name is not None:
        statement = statement.where(col(kind.name) == name)
    return (await session.exec(statement.order_by(col(kind.name)).limit(limit))).all()


async def list_by_id(session: Session, kind: type[K], *, after: str, limit: int) -> Sequence[K]:
    """Rows in the order of their ids, those after `after`."""
    statement = select(kind).where(col(kind.deleted_at).is_(None), col(kind.id) > after)
    return (await session.exec(statement.order_by(col(kind.id)).limit(limit))).all()


async def find_by_name(session: Session, kind: type[K], name: str) -> K | None:
    """The scope with this name, or the resource server with this identifier."""
    statement = select(kind).where(col(kind.name) == name, col(kind.deleted_at).is_(None))
    return (await session.exec(statement)).one_or_none()


async def open_resources(session: Session) -> Sequence[Resource]:
    """The resource servers for which every client may ask for tokens, by identifier."""
    open_to_all = col(Resource.document)["any_client"].astext == "true"
    statement = select(Resource).where(open_to_all, col(Resource.deleted_at).is_(None))
    return (await session.exec(statement.order_by(col(Resource.name)))).all()


async def export_rows(session: Session, kind: type[K], *, ids: Sequence[str], after: str, limit: int) -> Sequence[K]:
    """Rows by their ids or, without ids, the page after an id, tombstones included."""
    statement = select(kind).order_by(col(kind.id)).limit(limit)
    statement = statement.where(col(kind.id).in_(ids)) if ids else statement.where(col(kind.id) > after)
    return (await session.exec(statement)).all()


async def default_scopes(session: Session) -> Sequence[str]:
    """The scopes that clients have which are registered without any, by name."""
    statement = select(col(Scope.name)).where(col(Scope.is_default), col(Scope.deleted_at).is_(None))
    return (await session.exec(statement.order_by(col(Scope.name)))).all()


async def count(session: Session, kind: type[K]) -> int:
    """How many there are."""
    return len((await session.exec(select(col(kind.id)).where(col(kind.deleted_at).is_(None)))).all())
