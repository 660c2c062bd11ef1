"""What time ends: idle and absolute lifetimes, and rows that decide nothing any more."""

import asyncio
from datetime import timedelta

from tests.authz.conftest import Rig, Visit

from watchword.installation import Operator
from watchword.provision import connected
from watchword_authz.sweeper import sweep
from watchword_events.contracts import SessionEnded
from watchword_testkit.events import expect_events


async def signed_in(rig: Rig) -> tuple[Visit, str]:
    """A sign-in and its sid."""
    visit = Visit(rig, rig.browser(), rig.client())
    await visit.start()
    await visit.enter((await rig.person()).username)
    return visit, (await visit.code()).sid


async def is_signed_in(rig: Rig, visit: Visit) -> bool:
    """Whether the browser still gets codes silently."""
    silent = Visit(rig, visit.browser, rig.client(), {"prompt": "none"})
    await silent.start()
    return "code" in silent.answer


async def test_session_ends_when_it_is_not_used(own_rig: Rig) -> None:
    """Before the sweeper saw it (expiry stands in the query), and for everyone after."""
    visit, sid = await signed_in(own_rig)
    own_rig.clock.advance(timedelta(hours=23))
    assert await is_signed_in(own_rig, visit)
    own_rig.clock.advance(timedelta(hours=23))
    assert await is_signed_in(own_rig, visit)
    own_rig.clock.advance(timedelta(hours=25))
    assert not await is_signed_in(own_rig, visit)
    rev = own_rig.feed.position
    seed = own_rig.site.installation.seeds[Operator.PROVISION]
    async with (
        connected([own_rig.site.nats.url], seed) as client,
        expect_events(client, (SessionEnded, sid)) as seen,
    ):
        await sweep(own_rig.db(), feed=own_rig.feed, now=own_rig.clock())
    ended = seen.of("session.ended")[0].event
    assert isinstance(ended, SessionEnded)
    assert ended.reason == "idle"
    assert not own_rig.feed.is_live({"rev": rev, "sid": sid})


async def test_session_ends_however_much_it_is_used(own_rig: Rig) -> None:
    visit, sid = await signed_in(own_rig)
    for _ in range(7):
        assert await is_signed_in(own_rig, visit)
        own_rig.clock.advance(timedelta(hours=23, minutes=50))
    assert await is_signed_in(own_rig, visit)
    own_rig.clock.advance(timedelta(hours=1, minutes=20))
    assert not await is_signed_in(own_rig, visit)
    await sweep(own_rig.db(), feed=own_rig.feed, now=own_rig.clock())
    row = await own_rig.session(sid)
    assert row is not None
    assert row.end_reason == "expired"


async def test_many_sweepers_end_a_session_once(own_rig: Rig) -> None:
    for _ in range(3):
        await signed_in(own_rig)
    own_rig.clock.advance(timedelta(hours=25))
    ended = await asyncio.gather(*(sweep(own_rig.db(), feed=own_rig.feed, now=own_rig.clock()) for _ in range(6)))
    pool = await own_rig.db().raw_pool()
    entries = await pool.fetchval("SELECT count(*) FROM bus.revocations WHERE claim = 'sid'")
    # The instance's own sweeper may have been first for some of them.
    assert sum(ended) <= 3
    assert entries == 3


async def test_rows_that_decide_nothing_are_deleted(own_rig: Rig) -> None:
    visit, sid = await signed_in(own_rig)
    abandoned = Visit(own_rig, own_rig.browser(), visit.client)
    await abandoned.start()
    await abandoned.enter("nobody", "wrong")
    own_rig.clock.advance(timedelta(hours=25))
    await sweep(own_rig.db(), feed=own_rig.feed, now=own_rig.clock())
    own_rig.clock.advance(timedelta(days=31))
    await sweep(own_rig.db(), feed=own_rig.feed, now=own_rig.clock())
    assert await own_rig.session(sid) is None
    pool = await own_rig.db().raw_pool()
    for table in ("flow", "throttle", "issued_grant", "session"):
        assert await pool.fetchval(f"SELECT count(*) FROM authz.{table}") == 0, table
