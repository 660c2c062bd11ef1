"""Something ends while a sign-in finishes: it has looked at everything, and its grant is not written yet."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from tests.authz.conftest import Rig, Visit, held, waiting_or_done

from watchword_authz import sessions
from watchword_authz.models import EndReason
from watchword_database import bus
from watchword_database.engine import transaction
from watchword_events.handovers import Code
from watchword_events.names import Service
from watchword_events.revocations import Claim, RevocationKind


async def _state(rig: Rig, owner: Service, claim: Claim, value: str) -> None:
    """The owner's entry in the ledger, which everything that ends there writes with its own change."""
    end = rig.clock() + timedelta(days=1)
    async with transaction(rig.db(owner)) as session:
        entry = await bus.revoke(
            session, claim=claim, value=value, kind=RevocationKind.STATE, reason="test", until=end, keep_until=end
        )
    assert await rig.feed.settle([entry], timeout=20.0)


async def _user_disabled(rig: Rig, code: Code) -> None:
    await _state(rig, Service.DIRECTORY, Claim.SUB, code.user_id)


async def _client_disabled(rig: Rig, code: Code) -> None:
    await _state(rig, Service.ADMIN, Claim.CLIENT_ID, code.client_id)


async def _provider_distrusted(rig: Rig, code: Code) -> None:
    assert code.idp is not None
    await _state(rig, Service.ADMIN, Claim.IDP, code.idp)


async def _session_ended(rig: Rig, code: Code) -> None:
    async with transaction(rig.db()) as session:
        entries = await sessions.end(session, [code.sid], EndReason.ADMINISTRATOR, feed=rig.feed, now=rig.clock())
    assert entries
    assert await rig.feed.settle(entries, timeout=20.0)


async def _signed_out_everywhere(rig: Rig, code: Code) -> None:
    async with transaction(rig.db()) as session:
        entries = await sessions.end_all(session, code.user_id, EndReason.EVERYWHERE, feed=rig.feed, now=rig.clock())
    assert entries
    assert await rig.feed.settle(entries, timeout=20.0)


@pytest.mark.parametrize(
    "end", [_user_disabled, _client_disabled, _provider_distrusted, _session_ended, _signed_out_everywhere]
)
async def test_what_is_granted_while_it_ends_is_dead(rig: Rig, end: Callable[[Rig, Code], Awaitable[None]]) -> None:
    """The grant carries the position from before everything was looked at: what ended since then ends it."""
    user, provider, client = rig.user(), rig.provider(), rig.client()
    first = Visit(rig, rig.browser(), client)
    await first.start()
    ticket = await first.signed_in_ticket(user, provider)
    await first.browser.open(f"/login/complete?ticket={ticket}")
    before = await first.code()
    again = Visit(rig, first.browser, client)
    async with held(rig, "LOCK TABLE bus.handover IN SHARE MODE"):
        asking = asyncio.create_task(again.start())
        await waiting_or_done(rig, asking)
        assert not asking.done()
        await end(rig, before)
    await asking
    code = await again.code()
    assert code.gid != before.gid
    # As `token` asks before it makes anything of a code.
    source = {"sub": code.user_id, "client_id": code.client_id, "sid": code.sid, "gid": code.gid, "idp": code.idp}
    assert not rig.feed.is_live({**source, "rev": code.rev, "iat": code.auth_time.timestamp()})
