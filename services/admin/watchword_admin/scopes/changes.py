"""Changes of scopes and resource servers, each in its caller's transaction, with its event."""

from datetime import datetime
from typing import Final

from watchword_admin.models import Resource, Scope
from watchword_admin.scopes import store
from watchword_admin.scopes.documents import ResourceDocument, ScopeDocument, resource_of, scope_of
from watchword_admin.store import Unknown
from watchword_database import Session
from watchword_database.ids import new_id
from watchword_database.turns import take_turn
from watchword_events.contracts import ResourceChanged, ScopeChanged

MOST: Final = 500  # of each kind: every process has them all in memory


class NameTaken(Exception):
    """Another scope has this name, or another resource server this identifier."""


class NameStays(Exception):
    """A scope's name and a resource's identifier stand in consents and tokens, and are never changed."""


class TooMany(Exception):
    """There are as many as there may be."""


async def add_scope(session: Session, document: ScopeDocument, *, now: datetime) -> Scope:
    """Clients may have the scope from now on. Raises NameTaken, TooMany. Appends ScopeChanged."""
    scope = Scope(
        id=new_id(),
        version=1,
        name=document.name,
        is_default=document.is_default,
        document=document.model_dump(mode="json"),
        created_at=now,
        updated_at=now,
    )
    await _add(session, scope)
    session.emit(ScopeChanged(id=scope.id, version=1))
    return scope


async def change_scope(session: Session, scope: Scope, document: ScopeDocument, *, now: datetime) -> None:
    """The scope is as described. scope: locked. Nothing happens when nothing differs.

    Raises NameStays. Appends ScopeChanged.
    """
    if document.name != scope.name:
        raise NameStays(scope.name)
    if document == scope_of(scope):
        return
    scope.is_default = document.is_default
    scope.document = document.model_dump(mode="json")
    await _rise(session, scope, now=now)
    session.emit(ScopeChanged(id=scope.id, version=scope.version))


async def add_resource(session: Session, document: ResourceDocument, *, now: datetime) -> Resource:
    """Clients may ask for tokens for the resource from now on. Raises NameTaken, TooMany. Appends ResourceChanged."""
    resource = Resource(
        id=new_id(),
        version=1,
        name=document.identifier,
        document=document.model_dump(mode="json"),
        created_at=now,
        updated_at=now,
    )
    await _add(session, resource)
    session.emit(ResourceChanged(id=resource.id, version=1))
    return resource


async def have_resource(session: Session, document: ResourceDocument, *, now: datetime) -> None:
    """Clients may ask for tokens for the resource; one with its identifier that serves as well stays as it is.

    It does when it lets in whom the document lets in, with the scopes of the document. Raises NameTaken when it does
    not, TooMany. Appends ResourceChanged when it is new.
    """
    known = await store.find_by_name(session, Resource, document.identifier)
    if known is None:
        await add_resource(session, document, now=now)
        return
    standing = resource_of(known)
    has_scopes = not standing.scopes or (bool(document.scopes) and set(document.scopes) <= set(standing.scopes))
    if not has_scopes or (document.any_client and not standing.any_client):
        raise NameTaken(document.identifier)


async def change_resource(session: Session, resource: Resource, document: ResourceDocument, *, now: datetime) -> None:
    """The resource server is as described. resource: locked. Nothing happens when nothing differs.

    Raises NameStays. Appends ResourceChanged.
    """
    if document.identifier != resource.name:
        raise NameStays(resource.name)
    if document == resource_of(resource):
        return
    resource.document = document.model_dump(mode="json")
    await _rise(session, resource, now=now)
    session.emit(ResourceChanged(id=resource.id, version=resource.version))


async def delete(session: Session, kind: type[Scope] | type[Resource], row_id: str, *, now: datetime) -> None:
    """The scope or resource server is gone, a tombstone stays; doing it again changes nothing.

    Raises Unknown for one that never was. Appends ScopeChanged or ResourceChanged.
    """
    try:
        row = await store.get_for_change(session, kind, row_id)
    except Unknown:
        if await store.is_deleted(session, kind, row_id):
            return
        raise
    row.document, row.deleted_at = {}, now
    await _rise(session, row, now=now)
    changed = ScopeChanged if isinstance(row, Scope) else ResourceChanged
    session.emit(changed(id=row_id, version=row.version))


async def _add(session: Session, row: Scope | Resource) -> None:
    await take_turn(session, f"admin.{row.__tablename__}")
    if await store.count(session, type(row)) >= MOST:
        raise TooMany
    if not await store.claim_new(session, row):
        raise NameTaken(row.name)


async def _rise(session: Session, row: Scope | Resource, *, now: datetime) -> None:
    row.version += 1
    row.updated_at = now
    await session.flush()
