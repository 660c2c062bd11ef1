"""An effect happens once per event and consumer."""

import asyncio

from watchword_database import Database, transaction
from watchword_database.inbox import claim_event
from watchword_events.names import Service

EVENT, OTHER = "019a9c1e-0000-7000-8000-000000000001", "019a9c1e-0000-7000-8000-000000000002"


async def test_of_parallel_deliveries_one_claims_the_event(databases: dict[Service, Database]) -> None:
    async def deliver() -> bool:
        async with transaction(databases[Service.ADMIN]) as session:
            return await claim_event(session, consumer="admin-audit", event_id=EVENT)

    assert sum(await asyncio.gather(*[deliver() for _ in range(20)])) == 1


async def test_a_rolled_back_effect_can_be_claimed_again(databases: dict[Service, Database]) -> None:
    try:
        async with transaction(databases[Service.ADMIN]) as session:
            assert await claim_event(session, consumer="admin-audit", event_id=OTHER)
            raise KeyError
    except KeyError:
        pass
    async with transaction(databases[Service.ADMIN]) as session:
        assert await claim_event(session, consumer="admin-audit", event_id=OTHER)
        assert await claim_event(session, consumer="admin-mail", event_id=OTHER)
