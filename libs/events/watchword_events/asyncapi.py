"""The AsyncAPI 3 document and the JSON Schemas of the catalogue: made from code, so that they cannot drift."""

from collections.abc import Iterable

from pydantic import JsonValue

from watchword_events.catalogue import CATALOGUE, Row
from watchword_events.teams import (
    ALL_EVENTS,
    EVENTS_API,
    EVENTS_DOMAIN,
    EVENTS_KEPT_DAYS,
    EVENTS_STREAM,
    FEED_SUBJECT,
    RECEIPTS_SUBJECT,
    ack_subject,
    api_calls,
)

_DESCRIPTION = (
    "Facts that the services of Watchword publish on NATS JetStream. Bodies carry ids and versions only; attributes "
    "travel as CloudEvents 1.0 headers (binary mode). Truth is the owner's database: an event is a hint to look again."
)


def document(version: str, rows: Iterable[Row] = CATALOGUE) -> dict[str, JsonValue]:
    """The AsyncAPI document of the given rows. Spec: AsyncAPI 3.0.0."""
    channels: dict[str, JsonValue] = {}
    operations: dict[str, JsonValue] = {}
    messages: dict[str, JsonValue] = {}
    for row in rows:
        name = row.event.__name__
        messages[name] = {
            "name": row.type,
            "title": name,
            "summary": (row.event.__doc__ or "").strip().splitlines()[0],
            "contentType": "application/json",
            "headers": {"$ref": "#/components/schemas/CloudEventHeaders"},
            "payload": {"$ref": f"#/components/schemas/{name}"},
            "x-public": row.public,
            "x-consumers": [service.value for service in row.consumers],
        }
        channels[row.type] = {
            "address": row.subject,
            "messages": {name: {"$ref": f"#/components/messages/{name}"}},
        }
        operations[f"publish.{row.type}"] = {
            "action": "send",
            "channel": {"$ref": f"#/channels/{row.type}"},
            "summary": f"Published by {row.owner.value}",
        }
    schemas: dict[str, JsonValue] = {row.event.__name__: row.event.model_json_schema() for row in rows}
    schemas["CloudEventHeaders"] = _headers()
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Watchword events", "version": version, "description": _DESCRIPTION},
        "servers": {"nats": _server()},
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": schemas, "securitySchemes": {"grant": _GRANT}},
        "x-reader": _reader(),
    }


_GRANT: dict[str, JsonValue] = {
    "type": "asymmetricEncryption",
    "description": "The nkey that `watchword events grant NAME` writes to a file.",
}


def _server() -> dict[str, JsonValue]:
    return {
        "host": "{host}:{port}",
        "protocol": "nats",
        "description": "Where `docker compose up` publishes nats-server; `watchword up` says it in access.json.",
        "variables": {"host": {"default": "127.0.0.1"}, "port": {"default": "4222"}},
        "security": [{"$ref": "#/components/securitySchemes/grant"}],
    }


def _reader() -> dict[str, JsonValue]:
    """What the holder of a grant may do: everything else is refused. `{name}` is the grant's."""
    requests: dict[str, JsonValue] = {purpose: f"{EVENTS_API}.{call}" for purpose, call in api_calls("{name}").items()}
    return {
        "description": "Listens to public channels, and reads them again from a stream of copies. Publishes nothing.",
        "subscribe": [ALL_EVENTS, "_INBOX.>"],
        "subscribe-with-feed": [FEED_SUBJECT, RECEIPTS_SUBJECT],
        "stream": EVENTS_STREAM,
        "domain": EVENTS_DOMAIN,
        "consumer": "{name}",
        "kept-days": EVENTS_KEPT_DAYS,
        "requests": {**requests, "acknowledge": ack_subject("{name}")},
    }


def _headers() -> dict[str, JsonValue]:
    names = ("ce-specversion", "ce-id", "ce-type", "ce-source", "ce-time", "ce-subject", "ce-sequence")
    return {
        "type": "object",
        "required": [*names, "Nats-Msg-Id"],
        "properties": {name: {"type": "string"} for name in (*names, "Nats-Msg-Id", "traceparent")},
    }
