"""Streams and durable consumers, as the catalogue asks for them. Nothing else may create them.

What is missing is made, what has drifted is put right; messages are never deleted here. With `watch` this goes on, so
that a wiped JetStream is whole again in a second and the relays can refill it from their outboxes.

EVENTS holds copies for other teams, and each grant has one durable consumer on it: teams cannot create any (ADR 11).
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import nats
import structlog
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    RetentionPolicy,
    StorageType,
    StreamConfig,
    StreamSource,
)
from nats.js.errors import NotFoundError

from watchword.grants import Grant
from watchword.installation import BrokenInstallation
from watchword.nats_conf import FEED_STREAM
from watchword_events.catalogue import durables
from watchword_events.names import Service
from watchword_events.teams import EVENTS_KEPT_DAYS, EVENTS_STREAM, copied_subjects, public_subjects
from watchword_runtime.durables import consumer_config

log = structlog.get_logger()

# Outboxes keep published rows a day longer, so that a lost stream can be refilled.
EVENTS_KEPT = timedelta(days=EVENTS_KEPT_DAYS)
# The longest life of an access token and a reserve; the ledger's table keeps entries as long as they matter.
FEED_KEPT = timedelta(days=2)
DUPLICATES_SEEN_WITHIN = timedelta(hours=1)
WATCH_EVERY_S = 1.0
# A team's program that has neither acknowledged nor refused an event by then is given it again.
_READER_ACK_S = 30.0
_READER_UNACKED = 1000
_READER_ASKING = 64
_GRANT = "watchword.grant"
_ORIGINS = "watchword.origins"  # when the streams that another copies were made


def wanted_streams(replicas: int = 1) -> list[StreamConfig]:
    """One stream for each owner's events, the revocation feed, and the copies for other teams."""
    subjects = {service.stream: (f"auth.{service}.>", EVENTS_KEPT) for service in Service}
    subjects[FEED_STREAM] = ("feed.>", FEED_KEPT)
    own = [_stream(name, kept, replicas, subjects=[subject]) for name, (subject, kept) in subjects.items()]
    copied = [StreamSource(name=stream, filter_subject=subject) for stream, subject in copied_subjects()]
    return [*own, _stream(EVENTS_STREAM, EVENTS_KEPT, replicas, sources=copied, allow_direct=True)]


def _stream(
    name: str,
    kept: timedelta,
    replicas: int,
    *,
    subjects: list[str] | None = None,
    sources: list[StreamSource] | None = None,
    allow_direct: bool = False,
) -> StreamConfig:
    return StreamConfig(
        name=name,
        subjects=subjects,
        sources=sources,
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        max_age=kept.total_seconds(),
        duplicate_window=DUPLICATES_SEEN_WITHIN.total_seconds(),
        max_bytes=256 * 1024 * 1024,
        max_msg_size=64 * 1024,
        num_replicas=replicas,
        deny_delete=True,
        deny_purge=True,
        allow_direct=allow_direct,
    )


async def provision(js: JetStreamContext, *, replicas: int = 1, grants: Sequence[Grant] = ()) -> list[str]:
    """Every stream and durable of the catalogue and of the grants exists as wanted; comes back with what changed."""
    changed: list[str] = []
    origins: dict[str, str] = {}
    for stream in wanted_streams(replicas):
        name = str(stream.name)
        if stream.sources:
            stream.metadata = {_ORIGINS: json.dumps({each.name: origins[each.name] for each in stream.sources})}
            await _forget_copies_of_lost(js, stream)
        is_changed, origins[name] = await _ensure_stream(js, stream)
        if is_changed:
            changed.append(name)
    for durable in durables():
        if await _ensure_consumer(js, durable.stream, consumer_config(durable)):
            changed.append(durable.name)
    return changed + await ensure_readers(js, grants)


async def drift(js: JetStreamContext, *, replicas: int = 1) -> list[str]:
    """Names of the catalogue's streams and durables that are missing or not as wanted; nothing is changed."""
    found = []
    for stream in wanted_streams(replicas):
        try:
            is_right = _is_stream((await js.stream_info(str(stream.name))).config, stream)
        except NotFoundError:
            is_right = False
        if not is_right:
            found.append(str(stream.name))
    for durable in durables():
        try:
            info = await js.consumer_info(durable.stream, durable.name)
            is_right = _is_consumer(info.config, consumer_config(durable))
        except NotFoundError:
            is_right = False
        if not is_right:
            found.append(durable.name)
    return found


async def ensure_readers(js: JetStreamContext, grants: Sequence[Grant]) -> list[str]:
    """Each grant has its consumer on EVENTS, and nobody else has one; comes back with the names that changed."""
    found = {str(info.name): info.config for info in await js.consumers_info(EVENTS_STREAM)}
    wanted = {grant.name: reader_config(grant) for grant in grants}
    changed = []
    for name, config in found.items():
        is_anothers = name in wanted and _grant_of(config) != _grant_of(wanted[name])
        if _grant_of(config) is not None and (name not in wanted or is_anothers):
            with contextlib.suppress(NotFoundError):  # somebody else provisions, too
                await js.delete_consumer(EVENTS_STREAM, name)
            changed.append(name)
    for name, config in wanted.items():
        here = found.get(name) if name not in changed else None
        if here is None or set(here.filter_subjects or ()) != set(config.filter_subjects or ()):
            await js.add_consumer(EVENTS_STREAM, config)
            changed.append(name)
    return list(dict.fromkeys(changed))


def reader_config(grant: Grant) -> ConsumerConfig:
    """The one consumer of a grant: pulled, so that it delivers to nobody but who asks."""
    return ConsumerConfig(
        name=grant.name,
        durable_name=grant.name,
        deliver_policy=DeliverPolicy.BY_START_TIME,
        opt_start_time=grant.since,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=_READER_ACK_S,
        max_ack_pending=_READER_UNACKED,
        max_waiting=_READER_ASKING,
        filter_subjects=None if grant.reads_everything else list(public_subjects(grant.subjects)),
        metadata={_GRANT: grant.public_key},
    )


def _grant_of(config: ConsumerConfig) -> str | None:
    return (config.metadata or {}).get(_GRANT)


async def watch(js: JetStreamContext, *, replicas: int = 1, grants: Callable[[], Sequence[Grant]] = lambda: ()) -> None:
    """What is missing is made again within about a second, until cancelled."""
    while True:
        try:
            if changed := await provision(js, replicas=replicas, grants=grants()):
                log.warning("provision.restored", names=changed)
        except (NatsError, OSError, TimeoutError, BrokenInstallation) as error:
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


async def _ensure_stream(js: JetStreamContext, wanted: StreamConfig) -> tuple[bool, str]:
    """Whether something was changed, and when the stream was made."""
    try:
        info = await js.stream_info(str(wanted.name))
    except NotFoundError:
        await js.add_stream(wanted)
        return True, str((await js.stream_info(str(wanted.name))).created)
    if _is_stream(info.config, wanted):
        return False, str(info.created)
    await js.update_stream(wanted)
    return True, str(info.created)


def _is_stream(found: StreamConfig, wanted: StreamConfig) -> bool:
    fields = ("max_age", "duplicate_window", "max_bytes", "max_msg_size", "num_replicas")
    return all(getattr(found, name) == getattr(wanted, name) for name in fields) and _intake(found) == _intake(wanted)


def _intake(config: StreamConfig) -> tuple[set[str], set[tuple[str, str | None]]]:
    """What goes into a stream: subjects, and what is copied from other streams."""
    return set(config.subjects or ()), {(each.name, each.filter_subject) for each in config.sources or ()}


async def _forget_copies_of_lost(js: JetStreamContext, wanted: StreamConfig) -> None:
    """A stream whose origins are not those that it copied is gone, to be copied anew.

    nats-server would wait for the old sequence of an origin that began again, and skip what comes before.
    """
    name = str(wanted.name)
    with contextlib.suppress(NotFoundError):
        found = (await js.stream_info(name)).config
        if (found.metadata or {}).get(_ORIGINS) != (wanted.metadata or {})[_ORIGINS]:
            await js.delete_stream(name)


async def _ensure_consumer(js: JetStreamContext, stream: str, wanted: ConsumerConfig) -> bool:
    name = str(wanted.name)
    try:
        found = (await js.consumer_info(stream, name)).config
    except NotFoundError:
        await js.add_consumer(stream, wanted)
        return True
    if _is_consumer(found, wanted):
        return False
    await js.add_consumer(stream, wanted)
    return True


def _is_consumer(found: ConsumerConfig, wanted: ConsumerConfig) -> bool:
    fields = ("filter_subject", "ack_wait", "max_deliver", "max_ack_pending")
    return all(getattr(found, field) == getattr(wanted, field) for field in fields)
