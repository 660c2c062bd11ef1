"""HTTP edge for other services and for programs that follow events."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import StreamingResponse

from watchword_admin import client_documents, provider_documents, store
from watchword_admin.edge import LedgerAway, Parts
from watchword_admin.streams import event_stream, wanted_types
from watchword_database import Database, transaction
from watchword_events.exports import ClientExport, Exported, ProviderExport
from watchword_events.names import Service
from watchword_runtime.access import Caller
from watchword_runtime.internal import Exporter, ExportQuery
from watchword_runtime.internal import router as internal_router
from watchword_web.errors import Problem


def event_router(parts: Parts) -> APIRouter:
    """`/api/v1/events/stream`."""
    router = APIRouter(prefix="/api/v1/events")
    listener = Annotated[Caller, Depends(parts.listener)]

    @router.get("/stream", response_class=StreamingResponse)
    async def stream_events(
        request: Request, _caller: listener, types: Annotated[str | None, Query(max_length=2048)] = None
    ) -> StreamingResponse:
        """Public events as they happen, as server-sent events with a CloudEvents JSON document each.

        types: only these, separated by commas. The stream ends when the credential does.
        """

        async def may_read() -> bool:
            try:
                await parts.listener(request)
            except (Problem, LedgerAway):
                return False
            return True

        return event_stream(parts.live, wanted_types(types), may_read)

    return router


def client_exporter(database: Database) -> Exporter:
    """What `GET /internal/export/client` answers."""

    async def export_clients(query: ExportQuery) -> Sequence[Exported[ClientExport]]:
        async with transaction(database) as session:
            found = await store.export_clients(session, ids=query.ids, after=query.after, limit=query.limit)
            secrets = await store.secrets_of(session, [client.id for client in found])
        return [client_documents.export(client, secrets[client.id]) for client in found]

    return export_clients


def provider_exporter(database: Database) -> Exporter:
    """What `GET /internal/export/provider` answers."""

    async def export_providers(query: ExportQuery) -> Sequence[Exported[ProviderExport]]:
        async with transaction(database) as session:
            found = await store.export_providers(session, ids=query.ids, after=query.after, limit=query.limit)
        return [provider_documents.export(provider) for provider in found]

    return export_providers


def internal(parts: Parts) -> APIRouter:
    """The exports, for authenticated services only."""
    exporters = {"client": client_exporter(parts.database), "provider": provider_exporter(parts.database)}
    return internal_router(parts.settings.keyring, Service.ADMIN, exporters, now=parts.now)
