"""What is claimed once, and what is kept of two."""

import asyncio
import secrets
from datetime import datetime, timedelta

import pytest

from watchword_database import Database, transaction
from watchword_events.names import Service
from watchword_federation import store
from watchword_federation.models import UpstreamFlow
from watchword_federation.store import DocumentKind
from watchword_runtime.clock import utc_now
from watchword_testkit.databases import TestDatabase

NOW = utc_now()


@pytest.fixture
def federation(fetched_nothing: TestDatabase) -> Database:
    return fetched_nothing.open(Service.FEDERATION)


def flow(name: str, expires_at: datetime) -> UpstreamFlow:
    return UpstreamFlow(
        state_hash=secrets.token_bytes(32),
        flow=name,
        binding="b",
        provider_id="acme",
        configuration=b"",
        response_mode="query",
        sealed=b"",
        rev=0,
        created_at=NOW,
        expires_at=expires_at,
    )


async def added(database: Database, *flows: UpstreamFlow) -> None:
    async with transaction(database) as session:
        session.add_all(flows)


async def test_a_flow_is_claimed_by_one_of_fifty(federation: Database) -> None:
    row = flow("f", NOW + timedelta(minutes=10))
    await added(federation, row)

    claims = [store.claim_flow(federation, row.state_hash, now=NOW) for _ in range(50)]
    assert sum(await asyncio.gather(*claims)) == 1


async def test_a_flow_that_is_over_is_claimed_by_nobody(federation: Database) -> None:
    row = flow("f", NOW)
    await added(federation, row)
    assert not await store.claim_flow(federation, row.state_hash, now=NOW)
    assert await store.find_flow(federation, row.state_hash) is not None, "it is still recognised"
    assert not await store.claim_flow(federation, secrets.token_bytes(32), now=NOW)


async def test_of_two_documents_the_one_that_was_asked_for_later_is_kept(federation: Database) -> None:
    url, kind = "https://idp.test/keys", DocumentKind.KEYS
    for age, keys in ((0, "new"), (5, "old")):
        async with transaction(federation) as session:
            asked_at = NOW - timedelta(seconds=age)
            await store.put_document(session, "acme", kind, url, {"keys": keys}, fetched_at=asked_at)
    assert await store.find_document(federation, "acme", kind, url, fresh_since=NOW) == {"keys": "new"}
    assert await store.find_document(federation, "acme", kind, url + "/", fresh_since=NOW) is None
    assert await store.find_document(federation, "acme", DocumentKind.METADATA, url, fresh_since=NOW) is None
    assert await store.find_document(federation, "other", kind, url, fresh_since=NOW) is None
    later = NOW + timedelta(microseconds=1)
    assert await store.find_document(federation, "acme", kind, url, fresh_since=later) is None
    async with transaction(federation) as session:
        await store.drop_documents(session, ["acme"])
    assert await store.find_document(federation, "acme", kind, url, fresh_since=NOW) is None


PERSON, OTHER, SESSION = b"person", b"other", b"session"
# What the provider said ended (subject, session), a sign-in that arrives (subject, session), and whether it is over.
ENDINGS = {
    "the session by its name": ((None, SESSION), (PERSON, SESSION), True),
    "the session by its name and person": ((PERSON, SESSION), (PERSON, SESSION), True),
    "all of the person's": ((PERSON, None), (PERSON, SESSION), True),
    "all of the person's, one without a name": ((PERSON, None), (PERSON, None), True),
    "a named one, and ours has no name": ((PERSON, SESSION), (PERSON, None), True),
    "a named one of nobody in particular, and ours has no name": ((None, SESSION), (PERSON, None), False),
    "another session of the person": ((PERSON, b"another"), (PERSON, SESSION), False),
    "the same name of somebody else": ((OTHER, SESSION), (PERSON, SESSION), False),
    "all of somebody else's": ((OTHER, None), (PERSON, SESSION), False),
}


@pytest.mark.parametrize(("ended", "arriving", "is_over"), ENDINGS.values(), ids=ENDINGS)
async def test_a_session_that_ended_while_its_sign_in_was_on_its_way(
    federation: Database, ended: tuple[bytes | None, bytes | None], arriving: tuple[bytes, bytes | None], is_over: bool
) -> None:
    provider, began = secrets.token_hex(4), NOW - timedelta(seconds=1)
    async with transaction(federation) as session:
        await store.note_ended(session, provider, subject_hash=ended[0], session_hash=ended[1], now=NOW)
    subject_hash, session_hash = arriving

    async def has_ended(provider_id: str, since: datetime) -> bool:
        async with transaction(federation) as session:
            return await store.has_ended(
                session, provider_id, subject_hash=subject_hash, session_hash=session_hash, since=since
            )

    assert await has_ended(provider, began) is is_over
    assert not await has_ended(provider, NOW + timedelta(seconds=1)), "that sign-in began afterwards"
    assert not await has_ended("another", began)


async def test_no_session_begins_while_its_provider_ends_it(federation: Database) -> None:
    """A sign-in that asked first is waited for: whoever ends sessions then sees its row."""
    provider, order = secrets.token_hex(4), list[str]()

    async def end() -> None:
        async with transaction(federation) as session:
            await store.note_ended(session, provider, subject_hash=PERSON, session_hash=None, now=NOW)
            order.append("ended")

    async with transaction(federation) as session:
        assert not await store.has_ended(session, provider, subject_hash=PERSON, session_hash=None, since=NOW)
        ending = asyncio.create_task(end())
        await asyncio.sleep(0.2)
        order.append("began")
    await ending
    assert order == ["began", "ended"]
