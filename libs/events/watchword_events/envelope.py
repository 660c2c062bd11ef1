"""CloudEvents 1.0 in NATS binary mode: attributes travel as `ce-…` headers, the body is the event's JSON."""

from collections.abc import Mapping
from datetime import datetime

from pydantic import ValidationError

from watchword_events.catalogue import BY_TYPE
from watchword_events.contracts import Event
from watchword_events.names import Service


class UnknownEvent(ValueError):
    """The message is no event of the catalogue, or its body does not fit its type."""


def headers_of(
    event_type: str,
    owner: Service,
    *,
    event_id: str,
    aggregate_id: str,
    version: int,
    at: datetime,
    traceparent: str | None = None,
) -> dict[str, str]:
    """The headers of an event; `Nats-Msg-Id` makes JetStream drop a second copy.

    event_type: need not be in the catalogue: instances of two releases write into one outbox.

    Spec: CloudEvents 1.0.2 3.1; CloudEvents NATS binding 3.2.
    """
    headers = {
        "ce-specversion": "1.0",
        "ce-id": event_id,
        "ce-type": event_type,
        "ce-source": f"urn:watchword:{owner.value}",
        "ce-time": at.isoformat(),
        "ce-subject": aggregate_id,
        "ce-sequence": str(version),
        "ce-datacontenttype": "application/json",
        "Nats-Msg-Id": event_id,
    }
    if traceparent:
        headers["traceparent"] = traceparent
    return headers


def open_event(headers: Mapping[str, str], body: bytes) -> Event:
    """The event in a message. Raises UnknownEvent when its type is not known or the body does not fit."""
    row = BY_TYPE.get(headers.get("ce-type", ""))
    if row is None:
        raise UnknownEvent(f"type {headers.get('ce-type', '')[:64]!r}")
    try:
        return row.event.model_validate_json(body)
    except ValidationError as error:
        raise UnknownEvent(f"{row.type}: {error.error_count()} errors in the body") from error
