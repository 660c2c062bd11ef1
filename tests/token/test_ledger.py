"""The ledger's leader: positions without gaps, one leader, nothing lost without NATS."""

import asyncio
import time
from datetime import timedelta

import nats
from tests.token.conftest import Site, instance

from watchword_database import bus, transaction
from watchword_database.ids import new_id
from watchword_events.names import Service
from watchword_events.revocations import Claim, RevocationEntry, RevocationKind


async def write(site: Site, by: Service, count: int) -> list[int]:
    """Entries of a service, each in a transaction of its own."""
    later = site.clock() + timedelta(days=1)
    ids = []
    for _ in range(count):
        async with transaction(site.db(by)) as session:
            ids.append(
                await bus.revoke(
                    session,
                    claim=Claim.SUB,
                    value=new_id(),
                    kind=RevocationKind.CUT,
                    reason="test",
                    until=later,
                    keep_until=later,
                )
            )
    return ids


async def positions(site: Site) -> dict[int, int | None]:
    async with site.database.postgres.admin(site.database.name) as connection:
        rows = await connection.fetch("SELECT id, position FROM bus.revocations ORDER BY id")
    return {row["id"]: row["position"] for row in rows}


async def numbered(site: Site) -> dict[int, int]:
    """Positions by id, once every entry has one."""
    async with asyncio.timeout(30):
        while None in (found := await positions(site)).values():
            await asyncio.sleep(0.02)
    return {key: value for key, value in found.items() if value is not None}


async def test_concurrent_entries_of_several_services_get_dense_positions(own_site: Site) -> None:
    start = own_site.feed.position
    writers = [write(own_site, by, 20) for by in (Service.AUTHZ, Service.DIRECTORY, Service.TOKEN, Service.AUTHZ)]
    await asyncio.gather(*writers)
    found = await numbered(own_site)
    assert sorted(found.values()) == list(range(start + 1, start + 81))
    async with asyncio.timeout(30):
        while own_site.feed.position < start + 80:
            await asyncio.sleep(0.02)


async def test_each_entry_is_published_once_and_in_order(own_site: Site) -> None:
    heard: list[RevocationEntry] = []
    connection = await nats.connect(own_site.nats_url)

    async def hear(message) -> None:  # type: ignore[no-untyped-def]  # nats-py's message
        heard.append(RevocationEntry.model_validate_json(message.data))

    await connection.subscribe("feed.revocation", cb=hear)
    await connection.flush()
    ids = await write(own_site, Service.AUTHZ, 10)
    await numbered(own_site)
    async with asyncio.timeout(30):
        while len(heard) < 10:
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.3)
    assert [entry.id for entry in heard] == ids
    assert [entry.position for entry in heard] == sorted(entry.position for entry in heard)
    assert all(entry.claim == "sub" and entry.kind == "cut" for entry in heard)
    await connection.close()


async def test_without_nats_entries_are_numbered_and_obeyed(own_site: Site) -> None:
    assert own_site.nats is not None
    own_site.nats.kill()
    await write(own_site, Service.AUTHZ, 3)
    found = await numbered(own_site)
    async with asyncio.timeout(30):
        while own_site.feed.position < max(found.values()):
            await asyncio.sleep(0.02)
    app = await own_site.client()
    tokens = await own_site.sign_in(app)
    assert (await own_site.post("/oauth2/revoke", app, {"token": tokens["refresh_token"]})).status_code == 200
    assert not await own_site.is_active(app, tokens["access_token"])


async def test_another_instance_leads_when_the_leader_stops(own_site: Site) -> None:
    async with instance(
        own_site.database, own_site.nats_url, own_site.clock, own_site.canary, owners=own_site.owners
    ) as second:
        await write(second, Service.AUTHZ, 1)
        await numbered(second)
        await own_site.service.stop()
        await write(second, Service.AUTHZ, 5)
        found = await numbered(second)
        values = sorted(found.values())
        assert values == list(range(values[0], values[0] + 6))
        await own_site.service.start()


async def test_a_leader_whose_connection_was_cut_comes_back(own_site: Site) -> None:
    await write(own_site, Service.AUTHZ, 1)
    await numbered(own_site)
    async with own_site.database.postgres.admin(own_site.database.name) as connection:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE usename = 'watchword_token' AND datname = current_database()"
        )
    async with asyncio.timeout(30):
        while True:
            try:
                await write(own_site, Service.AUTHZ, 1)
                break
            except Exception:
                await asyncio.sleep(0.1)
    found = await numbered(own_site)
    assert len(set(found.values())) == len(found)
    app = await own_site.client()
    async with asyncio.timeout(30):
        while (await own_site.token(app, grant_type="client_credentials")).status_code != 200:
            await asyncio.sleep(0.1)


async def test_a_leader_whose_process_stood_still_leads_again(own_site: Site) -> None:
    """PostgreSQL has ended its session meanwhile."""
    for _ in range(2):
        time.sleep(3)  # noqa: ASYNC251  # the event loop stands still, as under SIGSTOP
        await write(own_site, Service.AUTHZ, 3)
        await numbered(own_site)


async def test_a_leader_whose_connection_is_cut_anywhere_leads_again(own_site: Site) -> None:
    async with own_site.database.postgres.admin(own_site.database.name) as connection:
        for _ in range(10):
            await asyncio.gather(
                write(own_site, Service.AUTHZ, 5),
                connection.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"),
            )
            await numbered(own_site)
