"""What every story about a fault needs: people who sign in meanwhile, and what must be true afterwards."""

import asyncio
import os
import secrets
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import asyncpg
import httpx2
from nats.aio.client import Client

from watchword.embedded.nats import NatsServer
from watchword.workers import Worker
from watchword_events.catalogue import durables
from watchword_events.names import Service
from watchword_runtime.durables import consumer_config
from watchword_testkit.browser import Browser
from watchword_testkit.canary import Canary
from watchword_testkit.docker import DockerNats
from watchword_testkit.factory import WorkerPlatform
from watchword_testkit.platform import READY_WITHIN_S
from watchword_testkit.servers import Broker
from watchword_testkit.signin import Party, SignIn

PASSWORD = "correct horse battery staple"
# How long an installation may take to be whole again after a fault; far more than it needs, far less than for ever.
HEALS_WITHIN_S = 60.0


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
        async with httpx2.AsyncClient(trust_env=False, timeout=20) as http:
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
