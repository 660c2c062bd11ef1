"""The files that `docker compose` reads, and a gateway that runs with the same Caddyfile."""

import asyncio
import fcntl
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from watchword.embedded.process import Step, free_port, spawn

ROOT = Path(__file__).parents[2]
CADDYFILE = ROOT / "deploy" / "caddy" / "Caddyfile"
STOP_STEPS = (Step(signal.SIGTERM, 10.0), Step(signal.SIGKILL, 5.0))
SERVICES = ("authz", "token", "federation", "directory", "admin")
_VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")

Document = dict[str, Any]  # YAML and JSON of others: their shape is what the tests check


def read_compose(environment: Mapping[str, str] | None = None) -> Document:
    """compose.yaml with its variables filled in from `environment`, else with their defaults."""
    text = YAML(typ="safe").load((ROOT / "compose.yaml").read_text())
    return dict(_filled(text, environment or {}))


def _filled(node: Any, known: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        return {name: _filled(value, known) for name, value in node.items()}
    if isinstance(node, list):
        return [_filled(value, known) for value in node]
    if not isinstance(node, str):
        return node
    text = _VARIABLE.sub(lambda match: known.get(match[1]) or match[2], node)
    assert "$" not in text, f"a variable without a default: {node}"
    return text


@pytest.fixture(scope="session")
def compose() -> Document:
    """compose.yaml as it stands."""
    return read_compose()


@pytest.fixture(scope="session")
def caddy() -> Path:
    """The program; installed from the system's packages where it is missing."""
    with Path(tempfile.gettempdir(), "watchword-caddy.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run in several processes
        if shutil.which("caddy") is None:
            assert os.geteuid() == 0, "the gateway's tests need Caddy: apt-get install caddy"
            environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            for command in (["update"], ["install", "-y", "--no-install-recommends", "caddy"]):
                subprocess.run(["apt-get", "-q", *command], env=environment, check=True, capture_output=True)
    found = shutil.which("caddy")
    assert found is not None
    return Path(found)


@pytest.fixture(scope="session")
def uv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The version of uv that the Dockerfile names: the one at hand, else from the index."""
    pinned = re.search(r"uv==(\S+)", (ROOT / "Dockerfile").read_text())
    assert pinned is not None
    ours = ROOT / ".uv" / "bin" / "uv"  # where `make setup` puts it
    at_hand = str(ours) if ours.exists() else os.environ.get("UV") or shutil.which("uv")
    if at_hand is not None:
        said = subprocess.run([at_hand, "--version"], check=True, capture_output=True, text=True).stdout
        if said.split()[1] == pinned[1]:
            return Path(at_hand)
    home = tmp_path_factory.mktemp("uv")
    subprocess.run([sys.executable, "-m", "venv", home], check=True, capture_output=True)
    subprocess.run([home / "bin" / "pip", "install", "--quiet", pinned[0]], check=True, capture_output=True)
    return home / "bin" / "uv"


@dataclass
class Gateway:
    """A running Caddy. log: what it wrote."""

    port: int
    log: Path


@contextmanager
def running_gateway(
    caddy: Path, home: Path, upstreams: Mapping[str, str], *, port: int = 0, **variables: str
) -> Iterator[Gateway]:
    """Caddy with the Caddyfile of `compose.yaml`. upstreams: each service's instances, as the file has it."""
    port, log = port or free_port(), home / "caddy.log"
    child = spawn(
        "caddy",
        [caddy, "run", "--config", CADDYFILE, "--adapter", "caddyfile"],
        record=home / "caddy.process.json",
        log=log,
        steps=STOP_STEPS,
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(home),
            "WATCHWORD_GATEWAY_ADDRESS": f":{port}",
            **{f"WATCHWORD_{name.upper()}": where for name, where in upstreams.items()},
            **variables,
        },
    )
    try:
        deadline = time.monotonic() + 20
        while not _answers(port):
            assert child.is_alive, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        assert child.is_alive, f"somebody else answers on port {port}: {log.read_text()}"
        yield Gateway(port, log)
    finally:
        child.stop()


@contextmanager
def reserved_port() -> Iterator[int]:
    """A port that nobody else gets until the end of the block; Caddy, which shares ports, may listen on it."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("127.0.0.1", 0))
        yield int(holder.getsockname()[1])


def free_ports(count: int) -> list[int]:
    """Different loopback TCP ports that were free a moment ago."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def at(*ports: int) -> str:
    """Instances on this machine."""
    return "to " + " ".join(f"127.0.0.1:{port}" for port in ports)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except OSError:
        return False
    return True


@dataclass
class Upstream:
    """A stand-in for one instance: says who it is, and keeps what it was asked."""

    name: str
    host: str = "127.0.0.1"
    port: int = 0
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    _server: asyncio.Server | None = None

    async def start(self) -> None:
        """It listens, on a free port unless one was given."""
        self._server = await asyncio.start_server(self._serve, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Nobody listens on the port any more."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
            target = head[0].split(" ")[1]
            self.asked.append((target, headers))
            if target.endswith("/stream"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: first\n\n")
                await writer.drain()
                await reader.read()  # until the gateway hangs up
                self.left.set()
            else:
                body = self.name.encode()
                writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@dataclass
class Names:
    """A name server such as Docker's: a service's name stands for the addresses of its instances that run."""

    addresses: dict[str, list[str]]
    port: int = 0
    _task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """It answers on a free UDP port of 127.0.0.1."""
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind(("127.0.0.1", 0))
        server.setblocking(False)
        self.port = server.getsockname()[1]
        self._task = asyncio.create_task(self._serve(server), name="names")

    async def stop(self) -> None:
        """It answers no longer."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _serve(self, server: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with server:
            while True:
                query, sender = await loop.sock_recvfrom(server, 512)
                await loop.sock_sendto(server, self.answer(query), sender)

    def upstreams(self, name: str, port: int) -> str:
        """What the Caddyfile says about a service, with this name server and another port."""
        return f"""dynamic a {{
            name {name}
            port {port}
            refresh 1s
            resolvers udp/127.0.0.1:{self.port}
        }}"""

    def answer(self, query: bytes) -> bytes:
        """The response to one question. Spec: RFC 1035 4."""
        end, labels = 12, []
        while length := query[end]:
            labels.append(query[end + 1 : end + 1 + length].decode())
            end += length + 1
        question = query[12 : end + 5]
        known = self.addresses.get(".".join(labels))
        is_for_ipv4 = question[-4:-2] == b"\x00\x01"
        found = known if known is not None and is_for_ipv4 else []
        code = b"\x84\x00" if known is not None else b"\x84\x03"
        head = query[:2] + code + struct.pack("!4H", 1, len(found), 0, 0)
        records = [b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x00\x00\x04" + socket.inet_aton(each) for each in found]
        return head + question + b"".join(records)
