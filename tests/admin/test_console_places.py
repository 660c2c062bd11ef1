"""Where sessions are, at the console."""

import secrets

import pytest
from tests.admin.conftest import sign_in
from tests.authz.test_places import HOME, LONDON, write

from watchword_testkit.browser import Browser
from watchword_testkit.canary import Canary
from watchword_testkit.databases import Template
from watchword_testkit.platform import in_this_process, prepared
from watchword_testkit.servers import Postgres


async def test_a_session_is_shown_with_its_place(
    postgres: Postgres, database_template: Template, tmp_path_factory: pytest.TempPathFactory, canary: Canary
) -> None:
    home = tmp_path_factory.mktemp("places")
    settings = {
        "places_file": str(write(home / "places.mmdb", {"81.2.69.0/24": LONDON})),
        "trusted_proxies": "127.0.0.1",
    }
    async with (
        prepared(postgres, database_template, home) as site,
        in_this_process(site, **settings) as platform,
        platform.browser(canary) as person,
        platform.browser(canary) as console,
    ):
        name, password = f"paula-{secrets.token_hex(4)}", secrets.token_urlsafe(16)
        user = await platform.api().create("/users", username=name, password=password)
        person.client.headers["X-Forwarded-For"] = HOME
        await person.open(f"{platform.issuer}/account")
        await person.submit("username", "sign-in", username=name, password=password)
        page = await person.open(f"{platform.issuer}/account/activity")
        assert f"{HOME} · London, United Kingdom" in page.texts["activity"]
        await sign_in(console, platform)
        page = await console.open(f"{platform.issuer}/admin/users/{user['id']}")
        assert f"{HOME} · London, United Kingdom" in page.texts["sessions"]
        page = await console.open(f"{platform.issuer}/admin/sessions")
        assert "London, United Kingdom" in page.texts["sessions"]
        console.client.headers["Accept-Language"] = "de"
        page = await console.open(f"{platform.issuer}/admin/sessions")
        assert "London, Vereinigtes Königreich" in page.texts["sessions"]
        assert ">Ort<" in page.body


async def test_what_is_known_of_no_session_has_no_column(console: Browser) -> None:
    page = await console.open(f"{console.issuer}/admin/sessions")
    assert ">Address<" in page.body
    assert ">Place<" not in page.body
