"""The console in German: no text of the catalogues is left in English, on any page."""

import re
import secrets
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from typing import Final

import pytest
from tests.admin.conftest import CLIENT, PROVIDER, sign_in
from tests.admin.test_console import PAGES

from watchword.translations import PACKAGES, catalogue_of
from watchword_admin.presets import Presets
from watchword_admin.recipes import RECIPES
from watchword_testkit.browser import Browser
from watchword_testkit.canary import Canary
from watchword_testkit.platform import Platform

_ATTRIBUTES: Final = (
    "aria-label",
    "placeholder",
    "alt",
    "title",
    "data-label",
    "data-live",
    "data-waiting",
    "data-paused",
    "data-pause",
)
# Elements that show what is the same in every language: code, and names of members and of kinds of events.
_CODE: Final = ("b", "code", "pre", "script", "style")
_LONG: Final = 4  # words of a text that is looked for anywhere, and not only where it stands alone


class _Shown(HTMLParser):
    """What a page says, text by text."""

    def __init__(self, body: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._within: list[str] = []
        self._value: str | None = None
        self.feed(body)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.texts += [text for name in _ATTRIBUTES if (text := given.get(name)) and not text.startswith("/")]
        self._value = given.get("value") if tag == "option" else None
        if tag in _CODE or given.get("lang") == "en":
            self._within.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._within and tag == self._within[-1]:
            self._within.pop()

    def handle_data(self, data: str) -> None:
        if not self._within and data.strip() and data != self._value:
            self.texts.append(" ".join(data.split()))


def english() -> set[str]:
    """Every message that is another one in German."""
    kept = [each for name in ("watchword_web", "watchword_admin") for each in catalogue_of(PACKAGES[name], "de")]
    pairs = {
        (each, said)
        for message in kept
        if message.id
        for each, said in zip(_forms(message.id), _forms(message.string), strict=False)
    }
    german = {said for _, said in pairs}
    return {each for each, said in pairs if each != said and each not in german and "%(" not in each}


def _forms(words: str | tuple[str, ...] | list[str]) -> list[str]:
    return [words] if isinstance(words, str) else list(words)


@pytest.fixture
async def german(own_platform: Platform, canary: Canary) -> AsyncIterator[Browser]:
    """A browser at the console of an installation that holds nothing which others gave English names."""
    async with own_platform.browser(canary) as browser:
        browser.client.headers["Accept-Language"] = "de-AT, en;q=0.5"
        await sign_in(browser, own_platform)
        yield browser


async def test_no_page_says_anything_in_english(own_platform: Platform, german: Browser) -> None:
    console, api, name = german, own_platform.api(), f"deutsch-{secrets.token_hex(4)}"
    client = await api.create("/clients", **(CLIENT | {"client_name": name}))
    provider = await api.create("/providers", **(PROVIDER | {"id": name, "display_name": name}))
    user = await api.create("/users", username=name)
    group = await api.create("/groups", name=name)
    organization = await api.create("/organizations", name=name, short_name=name)
    await api.create(f"/organizations/{organization['id']}/domains", domain="acme.example")
    role = await api.create("/roles", name=name)
    rule = await api.create("/rules", name=name, expression="true", clients=[client["client_id"]], enabled=False)
    hook = await api.create("/webhooks", name=name, url="https://receiver.invalid/hook", enabled=False)
    ended = await api.create("/revocations", claim="sub", value=str(user["id"]))
    paths = [
        *PAGES,
        *(f"/admin/providers/new?preset={preset.preset}" for preset in Presets.load().all),
        *(f"/admin/applications/wizard/{recipe}" for recipe in RECIPES),
        *(f"/admin/applications/{client['client_id']}{deed}" for deed in ("", "/edit", "/delete")),
        *(f"/admin/providers/{provider['id']}{deed}" for deed in ("", "/test", "/disable", "/remove")),
        *(f"/admin/users/{user['id']}{deed}" for deed in ("", "/edit", "/disable", "/sign-out", "/delete")),
        *(f"/admin/groups/{group['id']}{deed}" for deed in ("", "/edit", "/delete")),
        *(
            f"/admin/organizations/{organization['id']}{deed}"
            for deed in ("", "/domains/acme.example/remove", "/delete")
        ),
        *(f"/admin/roles/{role['id']}{deed}" for deed in ("", "/edit", "/delete")),
        *(f"/admin/rules/{rule['id']}{deed}" for deed in ("", "/delete")),
        *(f"/admin/webhooks/{hook['id']}{deed}" for deed in ("", "/delete")),
        f"/admin/revocations/{ended['id']}",
        "/admin/nowhere",
    ]
    known = english()
    sentences = [each for each in known if len(each.split()) >= _LONG]
    left: dict[str, list[str]] = {}
    for path in paths:
        page = await console.open(f"{console.issuer}{path}")
        assert '<html lang="de">' in page.body, f"{path}: {page.status}"
        shown = _Shown(page.body).texts
        found = [text for text in shown if text in known or any(each in text for each in sentences)]
        if found:
            left[path] = found
    assert left == {}

    page = await console.open(f"{console.issuer}/admin/groups/{group['id']}")
    page = await console.submit("username", "add", username="niemand-dergleichen")
    assert page.texts["username-note"] == "niemand hat diesen Benutzernamen"
    await console.open(f"{console.issuer}/admin/groups/new")
    page = await console.submit("parents", "save", name=name)
    assert page.texts["name-note"] == "eine andere Gruppe hat diesen Namen"
    page = await console.submit("parents", "save", name="n" * 300)
    assert page.texts["name-note"] == "hat höchstens 256 Zeichen"
    page = await console.open(f"{console.issuer}/admin/users/{user['id']}")
    assert re.search(r">\d\d\.\d\d\.20\d\d,</span> <span>\d\d:\d\d:\d\d</span></time>", page.body)
