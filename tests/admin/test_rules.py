"""`/api/v1/rules` and `/api/v1/service-accounts`: what may be said of them, what is refused where, and trying them."""

import asyncio
import secrets
from typing import Any

import pytest
from tests.admin.conftest import Make

from watchword_admin.models import AccessRule
from watchword_admin.rules import changes, store
from watchword_admin.rules.changes import MAX_RULES
from watchword_database import transaction
from watchword_events.contracts import RuleChanged, ServiceAccountChanged
from watchword_events.names import Service
from watchword_testkit.api import Api
from watchword_testkit.events import expect_events
from watchword_testkit.platform import Platform


def named(**given: Any) -> dict[str, Any]:
    """A rule for a client that nobody uses, so that it closes none of other tests."""
    return {"name": f"r-{secrets.token_hex(4)}", "expression": "'ops' in groups", "clients": [NOBODYS]} | given


NOBODYS = "https://app.example/client.json"


async def organization_of(api: Api) -> dict[str, Any]:
    """A new organization."""
    return dict(await api.create("/organizations", short_name=f"o-{secrets.token_hex(4)}", name="Somebody's"))


async def test_a_rule_is_added_read_changed_and_deleted(platform: Platform, api: Api) -> None:
    async with platform.nats_client() as nats, expect_events(nats, *[RuleChanged] * 4) as seen:
        given = named(
            precedence=-3, service_account="argo/admin", roles=["admin", "deploy", "admin"], description="Ops"
        )
        rule = await api.create("/rules", **given)
        assert rule["roles"] == ["admin", "deploy"]
        assert (rule["precedence"], rule["enabled"], rule["version"]) == (-3, True, 1)
        assert rule["effective_roles"] == ["admin", "deploy"]
        path = f"/rules/{rule['id']}"
        assert await api.get(path) == rule
        changed = await api.change(path, enabled=False, description=None)
        assert (changed["enabled"], changed["description"], changed["version"]) == (False, None, 2)
        again = await api.call("PUT", path, named(name=rule["name"]))
        assert again.json()["precedence"] == 0
        same = await api.call("PUT", path, named(name=rule["name"]))
        assert same.json()["version"] == again.json()["version"] == 3
        await api.delete(path)
        await api.delete(path)
    assert [each.event.version for each in seen.of("rule.changed") if each.id == rule["id"]] == [1, 2, 3, 4]
    gone = await api.call("GET", path)
    assert gone.status_code == 404


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        pytest.param({"expression": ""}, "#/expression", id="no expression"),
        pytest.param({"expression": "sub"}, "#/expression", id="no boolean"),
        pytest.param({"expression": "x" * 2049}, "#/expression", id="a long expression"),
        pytest.param({"expression": None}, "#/expression", id="null as expression"),
        pytest.param({"expression": ["true"]}, "#/expression", id="a list as expression"),
        pytest.param({"name": ""}, "#/name", id="no name"),
        pytest.param({"name": "a b"}, "#/name", id="a space in the name"),
        pytest.param({"name": "o/a"}, "#/name", id="a slash in the name"),
        pytest.param({"name": "-a"}, "#/name", id="a dash first"),
        pytest.param({"name": "a\n"}, "#/name", id="a line end in the name"),
        pytest.param({"name": "a" * 65}, "#/name", id="a long name"),
        pytest.param({"precedence": "1"}, "#/precedence", id="precedence as text"),
        pytest.param({"precedence": 1.5}, "#/precedence", id="half a precedence"),
        pytest.param({"precedence": True}, "#/precedence", id="precedence true"),
        pytest.param({"precedence": 10**9}, "#/precedence", id="precedence out of range"),
        pytest.param({"service_account": "a b"}, "#/service_account", id="a space in the account"),
        pytest.param({"service_account": ""}, "#/service_account", id="no account"),
        pytest.param({"roles": "admin"}, "#/roles", id="a text as roles"),
        pytest.param({"roles": ["a\u202eb"]}, "#/roles/0", id="a role that reads backwards"),
        pytest.param({"roles": [str(n) for n in range(65)]}, "#/roles", id="65 roles"),
        pytest.param({"clients": ["nobody"]}, "#/clients/0", id="no such client"),
        pytest.param({"clients": [NOBODYS, "http://app.example/x"]}, "#/clients/1", id="no such client, second"),
        pytest.param({"organization": "a/b"}, "#/organization", id="a slash in the organization"),
        pytest.param({"enabled": "maybe"}, "#/enabled", id="enabled maybe"),
        pytest.param({"effect": "deny"}, "#/effect", id="unknown member"),
    ],
)
async def test_what_may_not_be_said_of_a_rule_is_refused_by_name(api: Api, wrong: dict[str, Any], pointer: str) -> None:
    answer = await api.call("POST", "/rules", named(**wrong))
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


async def test_an_expression_is_refused_with_its_place_and_a_hint(api: Api) -> None:
    answer = await api.call("POST", "/rules", named(expression="'a' in groups\n and true"))
    (error,) = answer.json()["errors"]
    assert (error["line"], error["column"], error["hint"]) == (2, 2, "write && for and")
    assert error["detail"].startswith("line 2, column 2: ")
    rule = await api.create("/rules", **named())
    answer = await api.call("PATCH", f"/rules/{rule['id']}", {"expression": "not true"})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["hint"].startswith("write !")


async def test_a_name_is_taken_once_on_each_level(api: Api) -> None:
    given = named()
    rule = await api.create("/rules", **given)
    taken = await api.call("POST", "/rules", given)
    assert (taken.status_code, taken.json()["errors"][0]["pointer"]) == (409, "#/name")
    one, another = [(await organization_of(api))["short_name"] for _ in range(2)]
    other = await api.create("/rules", **given | {"organization": one})
    await api.create("/rules", **given | {"organization": another})
    moved = await api.call("PATCH", f"/rules/{other['id']}", {"organization": another})
    assert moved.status_code == 409, moved.text
    await api.delete(f"/rules/{rule['id']}")
    await api.create("/rules", **given)


async def test_a_rule_is_bound_to_an_organization_that_there_is(api: Api) -> None:
    organization = await organization_of(api)
    for reference in (organization["id"], organization["short_name"]):
        rule = await api.create("/rules", **named(organization=reference))
        assert rule["organization"] == organization["id"]
        listed = await api.get("/rules", organization=reference)
        assert rule in listed["items"]
    path = f"/rules/{rule['id']}"
    for reference in ("no-such-organization", "' OR 1=1", "a/b"):
        for method, where in (("POST", "/rules"), ("PUT", path), ("PATCH", path)):
            body = {"organization": reference} if method == "PATCH" else named(organization=reference)
            refused = await api.call(method, where, body)
            assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (400, "#/organization")
    assert (await api.get("/rules", organization="no-such-organization"))["items"] == []
    assert (await api.change(path, precedence=1))["organization"] == organization["id"]
    assert (await api.change(path, organization=None))["organization"] is None


async def test_an_organizations_rule_is_called_by_its_short_name(api: Api, make_client: Make) -> None:
    organization = await organization_of(api)
    client = await make_client(organization=organization["id"])
    drafts = [
        {"name": "base", "expression": "true"},
        {"name": "own", "expression": "true", "precedence": 1, "organization": organization["short_name"]},
    ]
    tried = await api.call("POST", "/rules/test", {"rules": drafts, "client": client["client_id"]})
    assert tried.json()["policy"] == [f"{organization['short_name']}/own", "base"]
    drafts[1]["organization"] = "no-such-organization"
    refused = await api.call("POST", "/rules/test", {"rules": drafts})
    assert refused.json()["errors"][0]["pointer"] == "#/rules/1/organization"


async def test_clients_are_named_by_id_or_short_name(api: Api, make_client: Make) -> None:
    short = f"argo-{secrets.token_hex(3)}"
    client = await make_client(short_name=short)
    rule = await api.create("/rules", **named(clients=[short.upper(), client["client_id"], NOBODYS]))
    assert rule["clients"] == [client["client_id"], NOBODYS]
    await api.delete(f"/clients/{client['client_id']}")
    changed = await api.change(f"/rules/{rule['id']}", precedence=4)
    assert changed["clients"] == rule["clients"], "a client that was deleted does not stand in the way"


async def test_rules_are_listed_in_the_order_in_which_they_are_asked(api: Api) -> None:
    organization = (await organization_of(api))["short_name"]
    made = [
        await api.create("/rules", **named(name=name, precedence=precedence, organization=organization))
        for name, precedence in (("b", 1), ("z", 7), ("a", 1), ("c", -4))
    ]
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = await api.get("/rules", organization=organization, limit="1", **cursor)
        found += [rule["name"] for rule in page["items"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert found == ["z", "a", "b", "c"]
    assert (await api.get("/rules", name="z", organization=organization))["items"] == [made[1]]
    wrong = await api.call("GET", "/rules", cursor="AAAA")
    assert wrong.status_code == 400
    for client, is_listed in ((NOBODYS, True), ("x", False)):
        listed = await api.get("/rules", client=client, organization=organization)
        assert bool(listed["items"]) is is_listed


async def test_a_service_account_gives_its_roles_to_every_rule_that_leads_to_it(platform: Platform, api: Api) -> None:
    account = f"argo/{secrets.token_hex(4)}"
    rule = await api.create("/rules", **named(service_account=account, roles=["own"]))
    assert rule["effective_roles"] == ["own"]
    path = f"/rules/{rule['id']}"
    async with platform.nats_client() as nats, expect_events(nats, ServiceAccountChanged, (RuleChanged, rule["id"])):
        await api.create("/service-accounts", name=account, roles=["view"], description="May look")
    given = await api.get(path)
    assert (given["effective_roles"], given["roles"], given["version"]) == (["own", "view"], ["own"], 2)
    changed = await api.call("PUT", f"/service-accounts/{account}", {"name": account, "roles": ["view", "run"]})
    assert changed.json()["version"] == 2
    assert (await api.get(path))["effective_roles"] == ["own", "run", "view"]
    in_use = await api.call("DELETE", f"/service-accounts/{account}")
    assert (in_use.status_code, rule["name"] in in_use.json()["detail"]) == (409, True)
    await api.delete(path)
    await api.delete(f"/service-accounts/{account}")
    assert (await api.call("GET", f"/service-accounts/{account}")).status_code == 404
    assert (await api.call("DELETE", f"/service-accounts/{account}")).status_code == 404


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        pytest.param({"name": "a b"}, 400, id="a space in the name"),
        pytest.param({"name": "x", "permissions": ["y"]}, 400, id="unknown member"),
        pytest.param({"name": "x", "roles": [""]}, 400, id="an empty role"),
    ],
)
async def test_what_may_not_be_said_of_a_service_account_is_refused(
    api: Api, wrong: dict[str, Any], status: int
) -> None:
    assert (await api.call("POST", "/service-accounts", wrong)).status_code == status


async def test_a_service_account_keeps_its_name_and_has_it_alone(api: Api) -> None:
    name = f"sa-{secrets.token_hex(4)}"
    await api.create("/service-accounts", name=name)
    assert (await api.call("POST", "/service-accounts", {"name": name})).status_code == 409
    answer = await api.call("PUT", f"/service-accounts/{name}", {"name": f"{name}-2"})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "#/name")
    listed = await api.get("/service-accounts", limit="200")
    assert name in [account["name"] for account in listed["items"]]


@pytest.mark.parametrize(
    ("expression", "claims", "answer"),
    [
        ("'admin' in groups", {"groups": ["admin"]}, {"matches": True}),
        ("'admin' in groups", {"groups": "admin"}, {"matches": True}),
        ("'admin' in groups", {}, {"matches": False}),
        ("iss == claims.iss && sub == 'u'", {"iss": "https://x", "sub": "u"}, {"matches": True}),
        ("claims.level > 2", {"level": 3}, {"matches": True}),
        ("claims.level > 2", {}, {"matches": False, "error": 'Key not found in map : "level"'}),
        (
            "not true",
            {},
            {
                "matches": False,
                "error": "line 1, column 5: extraneous input 'true' expecting <EOF>. Hint: write ! for not:"
                " !('contractors' in groups)",
                "line": 1,
                "column": 5,
                "hint": "write ! for not: !('contractors' in groups)",
            },
        ),
        ("sub", {}, {"matches": False, "error": "line 1, column 1: the result must be true or false, not STRING",
                     "line": 1, "column": 1}),
    ],
)  # fmt: skip
async def test_an_expression_is_tried_on_claims(
    api: Api, expression: str, claims: dict[str, Any], answer: dict[str, Any]
) -> None:
    tried = await api.call("POST", "/rules/test", {"expression": expression, "claims": claims})
    assert (tried.status_code, tried.json()) == (200, answer)


async def test_drafts_are_tried_on_facts_and_say_which_decides_and_why(api: Api, make_client: Make) -> None:
    client = await make_client()
    drafts = [
        {"name": "admins", "expression": "'admin' in groups", "precedence": 10, "service_account": "admin"},
        {"name": "office", "expression": "ip.startsWith('10.') && time.getHours() < 18", "precedence": 5},
        {"name": "broken", "expression": "claims.gone == 1"},
        {"name": "everybody", "expression": "true", "precedence": -100, "roles": ["read"]},
    ]
    facts = {"groups": ["dev"], "sub": "u", "ip": "10.1.2.3", "time": "2026-11-22T09:00:00Z"}
    body = {"rules": drafts, "facts": facts, "client": client["client_id"]}
    tried = (await api.call("POST", "/rules/test", body)).json()
    assert tried == {
        "matches": True,
        "outcome": "matched",
        "rule": "office",
        "why": "office matches, with precedence 5, the highest of those that match.",
        "roles": [],
        "policy": ["office", "everybody"],
        "failures": [{"rule": "broken", "error": 'Key not found in map : "gone"'}],
    }
    denied = (await api.call("POST", "/rules/test", body | {"rules": drafts[:1]})).json()
    assert (denied["matches"], denied["outcome"], denied["why"]) == (False, "no_match", "None of 1 rules matches.")


async def test_saved_rules_are_tried_for_a_client_as_they_would_decide(api: Api, make_client: Make) -> None:
    client = await make_client()
    client_id = str(client["client_id"])

    async def tried(*groups: str) -> dict[str, Any]:
        body = {"facts": {"groups": groups}, "client": client_id}
        answer: dict[str, Any] = (await api.call("POST", "/rules/test", body)).json()
        return answer

    assert (await tried())["outcome"] == "no_rules"
    await api.change(f"/clients/{client_id}", access="rules")
    assert (await tried())["outcome"] == "no_match"
    rule = await api.create("/rules", **named(clients=[client_id], roles=["dev"]))
    assert (await tried("ops"))["roles"] == ["dev"]
    assert (await tried("hr"))["matches"] is False
    await api.change(f"/clients/{client_id}", access="open")
    assert (await tried("hr"))["outcome"] == "no_rules"
    await api.delete(f"/rules/{rule['id']}")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"expression": "true", "claims": {"groups": {"a": 1}}}, id="groups are an object"),
        pytest.param({"expression": "true", "rules": []}, id="an expression and rules"),
        pytest.param({"expression": "true", "claims": {}, "facts": {}}, id="claims and facts"),
        pytest.param({"expression": 3}, id="a number"),
        pytest.param({"rules": [{"name": "a", "expression": "sub"}]}, id="a draft that does not compile"),
        pytest.param({"facts": {"time": "yesterday"}}, id="no time"),
        pytest.param({"facts": {"time": "2026-01-01T00:00:00"}}, id="a time of no zone"),
        pytest.param({"facts": {"user": "x"}}, id="unknown fact"),
        pytest.param([], id="a list"),
    ],
)
async def test_what_cannot_be_tried_is_refused(api: Api, body: Any) -> None:
    answer = await api.call("POST", "/rules/test", body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["errors"]


async def test_facts_that_are_too_large_are_an_answer(api: Api) -> None:
    body = {"expression": "true", "claims": {"groups": [f"g{n}" for n in range(2001)]}}
    tried = await api.call("POST", "/rules/test", body)
    assert tried.json() == {"matches": False, "error": "2001 groups, of which rules can look at 2000"}


async def test_parallel_additions_keep_the_limit(platform: Platform, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async with transaction(platform.database.open(Service.ADMIN)) as session:
        there = await store.count_rules(session)
    monkeypatch.setattr(changes, "MAX_RULES", there + 3)
    answers = await asyncio.gather(*(api.call("POST", "/rules", named()) for _ in range(50)))
    made = [answer.json()["id"] for answer in answers if answer.status_code == 201]
    for rule_id in made:
        await api.delete(f"/rules/{rule_id}")
    assert len(made) == 3
    assert {answer.status_code for answer in answers} == {201, 409}


async def test_there_are_no_more_rules_than_can_be_asked(platform: Platform, api: Api) -> None:
    now = platform.process.shared.now() if platform.process else None
    assert now is not None
    database = platform.database.open(Service.ADMIN)
    rows = [
        AccessRule(id=f"filler-{n}", name=f"filler-{n}", version=1, document={}, created_at=now, updated_at=now)
        for n in range(MAX_RULES)
    ]
    async with transaction(database) as session:
        session.add_all(rows)
    try:
        answer = await api.call("POST", "/rules", named())
    finally:
        async with transaction(database) as session:
            for row in rows:
                await session.delete(row)
    assert answer.status_code == 409, answer.text
