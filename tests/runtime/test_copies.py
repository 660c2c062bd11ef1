"""Copies: never older over newer, and what is missing is asked for once."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import MetaData, Text
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

from watchword_database.base import CopyColumns
from watchword_events.contracts import ClientDeleted, ClientUpdated, Event
from watchword_events.exports import ClientExport, Exported
from watchword_events.names import Service
from watchword_runtime import copies
from watchword_runtime.copies import Copy
from watchword_runtime.internal import ExportQuery, InternalClients, Unreachable, router
from watchword_runtime.service import Receive, Scope, Send
from watchword_runtime.work import Received
from watchword_testkit.databases import TestDatabase

from .conftest import SettingsFor, eventually


class Base(SQLModel, registry=registry(metadata=MetaData(schema="authz"))):
    """The schema in which the table is made for these tests."""


class ThingCopy(CopyColumns, Base, table=True):
    """A copy of clients with one column to find by."""

    __tablename__ = "thing_copy"
    client_name: str | None = Field(default=None, sa_type=Text, index=True, nullable=True)


class StrictCopy(CopyColumns, Base, table=True):
    """A copy that could not hold a tombstone."""

    __tablename__ = "strict_copy"
    client_name: str = Field(sa_type=Text)


CREATE = """
CREATE TABLE authz.thing_copy (
    id text PRIMARY KEY, version bigint NOT NULL, deleted boolean NOT NULL, data jsonb NOT NULL,
    copied_at timestamptz NOT NULL DEFAULT now(), client_name text);
GRANT SELECT, INSERT, UPDATE, DELETE ON authz.thing_copy TO watchword_authz;
"""


class Owner:
    """`admin`, with clients by id: version, and name or None for a deleted one."""

    def __init__(self) -> None:
        self.clients: dict[str, tuple[int, str | None]] = {}
        self.asked: list[ExportQuery] = []
        self.away = False
        self.slow = asyncio.Event()
        self.slow.set()
        self.broken = False

    async def export(self, query: ExportQuery) -> Sequence[Exported[Any]]:
        self.asked.append(query)
        answer = [self._exported(id_) for id_ in sorted(self.clients) if self._matches(id_, query)]
        await self.slow.wait()
        return answer[: query.limit]

    def _matches(self, id_: str, query: ExportQuery) -> bool:
        if query.ids:
            return id_ in query.ids
        if query.lookup:
            return self.clients[id_][1] == query.lookup[1]
        return id_ > query.after

    def _exported(self, id_: str) -> Exported[Any]:
        version, name = self.clients[id_]
        if name is None:
            return Exported[ClientExport](id=id_, version=version, deleted=True)
        if self.broken:
            return Exported[Any](id=id_, version=version, data={"client_name": name})
        return Exported[ClientExport](id=id_, version=version, data=ClientExport(client_id=id_, client_name=name))


class World:
    def __init__(self, settings_for: SettingsFor, database: TestDatabase) -> None:
        self.owner = Owner()
        self.app = FastAPI()
        keyring = settings_for(Service.ADMIN).keyring
        lookups = {"client": frozenset({"client_name"})}
        self.app.include_router(router(keyring, Service.ADMIN, {"client": self.owner.export}, lookups=lookups))
        self.database = database.open(Service.AUTHZ)
        ways = InternalClients({Service.ADMIN: self._through})
        self._internal = ways.of(settings_for(Service.AUTHZ), Service.AUTHZ)
        self.copy = self.another_instance()

    def another_instance(self) -> Copy[ClientExport]:
        return Copy(
            entity="client",
            owner=Service.ADMIN,
            table=ThingCopy,
            export=ClientExport,
            database=self.database,
            internal=self._internal,
        )

    async def _through(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.owner.away:
            raise ConnectionRefusedError
        await self.app(scope, receive, send)


@pytest.fixture
async def world(settings_for: SettingsFor, database: TestDatabase) -> World:
    async with database.postgres.admin(database.name) as admin:
        await admin.execute(CREATE)
    return World(settings_for, database)


def received(*events: Event) -> list[Received]:
    return [
        Received(event_id=str(n), type=event.type_name(), subject=event.subject(), event=event, seq=n)
        for n, event in enumerate(events)
    ]


async def name_of(world: World, id_: str, min_version: int = 0) -> str | None:
    found = await world.copy.get(id_, min_version)
    return found.client_name if found else None


# Reading -------------------------------------------------------------------------------------------------------------


async def test_what_was_configured_a_moment_ago_is_pulled_once(world: World) -> None:
    world.owner.clients["a"] = (1, "argo")
    assert await name_of(world, "a") == "argo"
    assert await name_of(world, "a") == "argo"
    assert len(world.owner.asked) == 1


async def test_what_does_not_exist_is_nothing(world: World) -> None:
    assert await name_of(world, "nobody") is None


async def test_a_deleted_entity_is_nothing_and_is_not_asked_for_again(world: World) -> None:
    world.owner.clients["a"] = (2, None)
    assert await name_of(world, "a") is None
    assert await name_of(world, "a") is None
    assert len(world.owner.asked) == 1


async def test_an_older_copy_than_is_asked_for_is_pulled(world: World) -> None:
    world.owner.clients["a"] = (1, "before")
    assert await name_of(world, "a") == "before"
    world.owner.clients["a"] = (2, "after")
    assert await name_of(world, "a") == "before"
    assert await name_of(world, "a", min_version=2) == "after"
    assert await name_of(world, "a", min_version=3) is None


async def test_concurrent_misses_are_one_pull(world: World) -> None:
    world.owner.clients["a"] = (1, "argo")
    world.owner.slow.clear()
    readers = [asyncio.create_task(name_of(world, "a")) for _ in range(20)]
    await eventually(lambda: bool(world.owner.asked))
    world.owner.slow.set()
    assert await asyncio.gather(*readers) == ["argo"] * 20
    assert len(world.owner.asked) == 1


async def test_a_pull_that_began_too_early_is_repeated(world: World) -> None:
    """It may have read the owner before the version existed that this reader was promised."""
    world.owner.clients["a"] = (1, "before")
    world.owner.slow.clear()
    early = asyncio.create_task(name_of(world, "a"))
    await eventually(lambda: bool(world.owner.asked))
    world.owner.clients["a"] = (2, "after")
    late = asyncio.create_task(name_of(world, "a", min_version=2))
    await asyncio.sleep(0.05)
    world.owner.slow.set()
    assert await early in {"before", "after"}
    assert await late == "after"


async def test_a_reader_that_leaves_does_not_take_the_others_pull_along(world: World) -> None:
    world.owner.clients["a"] = (1, "argo")
    world.owner.slow.clear()
    first = asyncio.create_task(name_of(world, "a"))
    await eventually(lambda: bool(world.owner.asked))
    second = asyncio.create_task(name_of(world, "a"))
    await asyncio.sleep(0.05)
    first.cancel()
    world.owner.slow.set()
    assert await second == "argo"


async def test_whoever_guesses_ids_does_not_keep_the_owner_busy(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "MISSES_PER_S", 0.0)
    monkeypatch.setattr(copies, "MISSES_AT_ONCE", 5.0)
    world.copy = world.another_instance()
    for number in range(20):
        assert await name_of(world, f"guess-{number}") is None
    assert len(world.owner.asked) == 5
    world.owner.clients["a"] = (3, "argo")
    assert await name_of(world, "a") is None
    assert await name_of(world, "a", min_version=3) == "argo"  # promised by a ticket: not a guess


async def test_an_owner_that_is_away_is_an_outage_for_what_is_not_here(world: World) -> None:
    world.owner.clients = {"a": (1, "argo")}
    await world.copy.pull(["a"])
    world.owner.away = True
    assert await name_of(world, "a") == "argo"
    for ask in (world.copy.get("b"), world.copy.get("a", 2), world.copy.find(client_name="other")):
        with pytest.raises(Unreachable):
            await ask


async def test_data_that_is_not_understood_is_not_copied(world: World) -> None:
    world.owner.clients["a"] = (1, "argo")
    world.owner.broken = True
    with pytest.raises(Unreachable):
        await world.copy.get("a")
    world.owner.broken = False
    assert await name_of(world, "a") == "argo"


async def test_an_entity_is_found_by_a_column(world: World) -> None:
    world.owner.clients = {"a": (1, "argo"), "b": (1, "grafana")}
    found = await world.copy.find(client_name="grafana")
    assert found is not None
    assert found.client_id == "b"
    assert await world.copy.find(client_name="grafana") == found
    assert len(world.owner.asked) == 1
    assert await world.copy.find(client_name="nothing") is None
    with pytest.raises(TypeError):
        await world.copy.find(version="1")


async def test_a_name_that_moved_is_found_where_it_is_now(world: World) -> None:
    world.owner.clients = {"a": (1, "argo"), "b": (1, "grafana")}
    await world.copy.pull(["a", "b"])
    world.owner.clients = {"a": (2, "old-argo"), "b": (2, "argo")}
    await world.copy.pull(["b"])  # now two rows claim the name
    found = await world.copy.find(client_name="argo")
    assert found is None or found.client_id == "b"
    await world.copy.pull(["a"])
    found = await world.copy.find(client_name="argo")
    assert found is not None
    assert found.client_id == "b"


# Following -----------------------------------------------------------------------------------------------------------


async def test_events_bring_the_copy_up_to_date_in_one_pull(world: World) -> None:
    world.owner.clients = {"a": (2, "argo"), "b": (1, "grafana")}
    events = received(
        ClientUpdated(id="a", version=1), ClientUpdated(id="a", version=2), ClientUpdated(id="b", version=1)
    )
    await world.copy.on_events(events)
    assert [set(query.ids) for query in world.owner.asked] == [{"a", "b"}]
    await world.copy.on_events(events)
    assert len(world.owner.asked) == 1
    assert (await name_of(world, "a"), await name_of(world, "b")) == ("argo", "grafana")


async def test_never_older_over_newer(world: World) -> None:
    world.owner.clients["a"] = (5, "new")
    await world.copy.pull(["a"])
    world.owner.clients["a"] = (4, "old")
    await world.copy.pull(["a"])
    assert await name_of(world, "a") == "new"


async def test_two_instances_that_pull_at_once_agree_on_the_newest(world: World) -> None:
    ids = [f"c{n}" for n in range(30)]
    instances = [world.another_instance() for _ in range(4)]
    for version in range(1, 6):
        world.owner.clients = dict.fromkeys(ids, (version, f"v{version}"))
        await asyncio.gather(*(each.pull(reversed(ids) if n % 2 else ids) for n, each in enumerate(instances)))
    assert {await name_of(world, id_) for id_ in ids} == {"v5"}


async def test_a_deletion_leaves_a_tombstone(world: World) -> None:
    world.owner.clients["a"] = (1, "argo")
    await world.copy.pull(["a"])
    world.owner.clients["a"] = (2, None)
    await world.copy.on_events(received(ClientDeleted(id="a", version=2)))
    assert await name_of(world, "a") is None
    assert await world.copy.find(client_name="argo") is None


async def test_what_the_owner_does_not_have_any_more_is_gone_here(world: World) -> None:
    world.owner.clients["a"] = (1, "argo")
    await world.copy.pull(["a"])
    world.owner.clients.clear()
    await world.copy.on_events(received(ClientDeleted(id="a", version=2), ClientDeleted(id="never-seen", version=1)))
    assert await name_of(world, "a") is None
    asked = len(world.owner.asked)
    await world.copy.on_events(received(ClientDeleted(id="a", version=2)))
    assert len(world.owner.asked) == asked


@pytest.mark.parametrize(
    "forged", [ClientDeleted(id="a", version=99), ClientUpdated(id="a", version=99)], ids=["deleted", "updated"]
)
async def test_a_forged_event_changes_nothing(world: World, forged: Event) -> None:
    """An event is a reason to ask the owner, never an instruction."""
    world.owner.clients["a"] = (3, "argo")
    await world.copy.pull(["a"])
    await world.copy.on_events(received(forged))
    assert await name_of(world, "a") == "argo"
    world.owner.clients["a"] = (4, "argo-cd")
    await world.copy.on_events(received(ClientUpdated(id="a", version=4)))
    assert await name_of(world, "a") == "argo-cd"


async def test_an_event_whose_owner_is_away_is_not_done(world: World) -> None:
    world.owner.away = True
    with pytest.raises(Unreachable):
        await world.copy.on_events(received(ClientUpdated(id="a", version=1)))


# Filling -------------------------------------------------------------------------------------------------------------


async def test_a_new_copy_is_filled_page_by_page_and_only_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "MAX_PAGE", 2)
    world.owner.clients = {f"c{n}": (1, f"name-{n}") for n in range(5)} | {"gone": (7, None)}
    await world.copy.fill()
    assert world.copy.ready
    assert [query.after for query in world.owner.asked] == ["", "c1", "c3", "gone"]
    another = world.another_instance()
    await another.fill()
    assert another.ready
    assert len(world.owner.asked) == 4
    assert await name_of(world, "c4") == "name-4"


async def test_filling_waits_for_the_owner(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "_FILL_RETRY_S", (0.01,))
    world.owner.away = True
    world.copy.start()
    await asyncio.sleep(0.1)
    before = world.copy.ready
    world.owner.away = False
    await eventually(lambda: world.copy.ready)
    assert not before
    await world.copy.stop()


async def test_a_copy_that_was_emptied_begins_anew_in_every_instance(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a back-up was restored: what was newer is gone, and what was made of it is forgotten."""
    monkeypatch.setattr(copies, "LOOK_S", 0.02)
    world.owner.clients = {"kept": (5, "five"), "lost": (1, "one")}
    both, forgotten = [world.copy, world.another_instance()], [0, 0]

    def forget(number: int) -> None:
        forgotten[number] += 1

    for number, copy in enumerate(both):
        copy.on_emptied(partial(forget, number))
        copy.start()
    await eventually(lambda: all(copy.ready for copy in both))
    assert forgotten == [0, 0]

    world.owner.clients = {"kept": (3, "three")}
    pool = await world.database.raw_pool()
    await pool.execute("WITH gone AS (DELETE FROM authz.thing_copy) DELETE FROM authz.copy_state")
    await eventually(lambda: forgotten == [1, 1])
    await eventually(lambda: all(copy.ready for copy in both))
    assert (await name_of(world, "kept"), await name_of(world, "lost")) == ("three", None)
    for copy in both:
        await copy.stop()
    assert forgotten == [1, 1]


async def test_filling_can_be_given_up(world: World) -> None:
    world.owner.away = True
    world.copy.start()
    await asyncio.sleep(0.05)
    await world.copy.stop()
    assert not world.copy.ready


def test_a_table_that_cannot_hold_a_tombstone_is_refused(world: World) -> None:
    with pytest.raises(TypeError, match=r"strict_copy\.client_name must be nullable"):
        Copy(
            entity="client",
            owner=Service.ADMIN,
            table=StrictCopy,
            export=ClientExport,
            database=world.database,
            internal=world._internal,
        )
