"""What comes next for a webhook, and how it is written."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from watchword_admin.audit import store as audit_store
from watchword_admin.audit.documents import AuditEntry, view
from watchword_admin.models import Webhook, WebhookEvent
from watchword_admin.store import issuers_of_providers
from watchword_admin.webhooks import store
from watchword_admin.webhooks.documents import About, WebhookDocument
from watchword_database import Session

MOST: Final = 100
MOST_BYTES: Final = 256 * 1024
_READ: Final = 500


@dataclass(frozen=True, slots=True)
class Batch:
    """What is behind the webhook's place, up to `until`. items: JSON of those that it wants."""

    items: list[bytes]
    until: int


async def next_batch(session: Session, webhook: Webhook, document: WebhookDocument, *, issuer: str) -> Batch:
    """At most a hundred items, or 256 KiB; none when nothing that is wanted was found so far."""
    batch = Batch([], webhook.after)
    issuers = await issuers_of_providers(session) if document.about is About.AUDIT else {}
    size, until = 0, webhook.after
    for seq, item in await _read(session, webhook, document, issuer=issuer, issuers=issuers):
        if item is not None:
            size += len(item)
            if batch.items and (size > MOST_BYTES or len(batch.items) == MOST):
                break
            batch.items.append(item)
        until = seq
    return Batch(batch.items, until)


async def _read(
    session: Session, webhook: Webhook, document: WebhookDocument, *, issuer: str, issuers: Mapping[str, str]
) -> list[tuple[int, bytes | None]]:
    """Numbers with what is sent; None for what is not wanted."""
    if document.about is About.EVENTS:
        return [
            (event.id or 0, _event(event) if document.wants(event.type, None) else None)
            for event in await store.events_after(session, webhook.after, _READ)
        ]
    found: list[tuple[int, bytes | None]] = []
    for entry in await audit_store.entries_after(session, webhook.after, _READ):
        shown = view(entry, issuer=issuer, issuers=issuers)
        wanted = document.wants(shown.action, shown.method)
        found.append((entry.seq, _written(shown, document.dialect) if wanted else None))
    return found


def _written(entry: AuditEntry, dialect: str) -> bytes:
    if dialect == "watchword":
        return entry.model_dump_json(exclude_none=True).encode()
    return orjson.dumps(
        {
            "event": "api_access",
            "actor": entry.actor.model_dump(include={"sub", "name", "issuer", "fed_issuer"}, exclude_none=True),
            "path": entry.path,
            "method": entry.method,
            "actions": entry.actions,
            "response_code": entry.response_code,
            "time": entry.at,
        }
    )


def _event(event: WebhookEvent) -> bytes:
    """Spec: CloudEvents 1.0.2 JSON Event Format 2."""
    said: dict[str, Any] = {
        "specversion": "1.0",
        "id": str(event.event_id),
        "type": event.type,
        "source": f"urn:watchword:{event.subject.split('.')[1]}",
        "subject": event.body.get("id"),
        "time": event.at,
        "datacontenttype": "application/json",
        "data": event.body,
    }
    return orjson.dumps(said)
