"""The profile `ha`: three NATS servers with the configuration that `watchword init` writes, one of which dies."""

import asyncio
import re
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import httpx2
import nats
import pytest
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js import JetStreamContext

from watchword import teams
from watchword.containers import save_for_containers
from watchword.embedded.nats import find_nats_server
from watchword.embedded.process import Child, Step, free_port, spawn
from watchword.grants import Grant
from watchword.installation import Installation
from watchword.nats_conf import FEED_STREAM
from watchword.teams import NotInForce, Place, container_text
from watchword_events.names import Service
from watchword_testkit.http import http_client

NODES: Final = ("nats", "nats-2", "nats-3")
WATCHWORD: Final = Path(sys.executable).with_name("watchword")


@dataclass
class Node:
    """One server. port: for clients.  route: for other servers."""

    name: str
    home: Path
    port: int
    route: int
    monitor: int
    child: Child

    async def is_well(self) -> bool:
        """What the container's health check asks."""
        try:
            async with http_client(timeout=2) as http:
                return (await http.get(f"http://127.0.0.1:{self.monitor}/healthz")).status_code == 200
        except httpx2.TransportError:
            return False


@dataclass
class Cluster:
    """Three servers that were told apart by their environment alone, but for the addresses that one machine needs."""

    secrets: Path
    nodes: list[Node]

    @property
    def place(self) -> Place:
        """Where grants are made; the servers have a copy each of the file that they share in containers."""

        def text(installation: Installation, grants: Sequence[Grant]) -> str:
            conf = container_text(installation, grants)
            for node in self.nodes:
                (node.home / "nats.conf").write_text(on_this_machine(conf, node.home, node.port, node.monitor))
            return conf

        return Place(self.secrets, tuple(self.urls), self.secrets / "nats" / "nats.conf", text)

    @property
    def urls(self) -> list[str]:
        """Where clients connect."""
        return [f"nats://127.0.0.1:{node.port}" for node in self.nodes]

    async def connect(self, user: str) -> Client:
        """A connection as one of the users of nats.conf."""
        return await nats.connect(
            servers=self.urls,
            nkeys_seed_str=(self.secrets / user / "nats_seed").read_text(),
            inbox_prefix=f"_INBOX_{user}".encode(),
            reconnect_time_wait=0.1,
            max_reconnect_attempts=-1,
            connect_timeout=2,
        )


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """The three servers run."""
    secrets = tmp_path / "secrets"
    save_for_containers(Installation.drawn(), secrets, database="postgres:5432/watchword", owner=None)
    text = (secrets / "nats" / "cluster.conf").read_text()
    routes = {name: free_port() for name in NODES}
    for name, port in routes.items():
        text = text.replace(f"@{name}:6222", f"@127.0.0.1:{port}")
    base = (secrets / "nats" / "nats.conf").read_text()
    with ExitStack() as stack:
        nodes = []
        for name in NODES:
            home, port, monitor = tmp_path / name, free_port(), free_port()
            home.mkdir()
            (home / "nats.conf").write_text(on_this_machine(base, home, port, monitor))
            (home / "cluster.conf").write_text(text.replace("0.0.0.0:6222", f"127.0.0.1:{routes[name]}"))
            child = spawn(
                name,
                [find_nats_server(), "-c", home / "cluster.conf"],
                record=home / "process.json",
                log=home / "nats.log",
                steps=(Step(signal.SIGTERM, 10.0), Step(signal.SIGKILL, 5.0)),
                env={"WATCHWORD_NATS_NAME": name},
            )
            stack.callback(child.stop)
            nodes.append(Node(name, home, port, routes[name], monitor, child))
        yield Cluster(secrets, nodes)


def on_this_machine(conf: str, home: Path, port: int, monitor: int) -> str:
    """nats.conf of a container with a directory and ports of its own."""
    here = re.sub(r'^listen: ".*"$', f'listen: "127.0.0.1:{port}"', conf, flags=re.MULTILINE)
    here = re.sub(r"^http: .*$", f'http: "127.0.0.1:{monitor}"', here, flags=re.MULTILINE)
    return here.replace("/data/jetstream", str(home / "jetstream"))


async def within(seconds: float, condition: Callable[[], Awaitable[bool]], why: str) -> None:
    """Returns when the coroutine function says yes. Raises AssertionError when it does not in time."""
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, why
        await asyncio.sleep(0.1)


async def provisioned(cluster: Cluster) -> None:
    """The servers are well and have the streams."""
    for node in cluster.nodes:
        await within(30, node.is_well, f"{node.name}: {(node.home / 'nats.log').read_text()}")
    env = {
        "PATH": "/usr/bin:/bin",
        "WATCHWORD_SECRETS": str(cluster.secrets / "provision"),
        "WATCHWORD_NATS_URL": ",".join(cluster.urls),
        "WATCHWORD_NATS_REPLICAS": "3",
    }
    done = await asyncio.to_thread(lambda: subprocess.run([WATCHWORD, "provision"], env=env, capture_output=True))
    assert done.returncode == 0, done.stderr.decode()


async def test_streams_survive_the_death_of_their_leader(cluster: Cluster) -> None:
    await provisioned(cluster)
    provision = await cluster.connect("provision")
    streams = {service.stream for service in Service} | {FEED_STREAM}
    for stream in streams:
        assert (await provision.jetstream().stream_info(stream)).config.num_replicas == 3
    token = await cluster.connect(Service.TOKEN)
    js = token.jetstream(timeout=2)
    first = await js.publish("feed.revocation", b"one", stream=FEED_STREAM)
    leader = (await provision.jetstream().stream_info(FEED_STREAM)).cluster
    assert leader is not None
    (dead,) = [node for node in cluster.nodes if node.name == leader.leader]
    dead.child.kill()
    second = await published(js, b"two")
    assert second > first.seq, "nothing that was acknowledged is lost"
    for client in (token, provision):
        await client.close()


async def test_a_grant_holds_at_every_server_and_a_revocation_too(cluster: Cluster) -> None:
    await provisioned(cluster)
    _, file = await teams.grant(cluster.place, "billing", subjects=(), feed=False, since=None, now=datetime.now(UTC))
    seed = file.read_text()
    token = await cluster.connect(Service.TOKEN)
    readers = [await nats.connect(url, nkeys_seed_str=seed, allow_reconnect=False) for url in cluster.urls]
    heard = [await reader.subscribe("auth.>") for reader in readers]
    for reader in readers:
        await reader.flush()
    await asyncio.sleep(1)  # until every server knows who listens at the others
    await token.jetstream(timeout=5).publish("auth.token.key.rotated", b"{}", stream=Service.TOKEN.stream)
    for each in heard:
        assert (await each.next_msg(5)).data == b"{}"
    fetching = await readers[1].jetstream(domain="events", timeout=5).pull_subscribe_bind("billing", "EVENTS")
    (kept,) = await fetching.fetch(1, timeout=10)
    await kept.ack_sync(timeout=5)

    await teams.revoke(cluster.place, "billing")

    async def are_disconnected() -> bool:
        return all(reader.is_closed for reader in readers)

    await within(10, are_disconnected, "a server lets a revoked program listen")
    assert token.is_connected
    await token.close()
    for url in cluster.urls:
        with pytest.raises(NatsError, match=r"(?i)authorization"):
            await nats.connect(url, nkeys_seed_str=seed, allow_reconnect=False, max_reconnect_attempts=0)

    cluster.nodes[2].child.kill()
    with pytest.raises(NotInForce, match="2 of 3 nats-servers answered"):
        await teams.grant(cluster.place, "crm", subjects=(), feed=False, since=None, now=datetime.now(UTC))


async def published(js: JetStreamContext, body: bytes) -> int:
    """The sequence under which the feed's stream took a message, from whichever server leads it by then."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return (await js.publish("feed.revocation", body, stream=FEED_STREAM)).seq
        except (NatsError, TimeoutError):
            assert time.monotonic() < deadline, "no new leader"
            await asyncio.sleep(0.1)


async def test_nobody_joins_without_the_password(cluster: Cluster) -> None:
    port = cluster.nodes[0].route
    reader, writer = await opened(port)
    assert (await reader.readline()).startswith(b"INFO ")
    writer.write(b'CONNECT {"name":"stranger","user":"route","pass":"guessed","cluster":"watchword"}\r\nPING\r\n')
    async with asyncio.timeout(30):
        assert b"Authorization Violation" in await reader.read()
    writer.close()


async def opened(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to a server that is starting."""
    deadline = time.monotonic() + 20
    while True:
        try:
            return await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
