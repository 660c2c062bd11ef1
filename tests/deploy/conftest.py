"""The files that `docker compose` reads, and a gateway that runs with the same Caddyfile."""

import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
    if shutil.which("caddy") is None:
        assert os.geteuid() == 0, "the gateway's tests need Caddy: apt-get install caddy"
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update"], ["install", "-y", "--no-install-recommends", "caddy"]):
            subprocess.run(["apt-get", "-q", *command], env=environment, check=True, capture_output=True)
    found = shutil.which("caddy")
    assert found is not None
    return Path(found)


@dataclass
class Gateway:
    """A running Caddy. log: what it wrote."""

    port: int
    log: Path


@contextmanager
def running_gateway(caddy: Path, home: Path, upstreams: Mapping[str, list[int]], **variables: str) -> Iterator[Gateway]:
    """Caddy with the Caddyfile of `compose.yaml`. upstreams: the ports on 127.0.0.1 of each service's instances."""
    port, log = free_port(), home / "caddy.log"
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
            **{f"WATCHWORD_{name.upper()}": _to(ports) for name, ports in upstreams.items()},
            **variables,
        },
    )
    try:
        deadline = time.monotonic() + 20
        while not _answers(port):
            assert child.is_alive, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield Gateway(port, log)
    finally:
        child.stop()


def _to(ports: list[int]) -> str:
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
    port: int = 0
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    _server: asyncio.Server | None = None

    async def start(self) -> None:
        """It listens on a free port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
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
