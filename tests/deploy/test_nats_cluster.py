"""The profile `ha`: three NATS servers with the configuration that `watchword init` writes, one of which dies."""

import asyncio
import re
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx2
import nats
import pytest
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js import JetStreamContext

from watchword.containers import save_for_containers
from watchword.embedded.nats import find_nats_server
from watchword.embedded.process import Child, Step, free_port, spawn
from watchword.installation import Installation
from watchword.nats_conf import FEED_STREAM
from watchword_events.names import Service

NODES: Final = ("nats", "nats-2", "nats-3")
WATCHWORD: Final = Path(sys.executable).with_name("watchword")


@dataclass
class Node:
    """One server. port: for clients.  route: for other servers."""

    name: str
    port: int
    route: int
    monitor: int
    child: Child

    async def is_well(self) -> bool:
        """What the container's health check asks."""
        try:
            async with httpx2.AsyncClient(trust_env=False, timeout=2) as http:
                return (await http.get(f"http://127.0.0.1:{self.monitor}/healthz")).status_code == 200
        except httpx2.TransportError:
            return False


@dataclass
class Cluster:
    """Three servers that were told apart by their environment alone, but for the addresses that one machine needs."""

    secrets: Path
    nodes: list[Node]

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
            here = re.sub(r'^listen: ".*"$', f'listen: "127.0.0.1:{port}"', base, flags=re.MULTILINE)
            here = re.sub(r"^http: .*$", f'http: "127.0.0.1:{monitor}"', here, flags=re.MULTILINE)
            (home / "nats.conf").write_text(here.replace("/data/jetstream", str(home / "jetstream")))
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
            nodes.append(Node(name, port, routes[name], monitor, child))
        yield Cluster(secrets, nodes)


async def within(seconds: float, condition: Callable[[], Awaitable[bool]], why: str) -> None:
    """Returns when the coroutine function says yes. Raises AssertionError when it does not in time."""
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, why
        await asyncio.sleep(0.1)


async def test_streams_survive_the_death_of_their_leader(cluster: Cluster, tmp_path: Path) -> None:
    for node in cluster.nodes:
        await within(30, node.is_well, f"{node.name}: {(tmp_path / node.name / 'nats.log').read_text()}")
    env = {
        "PATH": "/usr/bin:/bin",
        "WATCHWORD_SECRETS": str(cluster.secrets / "provision"),
        "WATCHWORD_NATS_URL": ",".join(cluster.urls),
        "WATCHWORD_NATS_REPLICAS": "3",
    }
    done = await asyncio.to_thread(lambda: subprocess.run([WATCHWORD, "provision"], env=env, capture_output=True))
    assert done.returncode == 0, done.stderr.decode()
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
    async with asyncio.timeout(10):
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
