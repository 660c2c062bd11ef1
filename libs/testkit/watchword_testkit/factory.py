"""A running installation for chaos: W worker processes that a test may kill, on servers that it may kill."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from watchword.embedded.postgres import PostgresServer
from watchword.sockets import listen
from watchword.workers import Worker
from watchword_events.names import Service
from watchword_testkit.http import http_client
from watchword_testkit.platform import READY_WITHIN_S, Platform, Site
from watchword_testkit.worker_logs import shown


@dataclass
class WorkerPlatform(Platform):
    """A platform in processes of its own. postgres: its server, where the test has one of its own.

    doors: a URL for each worker that reaches this one alone; what people use is `issuer`.
    """

    workers: list[Worker] = field(default_factory=list)
    doors: list[str] = field(default_factory=list)
    postgres: PostgresServer | None = None

    async def check_secrets(self) -> None:
        """Raises AssertionError when a secret stands in a column or in a log file of a worker or server."""
        await super().check_secrets()
        logs = [path.read_text(errors="replace") for path in sorted(self.site.home.rglob("*.log"))]
        self.canary.check("the log files", logs)

    async def until_ready(self) -> None:
        """Every worker is ready."""
        for worker in self.workers:
            await worker.until_ready(READY_WITHIN_S)

    async def metric(self, worker: Worker, name: str) -> float:
        """A number from a worker's /metrics. Raises LookupError when it has no such line."""
        async with http_client() as client:
            answer = await client.get(f"http://127.0.0.1:{worker.management_port}/metrics")
        for line in answer.text.splitlines():
            if line.startswith(f"{name} "):
                return float(line.rpartition(" ")[2])
        raise LookupError(name)


@asynccontextmanager
async def in_processes(
    site: Site,
    count: int,
    *,
    postgres: PostgresServer | None = None,
    path: str = "",
    settings: Mapping[str, str] | None = None,
) -> AsyncIterator[WorkerPlatform]:
    """`count` workers answer on one free port.

    postgres: the site's server, to be handed on.  settings: by name, for every service. The workers inherit nothing of
    this process's environment.
    """
    public = listen(0)
    issuer = f"http://localhost:{public[0].getsockname()[1]}{path}"
    admin = await site.first_data(issuer)
    run = site.home / "run"
    run.mkdir(mode=0o700, exist_ok=True)
    async with AsyncExitStack() as stack:
        own = [listen(0, ("127.0.0.1",))[0] for _ in range(count)]
        for each in (*public, *own):
            stack.callback(each.close)
        workers = [
            Worker(f"worker-{number}", Service, public=[*public, door], run=run, env={"PATH": "/usr/bin:/bin"})
            for number, door in enumerate(own, start=1)
        ]
        stack.enter_context(shown(workers))
        for worker in workers:
            stack.callback(worker.stop)
            worker.start()
        for worker in workers:
            worker.tell(site.settings(issuer, settings or {}))
        doors = [f"http://127.0.0.1:{door.getsockname()[1]}{path}" for door in own]
        platform = WorkerPlatform(issuer, site, admin, workers=workers, doors=doors, postgres=postgres)
        platform.canary.add("password", admin.password)
        platform.canary.add("token", admin.admin_token)
        stack.push_async_callback(platform.close_clients)
        await platform.until_ready()
        yield platform
