"""HTTP edge for other services and for programs that follow events."""

from collections.abc import Sequence
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import StreamingResponse

from watchword_admin import client_documents, provider_kinds, store
from watchword_admin.branding import documents as branding_documents
from watchword_admin.branding import store as brandings
from watchword_admin.edge import Parts
from watchword_admin.issuers import documents as issuer_documents
from watchword_admin.issuers import store as issuers
from watchword_admin.models import Resource, Scope
from watchword_admin.registration.documents import Documents
from watchword_admin.rules import documents as rule_documents
from watchword_admin.rules import store as rules
from watchword_admin.scopes import documents as scope_documents
from watchword_admin.scopes import store as scopes
from watchword_admin.streams import event_stream, wanted_types
from watchword_database import Database, transaction
from watchword_events.exports import (
    BrandingExport,
    ClientExport,
    Exported,
    IssuerExport,
    ProviderExport,
    ResourceExport,
    RuleExport,
    ScopeExport,
)
from watchword_events.names import Service
from watchword_runtime.access import Caller
from watchword_runtime.feed import FeedAway
from watchword_runtime.internal import Exporter, ExportQuery
from watchword_runtime.internal import router as internal_router
from watchword_runtime.plans_api import apply_path
from watchword_web.errors import Problem

SCHEMA: Final = "/api/v1/schema"
# Who has documents of its own.
OWNERS: Final = (Service.DIRECTORY, Service.ADMIN)
LOOKUPS: Final = {"issuer": frozenset({"iss"})}


def event_router(parts: Parts) -> APIRouter:
    """`/api/v1/events/stream`."""
    router = APIRouter(prefix="/api/v1/events")
    listener = Annotated[Caller, Depends(parts.listener)]

    @router.get("/stream", response_class=StreamingResponse)
    async def stream_events(
        request: Request, _caller: listener, types: Annotated[str | None, Query(max_length=2048)] = None
    ) -> StreamingResponse:
        """Public events as they happen, as server-sent events with a CloudEvents JSON document each.

        types: only these, separated by commas, `client.*` for several. The stream ends when the credential does.
        """

        async def may_read() -> bool:
            try:
                await parts.listener(request)
            except (Problem, FeedAway):
                return False
            return True

        return event_stream(parts.live, wanted_types(types), may_read)

    return router


def schema_router(public_url: str) -> APIRouter:
    """`/api/v1/schema`: of every document that `watchword apply` takes, whoever owns it."""
    router = APIRouter()
    schemas = [f"{public_url}{apply_path(owner)}/schema" for owner in OWNERS]

    @router.get(SCHEMA, openapi_extra={"security": []})
    async def get_document_schemas() -> dict[str, Any]:
        """JSON Schema of all documents, for the header of a file that an editor looks at."""
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "oneOf": [{"$ref": schema} for schema in schemas],
        }

    return router


def client_exporter(database: Database, documents: Documents) -> Exporter:
    """What `GET /internal/export/client` answers. Who asks for a document on the web gets it as it is there now."""

    async def export_clients(query: ExportQuery) -> Sequence[Exported[ClientExport]]:
        await documents.read(query.ids)
        async with transaction(database) as session:
            found = await store.export_clients(session, ids=query.ids, after=query.after, limit=query.limit)
            secrets = await store.secrets_of(session, [client.id for client in found])
        return [client_documents.export(client, secrets[client.id]) for client in found]

    return export_clients


def provider_exporter(database: Database) -> Exporter:
    """What `GET /internal/export/provider` answers."""

    async def export_providers(query: ExportQuery) -> Sequence[Exported[ProviderExport]]:
        found = await store.export_providers(database, ids=query.ids, after=query.after, limit=query.limit)
        return [provider_kinds.export(provider) for provider in found]

    return export_providers


def rule_exporter(database: Database) -> Exporter:
    """What `GET /internal/export/rule` answers."""

    async def export_rules(query: ExportQuery) -> Sequence[Exported[RuleExport]]:
        async with transaction(database) as session:
            found = await rules.export_rules(session, ids=query.ids, after=query.after, limit=query.limit)
            named = await rules.named_by(session, found)
        return [rule_documents.export(rule, named) for rule in found]

    return export_rules


def issuer_exporter(database: Database) -> Exporter:
    """What `GET /internal/export/issuer` answers, by `iss` as well."""

    async def export_issuers(query: ExportQuery) -> Sequence[Exported[IssuerExport]]:
        iss = query.lookup[1] if query.lookup else None
        async with transaction(database) as session:
            found = await issuers.export_issuers(session, ids=query.ids, iss=iss, after=query.after, limit=query.limit)
        return [issuer_documents.export(issuer) for issuer in found]

    return export_issuers


def scope_exporter(database: Database) -> Exporter:
    """What `GET /internal/export/scope` answers."""

    async def export_scopes(query: ExportQuery) -> Sequence[Exported[ScopeExport]]:
        async with transaction(database) as session:
            found = await scopes.export_rows(session, Scope, ids=query.ids, after=query.after, limit=query.limit)
        return [scope_documents.export_scope(scope) for scope in found]

    return export_scopes


def resource_exporter(database: Database) -> Exporter:
    """What `GET /internal/export/resource` answers."""

    async def export_resources(query: ExportQuery) -> Sequence[Exported[ResourceExport]]:
        async with transaction(database) as session:
            found = await scopes.export_rows(session, Resource, ids=query.ids, after=query.after, limit=query.limit)
        return [scope_documents.export_resource(resource) for resource in found]

    return export_resources


def branding_exporter(database: Database) -> Exporter:
    """What `GET /internal/export/branding` answers."""

    async def export_branding(query: ExportQuery) -> Sequence[Exported[BrandingExport]]:
        async with transaction(database) as session:
            found = await brandings.export_branding(session, ids=query.ids, after=query.after)
        return [branding_documents.export(branding) for branding in found]

    return export_branding


def internal(parts: Parts) -> APIRouter:
    """The exports, for authenticated services only."""
    exporters = {
        "client": client_exporter(parts.database, parts.documents),
        "provider": provider_exporter(parts.database),
        "rule": rule_exporter(parts.database),
        "issuer": issuer_exporter(parts.database),
        "scope": scope_exporter(parts.database),
        "resource": resource_exporter(parts.database),
        "branding": branding_exporter(parts.database),
    }
    keyring, clients = parts.settings.keyring, parts.internal
    return internal_router(keyring, Service.ADMIN, exporters, lookups=LOOKUPS, now=parts.now, clients=clients)
