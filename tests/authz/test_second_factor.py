"""Signing in with two factors: nobody is signed in before the second, each code counts once, guesses are counted."""

import asyncio
from datetime import timedelta
from zoneinfo import ZoneInfo

import asyncpg
import pyotp
import pytest
from tests.authz.conftest import HASH, ISSUER, PASSWORD, Rig, Visit
from tests.authz.test_api import call

from watchword_authz import factor_store, factors
from watchword_database import bus
from watchword_database.engine import transaction
from watchword_events.exports import UserExport
from watchword_events.handovers import AccountProved, ProveAccount
from watchword_events.names import Service
from watchword_policy.assurance import ONE_FACTOR, TWO_FACTORS
from watchword_testkit.browser import Browser

STEP = timedelta(seconds=30)


class Phone:
    """An authenticator app with one account, on a phone whose clock goes with the installation's."""

    def __init__(self, rig: Rig, secret: str) -> None:
        self.rig, self.secret = rig, secret.replace(" ", "")
        rig.canary.add("totp secret", self.secret)

    def code(self) -> str:
        """What it shows now."""
        return pyotp.TOTP(self.secret).at(self.rig.clock())

    def next_code(self) -> str:
        """The first code that it did not show yet."""
        self.rig.clock.advance(STEP)
        return self.code()

    def wrong_code(self) -> str:
        """One that it shows at no time that would be accepted."""
        now = self.rig.clock()
        right = {pyotp.TOTP(self.secret).at(now + shift * STEP) for shift in range(-2, 3)}
        return next(code for code in ("000000", "111111", "222222", "333333", "444444", "555555") if code not in right)


async def sign_in_here(rig: Rig, browser: Browser, user: UserExport) -> None:
    """The person is signed in at a page of ours."""
    await browser.open(f"{ISSUER}/login?return_to=/account")
    await browser.submit("username", "sign-in", username=user.username, password=PASSWORD)


async def enrolled(rig: Rig, **claims: str) -> tuple[UserExport, Phone, list[str]]:
    """A person with a password, an authenticator app and recovery codes."""
    user, browser = await rig.person(**({"claims": claims} if claims else {})), rig.browser()
    await sign_in_here(rig, browser, user)
    await browser.click("manage-authenticator")
    phone = Phone(rig, browser.page.texts["totp-secret"])
    await browser.submit("otp", "verify", otp=phone.code())
    codes = browser.page.texts["recovery-codes"].split()
    assert len(codes) == 10
    rig.canary.add("recovery code", *codes)
    return user, phone, codes


async def at_factor(rig: Rig, user: UserExport, browser: Browser | None = None, **params: str) -> Visit:
    """A visit whose password was right and that is asked for the second factor."""
    visit = Visit(rig, browser or rig.browser(), rig.client(), params)
    await visit.start()
    await visit.enter(user.username)
    assert visit.browser.page.has("verify"), visit.browser.page.body
    return visit


async def enter(visit: Visit, otp: str) -> None:
    """The page after the code was sent."""
    await visit.browser.submit("otp", "verify", otp=otp)


@pytest.mark.spec("RFC 8176 2")
@pytest.mark.seed(106)
async def test_password_and_code_are_two_factors(rig: Rig) -> None:
    user, phone, _ = await enrolled(rig)
    visit = await at_factor(rig, user)
    await enter(visit, phone.next_code())
    code = await visit.code()
    assert (code.user_id, code.amr, code.acr) == (user.id, ("pwd", "otp", "mfa"), TWO_FACTORS)


@pytest.mark.row(47)
async def test_nobody_is_signed_in_before_the_second_factor(rig: Rig) -> None:
    """Threat 47: the half sign-in is no session, here or anywhere."""
    user, _, _ = await enrolled(rig)
    visit = await at_factor(rig, user)
    assert "ww-session" not in visit.browser.cookies
    silent = Visit(rig, visit.browser, rig.client(), {"prompt": "none"})
    await silent.start()
    assert silent.answer["error"] == "login_required"
    page = await visit.browser.send("GET", f"{ISSUER}/account")
    assert page.location.startswith(f"{ISSUER}/login")
    pool = await rig.db().raw_pool()
    count = await pool.fetchval("SELECT count(*) FROM authz.session WHERE user_id = $1", user.id)
    assert count == 1  # the one that enrolled


@pytest.mark.spec("RFC 6238 5.2")
async def test_a_code_counts_once(rig: Rig) -> None:
    user, phone, _ = await enrolled(rig)
    first, second = await at_factor(rig, user), await at_factor(rig, user)
    code = phone.next_code()
    await enter(first, code)
    assert (await first.code()).user_id == user.id
    await enter(second, code)
    assert second.browser.page.status == 400
    assert "not right" in second.browser.page.body


@pytest.mark.parametrize(("zone", "shown"), [("Asia/Tokyo", "JST"), ("UTC", "UTC"), ("Nowhere/Else", "UTC")])
async def test_whoever_enters_a_wrong_code_is_told_the_time(rig: Rig, zone: str, shown: str) -> None:
    user, phone, _ = await enrolled(rig, zoneinfo=zone)
    visit = await at_factor(rig, user)
    assert not visit.browser.page.has("time-notice")
    before = rig.clock()
    await enter(visit, phone.wrong_code())
    times = {f"{at.astimezone(ZoneInfo(zone if shown == 'JST' else 'UTC')):%H:%M}" for at in (before, rig.clock())}
    told = visit.browser.page.texts["time-notice"]
    assert f"({shown})" in told
    assert any(time in told for time in times), (told, times)
    await visit.browser.open(f"{ISSUER}/login/factor?flow={visit.flow_id}&with=recovery")
    await enter(visit, "aaaa-bbbb-cccc-dddd")
    assert visit.browser.page.status == 400
    assert not visit.browser.page.has("time-notice"), "recovery codes follow no clock"


async def test_the_code_that_enrolled_signs_nobody_in(rig: Rig) -> None:
    user, phone, _ = await enrolled(rig)
    visit = await at_factor(rig, user)
    await enter(visit, phone.code())
    assert visit.browser.page.status == 400


async def test_of_parallel_uses_of_a_code_one_counts(rig: Rig) -> None:
    user, phone, _ = await enrolled(rig)
    visits = [await at_factor(rig, user) for _ in range(4)]
    code = phone.next_code()
    forms = [visit.browser.page.form_with("otp") for visit in visits]
    answers = await asyncio.gather(
        *(
            v.browser.client.post(f.action, data=f.filled("verify", otp=code))
            for v, f in zip(visits, forms, strict=True)
        )
    )
    assert sorted(answer.status_code for answer in answers) == [303, 400, 400, 400]


@pytest.mark.seed(106)
async def test_a_recovery_code_counts_once(rig: Rig) -> None:
    user, _, codes = await enrolled(rig)
    for status, typed in ((303, codes[0].upper().replace("-", " ")), (400, codes[0])):
        visit = await at_factor(rig, user)
        await visit.browser.click("use-recovery")
        await enter(visit, typed)
        assert visit.browser.page.status == status
    await sign_in_here(rig, browser := rig.browser(), user)
    await browser.submit("otp", "verify", otp=codes[1])
    assert browser.page.texts["codes-left"] == "8 left"


async def test_new_recovery_codes_replace_the_old(rig: Rig) -> None:
    user, phone, codes = await enrolled(rig)
    browser = rig.browser()
    await sign_in_here(rig, browser, user)
    await browser.submit("otp", "verify", otp=phone.next_code())
    await browser.click("manage-codes")
    await browser.submit("choice", "codes")
    assert not set(browser.page.texts["recovery-codes"].split()) & set(codes)
    visit = await at_factor(rig, user)
    await enter(visit, codes[0])
    assert visit.browser.page.status == 400


async def test_of_codes_that_are_renewed_twice_at_once_one_set_counts(rig: Rig) -> None:
    user = rig.user()
    database = rig.db()

    async def renew() -> None:
        async with transaction(database) as session:
            rig.canary.add("recovery code", *await factors.renew_recovery_codes(session, user.id, rig.clock()))

    await asyncio.gather(*(renew() for _ in range(4)))
    async with transaction(database) as session:
        assert await factor_store.count_recovery_codes(session, user.id) == factors.RECOVERY_CODES


async def test_secret_and_codes_stand_nowhere_in_the_database(rig: Rig) -> None:
    _, phone, codes = await enrolled(rig)
    connection = await asyncpg.connect(rig.site.database.admin_url)
    rows = await connection.fetch("SELECT t::text AS row FROM authz.authenticator t")
    rows += await connection.fetch("SELECT t::text AS row FROM authz.recovery_code t")
    rows += await connection.fetch("SELECT t::text AS row FROM authz.outbox t")
    await connection.close()
    text = "\n".join(row["row"] for row in rows)
    assert text
    for value in (phone.secret, *codes, *(code.replace("-", "") for code in codes)):
        assert value.lower() not in text.lower()
        assert value.encode().hex() not in text
    assert pyotp.TOTP(phone.secret).byte_secret().hex() not in text


@pytest.mark.row(47)
@pytest.mark.parametrize(("amr", "is_asked"), [(("pwd",), True), ((), True), (("pwd", "mfa"), False)])
async def test_a_provider_does_not_skip_the_factor_unless_it_asked_for_two(
    rig: Rig, amr: tuple[str, ...], is_asked: bool
) -> None:
    """Threat 47."""
    user, phone, _ = await enrolled(rig)
    provider = rig.provider()
    visit = Visit(rig, rig.browser(), rig.client())
    await visit.start()
    ticket = await visit.signed_in_ticket(user, provider, amr=list(amr))
    await visit.browser.open(f"{ISSUER}/login/complete?ticket={ticket}")
    assert visit.browser.page.has("verify") is is_asked
    if is_asked:
        await enter(visit, phone.next_code())
    code = await visit.code()
    assert (code.idp, code.acr) == (provider.id, TWO_FACTORS)


async def test_an_account_is_proved_with_both_factors_and_asked_once(rig: Rig) -> None:
    """Threat 47: a link without the second factor would be a way around it."""
    user, phone, _ = await enrolled(rig)
    provider = rig.provider()
    visit = Visit(rig, rig.browser(), rig.client())
    await visit.start()
    payload = ProveAccount(binding=await visit.binding(), user_id=user.id, pending_link_id="l", provider_id=provider.id)
    flow_id = visit.flow_id
    ticket = await rig.hand_over(Service.DIRECTORY, payload, flow_id)
    await visit.browser.open(f"{ISSUER}/login/prove?ticket={ticket}")
    await visit.enter(user.username)
    assert visit.browser.page.has("verify")
    signed_in = await visit.signed_in_ticket(user, provider, amr=["pwd"])
    page = await visit.browser.send(
        "POST", visit.browser.page.form_with("otp").action,
        visit.browser.page.form_with("otp").filled("verify", otp=phone.next_code()),
    )  # fmt: skip
    assert page.location.startswith(f"{ISSUER}/login/identity?ticket=")
    async with transaction(rig.db(Service.DIRECTORY)) as session:
        proved = await bus.take(session, AccountProved, page.location.partition("ticket=")[2], now=rig.clock())
    assert proved is not None
    assert proved.payload.user_id == user.id
    await visit.browser.open(f"{ISSUER}/login/complete?ticket={signed_in}")
    assert (await visit.code()).amr == ("pwd", "otp", "mfa")


@pytest.mark.spec("RFC 9470 4; OpenID Connect Core 3.1.2.1")
async def test_step_up_asks_for_the_code_alone(rig: Rig) -> None:
    user, browser = await rig.person(), rig.browser()
    first = Visit(rig, browser, rig.client())
    await first.start()
    await first.enter(user.username)
    before, cookie = await first.code(), browser.cookies["ww-session"]
    assert before.acr == ONE_FACTOR
    other = rig.browser()
    await sign_in_here(rig, other, user)
    await other.click("manage-authenticator")
    phone = Phone(rig, other.page.texts["totp-secret"])
    await other.submit("otp", "verify", otp=phone.code())
    silent = Visit(rig, browser, rig.client(), {"acr_values": TWO_FACTORS, "prompt": "none"})
    await silent.start()
    assert silent.answer["error"] == "login_required"
    visit = Visit(rig, browser, rig.client(), {"acr_values": TWO_FACTORS})
    await visit.start()
    assert browser.page.has("verify")
    assert not browser.page.has("password")
    await enter(visit, phone.next_code())
    after = await visit.code()
    assert (after.sid, after.acr, after.amr) == (before.sid, TWO_FACTORS, ("pwd", "otp", "mfa"))
    assert after.auth_time == before.auth_time
    assert browser.cookies["ww-session"] != cookie  # threat 29


async def test_who_guesses_waits_and_locks_no_known_device_out(rig: Rig) -> None:
    """Threat 53: somebody with the stolen password guesses codes elsewhere."""
    user, phone, _ = await enrolled(rig)
    owner = rig.browser()
    await sign_in_here(rig, owner, user)
    await owner.submit("otp", "verify", otp=phone.next_code())
    assert "ww-device" in owner.cookies
    thief = await at_factor(rig, user, rig.browser("198.51.100.9"))
    statuses = []
    for _ in range(6):
        await enter(thief, phone.wrong_code())
        statuses.append(thief.browser.page.status)
    assert statuses == [400] * 5 + [429]
    assert "Retry-After" in thief.browser.page.headers or "retry-after" in thief.browser.page.headers
    await enter(thief, phone.next_code())
    assert thief.browser.page.status == 429
    again = await at_factor(rig, user, owner, prompt="login")
    await enter(again, phone.next_code())
    assert (await again.code()).user_id == user.id


async def test_whoever_guessed_too_often_is_let_go_on_by_an_administrator(rig: Rig) -> None:
    """The lock shows, and is taken away, whether it is of passwords or of codes."""
    user, phone, _ = await enrolled(rig)
    visit = await at_factor(rig, user)
    for _ in range(6):
        await enter(visit, phone.wrong_code())
    assert visit.browser.page.status == 429
    state = (await call(rig, "GET", f"/credentials/{user.id}")).json()
    assert state["locked_until"] is not None
    assert (await call(rig, "DELETE", f"/credentials/{user.id}/lock")).status_code == 204
    assert (await call(rig, "GET", f"/credentials/{user.id}")).json()["locked_until"] is None
    await enter(visit, phone.next_code())
    assert (await visit.code()).user_id == user.id


async def test_a_password_that_is_changed_meanwhile_signs_nobody_in(rig: Rig) -> None:
    user, phone, _ = await enrolled(rig)
    visit = await at_factor(rig, user)
    await rig.hand_password(user.id, HASH)
    other = await at_factor(rig, user)  # takes what directory handed over
    await enter(visit, phone.next_code())
    assert visit.browser.page.error_code == "credential_changed"
    await enter(other, phone.next_code())
    assert (await other.code()).user_id == user.id


async def test_a_half_sign_in_is_over_after_a_while(rig: Rig) -> None:
    user, phone, _ = await enrolled(rig)
    visit = await at_factor(rig, user)
    rig.clock.advance(timedelta(minutes=11))
    await enter(visit, phone.next_code())
    assert visit.browser.page.has("password")


async def test_another_account_may_be_used_instead(rig: Rig) -> None:
    user, _, _ = await enrolled(rig)
    other, visit = await rig.person(), await at_factor(rig, user)
    await visit.browser.submit("other", "other")
    await visit.enter(other.username)
    assert (await visit.code()).user_id == other.id


async def test_garbage_is_a_wrong_code(rig: Rig) -> None:
    user, _, _ = await enrolled(rig)
    visit = await at_factor(rig, user)
    for otp in ("", "1" * 5000, "１２３４５６", "aaaa-aaaa-aaaa-aaaa"):
        await enter(visit, otp)
        assert visit.browser.page.status == 400


async def test_a_form_from_elsewhere_proves_nothing(rig: Rig) -> None:
    user, phone, _ = await enrolled(rig)
    visit = await at_factor(rig, user)
    form = visit.browser.page.form_with("otp")
    data = form.filled("verify", otp=phone.next_code())
    page = await visit.browser.send("POST", form.action, data | {"csrf": "x" * 43})
    assert page.error_code == "form_not_ours"
    page = await visit.browser.send("POST", form.action, data, {"Sec-Fetch-Site": "cross-site"})
    assert page.error_code == "form_not_ours"


async def test_the_page_of_somebody_else_is_not_shown(rig: Rig) -> None:
    user, _, _ = await enrolled(rig)
    visit = await at_factor(rig, user)
    page = await rig.browser().send("GET", visit.browser.page.url)
    assert (page.status, page.error_code) == (403, "flow_not_here")
