"""nats.conf: a service says and hears what is its own, and nothing else; streams come back when they are lost."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client
from nats.errors import TimeoutError as NoAnswer

from watchword.embedded.nats import NatsServer, find_nats_server
from watchword.embedded.process import StartError
from watchword.installation import Installation, NatsUser, Operator
from watchword.nats_conf import FEED_STREAM, render
from watchword.provision import connected, provision
from watchword_events.catalogue import durables
from watchword_events.names import Service
from watchword_events.teams import EVENTS_STREAM


@pytest.fixture(scope="module")
def installation() -> Installation:
    """Secrets of an installation."""
    return Installation.drawn()


@pytest.fixture
def server(installation: Installation, tmp_path: Path) -> Iterator[NatsServer]:
    """A server with the accounts of the installation."""
    keys, store = installation.nats_public_keys(), str(tmp_path / "js")
    made = NatsServer(
        tmp_path, configuration=lambda port: render(keys, port=port, store=store), log=tmp_path / "run" / "nats.log"
    )
    made.start()
    yield made
    made.stop()


@asynccontextmanager
async def _as(
    server: NatsServer, installation: Installation, user: NatsUser
) -> AsyncIterator[tuple[Client, list[str]]]:
    denied: list[str] = []

    async def note(error: Exception) -> None:
        denied.append(str(error))

    client = await nats.connect(
        server.url,
        nkeys_seed_str=installation.seeds[user],
        inbox_prefix=f"_INBOX_{user}".encode(),
        error_cb=note,
        allow_reconnect=False,
    )
    try:
        yield client, denied
    finally:
        await client.close()


async def _eventually(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not is_so():
            await asyncio.sleep(0.01)


async def _provisioned(server: NatsServer, installation: Installation) -> list[str]:
    async with connected([server.url], installation.seeds[Operator.PROVISION]) as client:
        return await provision(client.jetstream())


@pytest.mark.parametrize("service", list(Service))
async def test_a_service_publishes_its_own_events_and_no_others(
    server: NatsServer, installation: Installation, service: Service
) -> None:
    await _provisioned(server, installation)
    async with _as(server, installation, service) as (client, denied):
        ack = await client.jetstream().publish(f"auth.{service}.thing.happened", b"{}", stream=service.stream)
        assert ack.seq == 1
        others = [f"auth.{other}.thing.happened" for other in Service if other is not service]
        if service is not Service.TOKEN:
            others.append("feed.revocation")
        for subject in others:
            await client.publish(subject, b"{}")
        await _eventually(lambda: len(denied) == len(others))
    async with connected([server.url], installation.seeds[Operator.PROVISION]) as client:
        for other in Service:
            held = (await client.jetstream().stream_info(other.stream)).state.messages
            assert held == (1 if other is service else 0)


@pytest.mark.parametrize("service", list(Service))
async def test_a_service_consumes_by_its_own_durables_only(
    server: NatsServer, installation: Installation, service: Service
) -> None:
    await _provisioned(server, installation)
    async with _as(server, installation, service) as (client, _denied):
        js = client.jetstream(timeout=0.5)
        answers = await asyncio.gather(
            *[js.consumer_info(each.stream, each.name) for each in durables()], return_exceptions=True
        )
    for durable, answer in zip(durables(), answers, strict=True):
        assert isinstance(answer, NoAnswer) == (durable.service is not service), durable


async def test_no_service_reads_anothers_inbox_or_manages_streams(
    server: NatsServer, installation: Installation
) -> None:
    await _provisioned(server, installation)
    async with _as(server, installation, Service.ADMIN) as (client, denied):
        await client.subscribe("_INBOX_token.>")
        await _eventually(lambda: len(denied) == 1)
        assert "_inbox_token.>" in denied[0].lower()
        js = client.jetstream(timeout=0.3)
        for attempt in (js.delete_stream(Service.TOKEN.stream), js.purge_stream(FEED_STREAM)):
            with pytest.raises(NoAnswer):
                await attempt


async def test_nobody_enters_without_a_key(server: NatsServer) -> None:
    with pytest.raises(Exception, match=r"(?i)authorization"):
        await nats.connect(server.url, allow_reconnect=False, max_reconnect_attempts=0)


async def test_provisioning_twice_changes_nothing(server: NatsServer, installation: Installation) -> None:
    first = await _provisioned(server, installation)
    assert {*first} == {
        FEED_STREAM,
        EVENTS_STREAM,
        *(each.stream for each in Service),
        *(each.name for each in durables()),
    }
    assert await _provisioned(server, installation) == []


async def test_lost_streams_and_durables_come_back(server: NatsServer, installation: Installation) -> None:
    await _provisioned(server, installation)
    async with connected([server.url], installation.seeds[Operator.PROVISION]) as client:
        js = client.jetstream()
        await js.delete_stream(Service.ADMIN.stream)
        changed = await provision(js)
        assert Service.ADMIN.stream in changed
        assert "token-client" in changed
        assert Service.TOKEN.stream not in changed


async def test_a_drifted_durable_is_put_right(server: NatsServer, installation: Installation) -> None:
    await _provisioned(server, installation)
    async with connected([server.url], installation.seeds[Operator.PROVISION]) as client:
        js = client.jetstream()
        config = (await js.consumer_info(Service.ADMIN.stream, "token-client")).config
        config.max_ack_pending = 7
        await js.add_consumer(Service.ADMIN.stream, config)
        assert await provision(js) == ["token-client"]


def test_a_wrong_program_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="WATCHWORD_NATS_BIN"):
        find_nats_server(str(tmp_path / "nothing"))


def test_a_start_that_fails_shows_the_servers_own_words(tmp_path: Path) -> None:
    server = NatsServer(tmp_path, configuration=lambda port: "nonsense {", log=tmp_path / "run" / "nats.log")
    with pytest.raises(StartError, match="Parse error"):
        server.start()
