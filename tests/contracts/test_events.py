"""The event contracts: golden examples are added, never edited; old ones must stay readable for ever."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from watchword_events.asyncapi import document
from watchword_events.catalogue import BY_TYPE, CATALOGUE, Row, durables
from watchword_events.contracts import Event
from watchword_events.envelope import UnknownEvent, headers_of, open_event
from watchword_events.names import Service

EXAMPLES = Path(__file__).parent / "examples"
ROWS = [pytest.param(row, id=row.type) for row in CATALOGUE]
FORBIDDEN = {"email", "name", "username", "given_name", "family_name", "phone", "address", "secret", "password", "ip"}


def all_subclasses(cls: type[Event]) -> set[type[Event]]:
    return {cls} | {deep for sub in cls.__subclasses__() for deep in all_subclasses(sub)}


def test_every_event_class_has_a_row_and_every_type_is_unique() -> None:
    concrete = {cls for cls in all_subclasses(Event) if "fact" in vars(cls)}
    assert {row.event for row in CATALOGUE} == concrete
    assert len(BY_TYPE) == len(CATALOGUE)


@pytest.mark.parametrize("row", ROWS)
def test_golden_example_reads_back_to_the_same_event(row: Row) -> None:
    body = (EXAMPLES / f"{row.type}.json").read_bytes()
    event = row.event.model_validate_json(body)
    assert json.loads(event.model_dump_json()) == json.loads(body)


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.spec("CloudEvents 1.0.2 3.1; CloudEvents NATS binding 3.2")
def test_headers_and_body_open_to_the_same_event(row: Row) -> None:
    body = (EXAMPLES / f"{row.type}.json").read_bytes()
    event = row.event.model_validate_json(body)
    given = {"aggregate_id": event.id, "version": event.version, "at": datetime(2026, 1, 2, tzinfo=UTC)}
    headers = headers_of(row.type, row.owner, event_id="e-1", **given)
    assert headers["ce-id"] == headers["Nats-Msg-Id"] == "e-1"
    assert headers["ce-source"] == f"urn:watchword:{row.owner.value}"
    assert open_event(headers, body) == event


@pytest.mark.parametrize("row", ROWS)
def test_unknown_fields_of_a_newer_release_are_ignored(row: Row) -> None:
    body = json.loads((EXAMPLES / f"{row.type}.json").read_bytes()) | {"added_in_release_n": {"deep": [1]}}
    assert "added_in_release_n" not in row.event.model_validate(body).model_dump()


@pytest.mark.parametrize("row", ROWS)
def test_no_event_carries_personal_data_or_a_secret(row: Row) -> None:
    assert not FORBIDDEN & set(row.event.model_fields)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        pytest.param({}, b"{}", id="no-type"),
        pytest.param({"ce-type": "user.promoted"}, b'{"id":"u","version":1}', id="unknown-type"),
        pytest.param({"ce-type": "user.disabled"}, b"not json", id="no-json"),
        pytest.param({"ce-type": "user.disabled"}, b"[]", id="no-object"),
        pytest.param({"ce-type": "user.disabled"}, b'{"id":"","version":1,"claims_version":1}', id="empty-id"),
        pytest.param({"ce-type": "user.disabled"}, b'{"id":"u","version":0,"claims_version":1}', id="version-0"),
        pytest.param({"ce-type": "user.disabled"}, b'{"id":"u"}', id="no-version"),
        pytest.param({"ce-type": "user.disabled"}, b"\xff\xfe", id="no-utf-8"),
    ],
)
def test_what_is_no_event_is_refused(headers: dict[str, str], body: bytes) -> None:
    with pytest.raises(UnknownEvent):
        open_event(headers, body)


@pytest.mark.spec("AsyncAPI 3.0.0")
def test_schemas_and_asyncapi_cover_the_catalogue() -> None:
    made = document("1.2.3")
    assert made["asyncapi"] == "3.0.0"
    channels = made["channels"]
    assert isinstance(channels, dict)
    assert set(channels) == set(BY_TYPE)
    servers = made["servers"]
    assert isinstance(servers, dict)
    assert "nats" in servers
    reader = made["x-reader"]
    assert isinstance(reader, dict)
    assert reader["requests"] == {
        "look at its consumer": "$JS.events.API.CONSUMER.INFO.EVENTS.{name}",
        "fetch from its consumer": "$JS.events.API.CONSUMER.MSG.NEXT.EVENTS.{name}",
        "read again": "$JS.events.API.DIRECT.GET.EVENTS",
        "acknowledge": "$JS.ACK.EVENTS.{name}.>",
    }


def test_a_durable_belongs_to_one_service_and_one_stream() -> None:
    for durable in durables():
        assert durable.name.startswith(durable.service.value + "-")
        assert durable.stream in {service.stream for service in Service}
        assert durable.subject.endswith(".*")
