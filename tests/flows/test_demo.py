"""The demo: two clicks to be signed in, live events, and out again."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from email.message import EmailMessage
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

import aiosmtplib
import pytest

from watchword import demo
from watchword.demo.sessions import COOKIE
from watchword.embedded.process import start_time
from watchword_testkit.api import Api
from watchword_testkit.browser import Browser
from watchword_testkit.canary import Canary
from watchword_testkit.http import http_client
from watchword_testkit.pages import Page
from watchword_testkit.platform import Platform
from watchword_testkit.signin import Party


@pytest.fixture(scope="module")
async def running(module_platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[demo.Started]:
    """The demo beside the session's installation."""
    home = tmp_path_factory.mktemp("demo")
    started = await start(module_platform, home)
    yield started
    started.stop()
    module_platform.canary.check("the demo's log files", [log.read_text() for log in home.rglob("*.log")])


async def start(platform: Platform, home: Path) -> demo.Started:
    (home / "run").mkdir(exist_ok=True)
    secret = secrets.token_urlsafe(24)
    platform.canary.add("client secret", secret)
    started = demo.begin(run=home / "run", data=home / "data", issuer=platform.issuer)
    await started.configured(admin_token=platform.admin.admin_token, secret=secret)
    async with asyncio.timeout(30), http_client() as client:
        while (answer := await client.get(f"{started.app_url}/healthz")).status_code == 503:  # until it hears events
            await asyncio.sleep(0.05)
    assert answer.json() == {"listening": True}
    return started


async def arrive(browser: Browser, page: Page) -> Page:
    """The page at the end of all redirects, wherever they lead on this machine."""
    for _ in range(20):
        if not page.location:
            return page
        page = await browser.open(page.location)
    raise AssertionError("redirected without end")


async def click(browser: Browser, link: str) -> Page:
    return await arrive(browser, await browser.click(link))


async def signed_in(browser: Browser, running: demo.Started, link: str = "sign-in") -> Page:
    """Two clicks."""
    await browser.open(running.app_url)
    await click(browser, link)
    return await click(browser, "provider-demo-corp")


async def events_of(browser: Browser, running: demo.Started, *wanted: str) -> str:
    """The list of events, once these are in it."""
    listed = ""
    for _ in range(100):
        listed = (await browser.open(running.app_url)).texts["events"]
        if all(each in listed for each in wanted):
            return listed
        await asyncio.sleep(0.1)
    raise AssertionError(f"{wanted} never came: {listed}")


@pytest.mark.spec("OpenID Connect Core 3.1")
async def test_two_clicks_show_claims_token_userinfo_and_events(
    platform: Platform, running: demo.Started, browser_session: Browser
) -> None:
    browser = browser_session
    page = await browser.open(running.app_url)
    assert "sign-in" in page.links
    cookie_before = browser.cookies.get(COOKIE)
    page = await click(browser, "sign-in")
    assert page.url.startswith(f"{platform.issuer}/login")
    assert page.has("username")
    page = await click(browser, "provider-demo-corp")
    assert page.url == f"{running.app_url}/"
    assert page.texts["user"] == "Alice Andersen"
    assert "alice@demo.test" in page.texts["claims"]
    token = json.loads(page.texts["access-token"])
    assert token["iss"] == platform.issuer
    assert token["sub"] in page.texts["claims"]
    assert token["sid"]
    assert json.loads(page.texts["access-token-header"])["typ"] == "at+jwt"
    assert json.loads(page.texts["userinfo"])["email"] == "alice@demo.test"
    assert "accepts" in page.texts["token-state"]
    assert browser.cookies[COOKIE] != cookie_before, "a session gets a new name when somebody signs in"
    await events_of(browser, running, "session.started")


async def through_labs(browser: Browser) -> Page:
    """Back from Demo Labs, whose page a browser with scripts sends on by itself."""
    assert browser.page.has("SAMLResponse"), browser.page.body
    return await arrive(browser, await browser.submit("SAMLResponse"))


@pytest.mark.spec("SAML Profiles 4.1")
async def test_two_clicks_sign_in_through_a_saml_provider(
    platform: Platform, running: demo.Started, browser_session: Browser, api: Api, canary: Canary
) -> None:
    """pysaml2, which was told nothing but where Watchword is."""
    browser = browser_session
    await browser.open(running.app_url)
    await click(browser, "sign-in")
    page = await click(browser, "provider-demo-labs")
    assert page.url.startswith(f"{running.saml_url}/sso")
    page = await through_labs(browser)
    assert page.texts["user"] == "Erin Eriksen"
    assert json.loads(page.texts["userinfo"])["given_name"] == "Erin"
    (erin,) = (await api.get("/users", search="erin@demo.test"))["items"]
    assert (erin["provider_id"], erin["email_verified"]) == ("demo-labs", False)
    subject = json.loads(page.texts["access-token"])["sub"]
    async with platform.browser(canary) as another:
        await another.open(running.app_url)
        await click(another, "sign-in-choose")
        assert (await click(another, "provider-demo-labs")).has("person-frank"), "the provider asks, as it was asked to"
        await another.submit("SAMLRequest", "person-frank")
        page = await through_labs(another)
    assert page.texts["user"] == "Frank Falk"
    assert json.loads(page.texts["access-token"])["sub"] != subject


async def test_what_the_saml_provider_cannot_answer_is_no_crash(
    running: demo.Started, browser_session: Browser
) -> None:
    for path in ("sso", "slo"):
        for query in ("", "SAMLRequest=AAAA", "SAMLRequest=", "RelayState=x"):
            page = await browser_session.open(f"{running.saml_url}/{path}?{query}")
            assert (page.status, "AAAA" in page.body) == (400, False)


@pytest.mark.spec("SAML Profiles 4.4")
async def test_signing_out_ends_the_session_at_the_saml_provider_as_well(
    running: demo.Started, browser_session: Browser
) -> None:
    """Who was known there without a question is asked for the next time."""
    browser = browser_session
    await browser.open(running.app_url)
    await click(browser, "sign-in")
    await click(browser, "provider-demo-labs")
    await through_labs(browser)
    page = await arrive(browser, await browser.submit("sign-out"))
    assert page.url == f"{running.app_url}/"
    assert [page.url for page in browser.history if page.url.startswith(f"{running.saml_url}/slo?SAMLRequest=")]
    await click(browser, "sign-in")
    assert (await click(browser, "provider-demo-labs")).has("person-erin")
    await browser.submit("SAMLRequest", "person-erin")
    assert (await through_labs(browser)).texts["user"] == "Erin Eriksen"


@pytest.mark.spec("SAML Profiles 4.4.4.1")
async def test_the_saml_provider_obeys_no_logout_request_that_watchword_did_not_sign(
    running: demo.Started, browser_session: Browser
) -> None:
    """Any page can send a browser there."""
    browser = browser_session
    await browser.open(running.app_url)
    await click(browser, "sign-in")
    await click(browser, "provider-demo-labs")
    await through_labs(browser)
    page = await browser.submit("sign-out")
    while not page.location.startswith(f"{running.saml_url}/slo?SAMLRequest="):
        page = await browser.open(page.location)
    address, _, query = page.location.partition("?")
    signed = dict(parse_qsl(query))
    weak = "http://www.w3.org/2000/09/xmldsig#rsa-sha1"
    for changes in ({"Signature": ""}, {"Signature": "AAAA"}, {"RelayState": "x"}, {"SigAlg": ""}, {"SigAlg": weak}):
        changed = urlencode({name: value for name, value in (signed | changes).items() if value})
        refused = await browser.open(f"{address}?{changed}")
        assert (refused.status, "set-cookie" in refused.headers) == (400, False), changes
    assert (await browser.open(page.location)).location == f"{running.app_url}/"


async def test_the_page_works_without_javascript_and_allows_nothing_foreign(
    running: demo.Started, browser_session: Browser
) -> None:
    page = await signed_in(browser_session, running)
    assert '<noscript><meta http-equiv="refresh"' in page.body
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["cache-control"] == "no-store"


@pytest.mark.spec("RFC 6749 4.4; HTML Standard 9.2.6")
async def test_live_events_are_those_of_the_person_alone(
    platform: Platform, running: demo.Started, canary: Canary
) -> None:
    async with platform.browser(canary) as alice, platform.browser(canary) as bob:
        await signed_in(alice, running)
        await events_of(alice, running, "session.started")  # her first, of before
        heard: list[dict[str, str]] = []
        listens = asyncio.Event()
        listening = asyncio.create_task(_listen(alice, running, heard, listens))
        async with asyncio.timeout(30):
            await listens.wait()
        page = await signed_in(bob, running, "sign-in-bob")
        assert page.texts["user"] == "Bob Berg"
        await events_of(bob, running, "session.started")
        await bob.submit("sign-out")
        async with platform.browser(canary) as again:
            await signed_in(again, running)  # a second session of Alice is Alice's to see
            async with asyncio.timeout(30):
                while not heard and not listening.done():
                    await asyncio.sleep(0.05)
        listening.cancel()
        assert {event["type"] for event in heard} == {"session.started"}
        assert len(heard) == 1


async def _listen(browser: Browser, running: demo.Started, heard: list[dict[str, str]], listens: asyncio.Event) -> None:
    async with browser.client.stream("GET", f"{running.app_url}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        async for line in answer.aiter_lines():
            listens.set()  # the first comes with the place in the events from which it goes on
            if line.startswith("data: "):
                heard.append(json.loads(line.removeprefix("data: ")))


async def test_events_and_status_are_for_whoever_is_signed_in(running: demo.Started, browser_session: Browser) -> None:
    for path in ("/events", "/status"):
        assert (await browser_session.client.get(f"{running.app_url}{path}")).status_code == 401


async def test_a_session_that_an_administrator_ends_is_seen_at_once(
    running: demo.Started, browser_session: Browser, api: Api
) -> None:
    page = await signed_in(browser_session, running)
    sid = json.loads(page.texts["access-token"])["sid"]
    await api.delete(f"/sessions/{sid}")
    status = (await browser_session.client.get(f"{running.app_url}/status")).json()
    assert status["live"] is False
    assert "refuses" in status["state"]
    await events_of(browser_session, running, "session.ended")
    await told(browser_session, running)


async def told(browser: Browser, running: demo.Started) -> None:
    """The application was told over the back channel, within a few seconds."""
    async with asyncio.timeout(30):
        while not (await browser.client.get(f"{running.app_url}/status")).json()["told"]:
            await asyncio.sleep(0.05)
    assert "sign-in-again" in (await browser.open(running.app_url)).links


@pytest.mark.row(65)
@pytest.mark.parametrize(
    "form",
    [{}, {"logout_token": ""}, {"logout_token": "a.b.c"}, {"logout_token": ["a.b.c", "a.b.c"]}, {"logout_token": None}],
    ids=["nothing", "empty", "no token", "two", "an access token"],
)
@pytest.mark.spec("OpenID Connect Back-Channel Logout 1.0 2.4 to 2.8; OpenID Connect Back-Channel Logout 1.0 2.6")
async def test_only_a_logout_token_signs_anybody_out(
    platform: Platform, running: demo.Started, browser_session: Browser, api: Api, form: dict[str, object]
) -> None:
    await signed_in(browser_session, running)
    if form.get("logout_token", "") is None:
        machine = await Party.registered(api, platform.issuer, grant_types=["client_credentials"], redirect_uris=[])
        form = {"logout_token": (await machine.tokens(grant_type="client_credentials"))["access_token"]}
    answer = await browser_session.client.post(f"{running.app_url}/backchannel-logout", data=form)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    assert (await browser_session.client.get(f"{running.app_url}/status")).json()["told"] == ""


@pytest.mark.spec("OpenID Connect RP-Initiated Logout 2")
async def test_signing_out_here_is_signing_out_at_watchword(
    platform: Platform, running: demo.Started, browser_session: Browser
) -> None:
    browser = browser_session
    await signed_in(browser, running)
    page = await arrive(browser, await browser.submit("sign-out"))
    if page.has("sign-out"):  # Watchword may ask first
        page = await arrive(browser, await browser.submit("sign-out"))
    assert "/oauth2/end_session" in page.url, "the demo's provider asks, too"
    page = await arrive(browser, await browser.submit("redirect_uri"))
    assert page.url == f"{running.app_url}/"
    assert "sign-in" in page.links
    page = await click(browser, "sign-in")
    assert page.url.startswith(f"{platform.issuer}/login")


async def test_a_password_signs_in_too(
    platform: Platform, running: demo.Started, browser_session: Browser, canary: Canary
) -> None:
    browser = browser_session
    (note,) = [note for note in running.notes if note.startswith("Demo users")]
    password = note.rpartition("password ")[2]
    canary.add("password", password)
    await browser.open(running.app_url)
    await click(browser, "sign-in")
    page = await arrive(browser, await browser.submit("username", "sign-in", username="carol", password=password))
    assert page.texts["user"] == "Carol Christensen"


async def test_what_is_mailed_is_shown_and_nothing_else(running: demo.Started, browser_session: Browser) -> None:
    browser, subject = browser_session, f"Grüße <b>{secrets.token_hex(4)}</b>"
    page = await browser.open(running.app_url)
    await browser.open(page.links["mail"])
    assert browser.page.url == running.mail_url
    link = "http://localhost:8080/login/reset?ticket=a_-b&x=1"
    async with asyncio.timeout(20):
        await mailed(running, subject, f"Open this:\n{link}\n<script>alert(1)</script>\n")
        while subject not in browser.page.links:
            await asyncio.sleep(0.05)
            await browser.open(running.mail_url)
    page = await browser.click(subject)
    assert (page.texts["subject"], page.texts["to"]) == (subject, "Carol <carol@demo.test>")
    assert page.links[link] == link
    assert "<script>" not in page.body
    assert "<b>" not in page.body
    assert "unsafe" not in page.headers["content-security-policy"]
    for path in ("1", "..%2fdemo.json", f"{page.url.rpartition('/')[2]}.eml"):
        assert (await browser.open(f"{running.mail_url}/{path}")).status == 404
    # A page of the Internet whose name was made to lead here reads nobody's links.
    rebound = await browser.client.get(running.mail_url, headers={"Host": "rebound.example"})
    assert rebound.status_code == 400


async def mailed(running: demo.Started, subject: str, text: str) -> None:
    """A mail that was handed to the demo's server."""
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "sso@demo.test", "Carol <carol@demo.test>", subject
    mail.set_content(text)
    at = running.mail_settings
    await aiosmtplib.send(mail, hostname=at["smtp_host"], port=int(at["smtp_port"]), start_tls=False)


async def test_an_answer_from_elsewhere_or_used_before_signs_nobody_in(
    platform: Platform, running: demo.Started, browser_session: Browser
) -> None:
    browser = browser_session
    await signed_in(browser, running)
    (used,) = [page.url for page in browser.history if page.url.startswith(f"{running.app_url}/callback")]
    page = await browser.open(used)
    assert page.status == 400
    assert page.error_code
    page = await browser.open(f"{running.app_url}/callback?code=x&state=y&iss=https://evil.test")
    assert (page.status, page.error_code) == (400, "issuer_mismatch")
    page = await browser.open(f"{running.app_url}/callback?error=access_denied&state=y&iss={platform.issuer}")
    assert (page.status, page.error_code) == (400, "access_denied")


async def chosen(browser: Browser, running: demo.Started, name: str) -> Page:
    """Signed in as whoever one says one is, because the application lets Demo Corp ask."""
    await browser.open(running.app_url)
    await click(browser, "sign-in-choose")
    page = await click(browser, "provider-demo-corp")
    assert page.url.startswith(running.upstream_url), "prompt=select_account reaches the provider"
    return await arrive(browser, await browser.submit("sub", sub=name))


async def test_a_second_start_finds_everything_again_and_stop_leaves_nothing(
    platform: Platform, tmp_path: Path
) -> None:
    somebody = f"dave-{secrets.token_hex(4)}"
    first = await start(platform, tmp_path)
    pids = [child.pid for child in first.children]
    async with platform.browser() as browser:
        subject = json.loads((await chosen(browser, first, somebody)).texts["access-token"])["sub"]
    first.stop()
    assert all(start_time(pid) is None for pid in pids)
    assert not list((tmp_path / "run").glob("*.process.json"))
    second = await start(platform, tmp_path)
    try:
        assert (second.app_url, second.upstream_url, second.notes) == (first.app_url, first.upstream_url, first.notes)
        async with platform.browser() as browser:
            page = await chosen(browser, second, somebody)
        assert json.loads(page.texts["access-token"])["sub"] == subject
    finally:
        second.stop()
