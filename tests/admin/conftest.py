"""Clients and providers of a test's own, and the way into the console."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import urlsplit

import pytest

from watchword_runtime.feed import Feed
from watchword_testkit.api import Api
from watchword_testkit.browser import Browser
from watchword_testkit.canary import Canary
from watchword_testkit.pages import Page
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


async def sign_in(browser: Browser, platform: Platform, path: str = "/admin") -> Page:
    """The console's page, as the administrator."""
    page = await browser.open(f"{platform.issuer}{path}")
    assert page.has("username"), f"{page.url} {page.status} {page.error_code}"
    return await browser.submit(
        "username", "sign-in", username=platform.admin.username, password=platform.admin.password
    )


@pytest.fixture
async def console(platform: Platform, canary: Canary) -> AsyncIterator[Browser]:
    """A browser at the console."""
    async with platform.browser(canary) as browser:
        page = await sign_in(browser, platform)
        assert page.status == 200, page.body
        assert urlsplit(page.url).path == "/admin"
        yield browser
