"""The quick start, done by somebody who has never seen it: docs/quick-start.md, sentence by sentence, in a browser."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvicorn
from playwright.async_api import Browser, Page
from starlette.applications import Starlette
from tests.chromium import chromium
from tests.federation.conftest import serving
from tests.federation.github import CLIENT_ID, CLIENT_SECRET, GitHub
from tests.flows.grafana import Grafana
from tests.flows.launched import launched
from tests.flows.pictures import picture

pytestmark = pytest.mark.browser
FIVE_MINUTES_S = 300


@asynccontextmanager
async def served(app: Starlette) -> AsyncIterator[str]:
    """Where an application answers."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
    async with serving(config, listening):
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


async def sign_in_at(grafana_url: str, browser: Browser) -> Page:
    """A new person's window, after GitHub's page was answered with yes."""
    page = await (await browser.new_context()).new_page()
    await page.goto(grafana_url)
    await page.click("#sign-in")
    await page.click("#provider-github")
    await page.click("#authorize")
    return page


async def test_from_nothing_to_a_token_that_dies_everywhere(tmp_path: Path) -> None:
    """My Grafana signs in with GitHub, only the group ops may, and I have revoked a token and watched it die."""
    github, grafana = GitHub(), Grafana()
    async with (
        asyncio.timeout(FIVE_MINUTES_S),
        served(github.app()) as github.issuer,
        served(grafana.app()) as grafana_url,
        # 1. Start it
        launched(tmp_path / "data", "--workers", "2") as up,
        chromium() as browser,
    ):
        console = await (await browser.new_context()).new_page()
        await console.goto(up.access["console"])
        await console.fill("[name=username]", up.access["username"])
        await console.fill("[name=password]", up.access["password"])
        await console.click("#sign-in")

        # 2. Let people come through GitHub
        await console.click("#nav-providers")
        await console.click("#set-up-github")
        for name, value in {
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "url": github.issuer,
            "api_url": github.issuer,
            "group_pattern": "^acme:",
        }.items():
            await console.fill(f"#{name}", value)
        await console.click("#provider details > summary")
        await console.fill("#scopes", "read:user user:email read:org")
        await picture(console, "console-provider")
        await console.click("#save")
        await console.wait_for_selector("#card-github")

        # 3. Connect Grafana, for the group ops alone
        await console.click("#nav-applications")
        await console.click("#wizard")
        await console.click("#recipe-grafana")
        await console.fill("#url", grafana_url)
        await console.fill("#group", "acme:ops")
        await console.click("#set-up")
        grafana.configure(await console.inner_text("#file-1"))

        # 4. Sign in, as one of them and as somebody else
        person = await sign_in_at(grafana_url, browser)
        assert await person.inner_text("#who") == "octocat"
        assert "acme:ops" in await person.inner_text("#groups")
        github.user = {**github.user, "id": 1, "login": "stranger", "name": "Stranger"}
        github.emails = [{"email": "stranger@acme.test", "primary": True, "verified": True}]
        github.teams = []
        stranger = await sign_in_at(grafana_url, browser)
        await stranger.wait_for_selector("text=You may not use Grafana")

        # 5. Revoke it
        await console.click("#nav-users")
        await console.click("main table a:has-text('Mona')")
        user_id = await console.inner_text("#user-id")
        await console.click("#nav-revocations")
        await console.click("#new-revocation")
        await console.select_option("#claim", "sub")
        await console.fill("#value", user_id)
        await console.click("#preview-it")
        assert "1 signed-in browser" in await console.inner_text("#preview-sum")
        await console.click("#revoke")
        await console.wait_for_selector("#verdict[data-complete=true]")
        assert "Dead everywhere" in await console.inner_text("#verdict")
        await picture(console, "console-revocation")
        await person.reload()
        await person.wait_for_selector("#refused")
