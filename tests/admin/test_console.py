"""The console: who gets in, until when, and that its forms do what the API does."""

import itertools
import re
import secrets
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.admin.conftest import sign_in

from watchword_admin.console import routes
from watchword_testkit.api import Api
from watchword_testkit.browser import Browser
from watchword_testkit.canary import Canary
from watchword_testkit.clock import TestClock
from watchword_testkit.platform import Platform

# What is no page, or one in a frame.
NO_PAGES = {"/admin/events/stream", "/admin/audit/export", "/admin/branding/preview", "/admin/configuration"}
# Pages that are there in every installation.
PAGES = [
    *(path for path in routes.GET if "{" not in path and path not in NO_PAGES),
    "/admin/applications/watchword-console",
    "/admin/applications/wizard/grafana",
    "/admin/applications/watchword-console/edit",
    "/admin/applications/watchword-console/delete",
    "/admin/roles/owner",
]
WITH_SCRIPTS = {"/admin/events", "/admin/providers/new", "/admin/users/new", "/admin/webhooks/new"}
_PARAMETER = re.compile(r"\{\w+\}")
ALL_PAGES = [_PARAMETER.sub("1", path) for path in routes.GET]
DEEDS = [_PARAMETER.sub("1", path) for path in routes.POST]


@pytest.mark.spec("OpenID Connect Core 3.1.2.1")
@pytest.mark.spec("OpenID Connect Core 3.1.3")
@pytest.mark.spec("RFC 7636 4.3")
@pytest.mark.spec("RFC 9700 2.1.1")
async def test_signing_in_leads_to_the_page_that_was_asked_for(platform: Platform, canary: Canary) -> None:
    async with platform.browser(canary) as browser:
        page = await sign_in(browser, platform, "/admin/providers/new")
    assert urlsplit(page.url).path == "/admin/providers/new"
    assert page.texts["signed-in-as"] == "Administrator"


async def test_each_page_is_for_administrators_who_are_signed_in(
    platform: Platform, console: Browser, canary: Canary
) -> None:
    for path in PAGES:
        page = await console.send("GET", path)
        assert page.status == 200, f"{path}: {page.body}"
        assert page.headers["cache-control"] == "no-store"
        policy = page.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert ("script-src" in policy) == (path in WITH_SCRIPTS), path
        assert "<script>" not in page.body
        assert 'style="' not in page.body
    for path in ALL_PAGES:
        async with platform.browser(canary) as stranger:
            away = await stranger.send("GET", path)
        assert away.status == 303, path
        assert urlsplit(away.location).path == "/oauth2/authorize"


@pytest.mark.parametrize(
    ("name", "press", "seen"),
    [("language", "language-de", '<html lang="de">'), ("theme", "theme-dark", "-dark.css")],
)
async def test_whoever_chooses_how_the_console_looks_stays_where_they_are(
    platform: Platform, canary: Canary, name: str, press: str, seen: str
) -> None:
    async with platform.browser(canary) as browser:
        before = await sign_in(browser, platform, "/admin/users")
        assert seen not in before.body
        page = await browser.submit(name, press)
        assert urlsplit(page.url).path == "/admin/users"
        assert page.texts["signed-in-as"] == "Administrator"
        assert seen in page.body


async def test_nothing_is_done_for_a_stranger(platform: Platform, canary: Canary) -> None:
    async with platform.browser(canary) as stranger:
        for path in DEEDS:
            page = await stranger.send("POST", path, {"csrf": "x"})
            assert page.status == 401, path
            assert page.error_code == "session_over"


async def test_nothing_is_done_for_another_site(console: Browser) -> None:
    token = (await console.send("GET", "/admin")).form_with("csrf").fields["csrf"]
    forged = [
        ({"csrf": token}, {"Origin": "https://evil.example"}),
        ({"csrf": token}, {"Origin": "null"}),
        ({"csrf": token}, {"Sec-Fetch-Site": "cross-site"}),
        ({"csrf": token}, {"Sec-Fetch-Site": "same-site"}),
        ({"csrf": "x" * 43}, {}),
        ({"a": "b"}, {}),
    ]
    for path, (form, headers) in zip(DEEDS, itertools.cycle(forged), strict=False):
        page = await console.send("POST", path, form, headers)
        assert page.status == 403, f"{path} {form} {headers}"
        assert page.error_code == "invalid_form"


async def test_a_person_without_the_role_is_told_so(platform: Platform, api: Api, canary: Canary) -> None:
    name, password = f"plain-{secrets.token_hex(4)}", secrets.token_urlsafe(16)
    await api.create("/users", username=name, password=password)
    async with platform.browser(canary) as browser:
        await browser.open(f"{platform.issuer}/admin")
        page = await browser.submit("username", "sign-in", username=name, password=password)
        assert page.status == 403
        assert page.error_code == "not_an_administrator"
        assert "ww-console" not in browser.cookies


async def test_the_console_forgets_who_loses_the_role(platform: Platform, api: Api, canary: Canary) -> None:
    name, password = f"boss-{secrets.token_hex(4)}", secrets.token_urlsafe(16)
    user = await api.create("/users", username=name, password=password)
    await api.call("PUT", f"/users/{user['id']}/roles", {"roles": ["administrator"]})
    async with platform.browser(canary) as browser:
        await browser.open(f"{platform.issuer}/admin")
        page = await browser.submit("username", "sign-in", username=name, password=password)
        assert page.status == 200
        await api.call("PUT", f"/users/{user['id']}/roles", {"roles": []})
        for _ in range(100):  # the copy of the person follows within milliseconds
            if (gone := await browser.send("GET", "/admin")).status == 303:
                break
        assert gone.status == 303
        await api.call("PUT", f"/users/{user['id']}/roles", {"roles": ["administrator"]})
        page = await browser.open(f"{platform.issuer}/admin")
        assert page.status == 200, "still signed in here: the role is back, so is the console"
        await api.change(f"/users/{user['id']}", active=False)
        assert (await browser.send("GET", "/admin")).status == 303, "the ledger knows it at once"


async def test_a_sign_in_counts_in_the_browser_that_began_it(platform: Platform, canary: Canary) -> None:
    async with platform.browser(canary) as attacker, platform.browser(canary) as victim:
        await attacker.open(f"{platform.issuer}/admin")
        await attacker.submit("username", "sign-in", username=platform.admin.username, password=platform.admin.password)
        (callback,) = [page.url for page in attacker.history if urlsplit(page.url).path == "/admin/callback"]
        page = await victim.send("GET", callback)
        assert page.error_code == "wrong_browser"
        assert "ww-console" not in victim.cookies


CALLBACKS = {
    "nothing": {},
    "state alone": {"state": "console-x.L2FkbWlu.x"},
    "foreign state": {"state": "console-0123456789abcdef.L2FkbWlu." + "x" * 43, "code": "x"},
    "long state": {"state": "console-" + "x" * 2000},
    "another flow's prefix": {"state": "0123456789abcdef.L2FkbWlu." + "x" * 43},
}


@pytest.mark.parametrize("query", CALLBACKS.values(), ids=CALLBACKS)
async def test_a_made_up_response_is_refused(platform: Platform, canary: Canary, query: dict[str, str]) -> None:
    async with platform.browser(canary) as browser:
        pairs = "&".join(f"{name}={value}" for name, value in query.items())
        page = await browser.send("GET", f"/admin/callback?{pairs}")
    assert page.status == 400
    assert page.error_code == "wrong_browser"


@pytest.mark.spec("OpenID Connect Core 3.1.2.5")
@pytest.mark.spec("RFC 9207 2.4")
@pytest.mark.parametrize(
    "change", ["iss=https%3A%2F%2Fevil.example", "iss=", "code=" + "x" * 43, "error=access_denied"]
)
async def test_a_response_of_another_issuer_or_with_another_code_is_refused(
    platform: Platform, canary: Canary, change: str
) -> None:
    async with platform.browser(canary) as browser:
        begun = await browser.send("GET", "/admin")
        asked = {name: values[0] for name, values in parse_qs(urlsplit(begun.location).query).items()}
        assert asked["code_challenge_method"] == "S256"
        name, _, value = change.partition("=")
        given = {"code": "y" * 43, "iss": platform.issuer.replace(":", "%3A"), "state": asked["state"], name: value}
        page = await browser.send("GET", "/admin/callback?" + "&".join(f"{n}={v}" for n, v in given.items()))
        assert page.error_code == "sign_in_failed"
        assert "ww-console" not in browser.cookies


async def test_the_state_names_no_page_outside_the_console(platform: Platform, canary: Canary) -> None:
    async with platform.browser(canary) as browser:
        page = await browser.send("GET", "/admin/%2F%2Fevil.example")
        assert page.status in {303, 404}
        page = await sign_in(browser, platform, "/admin")
        assert page.url == f"{platform.issuer}/admin"


@pytest.mark.spec("RP-Initiated Logout 1.0 2")
async def test_signing_out_ends_the_console_and_leads_to_the_end_of_the_sign_in(
    platform: Platform, console: Browser
) -> None:
    before = console.cookies["ww-console"]
    await console.open(f"{platform.issuer}/admin")
    page = await console.submit("csrf", "sign-out")
    assert urlsplit(page.url).path == "/oauth2/logout"
    page = await console.submit("sign-out")
    assert urlsplit(page.url).path == "/admin/signed-out"
    page = await console.send("GET", "/admin", headers={"Cookie": f"ww-console={before}"})
    assert page.status == 303, "the old cookie opens nothing"


async def test_the_console_ends_with_the_sign_in_that_it_came_from(platform: Platform, console: Browser) -> None:
    await console.open(f"{platform.issuer}/oauth2/logout")
    await console.submit("sign-out")
    assert (await console.send("GET", "/admin")).status == 303


async def test_a_session_has_an_end(own_platform: Platform, clock: TestClock, canary: Canary) -> None:
    async with own_platform.browser(canary) as browser:
        await sign_in(browser, own_platform)
        clock.advance(timedelta(minutes=29))
        assert (await browser.send("GET", "/admin")).status == 200
        clock.advance(timedelta(minutes=31))
        assert (await browser.send("GET", "/admin")).status == 303


async def test_the_cookie_is_of_the_strict_kind(platform: Platform, canary: Canary) -> None:
    async with platform.browser(canary) as browser:
        await sign_in(browser, platform)
        (callback,) = [page for page in browser.history if urlsplit(page.url).path == "/admin/callback"]
    cookie = callback.headers["set-cookie"]
    assert "ww-console=" in cookie
    assert "httponly" in cookie.lower()
    assert "samesite=lax" in cookie.lower()


async def test_the_consoles_stream_is_for_the_console_only(platform: Platform, canary: Canary) -> None:
    async with platform.browser(canary) as stranger:
        page = await stranger.send("GET", "/admin/events/stream", headers={"Accept": "text/event-stream"})
    assert page.status == 401


async def test_what_is_gone_is_a_clear_page(console: Browser) -> None:
    for path in ("/admin/applications/gone", "/admin/providers/gone", "/admin/nothing"):
        page = await console.send("GET", path)
        assert page.status == 404
        assert page.error_code == "not_found"


@pytest.mark.parametrize(
    ("asked", "reached"),
    {
        "/admin/providers/new?preset=okta": "/admin/providers/new?preset=okta",
        "/admin/users?search=a%20b&active=true": "/admin/users?search=a%20b&active=true",
        f"/admin/users?search={'x' * 600}": "/admin/users",
        "/admin/users?search=%0d%0aSet-Cookie:x": "/admin/users",
        "/admin/users?search=%5c%5cevil.example": "/admin/users",
    }.items(),
)
async def test_a_page_is_reached_with_what_was_asked_of_it(
    platform: Platform, canary: Canary, asked: str, reached: str
) -> None:
    """What cannot stand in a redirect is left out, and the page is reached all the same."""
    async with platform.browser(canary) as browser:
        page = await sign_in(browser, platform, asked)
        assert (page.status, page.url) == (200, f"{platform.issuer}{reached}")
