"""The certified Node provider `oidc-provider`, on the same PostgreSQL, measured in the same run.

`make bench-peers` installs it. Its access tokens for people are opaque and looked up in PostgreSQL; its refresh answers
with an ES256 ID token as well.
"""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import httpx2
from tests.bench.generator import NoResult

from watchword.embedded.process import free_port
from watchword.supervisor import Running

HOME = Path(__file__).parent / "peers"
DATABASE = "peer"
_READY_WITHIN_S = 60.0


@dataclass(frozen=True)
class Peer:
    """The running peer. form: its client's credentials as form fields."""

    issuer: str
    pid: int
    version: str
    form: str
    refresh: list[Path]
    access: Path


async def prepare(found: Running) -> str:
    """The URL of an empty database for the peer."""
    connection = await asyncpg.connect(found.postgres.url("postgres"))
    try:
        await connection.execute(f"DROP DATABASE IF EXISTS {DATABASE}")
        await connection.execute(f"CREATE DATABASE {DATABASE}")
    finally:
        await connection.close()
    return found.postgres.url(DATABASE)


@contextmanager
def running_peer(database_url: str, data: Path, *, runs: int) -> Iterator[Peer]:
    """The peer answers until the block ends. runs: for how many runs it shall have refresh tokens.

    Raises NoResult when it is not installed or does not start.
    """
    node = shutil.which("node")
    if node is None or not (HOME / "node_modules").is_dir():
        raise NoResult("the peer is not installed: `make bench-peers` does that (needs Node.js)")
    port, seeds = free_port(), data / "peer.json"
    log = (data / "peer.log").open("wb")
    process = subprocess.Popen(
        [node, "server.mjs", str(port), _node_url(database_url), str(seeds)], cwd=HOME, stdout=log, stderr=log
    )
    try:
        issuer = f"http://127.0.0.1:{port}"
        _until_ready(process, issuer, seeds, data / "peer.log")
        made = json.loads(seeds.read_text())
        yield Peer(
            issuer,
            process.pid,
            _version(),
            f"client_id={made['client_id']}&client_secret={made['client_secret']}",
            _slices(made["refresh"], data, runs),
            _write(data / "peer-access.txt", made["access"]),
        )
    finally:
        process.terminate()
        process.wait(10)
        log.close()


def _node_url(url: str) -> str:
    """Node's driver takes the socket's directory and the port as asyncpg does, but wants a host before the query."""
    return url.replace("@/", "@localhost/", 1) if "@/" in url else url


def _until_ready(process: "subprocess.Popen[bytes]", issuer: str, seeds: Path, log: Path) -> None:
    deadline = time.monotonic() + _READY_WITHIN_S
    while time.monotonic() < deadline and process.poll() is None:
        if seeds.exists():
            with httpx2.Client(trust_env=False) as client:
                client.get(f"{issuer}/.well-known/openid-configuration").raise_for_status()
            return
        time.sleep(0.1)
    raise NoResult(f"the peer did not start: {log.read_text()[-500:]}")


def _slices(tokens: list[str], data: Path, runs: int) -> list[Path]:
    size = len(tokens) // runs
    return [_write(data / f"peer-refresh-{n}.txt", tokens[n * size : (n + 1) * size]) for n in range(runs)]


def _write(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n")
    path.chmod(0o600)
    return path


def _version() -> str:
    package = json.loads((HOME / "node_modules" / "oidc-provider" / "package.json").read_text())
    return f"{package['name']} {package['version']}"
