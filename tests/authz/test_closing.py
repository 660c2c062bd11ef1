"""What the ledger ended is over in the table, too, and said to be; what it spared goes on."""

import asyncio
from datetime import datetime, timedelta

import pytest
from tests.authz.conftest import Rig, Visit
from tests.authz.test_consumers import has_ended, until

from watchword.installation import Operator
from watchword.provision import connected
from watchword_authz.closing import AGAIN_AFTER, Closing
from watchword_database import bus
from watchword_database.engine import transaction
from watchword_events.contracts import SessionEnded
from watchword_events.handovers import Code
from watchword_events.names import Service
from watchword_events.revocations import Claim, RevocationKind
from watchword_testkit.events import expect_events

CUT, STATE, LIFT = RevocationKind.CUT, RevocationKind.STATE, RevocationKind.LIFT


async def revoke(
    rig: Rig, owner: Service, claim: Claim, value: str, kind: RevocationKind, issued_before: datetime | None = None
) -> None:
    """The entry of somebody who knows no session, applied here."""
    end = rig.clock() + timedelta(days=1)
    async with transaction(rig.db(owner)) as session:
        entry = await bus.revoke(
            session,
            claim=claim,
            value=value,
            kind=kind,
            reason="test",
            until=end,
            keep_until=end,
            issued_before=issued_before,
        )
    assert await rig.feed.settle([entry], timeout=20.0)


async def signed_in(rig: Rig) -> Code:
    """Somebody signed in through a provider."""
    visit = Visit(rig, rig.browser(), rig.client())
    await visit.start()
    ticket = await visit.signed_in_ticket(rig.user(), rig.provider())
    await visit.browser.open(f"/login/complete?ticket={ticket}")
    return await visit.code()


async def looked(rig: Rig) -> None:
    """An instance that has just started has looked at everything."""
    await Closing(rig.db(), feed=rig.feed, now=rig.clock).once()


async def own_entries(rig: Rig, sid: str) -> int:
    """How many entries the ledger holds for the session alone."""
    found = await rig.db().ask("SELECT count(*) FROM bus.revocations WHERE claim = 'sid' AND value = $1", sid)
    return int(found)


def of(claim: Claim, code: Code) -> str:
    """What an entry of this claim names of a session."""
    return {Claim.SID: code.sid, Claim.SUB: code.user_id, Claim.IDP: code.idp or "", Claim.ALL: ""}[claim]


@pytest.mark.parametrize(
    ("owner", "claim", "kind", "reason"),
    [
        pytest.param(Service.TOKEN, Claim.SUB, CUT, "everywhere", id="a person, by hand"),
        pytest.param(Service.DIRECTORY, Claim.SUB, CUT, "everywhere", id="a person, by directory"),
        pytest.param(Service.DIRECTORY, Claim.SUB, LIFT, "everywhere", id="a person who was enabled again"),
        pytest.param(Service.DIRECTORY, Claim.SUB, STATE, "user-disabled", id="a person who was disabled"),
        pytest.param(Service.TOKEN, Claim.IDP, CUT, "administrator", id="a provider, by hand"),
        pytest.param(Service.ADMIN, Claim.IDP, STATE, "administrator", id="a provider that is not trusted"),
    ],
)
async def test_what_an_entry_of_others_ended_is_said_to_be_over(
    rig: Rig, owner: Service, claim: Claim, kind: RevocationKind, reason: str
) -> None:
    code, bystander = await signed_in(rig), await signed_in(rig)
    seed = rig.site.installation.seeds[Operator.PROVISION]
    async with connected([rig.site.nats.url], seed) as client, expect_events(client, (SessionEnded, code.sid)) as seen:
        await revoke(rig, owner, claim, of(claim, code), kind)
    ended = seen.of("session.ended")[0].event
    assert ended == SessionEnded(id=code.sid, version=2, user_id=code.user_id, reason=reason)
    assert await own_entries(rig, code.sid) == 0, "the ledger says it already"
    assert not await has_ended(rig, bystander.sid)


async def test_a_session_that_is_ended_by_hand_is_said_to_be_over(rig: Rig) -> None:
    code, bystander = await signed_in(rig), await signed_in(rig)
    await revoke(rig, Service.TOKEN, Claim.SID, code.sid, CUT)
    await until(lambda: has_ended(rig, code.sid))
    assert await own_entries(rig, code.sid) == 1
    assert not await has_ended(rig, bystander.sid)


async def test_everything_is_over_however_much_it_is(own_rig: Rig) -> None:
    first = await signed_in(own_rig)
    await own_rig.app.stop()
    pool = await own_rig.db().raw_pool()
    await pool.execute(
        "INSERT INTO authz.session (id, version, secret_hash, user_id, auth_time, amr, rev, address, user_agent,"
        " created_at, seen_at, ends_at, expires_at, is_remembered)"
        " SELECT 'many-' || n, 1, decode(lpad(to_hex(n), 64, '0'), 'hex'), 'user-' || n, $1, '{pwd}', $2, '', '',"
        " $1, $1, $3, $3, false FROM generate_series(1, 450) AS n",
        own_rig.clock(),
        first.rev,
        own_rig.clock() + timedelta(days=7),
    )
    await revoke(own_rig, Service.TOKEN, Claim.ALL, "", CUT)
    is_open = "SELECT count(*) FROM authz.session WHERE ended_at IS NULL"
    assert await own_rig.db().ask(is_open) == 451
    await looked(own_rig)
    assert await own_rig.db().ask(is_open) == 0
    assert await own_rig.db().ask("SELECT count(*) FROM authz.outbox WHERE type = 'session.ended'") == 451


async def test_who_signed_in_since_then_stays_signed_in(rig: Rig) -> None:
    before = await signed_in(rig)
    assert before.idp is not None
    await revoke(rig, Service.TOKEN, Claim.IDP, before.idp, CUT)
    visit = Visit(rig, rig.browser(), rig.client())
    await visit.start()
    provider = rig.owners.providers[before.idp].data
    assert provider is not None
    ticket = await visit.signed_in_ticket(rig.user(), provider)
    await visit.browser.open(f"/login/complete?ticket={ticket}")
    after = await visit.code()
    await looked(rig)
    assert await has_ended(rig, before.sid)
    assert not await has_ended(rig, after.sid)


async def test_of_a_cut_that_is_narrowed_by_time_only_what_is_older_is_over(own_rig: Rig) -> None:
    """What was made of such a session after that time is not older, so the session gets an entry of its own."""
    older = await signed_in(own_rig)
    own_rig.clock.advance(timedelta(hours=1))
    younger, before = await signed_in(own_rig), own_rig.clock() - timedelta(minutes=30)
    token = {"sid": older.sid, "sub": older.user_id, "rev": older.rev, "iat": own_rig.clock().timestamp()}
    await revoke(own_rig, Service.TOKEN, Claim.ALL, "", CUT, before)
    await until(lambda: has_ended(own_rig, older.sid))
    await looked(own_rig)
    assert await own_entries(own_rig, older.sid) == 1
    assert not own_rig.feed.is_live(token)
    assert not await has_ended(own_rig, younger.sid)


async def test_what_ended_while_nobody_was_there_is_said_by_who_starts(own_rig: Rig) -> None:
    code, bystander = await signed_in(own_rig), await signed_in(own_rig)
    await own_rig.app.stop()
    await revoke(own_rig, Service.DIRECTORY, Claim.SUB, code.user_id, CUT)
    assert not await has_ended(own_rig, code.sid)
    await looked(own_rig)
    assert await has_ended(own_rig, code.sid)
    assert not await has_ended(own_rig, bystander.sid)
    told = "SELECT body->>'reason' FROM authz.outbox WHERE type = 'session.ended' AND aggregate_id = $1"
    assert await own_rig.db().ask(told, code.sid) == "everywhere"


async def test_several_instances_end_a_session_once(own_rig: Rig) -> None:
    codes = [await signed_in(own_rig) for _ in range(4)]
    await own_rig.app.stop()
    for code in codes:
        await revoke(own_rig, Service.DIRECTORY, Claim.SUB, code.user_id, CUT)
    await asyncio.gather(*(looked(own_rig) for _ in range(6)))
    rows = [await own_rig.session(code.sid) for code in codes]
    assert [(row.version, row.end_reason) for row in rows if row is not None] == [(2, "everywhere")] * 4
    assert await own_rig.db().ask("SELECT count(*) FROM authz.outbox WHERE type = 'session.ended'") == 4


async def test_a_sign_in_that_was_on_its_way_when_everybody_looked_is_found_later(own_rig: Rig) -> None:
    """It had noted its position before the entry, and its transaction was long."""
    code = await signed_in(own_rig)
    other = await signed_in(own_rig)
    await own_rig.app.stop()
    pool = await own_rig.db().raw_pool()
    closing = Closing(own_rig.db(), feed=own_rig.feed, now=own_rig.clock)
    await pool.execute("UPDATE authz.session SET ended_at = now() WHERE id = $1", code.sid)  # nobody sees it yet
    await closing.once()
    for each in (code, other):
        await revoke(own_rig, Service.DIRECTORY, Claim.SUB, each.user_id, CUT)
    await closing.once()
    assert await has_ended(own_rig, other.sid)
    await pool.execute("UPDATE authz.session SET ended_at = NULL WHERE id = $1", code.sid)
    await closing.once()
    assert not await has_ended(own_rig, code.sid)
    for _ in range(2):
        own_rig.clock.advance(AGAIN_AFTER)
        await closing.once()
    assert await has_ended(own_rig, code.sid)


async def test_nobody_is_over_for_who_cannot_know(own_rig: Rig) -> None:
    """An instance that does not follow the ledger takes nobody for live: that ends no session."""
    codes = [await signed_in(own_rig) for _ in range(2)]
    await own_rig.app.stop()
    await revoke(own_rig, Service.DIRECTORY, Claim.SUB, codes[0].user_id, CUT)
    await own_rig.feed.stop()
    await looked(own_rig)
    assert [await has_ended(own_rig, code.sid) for code in codes] == [False, False]
