"""How many passwords may be tried, by whom (threat 53; Keycloak CVE-2024-4629)."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.authz.conftest import PASSWORD, Rig, Visit, running
from tests.authz.test_api import call

from watchword.installation import Operator
from watchword.provision import connected
from watchword_authz import credentials
from watchword_authz.settings import AuthzSettings
from watchword_authz.throttle import Attempt, Limit, claim_attempt, give_back, limits_of, locked_until
from watchword_database.engine import Database, transaction
from watchword_database.forgetting import forget
from watchword_events.contracts import AccountLocked
from watchword_events.names import Service
from watchword_testkit.canary import Canary
from watchword_testkit.clock import TestClock
from watchword_testkit.databases import Template, TestDatabase
from watchword_testkit.events import expect_events
from watchword_testkit.servers import Postgres

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
LIMIT = Limit(
    "account",
    free=3,
    first_wait=timedelta(seconds=1),
    longest_wait=timedelta(seconds=60),
    window=timedelta(hours=1),
    slides=True,
    lock_at=6,
    lock_for=timedelta(minutes=15),
)


async def attempt(database: Database, now: datetime, limit: Limit = LIMIT, subject: str = "ann") -> Attempt:
    """One attempt in a transaction of its own."""
    async with transaction(database) as session:
        return await claim_attempt(session, limit, subject, now)


async def test_delays_double_then_the_counter_locks(database: TestDatabase) -> None:
    db, now = database.open(Service.AUTHZ), NOW
    waits = []
    for _ in range(6):
        tried = await attempt(db, now)
        assert tried.allowed
        refused = await attempt(db, now)
        waits.append(refused.wait.total_seconds() if not refused.allowed else 0)
        if refused.allowed:
            async with transaction(db) as session:
                await give_back(session, LIMIT, "ann")
        now += timedelta(seconds=waits[-1])
    assert waits == [0, 0, 1, 2, 4, 900]


async def test_hundred_parallel_attempts_are_as_many_as_in_a_row(database: TestDatabase) -> None:
    db = database.open(Service.AUTHZ, pool_size=10)
    tried = await asyncio.gather(*(attempt(db, NOW) for _ in range(100)))
    assert sum(each.allowed for each in tried) == LIMIT.free


async def test_attempt_that_is_counted_after_a_later_one_need_not_wait(database: TestDatabase) -> None:
    """Requests overtake each other between reading the clock and taking the row."""
    db = database.open(Service.AUTHZ)
    assert (await attempt(db, NOW + timedelta(seconds=1))).allowed
    assert (await attempt(db, NOW)).allowed


async def test_refused_attempt_changes_nothing(database: TestDatabase) -> None:
    """Else whoever keeps knocking keeps the door locked."""
    db = database.open(Service.AUTHZ)
    for _ in range(3):
        await attempt(db, NOW)
    for second in range(10):
        await attempt(db, NOW + timedelta(milliseconds=second))
    assert (await attempt(db, NOW + timedelta(seconds=1))).allowed


async def test_counter_begins_anew_after_its_window(database: TestDatabase) -> None:
    db = database.open(Service.AUTHZ)
    for _ in range(3):
        await attempt(db, NOW)
    later = NOW + LIMIT.window
    assert [(await attempt(db, later)).allowed for _ in range(4)] == [True, True, True, False]
    async with transaction(db) as session:
        assert await locked_until(session, LIMIT, "ann", later) == later + timedelta(seconds=1)
    await forget(db, "authz.throttle", "expires_at <= $1", later + LIMIT.window)
    async with transaction(db) as session:
        assert await locked_until(session, LIMIT, "ann", later) is None


async def test_fixed_window_does_not_slide(database: TestDatabase) -> None:
    db = database.open(Service.AUTHZ)
    limit = Limit("all", 2, timedelta(seconds=1), timedelta(seconds=1), timedelta(minutes=1))
    assert (await attempt(db, NOW, limit)).allowed
    assert (await attempt(db, NOW + timedelta(seconds=59), limit)).allowed
    assert not (await attempt(db, NOW + timedelta(seconds=59, milliseconds=500), limit)).allowed
    assert (await attempt(db, NOW + timedelta(seconds=60), limit)).allowed
    assert (await attempt(db, NOW + timedelta(seconds=60), limit)).allowed


async def test_no_name_and_no_address_is_stored(database: TestDatabase) -> None:
    db = database.open(Service.AUTHZ)
    await attempt(db, NOW, subject="ann@demo.test")
    pool = await db.raw_pool()
    assert "ann" not in await pool.fetchval("SELECT key FROM authz.throttle")


def test_nobody_can_lock_everybody_out() -> None:
    keys = '{"forms": "' + "A" * 43 + '"}'
    limits = limits_of(AuthzSettings.model_validate({"database_url": "postgresql://x/x", "keys": keys}))
    assert limits.everywhere.lock_at is None
    assert limits.address.lock_at is None


# through the form ----------------------------------------------------------------------------------------------------


async def guess(rig: Rig, name: str, password: str = "wrong", address: str | None = None) -> int:
    """The status of one try from a browser that nobody knows."""
    visit = Visit(rig, rig.browser(address), rig.client())
    await visit.start()
    await visit.enter(name, password)
    return visit.browser.page.status


@pytest.mark.row(53)
async def test_hundred_parallel_guesses_verify_five(rig: Rig) -> None:
    user = await rig.person()
    visit = Visit(rig, rig.browser("198.51.100.1"), rig.client())
    await visit.start()
    form = visit.browser.page.form_with("username")
    data = form.filled("sign-in", username=user.username, password="wrong")
    answers = await asyncio.gather(*(visit.browser.client.post(form.action, data=data) for _ in range(100)))
    statuses = [answer.status_code for answer in answers]
    assert statuses.count(400) == 5
    assert statuses.count(429) == 95
    assert all("Retry-After" in answer.headers for answer in answers if answer.status_code == 429)


async def test_unknown_names_are_counted_alike(rig: Rig) -> None:
    names = (await rig.person()).username, "nobody-at-all"
    told = [[await guess(rig, name, address="198.51.100.2") for _ in range(6)] for name in names]
    assert told[0] == told[1] == [400, 400, 400, 400, 400, 429]


async def test_right_password_is_refused_while_strangers_have_to_wait(rig: Rig) -> None:
    """Else the delay would say which guess was right."""
    user = await rig.person()
    for _ in range(5):
        await guess(rig, user.username)
    assert await guess(rig, user.username, PASSWORD) == 429


async def test_address_and_name_share_the_account_counter(rig: Rig) -> None:
    user = await rig.person()
    assert user.email
    for name in (user.username, user.email, user.username, user.email, user.username):
        assert await guess(rig, name) == 400
    assert await guess(rig, user.email) == 429


async def lock(rig: Rig, name: str) -> None:
    """Ten guesses, each after the longest wait: the account is locked."""
    for number in range(10):
        if number >= 5:
            rig.clock.advance(timedelta(minutes=15))
        assert await guess(rig, name) == 400


async def test_locked_account_is_announced_and_opens_by_itself(own_rig: Rig) -> None:
    user = await own_rig.person()
    seed = own_rig.site.installation.seeds[Operator.PROVISION]
    async with connected([own_rig.site.nats.url], seed) as client, expect_events(client, (AccountLocked, user.id)):
        await lock(own_rig, user.username)
    assert await guess(own_rig, user.username, PASSWORD) == 429
    own_rig.clock.advance(timedelta(minutes=16))
    assert await guess(own_rig, user.username, PASSWORD) == 303


async def test_stranger_cannot_lock_a_known_device_out(own_rig: Rig) -> None:
    user = await own_rig.person()
    known = own_rig.browser()
    first = Visit(own_rig, known, own_rig.client())
    await first.start()
    await first.enter(user.username)
    await lock(own_rig, user.username)
    assert await guess(own_rig, user.username, PASSWORD) == 429
    again = Visit(own_rig, known, own_rig.client(), {"prompt": "login"})
    await again.start()
    await again.enter(user.username)
    assert (await again.code()).user_id == user.id


async def test_known_device_is_throttled_by_itself(own_rig: Rig) -> None:
    """And its mark is worth nothing for another account."""
    user, other = await own_rig.person(), await own_rig.person()
    known = own_rig.browser()
    first = Visit(own_rig, known, own_rig.client())
    await first.start()
    await first.enter(user.username)
    for name, expected in ((user.username, [400] * 5 + [429]), (other.username, [400] * 5 + [429])):
        again = Visit(own_rig, known, own_rig.client(), {"prompt": "login"})
        await again.start()
        told = []
        for _ in range(6):
            await again.enter(name, "wrong")
            told.append(known.page.status)
        assert told == expected
    assert await guess(own_rig, user.username, PASSWORD, "198.51.100.3") == 303


async def test_administrator_unlocks_an_account(own_rig: Rig) -> None:
    user = await own_rig.person()
    await lock(own_rig, user.username)
    assert (await call(own_rig, "GET", f"/credentials/{user.id}")).json()["locked_until"]
    assert (await call(own_rig, "DELETE", f"/credentials/{user.id}/lock")).status_code == 204
    assert await guess(own_rig, user.username, PASSWORD) == 303


async def test_new_password_unlocks_an_account(own_rig: Rig) -> None:
    user = await own_rig.person()
    await lock(own_rig, user.username)
    await own_rig.hand_password(user.id)
    # The hand-over is taken when directory's event arrives; a sign-in that is refused by the lock takes nothing.
    async with transaction(own_rig.db()) as session:
        limits = limits_of(AuthzSettings.model_construct())
        await credentials.take_handed_over(session, user.id, limits=limits, feed=own_rig.feed, now=own_rig.clock())
    assert await guess(own_rig, user.username, PASSWORD) == 303


@pytest.mark.parametrize("rotating", [True, False], ids=["one /64", "one IPv4"])
async def test_one_address_cannot_try_many_accounts(
    postgres: Postgres, database_template: Template, tmp_path: Path, rotating: bool
) -> None:
    """better-auth CVE-2026-45364: rotating through a /64 is one address."""
    async with running(postgres, database_template, tmp_path, TestClock(), Canary(), address_attempts="4") as strict:
        told = []
        for number in range(6):
            address = f"2001:db8:1:1::{number:x}" if rotating else "203.0.113.9"
            told.append(await guess(strict, f"nobody-{number}", address=address))
    assert told == [400, 400, 400, 400, 429, 429]


@pytest.mark.row(53)
@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP"])
async def test_stranger_does_not_choose_the_address(own_rig: Rig, header: str) -> None:
    """authentik CVE-2023-36456: only a named proxy is believed."""
    visit = Visit(own_rig, own_rig.browser("203.0.113.7"), own_rig.client())
    await visit.start()
    form = visit.browser.page.form_with("username")
    data = form.filled("sign-in", username=(await own_rig.person()).username, password=PASSWORD)
    await visit.browser.send("POST", form.action, data, {header: "for=10.0.0.1, garbage"})
    row = await own_rig.session((await visit.code()).sid)
    assert row is not None
    assert row.address == "203.0.113.7"
