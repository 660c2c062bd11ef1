"""Users at the console: each deed does what the API does, and says before what it ends."""

import asyncio
import secrets

import pytest

from watchword_testkit.api import Api
from watchword_testkit.browser import Browser
from watchword_testkit.canary import Canary
from watchword_testkit.platform import Platform


def name_of(kind: str) -> str:
    return f"{kind}-{secrets.token_hex(4)}"


async def test_a_person_is_made_found_and_changed(console: Browser, api: Api) -> None:
    name, group = name_of("ada"), name_of("engineers")
    await console.open(f"{console.issuer}/admin/users/new")
    page = await console.submit(
        "username",
        "save",
        username=name,
        name=f"Ada {name}",
        email=f"{name}@example.org",
        password=secrets.token_urlsafe(16),
        groups=group,
    )
    assert page.status == 200, page.body
    user_id = page.texts["user-id"]
    made = await api.get(f"/users/{user_id}")
    assert made["groups"] == [group]
    assert made["email_verified"] is True

    await console.open(f"{console.issuer}/admin/users")
    page = await console.submit("search", search=name.upper())
    assert f"Ada {name}" in page.links
    page = await console.submit("search", search=name, active="false")
    assert f"Ada {name}" not in page.links
    assert "Nobody is like that" in page.body

    await console.open(f"{console.issuer}/admin/users/{user_id}/edit")
    page = await console.submit("username", "save", name="Ada L.", email="", groups="")
    changed = await api.get(f"/users/{user_id}")
    assert (changed["name"], changed["email"], changed["groups"]) == ("Ada L.", None, [])


async def test_what_is_wrong_stands_beside_its_field_and_nothing_is_lost(console: Browser, api: Api) -> None:
    taken = name_of("taken")
    await api.create("/users", username=taken)
    await console.open(f"{console.issuer}/admin/users/new")
    page = await console.submit("username", "save", username=taken, name="Somebody", password="")
    assert page.status == 400
    assert page.texts["username-note"] == "another user has this user name"
    assert page.form_with("username").fields["name"] == "Somebody"
    page = await console.submit("username", "save", username=name_of("new"), password="short")
    assert page.texts["password-note"] == "a password has at least 8 characters"


async def test_many_people_come_a_page_at_a_time(console: Browser, api: Api) -> None:
    common = name_of("crowd")
    await asyncio.gather(*(api.create("/users", username=f"{common}-{n:02}") for n in range(27)))
    page = await console.open(f"{console.issuer}/admin/users?search={common}")
    first = [link for link in page.links if link.startswith(common)]
    page = await console.click("next")
    second = [link for link in page.links if link.startswith(common)]
    assert sorted(first + second) == [f"{common}-{n:02}" for n in range(27)]
    assert "next" not in page.links


async def test_signing_out_everywhere_ends_what_was_counted(
    platform: Platform, console: Browser, api: Api, canary: Canary
) -> None:
    name, password = name_of("carol"), secrets.token_urlsafe(16)
    user = await api.create("/users", username=name, password=password)
    async with platform.browser(canary) as person:
        await person.open(f"{platform.issuer}/admin")
        await person.submit("username", "sign-in", username=name, password=password)
    page = await console.open(f"{console.issuer}/admin/users/{user['id']}")
    assert "python-httpx" in page.texts["sessions"]
    page = await console.click("ask-sign-out")
    assert "1 signed-in browser and" in page.body
    page = await console.submit("confirm")
    assert page.texts["sessions"] == "Signed in now Nowhere."
    assert (await api.get("/sessions", user_id=str(user["id"])))["items"] == []


async def test_one_session_ends_and_the_others_stay(
    platform: Platform, console: Browser, api: Api, canary: Canary
) -> None:
    name, password = name_of("dora"), secrets.token_urlsafe(16)
    user = await api.create("/users", username=name, password=password)
    for _ in range(2):
        async with platform.browser(canary) as person:
            await person.open(f"{platform.issuer}/admin")
            await person.submit("username", "sign-in", username=name, password=password)
    sessions = (await api.get("/sessions", user_id=str(user["id"])))["items"]
    assert isinstance(sessions, list)
    await console.open(f"{console.issuer}/admin/users/{user['id']}")
    await console.submit(f"end-{sessions[0]['id']}")
    left = (await api.get("/sessions", user_id=str(user["id"])))["items"]
    assert [each["id"] for each in left] == [sessions[1]["id"]]  # type: ignore[attr-defined]  # a JSON list


async def test_disabling_enabling_and_deleting_say_what_they_do(console: Browser, api: Api) -> None:
    user = await api.create("/users", username=name_of("eve"))
    here = f"{console.issuer}/admin/users/{user['id']}"
    await console.open(here)
    page = await console.click("ask-disable")
    assert "No session and no grant ends." in page.body
    page = await console.submit("confirm")
    assert (await api.get(f"/users/{user['id']}"))["active"] is False
    page = await console.submit("enable")
    assert (await api.get(f"/users/{user['id']}"))["active"] is True
    page = await console.click("ask-delete")
    assert "cannot be undone" in page.body
    page = await console.submit("confirm")
    assert page.url == f"{console.issuer}/admin/users"
    assert (await api.call("GET", f"/users/{user['id']}")).status_code == 404
    assert (await console.open(here)).error_code == "not_found"


async def test_roles_are_exactly_those_that_were_ticked(console: Browser, api: Api) -> None:
    role = await api.create("/roles", name=name_of("role"))
    user = await api.create("/users", username=name_of("fred"))
    await console.open(f"{console.issuer}/admin/users/{user['id']}")
    await console.submit("save-roles", "save-roles", **{f"role_{role['name']}": "1"})
    assert (await api.get(f"/users/{user['id']}"))["roles"] == [role["name"]]
    await console.submit("save-roles", "save-roles", **{f"role_{role['name']}": ""})
    assert (await api.get(f"/users/{user['id']}"))["roles"] == []


async def test_nobody_ends_themselves_by_accident(platform: Platform, console: Browser, api: Api) -> None:
    me = (await api.get("/users", username=platform.admin.username))["items"]
    assert isinstance(me, list)
    page = await console.open(f"{console.issuer}/admin/users/{me[0]['id']}")
    assert not page.has("ask-delete")
    assert not page.has("ask-disable")


async def test_an_address_is_vouched_for_where_that_is_asked_for(
    platform: Platform, console: Browser, api: Api
) -> None:
    """Editing something else verifies nothing."""
    name = name_of("claims")
    user = await api.create("/users", username=name, email=f"{name}@example.org")
    path = f"/users/{user['id']}"
    async with platform.database.postgres.admin(platform.database.name) as admin:
        await admin.execute("UPDATE directory.users SET email_verified = false WHERE id = $1", user["id"])
    before = await api.get(path)
    await console.open(f"{console.issuer}/admin{path}/edit")
    await console.submit("username", "save")
    assert await api.get(path) == before
    await console.open(f"{console.issuer}/admin{path}/edit")
    await console.submit("username", "save", name="Claims")
    changed = await api.get(path)
    assert (changed["name"], changed["email"], changed["email_verified"]) == ("Claims", before["email"], False)
    page = await console.open(f"{console.issuer}/admin{path}")
    page = await console.submit("vouch", "vouch")
    assert (await api.get(path))["email_verified"] is True
    assert not page.has("vouch")


async def test_everything_else_of_a_person_is_said_and_taken_back(console: Browser, api: Api) -> None:
    name, attribute = name_of("else"), f"else_{secrets.token_hex(4)}"
    assert (await api.call("PUT", f"/attributes/{attribute}", {"kind": "string"})).status_code in {200, 201}
    said = {
        "middle_name": "King",
        "nickname": "Countess",
        "gender": "female",
        "birthdate": "1815-12-10",
        "profile": "https://ada.example/",
        "picture": "https://ada.example/ada.png",
        "website": "https://ada.example/",
        "phone_number": "+4912345",
    }
    lives = {"street_address": "12 St James's Square\nBack door", "locality": "London", "country": "England"}
    typed = said | {f"address.{member}": value for member, value in lives.items()}
    typed |= {"attributes": f'{{"{attribute}": "analyst"}}'}
    await console.open(f"{console.issuer}/admin/users/new")
    page = await console.submit("username", "save", username=name, **typed)
    path = f"/users/{page.texts['user-id']}"
    made = await api.get(path)
    address = {"formatted": None, "region": None, "postal_code": None, **lives}
    assert {member: made[member] for member in said} == said
    assert (made["address"], made["attributes"]) == (address, {attribute: "analyst"})
    await console.open(f"{console.issuer}/admin{path}/edit")
    await console.submit("username", "save")
    assert await api.get(path) == made
    await console.open(f"{console.issuer}/admin{path}/edit")
    await console.submit("username", "save", **dict.fromkeys(typed, ""))
    bare = await api.get(path)
    assert {bare[member] for member in (*said, "address")} == {None}
    assert bare["attributes"] == {}


@pytest.mark.parametrize(
    ("field", "typed"),
    [("birthdate", "yesterday"), ("website", "javascript:alert(1)"), ("phone_number", "0800"), ("attributes", "{"),
     ("attributes", "[]"), ("attributes", "5"), ("attributes", '{"no_such": 1}'), ("address.country", "x" * 2000)],
)  # fmt: skip
async def test_what_is_wrong_with_everything_else_of_a_person_is_said(
    console: Browser, api: Api, field: str, typed: str
) -> None:
    user = await api.create("/users", username=name_of("wrong"))
    await console.open(f"{console.issuer}/admin/users/{user['id']}/edit")
    page = await console.submit("username", "save", **{field: typed})
    assert page.status == 400, page.body
    assert page.form_with("username").fields[field] == typed
    assert (await api.get(f"/users/{user['id']}"))["version"] == 1


async def test_roles_that_the_page_does_not_show_stay(console: Browser, api: Api) -> None:
    """It shows the first two hundred."""
    user = await api.create("/users", username=name_of("many-roles"))
    common = secrets.token_hex(3)
    last, first = f"zz-{common}", f"aa-{common}"
    made = [await api.create("/roles", name=name) for name in (last, first)]
    for number in range(200):
        made.append(await api.create("/roles", name=f"mm-{common}-{number}"))
    try:
        given = await api.call("PUT", f"/users/{user['id']}/roles", {"roles": [last, first]})
        assert given.status_code == 200, given.text
        page = await console.open(f"{console.issuer}/admin/users/{user['id']}")
        assert not page.has(f"role_{last}")
        await console.submit("save-roles", "save-roles")
        assert set((await api.get(f"/users/{user['id']}"))["roles"]) == {last, first}  # type: ignore[call-overload]
        await console.submit("save-roles", "save-roles", **{f"role_{first}": ""})
        assert (await api.get(f"/users/{user['id']}"))["roles"] == [last]
    finally:
        for each in made:
            await api.delete(f"/roles/{each['id']}")


async def test_who_and_what_scim_keeps_says_so(console: Browser, api: Api) -> None:
    token = (await api.create("/scim-tokens", name=name_of("scim")))["token"]
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/scim+json"}
    name, core = name_of("pushed"), "urn:ietf:params:scim:schemas:core:2.0"
    for kind, said in (("Users", {"userName": name}), ("Groups", {"displayName": name})):
        schema, external_id = f"{core}:{kind.removesuffix('s')}", f"{kind}-{name}"
        body = {"schemas": [schema], "externalId": external_id, **said}
        made = await console.client.post(f"{console.issuer}/scim/v2/{kind}", json=body, headers=headers)
        assert made.status_code == 201, made.text
        room = f"{console.issuer}/admin/{kind.lower()}"
        page = await console.open(f"{room}/{made.json()['id']}")
        assert page.texts["external-id"] == external_id
        assert "SCIM" in (await console.open(f"{room}?search={name}")).body.partition("<tbody>")[2]
    for path, room in (("/users", "users"), ("/groups", "groups")):
        by_hand = await api.create(path, **{"username" if room == "users" else "name": name_of("hand")})
        assert by_hand["external_id"] is None
        page = await console.open(f"{console.issuer}/admin/{room}/{by_hand['id']}")
        assert "external-id" not in page.texts
