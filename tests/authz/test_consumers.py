"""The event edge: what directory says of a user reaches passwords and sessions here."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from tests.authz.conftest import Rig, Visit

from watchword.installation import Operator
from watchword.provision import connected
from watchword_authz.consumers import listen
from watchword_authz.models import Credential
from watchword_database import bus
from watchword_database.engine import transaction
from watchword_events.catalogue import row_of
from watchword_events.contracts import (
    Event,
    SessionEnded,
    SessionStarted,
    UserDeleted,
    UserDisabled,
    UserProvisioned,
    UserUpdated,
)
from watchword_events.envelope import headers_of
from watchword_events.exports import Exported, UserExport
from watchword_events.names import Service
from watchword_events.revocations import Claim, RevocationKind
from watchword_testkit.events import expect_events


async def publish(rig: Rig, event: Event) -> None:
    """The event as an owner's relay publishes it."""
    async with connected([rig.site.nats.url], rig.site.installation.seeds[Operator.PROVISION]) as client:
        headers = headers_of(
            row_of(event), event_id=str(uuid4()), aggregate_id=event.id, version=event.version, at=rig.clock()
        )
        await client.jetstream().publish(event.subject(), event.model_dump_json().encode(), headers=headers)


async def until(condition: Callable[[], Awaitable[Any]], within_s: float = 8.0) -> None:
    """Returns when the condition holds. Raises TimeoutError."""
    async with asyncio.timeout(within_s):
        while not await condition():
            await asyncio.sleep(0.02)


async def signed_in(rig: Rig, user: UserExport) -> tuple[Visit, str]:
    """A sign-in of the user, and its sid."""
    visit = Visit(rig, rig.browser(), rig.client())
    await visit.start()
    await visit.enter(user.username)
    return visit, (await visit.code()).sid


async def has_password(rig: Rig, user_id: str) -> bool:
    """Whether a credential is stored."""
    async with transaction(rig.db()) as session:
        return await session.get(Credential, user_id) is not None


async def has_ended(rig: Rig, sid: str) -> bool:
    """Whether the session's row says that it is over."""
    row = await rig.session(sid)
    return row is not None and row.ended_at is not None


async def test_password_is_taken_when_the_user_is_heard_of(rig: Rig) -> None:
    user = await rig.person()
    await publish(rig, UserProvisioned(id=user.id, version=1, claims_version=1, origin="api"))
    await until(lambda: has_password(rig, user.id))


async def test_sessions_of_a_disabled_user_are_closed_and_said_to_be(rig: Rig) -> None:
    user = await rig.person()
    _, sid = await signed_in(rig, user)
    rig.owners.users[user.id] = Exported(id=user.id, version=2, data=user.model_copy(update={"active": False}))
    seed = rig.site.installation.seeds[Operator.PROVISION]
    async with connected([rig.site.nats.url], seed) as client, expect_events(client, (SessionEnded, sid)) as seen:
        await publish(rig, UserDisabled(id=user.id, version=2, claims_version=2))
    ended = seen.of("session.ended")[0]
    assert ended.event == SessionEnded(id=sid, version=2, user_id=user.id, reason="user-disabled")
    assert await has_ended(rig, sid)
    assert user.username not in ended.body


async def test_disabled_user_is_out_before_any_event_arrives(rig: Rig) -> None:
    """directory's ledger entry alone; the copy and the consumers know nothing yet."""
    user = await rig.person()
    visit, _ = await signed_in(rig, user)
    until_ = rig.clock() + timedelta(days=1)
    async with transaction(rig.db(Service.DIRECTORY)) as session:
        entry = await bus.revoke(
            session,
            claim=Claim.SUB,
            value=user.id,
            kind=RevocationKind.STATE,
            reason="user.disabled",
            until=until_,
            keep_until=until_,
        )
    assert await rig.feed.settle([entry])
    silent = Visit(rig, visit.browser, rig.client(), {"prompt": "none"})
    await silent.start()
    assert silent.answer["error"] == "login_required"


async def test_disabled_client_is_refused_before_any_event_arrives(rig: Rig) -> None:
    visit = Visit(rig, rig.browser(), rig.client())
    await visit.start()
    until_ = rig.clock() + timedelta(days=1)
    async with transaction(rig.db(Service.ADMIN)) as session:
        entry = await bus.revoke(
            session,
            claim=Claim.CLIENT_ID,
            value=visit.client.client_id,
            kind=RevocationKind.STATE,
            reason="client.disabled",
            until=until_,
            keep_until=until_,
        )
    assert await rig.feed.settle([entry])
    await visit.enter((await rig.person()).username)
    assert visit.browser.page.error_code == "flow_over"
    again = Visit(rig, rig.browser(), visit.client)
    await again.start()
    assert again.browser.page.error_code == "client_disabled"


async def test_forged_event_changes_nothing(rig: Rig) -> None:
    """It only says where to look, and directory says that the user is active."""
    user = await rig.person()
    visit, sid = await signed_in(rig, user)
    witness = await rig.person()
    await publish(rig, UserDisabled(id=user.id, version=99, claims_version=99))
    await publish(rig, UserProvisioned(id=witness.id, version=1, claims_version=1, origin="api"))
    await until(lambda: has_password(rig, witness.id))
    await asyncio.sleep(0.2)
    assert not await has_ended(rig, sid)
    silent = Visit(rig, visit.browser, rig.client(), {"prompt": "none"})
    await silent.start()
    assert (await silent.code()).user_id == user.id


async def test_nothing_is_left_of_a_deleted_users_password(rig: Rig) -> None:
    user = await rig.person()
    _, sid = await signed_in(rig, user)
    assert await has_password(rig, user.id)
    rig.owners.users[user.id] = Exported(id=user.id, version=2, deleted=True)
    await publish(rig, UserDeleted(id=user.id, version=2, claims_version=2))
    await until(lambda: has_ended(rig, sid))

    async def is_gone() -> bool:
        return not await has_password(rig, user.id)

    await until(is_gone)


async def test_replaced_password_ends_sessions_and_offline_grants(rig: Rig) -> None:
    user = await rig.person()
    visit = Visit(rig, rig.browser(), rig.client(), {"scope": "openid offline_access"})
    await visit.start()
    await visit.enter(user.username)
    code = await visit.code()
    rev = rig.feed.position
    await rig.hand_password(user.id)
    await publish(rig, UserUpdated(id=user.id, version=2, claims_version=1))
    await until(lambda: has_ended(rig, code.sid))
    assert not rig.feed.is_live({"rev": rev, "sid": code.sid})
    assert not rig.feed.is_live({"rev": rev, "gid": code.gid})


async def test_session_is_announced_when_it_starts(rig: Rig) -> None:
    user = await rig.person()
    seed = rig.site.installation.seeds[Operator.PROVISION]
    async with connected([rig.site.nats.url], seed) as client, expect_events(client, SessionStarted) as seen:
        _, sid = await signed_in(rig, user)
    mine = [each.event for each in seen.of("session.started") if each.id == sid]
    assert mine == [SessionStarted(id=sid, version=1, user_id=user.id, provider_id=None, amr=("pwd",))]


def test_an_entity_without_a_handler_stops_the_start() -> None:
    class _Broker:
        def work(self, *_args: object) -> None:
            """Takes everything."""

    with pytest.raises(KeyError):
        listen(_Broker(), {})  # type: ignore[arg-type]  # only `work` is called
