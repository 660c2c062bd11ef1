"""Remembered devices: not asked for the second factor again, until it is forgotten or more is asked for."""

import asyncio
import secrets
from datetime import timedelta

import pytest
from tests.authz.conftest import ISSUER, PASSWORD, Rig, Visit
from tests.authz.test_requirements import demanded
from tests.authz.test_second_factor import Phone, at_factor, enrolled, sign_in_here

from watchword_authz.models import RememberedDevice
from watchword_authz.remembered import list_devices
from watchword_authz.requirements import AppliesTo
from watchword_database.engine import transaction
from watchword_events.exports import UserExport
from watchword_policy.assurance import ONE_FACTOR, TWO_FACTORS
from watchword_testkit.browser import Browser

MOST = 20


async def remembered(rig: Rig) -> tuple[UserExport, Phone, Browser]:
    """A person and a browser in which they asked not to be asked again."""
    user, phone, _ = await enrolled(rig)
    browser = rig.browser()
    visit = await at_factor(rig, user, browser)
    await browser.submit("otp", "verify", otp=phone.next_code(), remember="1")
    assert (await visit.code()).acr == TWO_FACTORS
    rig.canary.add("cookie", browser.cookies["ww-remembered"])
    return user, phone, browser


async def signs_in(rig: Rig, browser: Browser, user: UserExport, **params: str) -> Visit:
    """A visit after the password, in a browser without a session."""
    browser.client.cookies.delete("ww-session")
    visit = Visit(rig, browser, rig.client(), params)
    await visit.start()
    await visit.enter(user.username)
    return visit


@pytest.mark.seed(106)
async def test_a_remembered_device_is_not_asked_again(rig: Rig) -> None:
    """Tokens say what was proved this time; another browser, or another person in this one, is asked."""
    user, _, browser = await remembered(rig)
    assert (await (await signs_in(rig, browser, user)).code()).acr == ONE_FACTOR
    assert (await at_factor(rig, user)).browser.page.has("verify")
    other, _, _ = await enrolled(rig)
    assert (await signs_in(rig, browser, other)).browser.page.has("verify")


async def test_it_is_asked_where_more_is_asked_for(rig: Rig) -> None:
    user, phone, browser = await remembered(rig)
    visit = await signs_in(rig, browser, user, acr_values=TWO_FACTORS)
    assert browser.page.has("verify")
    await browser.submit("otp", "verify", otp=phone.next_code())
    assert (await visit.code()).acr == TWO_FACTORS
    await (await signs_in(rig, browser, user)).code()
    await browser.open(f"{ISSUER}/account/password")
    await browser.submit("username", "sign-in", username=user.username, password=PASSWORD)
    assert browser.page.has("verify")


async def test_what_is_demanded_is_proved_by_it(rig: Rig) -> None:
    user, _, browser = await remembered(rig)
    async with demanded(rig, AppliesTo.INSTALLATION):
        assert (await (await signs_in(rig, browser, user)).code()).user_id == user.id
        assert (await browser.open(f"{ISSUER}/account")).has("account-username")


async def test_what_was_granted_on_it_outlives_a_new_requirement(rig: Rig) -> None:
    user, _, browser = await remembered(rig)
    before = await (await signs_in(rig, browser, user)).code()
    assert before.acr == ONE_FACTOR
    async with demanded(rig, AppliesTo.INSTALLATION):
        assert rig.feed.is_live({"rev": before.rev, "gid": before.gid})


async def test_the_newest_devices_are_remembered_however_many_are_at_once(rig: Rig) -> None:
    """Who clears their cookies each evening leaves a device behind each time: the oldest are forgotten."""
    user, _, codes = await enrolled(rig)
    now = rig.clock()
    async with transaction(rig.db()) as session:
        session.add_all(
            RememberedDevice(
                id=f"{user.id}-{number:03}",
                user_id=user.id,
                secret_hash=secrets.token_bytes(32),
                user_agent="",
                address="",
                created_at=now - timedelta(days=1, minutes=100 - number),
                used_at=now,
                expires_at=now + timedelta(days=1),
            )
            for number in range(MOST)
        )
    visits = [await at_factor(rig, user) for _ in range(3)]
    await asyncio.gather(
        *[
            visit.browser.submit("otp", "verify", otp=code, remember="1")
            for visit, code in zip(visits, codes, strict=False)
        ]
    )
    for visit in visits:
        rig.canary.add("cookie", visit.browser.cookies["ww-remembered"])
    async with transaction(rig.db()) as session:
        kept = await list_devices(session, user.id, now)
    assert len(kept) == MOST
    assert [each.id for each in kept[3:]] == [f"{user.id}-{number:03}" for number in range(MOST - 1, 2, -1)]


@pytest.mark.parametrize("how", ["forgotten", "too old", "new password", "app removed", "of another"])
async def test_a_device_that_is_remembered_no_more(rig: Rig, how: str) -> None:
    user, phone, browser = await remembered(rig)
    match how:
        case "forgotten":
            page = await browser.open(f"{ISSUER}/account")
            name = next(button.id for form in page.forms for button in form.buttons if button.id.startswith("forget-"))
            await browser.submit(name, name)
        case "too old":
            rig.clock.advance(timedelta(days=31))
        case "new password":
            await rig.hand_password(user.id)
        case "app removed":
            await browser.open(f"{ISSUER}/account/authenticator")
            await browser.submit("remove", "remove")
            other = rig.browser()
            await sign_in_here(rig, other, user)
            await other.click("manage-authenticator")
            phone = Phone(rig, other.page.texts["totp-secret"])
            await other.submit("otp", "verify", otp=phone.code())
        case _:
            browser = rig.browser()
            browser.client.cookies.set("ww-remembered", "A" * 43, domain="localhost.local", path="/")
    assert (await signs_in(rig, browser, user)).browser.page.has("verify")
