"""A consumer in a process of its own that dies right after its commit, before the broker hears of it.

It reads its orders from standard input: `database_url`, `nats_url`, `keys`, and `dies`, whether this is the life that
ends so.
"""

import asyncio
import json
import os
import signal
import sys

from sqlalchemy import text

from watchword_database.engine import Database, transaction
from watchword_database.inbox import claim_event
from watchword_events.names import Service
from watchword_runtime import logging
from watchword_runtime.broker import Broker, Received
from watchword_runtime.settings import ServiceSettings

CONSUMER = "admin-user"
SUBJECT = "auth.directory.user.*"


async def consume(settings: ServiceSettings, *, dies: bool) -> None:
    """Every event is counted once, until somebody ends the process."""
    database = Database(settings.database_url.get_secret_value(), service=Service.ADMIN)
    broker = Broker(settings, database)

    async def handle(received: list[Received]) -> None:
        async with transaction(database) as session:
            connection = await session.connection()
            for each in received:
                if await claim_event(session, consumer=CONSUMER, event_id=each.event_id):
                    await connection.execute(text("UPDATE admin.effects SET times = times + 1"))
        if dies:
            os.kill(os.getpid(), signal.SIGKILL)

    broker.work(CONSUMER, SUBJECT, handle)
    await broker.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    orders = json.load(sys.stdin)
    dies = bool(orders.pop("dies"))
    logging.configure("consumer")
    asyncio.run(consume(ServiceSettings(**orders), dies=dies))
