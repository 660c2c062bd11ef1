"""The console in a real browser: readable by everyone, and live."""

import secrets
from collections.abc import AsyncIterator

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright
from tests.admin.conftest import Make

from watchword_testkit.api import Api
from watchword_testkit.platform import Platform

pytestmark = pytest.mark.browser

CHROMIUM = "/usr/bin/chromium"
PATHS = [
    "/admin",
    "/admin/applications",
    "/admin/applications/watchword-console",
    "/admin/applications/new",
    "/admin/providers",
    "/admin/providers/new",
    "/admin/events",
]


@pytest.fixture
async def chromium() -> AsyncIterator[Browser]:
    """A browser."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM,
            chromium_sandbox=False,
            args=["--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-dev-shm-usage"],
        )
        yield browser
        await browser.close()


async def at_the_console(browser: Browser, platform: Platform, **context: object) -> tuple[Page, list[str]]:
    """A page at the console, and what the browser complains about from now on."""
    made = await browser.new_context(bypass_csp=bool(context.pop("bypass_csp", False)), **context)  # type: ignore[arg-type]  # Playwright's options
    page = await made.new_page()
    complaints: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            complaints.append(message.text)

    page.on("console", note)
    await page.goto(f"{platform.issuer}/admin")
    await page.fill("[name=username]", platform.admin.username)
    await page.fill("[name=password]", platform.admin.password)
    await page.click("#sign-in")
    await page.wait_for_selector("#count-applications")
    return page, complaints


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_page_can_be_read_by_everyone(
    chromium: Browser, platform: Platform, make_client: Make, make_provider: Make, scheme: str
) -> None:
    await make_client(description="Words")
    await make_provider()
    page, _ = await at_the_console(chromium, platform, color_scheme=scheme, bypass_csp=True)
    for path in PATHS:
        await page.goto(f"{platform.issuer}{path}")
        found = await Axe().run(page)
        assert found.violations_count == 0, f"{path}: {found.generate_report()}"


async def test_every_page_fits_a_small_screen_and_breaks_no_policy(
    chromium: Browser, platform: Platform, make_client: Make, make_provider: Make
) -> None:
    await make_client(client_name="W" * 60, redirect_uris=["https://app.example.com/" + "w" * 200])
    await make_provider(display_name="W" * 60)
    page, complaints = await at_the_console(chromium, platform, viewport={"width": 360, "height": 740})
    for path in PATHS:
        await page.goto(f"{platform.issuer}{path}")
        wider = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wider <= 0, f"{path} is {wider} px too wide"
    assert complaints == []


async def test_events_arrive_while_one_looks(chromium: Browser, platform: Platform, api: Api) -> None:
    page, complaints = await at_the_console(chromium, platform)
    await page.goto(f"{platform.issuer}/admin/events")
    await page.wait_for_function("document.getElementById('feed-state').className === 'state on'")
    user = await api.create("/users", username=f"seen-{secrets.token_hex(4)}", name="<b>Not Shown</b>")
    await page.wait_for_function("id => document.getElementById('events').textContent.includes(id)", arg=user["id"])
    assert "Not Shown" not in await page.inner_text("#events")
    assert complaints == []


async def test_an_application_is_registered_in_a_browser(chromium: Browser, platform: Platform, api: Api) -> None:
    page, complaints = await at_the_console(chromium, platform)
    name = f"Browser {secrets.token_hex(4)}"
    await page.click("#nav-applications")
    await page.click("#new-application")
    await page.fill("#client_name", name)
    await page.fill("#redirect_uris", "https://browser.example.com/callback")
    await page.click("#save")
    assert len(await page.inner_text("#client-secret")) == 43
    found = (await api.get("/clients", client_name=name))["items"]
    assert isinstance(found, list)
    assert found[0]["client_id"] == await page.inner_text("#client-id")
    await page.click("#sign-out")
    await page.click("#sign-out")
    await page.wait_for_selector("#sign-in-again")
    assert complaints == []
