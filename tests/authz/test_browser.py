"""The pages in a real browser: with and without JavaScript, in both themes, on a phone, readable by everyone.

WATCHWORD_TEST_SHOTS names a directory for pictures of each page.
"""

import asyncio
import hashlib
import json
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal
from urllib.parse import parse_qs, urlsplit

import pyotp
import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page

from watchword_database import bus
from watchword_database.engine import transaction
from watchword_events.handovers import ProveAccount
from watchword_events.names import Service
from watchword_runtime.clock import utc_now
from watchword_testkit.canary import Canary
from watchword_testkit.platform import Platform
from watchword_testkit.signin import Party, SignIn

pytestmark = pytest.mark.browser

PASSWORD = "correct horse battery staple"
Theme = Literal["dark", "light"]
LOOKS: list[tuple[Theme, int]] = [("light", 1280), ("dark", 1280), ("light", 360), ("dark", 360)]


@dataclass
class Application:
    """Something that answers at another origin. asked: the targets of the requests that it got."""

    url: str
    asked: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
async def application() -> AsyncIterator[Application]:
    """An application of another company, at an origin of its own."""

    made = Application("")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        made.asked.append((await reader.readuntil(b"\r\n\r\n")).decode().split(" ")[1])
        body = b"<!doctype html><title>app</title><h1 id=welcome>Welcome</h1>"
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield made


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
        frontchannel_logout_uri=f"{application.url}/signed-out", grant_types=["authorization_code", "implicit"],
        response_types=["code", "code id_token"], response_modes=["query", "fragment", "form_post", "form_post.jwt"],
        authorization_details_types=["payment_initiation"], main_uri="https://wiki.example.com",
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
    try:
        yield context, page, said
    finally:
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
        application.asked.clear()
        await page.click("#sign-out")
        if not scripts:
            await page.click("#return")
        await page.wait_for_selector("#welcome")
        assert page.url == f"{application.url}/bye"
        # The application was told in a frame, without a complaint of the page's policy.
        (told,) = [target for target in application.asked if target.startswith("/signed-out")]
        assert parse_qs(urlsplit(told).query)["iss"] == [scene.platform.issuer]
        await page.goto(f"{scene.platform.issuer}/login")
        assert await page.locator("#sign-in").count() == 1
        assert said == []


@pytest.mark.parametrize("scripts", [True, False], ids=["with JavaScript", "without"])
@pytest.mark.parametrize("mode", ["fragment", "form_post", "form_post.jwt"])
async def test_answer_with_tokens_reaches_the_application(
    chromium: Browser, scene: Scene, application: Application, scripts: bool, mode: str
) -> None:
    """By way of the service that signs: the browser's checks of every hop let it through."""
    async with tab(chromium, scripts=scripts) as (context, page, said):
        await page.goto(scene.url(response_type="code id_token", response_mode=mode))
        await sign_in(page, scene)
        await page.click("#allow")
        if mode != "fragment" and not scripts:
            await page.click("#continue")
        await page.wait_for_selector("#welcome")
        assert page.url.startswith(f"{application.url}/cb")
        assert ("id_token=" in page.url) is (mode == "fragment")
        names = {cookie.get("name", "") for cookie in await context.cookies(scene.platform.issuer)}
        assert names == {"ww-session", "ww-device"}
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
    details = [
        {"type": "payment_initiation", "actions": ["initiate"], "amount": {"currency": "EUR", "value": "123.50"}}
    ]
    await page.goto(scene.url(authorization_details=json.dumps(details)))
    await page.wait_for_selector("#allow")
    await look(page, "consent-details", theme, width)
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


@pytest.mark.parametrize(("theme", "width"), [("light", 360), ("dark", 360)])
async def test_german_pages_and_the_name_first_are_readable(
    chromium: Browser, scene: Scene, canary: Canary, theme: Theme, width: int
) -> None:
    """German words are longer; a name that leads to a provider, and a device, have pages of their own."""
    api, domain = scene.platform.api(canary), f"{secrets.token_hex(3)}.test"
    claiming = await api.create(
        "/providers", id=f"Corp-{secrets.token_hex(3)}", preset="oidc", display_name="Corp", enabled=True,
        issuer="https://idp.example", client_id="ww", client_secret="s" * 20, domains=[domain, f"also.{domain}"],
    )  # fmt: skip
    # A second one for the domain, so that the page stays and can be looked at.
    second = await api.create(
        "/providers", id=f"Corp-{secrets.token_hex(3)}", preset="oidc", display_name="Corp, too", enabled=True,
        issuer="https://idp.example", client_id="ww", client_secret="s" * 20, domains=[domain],
    )  # fmt: skip
    context = await chromium.new_context(
        color_scheme=theme, viewport={"width": width, "height": 780}, bypass_csp=True, locale="de-DE"
    )
    page = await context.new_page()
    try:
        await page.goto(scene.url())
        assert await page.locator("html").get_attribute("lang") == "de"
        assert not await page.locator("label[for=password]").count()
        await look(page, "german-name", theme, width)
        await page.fill("#username", f"ann@{domain}")
        await page.click("#sign-in")
        await page.wait_for_selector("#use-password")
        await look(page, "german-onward", theme, width)
        await page.click("#use-password")
        await page.fill("#username", scene.username)
        await page.fill("#password", PASSWORD)
        await look(page, "german-password", theme, width)
        await page.click("#sign-in")
        await page.wait_for_selector("#allow")
        await look(page, "german-consent", theme, width)
        await page.goto(f"{scene.platform.issuer}/device")
        await look(page, "german-device", theme, width)
        await page.goto(scene.url(redirect_uri="https://evil.example/"))
        await look(page, "german-error", theme, width)
    finally:
        await context.close()
        for each in (claiming, second):
            await api.change(f"/providers/{each['id']}", enabled=False)


# The simulated device takes every suggestion at once. Where a person takes none, the request waits until it is ended.
NO_SUGGESTION_TAKEN: Final = """
const get = navigator.credentials.get.bind(navigator.credentials);
navigator.credentials.get = (options) => options.mediation !== "conditional" ? get(options) : new Promise((_, refuse) =>
  options.signal.addEventListener("abort", () => refuse(options.signal.reason)));
"""


@pytest.mark.spec("WebAuthn Level 3 5.1.3, 5.1.4, 7.1, 7.2")
@pytest.mark.parametrize("by", ["the button", "a suggestion"])
async def test_passkey_is_made_and_signs_in(chromium: Browser, scene: Scene, by: str) -> None:
    """With the browser's own authenticator; a suggestion at the user name is taken without a click of ours."""
    async with tab(chromium) as (context, page, said):
        device = await context.new_cdp_session(page)
        await device.send("WebAuthn.enable")
        options = {
            "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
            "isUserVerified": True, "automaticPresenceSimulation": True,
        }  # fmt: skip
        await device.send("WebAuthn.addVirtualAuthenticator", {"options": options})
        await page.goto(f"{scene.platform.issuer}/login?return_to=/account")
        await sign_in(page, scene)
        await page.click("#manage-passkeys")
        await page.click("#use-passkey")
        await page.wait_for_selector("#passkey-count")
        assert await page.locator("#passkey-count").inner_text() == "1"
        await context.clear_cookies()
        if by == "the button":
            await page.add_init_script(NO_SUGGESTION_TAKEN)
        await page.goto(scene.url())
        if by == "the button":
            await page.click("#use-passkey")
        await page.wait_for_selector("#allow")
        assert said == []


async def test_who_wants_less_motion_sees_none(chromium: Browser, scene: Scene) -> None:
    async with await chromium.new_context(reduced_motion="reduce") as context:
        page = await context.new_page()
        await page.goto(scene.url())
        moved = "e => getComputedStyle(e).transitionProperty"
        assert await page.eval_on_selector("#sign-in", moved) == "none"


async def test_password_is_shown_to_whoever_types_it(chromium: Browser, scene: Scene) -> None:
    """By the keyboard, too. The form is not sent by it, and what is sent is a password to the browser."""
    async with tab(chromium) as (_, page, said):
        await page.goto(scene.url())
        before = page.url
        await page.fill("#username", scene.username)
        await page.fill("#password", PASSWORD)
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.id") == "show-password"
        for key, shown in (("Space", True), ("Enter", False), ("Space", True)):
            await page.keyboard.press(key)
            assert await page.get_attribute("#password", "type") == ("text" if shown else "password")
            assert await page.get_by_role("button", name="Show: Password", pressed=shown).count() == 1
        assert page.url == before
        assert await page.input_value("#password") == PASSWORD
        await page.evaluate(
            "addEventListener('submit', (e) => sessionStorage.setItem('sent', e.target.elements.password.type))"
        )
        await page.click("#sign-in")
        await page.wait_for_selector("#allow")
        assert await page.evaluate("sessionStorage.getItem('sent')") == "password"
        assert said == []


async def test_password_field_without_javascript_is_just_a_field(chromium: Browser, scene: Scene) -> None:
    async with tab(chromium, scripts=False) as (_, page, said):
        await page.goto(scene.url())
        assert await page.locator("#show-password").is_hidden()
        name, password = [await page.locator(each).bounding_box() for each in ("#username", "#password")]
        assert name is not None
        assert password is not None
        assert name["width"] == password["width"]
        assert said == []


async def test_nothing_moves_when_passwords_can_be_shown(chromium: Browser, scene: Scene) -> None:
    async with tab(chromium) as (context, page, _):
        await page.goto(scene.url())
        ready = await page.locator("#password").bounding_box()
        await context.route("**/show.js", lambda route: route.abort())
        await page.reload()
        assert not await page.is_visible("#show-password")
        assert await page.locator("#password").bounding_box() == ready


async def test_new_passwords_can_be_shown_at_the_account(chromium: Browser, scene: Scene) -> None:
    context = await chromium.new_context(locale="de-DE")
    page = await context.new_page()
    await page.goto(f"{scene.platform.issuer}/login?return_to=/account")
    await sign_in(page, scene)
    await page.click("#change-password")
    for name, label in (("new_password", "Neues Passwort"), ("repeated", "Dasselbe noch einmal")):
        await page.get_by_role("button", name=f"Anzeigen: {label}", pressed=False).click()
        assert await page.get_attribute(f"#{name}", "type") == "text"
    await context.close()


@pytest.mark.parametrize("scripts", [True, False], ids=["with JavaScript", "without"])
async def test_the_chosen_theme_stays_whatever_the_device_prefers(
    chromium: Browser, scene: Scene, scripts: bool
) -> None:
    light, dark = "rgb(246, 242, 234)", "rgb(16, 21, 29)"
    context = await chromium.new_context(color_scheme="light", java_script_enabled=scripts)
    page = await context.new_page()

    async def ground() -> str:
        return str(await page.locator("body").evaluate("(body) => getComputedStyle(body).backgroundColor"))

    await page.goto(scene.url())
    assert await ground() == light
    await page.click("#theme-dark")
    assert await ground() == dark
    await sign_in(page, scene)
    await page.wait_for_selector("#allow")
    assert await ground() == dark
    await page.goto(f"{scene.platform.issuer}/account")
    assert await ground() == dark
    await page.click("#theme-auto")
    assert await ground() == light
    await page.emulate_media(color_scheme="dark")
    assert await ground() == dark
    await page.click("#theme-light")
    assert page.url == f"{scene.platform.issuer}/account"
    assert await ground() == light
    await context.close()


async def test_sign_in_page_without_a_passkey_api_has_no_button_for_it(chromium: Browser, scene: Scene) -> None:
    async with tab(chromium, scripts=False) as (_, page, said):
        await page.goto(scene.url())
        assert await page.locator("#use-passkey").is_hidden()
        assert said == []


@pytest.mark.parametrize(("theme", "width"), LOOKS)
async def test_every_page_of_the_account_is_readable(chromium: Browser, scene: Scene, theme: Theme, width: int) -> None:
    issuer = scene.platform.issuer
    context = await chromium.new_context(color_scheme=theme, viewport={"width": width, "height": 780}, bypass_csp=True)
    page = await context.new_page()
    await page.goto(scene.url())
    await sign_in(page, scene)
    await page.click("#allow")
    await page.goto(f"{issuer}/account")
    await look(page, "account", theme, width)
    for room in ("profile", "email", "applications", "providers", "api-keys", "activity", "data"):
        await page.goto(f"{issuer}/account/{room}")
        await look(page, f"account-{room}", theme, width)
    await page.goto(f"{issuer}/account")
    await page.click("#change-password")
    await look(page, "account-password", theme, width)
    await page.click("#back")
    await page.click("#manage-passkeys")
    await look(page, "account-passkeys", theme, width)
    await page.click("#back")
    await page.click("#manage-authenticator")
    await look(page, "account-authenticator", theme, width)
    app = pyotp.TOTP((await page.locator("#totp-secret").inner_text()).replace(" ", ""))
    await page.fill("#otp", app.at(utc_now()))
    await page.click("#verify")
    await page.wait_for_selector("#recovery-codes")
    await look(page, "account-codes", theme, width)
    codes = (await page.locator("#recovery-codes").inner_text()).split()
    await page.click("#continue")
    await page.goto(scene.url(prompt="login"))
    await sign_in(page, scene)
    await page.wait_for_selector("#verify")
    await look(page, "factor", theme, width)
    await page.click("#use-recovery")
    await look(page, "factor-recovery", theme, width)
    await page.fill("#otp", codes[0])
    await page.click("#verify")
    await page.wait_for_selector("#welcome, #allow")
    await context.close()
