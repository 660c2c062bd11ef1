"""The rule book: what was configured counts, what cannot be known lets nobody in."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi import FastAPI

from watchword_authz.models import RuleCopy
from watchword_events.exports import (
    ClientExport,
    Exported,
    HomeOrganization,
    OrganizationRights,
    RuleExport,
    UserExport,
)
from watchword_events.names import Service
from watchword_policy.rules import Access, Client, Outcome
from watchword_runtime import books as module
from watchword_runtime.books import BookAway
from watchword_runtime.copies import Copy
from watchword_runtime.internal import ExportQuery, InternalClients, Unreachable, router
from watchword_runtime.rules import RuleBook, person_facts, rules_client
from watchword_runtime.service import Receive, Scope, Send
from watchword_testkit.databases import TestDatabase

from .conftest import BrokerFor, SettingsFor, eventually

CLIENT = Client("c-1")
NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
USER = UserExport(
    id="u-1",
    username="ann",
    email="ann@demo.test",
    email_verified=True,
    claims={"name": "Ann"},
    claims_version=1,
    groups=("ops",),
    roles=("staff",),
    organization="o-1",
    home=HomeOrganization(id="o-1", short_name="acme", name="Acme"),
    organizations=(OrganizationRights(organization="o-1", roles=("lead",)),),
    attributes={"department": "R&D"},
)


class World:
    """admin's rules by id, and authz's book of them."""

    def __init__(self, settings_for: SettingsFor, database: TestDatabase) -> None:
        self.rules: dict[str, Exported[RuleExport]] = {}
        self.away = False
        self.app = FastAPI()
        self.app.include_router(router(settings_for(Service.ADMIN).keyring, Service.ADMIN, {"rule": self._export}))
        self.database = database.open(Service.AUTHZ)
        ways = InternalClients({Service.ADMIN: self._through})
        self.copy = Copy(
            entity="rule",
            owner=Service.ADMIN,
            table=RuleCopy,
            export=RuleExport,
            database=self.database,
            internal=ways.of(settings_for(Service.AUTHZ), Service.AUTHZ),
        )

    def put(self, name: str, version: int = 1, **given: Any) -> None:
        data = RuleExport(id=name, name=name, **({"expression": "'ops' in groups"} | given))
        self.rules[name] = Exported(id=name, version=version, data=data)

    def delete(self, name: str, version: int) -> None:
        self.rules[name] = Exported(id=name, version=version, deleted=True)

    async def _export(self, query: ExportQuery) -> Sequence[Exported[Any]]:
        if query.ids:
            return [self.rules[each] for each in query.ids if each in self.rules]
        return [self.rules[each] for each in sorted(self.rules) if each > query.after][: query.limit]

    async def _through(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.away:
            raise ConnectionRefusedError
        await self.app(scope, receive, send)


@pytest.fixture
async def world(settings_for: SettingsFor, database: TestDatabase) -> AsyncIterator[World]:
    made = World(settings_for, database)
    yield made
    await made.copy.stop()
    async with database.postgres.admin(database.name) as admin:
        await admin.execute("TRUNCATE authz.rule_copy")


@pytest.fixture
async def book(world: World, broker_for: BrokerFor, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RuleBook]:
    monkeypatch.setattr(module, "_COMPARE_S", 0.02)
    async with broker_for(Service.AUTHZ, "nats://127.0.0.1:1", world.database) as broker:
        made = RuleBook(world.copy, broker)
        made.start()
        yield made
        await made.stop()


def asked(book: RuleBook, client: Client = CLIENT) -> Outcome:
    facts = person_facts(USER, client, iss="https://sso.example", ip="192.0.2.1", time=NOW)
    return book.decide(facts, client).outcome


async def test_nothing_is_decided_before_the_rules_are_there(world: World, book: RuleBook) -> None:
    world.put("ops")
    with pytest.raises(BookAway):
        asked(book)
    assert not book.ready
    world.copy.start()
    await eventually(lambda: book.ready)
    assert asked(book) is Outcome.MATCHED


async def test_what_the_copy_learns_counts_also_without_an_event(world: World, book: RuleBook) -> None:
    world.copy.start()
    await eventually(lambda: book.ready)
    assert asked(book) is Outcome.NO_RULES
    before = book.page
    world.put("ops", expression="'hr' in groups")
    await world.copy.pull(["ops"])
    await eventually(lambda: asked(book) is Outcome.NO_MATCH)
    assert book.page is not before
    world.put("ops", version=2)
    await world.copy.pull(["ops"])
    await eventually(lambda: asked(book) is Outcome.MATCHED)
    world.delete("ops", version=3)
    await world.copy.pull(["ops"])
    await eventually(lambda: asked(book) is Outcome.NO_RULES)


async def test_a_copy_that_was_emptied_decides_nothing_until_it_is_filled(world: World, book: RuleBook) -> None:
    world.put("ops")
    world.copy.start()
    await eventually(lambda: book.ready)
    world.away = True
    pool = await world.database.raw_pool()
    await pool.execute("DELETE FROM authz.copy_state; DELETE FROM authz.rule_copy")
    with pytest.raises(Unreachable):
        await world.copy.fill()
    with pytest.raises(BookAway):
        asked(book)
    world.away = False
    await world.copy.fill()
    await eventually(lambda: book.ready)
    assert asked(book) is Outcome.MATCHED


async def test_a_rule_of_a_newer_release_matches_nobody_and_keeps_its_client_closed(
    world: World, book: RuleBook
) -> None:
    world.put("newer", expression="groups.someday('ops')")
    world.copy.start()
    await eventually(lambda: book.ready)
    assert asked(book) is Outcome.NO_MATCH


async def test_before_somebody_is_turned_away_the_owner_is_asked_once_a_second(world: World, book: RuleBook) -> None:
    world.put("hr", expression="'hr' in groups")
    world.copy.start()
    await eventually(lambda: book.ready)
    assert asked(book) is Outcome.NO_MATCH
    world.put("ops")
    await book.renew()
    assert asked(book) is Outcome.MATCHED
    world.put("more")
    await book.renew()
    assert len(book.page) == 2, "asked a moment ago"
    world.away = True
    book._renewed_at = asyncio.get_running_loop().time() - 2
    with pytest.raises(Unreachable):
        await book.renew()


async def test_whether_rules_decide_about_a_client(world: World, book: RuleBook) -> None:
    world.put("named", clients=frozenset({"c-1"}))
    world.put("delegated", organization="o-1")
    world.copy.start()
    await eventually(lambda: book.ready)
    assert book.governs(CLIENT)
    assert not book.governs(Client("c-2"))
    assert not book.governs(Client("c-2", "o-1")), "a delegated rule alone closes nothing"
    assert book.governs(Client("c-2", access=Access.RULES))
    assert not book.governs(Client("c-1", access=Access.OPEN))


def test_what_rules_see_of_a_person() -> None:
    client = rules_client(ClientExport(client_id="c-1", client_name="App", organization="o-1", access="rules"))
    assert client == Client("c-1", "o-1", Access.RULES)
    facts = person_facts(USER, client, iss="https://idp.example", ip="192.0.2.1", time=NOW)
    assert (facts.sub, facts.iss, facts.groups, facts.email) == (
        "u-1",
        "https://idp.example",
        ("ops",),
        "ann@demo.test",
    )
    assert (facts.client, facts.ip, facts.time) == ("c-1", "192.0.2.1", NOW)
    assert facts.claims == {
        "sub": "u-1",
        "iss": "https://idp.example",
        "username": "ann",
        "preferred_username": "ann",
        "name": "Ann",
        "email": "ann@demo.test",
        "email_verified": True,
        "groups": ["ops"],
        "roles": ["lead", "staff"],
        "organization": "acme",
        "department": "R&D",
    }
    elsewhere = person_facts(USER, Client("c-2"), iss="i", ip="", time=NOW)
    assert elsewhere.claims["roles"] == ["staff"], "a role within an organization counts for its clients only"


def test_attributes_cannot_pass_for_what_watchword_says() -> None:
    user = USER.model_copy(
        update={"attributes": {"groups": ["admin"], "sub": "root", "email_verified": True}, "email": None}
    )
    facts = person_facts(user, CLIENT, iss="i", ip="", time=NOW)
    assert facts.claims["groups"] == ["ops"]
    assert facts.claims["sub"] == "u-1"
    assert facts.groups == ("ops",)
    assert facts.email == ""
