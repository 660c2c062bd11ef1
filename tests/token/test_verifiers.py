"""Verifiers report how far they follow the ledger, and whoever revokes can wait for them all."""

import asyncio
from typing import Any

import pytest
from tests.token.conftest import Site

from watchword_database import followers
from watchword_database.ids import new_id
from watchword_events.names import Service
from watchword_token import verifiers
from watchword_token.sweeper import sweep

Headers = dict[str, str]


async def reader_of(site: Site, scope: str = "revocations:read") -> Headers:
    """Headers of a client of its own that may read the feed."""
    app = await site.client(scope=[scope])
    return {"Authorization": f"Bearer {await site.machine_token(app)}", "client": app.id}


@pytest.fixture
async def reader(site: Site) -> Headers:
    return await reader_of(site)


def body(site: Site, **given: Any) -> dict[str, Any]:
    """A report of an instance that has applied everything."""
    return {
        "name": "billing",
        "instance": "one",
        "audience": "https://api.example",
        "position": site.feed.position,
        "staleness_bound_s": 5,
        "policy": "introspect",
        "kids": ["k-1"],
        "fresh": True,
    } | given


async def report(site: Site, headers: Headers, **given: Any) -> int:
    answer = await site.http.post("/revocations/receipts", headers=headers, json=body(site, **given))
    return answer.status_code


async def listed(site: Site, administrator: Headers, name: str) -> dict[str, Any] | None:
    answer = await site.http.get("/api/v1/verifiers?limit=100", headers=administrator)
    assert answer.status_code == 200, answer.text
    return next((item for item in answer.json()["items"] if item["name"] == name), None)


async def revoke(site: Site, administrator: Headers, query: str = "", **given: Any) -> Any:
    given = given or {"claim": "sub", "value": new_id()}
    return await site.http.post(f"/api/v1/revocations{query}", headers=administrator, json=given)


async def gone(site: Site, headers: Headers, instance: str = "one") -> None:
    answer = await site.http.delete(f"/revocations/receipts/{instance}", headers=headers)
    assert answer.status_code == 204, answer.text


async def test_a_verifier_that_names_itself_is_listed_under_its_client(
    site: Site, reader: Headers, administrator: Headers
) -> None:
    assert await report(site, reader) == 200
    found = await listed(site, administrator, f"{reader['client']}:billing")
    assert found is not None
    assert (found["is_registered"], found["client_id"]) == (False, reader["client"])
    (instance,) = found["instances"]
    assert (instance["instance"], instance["position"], instance["fresh"]) == ("one", site.feed.position, True)
    assert instance["is_reachable"]
    await gone(site, reader)
    found = await listed(site, administrator, f"{reader['client']}:billing")
    assert found is not None
    assert found["instances"] == []


async def test_a_registered_name_belongs_to_the_client_that_reports_first(
    site: Site, reader: Headers, administrator: Headers
) -> None:
    name = f"shop-{new_id()}"[:40]
    made = await site.http.post(
        "/api/v1/verifiers",
        headers=administrator,
        json={"name": name, "audience": "https://api.example", "staleness_bound_s": 5, "policy": "refuse"},
    )
    assert made.status_code == 201, made.text
    again = await site.http.post(
        "/api/v1/verifiers", headers=administrator, json={"name": name, "audience": "https://other.example"}
    )
    assert again.status_code == 409
    entry = (await revoke(site, administrator, "?wait=all&timeout_s=5")).json()
    shown = (await site.http.get(f"/api/v1/revocations/{entry['id']}", headers=administrator)).json()
    assert [(each["name"], each["at"]) for each in shown["unreachable"]] == [(name, None)]
    assert await report(site, reader, name=name) == 200
    stranger = await reader_of(site)
    assert await report(site, stranger, name=name, position=0) == 403
    await gone(site, stranger)
    assert len((await listed(site, administrator, name) or {})["instances"]) == 1
    assert (await site.http.delete(f"/api/v1/verifiers/{made.json()['id']}", headers=administrator)).status_code == 204
    assert await listed(site, administrator, name) is None


async def test_a_position_from_the_future_counts_as_the_newest(
    site: Site, reader: Headers, administrator: Headers
) -> None:
    assert await report(site, reader, position=(1 << 53) - 1) == 200
    answer = await revoke(site, administrator, "?wait=all&timeout_s=1")
    assert answer.status_code == 202
    assert [each["instance"] for each in answer.json()["behind"]] == ["one"]
    await gone(site, reader)


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"position": -1}, id="negative position"),
        pytest.param({"position": 1 << 53}, id="huge position"),
        pytest.param({"position": "7"}, id="text as position"),
        pytest.param({"position": 7.5}, id="fraction as position"),
        pytest.param({"position": True}, id="truth as position"),
        pytest.param({"position": None}, id="no position"),
        pytest.param({"name": ""}, id="no name"),
        pytest.param({"name": "a:b"}, id="name of another client"),
        pytest.param({"name": "a/b"}, id="name with a slash"),
        pytest.param({"name": "n" * 65}, id="long name"),
        pytest.param({"instance": "../x"}, id="instance with a path"),
        pytest.param({"instance": "i" * 65}, id="long instance"),
        pytest.param({"staleness_bound_s": 0}, id="no bound"),
        pytest.param({"staleness_bound_s": -5}, id="negative bound"),
        pytest.param({"staleness_bound_s": 1e9}, id="endless bound"),
        pytest.param({"policy": "trust"}, id="unknown policy"),
        pytest.param({"kids": ["k"] * 101}, id="too many keys"),
        pytest.param({"audience": "a b"}, id="audience with a space"),
    ],
)
async def test_a_report_that_makes_no_sense_is_refused(site: Site, reader: Headers, wrong: dict[str, Any]) -> None:
    assert await report(site, reader, **wrong) == 400


async def test_only_readers_of_the_feed_report(site: Site, reader: Headers) -> None:
    assert await report(site, {}) == 401
    assert await report(site, {"Authorization": "Bearer nonsense"}) == 401
    assert await report(site, await reader_of(site, "watchword:events")) == 403
    assert (await site.http.delete("/revocations/receipts/one")).status_code == 401


async def test_a_client_names_only_so_many_verifiers(
    site: Site, reader: Headers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verifiers, "INSTANCES", 2)
    assert [await report(site, reader, instance=str(number)) for number in range(3)] == [200, 200, 409]
    for number in range(2):
        await gone(site, reader, str(number))
    for number in range(verifiers.OWN_NAMES - 1):
        assert await report(site, reader, name=f"v{number}") == 200
    assert await report(site, reader, name="one-more") == 409
    await gone(site, reader)


async def test_parallel_reports_keep_the_limits(site: Site, reader: Headers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifiers, "INSTANCES", 2)
    answers = await asyncio.gather(*(report(site, reader, instance=f"p{number}") for number in range(50)))
    assert sorted(answers)[:3] == [200, 200, 409]
    for number in range(50):
        await gone(site, reader, f"p{number}")
    other = await reader_of(site)
    names = [report(site, other, name=f"p{number}") for number in range(verifiers.OWN_NAMES + 20)]
    answers = await asyncio.gather(*names)
    assert answers.count(200) == verifiers.OWN_NAMES
    assert answers.count(409) == 20
    await gone(site, other)


# wait=all ------------------------------------------------------------------------------------------------------------


async def test_the_call_returns_when_everyone_has_applied_it(
    site: Site, reader: Headers, administrator: Headers
) -> None:
    assert await report(site, reader) == 200
    before = site.feed.position
    waiting = asyncio.create_task(revoke(site, administrator, "?wait=all&timeout_s=30"))
    async with asyncio.timeout(30):
        while site.feed.position == before:
            await asyncio.sleep(0.01)
    assert not waiting.done()
    assert await report(site, reader) == 200
    answer = await waiting
    assert answer.status_code == 201
    shown = (await site.http.get(f"/api/v1/revocations/{answer.json()['id']}", headers=administrator)).json()
    assert shown["complete"]
    assert {each["kind"] for each in shown["applied"]} == {"service", "verifier"}
    assert all(each["at"] >= shown["at"] for each in shown["applied"])
    assert (shown["behind"], shown["unreachable"]) == ([], [])
    await gone(site, reader)


async def test_who_is_behind_is_named_and_nothing_of_the_usual_answer_is_lost(
    site: Site, reader: Headers, administrator: Headers
) -> None:
    assert await report(site, reader) == 200
    answer = await revoke(site, administrator, "?wait=all&timeout_s=1")
    said = answer.json()
    assert (answer.status_code, said["complete"]) == (202, False)
    assert [each["name"] for each in said["behind"]] == [f"{reader['client']}:billing"]
    assert {each["kind"] for each in said["applied"]} == {"service"}
    assert (said["claim"], said["revocations"]) == ("sub", [said["id"]])
    assert answer.headers["location"].endswith(str(said["id"]))
    await gone(site, reader)


async def test_a_call_without_a_body_says_who_is_behind_too(
    site: Site, reader: Headers, administrator: Headers
) -> None:
    app = await site.client()
    tokens = await site.sign_in(app)
    gid = (await site.claims(tokens["access_token"]))["gid"]
    assert await report(site, reader) == 200
    answer = await site.http.delete(f"/api/v1/grants/{gid}?wait=all&timeout_s=1", headers=administrator)
    assert answer.status_code == 202
    assert len(answer.json()["behind"]) == 1
    await gone(site, reader)
    tokens = await site.sign_in(app)
    gid = (await site.claims(tokens["access_token"]))["gid"]
    answer = await site.http.delete(f"/api/v1/grants/{gid}?wait=all", headers=administrator)
    assert (answer.status_code, answer.content) == (204, b"")


@pytest.mark.parametrize(("policy", "status"), [("refuse", 201), ("introspect", 201), ("accept", 202)])
async def test_only_who_refuses_while_it_is_silent_is_not_waited_for(
    site: Site, reader: Headers, administrator: Headers, policy: str, status: int
) -> None:
    assert await report(site, reader, staleness_bound_s=0.1, policy=policy) == 200
    answer = await revoke(site, administrator, "?wait=all&timeout_s=3")
    assert answer.status_code == status
    shown = (await site.http.get(f"/api/v1/revocations/{answer.json()['id']}", headers=administrator)).json()
    expected = "behind" if status == 202 else "unreachable"
    assert [each["name"] for each in shown[expected]] == [f"{reader['client']}:billing"]
    await gone(site, reader)


async def test_who_accepts_while_it_is_silent_is_waited_for_until_somebody_forgets_it(
    site: Site, reader: Headers, administrator: Headers
) -> None:
    """It may have been cut off and accept whatever it knew last: that it is silent for days says nothing else."""
    for policy in ("accept", "introspect"):
        assert await report(site, reader, name=policy, instance=policy, policy=policy) == 200
    mine = f"{reader['client']}:"
    async with site.database.postgres.admin(site.database.name) as admin, admin.transaction():
        await admin.execute("SET LOCAL session_replication_role = replica")  # heard_at is a trigger's to say
        aged = "UPDATE bus.followers SET heard_at = now() - interval '10 days' WHERE starts_with(name, $1)"
        await admin.execute(aged, mine)
        (known,) = await admin.fetch("SELECT id FROM token.verifiers WHERE name = $1", f"{mine}accept")
    await sweep(site.db(Service.TOKEN), now=site.clock())
    answer = await revoke(site, administrator, "?wait=all&timeout_s=1")
    assert (answer.status_code, [each["name"] for each in answer.json()["behind"]]) == (202, [f"{mine}accept"])
    assert answer.json()["unreachable"] == []
    assert (await site.http.delete(f"/api/v1/verifiers/{known['id']}", headers=administrator)).status_code == 204
    assert (await revoke(site, administrator, "?wait=all")).status_code == 201


@pytest.mark.parametrize(
    "query",
    ["?wait=some", "?wait=all&timeout_s=0", "?wait=all&timeout_s=61", "?timeout_s=x", "?wait=all&timeout_s=nan"],
)
async def test_a_wait_that_makes_no_sense_is_refused_before_anything_ends(
    site: Site, administrator: Headers, query: str
) -> None:
    user = new_id()
    assert (await revoke(site, administrator, query, claim="sub", value=user)).status_code == 400
    assert site.feed.is_live({"sub": user, "rev": site.feed.position})


async def test_an_unknown_follower_of_another_service_is_waited_for(site: Site, administrator: Headers) -> None:
    """Instances of all services report in one table."""
    pool = await site.db(Service.AUTHZ).raw_pool()
    one = new_id()
    await followers.report(pool, followers.Report(one, "service", "authz", site.feed.position, 5.0))
    answer = await revoke(site, administrator, "?wait=all&timeout_s=1")
    assert [each["instance"] for each in answer.json()["behind"]] == [one]
    await followers.leave(pool, one)
    assert (await revoke(site, administrator, "?wait=all")).status_code == 201
