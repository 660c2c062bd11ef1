"""`watchword up` as people run it, and its demo in a real browser: two clicks, live events, and a token that dies."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page
from tests.chromium import chromium
from tests.flows.launched import Running, launched
from tests.flows.pictures import picture

from watchword.embedded.programs import find_programs
from watchword_testkit.http import http_client

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module", params=["system", "wheel"])
async def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """The whole thing on either PostgreSQL."""
    data_dir = tmp_path_factory.mktemp("up") / "data"
    programs = find_programs(origins=request.param)
    async with launched(data_dir, WATCHWORD_PG_BIN=str(programs.bin)) as found:
        yield found


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    """Chromium."""
    async with chromium() as started:
        yield started


@pytest.fixture
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A new person's window."""
    context = await browser.new_context(viewport={"width": 1280, "height": 800}, color_scheme="light")
    yield await context.new_page()
    await context.close()


async def test_two_clicks_sign_in_and_a_disabled_user_is_out(running: Running, page: Page) -> None:
    await page.goto(running.demo)
    await page.click("#sign-in")
    await page.wait_for_selector("#provider-demo-corp")
    await picture(page, "login")
    await page.click("#provider-demo-corp")
    await page.wait_for_selector("#events")
    await page.wait_for_selector("#events >> text=session.started")
    assert "Alice" in await page.inner_text("#user")
    claims = await page.inner_text("#claims")
    assert running.access["issuer"] in claims
    await picture(page, "sign-in")

    subject = re.search(r"\bsub\s+(\S+)", claims)
    assert subject
    async with http_client() as http:
        answer = await http.patch(
            f"{running.access['issuer']}/api/v1/users/{subject[1]}",
            json={"active": False},
            headers={"Watchword-API-Key": running.access["admin_token"]},
        )
    assert answer.status_code == 200
    await page.goto(running.demo)
    assert await page.locator("#token-state.bad").count() or await page.locator("#sign-in").count()
    async with http_client() as http:
        await http.patch(
            f"{running.access['issuer']}/api/v1/users/{subject[1]}",
            json={"active": True},
            headers={"Watchword-API-Key": running.access["admin_token"]},
        )


async def test_two_clicks_sign_in_through_the_saml_provider(running: Running, page: Page) -> None:
    """Its page goes on by itself, as the pages of SAML providers do. Its word about an address is not taken for proof,
    so that the person verifies it.
    """
    await page.goto(running.demo)
    await page.click("#sign-in")
    await page.click("#provider-demo-labs")
    await page.wait_for_selector("#events >> text=session.started")
    assert "Erin" in await page.inner_text("#user")
    assert '"email_verified": false' in await page.inner_text("#userinfo")
    await page.goto(f"{running.access['issuer']}/account")
    await page.click("#verify-email")
    await page.click("#send-verification")
    await page.wait_for_selector("[role=status]")
    await open_mail(running, page, "Is this your address?")
    await page.click("#confirm")
    await page.wait_for_selector("text=Your address is verified.")
    assert not await page.locator("#send-verification").count()
    await page.goto(running.demo)
    while '"email_verified": true' not in await page.inner_text("#userinfo"):
        await asyncio.sleep(0.1)
        await page.reload()


async def test_mail_reaches_people_out_of_the_box(running: Running, page: Page) -> None:
    """Somebody is invited by mail, forgets the password, and chooses a new one by mail."""
    api = f"{running.access['issuer']}/api/v1"
    headers = {"Watchword-API-Key": running.access["admin_token"]}
    async with http_client() as http:
        made = await http.post(
            f"{api}/users", json={"username": "grace", "email": "grace@demo.test", "name": "Grace"}, headers=headers
        )
        invited = {"user_id": made.json()["id"], "send": True}
        answer = await http.post(f"{api}/invitations", json=invited, headers=headers)
    assert (answer.status_code, answer.json()["link"]) == (201, None)
    await open_mail(running, page, "You are invited")
    await choose(page, "the first password of Grace")
    await page.goto(running.demo)
    await page.click("#sign-in")
    await page.click("#forgotten")
    await page.fill("#username", "grace")
    await page.click("#send")
    await open_mail(running, page, "Choose a new password")
    await choose(page, "another password, for Grace")
    await page.goto(running.demo)
    await page.click("#sign-in")
    await page.fill("#username", "grace")
    await page.fill("#password", "another password, for Grace")
    await page.click("button#sign-in")
    await page.wait_for_selector("#events")
    assert await page.inner_text("#user") == "Grace"


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_pages_of_the_demo_are_readable_on_a_phone(
    running: Running, browser: Browser, theme: Literal["light", "dark"]
) -> None:
    context = await browser.new_context(viewport={"width": 360, "height": 780}, color_scheme=theme, bypass_csp=True)
    page = await context.new_page()
    await page.goto(running.demo)
    await readable(page)
    await page.click("#sign-in")
    await page.click("#forgotten")
    await page.fill("#username", "carol")
    await page.click("#send")
    await page.wait_for_selector("#back")
    await find_mail(running, page, "Choose a new password")
    await readable(page)
    await page.click("#all")
    await readable(page)
    await page.goto(running.demo)
    await page.click("#sign-in-choose")
    await page.click("#provider-demo-labs")
    await page.wait_for_selector("#person-frank")
    await readable(page)
    await page.click("#person-frank")
    await page.wait_for_selector("#events >> text=session.started")
    await readable(page)
    await context.close()


async def readable(page: Page) -> None:
    """The page fits, and axe finds nothing."""
    overflow = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow <= 0, f"{page.url} scrolls sideways"
    results = await Axe().run(page)
    assert results.violations_count == 0, f"{page.url}: {results.generate_report()}"


async def open_mail(running: Running, page: Page, subject: str) -> None:
    """The link of a mail was clicked in the demo's mailbox."""
    await find_mail(running, page, subject)
    await page.click("#text a")


async def find_mail(running: Running, page: Page, subject: str) -> None:
    """A mail is open in the demo's mailbox, which is where the banner says."""
    found = re.search(r"Demo mail\s+(http://\S+)", running.banner)
    assert found
    await page.goto(found[1])
    while not await page.get_by_role("link", name=subject).count():
        await asyncio.sleep(0.1)
        await page.click("#again")
    await page.get_by_role("link", name=subject).first.click()
    await page.wait_for_selector("#text")


async def choose(page: Page, password: str) -> None:
    """The form of a link is filled in."""
    await page.fill("#new_password", password)
    await page.fill("#repeated", password)
    await page.click("#save")
    await page.wait_for_selector("#sign-in-again")


async def test_the_administrator_reaches_the_console(running: Running, page: Page) -> None:
    await page.goto(running.access["console"])
    await page.fill("[name=username]", running.access["username"])
    await page.fill("[name=password]", running.access["password"])
    await page.click("#sign-in")
    await page.wait_for_selector("main")
    assert page.url.startswith(running.access["console"])
    await picture(page, "console")


async def test_what_was_there_is_there_after_a_restart(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    async with launched(data_dir, "--no-demo", "--workers", "2") as first, http_client() as http:
        made = await http.post(
            f"{first.access['issuer']}/api/v1/users",
            json={"username": "dora", "email": "dora@example.com"},
            headers={"Watchword-API-Key": first.access["admin_token"]},
        )
    assert made.status_code == 201
    async with launched(data_dir, "--no-demo") as second, http_client() as http:
        found = await http.get(
            f"{second.access['issuer']}/api/v1/users/{made.json()['id']}",
            headers={"Watchword-API-Key": second.access["admin_token"]},
        )
    assert found.json()["username"] == "dora"
    assert second.access["password"] == first.access["password"]


async def test_a_second_one_on_the_same_data_is_refused(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    async with launched(data_dir, "--no-demo"):
        process = await asyncio.create_subprocess_exec(
            *(Path(sys.executable).parent / "watchword", "up", "--data-dir", data_dir, "--port", "0", "--no-demo"),
            stderr=asyncio.subprocess.PIPE,
        )
        _, complaint = await process.communicate()
    assert process.returncode == 1
    assert b"in use by another" in complaint
