"""The pages in a real browser: with and without JavaScript, in both themes, on a phone, readable by everyone.

WATCHWORD_TEST_SHOTS names a directory for pictures of each page.
"""

import asyncio
import hashlib
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs, urlsplit

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, async_playwright

from watchword_database import bus
from watchword_database.engine import transaction
from watchword_events.handovers import ProveAccount
from watchword_events.names import Service
from watchword_runtime.clock import utc_now
from watchword_testkit.canary import Canary
from watchword_testkit.platform import Platform
from watchword_testkit.signin import Party, SignIn

pytestmark = pytest.mark.browser

ARGUMENTS = ["--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-dev-shm-usage"]
PASSWORD = "correct horse battery staple"
Theme = Literal["dark", "light"]
LOOKS: list[tuple[Theme, int]] = [("light", 1280), ("dark", 1280), ("light", 360), ("dark", 360)]


@pytest.fixture(scope="module")
async def chromium() -> AsyncIterator[Browser]:
    """The system's Chromium."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path="/usr/bin/chromium", chromium_sandbox=False, args=ARGUMENTS
        )
        yield browser
        await browser.close()


@dataclass
class Application:
    """Something that answers at another origin."""

    url: str


@pytest.fixture(scope="module")
async def application() -> AsyncIterator[Application]:
    """An application of another company, at an origin of its own."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = b"<!doctype html><title>app</title><h1 id=welcome>Welcome</h1>"
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield Application(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")


@dataclass
class Scene:
    """A person, a client of the application, and where the browser asks."""

    platform: Platform
    party: Party
    username: str

    def url(self, **params: str) -> str:
        """An authorization request."""
        return SignIn(self.platform.browser(), self.party, params=params).url


@pytest.fixture
async def scene(platform: Platform, application: Application, canary: Canary) -> Scene:
    """A new user and a new client, and two providers to choose from."""
    api, name = platform.api(canary), f"ada-{secrets.token_hex(3)}"
    await api.create("/users", username=name, email=f"{name}@demo.test", name="Ada Lovelace", password=PASSWORD)
    for provider_id, shown in (("Demo-Corp", "Demo Corp"), ("GitHub", "GitHub")):
        answer = await api.call("GET", f"/providers/{provider_id}")
        if answer.status_code == 404:
            await api.create(
                "/providers", id=provider_id, preset="oidc", display_name=shown, enabled=True,
                issuer="https://idp.example", client_id="ww", client_secret="s" * 20,
            )  # fmt: skip
    party = await Party.registered(
        api, platform.issuer, canary, client_name="Team Wiki", require_consent=True,
        redirect_uris=[f"{application.url}/cb"], post_logout_redirect_uris=[f"{application.url}/bye"],
    )  # fmt: skip
    return Scene(platform, party, name)


@asynccontextmanager
async def tab(chromium: Browser, *, scripts: bool = True) -> AsyncIterator[tuple[BrowserContext, Page, list[str]]]:
    """A fresh profile, its page, and what its console complained about."""
    context = await chromium.new_context(java_script_enabled=scripts)
    page, said = await context.new_page(), list[str]()

    def hear(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and "status of 4" not in message.text:
            said.append(message.text)

    page.on("console", hear)
    yield context, page, said
    await context.close()


async def sign_in(page: Page, scene: Scene, password: str = PASSWORD) -> None:
    """Fills and sends the form."""
    await page.fill("#username", scene.username)
    await page.fill("#password", password)
    await page.click("#sign-in")


@pytest.mark.parametrize("scripts", [True, False], ids=["with JavaScript", "without"])
@pytest.mark.parametrize("mode", ["query", "form_post"])
async def test_sign_in_and_sign_out(
    chromium: Browser, scene: Scene, application: Application, scripts: bool, mode: str
) -> None:
    async with tab(chromium, scripts=scripts) as (context, page, said):
        await page.goto(scene.url(response_mode=mode))
        await sign_in(page, scene, "wrong")
        assert "is not right" in await page.locator(".alert").inner_text()
        await sign_in(page, scene)
        assert await page.locator("#client-name").inner_text() == "Team Wiki"
        await page.click("#allow")
        if mode == "form_post" and not scripts:
            await page.click("#continue")
        await page.wait_for_selector("#welcome")
        assert page.url.startswith(f"{application.url}/cb")
        names = {cookie.get("name", "") for cookie in await context.cookies(scene.platform.issuer)}
        assert names == {"ww-session", "ww-device"}
        await page.goto(
            f"{scene.platform.issuer}/oauth2/logout?client_id={scene.party.client_id}"
            f"&post_logout_redirect_uri={application.url}/bye"
        )
        await page.click("#sign-out")
        await page.wait_for_selector("#welcome")
        assert page.url == f"{application.url}/bye"
        await page.goto(f"{scene.platform.issuer}/login")
        assert await page.locator("#sign-in").count() == 1
        assert said == []


async def test_denied_consent_goes_back(chromium: Browser, scene: Scene, application: Application) -> None:
    async with tab(chromium, scripts=False) as (_, page, said):
        await page.goto(scene.url())
        await sign_in(page, scene)
        await page.click("#deny")
        await page.wait_for_selector("#welcome")
        assert "error=access_denied" in page.url
        assert said == []


async def ask_for_proof(context: BrowserContext, page: Page, scene: Scene) -> None:
    """As after a sign-in at a provider whose address is that of an account here."""
    flow_id = parse_qs(urlsplit(page.url).query)["flow"][0]
    cookies = await context.cookies(scene.platform.issuer)
    secret = next(cookie.get("value", "") for cookie in cookies if cookie.get("name", "").endswith(flow_id))
    binding = hashlib.sha256(secret.encode()).hexdigest()
    payload = ProveAccount(binding=binding, user_id="u", pending_link_id="l", provider_id="Demo-Corp")
    async with transaction(scene.platform.database.open(Service.DIRECTORY, pool_size=1)) as session:
        ticket = await bus.hand_over(session, payload, flow=flow_id, now=utc_now())
    await page.goto(f"{scene.platform.issuer}/login/prove?ticket={ticket}")


async def look(page: Page, name: str, theme: Theme, width: int) -> None:
    """The page fits, and axe finds nothing."""
    shots = os.environ.get("WATCHWORD_TEST_SHOTS")
    if shots:
        await page.screenshot(path=Path(shots) / f"authz-{name}-{theme}-{width}.png", full_page=True)
    overflow = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow <= 0, f"{name} scrolls sideways"
    results = await Axe().run(page)
    assert results.violations_count == 0, f"{name}: {results.generate_report()}"


@pytest.mark.parametrize(("theme", "width"), LOOKS)
async def test_every_page_is_readable(chromium: Browser, scene: Scene, theme: Theme, width: int) -> None:
    issuer = scene.platform.issuer
    context = await chromium.new_context(color_scheme=theme, viewport={"width": width, "height": 780}, bypass_csp=True)
    page = await context.new_page()
    await page.goto(scene.url(login_hint="ada@demo.test"))
    await look(page, "login", theme, width)
    await sign_in(page, scene, "wrong")
    await page.wait_for_selector("[role=alert]")
    await look(page, "login-failed", theme, width)
    await sign_in(page, scene)
    await page.wait_for_selector("#allow")
    await look(page, "consent", theme, width)
    await ask_for_proof(context, page, scene)
    await look(page, "login-linking", theme, width)
    await page.click("#cancel")
    await page.click("#allow")
    await page.goto(scene.url(prompt="login"))
    await look(page, "login-again", theme, width)
    await page.goto(scene.url(prompt="select_account"))
    await look(page, "choose", theme, width)
    await page.goto(f"{issuer}/login")
    await look(page, "signed-in", theme, width)
    await page.goto(f"{issuer}/oauth2/logout?client_id={scene.party.client_id}")
    await look(page, "logout", theme, width)
    await page.click("#sign-out")
    await page.wait_for_selector("#sign-out", state="detached")
    await page.wait_for_selector("main")
    await look(page, "signed-out", theme, width)
    await page.goto(scene.url(redirect_uri="https://evil.example/"))
    await look(page, "error", theme, width)
    await context.close()
