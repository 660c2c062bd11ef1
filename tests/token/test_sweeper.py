"""The sweeper: what the ledger ended stays ended, and what is over is forgotten, however much it is."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from tests.token.conftest import Site
from tests.token.test_ledger import numbered

from watchword_database import bus, key_uses, transaction
from watchword_database.ids import new_id
from watchword_events.names import Service
from watchword_events.revocations import Claim, RevocationKind
from watchword_token.api_keys import create_api_key, end_dead_keys, find_api_key, revoke_api_key
from watchword_token.spent import Spent
from watchword_token.sweeper import sweep


async def swept(site: Site) -> None:
    """An instance has swept once."""
    await sweep(site.db(Service.TOKEN), now=site.clock())


@pytest.mark.parametrize("minutes", [-30, -11, -9, -6, -4, -0.5, 0, 0.5, 5])
async def test_no_clock_opens_a_window_for_a_second_use(site: Site, minutes: float) -> None:
    """An instance whose clock is so much behind PostgreSQL's (or ahead) takes something whose time ends just now."""
    database = site.db(Service.TOKEN)
    ends = datetime.now(UTC) + timedelta(minutes=minutes)

    async def in_a_batch(key: str) -> bool:
        return await Spent(database).spend("proof", key, ends.timestamp())

    async def in_a_transaction(key: str) -> bool:
        async with transaction(database) as session:
            return await bus.spend(session, purpose="proof", key=key, expires_at=ends)

    for spend in (in_a_batch, in_a_transaction):
        key = new_id()
        uses = []
        for _ in range(3):
            uses.append(await spend(key))
            await swept(site)
        assert uses == [minutes > -5, False, False]


async def test_what_was_spent_is_forgotten_in_the_end(site: Site) -> None:
    async with site.database.postgres.admin(site.database.name) as connection:
        for minutes in (5, 11):
            await connection.execute(
                "INSERT INTO bus.spent (purpose, key_hash, expires_at) VALUES ($1, $2, now() - $3::interval)",
                "forgotten",
                b"%d" % minutes,
                timedelta(minutes=minutes),
            )
    await swept(site)
    async with site.database.postgres.admin(site.database.name) as connection:
        left = await connection.fetch("SELECT key_hash FROM bus.spent WHERE purpose = 'forgotten'")
    assert [row["key_hash"] for row in left] == [b"5"]


async def test_uses_of_keys_that_ended_are_forgotten(site: Site) -> None:
    now = site.clock()
    async with transaction(site.db(Service.TOKEN)) as session:
        made = {"rev": site.feed.position, "now": now, "name": "a key", "scope": frozenset({"read"})}
        kept, _ = create_api_key(session, user_id=new_id(), **made)
        ended, _ = create_api_key(session, user_id=new_id(), **made)
        expired, _ = create_api_key(session, user_id=new_id(), expires_at=now - timedelta(days=1), **made)
    ids = [kept.id, ended.id, expired.id, "ww_of-nobody"]
    await key_uses.note(await site.db(Service.ADMIN).raw_pool(), [(each, now) for each in ids])
    async with transaction(site.db(Service.TOKEN)) as session:
        await revoke_api_key(session, ended.id, feed=site.feed, now=now)
    await swept(site)
    async with transaction(site.db(Service.TOKEN)) as session:
        assert set(await key_uses.last(session, ids)) == {kept.id, expired.id}


async def test_a_key_that_the_ledger_ended_does_not_come_back_when_the_entry_is_forgotten(site: Site) -> None:
    """A key may live longer than any entry is kept."""
    now, rev = site.clock(), site.feed.position
    people = {name: new_id() for name in ("cut", "lifted", "disabled", "narrowed", "spared", "later")}
    keys = {}
    async with transaction(site.db(Service.TOKEN)) as session:
        for name, user_id in people.items():
            if name != "later":
                key, _ = create_api_key(session, user_id=user_id, name=name, scope=frozenset(), rev=rev, now=now)
                keys[name] = key.id
    for name, kind in (
        ("cut", "cut"),
        ("lifted", "state"),
        ("lifted", "lift"),
        ("disabled", "state"),
        ("later", "cut"),
    ):
        await site.revoke(Claim.SUB, people[name], kind=RevocationKind(kind))
    async with transaction(site.db(Service.TOKEN)) as session:
        for name, at in (("narrowed", now + timedelta(seconds=1)), ("spared", now - timedelta(seconds=1))):
            entry = {"claim": Claim.SUB, "value": people[name], "kind": RevocationKind.CUT, "reason": "test"}
            await bus.revoke(session, **entry, issued_before=at, until=now, keep_until=now)  # type: ignore[arg-type]
    await numbered(site)
    async with transaction(site.db(Service.TOKEN)) as session:
        made = {"user_id": people["later"], "name": "later", "scope": frozenset({"read"}), "now": now}
        key, _ = create_api_key(session, rev=max((await numbered(site)).values()), **made)
        keys["later"] = key.id
    async with transaction(site.db(Service.TOKEN)) as session:
        await end_dead_keys(session, now=now)
    async with site.database.postgres.admin(site.database.name) as connection:
        await connection.execute("DELETE FROM bus.revocations WHERE value = ANY ($1)", list(people.values()))
    async with transaction(site.db(Service.TOKEN)) as session:
        left = {name for name, key_id in keys.items() if await find_api_key(session, key_id) is not None}
        assert left == {"disabled", "spared", "later"}
        await end_dead_keys(session, now=now)
    told = [event["id"] for event in await site.events("api_key.revoked") if event["id"] in keys.values()]
    assert sorted(told) == sorted(keys[name] for name in ("cut", "lifted", "narrowed"))


async def test_who_is_to_hear_of_the_end_of_a_session_is_known_for_as_long_as_it_may_last(own_site: Site) -> None:
    """By a row that is no grant any more."""
    site, sid, week = own_site, new_id(), timedelta(days=7)
    given = {"grant_types": ["authorization_code"]}
    wants = await site.client(backchannel_logout_uri="https://app.example.test/logout", **given)
    user = await site.user()
    for app in (wants, await site.client(**given)):
        await site.sign_in(app, user, sid=sid, session_expires_at=site.clock() + week, keep=week)
    parties = "SELECT client_id, revoked_at IS NULL AS is_live FROM token.grants WHERE sid = $1"
    pool = await site.db(Service.TOKEN).raw_pool()
    site.clock.advance(timedelta(days=3))
    await swept(site)
    assert [tuple(row) for row in await pool.fetch(parties, sid)] == [(wants.id, False)]
    site.clock.advance(timedelta(days=3))
    await swept(site)
    assert len(await pool.fetch(parties, sid)) == 1
    site.clock.advance(timedelta(days=3))
    await swept(site)
    assert await pool.fetch(parties, sid) == []


async def test_however_much_is_over_is_forgotten_at_once(site: Site) -> None:
    """More than a minute of proofs can leave behind."""
    async with site.database.postgres.admin(site.database.name) as connection:
        await connection.execute(
            "INSERT INTO bus.spent (purpose, key_hash, expires_at)"
            " SELECT 'many', decode(lpad(to_hex(n), 8, '0'), 'hex'), now() - interval '1 hour'"
            " FROM generate_series(1, 12000) AS n"
        )
    await swept(site)
    async with site.database.postgres.admin(site.database.name) as connection:
        assert await connection.fetchval("SELECT count(*) FROM bus.spent WHERE purpose = 'many'") == 0


async def test_keys_are_not_compared_with_every_entry(own_site: Site) -> None:
    """A statement with a hundred million comparisons would take a minute: it gets five seconds."""
    async with own_site.database.postgres.admin(own_site.database.name) as connection:
        await connection.execute(
            "INSERT INTO bus.revocations (position, claim, value, kind, until, keep_until, reason)"
            " SELECT n, 'sub', 'person-' || n, 'cut', now() + interval '1 day', now() + interval '1 day', 'test'"
            " FROM generate_series(1, 40000) AS n;"
            "INSERT INTO token.api_keys (id, version, user_id, name, secret_hash, scope, rev, created_at)"
            " SELECT 'ww_' || n, 1, 'other-' || n, 'a key', '', '{}', 0, now() FROM generate_series(1, 5000) AS n;"
            "ANALYZE bus.revocations; ANALYZE token.api_keys"
        )
    async with transaction(own_site.db(Service.TOKEN)) as session:
        await (await session.connection()).execute(text("SET LOCAL statement_timeout = '5s'"))
        assert await end_dead_keys(session, now=own_site.clock()) == 0
