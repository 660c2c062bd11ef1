"""Books: everything of a small kind in memory, as new as the copy; while nobody can know, nothing is answered."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from fastapi import FastAPI

from watchword_authz.models import ScopeCopy
from watchword_events.contracts import ScopeChanged
from watchword_events.exports import Exported, ScopeExport
from watchword_events.names import Service
from watchword_runtime import books as module
from watchword_runtime import copies
from watchword_runtime.books import Book, BookAway
from watchword_runtime.copies import Copy
from watchword_runtime.internal import ExportQuery, InternalClients, Unreachable, router
from watchword_runtime.service import Receive, Scope, Send
from watchword_runtime.work import Received
from watchword_testkit.databases import TestDatabase

from .conftest import BrokerFor, SettingsFor, eventually


class World:
    """admin's scopes by id, and authz's copy of them."""

    def __init__(self, settings_for: SettingsFor, database: TestDatabase) -> None:
        self.scopes: dict[str, Exported[ScopeExport]] = {}
        self.away = False
        self.app = FastAPI()
        self.app.include_router(router(settings_for(Service.ADMIN).keyring, Service.ADMIN, {"scope": self._export}))
        self.database = database.open(Service.AUTHZ)
        ways = InternalClients({Service.ADMIN: self._through})
        self.copy = Copy(
            entity="scope",
            owner=Service.ADMIN,
            table=ScopeCopy,
            export=ScopeExport,
            database=self.database,
            internal=ways.of(settings_for(Service.AUTHZ), Service.AUTHZ),
        )

    def put(self, name: str, description: str = "Read", version: int = 1) -> None:
        data = ScopeExport(id=name, name=name, description=description)
        self.scopes[name] = Exported(id=name, version=version, data=data)

    def delete(self, name: str, version: int) -> None:
        self.scopes[name] = Exported(id=name, version=version, deleted=True)

    async def _export(self, query: ExportQuery) -> Sequence[Exported[Any]]:
        if query.ids:
            return [self.scopes[each] for each in query.ids if each in self.scopes]
        return [self.scopes[each] for each in sorted(self.scopes) if each > query.after][: query.limit]

    async def _through(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.away:
            raise ConnectionRefusedError
        await self.app(scope, receive, send)


def told(scopes: Sequence[ScopeExport]) -> dict[str, str]:
    return {scope.name: scope.description for scope in scopes}


@pytest.fixture
async def world(settings_for: SettingsFor, database: TestDatabase) -> AsyncIterator[World]:
    made = World(settings_for, database)
    yield made
    await made.copy.stop()
    async with database.postgres.admin(database.name) as admin:
        await admin.execute("TRUNCATE authz.scope_copy")


Told = Book[ScopeExport, dict[str, str]]


@pytest.fixture
async def book(world: World, broker_for: BrokerFor, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Told]:
    monkeypatch.setattr(module, "_COMPARE_S", 0.02)
    async with broker_for(Service.AUTHZ, "nats://127.0.0.1:1", world.database) as broker:
        made = Book("scope", world.copy, broker, owner=Service.ADMIN, make=told)
        made.start()
        yield made
        await made.stop()


async def test_nothing_is_answered_before_the_copy_is_there(world: World, book: Told) -> None:
    world.put("read")
    with pytest.raises(BookAway):
        _ = book.page
    assert not book.ready
    world.copy.start()
    await eventually(lambda: book.ready)
    assert book.page == {"read": "Read"}


async def test_what_the_copy_learns_is_there_also_without_an_event(world: World, book: Told) -> None:
    changes = 0

    def count() -> None:
        nonlocal changes
        changes += 1

    book.on_change(count)
    world.copy.start()
    await eventually(lambda: book.ready)
    assert (book.page, changes) == ({}, 1)
    world.put("read", "Read orders")
    await world.copy.pull(["read"])
    await eventually(lambda: book.page == {"read": "Read orders"})
    assert changes == 2
    world.delete("read", version=2)
    await world.copy.pull(["read"])
    await eventually(lambda: book.page == {})


async def test_a_copy_that_was_emptied_answers_nothing_until_it_is_filled(world: World, book: Told) -> None:
    world.put("read")
    world.copy.start()
    await eventually(lambda: book.ready)
    world.away = True
    pool = await world.database.raw_pool()
    await pool.execute("DELETE FROM authz.copy_state; DELETE FROM authz.scope_copy")
    with pytest.raises(Unreachable):
        await world.copy.fill()
    with pytest.raises(BookAway):
        _ = book.page
    world.away = False
    await world.copy.fill()
    await eventually(lambda: book.ready)
    assert book.page == {"read": "Read"}


async def test_a_copy_that_begins_anew_is_read_at_once(
    world: World, broker_for: BrokerFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A back-up came back: nobody waits for the next look, of the copy or of the book."""
    monkeypatch.setattr(module, "_COMPARE_S", 1_000.0)
    monkeypatch.setattr(copies, "LOOK_S", 1_000.0)
    world.put("read")
    world.copy.start()
    async with broker_for(Service.AUTHZ, "nats://127.0.0.1:1", world.database) as broker:
        book = Book("scope", world.copy, broker, owner=Service.ADMIN, make=told)
        book.start()
        await eventually(lambda: book.ready)
        world.put("write")
        pool = await world.database.raw_pool()
        await pool.execute("DELETE FROM authz.copy_state; DELETE FROM authz.scope_copy")
        world.copy.begin_anew()
        with pytest.raises(BookAway):
            _ = book.page
        await eventually(lambda: book.ready)
        assert book.page == {"read": "Read", "write": "Read"}
        await book.stop()


async def test_a_part_of_what_there_is_is_not_answered_as_the_whole(world: World, book: Told) -> None:
    """An event names one entity while the copy is not filled: of the others nobody knows."""
    world.put("read")
    world.put("write")
    event = ScopeChanged(id="read", version=1)
    await book._on_event(Received(event_id="1", type=event.type_name(), subject=event.subject(), event=event, seq=1))
    await book.catch_up()
    with pytest.raises(BookAway):
        _ = book.page
    world.copy.start()
    await eventually(lambda: book.ready)
    assert book.page == {"read": "Read", "write": "Read"}


async def test_what_was_read_of_a_copy_that_began_anew_meanwhile_is_not_answered(
    world: World, broker_for: BrokerFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The book is compared at the moment at which the copy is found empty, and its owner is away."""
    monkeypatch.setattr(module, "_COMPARE_S", 1_000.0)
    making, go_on = threading.Event(), threading.Event()
    go_on.set()

    def slowly(scopes: Sequence[ScopeExport]) -> dict[str, str]:
        making.set()
        assert go_on.wait(30)
        return told(scopes)

    world.put("read")
    world.copy.start()
    async with broker_for(Service.AUTHZ, "nats://127.0.0.1:1", world.database) as broker:
        book = Book("scope", world.copy, broker, owner=Service.ADMIN, make=slowly)
        book.start()
        await eventually(lambda: book.ready)
        making.clear()
        go_on.clear()
        await (await world.database.raw_pool()).execute("DELETE FROM authz.scope_copy")
        reading = asyncio.create_task(book._reload())
        await eventually(making.is_set)
        world.away = True
        await (await world.database.raw_pool()).execute("DELETE FROM authz.copy_state")
        world.copy.begin_anew()
        go_on.set()
        await reading
        with pytest.raises(BookAway):
            _ = book.page
        await book.stop()


async def test_before_somebody_is_refused_the_owner_is_asked_once_a_second(world: World, book: Told) -> None:
    world.copy.start()
    await eventually(lambda: book.ready)
    world.put("read")
    await book.renew()
    assert book.page == {"read": "Read"}
    world.put("write")
    await book.renew()
    assert book.page == {"read": "Read"}, "asked a moment ago"
    world.away = True
    book._renewed_at = asyncio.get_running_loop().time() - 2
    with pytest.raises(Unreachable):
        await book.renew()
