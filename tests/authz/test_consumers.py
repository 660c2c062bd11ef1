"""The event edge: what directory says of a user reaches passwords and sessions here."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from tests.authz.conftest import ISSUER, Rig, Visit

from watchword.installation import Operator
from watchword.provision import connected
from watchword_authz import sessions, store
from watchword_authz.exporting import credential_exporter
from watchword_authz.models import Credential
from watchword_database import bus
from watchword_database.engine import transaction
from watchword_events.contracts import (
    SessionEnded,
    SessionStarted,
    UpstreamSessionEnded,
    UserDeleted,
    UserDisabled,
    UserProvisioned,
    UserUpdated,
)
from watchword_events.exports import Exported, UserExport
from watchword_events.names import Service
from watchword_events.revocations import Claim, RevocationKind
from watchword_runtime.internal import ExportQuery
from watchword_testkit.events import expect_events


async def until(condition: Callable[[], Awaitable[Any]], within_s: float = 30.0) -> None:
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
    await rig.publish(UserProvisioned(id=user.id, version=1, claims_version=1, origin="api"))
    await until(lambda: has_password(rig, user.id))


async def test_a_password_is_seen_all_the_while_it_is_taken(rig: Rig) -> None:
    """directory refuses to unlink the last way in, so a password on its way between two tables has to count."""
    export = credential_exporter(rig.db(), True, rig.clock)
    for _ in range(20):
        user = await rig.person()
        await rig.publish(UserProvisioned(id=user.id, version=1, claims_version=1, origin="api"))
        stored = False
        while not stored:
            stored = await has_password(rig, user.id)
            page = await export(ExportQuery(ids=(user.id,)))
            assert page[0].data.has_password


async def test_sessions_of_a_disabled_user_are_closed_and_said_to_be(rig: Rig) -> None:
    user = await rig.person()
    _, sid = await signed_in(rig, user)
    rig.owners.users[user.id] = Exported(id=user.id, version=2, data=user.model_copy(update={"active": False}))
    seed = rig.site.installation.seeds[Operator.PROVISION]
    async with connected([rig.site.nats.url], seed) as client, expect_events(client, (SessionEnded, sid)) as seen:
        await rig.publish(UserDisabled(id=user.id, version=2, claims_version=2))
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


@pytest.mark.row(61)
async def test_forged_event_changes_nothing(rig: Rig) -> None:
    """It only says where to look, and directory says that the user is active."""
    user = await rig.person()
    visit, sid = await signed_in(rig, user)
    witness = await rig.person()
    await rig.publish(UserDisabled(id=user.id, version=99, claims_version=99))
    await rig.publish(UserProvisioned(id=witness.id, version=1, claims_version=1, origin="api"))
    await rig.until_heard(Service.DIRECTORY, "user")
    assert await has_password(rig, witness.id)
    assert not await has_ended(rig, sid)
    silent = Visit(rig, visit.browser, rig.client(), {"prompt": "none"})
    await silent.start()
    assert (await silent.code()).user_id == user.id


async def test_nothing_is_left_of_a_deleted_users_password(rig: Rig) -> None:
    user = await rig.person()
    _, sid = await signed_in(rig, user)
    assert await has_password(rig, user.id)
    rig.owners.users[user.id] = Exported(id=user.id, version=2, deleted=True)
    await rig.publish(UserDeleted(id=user.id, version=2, claims_version=2))
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
    await rig.publish(UserUpdated(id=user.id, version=2, claims_version=1))
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


async def coming(rig: Rig, upstream_session: str) -> tuple[Visit, str, str]:
    """Somebody whom a provider has authenticated, with the ticket in hand; and the provider."""
    provider = rig.provider()
    await rig.know_provider(provider)
    visit = Visit(rig, rig.browser(), rig.client())
    await visit.start()
    ticket = await visit.signed_in_ticket(rig.user(), provider, upstream_session=upstream_session)
    return visit, ticket, provider.id


async def end_there(rig: Rig, provider_id: str, upstream_session: str) -> list[int]:
    """What is done when federation says that the provider ended a session."""
    async with transaction(rig.db()) as session:
        return await sessions.end_upstream(session, provider_id, [upstream_session], feed=rig.feed, now=rig.clock())


@pytest.mark.spec("OpenID Connect Back-Channel Logout 2.5")
async def test_a_session_that_ended_there_before_it_began_here_never_begins(rig: Rig) -> None:
    name = f"up-{secrets.token_hex(6)}"
    visit, ticket, provider_id = await coming(rig, name)
    await rig.publish(UpstreamSessionEnded(id=name, version=1, provider_id=provider_id))

    async def is_noted() -> bool:
        async with transaction(rig.db()) as session:
            fresh = await bus.spend(session, purpose="upstream-session", key=name, expires_at=rig.clock())
            await session.rollback()
            return not fresh

    await until(is_noted)
    page = await visit.browser.open(f"{ISSUER}/login/complete?ticket={ticket}")
    assert (page.status, page.error_code) == (403, "session_ended")
    await visit.start()
    assert visit.browser.page.has("username"), "nobody is signed in"


async def test_whoever_comes_first_no_session_outlives_the_one_there(rig: Rig) -> None:
    """The sign-in and the end of the provider's session, at the same moment."""
    outcomes = set()
    for _ in range(8):
        name = f"up-{secrets.token_hex(6)}"
        visit, ticket, provider_id = await coming(rig, name)
        page, _ = await asyncio.gather(
            visit.browser.open(f"{ISSUER}/login/complete?ticket={ticket}"), end_there(rig, provider_id, name)
        )
        outcomes.add(page.error_code)
        async with transaction(rig.db()) as session:
            assert await store.sids_from(session, provider_id, [name]) == []
    assert outcomes <= {"session_ended", ""}
