"""`watchword up` as people run it, and its demo in a real browser: two clicks, live events, and a token that dies.

With WATCHWORD_PICTURES set to a directory the pictures of the README are taken there.
"""

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
from playwright.async_api import Browser, Page, async_playwright

from watchword.embedded.programs import find_programs

pytestmark = pytest.mark.browser

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ["--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-dev-shm-usage"]
WITHIN_S = 90  # the start on a loaded machine; `make bench` measures it


@dataclass
class Running:
    """What `watchword up` printed and wrote."""

    access: dict[str, str]
    demo: str
    banner: str
    process: asyncio.subprocess.Process


async def start(data_dir: Path, *options: str, **environment: str) -> Running:
    """`watchword up` is ready: access.json exists and the banner stands."""
    process = await asyncio.create_subprocess_exec(
        *(Path(sys.executable).parent / "watchword", "up", "--data-dir", data_dir, "--port", "0", *options),
        stdout=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"], **environment},
    )
    assert process.stdout is not None
    printed = ""
    async with asyncio.timeout(WITHIN_S):
        while "Stop " not in printed:
            line = await process.stdout.readline()
            assert line, f"ended early: {printed}"
            printed += line.decode()
    demo = re.search(r"Demo app\s+(http://\S+)", printed)
    access = data_dir / "access.json"
    assert access.stat().st_mode & 0o777 == 0o600
    return Running(json.loads(access.read_text()), demo[1] if demo else "", printed, process)


async def stop(running: Running, data_dir: Path) -> None:
    """Ctrl-C: it ends with 0, takes access.json with it and leaves no process of its own."""
    running.process.send_signal(signal.SIGINT)
    async with asyncio.timeout(30):
        assert await running.process.wait() == 0
    assert not (data_dir / "access.json").exists()
    assert not left_over(data_dir / "run")


def left_over(run: Path) -> list[int]:
    """Processes that were noted and still exist."""
    noted = [int(json.loads(path.read_text())["pid"]) for path in run.glob("*.process.json")]
    return [pid for pid in noted if Path(f"/proc/{pid}").exists()]


@pytest.fixture(scope="module", params=["system", "wheel"])
async def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """The whole thing on either PostgreSQL."""
    data_dir = tmp_path_factory.mktemp("up") / "data"
    programs = find_programs(origins=request.param)
    found = await start(data_dir, WATCHWORD_PG_BIN=str(programs.bin))
    yield found
    await stop(found, data_dir)


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    """Chromium."""
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS, chromium_sandbox=False)
        yield started
        await started.close()


@pytest.fixture
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A new person's window."""
    context = await browser.new_context(viewport={"width": 1280, "height": 800}, color_scheme="light")
    yield await context.new_page()
    await context.close()


async def picture(page: Page, name: str) -> None:
    if directory := os.environ.get("WATCHWORD_PICTURES"):
        await page.screenshot(path=Path(directory) / f"{name}.png")


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
    async with httpx2.AsyncClient(trust_env=False) as http:
        answer = await http.patch(
            f"{running.access['issuer']}/api/v1/users/{subject[1]}",
            json={"active": False},
            headers={"Watchword-API-Key": running.access["admin_token"]},
        )
    assert answer.status_code == 200
    await page.goto(running.demo)
    assert await page.locator("#token-state.bad").count() or await page.locator("#sign-in").count()
    async with httpx2.AsyncClient(trust_env=False) as http:
        await http.patch(
            f"{running.access['issuer']}/api/v1/users/{subject[1]}",
            json={"active": True},
            headers={"Watchword-API-Key": running.access["admin_token"]},
        )


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
    first = await start(data_dir, "--no-demo", "--workers", "2")
    async with httpx2.AsyncClient(trust_env=False) as http:
        made = await http.post(
            f"{first.access['issuer']}/api/v1/users",
            json={"username": "dora", "email": "dora@example.com"},
            headers={"Watchword-API-Key": first.access["admin_token"]},
        )
    assert made.status_code == 201
    await stop(first, data_dir)
    second = await start(data_dir, "--no-demo")
    async with httpx2.AsyncClient(trust_env=False) as http:
        found = await http.get(
            f"{second.access['issuer']}/api/v1/users/{made.json()['id']}",
            headers={"Watchword-API-Key": second.access["admin_token"]},
        )
    assert found.json()["username"] == "dora"
    assert second.access["password"] == first.access["password"]
    await stop(second, data_dir)


async def test_a_second_one_on_the_same_data_is_refused(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    first = await start(data_dir, "--no-demo")
    process = await asyncio.create_subprocess_exec(
        *(Path(sys.executable).parent / "watchword", "up", "--data-dir", data_dir, "--port", "0", "--no-demo"),
        stderr=asyncio.subprocess.PIPE,
    )
    _, complaint = await process.communicate()
    assert process.returncode == 1
    assert b"in use by another" in complaint
    await stop(first, data_dir)
