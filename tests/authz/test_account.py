"""A person's own account: what it shows, what it ends, and that a credential is changed only right after a sign-in."""

from datetime import timedelta

import pytest
from tests.authz.conftest import ISSUER, PASSWORD, Rig, Visit
from tests.authz.test_second_factor import Phone, enrolled, sign_in_here

from watchword_events.exports import UserExport
from watchword_testkit.browser import Browser

NEW = "a new and longer passphrase"
PATHS = ["/account/password", "/account/authenticator"]


async def here(rig: Rig) -> tuple[UserExport, Browser]:
    """A person who has just signed in, at the account page."""
    user, browser = await rig.person(), rig.browser()
    await sign_in_here(rig, browser, user)
    assert browser.page.texts["account-username"] == user.username
    return user, browser


async def is_signed_in(rig: Rig, browser: Browser) -> bool:
    """Whether the browser's session lives."""
    return (await browser.send("GET", f"{ISSUER}/account")).status == 200


@pytest.mark.parametrize("path", ["/account", *PATHS])
async def test_strangers_are_asked_to_sign_in(rig: Rig, path: str) -> None:
    page = await rig.browser().send("GET", f"{ISSUER}{path}")
    assert page.location == f"{ISSUER}/login?return_to=/account"


async def test_a_form_from_elsewhere_changes_nothing(rig: Rig) -> None:
    _, browser = await here(rig)
    for path in ("/account/sessions", "/account/applications", *PATHS):
        for csrf in ("", "x" * 43):
            page = await browser.send("POST", f"{ISSUER}{path}", {"csrf": csrf, "new_password": NEW, "repeated": NEW})
            assert (page.status, page.error_code) == (403, "form_not_ours")


@pytest.mark.parametrize("path", PATHS)
async def test_changing_a_credential_needs_a_new_sign_in(rig: Rig, path: str) -> None:
    """Also where the form was filled in before; afterwards the person is back at the page."""
    user, browser = await here(rig)
    await browser.open(f"{ISSUER}{path}")
    form = browser.page.forms[0]
    rig.clock.advance(timedelta(minutes=11))
    page = await browser.send("GET", f"{ISSUER}{path}")
    assert "/login?flow=" in page.location
    page = await browser.send("POST", form.action, form.filled())
    assert "/login?flow=" in page.location
    await browser.open(page.location)
    assert browser.page.form_with("username").fields["username"] == user.username
    await browser.submit("username", "sign-in", username=user.username, password=PASSWORD)
    assert browser.page.url == f"{ISSUER}{path}?again=1"
    assert browser.page.status == 200


async def test_a_session_of_one_factor_does_not_change_credentials_of_who_has_two(rig: Rig) -> None:
    user, browser = await here(rig)
    other = rig.browser()
    await sign_in_here(rig, other, user)
    await other.click("manage-authenticator")
    phone = Phone(rig, other.page.texts["totp-secret"])
    await other.submit("otp", "verify", otp=phone.code())
    page = await browser.open(f"{ISSUER}/account/password")
    assert page.has("sign-in")
    await browser.submit("username", "sign-in", username=user.username, password=PASSWORD)
    await browser.submit("otp", "verify", otp=phone.next_code())
    assert browser.page.has("new_password")


async def test_a_provider_that_does_not_ask_again_is_not_asked_for_ever(rig: Rig) -> None:
    _, browser = await here(rig)
    rig.clock.advance(timedelta(minutes=11))
    page = await browser.send("GET", f"{ISSUER}/account/password?again=1")
    assert (page.status, page.error_code) == (403, "sign_in_too_old")


@pytest.mark.parametrize("end_others", [True, False])
async def test_a_new_password_signs_in_and_the_old_one_does_not(rig: Rig, end_others: bool) -> None:
    user, browser = await here(rig)
    other = rig.browser()
    await sign_in_here(rig, other, user)
    await browser.click("change-password")
    form = browser.page.form_with("new_password")
    data = form.filled("save", new_password=NEW, repeated=NEW)
    rig.canary.add("password", NEW)
    if not end_others:
        del data["end_others"]
    page = await browser.send("POST", form.action, data)
    assert page.location == f"{ISSUER}/account?done=password"
    assert await is_signed_in(rig, browser)
    assert await is_signed_in(rig, other) is not end_others
    for password, is_right in ((PASSWORD, False), (NEW, True)):
        visit = Visit(rig, rig.browser(), rig.client())
        await visit.start()
        await visit.enter(user.username, password)
        assert ("code=" in visit.browser.page.location) is is_right


@pytest.mark.spec("NIST SP 800-63B-4 3.1.1.2")
async def test_a_password_that_is_not_taken(rig: Rig) -> None:
    user, browser = await here(rig)
    await browser.click("change-password")
    for password, repeated in (("too short", "too short"), (NEW, "something else"), ("", ""), ("x" * 1025, "x" * 1025)):
        page = await browser.submit("new_password", "save", new_password=password, repeated=repeated)
        assert page.status == 400
    visit = Visit(rig, rig.browser(), rig.client())
    await visit.start()
    await visit.enter(user.username)
    assert (await visit.code()).user_id == user.id


async def test_one_session_is_ended_or_all_others(rig: Rig) -> None:
    user, browser = await here(rig)
    others = [rig.browser() for _ in range(3)]
    for each in others:
        await sign_in_here(rig, each, user)
    await browser.open(f"{ISSUER}/account")
    sids = [form.fields["sid"] for form in browser.page.forms if "sid" in form.fields]
    assert len(sids) == 3
    await browser.submit(f"end-{sids[0]}", f"end-{sids[0]}")
    assert [await is_signed_in(rig, each) for each in others].count(False) == 1
    await browser.open(f"{ISSUER}/account")
    await browser.submit("end-others", "end-others")
    assert not any([await is_signed_in(rig, each) for each in others])
    assert await is_signed_in(rig, browser)


async def test_nobody_ends_the_session_of_another(rig: Rig) -> None:
    """Threat 59: whose it is is known by the cookie alone."""
    user, browser = await here(rig)
    victim, theirs = await here(rig)
    second = rig.browser()
    await sign_in_here(rig, second, victim)
    await theirs.open(f"{ISSUER}/account")
    sid = next(form.fields["sid"] for form in theirs.page.forms if "sid" in form.fields)
    await browser.open(f"{ISSUER}/account")
    csrf = await _csrf(rig, user, browser)
    await browser.send("POST", f"{ISSUER}/account/sessions", {"csrf": csrf, "sid": sid})
    assert await is_signed_in(rig, second)


async def _csrf(rig: Rig, user: UserExport, browser: Browser) -> str:
    """The token of the overview's forms, which are there once something can be ended."""
    await sign_in_here(rig, rig.browser(), user)
    page = await browser.open(f"{ISSUER}/account")
    return page.form_with("sid").fields["csrf"]


@pytest.mark.parametrize("asked", [True, False], ids=["with consent", "without"])
async def test_an_application_is_shown_and_withdrawn(rig: Rig, asked: bool) -> None:
    _, browser = await here(rig)
    client = rig.client(client_name="Team Wiki", require_consent=asked)
    visit = Visit(rig, browser, client, {"scope": "openid profile offline_access"})
    await visit.start()
    if asked:
        await browser.submit("decision", "allow")
    code = await visit.code()
    page = await browser.open(f"{ISSUER}/account/applications")
    assert "Team Wiki" in page.body
    await browser.submit(f"withdraw-{client.client_id}", f"withdraw-{client.client_id}")
    assert "Team Wiki" not in browser.page.body
    assert not rig.feed.is_live({"rev": code.rev, "gid": code.gid})
    again = Visit(rig, browser, client)
    await again.start()
    assert browser.page.has("decision") is asked


async def test_the_authenticator_is_removed_with_its_codes(rig: Rig) -> None:
    user, phone, codes = await enrolled(rig)
    browser = rig.browser()
    await sign_in_here(rig, browser, user)
    await browser.submit("otp", "verify", otp=phone.next_code())
    await browser.click("manage-authenticator")
    await browser.submit("remove", "remove")
    assert browser.page.texts["authenticator-state"] == "Off"
    visit = Visit(rig, rig.browser(), rig.client())
    await visit.start()
    await visit.enter(user.username)
    assert (await visit.code()).amr == ("pwd",)
    pool = await rig.db().raw_pool()
    assert await pool.fetchval("SELECT count(*) FROM authz.recovery_code WHERE user_id = $1", user.id) == 0
    assert codes


async def test_an_authenticator_counts_from_its_first_code(rig: Rig) -> None:
    """Looked at, scanned, and left: nobody is locked out."""
    user, browser = await here(rig)
    await browser.click("manage-authenticator")
    phone = Phone(rig, browser.page.texts["totp-secret"])
    await browser.submit("otp", "verify", otp=phone.wrong_code())
    assert browser.page.status == 400
    assert browser.page.texts["totp-secret"].replace(" ", "") == phone.secret
    visit = Visit(rig, rig.browser(), rig.client())
    await visit.start()
    await visit.enter(user.username)
    assert (await visit.code()).amr == ("pwd",)


async def test_what_changes_is_told(rig: Rig) -> None:
    user, _, _ = await enrolled(rig)
    pool = await rig.db().raw_pool()
    rows = await pool.fetch(
        "SELECT body->>'kind' AS kind FROM authz.outbox WHERE type = 'credential.changed' AND aggregate_id = $1",
        user.id,
    )
    assert {row["kind"] for row in rows} == {"password", "totp", "recovery_codes"}
