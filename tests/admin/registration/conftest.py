"""An installation at which clients register themselves with an initial access token."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import asyncpg
import httpx2
import pytest

from watchword_testkit.api import Api
from watchword_testkit.browser import note_secrets
from watchword_testkit.canary import Canary
from watchword_testkit.databases import Template
from watchword_testkit.http import http_client
from watchword_testkit.pages import Page
from watchword_testkit.platform import Platform, in_this_process, prepared
from watchword_testkit.servers import Postgres
from watchword_testkit.signin import Party, SignIn
from watchword_testkit.web import Site, web_site

Metadata = dict[str, object]

REDIRECT_URI = "https://app.example/callback"


@pytest.fixture(scope="package")
async def web(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """A web site of strangers."""
    async with web_site(tmp_path_factory.mktemp("web")) as site:
        yield site


@pytest.fixture(scope="package")
async def site(
    postgres: Postgres, database_template: Template, tmp_path_factory: pytest.TempPathFactory, web: Site
) -> AsyncIterator[Platform]:
    """An installation where `registration` is `token` and documents count. At its end no secret is found."""
    settings = {
        "registration": "token",
        "registration_calls_per_s": "1000",
        "registration_calls_burst": "10000",
        "client_document_hosts": "localhost,*.example",
        "outbound_ca_file": str(web.ca_file),
    }
    async with (
        prepared(postgres, database_template, tmp_path_factory.mktemp("registration")) as made,
        in_this_process(made, **settings) as running,
    ):
        yield running
        await running.check_secrets()


async def sql(site: Platform, statement: str, *values: object) -> list[asyncpg.Record]:
    """What a statement finds, past every service."""
    connection = await asyncpg.connect(site.database.admin_url)
    try:
        return list(await connection.fetch(statement, *values))
    finally:
        await connection.close()


async def ask(site: Platform, client_id: str, **params: str) -> Page:
    """The page, or the redirect, that an authorization request leads to."""
    async with site.browser() as browser:
        return await SignIn(browser, Party(site.issuer, client_id, None, REDIRECT_URI, "none"), params=params).start()


async def until_it_is_on(site: Platform, url: str) -> None:
    """Every copy has heard what became of it."""
    async with asyncio.timeout(30):
        while not (await ask(site, url)).has("username"):
            await asyncio.sleep(0.05)


@pytest.fixture
async def admin(site: Platform, canary: Canary) -> AsyncIterator[Api]:
    """The administrator's client."""
    made = site.api(canary)
    yield made
    await made.close()


@dataclass
class Stranger:
    """A program that registers itself. token: initial access token."""

    issuer: str
    token: str | None
    canaries: tuple[Canary, ...] = ()
    http: httpx2.AsyncClient = field(default_factory=lambda: http_client(timeout=20.0))

    async def send(
        self, method: str, url: str, metadata: object = None, token: str | None = None, **headers: str
    ) -> httpx2.Response:
        """The answer, whatever its status. url: absolute, or below the issuer."""
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        full = url if url.startswith("http") else f"{self.issuer}{url}"
        answer = await self.http.request(method, full, json=metadata, headers=headers)
        if answer.headers.get("content-type", "").startswith("application/json"):
            for canary in self.canaries:
                note_secrets(canary, answer.json())
        return answer

    async def try_to_register(self, **metadata: object) -> httpx2.Response:
        """The answer to a registration with sensible metadata, overridden by `metadata`; null leaves one out."""
        wanted: Metadata = {"client_name": f"Agent {secrets.token_hex(3)}", "redirect_uris": [REDIRECT_URI], **metadata}
        sent = {name: value for name, value in wanted.items() if value is not ...}
        return await self.send("POST", "/oauth2/register", sent, self.token)

    async def register(self, **metadata: object) -> Metadata:
        """The client that came of it."""
        answer = await self.try_to_register(**metadata)
        assert answer.status_code == 201, f"{answer.status_code}: {answer.text}"
        return dict(answer.json())

    async def manage(
        self, method: str, client: Metadata, metadata: object = None, *, query: str = ""
    ) -> httpx2.Response:
        """The answer of a client's own registration."""
        url = f"{client['registration_client_uri']}{f'?{query}' if query else ''}"
        return await self.send(method, url, metadata, str(client["registration_access_token"]))


@pytest.fixture
async def stranger(site: Platform, admin: Api, canary: Canary) -> AsyncIterator[Stranger]:
    """A program with an initial access token for many registrations."""
    made = await admin.create("/registration-tokens", name="Test", uses=1000)
    program = Stranger(site.issuer, str(made["token"]), (canary, site.canary))
    yield program
    await program.http.aclose()
