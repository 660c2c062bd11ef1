"""The mail server at the console: what is shown of it, and a message that is sent to whoever is there."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.admin.conftest import sign_in
from tests.authz.test_reset import Post

from watchword_testkit.browser import Browser
from watchword_testkit.canary import Canary
from watchword_testkit.databases import Template
from watchword_testkit.platform import Platform, in_this_process, prepared
from watchword_testkit.servers import Postgres


@pytest.fixture
async def mailing(
    postgres: Postgres, database_template: Template, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Platform, Post]]:
    """An installation that sends mail, and what arrives."""
    post = Post()
    home = tmp_path_factory.mktemp("mail")
    async with (
        post.served() as mail,
        prepared(postgres, database_template, home) as site,
        in_this_process(site, **mail) as platform,
    ):
        yield platform, post
        await platform.check_secrets()


async def test_without_a_mail_server_the_page_says_which_settings_name_one(console: Browser) -> None:
    await console.open(f"{console.issuer}/admin")
    page = await console.click("nav-mail")
    assert "WATCHWORD_SMTP_HOST" in page.body
    assert not page.has("send-test")
    token = page.form_with("csrf").fields["csrf"]
    page = await console.send("POST", "/admin/mail/test", {"csrf": token})
    assert page.status == 409
    assert "no mail server is set" in page.body


async def test_a_message_is_sent_and_a_refusal_is_shown(mailing: tuple[Platform, Post], canary: Canary) -> None:
    platform, post = mailing
    api = platform.api()
    found = (await api.get("/users", search=platform.admin.username))["items"]
    user = found[0]  # type: ignore[index]  # a JSON list
    address = "root@demo.test"
    async with platform.browser(canary) as browser:
        page = await sign_in(browser, platform, "/admin/mail")
        assert page.status == 200, page.body
        assert page.texts["mail-server"].startswith("127.0.0.1:")
        assert not page.has("send-test"), "there is no address"
        await api.change(f"/users/{user['id']}", email=address)
        async with asyncio.timeout(30):  # authz hears of it within milliseconds
            while not page.has("send-test"):
                page = await browser.open(f"{platform.issuer}/admin/mail")
        page = await browser.submit("send-test")
        assert page.texts["tested"].startswith("The server took it")
        assert [mail["To"] for mail in await post.to(address)] == [address]
        post.away = True
        page = await browser.submit("send-test")
        assert page.status == 200
        assert "451 come back later" in page.texts["tested"]
        post.away = False
        for _ in range(9):
            page = await browser.submit("send-test")
        assert page.status == 429
        assert "Try again in" in page.body
    assert platform.process is not None
    await platform.process.shared.audit.flush()
    calls = (await api.get("/audit", action="api.called", actor=str(user["id"]), limit="200"))["items"]
    told = {each["response_code"] for each in calls if each["path"] == "/admin/mail/test"}  # type: ignore[attr-defined]
    assert told == {200, 429}
