"""Streams and durable consumers, as the catalogue asks for them. Nothing else may create them.

What is missing is made, what has drifted is put right; messages are never deleted here. With `watch` this goes on, so
that a wiped JetStream is whole again in a second and the relays can refill it from their outboxes.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import nats
import structlog
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import ConsumerConfig, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import NotFoundError

from watchword.nats_conf import FEED_STREAM
from watchword_events.catalogue import durables
from watchword_events.names import Service
from watchword_runtime.durables import consumer_config

log = structlog.get_logger()

# Outboxes keep published rows a day longer, so that a lost stream can be refilled.
EVENTS_KEPT = timedelta(days=7)
# The longest life of an access token and a reserve; the ledger's table keeps entries as long as they matter.
FEED_KEPT = timedelta(days=2)
DUPLICATES_SEEN_WITHIN = timedelta(hours=1)
WATCH_EVERY_S = 1.0


def wanted_streams(replicas: int = 1) -> list[StreamConfig]:
    """One stream for each owner's events, and the revocation feed."""
    subjects = {service.stream: (f"auth.{service}.>", EVENTS_KEPT) for service in Service}
    subjects[FEED_STREAM] = ("feed.>", FEED_KEPT)
    return [
        StreamConfig(
            name=name,
            subjects=[subject],
            retention=RetentionPolicy.LIMITS,
            storage=StorageType.FILE,
            max_age=kept.total_seconds(),
            duplicate_window=DUPLICATES_SEEN_WITHIN.total_seconds(),
            max_bytes=256 * 1024 * 1024,
            max_msg_size=64 * 1024,
            num_replicas=replicas,
            deny_delete=True,
            deny_purge=True,
            allow_direct=False,
        )
        for name, (subject, kept) in subjects.items()
    ]


async def provision(js: JetStreamContext, *, replicas: int = 1) -> list[str]:
    """Every stream and durable of the catalogue exists as wanted; comes back with the names of those that changed."""
    changed = []
    for stream in wanted_streams(replicas):
        if await _ensure_stream(js, stream):
            changed.append(str(stream.name))
    for durable in durables():
        if await _ensure_consumer(js, durable.stream, consumer_config(durable)):
            changed.append(durable.name)
    return changed


async def watch(js: JetStreamContext, *, replicas: int = 1) -> None:
    """What is missing is made again within about a second, until cancelled."""
    while True:
        try:
            if changed := await provision(js, replicas=replicas):
                log.warning("provision.restored", names=changed)
        except (NatsError, OSError, TimeoutError) as error:
            log.info("provision.waiting", error=type(error).__name__)
        await asyncio.sleep(WATCH_EVERY_S)


@asynccontextmanager
async def connected(servers: Sequence[str], seed: str) -> AsyncIterator[Client]:
    """A connection as the provisioning user, reconnecting for as long as it is held."""
    client = await nats.connect(
        servers=list(servers),
        nkeys_seed_str=seed,
        name="watchword-provision",
        inbox_prefix=b"_INBOX_provision",
        reconnect_time_wait=0.2,
        max_reconnect_attempts=-1,
        ping_interval=2,
        max_outstanding_pings=2,
        connect_timeout=2,
        error_cb=_report,
    )
    try:
        yield client
    finally:
        with contextlib.suppress(NatsError, OSError):
            await client.close()


async def _report(error: Exception) -> None:
    log.info("provision.connection", error=type(error).__name__)


async def _ensure_stream(js: JetStreamContext, wanted: StreamConfig) -> bool:
    try:
        found = (await js.stream_info(str(wanted.name))).config
    except NotFoundError:
        await js.add_stream(wanted)
        return True
    fields = ("subjects", "max_age", "duplicate_window", "max_bytes", "max_msg_size", "num_replicas")
    if all(getattr(found, name) == getattr(wanted, name) for name in fields):
        return False
    await js.update_stream(wanted)
    return True


async def _ensure_consumer(js: JetStreamContext, stream: str, wanted: ConsumerConfig) -> bool:
    name = str(wanted.name)
    try:
        found = (await js.consumer_info(stream, name)).config
    except NotFoundError:
        await js.add_consumer(stream, wanted)
        return True
    fields = ("filter_subject", "ack_wait", "max_deliver", "max_ack_pending")
    if all(getattr(found, field) == getattr(wanted, field) for field in fields):
        return False
    await js.add_consumer(stream, wanted)
    return True
