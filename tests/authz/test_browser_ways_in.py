"""What people see before and beside a sign-in, in a real browser: invited, forgotten, a second factor demanded, an
address to verify, a provider to link. Both themes, on a phone and a desk, in German, and without JavaScript.

WATCHWORD_TEST_SHOTS names a directory for pictures of each page.
"""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pyotp
import pytest
from playwright.async_api import Browser, Page
from tests.authz.test_browser import LOOKS, Theme, look, tab
from tests.authz.test_reset import Post

from watchword_events.names import Service
from watchword_runtime.clock import utc_now
from watchword_testkit.api import Api
from watchword_testkit.databases import Template
from watchword_testkit.platform import Platform, in_this_process, prepared
from watchword_testkit.servers import Postgres
from watchword_testkit.signin import Party, SignIn

pytestmark = pytest.mark.browser

FIRST, SECOND = "the first words of this person", "other words of this person"
Look = Callable[[Page, str], Awaitable[None]]


@dataclass
class Site:
    """An installation that sends mail, a client that wants two factors, and a provider that can be linked."""

    platform: Platform
    post: Post
    party: Party
    provider_id: str

    @property
    def start(self) -> str:
        """Where the client sends people."""
        return SignIn(self.platform.browser(), self.party).url

    async def link_to(self, email: str, path: str) -> str:
        """The link to a page, of the last mail that has one."""
        return await self.post.link_to(email, path, self.platform.canary)


@pytest.fixture(scope="module")
async def site(
    postgres: Postgres, database_template: Template, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    """Of this module's own: no other installation of the tests has a mail server."""
    post = Post()
    home = tmp_path_factory.mktemp("ways-in")
    async with (
        post.served() as mail,
        prepared(postgres, database_template, home) as made,
        in_this_process(made, **mail) as platform,
    ):
        api = platform.api()
        party = await Party.registered(api, platform.issuer, client_name="Team Wiki", require_consent=True)
        await api.create("/factor-requirements", applies_to="client", entity_id=party.client_id)
        provider = await api.create(
            "/providers", id="GitHub", preset="oidc", display_name="GitHub", issuer="https://idp.example",
            client_id="ww", client_secret="s" * 20, enabled=True,
        )  # fmt: skip
        yield Site(platform, post, party, str(provider["id"]))
        await platform.check_secrets()


@pytest.mark.parametrize(("theme", "width"), LOOKS)
async def test_every_page_is_readable(chromium: Browser, site: Site, theme: Theme, width: int) -> None:
    """On a phone in German, whose words are longer."""
    language = "de-DE" if width == 360 else "en"
    context = await chromium.new_context(
        color_scheme=theme, viewport={"width": width, "height": 780}, bypass_csp=True, locale=language
    )

    async def seen(page: Page, name: str) -> None:
        assert await page.locator("html").get_attribute("lang") == language[:2]
        await look(page, f"ways-in-{name}", theme, width)

    await story(await context.new_page(), site, seen)
    await context.close()


async def test_nothing_needs_javascript(chromium: Browser, site: Site) -> None:
    async def seen(_page: Page, _name: str) -> None:
        pass

    async with tab(chromium, scripts=False) as (_, page, said):
        await story(page, site, seen)
        assert said == []


async def test_whoever_is_invited_can_see_the_password_that_they_choose(chromium: Browser, site: Site) -> None:
    api, name = site.platform.api(), f"ada-{secrets.token_hex(4)}"
    person = await api.create("/users", username=name, email=f"{name}@demo.test")
    async with tab(chromium) as (_, page, said):
        await page.goto(str((await api.create("/invitations", user_id=person["id"]))["link"]))
        for each in ("new_password", "repeated"):
            await page.click(f"#show-{each}")
            assert await page.get_attribute(f"#{each}", "type") == "text"
        await choose(page, "short", "short")
        await page.wait_for_selector("[aria-invalid]")
        assert await page.get_attribute("#new_password", "type") == "password"
        assert said == []


async def story(page: Page, site: Site, seen: Look) -> None:
    """Somebody is invited, forgets the password, sets up a second factor, and puts the account in order."""
    api, name = site.platform.api(), f"ada-{secrets.token_hex(4)}"
    person = await api.create("/users", username=name, email=f"{name}@demo.test", name="Ada Lovelace")
    await invited(page, api, str(person["id"]), seen)
    await forgotten(page, site, f"{name}@demo.test", seen)
    await with_two_factors(page, site, name, seen)
    await linking(page, site, seen)
    await verifying(page, site, str(person["id"]), f"{name}@demo.test", seen)


async def invited(page: Page, api: Api, user_id: str, seen: Look) -> None:
    link = str((await api.create("/invitations", user_id=user_id))["link"])
    await page.goto(link)
    await seen(page, "invitation")
    await choose(page, "short", "short")
    await page.wait_for_selector("[aria-invalid]")
    await seen(page, "invitation-refused")
    await choose(page, FIRST, FIRST)
    await page.wait_for_selector("#sign-in-again")
    await seen(page, "password-chosen")
    await page.goto(link)
    assert await page.locator("#error-code").inner_text() == "link_over"
    await seen(page, "link-over")


async def forgotten(page: Page, site: Site, email: str, seen: Look) -> None:
    await page.goto(site.start)
    await page.click("#forgotten")
    await seen(page, "forgotten")
    await page.fill("#username", email)
    await page.click("#send")
    await page.wait_for_selector("#back")
    await seen(page, "forgotten-sent")
    await page.goto(await site.link_to(email, "/login/reset"))
    await seen(page, "reset")
    await choose(page, SECOND, f"{SECOND}?")
    await page.wait_for_selector("[aria-invalid]")
    await choose(page, SECOND, SECOND)
    await page.wait_for_selector("#sign-in-again")


async def choose(page: Page, password: str, repeated: str) -> None:
    await page.fill("#new_password", password)
    await page.fill("#repeated", repeated)
    await page.click("#save")


async def with_two_factors(page: Page, site: Site, name: str, seen: Look) -> None:
    await page.goto(site.start)
    await page.fill("#username", name)
    await page.fill("#password", SECOND)
    await page.click("#sign-in")
    await page.wait_for_selector("#enrol-form")
    await seen(page, "factor-enrol")
    app = pyotp.TOTP((await page.locator("#totp-secret").inner_text()).replace(" ", ""))
    code = app.at(utc_now())
    await page.fill("#otp", f"{(int(code) + 1) % 1_000_000:06}")
    await page.click("#verify")
    await page.wait_for_selector("[role=alert]")
    await seen(page, "factor-enrol-wrong")
    await page.fill("#otp", app.at(utc_now()))
    await page.click("#verify")
    await page.wait_for_selector("#recovery-codes")
    await seen(page, "recovery-codes")
    await page.click("#continue")
    await page.wait_for_selector("#allow")


async def linking(page: Page, site: Site, seen: Look) -> None:
    await page.goto(f"{site.platform.issuer}/account/providers")
    await page.click(f"#link-{site.provider_id}")
    await page.wait_for_selector(f"#provider-{site.provider_id}")
    await seen(page, "account-link")
    await page.click("#cancel")
    await page.wait_for_selector("#offered")


async def verifying(page: Page, site: Site, user_id: str, email: str, seen: Look) -> None:
    """As if the person had come through a provider that does not vouch for the address."""
    database = site.platform.database.open(Service.DIRECTORY, pool_size=1)
    pool = await database.raw_pool()
    await pool.execute("UPDATE directory.users SET email_verified = false WHERE id = $1", user_id)
    await database.dispose()
    await page.goto(f"{site.platform.issuer}/account/email")
    await seen(page, "account-email")
    await page.click("#send-verification")
    await page.wait_for_selector("main [role=status]")
    await seen(page, "account-email-asked")
    await page.goto(await site.link_to(email, "/account/email/confirm"))
    await seen(page, "account-email-confirm")
    await page.click("#confirm")
    await page.wait_for_selector("#send-verification", state="detached")
    await seen(page, "account-email-verified")
