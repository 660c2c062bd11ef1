"""One worker: a process that serves one to five services on sockets that it inherited.

It reads its orders as one JSON document from standard input, so that no secret stands in its environment or command
line, and answers on inherited sockets: the public ones, shared by all workers, and its own for management.
"""

import asyncio
import contextlib
import ctypes
import gc
import json
import signal
import socket
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import structlog
import uvicorn
import uvloop
from pydantic import BaseModel, ConfigDict

from watchword.composition import Process, compose, main_of, settings_of
from watchword.management import Management
from watchword.writes import GatheringProtocol
from watchword_events.names import Service
from watchword_runtime import logging

log = structlog.get_logger()

_SETTLED_AFTER_S: Final = 10.0
# With its defaults the collector stalls for a tenth of a second and longer over all that was imported.
_GC_THRESHOLD: Final = (50_000, 50, 1_000)


class Orders(BaseModel):
    """What a worker is told. settings: by service, by setting name; the environment completes them."""

    model_config = ConfigDict(frozen=True)

    settings: dict[Service, dict[str, str]]
    listen_fds: list[int]
    management_fd: int
    grace_s: float = 20.0
    alone: bool = False


class _Server(uvicorn.Server):
    """A uvicorn server that leaves signals to the worker."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals stay as they are."""
        yield


def server_of(app: object, grace_s: float) -> uvicorn.Server:
    """A server for an ASGI application, without an access log: query strings carry codes."""
    return _Server(
        uvicorn.Config(
            app,  # type: ignore[arg-type]  # our ASGIApp and uvicorn's differ only in the names of their aliases
            loop="uvloop",
            http=GatheringProtocol,
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=max(1, round(grace_s)),
            backlog=2048,
        )
    )


async def serve(process: Process, orders: Orders) -> None:
    """Requests are answered until SIGTERM or SIGINT; what was begun is finished, at most `grace_s` later."""
    public = server_of(process.app, orders.grace_s)
    management = server_of(Management(process), 1.0)
    loop = asyncio.get_running_loop()

    def leave() -> None:
        process.leaving.leave()
        public.should_exit = management.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, leave)
    began = time.monotonic()
    await process.start()
    gc.collect()
    _give_back_memory()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLD)
    loop.call_later(_SETTLED_AFTER_S, _give_back_memory)  # connections and caches have been made by then
    log.info(
        "worker.started",
        services=[service.name.value for service in process.services],
        took_ms=round((time.monotonic() - began) * 1000),
    )
    try:
        await asyncio.gather(
            public.serve(sockets=[socket.socket(fileno=fd) for fd in orders.listen_fds]),
            management.serve(sockets=[socket.socket(fileno=orders.management_fd)]),
        )
    finally:
        await process.stop()
        log.info("worker.stopped")


def run(orders: Orders) -> None:
    """Serves until told to stop."""
    settings = {service: settings_of(service, given) for service, given in orders.settings.items()}
    level = next(iter(settings.values())).log_level
    name = next(iter(settings)).value if len(settings) == 1 else "watchword"
    logging.configure(name, level)
    endpoint = next(iter(settings.values())).otlp_endpoint

    async def main() -> None:
        process = compose(settings, alone=orders.alone)
        if endpoint is not None:
            from watchword.tracing import Traced, start  # what it needs is an extra

            provider = start(f"watchword-{name}" if len(settings) == 1 else name, endpoint)
            process.app = Traced(process.app, process.hot)
        await serve(process, orders)
        if endpoint is not None:
            await asyncio.to_thread(provider.shutdown)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def _give_back_memory() -> None:
    """What building schemas and routes took for a moment (17 MB measured) goes back to the system (glibc only)."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def preload(services: Iterable[Service]) -> None:
    """The code of the services is in memory: this may happen before there are orders."""
    for service in services:
        main_of(service)


def main(names: Sequence[str]) -> None:
    """A whole worker: loads the code of the named services, waits for its orders, serves until told to stop."""
    preload(Service(name) for name in names)
    run(Orders.model_validate(json.load(sys.stdin)))
