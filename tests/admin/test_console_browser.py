"""The console in a real browser: readable by everyone, and live."""

import asyncio
import secrets
from pathlib import Path

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, ConsoleMessage, Page
from tests.admin.conftest import Make
from tests.admin.test_console import PAGES
from tests.flows.pictures import picture
from tests.web.pictures import png

from watchword_testkit.api import Api
from watchword_testkit.platform import Platform

pytestmark = pytest.mark.browser

SMALLEST_PICTURE = 10_000  # bytes of a PNG: an empty page of this size has less
# Tables of which a part is out of sight, or lies beneath the buttons of their rows.
CUT = "[...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.ariaLabel)"
PATHS = [*PAGES, "/admin/providers/new?preset=entra"]


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
    chromium: Browser, platform: Platform, make_client: Make, make_provider: Make, scheme: str, tmp_path: Path
) -> None:
    await make_client(description="Words")
    await make_provider()
    page, _ = await at_the_console(chromium, platform, color_scheme=scheme, bypass_csp=True)
    for path in PATHS:
        await page.goto(f"{platform.issuer}{path}")
        assert await page.evaluate(CUT) == [], path
        found = await Axe().run(page)
        assert found.violations_count == 0, f"{path}: {found.generate_report()}"
        picture = await page.screenshot(path=tmp_path / f"{path.strip('/').replace('/', '-').partition('?')[0]}.png")
        assert len(picture) > SMALLEST_PICTURE, f"{path}: nothing is drawn"
        ground = await page.evaluate("getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).map(Number)")
        assert (sum(ground[:3]) > 3 * 128) is (scheme == "light"), f"{path}: the ground is {ground}"


async def test_every_page_fits_a_small_screen_and_breaks_no_policy(
    chromium: Browser, platform: Platform, make_client: Make, make_provider: Make
) -> None:
    await make_client(client_name="W" * 60, redirect_uris=["https://app.example.com/" + "w" * 200])
    await make_provider(display_name="W" * 60)
    # In German, whose words are the longer ones.
    page, complaints = await at_the_console(chromium, platform, viewport={"width": 360, "height": 740}, locale="de-DE")
    for path in PATHS:
        await page.goto(f"{platform.issuer}{path}")
        wider = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wider <= 0, f"{path} is {wider} px too wide"
        assert await page.evaluate(CUT) == [], path
    assert complaints == []


async def test_secrets_are_shown_to_whoever_types_them(chromium: Browser, platform: Platform) -> None:
    page, complaints = await at_the_console(chromium, platform)
    forms = {
        "users/new": "password",
        "webhooks/new": "secret",
        "providers/new?preset=entra": "client_secret",
    }
    for path, name in forms.items():
        await page.goto(f"{platform.issuer}/admin/{path}")
        assert await page.get_attribute(f"#{name}", "type") == "password", path
        await page.click(f"#show-{name}")
        assert await page.get_attribute(f"#{name}", "type") == "text", path
    assert complaints == []


async def test_events_arrive_while_one_looks(chromium: Browser, platform: Platform, api: Api) -> None:
    page, complaints = await at_the_console(chromium, platform)
    await page.goto(f"{platform.issuer}/admin/events")
    await page.wait_for_selector("#feed-state.on")
    user = await api.create("/users", username=f"seen-{secrets.token_hex(4)}", name="<b>Not Shown</b>")
    await page.get_by_text(str(user["id"])).first.wait_for()
    assert "Not Shown" not in await page.inner_text("#events")
    assert complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_what_would_become_of_a_sign_in_can_be_read_by_everyone(
    chromium: Browser, platform: Platform, make_client: Make, scheme: str
) -> None:
    client = await make_client(scope="openid profile email groups", require_consent=True)
    page, _ = await at_the_console(
        chromium, platform, color_scheme=scheme, bypass_csp=True, viewport={"width": 360, "height": 740}, locale="de-DE"
    )
    await page.goto(f"{platform.issuer}/admin/applications/{client['client_id']}")
    await page.click("#try-sign-in")
    await page.click("#try")
    outcome = await page.inner_text("#outcome")
    assert outcome.startswith("Administrator würde eingelassen"), outcome
    assert "Die Gruppen sehen, zu denen Sie gehören" in await page.inner_text("#trial")
    assert '"client_id"' in await page.inner_text("#access-token")
    wider = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wider <= 0, f"{wider} px too wide"
    found = await Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


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


async def test_a_person_is_cut_off_and_the_receipts_arrive(chromium: Browser, platform: Platform, api: Api) -> None:
    user = await api.create("/users", username=f"cut-{secrets.token_hex(4)}")
    page, complaints = await at_the_console(chromium, platform)
    await page.goto(f"{platform.issuer}/admin/users/{user['id']}")
    await page.click("#nav-revocations")
    await page.click("#new-revocation")
    await page.fill("#value", str(user["id"]))
    await page.click("#preview-it")
    assert await page.inner_text("#preview-sum") == "No session and no grant ends."
    await page.click("#revoke")
    await page.wait_for_selector("#verdict[data-complete=true]")
    assert "applied" in await page.inner_text("#receipts")
    async with page.expect_download() as started:
        await page.click("#evidence")
    assert (await started.value).suggested_filename.endswith(".jwt")
    assert complaints == []


async def test_the_sign_in_page_is_seen_before_it_is_branded(chromium: Browser, platform: Platform, api: Api) -> None:
    page, complaints = await at_the_console(chromium, platform, java_script_enabled=False)
    await page.click("#nav-branding")
    await page.fill("#name", "Acme")
    await page.fill("#primary_color", "#0a6e5c")
    await page.fill("#tos_uri", "https://acme.example/terms")
    await page.set_input_files(
        "#logo", {"name": "logo.png", "mimeType": "image/gif", "buffer": png(colour=(10, 110, 92))}
    )
    inside = page.frame_locator("#preview")
    for theme, ground in (("dark", "rgb(16, 21, 29)"), ("light", "rgb(246, 242, 234)")):
        await page.click(f"#preview-{theme}")
        await inside.locator(f"link[href$='/0a6e5c-{theme}.css']").wait_for(state="attached")
        await inside.get_by_text("Acme", exact=True).wait_for()
        assert await inside.locator("body").evaluate("e => getComputedStyle(e).backgroundColor") == ground
        assert await inside.locator(".brand img").evaluate("e => e.complete && e.naturalWidth") == 60
    await picture(page, "console-branding")
    assert (await api.get("/branding"))["name"] == "Watchword"
    await page.click("#save")
    try:
        other = await (await chromium.new_context()).new_page()
        async with asyncio.timeout(10):
            while await other.title() != "Sign in · Acme":
                await other.goto(f"{platform.issuer}/login")
        assert await other.locator(".links a").inner_text() == "Terms of use"
    finally:
        await page.click("summary")
        await page.click("#reset")
    assert (await api.get("/branding"))["name"] == "Watchword"
    assert complaints == []
