"""`watchword up`: everything an installation needs, started in order, watched, and stopped in the opposite order."""

import asyncio
import contextlib
import fcntl
import os
import secrets
import shutil
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TextIO
from urllib.parse import urlsplit

import structlog

from watchword.bootstrap import Administrator, access_document, noted_administrator
from watchword.embedded.nats import NatsServer
from watchword.embedded.postgres import PostgresServer
from watchword.embedded.process import StartError, write_private
from watchword.grants import Grant, grants_path, load_grants
from watchword.installation import DATABASE, Installation, Operator
from watchword.master_key import VARIABLES
from watchword.prepare import Orders, Preparation
from watchword.provision import connected, provision, watch
from watchword.sockets import listen
from watchword.teams import embedded_text
from watchword.workers import Worker
from watchword_events.names import Service
from watchword_runtime import logging

if TYPE_CHECKING:
    from watchword.demo import Started

log = structlog.get_logger()

READY_WITHIN_S = 60.0


@dataclass(frozen=True)
class Options:
    """What `watchword up` was asked for. environment: the process's own, for the workers' settings."""

    data_dir: Path
    port: int
    workers: int
    demo: bool
    environment: Mapping[str, str]
    public_url: str | None = None
    pg_bin: str | None = None
    nats_bin: str | None = None


@dataclass(frozen=True)
class Running:
    """An installation that answers: where it is, and its parts, for tests that break them."""

    issuer: str
    admin: Administrator
    postgres: PostgresServer
    nats: NatsServer
    workers: tuple[Worker, ...]
    notes: tuple[str, ...] = ()


async def up(options: Options, *, say: Callable[[str], None]) -> None:
    """The platform runs until SIGINT, SIGTERM or SIGHUP; then nothing that was started is left. say: prints a line.

    Raises StartError when it cannot start.
    """
    stopping = asyncio.Event()
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()

    def leave() -> None:
        if not stopping.is_set() and task is not None:
            stopping.set()
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, leave)
    try:
        async with running(options, say=say) as found:
            for line in banner(options, found):
                say(line)
            await asyncio.gather(*[worker.watch() for worker in found.workers], _watch_servers(found))
    except asyncio.CancelledError:
        if not stopping.is_set():
            raise
        say("Stopped.")


@asynccontextmanager
async def running(options: Options, *, say: Callable[[str], None]) -> AsyncIterator[Running]:
    """The platform answers, and `access.json` says where; both end with the block."""
    run = options.data_dir / "run"
    _made(options.data_dir, run)
    async with AsyncExitStack() as stack:
        stack.enter_context(alone(options.data_dir))
        stack.enter_context(_logged(run / "supervisor.log"))
        access = options.data_dir / "access.json"
        access.unlink(missing_ok=True)
        public = listen(options.port)
        for each in public:
            stack.callback(each.close)
        issuer = _issuer(options, public[0].getsockname()[1])
        say("Starting PostgreSQL, NATS and the services …")
        installation = Installation.opened(options.data_dir / "secrets", options.environment)
        postgres, nats = servers_of(options.data_dir, installation, pg_bin=options.pg_bin, nats_bin=options.nats_bin)
        stack.callback(postgres.stop)
        stack.callback(nats.stop)
        # Workers, preparation and demo load their code while the servers start.
        workers = _begin_workers(stack, options, issuer, public, run)
        preparation = Preparation(run, issuer=issuer)
        stack.callback(preparation.stop)
        preparation.begin()
        demo = _begin_demo(stack, options, issuer, run) if options.demo else None
        mail = demo.mail_settings if demo is not None else {}
        postgres.start()
        nats.start()
        if postgres.programs is not None:
            say(f"PostgreSQL {postgres.programs.version} ({postgres.programs.origin}) and NATS are running.")
        urls = {
            service: postgres.url(DATABASE, user=service.role, password=installation.database_passwords[service])
            for service in Service
        }
        secrets_dir = options.data_dir / "secrets"
        noted = secrets_dir / "administrator.json"
        await _provisioned(stack, nats.url, installation, secrets_dir)
        await preparation.done(
            Orders(url=postgres.url(DATABASE), urls=urls, secrets=secrets_dir, issuer=issuer, noted=noted)
        )
        say("The database is up to date.")
        told = {
            service: installation.settings_of(service, database_url=urls[service], nats_url=nats.url)
            | {"public_url": issuer}
            | mail
            for service in Service
        }
        for worker in workers:
            worker.tell(told)
        await asyncio.gather(*[worker.until_ready(READY_WITHIN_S) for worker in workers])
        admin = noted_administrator(noted)
        if await asyncio.to_thread(_is_refused, admin.admin_token, issuer, public[0].getsockname()[1]):
            admin = await _renewed(noted, postgres.url(DATABASE), urls) or admin
        if demo is not None:
            await demo.configured(admin_token=admin.admin_token, secret=secrets.token_urlsafe(24))
        write_private(access, access_document(admin, issuer=issuer, console=f"{issuer}/admin", nats_url=nats.url))
        stack.callback(access.unlink, missing_ok=True)
        yield Running(issuer, admin, postgres, nats, workers, tuple(demo.notes) if demo is not None else ())


def _made(*directories: Path) -> None:
    """They exist, and this account may write there. Raises StartError."""
    for directory in directories:
        why = "permission denied or read-only"
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if os.access(directory, os.W_OK | os.X_OK):
                continue
        except OSError as error:
            why = error.strerror or str(error)
        raise StartError(
            f"{directory} cannot be written to ({why}): choose another directory with --data-dir, or give this one to "
            "the account that runs `watchword up`"
        )


def _is_refused(key: str, issuer: str, port: int) -> bool:
    """Whether the key that access.json is to hold ended, with everything for example."""
    parts = urlsplit(issuer)
    headers = {"Host": parts.netloc, "Watchword-API-Key": key}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{parts.path}/api/v1/me", headers=headers)
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(request, timeout=10):
            return False
    except urllib.error.HTTPError as error:
        return error.code == 401
    except OSError:
        return False


async def _renewed(noted: Path, url: str, urls: Mapping[Service, str]) -> Administrator | None:
    """The administrator with a new key; None where who is noted is none any more."""
    import asyncpg

    from watchword.restore import renewed

    connection = await asyncpg.connect(url)
    try:
        return await renewed(connection, noted, urls, now=datetime.now(UTC))
    finally:
        await connection.close()


def _issuer(options: Options, port: int) -> str:
    if options.public_url is None:
        return f"http://localhost:{port}"
    from watchword_runtime.settings import checked_public_url

    try:
        return checked_public_url(options.public_url)
    except ValueError as error:
        raise StartError(f"WATCHWORD_PUBLIC_URL is invalid: {error}") from None


def _begin_workers(
    stack: AsyncExitStack, options: Options, issuer: str, public: list[socket.socket], run: Path
) -> tuple[Worker, ...]:
    env = _worker_environment(options.environment, issuer)
    workers = tuple(
        Worker(f"worker-{number}", Service, public=public, run=run, env=env) for number in range(1, options.workers + 1)
    )
    stack.callback(_stop_all, workers)
    for worker in workers:
        worker.start()
    return workers


async def _provisioned(stack: AsyncExitStack, url: str, installation: Installation, secrets_dir: Path) -> None:
    """Streams and durables exist, and come back if they are lost, until the stack is closed."""

    def granted() -> Sequence[Grant]:
        return load_grants(grants_path(secrets_dir))

    try:
        async with asyncio.timeout(READY_WITHIN_S):
            client = await stack.enter_async_context(connected([url], installation.seeds[Operator.PROVISION]))
            await provision(client.jetstream(), grants=granted())
    except TimeoutError:
        raise StartError(
            "nats-server runs but does not answer; its log is run/nats.log in the data directory"
        ) from None
    watching = asyncio.create_task(watch(client.jetstream(), grants=granted), name="provision")
    stack.push_async_callback(_ended, watching)


def banner(options: Options, found: Running) -> list[str]:
    """The plain block that ends the start."""
    width = 15
    rows = [
        ("Issuer", found.issuer),
        ("Console", f"{found.issuer}/admin"),
        ("Administrator", f"{found.admin.username}   password: {found.admin.password}"),
        *[(name.strip(), value.strip()) for name, _, value in (note.partition(":") for note in found.notes)],
        ("Terminal", f"{_command(sys.argv[0])} --help: users, clients, revoke, doctor, …"),
        ("Data", f"{options.data_dir} (access.json while it runs, logs in run/)"),
        ("Stop", "Ctrl-C; everything is kept for the next start. To begin afresh, delete the data directory"),
    ]
    lines = [f"  {name:<{width}}{value}" for name, value in rows]
    return ["", "Watchword is ready. Embedded servers: for evaluation, not for production.", "", *lines, ""]


def _command(program: str) -> str:
    """What to type for this program: its bare name where the shell finds it, else where it lies."""
    found = shutil.which("watchword")
    here = Path(program)
    return "watchword" if found is not None and here.exists() and os.path.samefile(found, here) else str(here)


class InUse(StartError):
    """Another process works on the data directory."""


@contextmanager
def alone(data_dir: Path) -> Iterator[None]:
    """Only one supervisor works on a data directory. Raises InUse."""
    lock = data_dir / "run" / "supervisor.lock"
    with open(os.open(lock, os.O_RDWR | os.O_CREAT, 0o600), "r+") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = held.read().strip()
            raise InUse(
                f"{data_dir} is in use by another `watchword up`{f' (process {pid})' if pid else ''}: "
                "stop that one, or choose another directory with --data-dir"
            ) from None
        held.truncate(0)
        held.write(str(os.getpid()))
        held.flush()
        yield


@contextmanager
def _logged(path: Path) -> Iterator[TextIO]:
    """The supervisor's own log lines go to a file; the terminal is for people."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a") as stream:
        logging.configure("supervisor", "info", stream)
        yield stream


def servers_of(
    data_dir: Path, installation: Installation, *, pg_bin: str | None = None, nats_bin: str | None = None
) -> tuple[PostgresServer, NatsServer]:
    """The servers that keep their data in the directory; neither is started."""
    run = data_dir / "run"
    postgres = PostgresServer(
        data_dir / "postgres", password=installation.superuser_password, log=run / "postgres.log", pg_bin=pg_bin
    )
    grants = grants_path(data_dir / "secrets")
    nats = NatsServer(
        data_dir / "nats",
        configuration=lambda port: embedded_text(data_dir, port)(installation, load_grants(grants)),
        log=run / "nats.log",
        program=nats_bin,
    )
    return postgres, nats


def _worker_environment(own: Mapping[str, str], issuer: str) -> dict[str, str]:
    """On a loopback origin identity providers on loopback are what one tries; a real origin makes no such exception."""
    host = urlsplit(issuer).hostname or ""
    local = issuer.startswith("http://") and (host == "localhost" or host.startswith("127.") or host == "::1")
    kept = {name: value for name, value in own.items() if name not in VARIABLES}  # no worker sees the master key
    return {"WATCHWORD_ENVIRONMENT": "demo" if local else "production", **kept}


def _stop_all(workers: tuple[Worker, ...]) -> None:
    for worker in workers:
        worker.begin_stop()
    for worker in workers:
        worker.stop()


async def _ended(task: "asyncio.Task[None]") -> None:
    from watchword_database.tasks import end  # not before it is needed: it brings SQLAlchemy

    await end(task)


async def _watch_servers(found: Running) -> None:
    """A server that died is started again at its address, until cancelled."""
    while True:
        await asyncio.sleep(0.5)
        for name, server in (("postgres", found.postgres), ("nats-server", found.nats)):
            if not server.is_alive:
                log.error("server.died", name=name)
                began = time.monotonic()
                with contextlib.suppress(StartError):
                    server.start()
                    log.info("server.restarted", name=name, took_ms=round((time.monotonic() - began) * 1000))


def _begin_demo(stack: AsyncExitStack, options: Options, issuer: str, run: Path) -> "Started":
    """The demo loads its code. Mail ends there, unless the operator named a mail server."""
    from watchword import demo

    with_mail = "WATCHWORD_SMTP_HOST" not in options.environment
    started = demo.begin(run=run, data=options.data_dir / "demo", issuer=issuer, with_mail=with_mail)
    stack.callback(started.stop)
    return started
