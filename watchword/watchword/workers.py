"""The workers of one installation: started early, told what to serve, watched, started again when they die."""

import asyncio
import json
import signal
import socket
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import structlog

from watchword import lean
from watchword.embedded.process import Child, StartError, Step, end_leftover, spawn, tail_of
from watchword.sockets import listen
from watchword_events.names import Service

log = structlog.get_logger()

GRACE_S = 5.0
STOP_STEPS = (Step(signal.SIGTERM, GRACE_S + 5.0), Step(signal.SIGKILL, 5.0))
_LOG_LIMIT_BYTES = 20 * 1024 * 1024
# A worker that dies again and again is started at most this often.
_RESTART_PAUSE_S = 1.0


class Worker:
    """One worker process, and those that replace it: the same public sockets and management port."""

    def __init__(
        self, name: str, services: Iterable[Service], *, public: list[socket.socket], run: Path, env: Mapping[str, str]
    ) -> None:
        """public: shared with other workers.  run: the directory for its log and record."""
        self.name = name
        self.log = run / f"{name}.log"
        self._services = tuple(services)
        self._public, self._management = public, listen(0, ("127.0.0.1",))[0]
        self._record, self._env = run / f"{name}.process.json", env
        self._orders = b""
        self._child: Child | None = None
        self._started_at = 0.0

    @property
    def management_port(self) -> int:
        """Where /livez, /readyz and /metrics answer on 127.0.0.1."""
        return int(self._management.getsockname()[1])

    @property
    def pid(self) -> int:
        """Raises StartError when it was never started."""
        if self._child is None:
            raise StartError(f"{self.name} is not running")
        return self._child.pid

    @property
    def is_alive(self) -> bool:
        return self._child is not None and self._child.is_alive

    def start(self) -> None:
        """The process loads its code and waits for orders."""
        end_leftover(self._record, STOP_STEPS)
        if self.log.exists() and self.log.stat().st_size > _LOG_LIMIT_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        self._started_at = time.monotonic()
        self._child = spawn(
            self.name,
            [sys.executable, *lean.ARGUMENTS, *self._services],
            record=self._record,
            log=self.log,
            steps=STOP_STEPS,
            keep_fds=[each.fileno() for each in (*self._public, self._management)],
            env={**lean.ENVIRONMENT, **self._env},
            waits_for_orders=True,
        )

    def tell(self, settings: Mapping[Service, Mapping[str, str]], *, alone: bool = False) -> None:
        """The process serves with these settings; so will its replacements."""
        orders = {
            "settings": settings,
            "listen_fds": [each.fileno() for each in self._public],
            "management_fd": self._management.fileno(),
            "grace_s": GRACE_S,
            "alone": alone,
        }
        self._orders = json.dumps(orders).encode()
        if self._child is not None:
            self._child.tell(self._orders)

    async def until_ready(self, within_s: float) -> None:
        """Returns when /readyz says so. Raises StartError with the reason when it does not, or when it died."""
        deadline = time.monotonic() + within_s
        answer = "no answer"
        while time.monotonic() < deadline:
            if not self.is_alive:
                raise StartError(f"{self.name} ended while starting (its log is {self.log}):\n{tail_of(self.log)}")
            status, answer = await _asked(self.management_port, "/readyz")
            if status == 200:
                return
            await asyncio.sleep(0.05)
        raise StartError(f"{self.name} is not ready after {within_s:.0f} s: {answer}; its log is {self.log}")

    async def watch(self) -> None:
        """A process that died is replaced, until cancelled."""
        while True:
            await asyncio.sleep(0.2)
            if self._child is not None and not self._child.is_alive:
                log.error("worker.died", name=self.name, code=self._child.popen.returncode)
                pause = _RESTART_PAUSE_S - (time.monotonic() - self._started_at)
                await asyncio.sleep(max(0.0, pause))
                self.start()
                self._child.tell(self._orders)

    def begin_stop(self) -> None:
        """The process has been told to finish; stop() waits for it."""
        if self._child is not None and self._child.is_alive:
            self._child.popen.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """The process has ended and its management port is free; the public sockets stay open."""
        if self._child is not None:
            self._child.stop()
            self._child = None
        self._management.close()

    def kill(self) -> None:
        """The process died at once."""
        if self._child is not None:
            self._child.kill()


async def _asked(port: int, path: str) -> tuple[int, str]:
    """Status and body of a GET on a management port; (0, why) when there is no answer."""
    try:
        async with asyncio.timeout(2.0):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
            answer = (await reader.read()).decode(errors="replace")
            writer.close()
    except (OSError, TimeoutError) as error:
        return 0, type(error).__name__
    head, _, body = answer.partition("\r\n\r\n")
    return int(head.split(" ", 2)[1]) if head.startswith("HTTP/1.1 ") else 0, body
