"""`watchword up` as people start it: what it prints, what it leaves, what it survives."""

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx2
import pytest

from watchword.embedded.process import start_time
from watchword.embedded.programs import find_programs
from watchword.supervisor import _command

WATCHWORD = Path(sys.executable).with_name("watchword")
# A cold start takes seconds; this is for machines that are busy with something else.
PATIENCE_S = 120.0


class Up:
    """A `watchword up` on a data directory."""

    def __init__(self, data: Path, *arguments: str) -> None:
        self.data = data
        self.output = data.with_suffix(".out")
        with self.output.open("ab") as out:
            self.process = subprocess.Popen(
                [WATCHWORD, "up", "--data-dir", data, "--port", "0", "--no-demo", *arguments],
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def access(self) -> dict[str, str]:
        """What access.json says."""
        return dict(json.loads((self.data / "access.json").read_text()))

    @property
    def said(self) -> str:
        """Everything it printed."""
        return self.output.read_text()

    def until_ready(self) -> "Up":
        """It serves."""
        _until(lambda: (self.data / "access.json").exists() or self.process.poll() is not None)
        assert self.process.poll() is None, self.said
        return self

    def until_ended(self) -> int:
        """Its exit code."""
        return self.process.wait(PATIENCE_S)

    def children(self) -> dict[str, int]:
        """Every process on record, by name."""
        found = {}
        for path in (self.data / "run").glob("*.process.json"):
            with contextlib.suppress(FileNotFoundError):  # it is being replaced
                found[path.name.removesuffix(".process.json")] = int(json.loads(path.read_text())["pid"])
        return found

    def call(self, method: str, path: str, **more: object) -> httpx2.Response:
        """An administrator's call."""
        headers = {"Watchword-API-Key": self.access["admin_token"]}
        with httpx2.Client(trust_env=False, timeout=20.0, headers=headers) as http:
            return http.request(method, f"{self.access['issuer']}/api/v1{path}", json=more or None)


def _until(is_so: Callable[[], object], within_s: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def _until_gone(each: Up) -> None:
    _until(lambda: not any(map(start_time, each.children().values())), 30)


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    """Starts a `watchword up`; all are killed after the test."""
    started: list[Up] = []

    def start(*arguments: str, data: Path | None = None) -> Up:
        started.append(Up(data or tmp_path / "data", *arguments))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.wait(10)
    for each in started:
        _until_gone(each)


def test_a_first_start_and_a_second_one(up: Callable[..., Up], tmp_path: Path) -> None:
    first = up().until_ready()
    access = first.access
    assert stat.S_IMODE((first.data / "access.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(first.data.stat().st_mode) == 0o700
    assert set(access) == {"issuer", "console", "nats_url", "username", "password", "admin_token"}
    for shown in (access["issuer"], access["console"], access["username"], access["password"], str(first.data)):
        assert shown in first.said
    assert access["admin_token"] not in first.said
    assert first.call("POST", "/users", username="kept", password="a password to keep").status_code == 201
    pids = first.children().values()
    assert len(pids) == 3

    first.process.send_signal(signal.SIGINT)
    assert first.until_ended() == 0
    assert not (first.data / "access.json").exists()
    assert not any(map(start_time, pids))

    second = up("--workers", "2").until_ready()
    assert (second.access["password"], second.access["admin_token"]) == (access["password"], access["admin_token"])
    assert [each["username"] for each in second.call("GET", "/users").json()["items"]] == ["admin", "kept"]
    second.process.send_signal(signal.SIGTERM)
    assert second.until_ended() == 0
    for path in (first.data / "run").glob("worker-*.log"):
        for line in path.read_text().splitlines():
            assert "event" in json.loads(line), line
    logs = "".join(path.read_text(errors="replace") for path in (first.data / "run").glob("*.log"))
    assert not any(secret in logs for secret in (access["password"], access["admin_token"], "a password to keep"))


def test_it_starts_on_the_wheels_postgresql(up: Callable[..., Up], monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = find_programs(origins="wheel")
    monkeypatch.setenv("WATCHWORD_PG_BIN", str(wheel.bin))
    running = up().until_ready()
    assert f"PostgreSQL {wheel.version}" in running.said
    assert running.call("GET", "/users").status_code == 200
    running.process.send_signal(signal.SIGTERM)
    assert running.until_ended() == 0


@pytest.mark.chaos
def test_what_dies_is_replaced_and_a_killed_supervisor_leaves_nothing(up: Callable[..., Up]) -> None:
    running = up().until_ready()
    for name in ("worker-1", "nats", "postgres"):
        _kill_and_see_replaced(running, name)

    left = running.children()
    running.process.kill()
    running.until_ended()
    assert (running.data / "access.json").exists()
    again = up()
    _until(lambda: _answers(again))
    assert not any(map(start_time, left.values()))


def _kill_and_see_replaced(running: Up, name: str) -> None:
    before = running.children()[name]
    os.kill(before, signal.SIGKILL)
    _until(lambda: running.children().get(name, before) != before)
    _until(lambda: _answers(running))


def _answers(running: Up) -> bool:
    try:
        return running.call("GET", "/users").status_code == 200
    except (httpx2.HTTPError, FileNotFoundError):
        return False


def test_a_second_one_on_the_same_data_is_refused(up: Callable[..., Up], tmp_path: Path) -> None:
    first = up()
    _until(lambda: (first.data / "run" / "supervisor.lock").exists() and first.children())
    second = up()
    assert second.until_ended() == 1
    assert f"in use by another `watchword up` (process {first.process.pid})" in second.said
    assert "--data-dir" in second.said
    first.process.send_signal(signal.SIGTERM)
    assert first.until_ended() == 0


def test_a_port_in_use_is_said_plainly(up: Callable[..., Up]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = up("--port", str(port))
        assert refused.until_ended() == 1
    assert f"port {port} is in use" in refused.said
    assert "Traceback" not in refused.said


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("WATCHWORD_PG_BIN", "/nonexistent", "WATCHWORD_PG_BIN"),
        ("WATCHWORD_NATS_BIN", "/nonexistent", "WATCHWORD_NATS_BIN"),
        ("WATCHWORD_PUBLIC_URL", "ftp://example.com/", "WATCHWORD_PUBLIC_URL"),
        ("WATCHWORD_TRUSTED_PROXIES", "everybody", "WATCHWORD_TRUSTED_PROXIES"),
    ],
)
def test_a_wrong_setting_stops_the_start_with_its_name(
    up: Callable[..., Up], monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    monkeypatch.setenv(variable, value)
    refused = up()
    assert refused.until_ended() == 1
    assert said in refused.said
    assert "Traceback" not in refused.said
    assert not any(map(start_time, refused.children().values()))


def test_a_directory_that_nobody_may_write_to_is_named_with_what_to_do(tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    for data in (in_the_way / "data", Path("/proc/watchword")):
        command = [WATCHWORD, "up", "--data-dir", data, "--port", "0", "--no-demo"]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == 1
        assert "cannot be written to" in done.stderr
        assert "--data-dir" in done.stderr
        assert "Traceback" not in done.stderr


def test_the_banner_says_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After `make up` the command is not on the PATH."""
    (tmp_path / "watchword").touch(mode=0o755)
    lies = str(tmp_path / "watchword")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert _command(lies) == lies
    monkeypatch.setenv("PATH", str(tmp_path))
    assert _command(lies) == "watchword"
    monkeypatch.setenv("PATH", str(WATCHWORD.parent))
    assert _command(lies) == lies, "another installation's"


def test_after_everything_was_revoked_the_operator_gets_in_again(tmp_path: Path) -> None:
    """The key of access.json ends with everything: a command draws another, and so does the next start."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [WATCHWORD, *words, "--data-dir", tmp_path / "data"]
        return subprocess.run(command, check=False, capture_output=True, text=True)

    up = Up(tmp_path / "data").until_ready()
    first = up.access["admin_token"]
    done = run("revoke", "--all", "--wait", "--yes")
    assert done.returncode == 0, done.stderr
    assert "watchword admin key" in done.stdout
    refused = run("users", "list")
    assert refused.returncode == 1
    assert "watchword admin key" in refused.stderr
    assert run("admin", "key").returncode == 0
    second = up.access["admin_token"]
    assert run("users", "list").returncode == 0
    assert run("revoke", "--all", "--wait", "--yes").returncode == 0
    up.process.send_signal(signal.SIGTERM)
    assert up.until_ended() == 0
    again = Up(tmp_path / "data").until_ready()
    assert len({first, second, again.access["admin_token"]}) == 3
    assert again.call("GET", "/users").status_code == 200
    again.process.send_signal(signal.SIGTERM)
    assert again.until_ended() == 0


def test_health_is_asked_of_this_machine_whatever_proxy_there_is() -> None:
    """Docker hands the machine's HTTP_PROXY to every container."""

    class Ready(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/readyz" else 404)
            self.end_headers()
            self.wfile.write(b"ready")

    with HTTPServer(("127.0.0.1", 0), Ready) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        env = {"PATH": "/usr/bin:/bin", "http_proxy": "http://127.0.0.1:1", "HTTP_PROXY": "http://127.0.0.1:1"}
        command = [WATCHWORD, "health", "--port", str(server.server_port)]
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=env)
        server.shutdown()
    assert (done.returncode, done.stdout) == (0, "ready\n"), done.stderr
