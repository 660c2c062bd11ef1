"""HTTP edge of `/api/v1/scopes` and `/api/v1/resources`."""

from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Query, Response
from pydantic import Field, JsonValue

from watchword_admin.api import Listing
from watchword_admin.edge import Parts, not_found
from watchword_admin.merging import merged
from watchword_admin.models import Resource, Scope
from watchword_admin.scopes import changes, documents, store
from watchword_admin.scopes.documents import ResourceDocument, ResourceView, ScopeDocument, ScopeView
from watchword_admin.scopes.refusals import scope_refusals
from watchword_database import transaction
from watchword_runtime.access import Caller
from watchword_runtime.callers import actor
from watchword_web.api import Page

log = structlog.get_logger()

Id = Annotated[str, Field(max_length=64)]
Members = dict[str, JsonValue]


class ScopeListing(Listing):
    """Scopes by name."""

    scope_name: str | None = Field(None, max_length=128, alias="name")


class ResourceListing(Listing):
    """Resource servers by identifier."""

    identifier: str | None = Field(None, max_length=255)


def scope_router(parts: Parts) -> APIRouter:
    """`/api/v1/scopes`, for administrators only."""
    router = APIRouter(prefix="/api/v1/scopes")
    administrator = Annotated[Caller, Depends(parts.callers.administrator)]

    @router.post("", status_code=201)
    async def add_scope(body: ScopeDocument, caller: administrator, response: Response) -> ScopeView:
        """A new scope, which clients may have from now on."""
        with scope_refusals("scope"):
            async with transaction(parts.database) as session:
                scope = await changes.add_scope(session, body, now=parts.now())
        log.info("scope.added", scope_id=scope.id, name=body.name, **actor(caller))
        response.headers["Location"] = f"{parts.settings.public_url}/api/v1/scopes/{scope.id}"
        return documents.scope_view(scope)

    @router.get("")
    async def list_scopes(listing: Annotated[ScopeListing, Query()], _caller: administrator) -> Page[ScopeView]:
        """Scopes in the order of their names; those that every installation has are not among them."""
        after = str(parts.cursor.read(listing.name, listing.cursor)[0]) if listing.cursor else ""
        async with transaction(parts.database) as session:
            found = await store.list_rows(session, Scope, after=after, limit=listing.limit + 1, name=listing.scope_name)
        shown = found[: listing.limit]
        more = len(found) > listing.limit
        return Page(
            items=[documents.scope_view(scope) for scope in shown],
            next=parts.cursor.make(listing.name, shown[-1].name) if more else None,
        )

    @router.get("/{scope_id}")
    async def get_scope(scope_id: Id, _caller: administrator) -> ScopeView:
        """One scope."""
        async with transaction(parts.database) as session:
            scope = await store.find(session, Scope, scope_id)
        if scope is None:
            raise not_found("scope")
        return documents.scope_view(scope)

    @router.put("/{scope_id}")
    async def replace_scope(scope_id: Id, body: ScopeDocument, caller: administrator) -> ScopeView:
        """The scope as described; what is left out returns to its default. Its name stays."""
        with scope_refusals("scope"):
            async with transaction(parts.database) as session:
                scope = await store.get_for_change(session, Scope, scope_id)
                await changes.change_scope(session, scope, body, now=parts.now())
        log.info("scope.changed", scope_id=scope_id, fields=sorted(body.model_fields_set), **actor(caller))
        return documents.scope_view(scope)

    @router.patch("/{scope_id}")
    async def update_scope(scope_id: Id, body: Members, caller: administrator) -> ScopeView:
        """The members that are present change; null returns one to its default. Spec: RFC 7396 2."""
        with scope_refusals("scope"):
            async with transaction(parts.database) as session:
                scope = await store.get_for_change(session, Scope, scope_id)
                document = ScopeDocument.model_validate(merged(documents.scope_of(scope), body))
                await changes.change_scope(session, scope, document, now=parts.now())
        log.info("scope.changed", scope_id=scope_id, fields=sorted(body), **actor(caller))
        return documents.scope_view(scope)

    @router.delete("/{scope_id}", status_code=204)
    async def delete_scope(scope_id: Id, caller: administrator) -> None:
        """The scope opens nothing any more."""
        with scope_refusals("scope"):
            async with transaction(parts.database) as session:
                await changes.delete(session, Scope, scope_id, now=parts.now())
        log.info("scope.deleted", scope_id=scope_id, **actor(caller))

    return router


def resource_router(parts: Parts) -> APIRouter:
    """`/api/v1/resources`, for administrators only."""
    router = APIRouter(prefix="/api/v1/resources")
    administrator = Annotated[Caller, Depends(parts.callers.administrator)]

    @router.post("", status_code=201)
    async def add_resource(body: ResourceDocument, caller: administrator, response: Response) -> ResourceView:
        """A new resource server, for which clients may have tokens from now on."""
        with scope_refusals("resource"):
            async with transaction(parts.database) as session:
                resource = await changes.add_resource(session, body, now=parts.now())
        log.info("resource.added", resource_id=resource.id, identifier=body.identifier, **actor(caller))
        response.headers["Location"] = f"{parts.settings.public_url}/api/v1/resources/{resource.id}"
        return documents.resource_view(resource)

    @router.get("")
    async def list_resources(
        listing: Annotated[ResourceListing, Query()], _caller: administrator
    ) -> Page[ResourceView]:
        """Resource servers in the order of their identifiers."""
        after = str(parts.cursor.read(listing.name, listing.cursor)[0]) if listing.cursor else ""
        async with transaction(parts.database) as session:
            found = await store.list_rows(
                session, Resource, after=after, limit=listing.limit + 1, name=listing.identifier
            )
        shown = found[: listing.limit]
        more = len(found) > listing.limit
        return Page(
            items=[documents.resource_view(resource) for resource in shown],
            next=parts.cursor.make(listing.name, shown[-1].name) if more else None,
        )

    @router.get("/{resource_id}")
    async def get_resource(resource_id: Id, _caller: administrator) -> ResourceView:
        """One resource server."""
        async with transaction(parts.database) as session:
            resource = await store.find(session, Resource, resource_id)
        if resource is None:
            raise not_found("resource")
        return documents.resource_view(resource)

    @router.put("/{resource_id}")
    async def replace_resource(resource_id: Id, body: ResourceDocument, caller: administrator) -> ResourceView:
        """The resource server as described; what is left out returns to its default. Its identifier stays."""
        with scope_refusals("resource"):
            async with transaction(parts.database) as session:
                resource = await store.get_for_change(session, Resource, resource_id)
                await changes.change_resource(session, resource, body, now=parts.now())
        log.info("resource.changed", resource_id=resource_id, fields=sorted(body.model_fields_set), **actor(caller))
        return documents.resource_view(resource)

    @router.patch("/{resource_id}")
    async def update_resource(resource_id: Id, body: Members, caller: administrator) -> ResourceView:
        """The members that are present change; null returns one to its default. Spec: RFC 7396 2."""
        with scope_refusals("resource"):
            async with transaction(parts.database) as session:
                resource = await store.get_for_change(session, Resource, resource_id)
                document = ResourceDocument.model_validate(merged(documents.resource_of(resource), body))
                await changes.change_resource(session, resource, document, now=parts.now())
        log.info("resource.changed", resource_id=resource_id, fields=sorted(body), **actor(caller))
        return documents.resource_view(resource)

    @router.delete("/{resource_id}", status_code=204)
    async def delete_resource(resource_id: Id, caller: administrator) -> None:
        """The resource server is none any more; clients that list its identifier still get tokens for it."""
        with scope_refusals("resource"):
            async with transaction(parts.database) as session:
                await changes.delete(session, Resource, resource_id, now=parts.now())
        log.info("resource.deleted", resource_id=resource_id, **actor(caller))

    return router
