"""A running installation for tests: all five services in this process, on real servers and a real port."""

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import httpx2
from nats.aio.client import Client

from watchword import bootstrap
from watchword.installation import Installation, Operator
from watchword.nats_conf import render
from watchword.provision import connected, provision
from watchword.sockets import listen
from watchword_events.names import Service
from watchword_runtime.clock import Clock, utc_now
from watchword_testkit.api import Api
from watchword_testkit.browser import Browser
from watchword_testkit.canary import Canary
from watchword_testkit.databases import Template, TestDatabase
from watchword_testkit.http import http_client
from watchword_testkit.servers import Broker, Postgres, own_broker

if TYPE_CHECKING:
    from watchword.composition import Process

READY_WITHIN_S = 30.0
# all tests come from one address, faster than people do; a test of a limit says its own
_NO_LIMITS = {
    "console_calls_burst": "100000",
    "federation_address_burst": "100000",
    "refused_calls_burst": "100000",
    "flows_per_s": "10000",
}


@dataclass
class Site:
    """An installation that does not run yet: a migrated database, a provisioned NATS with accounts, and its secrets."""

    installation: Installation
    database: TestDatabase
    nats: Broker
    home: Path

    def settings(self, issuer: str, more: Mapping[str, str]) -> dict[Service, dict[str, str]]:
        """What each service is told."""
        return {
            service: self.installation.settings_of(
                service, database_url=self.database.url(service), nats_url=self.nats.url
            )
            | {"public_url": issuer, "environment": "demo", **_NO_LIMITS, **more}
            for service in Service
        }

    async def first_data(self, issuer: str) -> bootstrap.Administrator:
        """The console is registered; comes back with the first administrator."""
        urls = {service: self.database.url(service) for service in Service}
        await bootstrap.console(urls[Service.ADMIN], public_url=issuer, now=utc_now())
        return await bootstrap.administrator(self.home / "administrator.json", urls, now=utc_now())


@dataclass
class Platform:
    """An installation that answers at `issuer`, with its parts for tests that look inside.

    process: the services, where they run in the test's own process.
    """

    issuer: str
    site: Site
    admin: bootstrap.Administrator
    canary: Canary = field(default_factory=Canary)
    process: "Process | None" = None
    _clients: list[Browser | Api] = field(default_factory=list)

    @property
    def nats(self) -> Broker:
        """The nats-server, which a test may kill and start again."""
        return self.site.nats

    @property
    def database(self) -> TestDatabase:
        """The database, as superuser and as each service."""
        return self.site.database

    def browser(self, *canaries: Canary) -> Browser:
        """A new person's browser, closed with the platform. canaries: learn its secrets beside the platform's own."""
        made = Browser(self.issuer, self.canary, *canaries)
        self._clients.append(made)
        return made

    def api(self, *canaries: Canary, token: str | None = None) -> Api:
        """A client of `/api/v1`: the administrator's, or one with another API key ("" for none)."""
        made = Api(self.issuer, self.admin.admin_token if token is None else token, self.canary, *canaries)
        self._clients.append(made)
        return made

    async def until_ready(self) -> None:
        """Returns when the services in this process are ready. Raises TimeoutError with what they wait for."""
        assert self.process is not None, "it runs in processes of its own"
        await self.process.until_ready(READY_WITHIN_S)

    async def until_seen(self, *written: httpx2.Response) -> None:
        """What these answers to writes did counts in every service, where all of them run in one process."""
        demanded = {"Watchword-Position": " ".join(answer.headers["Watchword-Position"] for answer in written)}
        async with http_client(timeout=20.0) as http:
            answer = await http.get(f"{self.issuer}/oauth2/jwks", headers=demanded)
        assert answer.status_code == 200, answer.text

    @asynccontextmanager
    async def nats_client(self) -> AsyncIterator[Client]:
        """A NATS connection that may do everything in the platform's account."""
        async with connected([self.nats.url], self.site.installation.seeds[Operator.PROVISION]) as client:
            yield client

    async def check_secrets(self) -> None:
        """Raises AssertionError when a secret seen so far stands in a column of any table, outboxes included."""
        self.canary.check("the database", [text async for text in _rows(self.database.admin_url)])

    async def close_clients(self) -> None:
        """Browsers and API clients are closed."""
        for each in self._clients:
            await each.close()
        self._clients.clear()


@asynccontextmanager
async def prepared(postgres: Postgres, template: Template, home: Path) -> AsyncIterator[Site]:
    """A site of its own; its database and its NATS are gone afterwards."""
    installation = replace(Installation.drawn(), database_passwords=template.passwords)
    keys = installation.nats_public_keys()
    database = TestDatabase(postgres, await postgres.create_database(template=template.name), template.passwords)
    with own_broker(home, lambda port, store, host: render(keys, port=port, store=store, host=host)) as nats:
        async with connected([nats.url], installation.seeds[Operator.PROVISION]) as client:
            await provision(client.jetstream())
        yield Site(installation, database, nats, home)
    await database.close()
    await postgres.drop_database(database.name)


@asynccontextmanager
async def in_this_process(
    site: Site, *, now: Clock = utc_now, path: str = "", **settings: str
) -> AsyncIterator[Platform]:
    """The five services answer on a free port of 127.0.0.1, in the loop of the caller.

    now: the services' clock.  path: of the public URL, for example "/auth".  settings: by name, for every service.
    """
    from watchword.composition import compose, settings_of  # all of the services: only for tests that need them

    public = listen(0)
    issuer = f"http://localhost:{public[0].getsockname()[1]}{path}"
    admin = await site.first_data(issuer)
    told = site.settings(issuer, settings)
    process = compose({service: settings_of(service, given) for service, given in told.items()}, now=now)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(process.stop)
        await process.start()
        await stack.enter_async_context(_served(process, public))
        platform = Platform(issuer, site, admin, process=process)
        await platform.until_ready()
        platform.canary.add("password", admin.password)
        platform.canary.add("token", admin.admin_token)
        stack.push_async_callback(platform.close_clients)
        yield platform


@asynccontextmanager
async def _served(process: "Process", public: list[socket.socket]) -> AsyncIterator[None]:
    from watchword.worker import server_of

    server = server_of(process.app, 2.0)
    serving = asyncio.create_task(server.serve(sockets=public), name=f"server-{secrets.token_hex(2)}")
    while not server.started:
        if serving.done():
            await serving
        await asyncio.sleep(0.005)
    try:
        yield
    finally:
        process.leaving.leave()
        server.should_exit = True
        await serving


async def _rows(url: str) -> AsyncIterator[str]:
    """Every row of every table of the services and of `bus`, as text."""
    connection = await asyncpg.connect(url)
    try:
        tables = await connection.fetch(
            "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables WHERE schemaname = ANY($1)",
            ["bus", *Service],
        )
        for table in tables:
            for row in await connection.fetch(f"SELECT t::text AS row FROM {table['name']} t"):
                yield row["row"]
    finally:
        await connection.close()
