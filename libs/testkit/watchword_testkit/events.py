"""`expect_events`: what was really published while a block ran, read from JetStream."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from nats.aio.client import Client
from nats.js.errors import NotFoundError

from watchword_events.contracts import Event
from watchword_events.envelope import open_event
from watchword_events.names import Service


@dataclass(frozen=True)
class Published:
    """An event as the stream holds it."""

    type: str
    id: str
    event: Event
    subject: str
    body: str
    headers: dict[str, str]


@dataclass
class Seen:
    """The events of a block, in the order of each owner's stream; filled when the block is over."""

    events: list[Published] = field(default_factory=list)

    @property
    def types(self) -> list[str]:
        """Their types."""
        return [each.type for each in self.events]

    def of(self, type_: str) -> list[Published]:
        """Those of one type."""
        return [each for each in self.events if each.type == type_]


@asynccontextmanager
async def expect_events(
    client: Client, *wanted: type[Event] | tuple[type[Event], str], exactly: bool = False, within_s: float = 30.0
) -> AsyncIterator[Seen]:
    """After the block each wanted event has been published, once more for each time it is named.

    client: a NATS connection that may read every stream, as from `Platform.nats_client`.
    wanted: an event class, or one with the id of its aggregate.
    exactly: nothing else was published, which only an installation of the test's own can promise.
    Raises AssertionError with what is missing.
    """
    js = client.jetstream()
    began = {service: (await js.stream_info(service.stream)).state.last_seq for service in Service}
    seen = Seen()
    yield seen
    deadline = time.monotonic() + within_s
    while True:
        seen.events = [event for service in Service for event in await _since(client, service, began[service])]
        missing = _missing(wanted, seen.events)
        if not missing or time.monotonic() > deadline:
            break
        await asyncio.sleep(0.03)
    assert not missing, f"not published within {within_s} s: {missing}; published: {seen.types}"
    if exactly:
        extra = sorted(seen.types, key=str)
        for each in wanted:
            extra.remove((each[0] if isinstance(each, tuple) else each).type_name())
        assert not extra, f"also published: {extra}"


async def _since(client: Client, service: Service, sequence: int) -> list[Published]:
    js = client.jetstream()
    last = (await js.stream_info(service.stream)).state.last_seq
    found = []
    for number in range(sequence + 1, last + 1):
        try:
            message = await js.get_msg(service.stream, number)
        except NotFoundError:
            continue
        headers, body = dict(message.headers or {}), message.data or b""
        event = open_event(headers, body)
        subject = message.subject or ""
        found.append(Published(event.type_name(), event.id, event, subject, body.decode(), headers))
    return found


def _missing(wanted: Sequence[type[Event] | tuple[type[Event], str]], events: list[Published]) -> list[str]:
    left = list(events)
    missing = []
    for each in wanted:
        kind, id_ = each if isinstance(each, tuple) else (each, None)
        found = next((e for e in left if isinstance(e.event, kind) and id_ in {None, e.id}), None)
        if found is None:
            missing.append(kind.type_name() + (f" {id_}" if id_ else ""))
        else:
            left.remove(found)
    return missing
