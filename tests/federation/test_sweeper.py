"""What is over leaves, whether or not anybody signs in; what directory refused is told."""

import asyncio
import secrets
from collections import Counter
from datetime import timedelta

from tests.federation.test_store import NOW, added, flow

from watchword_database import bus, transaction
from watchword_events.handovers import IdentityRefused, UpstreamStart
from watchword_events.names import Service
from watchword_federation import store
from watchword_federation.attempts import KEPT_OF_EACH, Trail, record
from watchword_federation.failures import Failure
from watchword_federation.models import UpstreamTokens
from watchword_federation.sweeper import sweep
from watchword_testkit.databases import TestDatabase


async def test_what_is_long_over_is_swept_and_the_rest_stays(fetched_nothing: TestDatabase) -> None:
    federation = fetched_nothing.open(Service.FEDERATION)
    old, late = flow("old", NOW - store.KEEP_FLOWS * 2), flow("late", NOW - timedelta(minutes=1))
    await added(federation, old, late)
    tickets = []
    for age in (timedelta(hours=2), timedelta()):
        async with transaction(fetched_nothing.open(Service.AUTHZ)) as session:
            payload = UpstreamStart(provider_id="acme", binding="b")
            tickets.append(await bus.hand_over(session, payload, flow="f", now=NOW - age))
    await sweep(federation, now=NOW)
    assert await store.find_flow(federation, old.state_hash) is None
    assert await store.find_flow(federation, late.state_hash) is not None
    assert [await bus.look(federation, UpstreamStart, ticket) is not None for ticket in tickets] == [False, True]


async def test_what_directory_refused_is_told_once_without_anybody_signing_in(fetched_nothing: TestDatabase) -> None:
    federation, reference = fetched_nothing.open(Service.FEDERATION), secrets.token_hex(4)
    refused = IdentityRefused(provider_id="acme", reference=reference, failure="account_not_linked", detail="why")
    async with transaction(fetched_nothing.open(Service.DIRECTORY)) as session:
        await bus.hand_over(session, refused, flow=IdentityRefused.FLOW, now=NOW, ttl=timedelta(days=30))
    await asyncio.gather(*[sweep(federation, now=NOW) for _ in range(3)])
    async with transaction(federation) as session:
        found = await store.list_attempts(session, provider_id=None, reference=reference, before="", limit=5)
    (attempt,) = found
    assert (attempt.provider_id, attempt.failure, attempt.at) == ("acme", "account_not_linked", NOW)
    assert attempt.steps == [{"step": "refused", "detail": "why", "after_ms": 0.0}]


async def test_noise_of_strangers_displaces_no_attempt_that_got_further(fetched_nothing: TestDatabase) -> None:
    """Anybody can send answers that belong to no sign-in, as many as they like; only a real one fails later."""
    federation, provider = fetched_nothing.open(Service.FEDERATION), f"acme-{secrets.token_hex(4)}"

    async def fail(failure: Failure, count: int = 1) -> None:
        for _ in range(count):
            trail = Trail()
            trail.step("refused", "why")
            await record(federation, trail, provider_id=provider, reference="r", failure=failure.value, now=NOW)

    await fail(Failure.GROUPS_OVERAGE, 2)
    await fail(Failure.STATE_MISMATCH, KEPT_OF_EACH + 20)
    async with transaction(federation) as session:
        found = await store.list_attempts(session, provider_id=provider, reference=None, before="", limit=1000)
    kept = Counter(each.failure for each in found)
    assert kept == {Failure.STATE_MISMATCH: KEPT_OF_EACH, Failure.GROUPS_OVERAGE: 2}


async def test_tokens_that_leave_by_age_say_so(fetched_nothing: TestDatabase) -> None:
    federation, link, user = fetched_nothing.open(Service.FEDERATION), secrets.token_hex(8), secrets.token_hex(8)
    async with transaction(federation) as session:
        for owner, until in ((link, NOW - timedelta(days=1)), (None, NOW - timedelta(days=1)), ("kept", NOW)):
            session.add(
                UpstreamTokens(
                    identity=secrets.token_bytes(32),
                    provider_id="acme",
                    subject_hash=b"s",
                    link_id=owner,
                    user_id=None if owner is None else user,
                    sealed=b"",
                    is_offline=True,
                    rev=0,
                    kept_at=NOW - timedelta(days=91),
                    keep_until=until,
                )
            )
    await sweep(federation, now=NOW)
    async with fetched_nothing.postgres.admin(fetched_nothing.name) as connection:
        kept = await connection.fetch("SELECT link_id FROM federation.upstream_tokens WHERE provider_id = 'acme'")
        said = await connection.fetch(
            "SELECT aggregate_id, body->>'reason' FROM federation.outbox WHERE type = 'upstream_tokens.dropped'"
        )
    assert [row["link_id"] for row in kept] == ["kept"]
    assert [tuple(row) for row in said] == [(link, "expired")]
