"""Groups: who is in them by nesting, what they are called, and that changes reach whoever they concern."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable

import pytest
from tests.directory.conftest import Register

from watchword_events.contracts import GroupCreated, GroupDeleted, GroupUpdated, MembershipChanged, UserUpdated
from watchword_testkit.api import Api
from watchword_testkit.events import expect_events
from watchword_testkit.platform import Platform

Make = Callable[..., Awaitable[dict[str, object]]]

MALFORMED: dict[str, dict[str, object]] = {
    "no name": {},
    "empty name": {"name": " "},
    "name as number": {"name": 7},
    "name with a line break": {"name": "ops\nadmin"},
    "name with a direction mark": {"name": "\u202esnimda"},
    "name with a nul": {"name": "a\u0000b"},
    "long name": {"name": "a" * 257},
    "id": {"name": "ops", "id": "mine"},
    "full name": {"name": "ops", "full_name": "acme/ops"},
    "version": {"name": "ops", "version": 9},
    "members": {"name": "ops", "members": ["x"]},
    "parents as text": {"name": "ops", "parents": "staff"},
    "parent that does not exist": {"name": "ops", "parents": ["no-such-group"]},
    "too many parents": {"name": "ops", "parents": [f"group-{number}" for number in range(33)]},
    "organization that does not exist": {"name": "ops", "organization": "no-such-organization"},
    "organization as list": {"name": "ops", "organization": ["acme"]},
}


def fresh(what: str = "group") -> str:
    return f"{what}-{secrets.token_hex(5)}"


@pytest.fixture
def make(api: Api) -> Make:
    """Creates groups with names of the test's own."""

    async def create(**given: object) -> dict[str, object]:
        return await api.create("/groups", **({"name": fresh()} | given))

    return create


async def rights(api: Api, user: dict[str, object]) -> list[str]:
    """The groups that follow for a user."""
    found = (await api.get(f"/users/{user['id']}/rights"))["groups"]
    assert isinstance(found, list)
    return found


async def put_in(api: Api, group: dict[str, object], *users: dict[str, object]) -> None:
    answer = await api.call("POST", f"/groups/{group['id']}/members", {"add": [user["id"] for user in users]})
    assert answer.status_code == 204, answer.text


async def version_of(api: Api, user: dict[str, object]) -> object:
    return (await api.get(f"/users/{user['id']}"))["version"]


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
async def test_malformed_groups_are_refused(api: Api, body: dict[str, object]) -> None:
    if body.get("name") == "ops":
        body = body | {"name": fresh()}
    refused = await api.call("POST", "/groups", body)
    assert refused.status_code == 400, refused.text
    assert refused.headers["content-type"] == "application/problem+json"


async def test_a_group_is_created_read_changed_and_deleted(platform: Platform, api: Api, make: Make) -> None:
    async with (
        platform.nats_client() as client,
        expect_events(client, GroupCreated, GroupUpdated, GroupDeleted) as seen,
    ):
        group = await make(description="Operators")
        assert (group["full_name"], group["organization"], group["version"]) == (group["name"], None, 1)
        assert await api.get(f"/groups/{group['id']}") == group
        same = await api.change(f"/groups/{group['id']}", description="Operators")
        assert same == group, "nothing happens when nothing differs"
        changed = await api.change(f"/groups/{group['id']}", description=None)
        assert (changed["description"], changed["version"]) == (None, 2)
        await api.delete(f"/groups/{group['id']}")
        assert (await api.call("GET", f"/groups/{group['id']}")).status_code == 404
        assert (await api.call("DELETE", f"/groups/{group['id']}")).status_code == 204, "again changes nothing"
    assert [each.type for each in seen.events if each.id == group["id"]] == [
        "group.created",
        "group.updated",
        "group.deleted",
    ]


@pytest.mark.parametrize("again", ["same", "in other letters"])
async def test_a_name_belongs_to_one_group(api: Api, make: Make, again: str) -> None:
    name = fresh()
    await make(name=name)
    other = await make()
    taken = name if again == "same" else name.upper()
    own = f"/groups/{other['id']}"
    for method, path in (("POST", "/groups"), ("PATCH", own), ("PUT", own)):
        refused = await api.call(method, path, {"name": taken})
        assert refused.status_code == 409
        assert refused.json()["errors"][0]["pointer"] == "#/name"


async def test_of_parallel_groups_of_one_name_one_wins(api: Api) -> None:
    name = fresh()
    answers = await asyncio.gather(*(api.call("POST", "/groups", {"name": name}) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7


async def test_members_of_a_group_are_in_whatever_it_lies_in(api: Api, make: Make, register: Register) -> None:
    everybody, staff, board = await make(), await make(), await make()
    ops = await make(parents=[staff["full_name"], board["full_name"]])
    await api.change(f"/groups/{staff['id']}", parents=[everybody["full_name"]])
    night = await make(parents=[ops["full_name"]])
    user, other = await register(), await register()
    await put_in(api, night, user)
    await put_in(api, staff, other)
    names = [str(group["full_name"]) for group in (everybody, staff, board, ops, night)]
    assert await rights(api, user) == sorted(names)
    assert await rights(api, other) == sorted(names[:2])
    assert (await api.get(f"/users/{user['id']}"))["groups"] == [night["full_name"]], "put in one alone"


@pytest.mark.parametrize("depth", [1, 2, 7])
async def test_a_group_cannot_lie_in_itself(api: Api, make: Make, depth: int) -> None:
    chain = [await make()]
    for _ in range(depth - 1):
        chain.append(await make(parents=[chain[-1]["full_name"]]))
    refused = await api.call("PATCH", f"/groups/{chain[0]['id']}", {"parents": [chain[-1]["full_name"]]})
    assert (refused.status_code, refused.json()["title"]) == (409, "A circle")


async def test_of_two_nestings_that_make_a_circle_one_is_refused(api: Api, make: Make) -> None:
    for _ in range(5):
        first, second = await make(), await make()
        answers = await asyncio.gather(
            api.call("PATCH", f"/groups/{first['id']}", {"parents": [second["full_name"]]}),
            api.call("PATCH", f"/groups/{second['id']}", {"parents": [first["full_name"]]}),
        )
        assert sorted(answer.status_code for answer in answers) == [200, 409]


async def test_whoever_a_change_concerns_rises_and_nobody_else(api: Api, make: Make, register: Register) -> None:
    staff = await make()
    ops = await make(parents=[staff["full_name"]])
    inside, above, outside = await register(), await register(), await register()
    await put_in(api, ops, inside)
    await put_in(api, staff, above)
    assert [await version_of(api, user) for user in (inside, above, outside)] == [2, 2, 1]
    await put_in(api, ops, inside)
    assert await version_of(api, inside) == 2, "in it already"
    await api.change(f"/groups/{ops['id']}", description="said about it")
    assert await version_of(api, inside) == 2, "no claim changed"
    await api.change(f"/groups/{staff['id']}", name=fresh())
    assert [await version_of(api, user) for user in (inside, above, outside)] == [3, 3, 1]
    await api.change(f"/groups/{ops['id']}", parents=[])
    assert [await version_of(api, user) for user in (inside, above, outside)] == [4, 3, 1]
    assert await rights(api, inside) == [ops["full_name"]]
    await api.delete(f"/groups/{ops['id']}")
    assert [await version_of(api, user) for user in (inside, above, outside)] == [5, 3, 1]
    assert await rights(api, inside) == []
    assert (await api.get(f"/users/{inside['id']}"))["groups"] == []


async def test_a_membership_is_an_event_of_the_user(
    platform: Platform, api: Api, make: Make, register: Register
) -> None:
    group, user = await make(), await register()
    user_id = str(user["id"])
    wanted = (
        (MembershipChanged, user_id),
        (UserUpdated, user_id),
        (MembershipChanged, user_id),
        (UserUpdated, user_id),
    )
    async with platform.nats_client() as client, expect_events(client, *wanted) as seen:
        await put_in(api, group, user)
        await api.call("POST", f"/groups/{group['id']}/members", {"remove": [user_id]})
    moves = [each.event for each in seen.of("membership.changed") if each.id == user_id]
    assert [(move.version, move.is_member) for move in moves] == [(2, True), (3, False)]  # type: ignore[attr-defined]  # MembershipChanged


async def test_groups_of_a_user_are_set_by_name_and_made_where_they_are_missing(
    platform: Platform, api: Api, make: Make, register: Register
) -> None:
    known, new = await make(), fresh("new")
    user = await register(groups=[str(known["name"]).upper(), new])
    assert user["groups"] == sorted([str(known["name"]), new]), "a name in other letters is the group that is there"
    assert user["version"] == 1
    found = (await api.get("/groups", full_name=new.upper()))["items"]
    assert isinstance(found, list)
    assert [group["full_name"] for group in found] == [new]
    changed = await api.change(f"/users/{user['id']}", groups=[new])
    assert (changed["groups"], changed["version"]) == ([new], 2)
    assert (await api.change(f"/users/{user['id']}", groups=[new.upper()]))["version"] == 2


async def test_members_are_listed_in_pages(api: Api, make: Make, register: Register) -> None:
    group, users = await make(), [await register() for _ in range(5)]
    await put_in(api, group, *users)
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = await api.get(f"/groups/{group['id']}/members", limit="2", **cursor)
        items = page["items"]
        assert isinstance(items, list)
        found += [each["user_id"] for each in items]
        if page["next"] is None:
            break
        cursor = {"cursor": str(page["next"])}
    assert found == sorted(str(user["id"]) for user in users)
    other = await make()
    stolen = await api.call("GET", f"/groups/{other['id']}/members", None, **cursor)
    assert stolen.status_code == 400, "a cursor of one group fits no other"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"add": "x"}, id="a text"),
        pytest.param({"add": [1]}, id="a number"),
        pytest.param({"add": [""]}, id="no id"),
        pytest.param({"add": ["nobody"]}, id="nobody"),
        pytest.param({"add": ["x"], "remove": ["x"]}, id="in and out"),
        pytest.param({"add": [str(number) for number in range(1001)]}, id="too many"),
        pytest.param({"add": [], "provider_id": "Okta"}, id="from a provider"),
    ],
)
async def test_bad_changes_of_members_change_nothing(
    api: Api, make: Make, register: Register, body: dict[str, object]
) -> None:
    group, user = await make(), await register()
    if body["add"] == ["nobody"]:
        body = {"add": [user["id"], "nobody"]}
    refused = await api.call("POST", f"/groups/{group['id']}/members", body)
    assert refused.status_code == 400, refused.text
    assert (await api.get(f"/groups/{group['id']}/members"))["items"] == []
    assert await version_of(api, user) == 1


async def test_a_deleted_user_is_in_no_group(api: Api, make: Make, register: Register) -> None:
    group, user = await make(), await register()
    await put_in(api, group, user)
    await api.delete(f"/users/{user['id']}")
    assert (await api.get(f"/groups/{group['id']}/members"))["items"] == []
    refused = await api.call("POST", f"/groups/{group['id']}/members", {"add": [user["id"]]})
    assert refused.status_code == 400


async def test_no_organizations_group_passes_for_anothers(api: Api, make: Make, register: Register) -> None:
    short = fresh("org")
    organization = await api.create("/organizations", short_name=short, name="Org")
    globally, within = await make(name=fresh("admins")), await make(name="admins", organization=short)
    assert (within["full_name"], within["organization"]) == (f"{short}/admins", organization["id"])
    user = await register(groups=[f"{short}/admins", f"{short}/made-by-name"])
    assert await rights(api, user) == [f"{short}/admins", f"{short}/made-by-name"]
    assert "admins" not in await rights(api, user)
    assert globally["full_name"] not in await rights(api, user)
    made = (await api.get("/groups", organization=str(organization["id"])))["items"]
    assert isinstance(made, list)
    assert [group["name"] for group in made] == ["admins", "made-by-name"]
    for body in ({"name": f"{short}/ADMINS"}, {"name": "Admins", "organization": short}):
        assert (await api.call("POST", "/groups", body)).status_code == 409
    moved = await api.call("PUT", f"/groups/{globally['id']}", {"name": "x", "organization": short})
    assert (moved.status_code, moved.json()["errors"][0]["pointer"]) == (409, "#/organization")


# What the groups of an organization are called, by its short name: in whatever letters, and with whatever behind.
OF_AN_ORGANIZATION: dict[str, Callable[[str], str]] = {
    "its group": lambda short: f"{short}/ops",
    "in other letters": lambda short: f"{short.upper()}/Ops",
    "a group below": lambda short: f"{short}/ops/web",
    "a group of no name": lambda short: f"{short}/",
    "with a space": lambda short: f"{short}/ ops",
}


@pytest.mark.parametrize("called", OF_AN_ORGANIZATION.values(), ids=OF_AN_ORGANIZATION)
async def test_no_group_of_the_installation_is_called_as_one_of_an_organization(
    api: Api, make: Make, register: Register, called: Callable[[str], str]
) -> None:
    short = fresh("org")
    organization = await api.create("/organizations", short_name=short, name="Org")
    harmless, within = await make(), await make(name="its-own", organization=short)
    name = called(short)
    document = {"kind": "Group", "name": name}
    refused = {
        "made": await api.call("POST", "/groups", {"name": name}),
        "renamed": await api.call("PATCH", f"/groups/{harmless['id']}", {"name": name}),
        "replaced": await api.call("PUT", f"/groups/{harmless['id']}", {"name": name}),
        "declared": await api.call("POST", "/apply/directory", {"documents": [document]}),
    }
    for how, answer in refused.items():
        assert answer.status_code == 409, f"{how}: {answer.text}"
        assert answer.json()["errors"][0]["pointer"].endswith("/name"), how
    # By its whole name a group is the organization's: there it may be called whatever it likes.
    assert (await api.get("/groups", organization=str(organization["id"])))["items"] == [within]
    renamed = await api.call("PATCH", f"/groups/{within['id']}", {"name": name})
    assert renamed.json()["full_name"] == f"{short}/{name.strip()}"
    given = await api.call("POST", "/users", {"username": fresh("user"), "groups": [name]})
    everything = (await api.get("/groups", organization=str(organization["id"])))["items"]
    assert isinstance(everything, list)
    if name.endswith("/"):
        assert (given.status_code, len(everything)) == (409, 1), given.text
    else:
        assert (given.status_code, len(everything)) == (201, 2), given.text
        made = next(group for group in everything if group["id"] != within["id"])
        assert made["full_name"].lower() == f"{short}/{made['name']}".lower()
        assert made["name"] == made["name"].strip(), "as whoever names it in the organization would"


async def test_of_an_organization_and_a_group_that_is_called_as_one_of_its_own_one_is_made(api: Api) -> None:
    for _ in range(8):
        short = fresh("org")
        made = await asyncio.gather(
            api.call("POST", "/organizations", {"short_name": short, "name": "Org"}),
            api.call("POST", "/groups", {"name": f"{short}/admins"}),
        )
        assert sorted(answer.status_code for answer in made) == [201, 409], [answer.text for answer in made]


async def test_a_short_name_that_groups_begin_with_is_taken(api: Api, make: Make) -> None:
    short = fresh("org")
    await make(name=f"{short}/admins")
    refused = await api.call("POST", "/organizations", {"short_name": short.upper(), "name": "Org"})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (409, "#/short_name")
