"""Devices without a browser: their codes, the page for them, and who decides (threat 27)."""

import asyncio
import json
import re
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from tests.authz.conftest import ISSUER, Rig

from watchword_authz.device_requests import read_user_code, user_code_of
from watchword_database import bus
from watchword_database.engine import transaction
from watchword_events.exports import ClientExport, UserExport
from watchword_events.handovers import Approval, DeviceAnswer, DeviceCode
from watchword_events.names import Service
from watchword_events.revocations import Claim, RevocationKind
from watchword_testkit.browser import Browser
from watchword_testkit.clock import TestClock

GRANT = "urn:ietf:params:oauth:grant-type:device_code"
PATH = "/oauth2/device_authorization"


def tv(rig: Rig, **changes: Any) -> ClientExport:
    """A public client that connects televisions."""
    return rig.client(
        **{
            "client_name": "Television",
            "redirect_uris": [],
            "grant_types": [GRANT, "refresh_token"],
            "token_endpoint_auth_method": "none",
            **changes,
        }
    )


async def ask(rig: Rig, client: ClientExport, address: str = "198.51.100.7", **form: str) -> httpx2.Response:
    """What the device is answered."""
    transport = httpx2.ASGITransport(rig.app.app, client=(address, 4711))
    async with httpx2.AsyncClient(transport=transport, base_url=ISSUER) as http:
        answer = await http.post(PATH, data={"client_id": client.client_id, **form})
    if answer.status_code == 200:
        rig.canary.add("device code", answer.json()["device_code"])
    return answer


async def begun(rig: Rig, client: ClientExport | None = None, **form: str) -> dict[str, Any]:
    """The codes of a new device."""
    answer = await ask(rig, client or tv(rig), **form)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def enter(browser: Browser, user_code: str, url: str = f"{ISSUER}/device") -> None:
    """The page after a code was typed."""
    await browser.open(url)
    await browser.submit("user_code", "continue", user_code=user_code)


async def at_consent(rig: Rig, codes: dict[str, Any], user: UserExport | None = None) -> tuple[Browser, UserExport]:
    """A browser in which the code was entered and somebody signed in."""
    browser, person = rig.browser(), user or await rig.person()
    await enter(browser, codes["user_code"])
    await browser.submit("username", "sign-in", username=person.username, password="correct horse battery staple")
    assert browser.page.has("allow"), browser.page.body
    return browser, person


async def answer_of(rig: Rig, codes: dict[str, Any]) -> Approval | str:
    """What `token` finds: the approval, `denied`, or `pending`."""
    async with transaction(rig.db(Service.TOKEN)) as session:
        seen = await bus.peek(session, DeviceCode, codes["device_code"])
        assert seen is not None
        found = await bus.peek_flow(session, DeviceAnswer, flow=seen.payload.device_id, now=rig.clock())
    if found is None:
        return "pending"
    return found.payload.approval or "denied"


@pytest.mark.spec("RFC 8628 3.1, 3.2, 6.1")
async def test_a_device_gets_codes(rig: Rig) -> None:
    answer = await ask(rig, tv(rig))
    codes = answer.json()
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", codes["device_code"])
    assert re.fullmatch(r"[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}", codes["user_code"])
    assert codes["verification_uri"] == f"{ISSUER}/device"
    assert codes["verification_uri_complete"] == f"{ISSUER}/device?user_code={codes['user_code']}"
    assert (codes["expires_in"], codes["interval"]) == (600, 5)
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.spec("RFC 8628 3.3")
async def test_who_enters_the_code_signs_in_sees_what_it_is_about_and_allows_it(rig: Rig) -> None:
    codes = await begun(rig, tv(rig, client_name="<i>Television</i>"), scope="openid profile")
    browser, user = await at_consent(rig, codes)
    page = browser.page
    assert page.texts["client-name"] == "<i>Television</i>"
    assert codes["user_code"] in page.body
    assert "198.51.100.7" in page.body
    assert user.email
    assert user.email in page.body
    assert "form-action 'self';" in page.headers["content-security-policy"]
    assert await answer_of(rig, codes) == "pending"
    await browser.submit("decision", "allow")
    assert (browser.page.status, "Your device is connected" in browser.page.body) == (200, True)
    approval = await answer_of(rig, codes)
    assert isinstance(approval, Approval)
    assert (approval.user_id, approval.scope) == (user.id, ("openid", "profile"))
    assert await rig.session(approval.sid) is not None


async def test_somebody_signed_in_is_asked_for_nothing_but_the_code(rig: Rig) -> None:
    browser, _ = await at_consent(rig, await begun(rig))
    codes = await begun(rig)
    await enter(browser, codes["user_code"].lower().replace("-", " "))
    assert browser.page.has("allow")


@pytest.mark.spec("RFC 8628 3.3.1")
async def test_the_complete_address_fills_the_code_in_and_decides_nothing(rig: Rig) -> None:
    codes, browser = await begun(rig), rig.browser()
    page = await browser.open(codes["verification_uri_complete"])
    assert page.form_with("user_code").fields["user_code"] == codes["user_code"]
    await rig.browser().open(codes["verification_uri_complete"])  # a preview in a chat uses nothing up
    await browser.submit("user_code", "continue")
    assert browser.page.has("username")


async def test_what_was_allowed_before_is_asked_again_for_every_device(rig: Rig) -> None:
    """Threat 26: nobody is lured with a consent of yesterday."""
    client, user = tv(rig, require_consent=False), await rig.person()
    for _ in range(2):
        codes = await begun(rig, client)
        browser, _ = await at_consent(rig, codes, user)
        await browser.submit("decision", "allow")
        assert isinstance(await answer_of(rig, codes), Approval)


@pytest.mark.spec("RFC 8628 3.5")
async def test_denied_is_told_to_the_device(rig: Rig) -> None:
    codes = await begun(rig)
    browser, _ = await at_consent(rig, codes)
    await browser.submit("decision", "deny")
    assert "was not connected" in browser.page.body
    assert await answer_of(rig, codes) == "denied"


@pytest.mark.parametrize(
    ("client", "form", "status", "error"),
    [
        pytest.param({"grant_types": ["authorization_code"]}, {}, 400, "unauthorized_client", id="another grant type"),
        pytest.param({}, {"scope": 'openid "'}, 400, "invalid_scope", id="a malformed scope"),
        pytest.param({}, {"scope": "everything"}, 400, "invalid_scope", id="a scope of nobody"),
        pytest.param({}, {"resource": "https://x.test"}, 400, "invalid_target", id="a resource of nobody"),
        pytest.param(
            {}, {"authorization_details": '[{"type":"payment"}]'}, 400, "invalid_authorization_details", id="a detail"
        ),
        pytest.param({}, {"authorization_details": "["}, 400, "invalid_authorization_details", id="no JSON"),
        pytest.param({}, {"client_id": "nobody"}, 401, "invalid_client", id="an unknown client"),
        pytest.param({"enabled": False}, {}, 401, "invalid_client", id="a disabled client"),
        pytest.param({"token_endpoint_auth_method": "client_secret_post"}, {}, 401, "invalid_client", id="no secret"),
        pytest.param({}, {"client_secret": "guess"}, 401, "invalid_client", id="a secret of a client that has none"),
    ],
)
@pytest.mark.spec("RFC 8628 3.1; RFC 6749 3.3; RFC 8707 2")
async def test_devices_that_get_no_code(
    rig: Rig, client: dict[str, Any], form: dict[str, str], status: int, error: str
) -> None:
    answer = await ask(rig, tv(rig, **client), **form)
    assert (answer.status_code, answer.json()["error"]) == (status, error)


@pytest.mark.parametrize(
    ("scope", "granted"),
    [
        ("", {"openid", "profile", "email"}),
        ("openid nonsense", {"openid"}),
        ("offline_access openid", {"openid", "offline_access"}),
    ],
)
async def test_scope_is_narrowed_to_what_the_client_may_have(rig: Rig, scope: str, granted: set[str]) -> None:
    client = tv(rig, scope=["openid", "profile", "email", "offline_access", "watchword:admin"])
    codes = await begun(rig, client, **({"scope": scope} if scope else {}))
    browser, _ = await at_consent(rig, codes)
    await browser.submit("decision", "allow")
    approval = await answer_of(rig, codes)
    assert isinstance(approval, Approval)
    assert set(approval.scope) == granted


@pytest.mark.spec("RFC 9396 3, 5")
async def test_what_a_device_asks_for_exactly_is_shown_and_carried(rig: Rig) -> None:
    details = [{"type": "payment", "amount": "4711 EUR"}]
    client = tv(rig, authorization_details_types=["payment"])
    codes = await begun(rig, client, authorization_details=json.dumps(details))
    browser, _ = await at_consent(rig, codes)
    assert "4711 EUR" in browser.page.body
    await browser.submit("decision", "allow")
    approval = await answer_of(rig, codes)
    assert isinstance(approval, Approval)
    assert [*approval.authorization_details] == details


@pytest.mark.parametrize(
    "typed", ["", "BCDF", "BCDF-GHJK-LM", "AEIO-UYAE", "' OR 1=1 --", "<script>", "x" * 500, "ſſſſ-KKKK"]
)
async def test_what_is_no_code_is_refused_on_the_page(rig: Rig, typed: str) -> None:
    browser = rig.browser(f"2001:db8:{len(typed):x}::1")
    await enter(browser, typed)
    assert browser.page.status == 400
    assert browser.page.has("user_code")
    assert "<script>" not in browser.page.body


@pytest.mark.row(27)
@pytest.mark.spec("RFC 8628 5.1, 5.2")
async def test_who_guesses_codes_is_stopped_after_five(rig: Rig) -> None:
    """The right one is refused then as well: of 1000 guesses, 5 count."""
    codes, browser = await begun(rig), rig.browser("203.0.113.77")
    for _ in range(5):
        await enter(browser, "BCDF-GHJK")
        assert browser.page.status == 400
    for typed in ("BCDF-GHJK", codes["user_code"]):
        await enter(browser, typed)
        assert browser.page.status == 429
        assert browser.page.error_code == "too_many_requests"
    elsewhere = rig.browser("203.0.113.78")
    await enter(elsewhere, codes["user_code"])
    assert elsewhere.page.has("username")


async def test_wrong_codes_at_once_count_as_many_as_in_a_row(rig: Rig) -> None:
    browsers = [rig.browser("203.0.113.90") for _ in range(12)]
    await asyncio.gather(*[enter(browser, "BCDF-GHJK") for browser in browsers])
    assert sorted(browser.page.status for browser in browsers) == [400] * 5 + [429] * 7


async def test_right_codes_are_not_counted(rig: Rig) -> None:
    for _ in range(7):
        browser = rig.browser("203.0.113.99")
        await enter(browser, (await begun(rig))["user_code"])
        assert browser.page.has("username")


@pytest.mark.row(27)
@pytest.mark.spec("RFC 8628 5.4")
async def test_a_code_belongs_to_the_browser_in_which_it_was_entered(rig: Rig) -> None:
    """better-auth GHSA-cq3f-vc6p-68fh: whoever was signed in could allow anybody's device."""
    codes = await begun(rig)
    browser, user = await at_consent(rig, codes)
    other = rig.browser()
    await enter(other, codes["user_code"])
    assert (other.page.status, other.page.has("user_code")) == (400, True)
    flow = parse_qs(urlsplit(browser.page.url).query)["flow"][0]
    own, _ = await at_consent(rig, await begun(rig))
    form = own.page.form_with("decision").filled("allow")
    await own.send("POST", f"/consent?flow={flow}", form)
    assert own.page.status == 403
    await own.send("GET", f"/consent?flow={flow}")
    assert own.page.status == 403
    assert await answer_of(rig, codes) == "pending"
    await enter(browser, codes["user_code"])  # the same browser goes on where it was
    await browser.submit("decision", "allow")
    approval = await answer_of(rig, codes)
    assert isinstance(approval, Approval)
    assert approval.user_id == user.id


async def test_of_two_browsers_at_once_one_gets_the_code(rig: Rig) -> None:
    codes = await begun(rig)
    browsers = [rig.browser(f"203.0.113.{20 + n}") for n in range(8)]
    await asyncio.gather(*[enter(browser, codes["user_code"]) for browser in browsers])
    assert sorted(browser.page.has("username") for browser in browsers) == [False] * 7 + [True]


@pytest.mark.parametrize(
    ("headers", "csrf"),
    [
        pytest.param({"Origin": "https://evil.example"}, None, id="another origin"),
        pytest.param({"Sec-Fetch-Site": "cross-site"}, None, id="across sites"),
        pytest.param({}, "x" * 43, id="a form token of nobody"),
    ],
)
async def test_a_form_of_another_page_enters_no_code(rig: Rig, headers: dict[str, str], csrf: str | None) -> None:
    codes, browser = await begun(rig), rig.browser()
    await browser.open(f"{ISSUER}/device")
    form = browser.page.form_with("user_code")
    sent = form.filled("continue", user_code=codes["user_code"]) | ({"csrf": csrf} if csrf else {})
    await browser.send("POST", form.action, sent, headers)
    assert (browser.page.status, browser.page.error_code) == (403, "form_not_ours")
    without = rig.browser()
    await without.send("POST", form.action, sent)
    assert (without.page.status, without.page.error_code) == (403, "form_not_ours")


async def test_a_decision_is_made_once(rig: Rig) -> None:
    codes = await begun(rig)
    browser, _ = await at_consent(rig, codes)
    allow, deny = (browser.page.form_with("decision").filled(each) for each in ("allow", "deny"))
    action = browser.page.form_with("decision").action
    await browser.send("POST", action, deny)
    await browser.send("POST", action, allow)
    assert browser.page.status in {400, 403}
    assert await answer_of(rig, codes) == "denied"


async def test_a_code_ends_with_its_time_its_client_and_what_it_descends_from(own_rig: Rig, clock: TestClock) -> None:
    rig = own_rig
    late, at_hand = await begun(rig), await begun(rig)
    browser, _ = await at_consent(rig, at_hand)
    clock.advance(timedelta(minutes=10))
    await browser.submit("decision", "allow")
    assert browser.page.error_code == "device_code_expired"
    assert await answer_of(rig, at_hand) == "pending"
    typing = rig.browser()
    await enter(typing, late["user_code"])
    assert typing.page.status == 400
    client = tv(rig)
    codes, waiting = await begun(rig, client), await begun(rig, client)
    browser, _ = await at_consent(rig, waiting)
    later = clock() + timedelta(days=1)
    async with transaction(rig.db(Service.ADMIN)) as session:
        entry = await bus.revoke(
            session, claim=Claim.CLIENT_ID, value=client.client_id, kind=RevocationKind.CUT, reason="test",
            until=later, keep_until=later,
        )  # fmt: skip
    assert await rig.feed.settle([entry], timeout=5)
    await enter(typing, codes["user_code"])
    assert typing.page.status == 400
    await browser.submit("decision", "allow")
    assert browser.page.error_code == "flow_over"
    assert await answer_of(rig, waiting) == "pending"


async def test_no_user_code_stands_in_the_database(rig: Rig) -> None:
    codes = await begun(rig)
    await at_consent(rig, codes)
    pool = await rig.db().raw_pool()
    for table in ("authz.device_request", "authz.flow"):
        rows = await pool.fetch(f"SELECT t::text AS row FROM {table} t")
        assert rows
        assert not any(codes["user_code"] in row["row"] for row in rows)


def test_codes_differ_by_request_and_key_and_are_read_however_they_were_typed() -> None:
    codes = {user_code_of(b"k", str(n)) for n in range(1000)} | {user_code_of(b"other", "1")}
    assert len(codes) == 1001
    for code in codes:
        for typed in (code, code.lower(), code.replace("-", ""), f" {code[:2]} {code[2:]} ", code.replace("-", "_.–")):
            assert read_user_code(typed) == code
