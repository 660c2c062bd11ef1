"""Decisions, written behind: nobody waits, nothing readable is stored, and nothing wrong stands in the way."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from watchword_database import Database, decisions, transaction
from watchword_database.decisions import DecisionRow
from watchword_events.names import Service
from watchword_policy.facts import Facts
from watchword_policy.rules import Decision, Outcome
from watchword_runtime import behind
from watchword_runtime.decisions import DecisionLog
from watchword_runtime.keyring import Unsealable
from watchword_testkit.databases import TestDatabase

KEY = b"k" * 32
NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
DECISION = Decision(
    Outcome.MATCHED,
    "ops matches.",
    rule="ops",
    rule_id="r-1",
    service_account="admin",
    roles=("a", "b"),
    policy=("ops", "all"),
    failures=(("broken", "no such key"),),
)
DENIED = Decision(Outcome.NO_MATCH, "None of 1 rules matches.")


def facts(**given: Any) -> Facts:
    return Facts(**({"sub": "u-1", "iss": "https://i", "time": NOW, "client": "c-1", "groups": ["ops"]} | given))


@pytest.fixture
async def of_authz(database: TestDatabase) -> AsyncIterator[Database]:
    yield database.open(Service.AUTHZ)
    async with database.postgres.admin(database.name) as admin:
        await admin.execute("TRUNCATE bus.decisions")


async def found(database: Database, decision_id: str) -> DecisionRow:
    async with transaction(database) as session:
        row = await decisions.find(session, decision_id)
    assert row is not None
    return row


async def test_a_decision_is_found_with_its_facts_sealed(of_authz: Database) -> None:
    log = DecisionLog(of_authz, KEY)
    given = facts(email="ann@demo.test", claims={"department": "R&D"})
    decision_id = log.note(DECISION, given, "sign-in", user_id="u-1")
    await log.flush()
    row = await found(of_authz, decision_id)
    assert (row.at, row.occasion, row.client_id, row.user_id) == (NOW, "sign-in", "c-1", "u-1")
    assert (row.allowed, row.outcome, row.rule, row.rule_id, row.why) == (True, "matched", "ops", "r-1", "ops matches.")
    assert (row.service_account, row.roles, row.policy) == ("admin", ["a", "b"], ["ops", "all"])
    assert row.failures == {"broken": "no such key"}
    recorded = log.read(row)
    assert recorded.is_whole
    assert recorded.model_dump(exclude={"left_out"}) == given.model_dump()
    assert b"R&D" not in row.facts
    assert b"ann@demo.test" not in row.facts


async def test_facts_of_one_decision_are_not_another_s(of_authz: Database) -> None:
    log = DecisionLog(of_authz, KEY)
    one, other = (log.note(DECISION, facts(sub=sub), "sign-in", user_id=sub) for sub in ("u-1", "u-2"))
    await log.flush()
    mixed = replace(await found(of_authz, one), facts=(await found(of_authz, other)).facts)
    with pytest.raises(Unsealable):
        log.read(mixed)


async def test_it_is_written_in_the_background_and_at_the_end(of_authz: Database) -> None:
    log = DecisionLog(of_authz, KEY)
    log.start()
    ids = [log.note(DENIED, facts(), "sign-in", user_id="u-1") for _ in range(500)]
    await log.stop()
    async with transaction(of_authz) as session:
        assert len(await decisions.list_decisions(session, before="", limit=1000)) == len(ids)


@pytest.mark.parametrize(
    ("given", "is_whole"),
    [
        # no rule sees such a claim, then or now
        pytest.param({"claims": {"a": "\ud800", "b": 1}}, True, id="half a character in a claim"),
        pytest.param({"sub": "\ud800"}, False, id="half a character as subject"),
        pytest.param({"groups": ["g" * 1000] * 500}, False, id="half a megabyte of groups"),
        pytest.param({"claims": {f"c{n}": "x" * 1000 for n in range(500)}}, False, id="half a megabyte of claims"),
        pytest.param({"email": "x" * 100_000}, False, id="a long text"),
        pytest.param({"claims": {"n": float("nan")}}, True, id="no number"),
    ],
)
async def test_whatever_facts_hold_they_are_kept_within_bounds(
    of_authz: Database, given: dict[str, Any], is_whole: bool
) -> None:
    log = DecisionLog(of_authz, KEY)
    decision_id = log.note(DENIED, facts(**given), "exchange", user_id=None)
    await log.flush()
    row = await found(of_authz, decision_id)
    assert len(row.facts) <= 64 * 1024 + 28
    recorded = log.read(row)
    assert recorded.client == "c-1"
    assert recorded.is_whole is is_whole


async def test_while_postgresql_is_away_decisions_wait(of_authz: Database, database: TestDatabase) -> None:
    nowhere = Database(database.url(Service.AUTHZ).replace(f"/{database.name}", "/nowhere"), service=Service.AUTHZ)
    log = DecisionLog(nowhere, KEY)
    decision_id = log.note(DENIED, facts(), "sign-in", user_id=None)
    with pytest.raises(Exception, match="nowhere"):
        await log.flush()
    log._database = log._seal._database = of_authz
    await log.flush()
    assert (await found(of_authz, decision_id)).outcome == "no_match"
    await nowhere.dispose()


async def test_the_oldest_are_lost_when_too_many_wait_and_that_is_said(
    of_authz: Database, monkeypatch: pytest.MonkeyPatch, log_lines: list[dict[str, Any]]
) -> None:
    monkeypatch.setattr(behind, "_WAITING", 3)
    log = DecisionLog(of_authz, KEY)
    ids = [log.note(DENIED, facts(), "sign-in", user_id=None) for _ in range(5)]
    log.start()
    await log.stop()
    async with transaction(of_authz) as session:
        kept = {row.id for row in await decisions.list_decisions(session, before="", limit=9)}
    assert kept == set(ids[2:])
    assert [line["count"] for line in log_lines if line["event"] == "decisions.lost"] == [2]


async def test_who_may_write_read_and_forget_decisions(of_authz: Database, database: TestDatabase) -> None:
    token = DecisionLog(database.open(Service.TOKEN), KEY)
    decision_id = token.note(DENIED, facts(), "refresh", user_id="u-1")
    await token.flush()
    assert (await found(of_authz, decision_id)).occasion == "refresh"
    for service in (Service.TOKEN, Service.ADMIN, Service.DIRECTORY, Service.FEDERATION):
        with pytest.raises(DBAPIError, match="permission denied"):
            async with transaction(database.open(service)) as session:
                await decisions.find(session, decision_id)
    with pytest.raises(Exception, match="permission denied"):
        stranger = DecisionLog(database.open(Service.ADMIN), KEY)
        stranger.note(DENIED, facts(), "refresh", user_id=None)
        await stranger.flush()


async def test_decisions_are_listed_newest_first_and_forgotten(of_authz: Database) -> None:
    log = DecisionLog(of_authz, KEY)
    old = log.note(DENIED, facts(time=NOW - timedelta(days=31)), "sign-in", user_id="u-1")
    first = log.note(DENIED, facts(), "sign-in", user_id="u-1")
    second = log.note(DECISION, facts(client="c-2"), "sign-in", user_id="u-2")
    await log.flush()

    async def listed(**given: Any) -> list[str]:
        async with transaction(of_authz) as session:
            return [row.id for row in await decisions.list_decisions(session, **{"before": "", "limit": 9} | given)]

    assert await listed() == [second, first, old]
    assert await listed(before=second, limit=1) == [first]
    assert await listed(user_id="u-2") == [second]
    assert await listed(client_id="c-1", allowed=False) == [first, old]
    assert await listed(rule_id="r-1") == [second]
    async with transaction(of_authz) as session:
        await decisions.forget_of(session, "u-2")
    assert await listed() == [first, old]
