"""Clients and providers of a test's own."""

import secrets
from collections.abc import Awaitable, Callable

import pytest

from watchword_runtime.feed import Feed
from watchword_testkit.api import Api
from watchword_testkit.platform import Platform

Make = Callable[..., Awaitable[dict[str, object]]]

CLIENT: dict[str, object] = {"client_name": "App", "redirect_uris": ["https://app.example.com/callback"]}
PROVIDER: dict[str, object] = {
    "preset": "oidc",
    "display_name": "Corp",
    "issuer": "https://login.corp.example",
    "client_id": "watchword",
}


@pytest.fixture
def feed(platform: Platform) -> Feed:
    """The ledger as the running services know it."""
    assert platform.process is not None
    return platform.process.shared.feed


@pytest.fixture
def make_client(api: Api) -> Make:
    """Registers clients."""

    async def make(**given: object) -> dict[str, object]:
        return await api.create("/clients", **(CLIENT | {"client_name": f"App {secrets.token_hex(4)}"} | given))

    return make


@pytest.fixture
def make_provider(api: Api) -> Make:
    """Configures providers."""

    async def make(**given: object) -> dict[str, object]:
        return await api.create("/providers", **(PROVIDER | {"id": f"Corp-{secrets.token_hex(4)}"} | given))

    return make
