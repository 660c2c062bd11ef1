"""An agent that knows nothing but the address of a server signs somebody in there, though nobody registered it."""

import asyncio
import base64
import hashlib
import re
import secrets
from collections.abc import AsyncIterator
from typing import Annotated, Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
import pytest
from fastapi import Depends, FastAPI

from watchword_testkit.api import Api
from watchword_testkit.browser import Browser, note_secrets
from watchword_testkit.canary import Canary
from watchword_testkit.databases import Template
from watchword_testkit.http import http_client
from watchword_testkit.platform import Platform, in_this_process, prepared
from watchword_testkit.servers import Postgres
from watchword_testkit.signin import Party
from watchword_testkit.web import Site, web_site
from watchword_verifier import Claims, ClientCredentials, HttpFeed, ProtectedResource, Verifier, WhenStale
from watchword_verifier.fastapi import install, require, serve

SERVER = "https://mcp.example.com/mcp"
CALLBACK = "http://127.0.0.1:33418/callback"


@pytest.fixture(scope="module")
async def web(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """Where the agent's maker publishes its document."""
    async with web_site(tmp_path_factory.mktemp("web")) as site:
        yield site


@pytest.fixture(scope="module")
async def site(
    postgres: Postgres, database_template: Template, tmp_path_factory: pytest.TempPathFactory, web: Site
) -> AsyncIterator[Platform]:
    """An installation that is open to agents. At its end no secret is found."""
    settings = {
        "registration": "open",
        "client_document_hosts": "localhost",
        "outbound_ca_file": str(web.ca_file),
    }
    async with (
        prepared(postgres, database_template, tmp_path_factory.mktemp("mcp")) as made,
        in_this_process(made, **settings) as running,
    ):
        yield running
        await running.check_secrets()


@pytest.fixture(scope="module")
async def administrator(site: Platform) -> Api:
    """Made the server known, once."""
    api = site.api()
    await api.create("/resources", identifier=SERVER, name="Tools", scopes=["mcp:tools"], any_client=True)
    return api


@pytest.fixture(scope="module")
async def server(site: Platform, administrator: Api) -> AsyncIterator[httpx2.AsyncClient]:
    """The MCP server: another team's, which has the verifier and its own client for the feed."""
    own = await Party.registered(
        administrator, site.issuer, site.canary, grant_types=["client_credentials"], redirect_uris=[],
        response_types=[], scope="revocations:read introspect:any",
    )  # fmt: skip
    assert own.client_secret is not None
    feed = HttpFeed(site.issuer, ClientCredentials(site.issuer, own.client_id, own.client_secret))
    app = FastAPI()
    async with Verifier(site.issuer, SERVER, feed=feed, when_stale=WhenStale.REFUSE) as verifier:
        resource = ProtectedResource(SERVER, site.issuer, scopes=("mcp:tools",), name="Tools")
        install(app.state, verifier, resource=resource)
        serve(app, resource)

        @app.post("/mcp")
        async def call(claims: Annotated[Claims, Depends(require(scope="mcp:tools"))]) -> dict[str, str]:
            return {"hello": claims.subject}

        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app)) as http:
            yield http


class Agent:
    """A program that was told one address. register: how it makes itself known, from what the server's metadata say."""

    def __init__(self, server: httpx2.AsyncClient, browser: Browser, web: Site, *canaries: Canary) -> None:
        self.server, self.browser, self.web, self.canaries = server, browser, web, canaries
        self.http = http_client()

    async def find(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The metadata of the server, and of who makes its tokens. Spec: RFC 9728 3.3, 5.1; RFC 8414 3.3."""
        refused = await self.server.post(SERVER)
        assert refused.status_code == 401
        found = re.search(r'resource_metadata="([^"]+)"', refused.headers["www-authenticate"])
        assert found is not None
        resource = (await self.server.get(found[1])).json()
        assert resource["resource"] == SERVER
        (issuer,) = resource["authorization_servers"]
        metadata = (await self.http.get(f"{issuer}/.well-known/oauth-authorization-server")).json()
        assert metadata["issuer"] == issuer
        assert "S256" in metadata["code_challenge_methods_supported"]
        return resource, metadata

    def published(self, metadata: dict[str, Any]) -> str:
        """Its client id: the document that its maker published."""
        assert metadata["client_id_metadata_document_supported"] is True
        path = f"/{secrets.token_hex(4)}/agent.json"
        return self.web.put(path, self.described() | {"client_id": f"{self.web.url}{path}"})

    async def registered(self, metadata: dict[str, Any]) -> str:
        """Its client id: it registers itself."""
        answer = await self.http.post(metadata["registration_endpoint"], json=self.described())
        assert answer.status_code == 201, answer.text
        for canary in self.canaries:
            note_secrets(canary, answer.json())
        return str(answer.json()["client_id"])

    def described(self) -> dict[str, Any]:
        """What it says of itself."""
        return {
            "client_name": "Agent",
            "redirect_uris": [CALLBACK],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": "none",
        }

    async def sign_in(self, site: Platform, client_id: str, metadata: dict[str, Any], scope: str) -> dict[str, Any]:
        """The tokens, once the person has signed in and allowed it."""
        verifier, state = secrets.token_urlsafe(48), secrets.token_urlsafe(16)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": CALLBACK,
            "scope": scope,
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            "resource": SERVER,
        }
        page = await self.browser.open(f"{metadata['authorization_endpoint']}?{urlencode(query)}")
        if page.has("username"):
            page = await self.browser.submit(
                "username", "sign-in", username=site.admin.username, password=site.admin.password
            )
        assert page.has("allow"), f"{page.url} {page.error_code}"
        assert "Nobody here has checked this application" in page.texts["unverified"]
        page = await self.browser.submit("decision", "allow")
        came = {name: values[0] for name, values in parse_qs(urlsplit(page.location).query).items()}
        assert (came["state"], came["iss"]) == (state, metadata["issuer"])
        answer = await self.http.post(
            metadata["token_endpoint"],
            data={
                "grant_type": "authorization_code",
                "code": came["code"],
                "redirect_uri": CALLBACK,
                "client_id": client_id,
                "code_verifier": verifier,
                "resource": SERVER,
            },
        )
        assert answer.status_code == 200, answer.text
        for canary in self.canaries:
            note_secrets(canary, answer.json())
        return dict(answer.json())

    async def call(self, token: str) -> httpx2.Response:
        """The server's answer."""
        return await self.server.post(SERVER, headers={"Authorization": f"Bearer {token}"})


@pytest.mark.spec("RFC 9728 3.3")
@pytest.mark.spec("RFC 8707 2")
@pytest.mark.parametrize("way", ["document", "registration"])
async def test_an_agent_signs_somebody_in_at_a_server_that_it_has_never_seen(
    site: Platform, server: httpx2.AsyncClient, administrator: Api, web: Site, way: str
) -> None:
    async with site.browser() as browser:
        agent = Agent(server, browser, web, site.canary)
        resource, metadata = await agent.find()
        client_id = agent.published(metadata) if way == "document" else await agent.registered(metadata)
        tokens = await agent.sign_in(site, client_id, metadata, " ".join(resource["scopes_supported"]))
    assert tokens["scope"] == "mcp:tools"
    answer = await agent.call(tokens["access_token"])
    assert answer.status_code == 200, answer.text
    # It is no key to anything else of the person's, who is an administrator.
    own_api = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert (await agent.http.get(f"{site.issuer}/api/v1/users", headers=own_api)).status_code == 401
    # The administrator has had enough of it: the server refuses it within milliseconds.
    if way == "document":
        (listed,) = (await administrator.get("/client-documents", client_id=client_id))["items"]  # type: ignore[misc]
        await administrator.change(f"/client-documents/{listed['id']}", enabled=False)
    else:
        await administrator.change(f"/clients/{client_id}", enabled=False)
    async with asyncio.timeout(30):
        while (await agent.call(tokens["access_token"])).status_code != 401:
            await asyncio.sleep(0.01)
    await agent.http.aclose()


async def test_a_server_that_cannot_say_so_itself_names_the_document_here(site: Platform, administrator: Api) -> None:
    own = f"{site.issuer}/apps/tools"
    await administrator.create("/resources", identifier=own, name="Beside us")
    async with http_client(base_url=f"{site.issuer}/.well-known") as http:
        known = (await http.get("/oauth-protected-resource", params={"resource": SERVER})).json()
        assert known == {
            "resource": SERVER,
            "authorization_servers": [site.issuer],
            "bearer_methods_supported": ["header"],
            "resource_name": "Tools",
            "scopes_supported": ["mcp:tools"],
        }
        assert (await http.get("/oauth-protected-resource/apps/tools")).json()["resource"] == own
        for path in ("?resource=https://other.example/", "/apps/others", "?resource=", "?resource=a&resource=b"):
            answer = await http.get(f"/oauth-protected-resource{path}")
            assert answer.status_code in {400, 404}, path
            assert answer.headers["content-type"] == "application/json"
