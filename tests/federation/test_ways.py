"""Who vouches for a provider's servers: whom the system knows, certificates of the provider's own, or nobody."""

import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from httpx2 import HTTPError
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from tests.federation.conftest import serving

from watchword_events.exports import ProviderExport
from watchword_federation.connectors.ways import Ways
from watchword_federation.settings import FederationSettings
from watchword_testkit.authority import Authority


@pytest.fixture(scope="module")
def authority() -> Authority:
    """One that no system knows."""
    return Authority("Acme's own")


@pytest.fixture(scope="module")
async def server(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """A server at localhost that the authority vouches for."""
    directory: Path = tmp_path_factory.mktemp("tls")
    authority.server_context("localhost", directory)
    listening = socket.create_server(("127.0.0.1", 0))

    async def hello(_request: Any) -> JSONResponse:
        return JSONResponse({"hello": "world"})

    config = uvicorn.Config(
        Starlette(routes=[Route("/", hello)]),
        log_config=None,
        lifespan="off",
        ssl_certfile=directory / "localhost.pem",
        timeout_graceful_shutdown=1,
    )
    async with serving(config, listening):
        yield f"https://localhost:{listening.getsockname()[1]}/"


@pytest.fixture
async def ways(settings: FederationSettings) -> AsyncIterator[Ways]:
    made = Ways(settings)
    yield made
    await made.close()


def provider(**given: object) -> ProviderExport:
    return ProviderExport.model_validate(
        {"id": "Acme", "preset": "oidc", "kind": "oidc", "display_name": "Acme", **given}
    )


async def test_an_unknown_authority_vouches_for_nobody(ways: Ways, server: str) -> None:
    with pytest.raises(HTTPError):
        await (await ways.to(provider())).get(server)


async def test_a_providers_own_certificates_vouch_for_it(ways: Ways, server: str, authority: Authority) -> None:
    client = await ways.to(provider(root_ca=authority.pem))
    assert (await client.get(server)).json() == {"hello": "world"}
    assert await ways.to(provider(id="Other", root_ca=authority.pem)) is client
    with pytest.raises(HTTPError):
        await (await ways.to(provider(root_ca=Authority("Another").pem))).get(server)


async def test_whoever_asks_for_no_check_reads_so_in_the_log(
    ways: Ways, server: str, log_lines: list[dict[str, Any]]
) -> None:
    client = await ways.to(provider(insecure_skip_verify=True))
    assert (await client.get(server)).json() == {"hello": "world"}
    assert [line["event"] for line in log_lines] == ["provider.INSECURE_certificates_not_checked"]


async def test_the_guard_stays(ways: Ways) -> None:
    with pytest.raises(HTTPError, match="may not be reached"):
        await (await ways.to(provider(insecure_skip_verify=True))).get("https://169.254.169.254/")
