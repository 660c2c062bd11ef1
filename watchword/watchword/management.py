"""The management port: is the process alive, is it ready, and a few facts about it as Prometheus text."""

import json
import resource
import time
from pathlib import Path
from typing import Final

from watchword.composition import Process
from watchword_runtime.service import Receive, Scope, Send

_STARTED_AT: Final = time.time()
_STATM = Path("/proc/self/statm")


class Management:
    """ASGI: GET /livez, /readyz and /metrics. It is served on a port of its own and never through the gateway."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Answers 200, or 503 with the reasons when the process is not ready."""
        match scope["path"]:
            case "/livez":
                await _answer(send, 200, "application/json", '{"status":"alive"}')
            case "/readyz":
                waiting = self._process.waiting_for()
                body = {"status": "waiting" if waiting else "ready", "waiting_for": waiting}
                await _answer(send, 503 if waiting else 200, "application/json", json.dumps(body))
            case "/metrics":
                await _answer(send, 200, "text/plain; version=0.0.4", self._metrics())
            case _:
                await _answer(send, 404, "application/json", '{"status":"not found"}')

    def _metrics(self) -> str:
        used = resource.getrusage(resource.RUSAGE_SELF)
        lines = [
            *_metric("process_cpu_seconds_total", "counter", used.ru_utime + used.ru_stime),
            *_metric("process_start_time_seconds", "gauge", _STARTED_AT),
            *_metric("watchword_feed_position", "gauge", self._process.shared.feed.position),
            "# TYPE watchword_ready gauge",
        ]
        if _STATM.exists():
            pages = int(_STATM.read_text().split()[1])
            lines += _metric("process_resident_memory_bytes", "gauge", pages * resource.getpagesize())
        for service in self._process.services:
            lines.append(f'watchword_ready{{service="{service.name}"}} {int(not service.ready())}')
        return "\n".join(lines) + "\n"


def _metric(name: str, kind: str, value: float) -> list[str]:
    return [f"# TYPE {name} {kind}", f"{name} {value}"]


async def _answer(send: Send, status: int, media: str, body: str) -> None:
    headers = [(b"content-type", media.encode()), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body.encode()})
