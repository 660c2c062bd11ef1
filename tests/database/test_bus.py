"""The shared schema: who may write, read and take what, and what happens exactly once."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from watchword_database import Database, bus, transaction
from watchword_database.forgetting import forget
from watchword_events.handovers import PAYLOADS, Payload, ProveAccount, SetPassword, UpstreamStart
from watchword_events.names import Service
from watchword_events.revocations import Claim, RevocationKind

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
START = UpstreamStart(provider_id="Okta", binding="b" * 64)
Databases = dict[Service, Database]


async def hand_over(databases: Databases, *, flow: str = "f-1", now: datetime = NOW) -> str:
    async with transaction(databases[Service.AUTHZ]) as session:
        return await bus.hand_over(session, START, flow=flow, now=now)


async def test_ticket_is_taken_by_its_receiver_once(databases: Databases) -> None:
    ticket = await hand_over(databases)
    async with transaction(databases[Service.FEDERATION]) as session:
        taken = await bus.take(session, UpstreamStart, ticket, now=NOW + timedelta(seconds=59))
    assert taken is not None
    assert (taken.payload, taken.flow) == (START, "f-1")
    async with transaction(databases[Service.FEDERATION]) as session:
        assert await bus.take(session, UpstreamStart, ticket, now=NOW) is None
        seen = await bus.peek(session, UpstreamStart, ticket)
    assert seen is not None
    assert seen.taken_at == NOW + timedelta(seconds=59)


async def test_a_receiver_of_the_release_before_sees_only_what_says_something(databases: Databases) -> None:
    """It refuses members that it does not know: a new one must not stand in every payload."""
    ticket = await hand_over(databases)
    async with transaction(databases[Service.FEDERATION]) as session:
        connection = await session.connection()
        found = await connection.execute(
            text("SELECT payload FROM bus.handover WHERE ticket_hash = :hash"), {"hash": bus.ticket_hash(ticket)}
        )
        assert found.scalar_one() == {"provider_id": "Okta", "binding": "b" * 64}


@pytest.mark.row(63)
async def test_of_50_parallel_takers_exactly_one_succeeds(databases: Databases) -> None:
    ticket = await hand_over(databases)

    async def take() -> bool:
        async with transaction(databases[Service.FEDERATION]) as session:
            return await bus.take(session, UpstreamStart, ticket, now=NOW) is not None

    assert sum(await asyncio.gather(*[take() for _ in range(50)])) == 1


@pytest.mark.parametrize("service", [s for s in Service if s is not Service.FEDERATION])
async def test_ticket_is_nothing_for_anybody_else(databases: Databases, service: Service) -> None:
    ticket = await hand_over(databases)
    async with transaction(databases[service]) as session:
        assert await bus.take(session, UpstreamStart, ticket, now=NOW) is None
        assert await bus.peek(session, UpstreamStart, ticket) is None
    async with transaction(databases[Service.FEDERATION]) as session:
        assert await bus.take(session, UpstreamStart, ticket, now=NOW) is not None


async def test_ticket_of_one_kind_is_nothing_for_another(databases: Databases) -> None:
    ticket = await hand_over(databases)
    async with transaction(databases[Service.FEDERATION]) as session:
        assert await bus.take(session, ProveAccount, ticket, now=NOW) is None


@pytest.mark.row(63)
async def test_expired_ticket_is_refused_before_any_sweep(databases: Databases) -> None:
    ticket = await hand_over(databases)
    async with transaction(databases[Service.FEDERATION]) as session:
        assert await bus.take(session, UpstreamStart, ticket, now=NOW + timedelta(seconds=60)) is None


async def test_by_plain_statements_it_is_the_same(databases: Databases) -> None:
    sender, receiver, now = databases[Service.AUTHZ], databases[Service.FEDERATION], NOW
    ticket = await bus.leave(sender, START, flow="f-1", now=now)
    expired = await bus.leave(sender, START, flow="f-1", now=now - timedelta(seconds=60))
    async with transaction(receiver) as session:
        seen = await bus.peek(session, UpstreamStart, ticket)
    assert seen == await bus.look(receiver, UpstreamStart, ticket)
    assert seen is not None
    assert (seen.payload, seen.flow, seen.expires_at) == (START, "f-1", now + bus.TICKET_LIFE)
    for refused in (
        await bus.claim(databases[Service.DIRECTORY], UpstreamStart, ticket, now=now),
        await bus.claim(receiver, ProveAccount, ticket, now=now),
        await bus.claim(receiver, UpstreamStart, expired, now=now),
        await bus.claim(receiver, UpstreamStart, bus.ticket_hash(ticket).hex(), now=now),
    ):
        assert refused is None
    taken = await asyncio.gather(*[bus.claim(receiver, UpstreamStart, ticket, now=now) for _ in range(20)])
    assert [each.payload for each in taken if each is not None] == [START]


async def test_ticket_stands_nowhere_in_the_database(databases: Databases, bus_database: str) -> None:
    ticket = await hand_over(databases)
    async with transaction(databases[Service.FEDERATION]) as session:
        rows = (await (await session.connection()).execute(text("SELECT handover::text FROM bus.handover"))).all()
    assert rows
    assert ticket not in str(rows)


@pytest.mark.parametrize("service", list(Service))
@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: payload.kind)
async def test_only_the_sender_of_a_kind_may_write_it(
    databases: Databases, service: Service, payload: type[Payload]
) -> None:
    kind, sender, receiver = payload.kind, payload.sender, payload.receiver
    if service is sender:
        return
    insert = text(
        "INSERT INTO bus.handover (ticket_hash, kind, sender, receiver, flow, payload, created_at, expires_at,"
        " keep_until) VALUES ('x', :kind, :sender, :receiver, 'f', '{}', :now, :now, :now)"
    )
    values = {"kind": kind.value, "receiver": receiver.role, "now": NOW}
    for pretended in (service.role, sender.role):
        with pytest.raises(DBAPIError):
            async with transaction(databases[service]) as session:
                await (await session.connection()).execute(insert, values | {"sender": pretended})


async def test_hand_overs_of_a_flow_come_oldest_first_and_once(databases: Databases) -> None:
    for second, password_hash in enumerate(("first", "second")):
        async with transaction(databases[Service.DIRECTORY]) as session:
            payload = SetPassword(user_id="u", password_hash=password_hash)
            at = NOW + timedelta(seconds=second)
            await bus.hand_over(session, payload, flow="user:u", now=at, ttl=timedelta(days=30))
    async with transaction(databases[Service.AUTHZ]) as session:
        taken = await bus.take_flow(session, SetPassword, flow="user:u", now=NOW + timedelta(days=1))
        again = await bus.take_flow(session, SetPassword, flow="user:u", now=NOW + timedelta(days=1))
    assert [t.payload.password_hash for t in taken] == ["first", "second"]
    assert again == []


OWN = {
    Service.AUTHZ: {Claim.SID, Claim.SUB, Claim.GID},
    Service.DIRECTORY: {Claim.SUB, Claim.IDP},
    Service.ADMIN: {Claim.CLIENT_ID, Claim.IDP},
    Service.FEDERATION: set(),
    Service.TOKEN: set(Claim),
}


@pytest.mark.parametrize("service", list(Service))
@pytest.mark.parametrize("claim", list(Claim))
async def test_a_service_ends_only_what_is_its_own(databases: Databases, service: Service, claim: Claim) -> None:
    async def write() -> int:
        async with transaction(databases[service]) as session:
            return await bus.revoke(
                session,
                claim=claim,
                value="v",
                kind=RevocationKind.CUT,
                reason="test",
                until=NOW,
                keep_until=NOW,
            )

    if claim in OWN[service]:
        assert await write() > 0
    else:
        with pytest.raises(DBAPIError):
            await write()


@pytest.mark.parametrize("service", [s for s in Service if s is not Service.TOKEN])
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE bus.revocations SET position = 1",
        "DELETE FROM bus.revocations",
        "UPDATE bus.ledger SET position = 0",
        "SELECT * FROM bus.spent",
        "DELETE FROM bus.spent",
        "DELETE FROM bus.api_key_uses",
    ],
)
async def test_only_token_orders_and_sweeps_the_ledger(databases: Databases, service: Service, statement: str) -> None:
    with pytest.raises(DBAPIError):
        async with transaction(databases[service]) as session:
            await (await session.connection()).execute(text(statement))


@pytest.mark.parametrize("service", list(Service))
async def test_no_service_reads_another_schema(databases: Databases, service: Service) -> None:
    for other in Service:
        if other is not service:
            with pytest.raises(DBAPIError):
                async with transaction(databases[service]) as session:
                    await (await session.connection()).execute(text(f"SELECT 1 FROM {other.value}.outbox"))


async def test_something_is_spent_once_across_services(databases: Databases) -> None:
    async def spend(service: Service) -> bool:
        async with transaction(databases[service]) as session:
            return await bus.spend(session, purpose="assertion", key="jti-1", expires_at=datetime.now(UTC))

    results = await asyncio.gather(*[spend(service) for service in Service for _ in range(4)])
    assert sum(results) == 1


async def test_sealing_processes_get_different_numbers(databases: Databases) -> None:
    async def number(service: Service) -> int:
        async with transaction(databases[service]) as session:
            return await bus.sealer_id(session)

    numbers = await asyncio.gather(*[number(service) for service in Service])
    assert len(set(numbers)) == len(Service)


async def test_a_service_sweeps_its_own_hand_overs_once_nobody_can_replay_them(databases: Databases) -> None:
    ticket = await hand_over(databases)
    kept, gone = NOW + timedelta(minutes=61), NOW + timedelta(minutes=61, seconds=1)
    for service, now, swept in (
        (Service.AUTHZ, gone, False),
        (Service.FEDERATION, kept - timedelta(seconds=1), False),
        (Service.FEDERATION, gone, True),
    ):
        await forget(databases[service], "bus.handover", "receiver = current_user AND keep_until < $1", now)
        async with transaction(databases[Service.FEDERATION]) as session:
            assert (await bus.peek(session, UpstreamStart, ticket) is None) is swept


async def test_however_much_is_over_is_forgotten_at_once(databases: Databases) -> None:
    ticket = await hand_over(databases, flow="much")
    pool = await databases[Service.AUTHZ].raw_pool()
    await pool.execute(
        "INSERT INTO bus.handover (ticket_hash, kind, receiver, flow, payload, created_at, expires_at, keep_until)"
        " SELECT sha256(n::text::bytea), kind, receiver, flow, payload, created_at, expires_at, keep_until"
        " FROM bus.handover, generate_series(1, 11000) AS n WHERE ticket_hash = $1",
        bus.ticket_hash(ticket),
    )
    await hand_over(databases, flow="much", now=NOW + timedelta(minutes=1))
    over = "receiver = current_user AND keep_until < $1"
    await asyncio.gather(
        *[
            forget(databases[Service.FEDERATION], "bus.handover", over, NOW + timedelta(minutes=61, seconds=1))
            for _ in range(3)
        ]
    )
    federation = await databases[Service.FEDERATION].raw_pool()
    assert await federation.fetchval("SELECT count(*) FROM bus.handover WHERE flow = 'much'") == 1
