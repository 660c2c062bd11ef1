"""Streams, durables and events for tests: what provisioning and a relay do."""

from uuid import uuid4

import nats
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import StreamConfig
from nats.js.errors import NotFoundError

from watchword_events.catalogue import Durable, durables, row_of
from watchword_events.contracts import ClientUpdated, Event
from watchword_events.envelope import headers_of
from watchword_events.names import Service
from watchword_runtime.clock import utc_now
from watchword_runtime.durables import consumer_config

DURABLE = "authz-client"
SUBJECT = "auth.admin.client.*"
STREAM = Service.ADMIN.stream


def durable(name: str = DURABLE) -> Durable:
    return next(each for each in durables() if each.name == name)


def event_headers(event: Event, event_id: str) -> dict[str, str]:
    row, at = row_of(event), utc_now()
    return headers_of(row.type, row.owner, event_id=event_id, aggregate_id=event.id, version=event.version, at=at)


class Owner:
    """`admin`, as far as its events go."""

    def __init__(self, nc: Client) -> None:
        self.nc = nc
        self.js: JetStreamContext = nc.jetstream(timeout=2)

    @classmethod
    async def connected(cls, url: str) -> "Owner":
        return cls(await nats.connect(url, reconnect_time_wait=0.1, max_reconnect_attempts=-1))

    async def provision(self) -> None:
        """An empty stream and the durable that reads it."""
        await self.wipe()
        await self.js.add_stream(StreamConfig(name=STREAM, subjects=[f"auth.{Service.ADMIN.value}.>"]))
        await self.add_durable()

    async def wipe(self) -> None:
        try:
            await self.js.delete_stream(STREAM)
        except NotFoundError:
            return

    async def add_durable(self) -> None:
        await self.js.add_consumer(STREAM, consumer_config(durable()))

    async def publish(self, event: Event) -> str:
        """The id of the published event."""
        event_id = str(uuid4())
        headers = event_headers(event, event_id)
        await self.js.publish(
            row_of(event).subject, event.model_dump_json().encode(), stream=event.owner.stream, headers=headers
        )
        return event_id

    async def update(self, *ids: str, version: int = 1) -> list[str]:
        return [await self.publish(ClientUpdated(id=each, version=version)) for each in ids]

    async def publish_raw(
        self, headers: dict[str, str], body: bytes, subject: str = "auth.admin.client.updated"
    ) -> None:
        await self.js.publish(subject, body, stream=STREAM, headers=headers)

    async def unfinished(self) -> int:
        """Events that the durable has not been told to be done with."""
        info = await self.js.consumer_info(STREAM, DURABLE)
        return int(info.num_pending or 0) + int(info.num_ack_pending or 0)

    async def close(self) -> None:
        await self.nc.close()
