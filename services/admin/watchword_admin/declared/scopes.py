"""Scopes of the installation's own and resource servers as declared documents."""

from collections.abc import Sequence

from watchword_admin.models import Resource, Scope
from watchword_admin.scopes import changes, store
from watchword_admin.scopes.documents import ResourceDocument, ScopeDocument, resource_of, scope_of
from watchword_admin.scopes.refusals import scope_refusals
from watchword_database import Session
from watchword_runtime.declared import Existing, Kind, Run, Written


class Scopes(Kind[ScopeDocument]):
    """Scopes, by their name; those that every installation has are nobody's to declare."""

    name = "Scope"
    model = ScopeDocument

    async def find(self, run: Run, wanted: ScopeDocument) -> Existing | None:
        """By `name`."""
        found = await store.list_rows(run.session, Scope, after="", limit=1, name=wanted.name)
        return _scope(found[0]) if found else None

    async def create(self, run: Run, wanted: ScopeDocument, prepared: None) -> Written:
        """Clients may have it."""
        with scope_refusals("scope"):
            return Written(_scope(await changes.add_scope(run.session, wanted, now=run.now)))

    async def change(self, run: Run, existing: Existing, wanted: ScopeDocument, prepared: None) -> Written:
        """As `PUT` does."""
        scope = await store.get_for_change(run.session, Scope, existing.id)
        with scope_refusals("scope"):
            await changes.change_scope(run.session, scope, wanted, now=run.now)
        return Written(_scope(scope))

    async def delete(self, run: Run, existing: Existing) -> None:
        """It opens nothing any more."""
        await changes.delete(run.session, Scope, existing.id, now=run.now)

    async def page(self, session: Session, after: str, limit: int) -> Sequence[Existing]:
        """All of them."""
        return [_scope(each) for each in await store.list_by_id(session, Scope, after=after, limit=limit)]


class Resources(Kind[ResourceDocument]):
    """Resource servers, by their identifier."""

    name = "Resource"
    model = ResourceDocument
    after = ("Scope",)

    async def find(self, run: Run, wanted: ResourceDocument) -> Existing | None:
        """By `identifier`."""
        found = await store.list_rows(run.session, Resource, after="", limit=1, name=wanted.identifier)
        return _resource(found[0]) if found else None

    async def create(self, run: Run, wanted: ResourceDocument, prepared: None) -> Written:
        """Clients may ask for tokens for it."""
        with scope_refusals("resource"):
            return Written(_resource(await changes.add_resource(run.session, wanted, now=run.now)))

    async def change(self, run: Run, existing: Existing, wanted: ResourceDocument, prepared: None) -> Written:
        """As `PUT` does."""
        resource = await store.get_for_change(run.session, Resource, existing.id)
        with scope_refusals("resource"):
            await changes.change_resource(run.session, resource, wanted, now=run.now)
        return Written(_resource(resource))

    async def delete(self, run: Run, existing: Existing) -> None:
        """It is none any more."""
        await changes.delete(run.session, Resource, existing.id, now=run.now)

    async def page(self, session: Session, after: str, limit: int) -> Sequence[Existing]:
        """All of them."""
        return [_resource(each) for each in await store.list_by_id(session, Resource, after=after, limit=limit)]


def _scope(scope: Scope) -> Existing:
    return Existing(scope.id, scope.name, scope_of(scope).model_dump(mode="json"))


def _resource(resource: Resource) -> Existing:
    return Existing(resource.id, resource.name, resource_of(resource).model_dump(mode="json"))
