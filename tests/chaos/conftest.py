"""What every story about a fault needs: people who sign in meanwhile, and what must be true afterwards."""

import asyncio
import json
import os
import secrets
import shutil
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace

import asyncpg
import pytest
from nats.aio.client import Client
from tests.chaos.sentries import BOUND_S, Ring, ring_of, within_bound

from watchword.embedded.nats import NatsServer
from watchword.provision import watch
from watchword.workers import Worker
from watchword_events.catalogue import durables
from watchword_events.names import Service
from watchword_runtime.durables import consumer_config
from watchword_testkit.browser import Browser
from watchword_testkit.canary import Canary
from watchword_testkit.databases import Template
from watchword_testkit.docker import DockerNats
from watchword_testkit.factory import WorkerPlatform, in_processes
from watchword_testkit.http import http_client
from watchword_testkit.platform import READY_WITHIN_S, prepared
from watchword_testkit.servers import Broker, Postgres
from watchword_testkit.signin import Party, SignIn

PASSWORD = "correct horse battery staple"
# How long an installation may take to be whole again after a fault; far more than it needs, far less than for ever.
HEALS_WITHIN_S = 60.0
_PROPERTY = "bound observed"

Observe = Callable[..., float]


@pytest.fixture
def observed(record_property: Callable[[str, object], None]) -> Observe:
    """Notes how long after their revocation tokens were still accepted; pytest prints it at the end.

    Raises AssertionError when that was longer than the staleness bound.
    """

    def note(*seconds: float, bound_s: float = BOUND_S) -> float:
        worst = within_bound(seconds, bound_s)
        record_property(_PROPERTY, [worst, bound_s])
        return worst

    return note


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line for each scenario: how long after its revocation a token was still accepted."""
    lines = [
        f"{worst * 1000:7.0f} ms of {bound_s:g} s  {report.nodeid.removeprefix('tests/chaos/')}"
        for report in terminalreporter.getreports("passed")
        if report.when == "call"
        for name, (worst, bound_s) in (each for each in report.user_properties if each[0] == _PROPERTY)
    ]
    if lines:
        terminalreporter.section("last acceptance after a revocation, and the bound that was promised")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture(scope="module")
async def installation(
    postgres: Postgres, database_template: Template, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[WorkerPlatform]:
    """Two workers and a NATS, shared by the stories of a module: each leaves them whole."""
    home = tmp_path_factory.mktemp("installation")
    async with prepared(postgres, database_template, home) as site, in_processes(site, 2) as running:
        yield running
        await assert_whole(running)


@pytest.fixture
async def ring(installation: WorkerPlatform) -> AsyncIterator[Ring]:
    """Both workers as sentries, a verifier on HTTP and one on NATS. Afterwards all is well without a restart.

    Ends with a new token that everybody accepts until it is revoked. Only what the test killed has another process.
    """
    pids = {worker.name: worker.pid for worker in installation.workers}
    async with ring_of(installation) as made:
        made.add_doors()
        await made.add_verifier("verifier on HTTP")
        await made.add_verifier("verifier on NATS", nats_at=installation.nats.url)
        yield made
        await assert_healed(made)
    for worker in installation.workers:
        assert worker.pid == pids[worker.name] or worker.name in made.killed


async def assert_healed(ring: Ring) -> None:
    """Whatever happened is over: a new token is good everywhere until it is revoked, and then nowhere."""
    token = await ring.token()
    await ring.all_accept(token)

    async def all_fresh() -> bool:
        return all(verifier.is_fresh for verifier in ring.verifiers)

    await until(all_fresh, "a verifier stays stale")
    within_bound([await ring.last_acceptance_s(token, since=await ring.revoke(token))])


def replace_killed(ring: Ring, platform: WorkerPlatform, worker: Worker) -> None:
    """A worker dies and another takes its place; until the end of the test it is no sentry."""
    worker.kill()
    ring.killed.add(worker.name)
    ring.sentries = [each for each in ring.sentries if each.name != worker.name]
    revive(platform, worker)


def leader_of(platform: WorkerPlatform, event: str = "ledger.leading", **fields: str) -> Worker:
    """The worker that said last that it leads."""
    said = []
    for worker in platform.workers:
        for line in worker.log.read_text(errors="replace").splitlines():
            if event in line:
                entry = json.loads(line)
                if entry["event"] == event and fields.items() <= entry.items():
                    said.append((entry["timestamp"], worker))
    assert said, f"nobody said {event}"
    return max(said, key=lambda each: each[0])[1]


@contextmanager
def suspended(worker: Worker) -> Iterator[None]:
    """A worker stands still during the block, its connections open."""
    os.kill(worker.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        if worker.is_alive:
            os.kill(worker.pid, signal.SIGCONT)


def wipe(platform: WorkerPlatform) -> None:
    """The killed nats-server forgets everything that it had stored."""
    match platform.nats:
        case NatsServer():
            shutil.rmtree(platform.site.home / "js")
        case DockerNats():
            platform.nats.remove()
        case _:
            raise AssertionError(f"do not know how to wipe {platform.nats!r}")


@asynccontextmanager
async def provisioner(platform: WorkerPlatform) -> AsyncIterator[None]:
    """Streams that are missing are made again during the block, as `watchword provision --watch` does."""
    async with platform.nats_client() as client:
        watching = asyncio.create_task(watch(client.jetstream()))
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)


@dataclass
class Crowd:
    """People at one application. sign_ins: how many succeeded."""

    platform: WorkerPlatform
    party: Party
    canary: Canary
    usernames: list[str] = field(default_factory=list)
    sign_ins: int = 0

    @classmethod
    async def gathered(cls, platform: WorkerPlatform, canary: Canary, *, people: int = 3) -> "Crowd":
        """Users with a password, and a client."""
        api = platform.api(canary)
        crowd = cls(platform, await Party.registered(api, platform.issuer, canary), canary)
        for number in range(people):
            name = f"person-{number}-{secrets.token_hex(3)}"
            await api.create("/users", username=name, email=f"{name}@example.com", name="A Person", password=PASSWORD)
            crowd.usernames.append(name)
        return crowd

    async def sign_in(self, number: int = 0) -> dict[str, str]:
        """The tokens of one of them, from a browser that was never here before."""
        async with Browser(self.platform.issuer, self.platform.canary, self.canary) as browser:
            name = self.usernames[number % len(self.usernames)]
            tokens = await SignIn(browser, self.party).with_password(name, PASSWORD)
        assert (await self.party.userinfo(tokens["access_token"])).status_code == 200
        self.sign_ins += 1
        return tokens

    async def is_refused(self, token: str) -> bool:
        """Whether ten requests in a row, at whichever worker, find the token dead."""
        async with http_client(timeout=20) as http:
            for _ in range(10):  # "close": the next one may meet another worker
                headers = {"Authorization": f"Bearer {token}", "Connection": "close"}
                answer = await http.get(f"{self.platform.issuer}/oauth2/userinfo", headers=headers)
                if answer.status_code != 401:
                    return False
        return True


@contextmanager
def frozen(server: Broker) -> Iterator[None]:
    """A nats-server stands still during the block, its connections open; the block may kill it."""
    match server:
        case DockerNats():
            server.freeze()
            yield
            server.thaw()
        case NatsServer():
            os.kill(server.pid, signal.SIGSTOP)
            try:
                yield
            finally:
                if server.is_alive:
                    os.kill(server.pid, signal.SIGCONT)
        case _:
            raise AssertionError(f"do not know how to freeze {server!r}")


async def is_back(client: Client) -> None:
    """The test's own connection to a server that was away works again."""

    async def connected() -> bool:
        return bool(client.is_connected)

    await until(connected, "no connection to NATS")


async def until(condition: Callable[[], Awaitable[bool]], why: str, *, within_s: float = HEALS_WITHIN_S) -> None:
    """Returns when the condition holds. Raises AssertionError with the reason when it does not in time."""
    deadline = time.monotonic() + within_s
    while not await condition():
        assert time.monotonic() < deadline, why
        await asyncio.sleep(0.05)


async def make_impatient(platform: WorkerPlatform) -> None:
    """An event whose consumer died is offered to another after 2 s, not 30: tests have less time than people."""
    async with platform.nats_client() as client:
        for durable in durables():
            await client.jetstream().add_consumer(durable.stream, replace(consumer_config(durable), ack_wait=2.0))


def revive(platform: WorkerPlatform, worker: Worker) -> None:
    """A killed worker starts again and is told what it was told before."""
    worker.start()
    worker.tell(platform.site.settings(platform.issuer, {}))


async def ready_again(platform: WorkerPlatform) -> None:
    """Every worker is ready."""
    for worker in platform.workers:
        await worker.until_ready(READY_WITHIN_S)


async def assert_whole(platform: WorkerPlatform) -> None:
    """Every committed event stands in its stream exactly once, and every consumer has dealt with all of its own.

    Also: no secret stands in a table or in the log of a process that died.
    """
    connection = await asyncpg.connect(platform.database.admin_url)
    try:
        async with platform.nats_client() as client:
            for service in Service:

                async def is_out(schema: str = service.value) -> bool:
                    sql = f"SELECT count(*) FROM {schema}.outbox WHERE published_at IS NULL"
                    return int(await connection.fetchval(sql)) == 0

                await until(is_out, f"{service}: committed events were not published")
                rows = await connection.fetch(f"SELECT event_id::text AS id FROM {service}.outbox")
                found = await _streamed(client, service)
                assert found == Counter(row["id"] for row in rows), f"{service}: lost, doubled or made up"
            for durable in durables():

                async def is_done(stream: str = durable.stream, name: str = durable.name) -> bool:
                    info = await client.jetstream().consumer_info(stream, name)
                    return not (info.num_pending or info.num_ack_pending)

                await until(is_done, f"{durable.name}: events were not dealt with")
        for service in Service:
            assert await connection.fetchval(f"SELECT count(*) FROM {service}.dead_letter") == 0
    finally:
        await connection.close()
    await platform.check_secrets()


async def _streamed(client: Client, service: Service) -> Counter[str]:
    """How often each event id stands in a service's stream."""
    js = client.jetstream()
    state = (await js.stream_info(service.stream)).state
    found: Counter[str] = Counter()
    for sequence in range(max(1, state.first_seq), state.last_seq + 1):
        message = await js.get_msg(service.stream, sequence)
        found[(message.headers or {})["ce-id"]] += 1
    return found
