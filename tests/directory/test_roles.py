"""Roles: what they give, to whom and where; and that nobody reaches above their own rank."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable

import pytest
from tests.directory.conftest import Register

from watchword_database import Session, transaction
from watchword_directory import groups
from watchword_directory.group_documents import GroupChanges, NewGroup
from watchword_directory.ranks import BUILT_IN, AboveOwnRank, Rank, Reach, rank_of, reach_of, with_implied
from watchword_events.contracts import AssignmentChanged, RoleCreated, RoleDeleted, RoleUpdated
from watchword_events.names import Service
from watchword_policy.scopes import ADMIN_SCOPE
from watchword_runtime.access import Caller
from watchword_runtime.clock import utc_now
from watchword_testkit.api import Api
from watchword_testkit.canary import Canary
from watchword_testkit.events import expect_events
from watchword_testkit.platform import Platform
from watchword_testkit.signin import Party, SignIn

PASSWORD = "correct horse battery staple"
Make = Callable[..., Awaitable[dict[str, object]]]

MALFORMED: dict[str, dict[str, object]] = {
    "no name": {},
    "empty name": {"name": ""},
    "name with a space": {"name": "order reader"},
    "name with a line break": {"name": "reader\n"},
    "name beyond ascii": {"name": "\u0430dministrator"},
    "long name": {"name": "a" * 129},
    "id": {"name": "reader", "id": "owner"},
    "built in": {"name": "reader", "is_built_in": True},
    "version": {"name": "reader", "version": 3},
    "permissions as text": {"name": "reader", "permissions": "orders.read"},
    "permission with a space": {"name": "reader", "permissions": ["orders read"]},
    "empty permission": {"name": "reader", "permissions": [""]},
    "permission of Watchword's own": {"name": "reader", "permissions": ["watchword:admin"]},
    "the same in other letters": {"name": "reader", "permissions": ["WATCHWORD:ADMIN"]},
    "permission as number": {"name": "reader", "permissions": [7]},
    "too many permissions": {"name": "reader", "permissions": [f"p{number}" for number in range(257)]},
}


def fresh(what: str = "role") -> str:
    return f"{what}-{secrets.token_hex(5)}"


@pytest.fixture
def make(api: Api) -> Make:
    """Creates roles with names of the test's own."""

    async def create(**given: object) -> dict[str, object]:
        return await api.create("/roles", **({"name": fresh()} | given))

    return create


async def give(api: Api, **given: object) -> dict[str, object]:
    return await api.create("/assignments", **given)


async def rights(api: Api, user: dict[str, object]) -> dict[str, object]:
    return await api.get(f"/users/{user['id']}/rights")


async def version_of(api: Api, user: dict[str, object]) -> object:
    return (await api.get(f"/users/{user['id']}"))["version"]


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
async def test_malformed_roles_are_refused(api: Api, body: dict[str, object]) -> None:
    if body.get("name") == "reader":
        body = body | {"name": fresh()}
    assert (await api.call("POST", "/roles", body)).status_code == 400


async def test_a_role_is_created_read_changed_and_deleted(platform: Platform, api: Api, make: Make) -> None:
    wanted = (RoleCreated, RoleUpdated, RoleDeleted)
    async with platform.nats_client() as client, expect_events(client, *wanted) as seen:
        role = await make(permissions=["orders.write", "orders.read", "orders.read"])
        path = f"/roles/{role['id']}"
        assert role["permissions"] == ["orders.read", "orders.write"]
        assert await api.get(path) == role
        assert await api.change(path, permissions=["orders.write", "orders.read"]) == role
        assert (await api.change(path, description="Reads"))["version"] == 2
        assert (await api.call("PATCH", path, {"permissions": None})).status_code == 400
        taken = await api.call("POST", "/roles", {"name": str(role["name"]).upper()})
        assert (taken.status_code, taken.json()["errors"][0]["pointer"]) == (409, "#/name")
        await api.delete(path)
        assert (await api.call("GET", path)).status_code == 404
        assert (await api.call("DELETE", path)).status_code == 204
    assert [each.type for each in seen.events if each.id == role["id"]][-1] == "role.deleted"


@pytest.mark.parametrize("name", sorted(BUILT_IN))
async def test_watchwords_own_roles_are_nobodys_to_change(api: Api, make: Make, name: str) -> None:
    role = await api.get(f"/roles/{name}")
    assert (role["name"], role["is_built_in"], role["permissions"]) == (name, True, [])
    for method, body in (("PATCH", {"permissions": ["x"]}), ("PUT", {"name": fresh()}), ("DELETE", None)):
        assert (await api.call(method, f"/roles/{name}", body)).json()["title"] == "Built in"
    own = await make()
    for method, path in (("POST", "/roles"), ("PATCH", f"/roles/{own['id']}")):
        refused = await api.call(method, path, {"name": name.upper()})
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (409, "#/name")


async def test_a_role_counts_where_it_was_given(api: Api, make: Make, register: Register) -> None:
    acme, other = [await api.create("/organizations", short_name=fresh("org"), name="Org") for _ in range(2)]
    reader, writer = await make(permissions=["orders.read"]), await make(permissions=["orders.write"])
    user = await register()
    await give(api, role=reader["id"], user=user["id"])
    await give(api, role=writer["name"], user=user["id"], organization=acme["short_name"])
    found = await rights(api, user)
    assert (found["roles"], found["permissions"]) == ([reader["name"]], ["orders.read"])
    assert found["organizations"] == [
        {"organization": acme["id"], "roles": [writer["name"]], "permissions": ["orders.write"]}
    ]
    assert other["id"] not in str(found)
    assert (await api.get(f"/users/{user['id']}"))["roles"] == [reader["name"]]


async def test_a_groups_role_is_its_members_whatever_they_lie_in(
    platform: Platform, api: Api, make: Make, register: Register
) -> None:
    staff = await api.create("/groups", name=fresh("group"))
    ops = await api.create("/groups", name=fresh("group"), parents=[staff["full_name"]])
    user, outside = await register(groups=[ops["full_name"]]), await register()
    role = await make(permissions=["orders.read"])
    async with platform.nats_client() as client, expect_events(client, AssignmentChanged, AssignmentChanged) as seen:
        given = await give(api, role=role["id"], group=staff["id"])
        assert (await rights(api, user))["permissions"] == ["orders.read"]
        assert (await rights(api, user))["roles"] == [role["name"]]
        assert (await api.get(f"/users/{user['id']}"))["roles"] == [], "not the user's own"
        assert [await version_of(api, each) for each in (user, outside)] == [2, 1]
        await api.change(f"/roles/{role['id']}", permissions=["orders.read", "orders.write"])
        assert (await rights(api, user))["permissions"] == ["orders.read", "orders.write"]
        assert [await version_of(api, each) for each in (user, outside)] == [3, 1]
        await api.delete(f"/assignments/{given['id']}")
        assert (await rights(api, user))["permissions"] == []
        assert [await version_of(api, each) for each in (user, outside)] == [4, 1]
    events = [each.event for each in seen.of("assignment.changed") if each.id == given["id"]]
    assert [(event.is_given, event.group_id, event.role_id) for event in events] == [  # type: ignore[attr-defined]  # AssignmentChanged
        (True, staff["id"], role["id"]),
        (False, staff["id"], role["id"]),
    ]


async def test_a_deleted_role_is_nobodys(api: Api, make: Make, register: Register) -> None:
    group = await api.create("/groups", name=fresh("group"))
    direct, member = await register(), await register(groups=[group["full_name"]])
    role = await make(permissions=["orders.read"])
    await give(api, role=role["id"], user=direct["id"])
    await give(api, role=role["id"], group=group["id"])
    await api.delete(f"/roles/{role['id']}")
    for user in (direct, member):
        assert (await rights(api, user))["roles"] == []
        assert await version_of(api, user) == 3
    assert (await api.get("/assignments", user=str(direct["id"])))["items"] == []


async def test_giving_twice_is_giving_once(api: Api, make: Make, register: Register) -> None:
    role, user = await make(), await register()
    body = {"role": role["id"], "user": user["id"]}
    answers = await asyncio.gather(*(api.call("POST", "/assignments", body) for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert await version_of(api, user) == 2
    given = answers[0].json()
    assert await api.get(f"/assignments/{given['id']}") == given
    taken = await asyncio.gather(*(api.call("DELETE", f"/assignments/{given['id']}") for _ in range(4)))
    assert sorted(answer.status_code for answer in taken) == [204, 404, 404, 404]


BAD_ASSIGNMENTS: dict[str, tuple[dict[str, object], str]] = {
    "nobody": ({"role": "auditor"}, "#/user"),
    "both": ({"role": "auditor", "user": "USER", "group": "GROUP"}, "#/user"),
    "no role": ({"user": "USER"}, "#/role"),
    "unknown role": ({"role": "no-such-role", "user": "USER"}, "#/role"),
    "unknown user": ({"role": "auditor", "user": "nobody"}, "#/user"),
    "unknown group": ({"role": "auditor", "group": "nothing"}, "#/group"),
    "unknown organization": ({"role": "auditor", "user": "USER", "organization": "nowhere"}, "#/organization"),
    "owner by a group": ({"role": "owner", "group": "GROUP"}, "#/role"),
    "owner within an organization": ({"role": "owner", "user": "USER", "organization": "ORG"}, "#/role"),
    "administrator within an organization": (
        {"role": "administrator", "user": "USER", "organization": "ORG"},
        "#/role",
    ),
    "organization's administrator everywhere": ({"role": "organization-administrator", "user": "USER"}, "#/role"),
    "provider": ({"role": "auditor", "user": "USER", "provider_id": "Okta"}, "#/provider_id"),
    "rank": ({"role": "auditor", "user": "USER", "rank": 3}, "#/rank"),
}


@pytest.mark.parametrize(("body", "pointer"), BAD_ASSIGNMENTS.values(), ids=BAD_ASSIGNMENTS)
async def test_bad_assignments_are_refused(api: Api, register: Register, body: dict[str, object], pointer: str) -> None:
    user = await register()
    group = await api.create("/groups", name=fresh("group"))
    organization = await api.create("/organizations", short_name=fresh("org"), name="Org")
    real = {"USER": user["id"], "GROUP": group["id"], "ORG": organization["id"]}
    refused = await api.call(
        "POST", "/assignments", {name: real.get(str(value), value) for name, value in body.items()}
    )
    assert refused.status_code == 400, refused.text
    assert refused.json()["errors"][0]["pointer"].startswith(pointer) or pointer == "#/user"
    assert await version_of(api, user) == 1


# ranks ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("roles", "rank"),
    [
        ([], Rank.NONE),
        (["reader", "Owner", "OWNER "], Rank.NONE),
        (["organization-administrator"], Rank.ORGANIZATION),
        (["auditor"], Rank.HELPER),
        (["help-desk", "administrator"], Rank.ADMINISTRATOR),
        (["owner", "reader"], Rank.OWNER),
    ],
)
def test_ranks(roles: list[str], rank: Rank) -> None:
    assert rank_of(roles) is rank


def test_an_owner_is_an_administrator_and_nobody_else_is_more_than_said() -> None:
    assert with_implied(["owner"]) == {"owner", "administrator"}
    assert with_implied(["auditor", "reader"]) == {"auditor", "reader"}


def test_a_client_stands_where_administrators_do() -> None:
    assert reach_of(Caller(None, "c", frozenset({ADMIN_SCOPE}))) == Reach(Rank.ADMINISTRATOR)
    assert reach_of(Caller(None, "c", frozenset())) == Reach(Rank.NONE)
    assert reach_of(Caller("u", "c", frozenset({ADMIN_SCOPE}), roles=frozenset({"owner"}))) == Reach(Rank.OWNER)


@pytest.fixture
async def administrator(platform: Platform, api: Api, canary: Canary) -> Api:
    """The API as somebody calls it who is an administrator and no owner."""
    name = fresh("admin")
    user = await api.create("/users", username=name, password=PASSWORD)
    await api.call("PUT", f"/users/{user['id']}/roles", {"roles": ["administrator"]})
    party = await Party.registered(api, platform.issuer, canary, scope="openid watchword:admin")
    async with platform.browser(canary) as browser:
        tokens = await SignIn(browser, party, scope="openid watchword:admin").with_password(name, PASSWORD)
    made = platform.api(canary, token="")
    made.client.headers["Authorization"] = f"Bearer {tokens['access_token']}"
    return made


async def test_an_administrator_does_what_administrators_do(administrator: Api, register: Register) -> None:
    user = await register()
    given = await administrator.call("PUT", f"/users/{user['id']}/roles", {"roles": ["administrator", "auditor"]})
    assert given.json()["roles"] == ["administrator", "auditor"]
    assert (await administrator.change(f"/users/{user['id']}", name="Changed"))["name"] == "Changed"
    assert (await administrator.call("DELETE", f"/users/{user['id']}")).status_code == 204


async def test_an_administrator_reaches_no_owner(api: Api, administrator: Api, register: Register) -> None:
    owner, user = await register(), await register()
    await api.call("PUT", f"/users/{owner['id']}/roles", {"roles": ["owner"]})
    held = (await api.get("/assignments", user=str(owner["id"])))["items"]
    assert isinstance(held, list)
    before = await api.get(f"/users/{owner['id']}")
    rows: list[tuple[str, str, dict[str, object] | None]] = [
        ("PUT", f"/users/{user['id']}/roles", {"roles": ["owner"]}),
        ("POST", "/assignments", {"role": "owner", "user": user["id"]}),
        ("PUT", f"/users/{owner['id']}/roles", {"roles": []}),
        ("PUT", f"/users/{owner['id']}/roles", {"roles": ["administrator"]}),
        ("DELETE", f"/assignments/{held[0]['id']}", None),
        ("PATCH", f"/users/{owner['id']}", {"password": PASSWORD}),
        ("PATCH", f"/users/{owner['id']}", {"email": "mine@corp.example"}),
        ("PATCH", f"/users/{owner['id']}", {"active": False}),
        ("PUT", f"/users/{owner['id']}", {"username": owner["username"]}),
        ("DELETE", f"/users/{owner['id']}", None),
    ]
    for method, path, body in rows:
        refused = await administrator.call(method, path, body)
        assert refused.status_code == 403, f"{method} {path} {body}: {refused.text}"
    assert await api.get(f"/users/{owner['id']}") == before


async def test_a_group_is_no_way_around_a_rank(
    api: Api, administrator: Api, platform: Platform, canary: Canary
) -> None:
    """A help desk that may fill groups must not make itself an administrator by one of them.

    The functions are called, because nobody of a lower rank may call the API yet.
    """
    powerful = await api.create("/groups", name=fresh("group"))
    within = await api.create("/groups", name=fresh("group"), parents=[powerful["full_name"]])
    await give(api, role="administrator", group=powerful["id"])
    user = await api.create("/users", username=fresh("user"))
    await administrator.call("POST", f"/groups/{within['id']}/members", {"add": [user["id"]]})
    found = await rights(api, user)
    assert found["roles"] == ["administrator"]
    database = platform.database.open(Service.DIRECTORY)
    helper, now = Reach(Rank.HELPER), utc_now()
    other = str((await api.create("/users", username=fresh("user")))["id"])
    outside = str((await api.create("/groups", name=fresh("group")))["id"])
    attempts: list[Callable[[Session], Awaitable[object]]] = [
        lambda s: groups.change_members(s, str(within["id"]), add=[other], remove=[], by=helper, now=now),
        lambda s: groups.change_members(s, str(within["id"]), add=[], remove=[str(user["id"])], by=helper, now=now),
        lambda s: groups.create_group(
            s, NewGroup(name=fresh(), parents=[str(within["full_name"])]), by=helper, now=now
        ),
        lambda s: groups.change_group(
            s, outside, GroupChanges(parents=[str(powerful["full_name"])]), by=helper, now=now
        ),
        lambda s: groups.change_group(s, str(within["id"]), GroupChanges(parents=[]), by=helper, now=now),
        lambda s: groups.change_group(s, str(powerful["id"]), GroupChanges(name=fresh()), by=helper, now=now),
        lambda s: groups.delete_group(s, str(powerful["id"]), by=helper, now=now),
    ]
    for attempt in attempts:
        with pytest.raises(AboveOwnRank):
            async with transaction(database) as session:
                await attempt(session)
    assert (await api.get(f"/groups/{within['id']}"))["parents"] == [powerful["full_name"]]


async def test_the_last_owner_keeps_the_role_by_every_way(own_platform: Platform) -> None:
    api = own_platform.api()
    items = (await api.get("/users", username="admin"))["items"]
    assert isinstance(items, list)
    held = (await api.get("/assignments", user=items[0]["id"]))["items"]
    assert isinstance(held, list)
    refused = await api.call("DELETE", f"/assignments/{held[0]['id']}")
    assert (refused.status_code, refused.json()["title"]) == (409, "The last owner")
    second = await api.create("/users", username="second")
    given = await give(api, role="owner", user=second["id"])
    await api.change(f"/users/{second['id']}", active=False)
    refused = await api.call("DELETE", f"/assignments/{held[0]['id']}")
    assert refused.status_code == 409, "an owner who is disabled is none"
    await api.change(f"/users/{second['id']}", active=True)
    await api.delete(f"/assignments/{held[0]['id']}")
    assert (await api.call("GET", f"/assignments/{given['id']}")).status_code == 403, "who was an owner is none now"
