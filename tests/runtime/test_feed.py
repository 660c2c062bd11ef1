"""The feed: the table is the truth, NATS brings it sooner, and who cannot know refuses."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import nats
import orjson
import pytest
from nats.aio.client import Client

from watchword_database import Database, bus, transaction
from watchword_events.names import EPOCH_SHIFT, Service, epoch_of, position_of
from watchword_events.revocations import Claim, RevocationEntry, RevocationKind
from watchword_runtime import feed as feed_module
from watchword_runtime.feed import SUBJECT, Feed, FeedAway
from watchword_runtime.ledger import entry_of
from watchword_testkit.databases import TestDatabase
from watchword_testkit.servers import Broker as Server

from .conftest import BrokerFor, eventually

FIRST = position_of(1, 0)
LATER = datetime.now(UTC) + timedelta(days=400)
NOBODY = "nats://127.0.0.1:1"


class Leader:
    """What the leader in `token` does: numbers committed entries in PostgreSQL, then publishes them."""

    def __init__(self, database: TestDatabase, admin: asyncpg.Connection, nc: Client | None = None) -> None:
        self.db: Database = database.open(Service.TOKEN)
        self.admin = admin
        self.nc = nc

    async def write(
        self,
        claim: Claim,
        value: str,
        kind: RevocationKind = RevocationKind.CUT,
        issued_before: datetime | None = None,
    ) -> int:
        """A committed entry without a position."""
        async with transaction(self.db) as session:
            return await bus.revoke(
                session,
                claim=claim,
                value=value,
                kind=kind,
                reason="test",
                until=LATER,
                keep_until=LATER,
                issued_before=issued_before,
            )

    async def number(self) -> list[RevocationEntry]:
        """Every committed entry has a position, in one transaction with the ledger's head."""
        entries = []
        async with self.admin.transaction():
            rows = await self.admin.fetch("SELECT id FROM bus.revocations WHERE position IS NULL ORDER BY id")
            for row in rows:
                position = await self.admin.fetchval("UPDATE bus.ledger SET position = position + 1 RETURNING position")
                entry = await self.admin.fetchrow(
                    "UPDATE bus.revocations SET position = $1 WHERE id = $2 RETURNING *", position, row["id"]
                )
                entries.append(RevocationEntry.model_validate(dict(entry)))
        return entries

    async def publish(self, *entries: RevocationEntry) -> None:
        assert self.nc is not None
        for entry in entries:
            await self.nc.publish(SUBJECT, entry.model_dump_json().encode())
        await self.nc.flush()

    async def revoke(self, claim: Claim, value: str, kind: RevocationKind = RevocationKind.CUT) -> RevocationEntry:
        """Written, numbered and, with NATS, published."""
        await self.write(claim, value, kind)
        (entry,) = await self.number()
        if self.nc is not None:
            await self.publish(entry)
        return entry


@pytest.fixture
async def admin(database: TestDatabase) -> AsyncIterator[asyncpg.Connection]:
    async with database.postgres.admin(database.name) as connection:
        yield connection


@pytest.fixture
async def leader(database: TestDatabase, admin: asyncpg.Connection) -> Leader:
    """A leader while NATS is away."""
    return Leader(database, admin)


@asynccontextmanager
async def following(broker_for: BrokerFor, url: str = NOBODY, service: Service = Service.AUTHZ) -> AsyncIterator[Feed]:
    """A started feed of one instance."""
    async with broker_for(service, url) as broker:
        feed = Feed(broker._database, broker)
        await broker.start()
        await feed.start()
        try:
            if url != NOBODY:
                await eventually(lambda: broker.connected)
            yield feed
        finally:
            await feed.stop()


@asynccontextmanager
async def heard_leader(database: TestDatabase, admin: asyncpg.Connection, url: str) -> AsyncIterator[Leader]:
    nc = await nats.connect(url)
    try:
        yield Leader(database, admin, nc)
    finally:
        await nc.close()


async def reached(feed: Feed, entry: RevocationEntry) -> None:
    await eventually(lambda: feed.position == entry.position)


def user(rev: int = FIRST, sub: str = "ada") -> dict[str, Any]:
    return {"sub": sub, "rev": rev, "iat": 1_000}


async def test_nothing_is_live_before_the_table_was_loaded(broker_for: BrokerFor, leader: Leader) -> None:
    await leader.revoke(Claim.SUB, "ada")
    async with broker_for(Service.AUTHZ, NOBODY) as broker:
        feed = Feed(broker._database, broker)
        assert (feed.ready, feed.is_live(user(sub="bob"))) == (False, False)
        await feed.start()
        assert feed.is_live(user(sub="bob"))
        assert not feed.is_live(user())
        assert feed.position == FIRST + 1
        await feed.stop()
        assert (feed.ready, feed.is_live(user(sub="bob"))) == (False, False)


async def test_without_nats_the_table_is_followed(broker_for: BrokerFor, leader: Leader) -> None:
    async with following(broker_for) as feed:
        assert feed.is_live(user())
        entry = await leader.revoke(Claim.SUB, "ada")
        await reached(feed, entry)
        assert not feed.is_live(user())
        assert feed.is_live(user(rev=entry.position))


async def test_a_committed_entry_counts_before_anybody_numbers_it(broker_for: BrokerFor, leader: Leader) -> None:
    """No `token` instance need be up for a revocation to be obeyed."""
    async with following(broker_for) as feed:
        await leader.write(Claim.SUB, "ada")
        await eventually(lambda: not feed.is_live(user()))
        assert feed.position == FIRST
        (entry,) = await leader.number()
        await reached(feed, entry)
        assert not feed.is_live(user())
        assert feed.is_live(user(rev=entry.position))


async def test_a_narrowed_cut_waits_for_its_position(broker_for: BrokerFor, leader: Leader) -> None:
    """It ends only what is older: whoever signed in since must not be refused meanwhile."""
    async with following(broker_for) as feed:
        await leader.write(Claim.SUB, "ada", issued_before=datetime.fromtimestamp(2_000, UTC))
        await leader.write(Claim.SUB, "bob")
        await eventually(lambda: not feed.is_live(user(sub="bob")))
        assert feed.is_live(user())
        (_, last) = await leader.number()
        await reached(feed, last)
        assert not feed.is_live(user())
        assert feed.is_live({**user(), "iat": 3_000})


async def test_a_state_holds_until_it_is_lifted_and_old_tokens_stay_dead(broker_for: BrokerFor, leader: Leader) -> None:
    async with following(broker_for) as feed:
        state = await leader.revoke(Claim.SUB, "ada", RevocationKind.STATE)
        await reached(feed, state)
        assert not feed.is_live(user(rev=state.position + 5))
        lift = await leader.revoke(Claim.SUB, "ada", RevocationKind.LIFT)
        await reached(feed, lift)
        assert not feed.is_live(user(rev=state.position))
        assert feed.is_live(user(rev=lift.position))


async def test_a_long_ledger_is_loaded_in_pieces(broker_for: BrokerFor, leader: Leader) -> None:
    count = 2_500
    await leader.admin.execute(
        "INSERT INTO bus.revocations (position, claim, value, kind, until, keep_until, reason, written_by)"
        " SELECT $1 + n, 'jti', 'token-' || n, 'cut', $2, $2, 'test', 'watchword_token'"
        " FROM generate_series(1::bigint, $3) AS n",
        FIRST,
        LATER,
        count,
    )
    await leader.admin.execute("UPDATE bus.ledger SET position = $1", FIRST + count)
    async with following(broker_for) as feed:
        assert feed.position == FIRST + count
        assert not feed.is_live({"jti": "token-1", "rev": FIRST})
        assert not feed.is_live({"jti": f"token-{count}", "rev": FIRST})
        assert feed.is_live({"jti": f"token-{count + 1}", "rev": FIRST})


# What is written here ------------------------------------------------------------------------------------------------


async def test_what_this_instance_ends_is_dead_here_before_the_commit(broker_for: BrokerFor, leader: Leader) -> None:
    async with following(broker_for) as feed:
        async with transaction(leader.db) as session:
            entry_id = await bus.revoke(
                session,
                claim=Claim.SUB,
                value="ada",
                kind=RevocationKind.CUT,
                reason="test",
                until=LATER,
                keep_until=LATER,
            )
            feed.pend(entry_id, Claim.SUB, "ada")
            assert not feed.is_live(user())
        settling = asyncio.create_task(feed.settle([entry_id]))
        await asyncio.sleep(0)
        (entry,) = await leader.number()
        assert await settling
        assert feed.position >= entry.position
        assert not feed.is_live(user())
        assert feed.is_live(user(rev=feed.position))


async def test_what_is_not_numbered_in_time_is_not_settled_but_dead(broker_for: BrokerFor, leader: Leader) -> None:
    async with following(broker_for) as feed:
        entry_id = await leader.write(Claim.SUB, "ada")
        feed.pend(entry_id, Claim.SUB, "ada")
        assert not await feed.settle([entry_id], timeout=0.3)
        assert not feed.is_live(user())


async def test_what_was_applied_already_is_settled(broker_for: BrokerFor, leader: Leader) -> None:
    async with following(broker_for) as feed:
        entry = await leader.revoke(Claim.SUB, "ada")
        await reached(feed, entry)
        assert await feed.settle([entry.id])
        assert await feed.settle([])


async def test_what_was_rolled_back_is_forgotten(
    broker_for: BrokerFor, leader: Leader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "_ROLLED_BACK_S", 0.3)
    async with following(broker_for) as feed:
        with pytest.raises(RuntimeError, match="something else"):
            async with transaction(leader.db) as session:
                entry_id = await bus.revoke(
                    session,
                    claim=Claim.SUB,
                    value="ada",
                    kind=RevocationKind.CUT,
                    reason="test",
                    until=LATER,
                    keep_until=LATER,
                )
                feed.pend(entry_id, Claim.SUB, "ada")
                raise RuntimeError("something else went wrong")
        assert not feed.is_live(user())
        await eventually(lambda: feed.is_live(user()))


# What is heard -------------------------------------------------------------------------------------------------------


@pytest.fixture
def deaf_to_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """The table is read when something makes this instance look, and not by the clock."""
    monkeypatch.setattr(feed_module, "POLL_S", 60.0)
    monkeypatch.setattr(feed_module, "STALE_S", 120.0)


@pytest.mark.usefixtures("deaf_to_the_table")
async def test_an_entry_that_continues_is_applied_as_it_is_heard(
    broker_for: BrokerFor, database: TestDatabase, admin: asyncpg.Connection, nats_server: Server
) -> None:
    async with following(broker_for, nats_server.url) as feed, heard_leader(database, admin, nats_server.url) as leader:
        for _ in range(3):
            entry = await leader.revoke(Claim.SUB, "ada")
            await reached(feed, entry)
        assert not feed.is_live(user(rev=entry.position - 1))
        assert feed.is_live(user(rev=entry.position))


@pytest.mark.usefixtures("deaf_to_the_table")
async def test_a_gap_is_closed_from_the_table(
    broker_for: BrokerFor, database: TestDatabase, admin: asyncpg.Connection, nats_server: Server
) -> None:
    async with following(broker_for, nats_server.url) as feed, heard_leader(database, admin, nats_server.url) as leader:
        for name in ("ada", "bob", "eve"):
            await leader.write(Claim.SUB, name)
        _lost, _lost_too, last = await leader.number()
        await leader.publish(last)
        await reached(feed, last)
        assert not feed.is_live(user(sub="ada"))


@pytest.mark.usefixtures("deaf_to_the_table")
async def test_repeated_and_reordered_messages_change_nothing(
    broker_for: BrokerFor, database: TestDatabase, admin: asyncpg.Connection, nats_server: Server
) -> None:
    async with following(broker_for, nats_server.url) as feed, heard_leader(database, admin, nats_server.url) as leader:
        await leader.write(Claim.SUB, "ada", RevocationKind.STATE)
        await leader.write(Claim.SUB, "ada", RevocationKind.LIFT)
        state, lift = await leader.number()
        await leader.publish(lift, state, state, lift, state)
        await reached(feed, lift)
        assert feed.is_live(user(rev=lift.position))
        assert not feed.is_live(user(rev=state.position))


def forged(position: int, claim: str = "sub", value: str = "ada", kind: str = "cut", entry_id: int = 999) -> bytes:
    until = LATER.isoformat()
    entry = {"id": entry_id, "position": position, "claim": claim, "value": value, "kind": kind}
    return orjson.dumps({**entry, "until": until, "keep_until": until, "at": until})


async def test_a_forged_entry_is_thrown_away_when_the_table_does_not_have_it(
    broker_for: BrokerFor, database: TestDatabase, admin: asyncpg.Connection, nats_server: Server
) -> None:
    async with following(broker_for, nats_server.url) as feed, heard_leader(database, admin, nats_server.url) as leader:
        assert leader.nc is not None
        await leader.nc.publish(SUBJECT, forged(FIRST + 1))
        await eventually(lambda: not feed.is_live(user()))
        await eventually(lambda: feed.is_live(user()))
        assert feed.position == FIRST
        true = await leader.revoke(Claim.SUB, "bob")
        await reached(feed, true)
        assert not feed.is_live(user(sub="bob"))


@pytest.mark.usefixtures("deaf_to_the_table")
async def test_a_true_entry_contradicts_a_forged_one_at_its_position(
    broker_for: BrokerFor, database: TestDatabase, admin: asyncpg.Connection, nats_server: Server
) -> None:
    async with following(broker_for, nats_server.url) as feed, heard_leader(database, admin, nats_server.url) as leader:
        assert leader.nc is not None
        await leader.nc.publish(SUBJECT, forged(FIRST + 1))
        await leader.nc.flush()
        await eventually(lambda: not feed.is_live(user()))
        await leader.revoke(Claim.SUB, "bob")
        await eventually(lambda: feed.is_live(user()) and not feed.is_live(user(sub="bob")))


@pytest.mark.usefixtures("deaf_to_the_table")
@pytest.mark.parametrize(
    "message",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\xff", id="no text"),
        pytest.param(b"[]", id="no entry"),
        pytest.param(forged(FIRST + 2, kind="lift"), id="lift"),
        pytest.param(forged(FIRST + 2, kind="obliterate"), id="unknown kind"),
        pytest.param(forged(FIRST + 2, claim="shoe-size"), id="unknown claim"),
        pytest.param(forged(position_of(9, 0), value="eve"), id="another epoch"),
        pytest.param(forged(2**60, value="eve"), id="beyond every position"),
        pytest.param(forged(-1, value="eve"), id="before every position"),
    ],
)
async def test_what_is_heard_never_makes_something_live_or_deaf(
    broker_for: BrokerFor, database: TestDatabase, admin: asyncpg.Connection, nats_server: Server, message: bytes
) -> None:
    async with following(broker_for, nats_server.url) as feed, heard_leader(database, admin, nats_server.url) as leader:
        state = await leader.revoke(Claim.SUB, "ada", RevocationKind.STATE)
        await reached(feed, state)
        assert leader.nc is not None
        await leader.nc.publish(SUBJECT, message)
        true = await leader.revoke(Claim.SUB, "bob")
        await reached(feed, true)
        assert not feed.is_live(user(rev=true.position))
        assert not feed.is_live(user(sub="bob"))
        assert feed.is_live(user(sub="eve"))


# What is reported ----------------------------------------------------------------------------------------------------


async def reported(admin: asyncpg.Connection, position: int, kids: list[str] | None = None) -> None:
    """The one follower is known to be there, with these keys."""
    async with asyncio.timeout(30):
        while [tuple(row) for row in await admin.fetch("SELECT position, kids FROM bus.followers")] != [
            (position, kids)
        ]:
            await asyncio.sleep(0.01)


@pytest.mark.usefixtures("deaf_to_the_table")
async def test_what_was_applied_is_reported_and_a_clean_stop_signs_off(
    broker_for: BrokerFor, database: TestDatabase, admin: asyncpg.Connection, nats_server: Server
) -> None:
    async with following(broker_for, nats_server.url) as feed, heard_leader(database, admin, nats_server.url) as leader:
        await reported(admin, FIRST)
        entry = await leader.revoke(Claim.SUB, "ada")
        await reached(feed, entry)
        await reported(admin, entry.position)
    assert await admin.fetchval("SELECT count(*) FROM bus.followers") == 0
    assert await admin.fetchval("SELECT count(*) FROM bus.receipts WHERE position = $1", entry.position) == 1


async def test_keys_are_reported_when_they_change(broker_for: BrokerFor, admin: asyncpg.Connection) -> None:
    async with following(broker_for) as feed:
        await reported(admin, FIRST)
        feed.kids = lambda: ["k-1"]
        feed.report_soon()
        await reported(admin, FIRST, ["k-1"])


async def test_who_cannot_report_follows_and_decides_nothing(
    broker_for: BrokerFor, leader: Leader, admin: asyncpg.Connection
) -> None:
    await admin.execute("REVOKE INSERT ON bus.followers FROM watchword_authz")
    try:
        async with following(broker_for) as feed:
            entry = await leader.revoke(Claim.SUB, "ada")
            await reached(feed, entry)
            assert not feed.ready, "a call that waits for all does not wait for it"
            assert not feed.is_live(user(sub="bob"))
            await admin.execute("GRANT INSERT ON bus.followers TO watchword_authz")
            await eventually(lambda: feed.is_live(user(sub="bob")))
            assert not feed.is_live(user())
    finally:
        await admin.execute("GRANT INSERT ON bus.followers TO watchword_authz")


# When the ledger is not what it was ----------------------------------------------------------------------------------


async def test_an_entry_of_an_unknown_kind_makes_everything_dead(broker_for: BrokerFor, leader: Leader) -> None:
    check = "CHECK (kind IN ('cut', 'state', 'lift'))"
    async with following(broker_for) as feed:
        await leader.admin.execute("ALTER TABLE bus.revocations DROP CONSTRAINT revocations_kind_check")
        await leader.write(Claim.SUB, "nobody")
        await leader.admin.execute("UPDATE bus.revocations SET kind = 'obliterate'")
        await leader.number()
        await eventually(lambda: not feed.ready)
        assert not feed.is_live(user(sub="bob"))
    await leader.admin.execute(
        f"DELETE FROM bus.revocations; ALTER TABLE bus.revocations ADD CONSTRAINT revocations_kind_check {check}"
    )


async def test_a_new_epoch_is_loaded_from_the_table(broker_for: BrokerFor, leader: Leader) -> None:
    epochs: list[int] = []
    async with following(broker_for) as feed:
        feed.on_epoch(lambda: epochs.append(epoch_of(feed.position)))
        old = await leader.revoke(Claim.SUB, "ada")
        await reached(feed, old)
        assert epochs == []
        begun = position_of(2, 0)
        async with leader.admin.transaction():
            await leader.admin.execute("DELETE FROM bus.revocations")
            await leader.admin.execute("UPDATE bus.ledger SET position = $1", begun)
        await eventually(lambda: feed.position == begun)
        assert feed.is_live(user())
        cut = await leader.revoke(Claim.ALL, "")
        await reached(feed, cut)
        assert not feed.is_live(user(rev=old.position + 100))
        assert feed.is_live(user(rev=cut.position))
        assert epochs == [2]


async def test_what_is_heard_while_the_table_is_loaded_stays_applied(
    broker_for: BrokerFor, leader: Leader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was applied, and whoever waited for that was told so. A forged one is found out by the next reading."""
    before = await leader.revoke(Claim.SUB, "bob")
    async with broker_for(Service.AUTHZ, NOBODY) as broker:
        feed = Feed(broker._database, broker)
        connection = await asyncpg.connect(broker._database.dsn)
        await feed._load(connection)

        def heard_meanwhile(row: asyncpg.Record) -> RevocationEntry:
            feed._on_heard(forged(before.position + 1))
            return entry_of(row)

        with monkeypatch.context() as patch:
            patch.setattr(feed_module, "entry_of", heard_meanwhile)
            await feed._load(connection)
        assert feed.position == before.position + 1
        assert not feed._set.is_live(user())
        assert not await feed._catch_up(connection)
        await feed._load(connection)
        assert feed.position == before.position
        assert feed._set.is_live(user())
        await connection.close()


@pytest.mark.parametrize("epoch", [1, 0], ids=["of the same epoch", "of an older one"])
async def test_a_ledger_that_lost_entries_makes_everything_dead_until_a_new_epoch(
    broker_for: BrokerFor, leader: Leader, epoch: int
) -> None:
    async with following(broker_for) as feed:
        for name in ("ada", "bob"):
            last = await leader.revoke(Claim.SUB, name)
        await reached(feed, last)
        async with leader.admin.transaction():
            await leader.admin.execute("DELETE FROM bus.revocations WHERE value = 'bob'")
            restored = last.position - 1 - ((1 - epoch) << EPOCH_SHIFT)
            await leader.admin.execute("UPDATE bus.ledger SET position = $1", restored)
        await eventually(lambda: not feed.ready)
        assert not any(feed.is_live(user(sub=name, rev=last.position)) for name in ("ada", "bob", "eve"))
        with pytest.raises(FeedAway):
            feed.require()
        # Entries that are written meanwhile do not make it whole, however many.
        for _ in range(3):
            await leader.revoke(Claim.SUB, "carol")
        await asyncio.sleep(1.1)
        assert not feed.ready

        begun = position_of(2, 7)
        await leader.admin.execute("UPDATE bus.ledger SET position = $1", begun)
        await eventually(lambda: feed.ready)
        assert feed.position == begun
        cut = await leader.revoke(Claim.ALL, "")
        await reached(feed, cut)
        assert not feed.is_live(user(sub="bob", rev=last.position))
        assert feed.is_live(user(sub="bob", rev=cut.position))


async def test_a_position_that_was_given_out_twice_makes_everything_dead(broker_for: BrokerFor, leader: Leader) -> None:
    """PostgreSQL failed over to a server that lagged by one entry, and the next one took its place at once."""
    async with following(broker_for) as feed:
        await reached(feed, await leader.revoke(Claim.SUB, "ada"))
        lost = await leader.revoke(Claim.SUB, "bob")
        await reached(feed, lost)
        await asyncio.sleep(1.1)  # it was read from the table, too
        await leader.admin.execute(
            "UPDATE bus.revocations SET value = 'carol', at = at + interval '1 second' WHERE position = $1",
            lost.position,
        )
        await eventually(lambda: not feed.ready)
        assert not feed.is_live(user(sub="carol", rev=lost.position - 1))


@pytest.mark.chaos
async def test_who_cannot_see_the_table_refuses_within_the_bound(
    broker_for: BrokerFor,
    postgres_factory: Callable[[], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feed_module, "STALE_S", 1.0)
    server = await asyncio.to_thread(postgres_factory)
    connection = await asyncpg.connect(server.url())
    await connection.execute(
        "CREATE SCHEMA bus; CREATE TABLE bus.ledger (position bigint); INSERT INTO bus.ledger VALUES (1::bigint << 40);"
        "CREATE TABLE bus.revocations (id bigint, position bigint, claim text, value text, kind text, reason text,"
        " until timestamptz, keep_until timestamptz, issued_before timestamptz, at timestamptz);"
        "CREATE TABLE bus.followers (id text PRIMARY KEY, kind text, name text, position bigint,"
        " bound_s double precision, policy text, audience text, kids text[], fresh boolean)"
    )
    await connection.close()
    database = Database(server.url(), service=Service.AUTHZ)
    async with broker_for(Service.AUTHZ, NOBODY, database) as broker:
        feed = Feed(database, broker)
        await feed.start()
        assert feed.is_live(user())
        await asyncio.to_thread(server.kill)
        await eventually(lambda: not feed.ready, within=5)
        assert not feed.is_live(user())
        await asyncio.to_thread(server.start)
        await eventually(lambda: feed.ready, within=10)
        assert feed.is_live(user())
        await feed.stop()
    await database.dispose()


@pytest.mark.chaos
async def test_revocations_arrive_while_nats_is_killed_and_restarted(
    broker_for: BrokerFor, database: TestDatabase, admin: asyncpg.Connection, nats_factory: Callable[[], Server]
) -> None:
    server = await asyncio.to_thread(nats_factory)
    async with following(broker_for, server.url) as feed, heard_leader(database, admin, server.url) as leader:
        first = await leader.revoke(Claim.JTI, "heard")
        await reached(feed, first)
        await asyncio.to_thread(server.kill)
        nc, leader.nc = leader.nc, None
        second = await leader.revoke(Claim.JTI, "read")
        await reached(feed, second)
        await asyncio.to_thread(server.start)
        assert nc is not None
        await eventually(lambda: bool(nc.is_connected))
        leader.nc = nc
        third = await leader.revoke(Claim.JTI, "heard again")
        await reached(feed, third)
        for name in ("heard", "read", "heard again"):
            assert not feed.is_live({"jti": name, "rev": FIRST})
