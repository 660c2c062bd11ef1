"""What happened since a time, read again from the stream. See README.md."""

import json
from collections.abc import Callable
from typing import Any

from nats.aio.client import Client

React = Callable[[dict[str, str], dict[str, Any]], None]


async def replay(client: Client, since: str, react: React) -> None:
    """Reacts to every stored event from then on, in order.  since: as RFC 3339."""
    question: dict[str, Any] = {"start_time": since}
    while question:
        question = await _read_batch(client, question, react)


async def _read_batch(client: Client, question: dict[str, Any], react: React) -> dict[str, Any]:
    """Reacts to a hundred stored events; comes back with the question for the next, or with nothing."""
    inbox = client.new_inbox()
    answers = await client.subscribe(inbox)
    ask = json.dumps({**question, "next_by_subj": "auth.>", "batch": 100})
    await client.publish("$JS.events.API.DIRECT.GET.EVENTS", ask.encode(), reply=inbox)
    last = 0
    while True:
        message = await answers.next_msg(timeout=10)
        headers = message.headers or {}
        if "Status" in headers:  # the end of the batch, or nothing found
            await answers.unsubscribe()
            return {"seq": last + 1} if last else {}
        react(headers, json.loads(message.data))
        last = int(headers["Nats-Sequence"])
