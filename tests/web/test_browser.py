"""Pages in a real browser: readable by everyone, and the headers that our checks rely on."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import uvicorn
from axe_playwright_python.async_playwright import Axe
from axe_playwright_python.base import AxeResults
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page
from tests.chromium import PROGRAM, chromium

from watchword_web.app import create_app
from watchword_web.csrf import same_origin
from watchword_web.errors import PageError
from watchword_web.forms import read_form
from watchword_web.pages import Pages
from watchword_web.settings import Site

pytestmark = pytest.mark.browser

OTHER_SITE = "--host-resolver-rules=MAP intranet.example 127.0.0.1"
PAGES = ["/login", "/login?failed=1", "/consent", "/account", "/error", "/message", "/confirm"]


@dataclass
class Stage:
    """Our pages on one origin and an application on another (another host name, so that it is cross-site)."""

    ours: str
    theirs: str
    their_ipv6: str
    posts: list[tuple[str, bool, str | None, str | None]] = field(default_factory=list)


def _listen(family: socket.AddressFamily, host: str) -> socket.socket:
    listener = socket.socket(family)
    listener.bind((host, 0))
    return listener


async def _serve(app: uvicorn.Config, listener: socket.socket) -> Callable[[], Awaitable[None]]:
    server = uvicorn.Server(app)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.01)

    async def stop() -> None:
        server.should_exit = True
        await task

    return stop


def _our_routes(pages: Pages, site: Site, stage: Stage) -> APIRouter:
    router = APIRouter()

    @router.get("/login")
    async def login(request: Request) -> Response:
        return pages.render(
            request,
            "sample_login.html",
            form_action=request.query_params.getlist("to"),
            application="Grafana",
            failed="failed" in request.query_params,
            flow="f1",
            csrf="token",
            providers={"demo": "Demo Corp", "google": "Google"},
        )

    @router.post("/login")
    async def signed_in(request: Request) -> Response:
        form = await read_form(request)
        headers = request.headers
        stage.posts.append(
            (form["username"], same_origin(request, site), headers.get("origin"), headers.get("sec-fetch-site"))
        )
        return RedirectResponse(form["password"], 303)

    @router.get("/consent")
    async def consent(request: Request) -> Response:
        return pages.render(request, "sample_consent.html", application="Grafana", flow="f1", csrf="token")

    @router.get("/account")
    async def account(request: Request) -> Response:
        return pages.render(request, "sample_account.html")

    @router.get("/error")
    async def error() -> None:
        raise PageError("invalid_flow", "This sign-in is over", "It was finished or has expired.", retry="/login")

    @router.get("/message")
    async def message(request: Request) -> Response:
        action = {"label": "Sign in again", "href": "/account", "id": "again"}
        return pages.render(request, "message.html", title="Signed out", message="Your session ended.", action=action)

    @router.get("/confirm")
    async def confirm(request: Request) -> Response:
        return pages.render(
            request,
            "confirm.html",
            title="Sign out?",
            message="Your session ends here and in every application that you opened with it.",
            action="/login",
            csrf="token",
            confirm={"label": "Sign out", "id": "sign-out"},
            cancel={"label": "Stay", "href": "/account"},
        )

    @router.get("/form-post")
    async def form_post(request: Request) -> Response:
        return pages.render_form_post(request, f"{stage.theirs}/callback", {"code": "c-1", "state": 'a"&<b'})

    return router


def _their_routes(stage: Stage) -> APIRouter:
    router = APIRouter()

    @router.get("/callback")
    async def callback() -> Response:
        return PlainTextResponse("arrived")

    @router.post("/callback")
    async def posted(request: Request) -> Response:
        form = await read_form(request)
        return PlainTextResponse(f"{form['code']} {form['state']}")

    @router.get("/attack")
    async def attack(sandbox: str = "") -> Response:
        form = (
            f'<form id="f" method="post" action="{stage.ours}/login"><input name="username" value="attack">'
            '<input name="password" value="/message"></form><script>document.getElementById("f").submit()</script>'
        )
        if sandbox:
            form = f"<iframe sandbox='allow-scripts allow-forms' srcdoc='{form}'></iframe>"
        return HTMLResponse(form)

    @router.get("/frame")
    async def frame() -> Response:
        return HTMLResponse(f'<iframe src="{stage.ours}/login"></iframe>')

    return router


@pytest.fixture(scope="module")
async def stage() -> AsyncIterator[Stage]:
    ours, theirs, ipv6 = (
        _listen(socket.AF_INET, "127.0.0.1"),
        _listen(socket.AF_INET, "127.0.0.1"),
        _listen(socket.AF_INET6, "::1"),
    )
    stage = Stage(
        ours=f"http://localhost:{ours.getsockname()[1]}",
        theirs=f"http://127.0.0.1:{theirs.getsockname()[1]}",
        their_ipv6=f"http://[::1]:{ipv6.getsockname()[1]}",
    )
    site = Site(stage.ours)
    pages = Pages(["watchword_web", "watchword_web_samples"], site)
    app = create_app(
        "authz", title="Sample", settings=site, routers=[_our_routes(pages, site, stage)], version="1", pages=pages
    )
    application = FastAPI()
    application.include_router(_their_routes(stage))
    stops = [
        await _serve(uvicorn.Config(app, log_config=None), ours),
        await _serve(uvicorn.Config(application, log_config=None), theirs),
        await _serve(uvicorn.Config(application, log_config=None), ipv6),
    ]
    yield stage
    for stop in stops:
        await stop()


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium(OTHER_SITE) as browser:
        yield browser


@pytest.fixture
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    context = await browser.new_context()
    yield context
    await context.close()


async def _sign_in(page: Page, stage: Stage, ends_at: str, *allowed: str) -> None:
    to = "&".join(f"to={uri}" for uri in allowed)
    await page.goto(f"{stage.ours}/login?{to}")
    await page.fill("#username", "alice")
    await page.fill("#password", ends_at)
    await page.click("#sign-in")


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_page_is_accessible_in_both_themes(browser: Browser, stage: Stage, path: str, scheme: str) -> None:
    context = await browser.new_context(
        color_scheme="dark" if scheme == "dark" else "light", viewport={"width": 360, "height": 740}, bypass_csp=True
    )  # axe is injected as inline script, which our policy would refuse
    page = await context.new_page()
    await page.goto(f"{stage.ours}{path}")
    results: AxeResults = await Axe().run(page)
    assert results.violations_count == 0, results.generate_report()
    await context.close()


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("width", [320, 360, 1280])
async def test_no_page_scrolls_sideways_or_breaks_the_policy(
    browser: Browser, stage: Stage, path: str, width: int
) -> None:
    context = await browser.new_context(viewport={"width": width, "height": 740}, java_script_enabled=True)
    page = await context.new_page()
    told: list[str] = []

    def on_console(message: ConsoleMessage) -> None:
        told.append(message.text)

    page.on("console", on_console)
    await page.goto(f"{stage.ours}{path}")
    assert await page.evaluate("document.documentElement.scrollWidth") <= width
    assert await page.evaluate("getComputedStyle(document.querySelector('.card')).borderRadius") != "0px"
    assert not [text for text in told if "Content Security Policy" in text]
    await context.close()


async def test_the_keyboard_reaches_everything_in_order_and_focus_is_visible(
    context: BrowserContext, stage: Stage
) -> None:
    page = await context.new_page()
    await page.goto(f"{stage.ours}/login")
    await page.evaluate("document.activeElement.blur(); window.getSelection().removeAllRanges()")
    await page.locator("body").evaluate("body => { body.tabIndex = -1; body.focus(); }")
    reached = []
    for _ in range(6):
        await page.keyboard.press("Tab")
        reached.append(await page.evaluate("document.activeElement.id || document.activeElement.className"))
        assert await page.evaluate("getComputedStyle(document.activeElement).outlineWidth") == "3px"
    assert reached == ["skip", "username", "password", "sign-in", "provider-demo", "provider-google"]


@pytest.mark.spec("Fetch Standard: append a request Origin header")
async def test_our_own_form_is_recognised_as_ours(context: BrowserContext, stage: Stage) -> None:
    page = await context.new_page()
    stage.posts.clear()
    await _sign_in(page, stage, "/message")
    await page.wait_for_url("**/message")
    # Origin is ours and not "null": that is what Referrer-Policy: same-origin is for.
    assert stage.posts == [("alice", True, stage.ours, "same-origin")]


@pytest.mark.parametrize(("query", "origin"), [("", "theirs"), ("?sandbox=1", "null")])
async def test_a_form_of_another_site_is_recognised_as_foreign(
    context: BrowserContext, stage: Stage, query: str, origin: str
) -> None:
    page = await context.new_page()
    stage.posts.clear()
    await page.goto(f"{stage.theirs}/attack{query}")
    for _ in range(100):
        if stage.posts:
            break
        await asyncio.sleep(0.05)
    expected = stage.theirs if origin == "theirs" else "null"
    assert stage.posts == [("attack", False, expected, "cross-site")]


async def test_a_page_of_ours_cannot_be_framed(context: BrowserContext, stage: Stage) -> None:
    page = await context.new_page()
    await page.goto(f"{stage.theirs}/frame")
    await page.wait_for_load_state("networkidle")
    assert await page.frames[1].locator("#username").count() == 0


@pytest.mark.spec("CSP3 6.4.2")
@pytest.mark.parametrize("target", ["theirs", "their_ipv6"])
async def test_a_sign_in_may_end_at_the_application_that_the_page_names(
    context: BrowserContext, stage: Stage, target: str
) -> None:
    page = await context.new_page()
    callback = f"{getattr(stage, target)}/callback"
    await _sign_in(page, stage, callback, callback)
    await page.wait_for_url(callback)
    assert await page.inner_text("body") == "arrived"


@pytest.mark.spec("CSP3 6.4.2")
async def test_and_nowhere_else(context: BrowserContext, stage: Stage) -> None:
    page = await context.new_page()
    await _sign_in(page, stage, f"{stage.theirs}/callback")
    await page.wait_for_timeout(500)
    assert page.url.startswith(stage.ours)


@pytest.mark.spec("Form Post Response Mode 2")
@pytest.mark.parametrize("script", [True, False])
async def test_a_form_post_answer_arrives_with_and_without_javascript(
    browser: Browser, stage: Stage, script: bool
) -> None:
    context = await browser.new_context(java_script_enabled=script)
    page = await context.new_page()
    await page.goto(f"{stage.ours}/form-post")
    if not script:
        await page.click("#continue")
    await page.wait_for_url(f"{stage.theirs}/callback")
    assert await page.inner_text("body") == 'c-1 a"&<b'
    await context.close()


async def test_another_loopback_name_leads_to_ours(context: BrowserContext, stage: Stage) -> None:
    page = await context.new_page()
    await page.goto(f"{stage.ours.replace('localhost', '127.0.0.1')}/login?x=1")
    assert page.url == f"{stage.ours}/login?x=1"


async def test_a_foreign_name_gets_the_page_that_explains_it(context: BrowserContext, stage: Stage) -> None:
    page = await context.new_page()
    answer = await page.goto(f"{stage.ours.replace('localhost', 'intranet.example')}/login")
    assert answer is not None
    assert answer.status == 421
    assert await page.evaluate("getComputedStyle(document.querySelector('.card')).borderRadius") != "0px"
    await page.click("#public-url")
    assert page.url == f"{stage.ours}/"


def test_chromium_is_installed() -> None:
    assert Path(PROGRAM).exists(), "install it with `apt-get install chromium`"
