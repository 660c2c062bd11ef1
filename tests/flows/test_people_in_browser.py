"""What people do at their account, and the administrator of an organization at the console, in a real browser.

One installation with a mail server and a provider that somebody else wrote. Passkeys alone need JavaScript; each page
is looked at on a phone in the dark and at a desk in the light.

WATCHWORD_TEST_SHOTS names a directory for pictures of each page.
"""

import asyncio
import json
import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx2
import oidc_provider_mock
import pyotp
import pytest
from playwright.async_api import Browser, Page
from tests.authz.test_browser import Theme, look
from tests.authz.test_reset import Post

from watchword_runtime.clock import utc_now
from watchword_testkit.api import Api
from watchword_testkit.databases import Template
from watchword_testkit.platform import Platform, in_this_process, prepared
from watchword_testkit.servers import Postgres
from watchword_testkit.signin import Party, SignIn
from watchword_testkit.upstream import configure_mock

pytestmark = pytest.mark.browser

FIRST, SECOND = "the first words of this person", "other words of this person"
LOOKS: list[tuple[Theme, int]] = [("light", 1280), ("dark", 360)]


@dataclass
class Site:
    """An installation that sends mail. provider_id: of a provider at which anybody can be anybody."""

    platform: Platform
    api: Api
    post: Post
    provider_id: str
    browser: Browser

    async def person(self, name: str, **more: object) -> dict[str, object]:
        """Somebody new with a verified address and the first password."""
        username = f"{name}-{secrets.token_hex(3)}"
        made = {"username": username, "email": f"{username}@demo.test", "name": name.title(), "password": FIRST, **more}
        return await self.api.create("/users", **made)

    @asynccontextmanager
    async def window(self, *, scripts: bool = True) -> AsyncIterator[Page]:
        """A fresh profile on a phone in the dark."""
        context = await self.browser.new_context(
            color_scheme="dark", viewport={"width": 360, "height": 740}, bypass_csp=True, java_script_enabled=scripts
        )
        try:
            yield await context.new_page()
        finally:
            await context.close()

    async def enter(self, page: Page, username: object, password: str = FIRST, path: str = "/account") -> None:
        """The person signs in, and is where they wanted to go."""
        await page.goto(f"{self.platform.issuer}{path}")
        await page.fill("#username", str(username))
        await page.fill("#password", password)
        await page.click("#sign-in")
        await page.wait_for_selector("nav", state="attached")

    async def mailed(self, address: str, path: str) -> str:
        """The link to a page, of the last mail to an address that has one."""
        return await self.post.link_to(address, path, self.platform.canary)


@pytest.fixture(scope="module")
async def site(
    postgres: Postgres, database_template: Template, tmp_path_factory: pytest.TempPathFactory, chromium: Browser
) -> AsyncIterator[Site]:
    """Of this module's own: the session's installation has no mail server."""
    post = Post()
    home = tmp_path_factory.mktemp("people")
    with oidc_provider_mock.run_server_in_thread(require_nonce=True) as upstream:
        async with (
            post.served() as mail,
            prepared(postgres, database_template, home) as made,
            in_this_process(made, **mail) as platform,
        ):
            api = platform.api()
            provider_id = await configure_mock(api, f"http://localhost:{upstream.server_port}")
            yield Site(platform, api, post, provider_id, chromium)
            await platform.check_secrets()


@pytest.fixture(params=[True, False], ids=["looked at", "without JavaScript"])
def scripts(request: pytest.FixtureRequest) -> bool:
    """Each story is told twice. What looks at a page needs JavaScript itself."""
    return bool(request.param)


async def seen(page: Page, name: str) -> None:
    """The page fits and is readable, in both looks, where that can be seen."""
    if not await page.evaluate("matchMedia('(scripting: enabled)').matches"):
        return
    for theme, width in LOOKS:
        await page.emulate_media(color_scheme=theme, reduced_motion="reduce")  # no colour on its way to another
        await page.set_viewport_size({"width": width, "height": 740})
        await look(page, f"people-{name}", theme, width)


async def done(page: Page, words: str) -> None:
    """The page says so."""
    assert words in await page.locator("main [role=status]").first.inner_text()


async def test_a_person_changes_who_they_are_and_how_they_sign_in(site: Site, scripts: bool) -> None:
    person = await site.person("ada")
    async with site.window(scripts=scripts) as page, site.window(scripts=scripts) as elsewhere:
        await site.enter(elsewhere, person["username"])
        await site.enter(page, person["username"])
        await of_the_profile(page)
        await of_the_address(site, page, str(person["email"]))
        await of_the_password(page)
        await elsewhere.reload()
        assert await elsewhere.locator("#sign-in").count(), "what the old password let in is out"
        await of_the_authenticator(site, page, str(person["username"]))


async def of_the_profile(page: Page) -> None:
    await page.click("nav >> text=Profile")
    await page.fill("#zoneinfo", "Nowhere/At-All")
    await page.click("#save")
    assert await page.locator("#zoneinfo[aria-invalid]").count()
    await seen(page, "profile-refused")
    await page.fill("#zoneinfo", "Europe/Vienna")
    await page.fill("#nickname", "Countess")
    await page.click("#save")
    await done(page, "Your profile was changed")
    assert await page.input_value("#nickname") == "Countess"
    await seen(page, "profile")


async def of_the_address(site: Site, page: Page, before: str) -> None:
    await page.click("nav >> text=E-mail")
    after = before.replace("@", ".new@")
    await page.fill("#email", after)
    await page.click("#send-link")
    await done(page, f"on its way to {after}")
    await seen(page, "email-asked")
    assert before in await page.inner_text("#own-email"), "until the link is opened"
    link = await site.mailed(after, "/account/email/confirm")
    await page.goto(link)
    await seen(page, "email-confirm")
    await page.click("#confirm")
    await done(page, "This is your e-mail address now")
    assert await page.inner_text("#own-email") == after
    await page.goto(link)
    assert await page.inner_text("#error-code") == "link_over"
    await seen(page, "email-link-over")


async def of_the_password(page: Page) -> None:
    await page.goto(re.sub(r"/account/.*", "/account", page.url))
    await page.click("#change-password")
    for new, repeated in (("short", "short"), (SECOND, FIRST)):
        await page.fill("#new_password", new)
        await page.fill("#repeated", repeated)
        await page.click("#save")
        assert await page.locator("[aria-invalid]").count()
    await seen(page, "password-refused")
    await page.fill("#new_password", SECOND)
    await page.fill("#repeated", SECOND)
    await page.click("#save")
    await done(page, "Your password was changed")


async def of_the_authenticator(site: Site, page: Page, username: str) -> None:
    await page.click("#manage-authenticator")
    app = pyotp.TOTP((await page.inner_text("#totp-secret")).replace(" ", ""))
    code = app.at(utc_now())
    await page.fill("#otp", f"{(int(code) + 1) % 1_000_000:06}")
    await page.click("#verify")
    await page.wait_for_selector("[role=alert]")
    await seen(page, "authenticator-wrong")
    await page.fill("#otp", app.at(utc_now()))
    await page.click("#verify")
    codes = (await page.inner_text("#recovery-codes")).split()
    for each in codes:
        site.platform.canary.add("recovery code", each)
    await seen(page, "codes")
    await page.emulate_media(media="print")
    assert await page.locator("#recovery-codes").is_visible()
    assert not await page.locator("nav, #continue, #languages").filter(visible=True).count(), "only what is to be kept"
    await page.emulate_media(media="screen")
    await page.click("#continue")
    assert await page.inner_text("#codes-left") == f"{len(codes)} left"
    await page.context.clear_cookies()
    await page.goto(f"{site.platform.issuer}/account")
    await page.fill("#username", username)
    await page.fill("#password", SECOND)
    await page.click("#sign-in")
    await page.click("#use-recovery")
    await page.fill("#otp", codes[0])
    await page.click("#verify")
    assert await page.inner_text("#codes-left") == f"{len(codes) - 1} left"
    await page.click("#manage-authenticator")
    await seen(page, "authenticator-on")
    await page.click("#new-codes")
    assert not set(codes) & set((await page.inner_text("#recovery-codes")).split())
    await page.click("#continue")
    await page.click("#manage-authenticator")
    await page.click("#remove")
    await done(page, "Your authenticator app was removed")
    assert await page.inner_text("#authenticator-state") == "Off"


async def test_a_passkey_is_named_used_and_removed(site: Site) -> None:
    person = await site.person("grace")
    async with site.window() as page:
        device = await page.context.new_cdp_session(page)
        await device.send("WebAuthn.enable")
        options = {
            "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
            "isUserVerified": True, "automaticPresenceSimulation": True,
        }  # fmt: skip
        await device.send("WebAuthn.addVirtualAuthenticator", {"options": options})
        await site.enter(page, person["username"])
        await page.click("#manage-passkeys")
        await page.fill("#name", "Phone of Grace")
        await page.click("#use-passkey")
        await done(page, "Your passkey is ready")
        await page.context.clear_cookies()
        await page.goto(f"{site.platform.issuer}/account")  # where the browser offers the passkey by itself
        await page.click("#manage-passkeys")
        assert "Phone of Grace" in await page.inner_text("#passkeys")
        assert "last used" in await page.inner_text("#passkeys")
        await seen(page, "passkeys")
        await page.click("#passkeys button")
        await done(page, "The passkey was removed")
        assert await page.inner_text("#passkey-count") == "You have none"


async def test_a_provider_is_linked_used_and_unlinked_but_not_as_the_last_way_in(site: Site, scripts: bool) -> None:
    person, subject = await site.person("alan"), f"alan-{secrets.token_hex(3)}"
    async with site.window(scripts=scripts) as page:
        await site.enter(page, person["username"])
        await page.click("nav >> text=Providers")
        await seen(page, "providers-none")
        await page.click(f"#link-{site.provider_id}")
        await seen(page, "provider-link")
        await at_the_provider(page, site.provider_id, subject)
        await done(page, "You can sign in through this provider from now on")
        assert subject in await page.inner_text("#linked")
        await seen(page, "providers")
        await page.click("#linked button")
        await page.wait_for_selector("#sign-in")
        await site.enter(page, person["username"], path="/account/providers")
        assert not await page.locator("#linked").count()
    async with site.window(scripts=scripts) as page:
        await page.goto(f"{site.platform.issuer}/account")
        await at_the_provider(page, site.provider_id, secrets.token_hex(4))
        await page.click("nav >> text=Providers")
        await page.click("#linked button")
        assert "You could not sign in any more" in await page.inner_text("[role=alert]")
        await seen(page, "provider-last-way")
        await page.goto(f"{site.platform.issuer}/account/api-keys")
        await seen(page, "keys-none")


async def at_the_provider(page: Page, provider_id: str, subject: str) -> None:
    """There and back as somebody."""
    await page.click(f"#provider-{provider_id}")
    await page.fill("[name=sub]", subject)
    await page.click("button[type=submit]")
    await page.wait_for_selector("main nav")


async def test_what_a_person_has_running_is_seen_and_ended(site: Site, scripts: bool) -> None:
    person = await site.person("edsger")
    name = str(person["username"])
    party = await Party.registered(
        site.api, site.platform.issuer, site.platform.canary, client_name="Team Wiki", main_uri="https://wiki.example",
        description="Where everything is written down", require_consent=True,
    )  # fmt: skip
    async with (
        site.window(scripts=scripts) as page,
        site.window(scripts=scripts) as second,
        site.window(scripts=scripts) as third,
    ):
        for each in (second, third, page):
            await site.enter(each, name)
        await of_the_sessions(page, second, third)
        await of_the_applications(site, page, party)
        await of_the_keys(site, page)
        await page.click("nav >> text=Activity")
        while not await page.locator("#activity >> text=An API key was revoked").count():
            await page.reload()
        await seen(page, "activity")
        await of_the_data(site, page, name)


async def of_the_sessions(page: Page, second: Page, third: Page) -> None:
    await seen(page, "account")
    assert await page.locator("#sessions li").count() == 3
    await page.locator("#sessions li form button").first.click()
    await done(page, "Nobody is signed in there any more")
    assert await page.locator("#sessions li").count() == 2
    await page.click("#end-others")
    await done(page, "Nobody is signed in there any more")
    assert await page.locator("#sessions li").count() == 1
    assert not await page.locator("#end-others").count()
    for each in (second, third):
        await each.reload()
        assert await each.locator("#sign-in").count()


async def of_the_applications(site: Site, page: Page, party: Party) -> None:
    await page.click("nav >> text=Applications")
    await seen(page, "applications-none")
    await page.route(f"{party.redirect_uri}*", lambda route: route.fulfill(body="<h1 id=welcome>Welcome</h1>"))
    await page.goto(SignIn(site.platform.browser(), party).url)
    await page.click("#allow")
    await page.wait_for_selector("#welcome")
    await page.goto(f"{site.platform.issuer}/account/applications")
    assert await page.get_attribute(f"#tile-{party.client_id}", "href") == "https://wiki.example"
    assert "Team Wiki" in await page.inner_text("#used")
    await seen(page, "applications")
    await page.click(f"#withdraw-{party.client_id}")
    await done(page, "The application cannot use your account any more")
    assert "Team Wiki" not in await page.inner_text("#used")


async def of_the_keys(site: Site, page: Page) -> None:
    await page.click("nav >> text=API keys")
    await page.fill("#name", "nightly backup of the wiki")
    await page.select_option("#lifetime", "30")
    await page.click("#make-key")
    key = await page.inner_text("#new-key")
    site.platform.canary.add("api key", key)
    await seen(page, "key-made")
    await page.goto(page.url)
    assert key not in await page.content()
    assert "never used" in await page.inner_text("#keys")
    async with httpx2.AsyncClient(trust_env=False, headers={"Watchword-API-Key": key}) as http:
        assert (await http.get(f"{site.platform.issuer}/api/v1/me")).status_code == 200
        async with asyncio.timeout(20):  # uses are written behind
            while "never used" in await page.inner_text("#keys"):
                await page.reload()
        assert "last used" in await page.inner_text("#keys")
        await seen(page, "keys")
        await page.click("#keys button")
        await done(page, "is worthless")
        assert (await http.get(f"{site.platform.issuer}/api/v1/me")).status_code == 401


async def of_the_data(site: Site, page: Page, name: str) -> None:
    await page.click("nav >> text=Your data")
    async with page.expect_download() as begun:
        await page.click("#export")
    kept = await begun.value
    assert kept.suggested_filename.endswith(".json")
    assert json.loads((await kept.path()).read_text())["account"]["username"] == name
    await page.fill("#username", "somebody-else")
    await page.click("#delete")
    assert "not your user name" in await page.inner_text("[role=alert]")
    await seen(page, "data-refused")
    await page.fill("#username", name)
    await page.click("#delete")
    assert "deleted" in await page.inner_text("h1")
    await seen(page, "deleted")
    await page.goto(f"{site.platform.issuer}/account")
    assert await page.locator("#sign-in").count()


async def test_an_organization_is_administered_by_its_own(site: Site, scripts: bool) -> None:
    """What is theirs is seen and changed; what is closed is not in the menu, and says where to go."""
    api, tag, ids = site.api, secrets.token_hex(3), {}
    for name in ("acme", "other"):
        made = await api.create("/organizations", short_name=f"{name}-{tag}", name=f"{name.title()} {tag}")
        ids[name] = str(made["id"])
    boss = await site.person("barbara", organization=ids["acme"])
    stranger = await site.person("eve", organization=ids["other"])
    await api.create("/assignments", role="organization-administrator", user=boss["id"], organization=ids["acme"])
    async with site.window(scripts=scripts) as page:
        await site.enter(page, boss["username"], path="/admin")
        assert f"Acme {tag}" in await page.inner_text("main")
        assert f"Other {tag}" not in await page.inner_text("main")
        await every_room_opens(site.platform.issuer, page)
        await of_their_people(site, page, str(stranger["username"]), tag)
        await of_their_rules(page, tag)
        await closed_to_them(site, page, [f"users/{stranger['id']}", f"organizations/{ids['other']}", "applications"])


async def every_room_opens(issuer: str, page: Page) -> None:
    await page.set_viewport_size({"width": 360, "height": 740})
    await page.click("#menu")
    await seen(page, "console-menu")
    rooms = await page.locator("#rooms a").all()
    addresses = [await each.get_attribute("href") for each in rooms]
    assert len(addresses) > 3
    for address in addresses:
        answer = await page.goto(f"{issuer}{address}")
        assert answer is not None
        assert answer.status == 200, address
        await seen(page, f"organization{str(address).replace('/', '-')}")


async def of_their_people(site: Site, page: Page, stranger: str, tag: str) -> None:
    await open_room(page, "users")
    assert stranger not in await page.inner_text("main")
    await page.click("#new-user")
    await page.fill("#username", f"newcomer-{tag}")
    await page.fill("#email", f"newcomer-{tag}@elsewhere.test")
    await page.click("#save")
    assert "only an address in a domain that the organization has proved" in await page.inner_text("main")
    assert await page.locator("#email[aria-invalid]").count()
    assert await page.input_value("#username") == f"newcomer-{tag}"
    await seen(page, "organization-user-new")
    await page.fill("#email", "")
    await page.click("#save")
    await page.click("#invite")
    link = await page.inner_text("#invitation")
    site.platform.canary.add("ticket", link.partition("ticket=")[2])
    await seen(page, "organization-user-invited")


async def of_their_rules(page: Page, tag: str) -> None:
    await open_room(page, "rules")
    await page.click("#new-rule")
    await page.fill("#name", f"staff-{tag}")
    await page.fill("#expression", "groups.exists(")
    await page.click("#save")
    assert await page.locator("#expression[aria-invalid]").count()
    await page.fill("#expression", "true")
    await page.click("#save")
    await open_room(page, "rules")
    assert f"staff-{tag}" in await page.inner_text("main")


async def open_room(page: Page, name: str) -> None:
    """By the menu of a phone."""
    await page.set_viewport_size({"width": 360, "height": 740})
    await page.click("#menu")
    await page.click(f"#nav-{name}")


async def closed_to_them(site: Site, page: Page, paths: list[str]) -> None:
    for path in paths:
        answer = await page.goto(f"{site.platform.issuer}/admin/{path}")
        assert answer is not None
        assert answer.status in {403, 404}, path
        assert "Go back to the console" in await page.inner_text("main")
        await seen(page, f"closed-{path.partition('/')[0]}")
        await page.click("#back")
        await page.wait_for_selector("#menu")


async def test_who_signed_in_through_a_provider_that_is_closed_is_invited(site: Site, scripts: bool) -> None:
    """The box in the question is ticked: who has no other way in gets a link by mail, and signs in with it."""
    admin = site.platform.admin
    async with oidc_provider(site) as (provider_id, name), site.window(scripts=scripts) as page:
        await page.goto(f"{site.platform.issuer}/account")
        await at_the_provider(page, provider_id, name)
        address = f"{name}@demo.test"
        username = await page.inner_text("#account-username")
        await page.context.clear_cookies()
        await site.enter(page, admin.username, admin.password, path=f"/admin/providers/{provider_id}/disable")
        assert "Those without another provider: 1" in await page.inner_text("main")
        await seen(page, "provider-question")
        await page.check("#invite")
        await page.click("#disable")
        await page.wait_for_selector(f"#card-{provider_id}")
        link = await site.mailed(address, "/login/reset")
        await page.context.clear_cookies()
        await page.goto(link)
        await page.fill("#new_password", SECOND)
        await page.fill("#repeated", SECOND)
        await page.click("#save")
        await page.wait_for_selector("#sign-in-again")
        await site.enter(page, username, SECOND)


@asynccontextmanager
async def oidc_provider(site: Site) -> AsyncIterator[tuple[str, str]]:
    """A provider of its own, and the subject of the one person there, whose address it vouches for."""
    name = f"kurt-{secrets.token_hex(3)}"
    claims = {"email": f"{name}@demo.test", "email_verified": True, "name": "Kurt"}
    user = oidc_provider_mock.User(sub=name, claims=claims)
    with oidc_provider_mock.run_server_in_thread(require_nonce=True, user_claims=[user]) as server:
        yield await configure_mock(site.api, f"http://localhost:{server.server_port}"), name
