"""Leaving for a provider and coming back, over HTTP, at an installation that runs."""

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import pytest
from starlette.responses import PlainTextResponse

from watchword_database import bus, transaction
from watchword_events.handovers import Identity, UpstreamStart
from watchword_events.names import Service
from watchword_runtime.clock import utc_now
from watchword_testkit.api import Api
from watchword_testkit.browser import Browser
from watchword_testkit.canary import Canary
from watchword_testkit.pages import Page
from watchword_testkit.platform import Platform


class Person:
    """Somebody whom authz sends to federation, as far as federation can tell."""

    def __init__(self, platform: Platform, browser: Browser) -> None:
        self.platform = platform
        self.browser = browser
        self.flow = secrets.token_hex(8)
        self.cookie = secrets.token_urlsafe(32)
        browser.client.cookies.set(f"ww-flow-{self.flow}", self.cookie, domain="localhost.local", path="/")

    @property
    def binding(self) -> str:
        return hashlib.sha256(self.cookie.encode()).hexdigest()

    async def ticket(self, provider_id: str, ttl: timedelta = timedelta(seconds=60), **more: Any) -> str:
        """What the login page's provider button gives."""
        authz = self.platform.database.open(Service.AUTHZ, pool_size=1)
        payload = UpstreamStart(provider_id=provider_id, binding=self.binding, **more)
        async with transaction(authz) as session:
            return await bus.hand_over(session, payload, flow=self.flow, now=utc_now(), ttl=ttl)

    async def leave(self, provider_id: str, ticket: str | None = None, **more: Any) -> Page:
        ticket = ticket or await self.ticket(provider_id, **more)
        return await self.browser.send("GET", f"/api/auth/sso/login/{provider_id}?ticket={ticket}")

    async def come_back(self, provider_id: str, params: dict[str, str], browser: Browser | None = None) -> Page:
        path = f"/api/auth/sso/callback/{provider_id}?{urlencode(params)}"
        return await (browser or self.browser).send("GET", path)

    async def identity(self, page: Page) -> Identity:
        """What the directory is told."""
        assert page.status == 303, f"{page.status} {page.error_code}"
        url = urlsplit(page.location)
        assert url.path == "/login/identity"
        directory = self.platform.database.open(Service.DIRECTORY, pool_size=1)
        async with transaction(directory) as session:
            taken = await bus.take(session, Identity, parse_qs(url.query)["ticket"][0], now=utc_now())
        assert taken is not None
        assert taken.flow == self.flow
        return taken.payload


@pytest.fixture
async def person(platform: Platform, browser_session: Browser) -> AsyncIterator[Person]:
    yield Person(platform, browser_session)
    await platform.database.close()


@pytest.fixture
async def acme(api: Api, upstream: Any) -> str:
    """The id of a provider that an administrator configured for `upstream`."""
    return await configured(api, upstream)


async def configured(api: Api, upstream: Any, **more: object) -> str:
    upstream.now = utc_now()
    known = upstream.provider()
    made = await api.create(
        "/providers",
        id=f"Acme-{secrets.token_hex(4)}",
        preset="oidc",
        enabled=True,
        display_name="Acme",
        issuer=upstream.issuer,
        client_id=known.client_id,
        client_secret=known.client_secret,
        **more,
    )
    return str(made["id"])


async def signed_in_upstream(person: Person, upstream: Any, provider_id: str, **answer: str) -> dict[str, str]:
    page = await person.leave(provider_id)
    assert page.status == 303, page.error_code
    return dict(upstream.authorize(page.location, **answer))


@pytest.mark.seed(77, 78)
async def test_there_and_back(person: Person, acme: str, upstream: Any, log_lines: list[dict[str, Any]]) -> None:
    page = await person.leave(acme, max_age_s=None, prompt=("login",), login_hint="alice")
    assert page.status == 303
    request = dict(parse_qsl(urlsplit(page.location).query))
    assert request["redirect_uri"] == f"{person.platform.issuer}/api/auth/sso/callback/{acme}"
    assert (request["prompt"], request["login_hint"]) == ("login", "alice")
    page = await person.come_back(acme, upstream.authorize(page.location))
    identity = await person.identity(page)
    assert identity.binding == person.binding
    assert (identity.identity.provider_id, identity.identity.subject) == (acme, "alice-1")
    assert page.headers["cache-control"] == "no-store"
    events = [line["event"] for line in log_lines if line["event"].startswith("upstream_sign_in")]
    assert events == ["upstream_sign_in.started", "upstream_sign_in.verified"]


async def test_pages_are_in_the_language_that_the_application_asked_for(
    person: Person, acme: str, upstream: Any
) -> None:
    """Whatever the browser says; and directory's as well, to which the languages travel on."""
    person.browser.client.headers["Accept-Language"] = "en"
    page = await person.leave(acme, ui_locales=("de",))
    page = await person.come_back(acme, upstream.authorize(page.location, error="access_denied"))
    assert page.error_code == "access_denied"
    assert '<html lang="de">' in page.body
    page = await person.leave(acme, ui_locales=("de",))
    identity = await person.identity(await person.come_back(acme, upstream.authorize(page.location)))
    assert identity.ui_locales == ("de",)
    page = await person.leave("another-provider", await person.ticket(acme, ui_locales=("de",)))
    assert (page.error_code, '<html lang="de">' in page.body) == ("state_mismatch", True)


async def test_without_a_ticket_one_goes_to_the_login_page(person: Person, acme: str) -> None:
    page = await person.browser.send("GET", f"/api/auth/sso/login/{acme}")
    assert (page.status, page.location) == (303, f"{person.platform.issuer}/login")


# Tickets -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ticket", ["x", "x" * 43, "x" * 5000, "'; DROP TABLE", "é"])
async def test_a_ticket_that_nobody_gave_is_a_page(person: Person, acme: str, ticket: str) -> None:
    page = await person.leave(acme, ticket)
    assert (page.status, page.error_code) == (400, "state_mismatch")
    assert page.texts["reference"]


async def test_a_ticket_is_for_one_provider(person: Person, api: Api, upstream: Any, acme: str) -> None:
    other = await configured(api, upstream)
    page = await person.leave(other, await person.ticket(acme))
    assert page.error_code == "state_mismatch"
    page = await person.leave(acme.lower(), await person.ticket(acme))
    assert page.error_code == "state_mismatch", "provider ids are case-sensitive"


async def test_a_ticket_is_for_one_browser(person: Person, platform: Platform, acme: str) -> None:
    ticket = await person.ticket(acme)
    stranger = platform.browser()
    page = await stranger.send("GET", f"/api/auth/sso/login/{acme}?ticket={ticket}")
    assert page.error_code == "state_mismatch"
    stranger.client.cookies.set(f"ww-flow-{person.flow}", secrets.token_urlsafe(32), domain="localhost.local", path="/")
    page = await stranger.send("GET", f"/api/auth/sso/login/{acme}?ticket={ticket}")
    assert page.error_code == "state_mismatch"
    page = await person.leave(acme, ticket)
    assert page.status == 303, "a stranger's attempt does not use the ticket up"


async def test_a_ticket_that_was_used_or_is_too_old_leads_back_to_the_sign_in(person: Person, acme: str) -> None:
    ticket = await person.ticket(acme)
    await person.leave(acme, ticket)
    again = await person.leave(acme, ticket)
    assert (again.status, again.location) == (303, f"{person.platform.issuer}/login?flow={person.flow}")
    late = await person.leave(acme, await person.ticket(acme, ttl=timedelta(seconds=-1)))
    assert late.location == again.location


async def test_twenty_at_once_use_a_ticket_once(person: Person, acme: str) -> None:
    ticket = await person.ticket(acme)
    pages = await asyncio.gather(*[person.leave(acme, ticket) for _ in range(20)])
    left = [page for page in pages if page.location.startswith("http://127.0.0.1")]
    assert len(left) == 1
    assert {page.status for page in pages} == {303}


async def test_a_provider_that_does_not_answer_leaves_the_ticket_whole(
    person: Person, acme: str, upstream: Any
) -> None:
    upstream.metadata_answer = PlainTextResponse("down", 503)
    ticket = await person.ticket(acme)
    page = await person.leave(acme, ticket)
    assert (page.status, page.error_code) == (502, "provider_unreachable")
    upstream.metadata_answer = None
    await asyncio.sleep(3.1)
    assert (await person.leave(acme, ticket)).status == 303


@pytest.mark.parametrize("query", ["ticket=a&ticket=b", "ticket=%ff", "ticket=%00", "ticket=%zz"])
async def test_a_query_that_two_could_read_differently_is_refused(person: Person, acme: str, query: str) -> None:
    page = await person.browser.send("GET", f"/api/auth/sso/login/{acme}?{query}")
    assert (page.status, page.error_code) == (400, "invalid_request")


async def test_an_unknown_provider_is_not_available(person: Person) -> None:
    page = await person.leave("Nobody")
    assert (page.status, page.error_code) == (403, "provider_disabled")


@pytest.mark.parametrize("path", ["login", "callback"])
async def test_a_provider_id_can_be_anything(person: Person, path: str) -> None:
    for provider_id in ("..", "%2e%2e%2fadmin", "a%0d%0ab", "%F0%9F%94%91", "a" * 3000):
        page = await person.browser.send("GET", f"/api/auth/sso/{path}/{provider_id}?state={'s' * 43}")
        assert page.status in {400, 404} or page.location == f"{person.platform.issuer}/login", (
            f"{provider_id}: {page.status}"
        )


# Coming back ---------------------------------------------------------------------------------------------------------


@pytest.mark.row(13)
@pytest.mark.spec("OpenID Connect Core 3.1.2.7")
async def test_an_answer_counts_once(person: Person, acme: str, upstream: Any) -> None:
    params = await signed_in_upstream(person, upstream, acme)
    assert (await person.come_back(acme, params)).location.startswith(
        f"{person.platform.issuer}/login/identity?ticket="
    )
    again = await person.come_back(acme, params)
    assert (again.status, again.location) == (303, f"{person.platform.issuer}/login?flow={person.flow}")
    assert upstream.asked.count("token") == 1


@pytest.mark.row(63)
async def test_twenty_at_once_use_an_answer_once(person: Person, acme: str, upstream: Any) -> None:
    params = await signed_in_upstream(person, upstream, acme)
    pages = await asyncio.gather(*[person.come_back(acme, params) for _ in range(20)])
    assert len([page for page in pages if "/login/identity?" in page.location]) == 1
    assert upstream.asked.count("token") == 1


@pytest.mark.row(13)
@pytest.mark.spec("RFC 9700 4.7.1")
async def test_an_answer_in_another_browser_is_refused_and_not_used_up(
    person: Person, platform: Platform, acme: str, upstream: Any
) -> None:
    params = await signed_in_upstream(person, upstream, acme)
    stranger = platform.browser()
    page = await person.come_back(acme, params, stranger)
    assert (page.status, page.error_code) == (400, "state_mismatch")
    victim = Person(platform, stranger)
    page = await person.come_back(acme, params, victim.browser)
    assert page.error_code == "state_mismatch", "a cookie of another flow is no proof"
    assert "token" not in upstream.asked
    await person.identity(await person.come_back(acme, params))


@pytest.mark.row(11)
@pytest.mark.spec("RFC 9700 4.4.2.2")
async def test_an_answer_at_another_providers_callback_sends_nothing(
    person: Person, api: Api, acme: str, upstream: Any, other_upstream: Any
) -> None:
    other = await configured(api, other_upstream)
    params = await signed_in_upstream(person, upstream, acme)
    page = await person.come_back(other, params)
    assert page.error_code == "state_mismatch"
    assert "token" not in upstream.asked
    assert "token" not in other_upstream.asked


@pytest.mark.row(13)
@pytest.mark.parametrize("state", [None, "", "x", "x" * 43, "x" * 5000])
async def test_an_answer_without_a_known_state_is_refused(person: Person, acme: str, state: str | None) -> None:
    params = {"code": "c"} if state is None else {"code": "c", "state": state}
    page = await person.come_back(acme, params)
    assert (page.status, page.error_code) == (400, "state_mismatch")


async def test_a_repeated_parameter_is_refused(person: Person, acme: str, upstream: Any) -> None:
    params = await signed_in_upstream(person, upstream, acme)
    query = urlencode([*params.items(), ("code", "another")])
    page = await person.browser.send("GET", f"/api/auth/sso/callback/{acme}?{query}")
    assert (page.status, page.error_code) == (400, "invalid_request")
    assert "token" not in upstream.asked


@pytest.mark.row(13)
async def test_an_answer_after_ten_minutes_is_refused(person: Person, acme: str, upstream: Any) -> None:
    params = await signed_in_upstream(person, upstream, acme)
    async with person.platform.site.database.postgres.admin(person.platform.site.database.name) as connection:
        await connection.execute("UPDATE federation.upstream_flow SET expires_at = now() WHERE flow = $1", person.flow)
    page = await person.come_back(acme, params)
    assert (page.status, page.error_code) == (400, "state_mismatch")
    assert "token" not in upstream.asked


async def test_a_row_that_was_tampered_with_is_refused(person: Person, acme: str, upstream: Any) -> None:
    mine = await signed_in_upstream(person, upstream, acme)
    async with person.platform.site.database.postgres.admin(person.platform.site.database.name) as connection:
        await connection.execute(
            "UPDATE federation.upstream_flow SET sealed = sealed || decode('00', 'hex') WHERE flow = $1", person.flow
        )
    page = await person.come_back(acme, mine)
    assert page.error_code == "state_mismatch"


async def test_refusals_have_a_page_and_one_line_in_the_log(
    person: Person, acme: str, upstream: Any, log_lines: list[dict[str, Any]]
) -> None:
    params = await signed_in_upstream(person, upstream, acme)
    page = await person.come_back(
        acme, {"state": params["state"], "error": "access_denied", "error_description": "C4nary!"}
    )
    assert (page.status, page.error_code) == (403, "access_denied")
    assert "C4nary" not in page.body
    (line,) = [line for line in log_lines if line["event"] == "upstream_sign_in.refused"]
    assert (line["failure"], line["provider_id"]) == ("access_denied", acme)
    assert line["reference"] == page.texts["reference"]
    assert "C4nary" not in str(log_lines)


@pytest.mark.row(11)
async def test_mix_up_is_seen_before_the_code_leaves(person: Person, acme: str, upstream: Any) -> None:
    params = await signed_in_upstream(person, upstream, acme, iss="https://evil.test")
    page = await person.come_back(acme, params)
    assert page.error_code == "issuer_mismatch"
    assert "token" not in upstream.asked


# Answers that are posted ---------------------------------------------------------------------------------------------


@pytest.mark.spec("OAuth 2.0 Form Post Response Mode 2")
async def test_a_posted_answer_brings_no_cookie_and_is_bound_by_its_ticket(
    person: Person, platform: Platform, api: Api, upstream: Any
) -> None:
    posting = await configured(api, upstream, response_mode="form_post")
    params = await signed_in_upstream(person, upstream, posting)
    cross_site = platform.browser()
    page = await cross_site.send(
        "POST", f"/api/auth/sso/callback/{posting}", params, {"Origin": upstream.issuer, "Sec-Fetch-Site": "cross-site"}
    )
    assert page.status == 303, page.error_code
    assert (await person.identity(page)).binding == person.binding


async def test_an_answer_in_another_mode_is_refused(person: Person, acme: str, api: Api, upstream: Any) -> None:
    params = await signed_in_upstream(person, upstream, acme)
    page = await person.browser.send("POST", f"/api/auth/sso/callback/{acme}", params)
    assert page.error_code == "state_mismatch"
    posting = await configured(api, upstream, response_mode="form_post")
    page = await person.come_back(posting, await signed_in_upstream(person, upstream, posting))
    assert page.error_code == "state_mismatch"
    assert "token" not in upstream.asked


@pytest.mark.parametrize("content_type", ["application/json", "multipart/form-data; boundary=x", "text/plain"])
async def test_what_is_posted_must_be_a_form(platform: Platform, acme: str, content_type: str) -> None:
    answer = await platform.browser().client.post(
        f"{platform.issuer}/api/auth/sso/callback/{acme}", content=b"{}", headers={"Content-Type": content_type}
    )
    assert answer.status_code == 400


# Providers that change -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["disabled", "removed", "client", "endpoint", "hidden"])
async def test_a_provider_that_changed_meanwhile_signs_nobody_in(
    person: Person, acme: str, api: Api, upstream: Any, change: str
) -> None:
    params = await signed_in_upstream(person, upstream, acme)
    match change:
        case "disabled":
            await api.change(f"/providers/{acme}", enabled=False)
        case "removed":
            await api.delete(f"/providers/{acme}")
        case "client":
            await api.change(f"/providers/{acme}", client_id="another")
        case "endpoint":
            await api.change(f"/providers/{acme}", token_endpoint="https://evil.test/token")
        case _:
            await api.change(f"/providers/{acme}", sign_in=False)
    page = await person.come_back(acme, params)
    assert (page.status, page.error_code) == (403, "provider_disabled")
    assert "token" not in upstream.asked


async def test_a_provider_with_another_name_still_signs_in(person: Person, acme: str, api: Api, upstream: Any) -> None:
    params = await signed_in_upstream(person, upstream, acme)
    await api.change(f"/providers/{acme}", display_name="ACME Corporation", order=5)
    assert (await person.identity(await person.come_back(acme, params))).identity.subject == "alice-1"


async def test_a_provider_distrusted_while_it_answers_signs_nobody_in(
    person: Person, acme: str, api: Api, upstream: Any
) -> None:
    """Whoever takes their time over userinfo is asked about again before anybody is signed in."""
    params = await signed_in_upstream(person, upstream, acme)
    removed = asyncio.Event()

    async def slow_app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/userinfo":
            await api.delete(f"/providers/{acme}")
            removed.set()
        await type(upstream).app(upstream)(scope, receive, send)

    upstream.app = lambda: slow_app
    page = await person.come_back(acme, params)
    assert removed.is_set()
    assert page.error_code == "provider_disabled"


async def test_a_disabled_provider_cannot_be_left_for(platform: Platform, person: Person, acme: str, api: Api) -> None:
    await platform.until_seen(await api.call("PATCH", f"/providers/{acme}", {"enabled": False}))
    assert (await person.leave(acme)).error_code == "provider_disabled"


async def test_a_provider_configured_a_moment_ago_works(person: Person, api: Api, upstream: Any) -> None:
    for _ in range(3):
        provider_id = await configured(api, upstream)
        assert (await person.leave(provider_id)).status == 303


# What is kept --------------------------------------------------------------------------------------------------------


async def test_nothing_that_could_be_used_is_stored_in_clear(
    person: Person, acme: str, upstream: Any, canary: Canary
) -> None:
    params = await signed_in_upstream(person, upstream, acme)
    request = dict(parse_qsl(urlsplit(person.browser.history[-1].location).query))
    canary.add("state", params["state"])
    canary.add("nonce", request["nonce"])
    canary.add("upstream code", params["code"])
    await person.come_back(acme, params)
    (exchange,) = upstream.token_requests
    canary.add("verifier", exchange["code_verifier"])
    canary.add("client secret", upstream.provider().client_secret)
    person.platform.canary.secrets.update(canary.secrets)
    await person.platform.check_secrets()
