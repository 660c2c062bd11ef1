"""Prints who was disabled and which key took over, and goes on where it stopped. See README.md."""

import os
from typing import Any

from faststream import AckPolicy, FastStream
from faststream.nats import JStream, NatsBroker, NatsMessage, PullSub
from faststream.nats.security import NatsNKey
from replay import replay

NAME = os.environ["EVENTS_NAME"]  # as it was granted: also the name of our consumer
broker = NatsBroker(
    os.environ["EVENTS_URL"],
    security=NatsNKey(os.environ["EVENTS_KEY_FILE"]),
    js_options={"domain": "events"},
    reconnect_time_wait=1,
    max_reconnect_attempts=-1,  # for ever; the default gives up after two minutes
)
app = FastStream(broker)
seen: set[str] = set()  # of a real program: a table, kept for a week


def react(headers: dict[str, str], event: dict[str, Any]) -> None:
    """What this program is for. An event may come twice: once is enough."""
    if headers["ce-id"] in seen:
        return
    match headers["ce-type"]:
        case "user.disabled":
            print(f"user {event['id']} was disabled (version {event['version']})", flush=True)
        case "key.rotated":
            print(f"key {event['id']} signs from now on", flush=True)
    seen.add(headers["ce-id"])


@broker.subscriber(
    "auth.>",
    stream=JStream("EVENTS", declare=False),
    durable=NAME,
    pull_sub=PullSub(batch_size=1, timeout=5),  # one after the other: in order
    ack_policy=AckPolicy.NACK_ON_ERROR,  # an exception brings the event back
)
async def on_event(event: dict[str, Any], message: NatsMessage) -> None:
    react(message.headers, event)


@app.after_startup
async def read_again() -> None:
    """Everything since EVENTS_SINCE, such as 2026-11-23T08:00:00Z, whatever was acknowledged meanwhile."""
    if since := os.environ.get("EVENTS_SINCE"):
        await replay(await broker.connect(), since, react)
