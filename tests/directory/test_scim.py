"""SCIM 2.0: a client of another company keeps people and groups up to date, and scim2-tester finds nothing to say."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pytest
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_tester import check_server
from tests.directory.conftest import Configure, Describe, Person, Register

from watchword_events.contracts import MembershipChanged, UserDisabled, UserProvisioned, UserUpdated
from watchword_testkit.api import Api
from watchword_testkit.canary import Canary
from watchword_testkit.events import expect_events
from watchword_testkit.http import http_client
from watchword_testkit.platform import Platform
from watchword_testkit.signin import Party, SignIn

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
SEARCH = "urn:ietf:params:scim:api:messages:2.0:SearchRequest"
BULK = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"
PASSWORD = "correct horse battery staple"


class Scim:
    """A SCIM client that holds an API key."""

    def __init__(self, issuer: str, key: str) -> None:
        self.http = http_client(base_url=f"{issuer}/scim/v2", headers={"Authorization": f"Bearer {key}"}, timeout=30)

    async def call(self, method: str, path: str, body: object = None, **params: str) -> httpx2.Response:
        headers = {"Content-Type": "application/scim+json"} if body is not None else {}
        return await self.http.request(method, path, json=body, params=params or None, headers=headers)

    async def ok(self, method: str, path: str, body: object = None, **params: str) -> dict[str, Any]:
        answer = await self.call(method, path, body, **params)
        assert answer.status_code in {200, 201, 204}, f"{answer.status_code}: {answer.text}"
        return dict(answer.json()) if answer.content else {}

    async def user(self, **given: object) -> dict[str, Any]:
        name = f"scim-{secrets.token_hex(5)}"
        return await self.ok("POST", "/Users", {"schemas": [USER], "userName": name} | given)

    async def group(self, *members: str, **given: object) -> dict[str, Any]:
        body = {"schemas": [GROUP], "displayName": f"scim-{secrets.token_hex(5)}"} | given
        return await self.ok("POST", "/Groups", body | {"members": [{"value": each} for each in members]})

    async def patch(self, path: str, *operations: dict[str, object]) -> httpx2.Response:
        return await self.call("PATCH", path, {"schemas": [PATCH], "Operations": list(operations)})

    async def found(self, path: str, wanted: str, **params: str) -> list[str]:
        """The ids of what a filter means."""
        page = await self.ok("GET", path, filter=wanted, **params)
        return [each["id"] for each in page.get("Resources", [])]


async def key_of(api: Api, canary: Canary, *scope: str) -> str:
    """A new API key of an administrator."""
    made = await api.create("/api-keys", name="scim", scope=list(scope))
    key = next(
        str(value) for value in made.values() if isinstance(value, str) and value.startswith("ww_") and "." in value
    )
    canary.add("API key", key)
    return key


@pytest.fixture
async def scim(platform: Platform, api: Api, canary: Canary) -> AsyncIterator[Scim]:
    client = Scim(platform.issuer, await key_of(api, canary, "watchword:scim"))
    yield client
    await client.http.aclose()


@pytest.mark.spec("RFC 7643 5")
@pytest.mark.spec("RFC 7643 6")
@pytest.mark.spec("RFC 7643 7")
@pytest.mark.spec("RFC 7644 3")
async def test_scim2_tester_finds_nothing_to_say(platform: Platform, scim: Scim) -> None:
    def check() -> list[tuple[str, str, str | None]]:
        http = httpx2.Client(
            base_url=f"{platform.issuer}/scim/v2",
            headers={"Authorization": scim.http.headers["Authorization"]},
            trust_env=False,
            timeout=30,
        )
        with http:
            results = check_server(SyncSCIMClient(http))
        said = [(result.title, result.status.name, result.reason) for result in results]
        assert len(said) > 100, said
        return [each for each in said if each[1] not in ("SKIPPED", "SUCCESS")]

    found = await asyncio.to_thread(check)
    assert found == [], "\n".join(map(str, found))


@pytest.mark.spec("RFC 7643 4")
@pytest.mark.spec("RFC 7643 4.3")
async def test_a_user_is_created_read_replaced_and_deleted(scim: Scim, api: Api) -> None:
    address = f"{secrets.token_hex(5)}@corp.example"
    made = await scim.user(
        externalId="00u1",
        name={"givenName": "Ana", "familyName": "L\u00f3pez"},
        emails=[{"value": address.upper(), "type": "work", "primary": True}, {"value": "other@corp.example"}],
        title="Engineer",
        phoneNumbers=[{"value": "+4712345678", "type": "work"}],
        **{ENTERPRISE: {"department": "R&D", "manager": {"value": "boss"}}},
    )
    assert made["meta"]["resourceType"] == "User"
    assert made["meta"]["location"].endswith(f"/scim/v2/Users/{made['id']}")
    user = await api.get(f"/users/{made['id']}")
    assert (user["username"], user["email"], user["email_verified"]) == (made["userName"], address, True)
    assert (user["name"], user["given_name"], user["phone_number"]) == ("Ana L\u00f3pez", "Ana", "+4712345678")
    again = await scim.ok("GET", f"/Users/{made['id']}")
    assert again == made
    assert again[ENTERPRISE]["department"] == "R&D"
    await api.change(f"/users/{made['id']}", given_name="Anna", email=f"new-{address}")
    changed = await scim.ok("GET", f"/Users/{made['id']}")
    assert changed["name"] == {"givenName": "Anna", "familyName": "L\u00f3pez"}, "what was changed here is shown"
    assert changed["emails"] == [{"value": f"new-{address}", "primary": True}]
    replaced = await scim.ok("PUT", f"/Users/{made['id']}", {"schemas": [USER], "userName": made["userName"]})
    assert "title" not in replaced
    assert (await api.get(f"/users/{made['id']}"))["email"] is None
    assert (await scim.call("DELETE", f"/Users/{made['id']}")).status_code == 204
    assert (await scim.call("GET", f"/Users/{made['id']}")).status_code == 404
    assert (await api.call("GET", f"/users/{made['id']}")).status_code == 404


@pytest.mark.row(64)
@pytest.mark.parametrize("active", [False, "False", "false"])
async def test_active_false_cuts_access_everywhere_as_any_other_cause(
    platform: Platform, scim: Scim, api: Api, canary: Canary, active: object
) -> None:
    """Microsoft Entra writes `"False"`. The same event, the same entry in the ledger; refused wherever it is shown."""
    made = await scim.user()
    await api.change(f"/users/{made['id']}", password=PASSWORD)
    party = await Party.registered(api, platform.issuer, canary)
    tokens = await SignIn(platform.browser(), party).with_password(made["userName"], PASSWORD)
    assert (await party.userinfo(tokens["access_token"])).status_code == 200
    async with platform.nats_client() as client, expect_events(client, (UserDisabled, made["id"])):
        answer = await scim.patch(f"/Users/{made['id']}", {"op": "Replace", "path": "active", "value": active})
    assert answer.status_code == 204, answer.text
    assert (await party.introspect(tokens["access_token"]))["active"] is False
    assert (await party.userinfo(tokens["access_token"])).status_code == 401
    refused = await party.ask("token", grant_type="refresh_token", refresh_token=tokens["refresh_token"])
    assert refused.status_code == 400
    assert (await scim.ok("GET", f"/Users/{made['id']}"))["active"] is False
    back = await scim.patch(f"/Users/{made['id']}", {"op": "replace", "value": {"active": True}})
    assert back.status_code == 204, "a patch without a path, as Okta sends it"
    assert (await party.introspect(tokens["access_token"]))["active"] is False, "what was dead stays dead"


FILTERS: dict[str, Callable[[dict[str, Any]], str]] = {
    "user name in other letters": lambda user: f'userName eq "{user["userName"].upper()}"',
    "external id": lambda user: f'externalId eq "{user["externalId"]}"',
    "any address": lambda user: f'emails.value eq "{user["emails"][1]["value"].upper()}"',
    "addresses": lambda user: f'emails eq "{user["emails"][0]["value"]}"',
    "address of a kind": lambda user: f'emails[type eq "home" and value eq "{user["emails"][1]["value"]}"]',
    "name": lambda user: f'name.familyName eq "{user["name"]["familyName"]}"',
    "part": lambda user: f'title co "{user["title"][2:]}"',
    "beginning": lambda user: f'title sw "{user["title"][:6]}" and active eq true',
    "end": lambda user: f'title ew "{user["title"][3:]}" and not (userType pr)',
    "extension": lambda user: f'{ENTERPRISE}:department eq "{user[ENTERPRISE]["department"]}"',
    "either": lambda user: f'id eq "nobody" or id eq "{user["id"]}"',
    "time": lambda user: f'id eq "{user["id"]}" and meta.created ge "{user["meta"]["created"]}"',
    "not equal": lambda user: f'id eq "{user["id"]}" and nickName ne "x" and emails.value ne "x@corp.example"',
}
NOTHING: dict[str, Callable[[dict[str, Any]], str]] = {
    "external id in other letters": lambda user: f'externalId eq "{user["externalId"].upper()}"',
    "a wildcard is a letter": lambda user: f'title eq "{user["title"][:-1]}%"',
    "another kind of address": lambda user: f'emails[type eq "work" and value eq "{user["emails"][1]["value"]}"]',
    "not": lambda user: f'id eq "{user["id"]}" and not (active eq true)',
    "a quote": lambda _user: 'userName eq "x\\" or 1=1 --"',
}


@pytest.mark.spec("RFC 7644 3.4.2.2")
async def test_filters_find_whom_they_mean(scim: Scim) -> None:
    unique = secrets.token_hex(6)
    user = await scim.user(
        externalId=f"ext-{unique}",
        name={"familyName": f"Family {unique}"},
        title=f"Title {unique}",
        emails=[
            {"value": f"{unique}@corp.example", "type": "work", "primary": True},
            {"value": f"home-{unique}@corp.example", "type": "home"},
        ],
        **{ENTERPRISE: {"department": f"Dept {unique}"}},
    )
    for name, wanted in FILTERS.items():
        assert await scim.found("/Users", wanted(user)) == [user["id"]], name
    for name, wanted in NOTHING.items():
        assert await scim.found("/Users", wanted(user)) == [], name


# What no index takes, and does not become short by compressing it.
LONG = "".join(f"{number:x}" for number in range(3000))
REFUSED: dict[str, tuple[str, str, object, int, str | None]] = {
    "a filter that is none": ("GET", "/Users?filter=userName+eq", None, 400, "invalidFilter"),
    "an unknown operator": ("GET", '/Users?filter=userName+is+"x"', None, 400, "invalidFilter"),
    "a filter by what cannot be": ("GET", '/Groups?filter=members.$ref+eq+"x"', None, 400, "invalidFilter"),
    "a long filter": ("GET", "/Users?filter=" + "+or+".join(['title+eq+"x"'] * 300), None, 400, "invalidFilter"),
    "a long path": (
        "PATCH", "/Groups/x", {"schemas": [PATCH], "Operations": [{"op": "remove", "path": f"members[{'(' * 2048}"}]},
        400, "invalidPath",
    ),
    "many paths": (
        "PATCH", "/Groups/x", {"schemas": [PATCH], "Operations": [{"op": "remove", "path": "x" * 1024}] * 33}, 400,
        "invalidPath",
    ),
    "a broken cursor": ("GET", "/Users?cursor=abc", None, 400, "invalidCursor"),
    "sorting by what has parts": ("GET", "/Users?sortBy=name", None, 400, "invalidPath"),
    "sorting by what has several values": ("GET", "/Users?sortBy=groups.value", None, 400, "invalidFilter"),
    "no user name": ("POST", "/Users", {"schemas": [USER]}, 400, "invalidValue"),
    "another schema": ("POST", "/Users", {"schemas": [GROUP], "userName": "x"}, 400, "invalidSyntax"),
    "no object": ("POST", "/Users", ["x"], 400, "invalidSyntax"),
    "no address": (
        "POST", "/Users", {"schemas": [USER], "userName": "x", "emails": [{"value": "x"}]}, 400, "invalidValue",
    ),
    "a member who is nobody": (
        "POST", "/Groups", {"schemas": [GROUP], "displayName": "x-nobody", "members": [{"value": "nobody"}]}, 400,
        "invalidValue",
    ),
    "a name of kilobytes": ("POST", "/Users", {"schemas": [USER], "userName": LONG}, 400, "invalidValue"),
    "an id of kilobytes elsewhere": (
        "POST", "/Users", {"schemas": [USER], "userName": "x-long", "externalId": LONG}, 400, "invalidValue",
    ),
    "a group with a long name": (
        "POST", "/Groups", {"schemas": [GROUP], "displayName": "x" * 257}, 400, "invalidValue",
    ),
    "a group without a name": ("POST", "/Groups", {"schemas": [GROUP], "displayName": " "}, 400, "invalidValue"),
    "a filter with U+0000": ("GET", '/Users?filter=title+eq+"%5Cu0000"', None, 400, "invalidValue"),
    "a filter with half a letter": ("GET", '/Users?filter=title+eq+"%5Cud800"', None, 400, "invalidValue"),
    "a time before all times": (
        "GET", '/Users?filter=meta.created+gt+"0001-01-01T00:00:00%2B14:00"', None, 400, "invalidValue",
    ),
    "a page beyond all numbers": ("GET", f"/Users?startIndex={10**30}", None, 400, "invalidValue"),
    "an unknown place": ("GET", "/Things", None, 404, None),
    "an unknown user": ("GET", "/Users/nobody", None, 404, None),
    "a patch of nobody": (
        "PATCH", "/Users/nobody", {"schemas": [PATCH], "Operations": [{"op": "add", "value": {"title": "x"}}]}, 404,
        None,
    ),
    "a way that there is not": ("PUT", "/Users", {"schemas": [USER]}, 405, None),
    "everything at once": (
        "POST", "/Bulk", {"schemas": [BULK], "Operations": [{"method": "DELETE", "path": "/Users/nobody"}] * 201}, 413,
        None,
    ),
}  # fmt: skip


@pytest.mark.row(64)
async def test_what_cannot_be_is_refused_in_the_protocols_words(scim: Scim) -> None:
    for name, (method, path, body, status, kind) in REFUSED.items():
        answer = await scim.call(method, path, body)
        assert answer.headers["content-type"].startswith("application/scim+json"), f"{name}: {answer.text}"
        said = answer.json()
        assert said["schemas"] == [ERROR], name
        assert (name, answer.status_code, said["status"], said.get("scimType")) == (name, status, str(status), kind)


async def test_a_group_is_not_renamed_to_what_is_no_name(scim: Scim) -> None:
    group = await scim.group()
    for name in ("x" * 257, "x\u0001"):
        answer = await scim.patch(f"/Groups/{group['id']}", {"op": "replace", "path": "displayName", "value": name})
        assert (answer.status_code, answer.json().get("scimType")) == (400, "invalidValue"), answer.text


async def test_a_group_that_is_called_as_one_of_an_organization_is_the_organizations(scim: Scim, api: Api) -> None:
    short = f"acme-{secrets.token_hex(5)}"
    organization = await api.create("/organizations", short_name=short, name="Acme")
    made, harmless = await scim.group(displayName=f"{short.upper()}/ops"), await scim.group()
    assert made["displayName"] == f"{short}/ops"
    assert (await api.get(f"/groups/{made['id']}"))["organization"] == organization["id"]
    for name in (f"{short}/", f"{short}/ "):
        answer = await scim.call("POST", "/Groups", {"schemas": [GROUP], "displayName": name})
        assert (answer.status_code, answer.json().get("scimType")) == (400, "invalidValue"), answer.text
    for name in (f"{short}/x", f"{short.upper()}/x", f"{short}/"):
        answer = await scim.patch(f"/Groups/{harmless['id']}", {"op": "replace", "path": "displayName", "value": name})
        assert (answer.status_code, answer.json().get("scimType")) == (400, "invalidValue"), answer.text
    assert (await api.get(f"/groups/{harmless['id']}"))["full_name"] == harmless["displayName"]


@pytest.mark.spec("RFC 7644 3.8")
async def test_a_body_without_a_type_is_json_that_is_looked_at_as_any_other(scim: Scim) -> None:
    body = b'{"schemas":["%b"],"userName":"x-untyped","title":"\\u0000"}' % USER.encode()
    assert (await scim.http.post("/Users", content=body)).status_code == 400


@pytest.mark.spec("RFC 7644 3.12")
async def test_nobody_without_the_scope_is_let_in(platform: Platform, api: Api, canary: Canary) -> None:
    for key, status in (("", 401), ("ww_x.y", 401), (await key_of(api, canary, "watchword:events"), 403)):
        client = Scim(platform.issuer, key or "-")
        answer = await client.call("GET", "/Users")
        await client.http.aclose()
        assert answer.status_code == status
        assert answer.json()["schemas"] == [ERROR]
        assert "WWW-Authenticate" in answer.headers


@pytest.mark.row(64)
async def test_what_is_not_for_a_client_to_change_stays(scim: Scim, api: Api) -> None:
    """Roles and ids are given here; RFC 7643 3.1 has `id` read-only."""
    user = await scim.ok("POST", "/Users", {"schemas": [USER], "userName": f"kept-{secrets.token_hex(5)}"})
    path = f"/Users/{user['id']}"
    for place, value in (("id", "somebody-else"), ("roles", [{"value": "owner"}]), ("roles.value", "owner")):
        operation = {"op": "replace", "path": place, "value": value}
        await scim.call("PATCH", path, {"schemas": [PATCH], "Operations": [operation]})
        assert (await scim.ok("GET", path))["id"] == user["id"]
        assert (await api.get(f"/users/{user['id']}"))["roles"] == [], place


async def test_a_name_or_address_of_somebody_else_is_a_conflict(scim: Scim, register: Register) -> None:
    user = await register()
    for given in ({"userName": str(user["username"]).upper()}, {"emails": [{"value": user["email"]}]}):
        body = {"schemas": [USER], "userName": f"x-{secrets.token_hex(5)}"} | given
        answer = await scim.call("POST", "/Users", body)
        assert (answer.status_code, answer.json()["scimType"]) == (409, "uniqueness")


async def test_a_name_that_is_anothers_address_stays_what_it_is_there_and_is_no_name_here(scim: Scim, api: Api) -> None:
    """A principal name that differs from the mailbox, as with Microsoft Entra."""
    unique = secrets.token_hex(5)
    principal, address = f"Ana.{unique}@tenant.example", f"{unique}@corp.example"
    made = await scim.user(userName=principal, emails=[{"value": address, "primary": True}])
    assert made["userName"] == principal
    user = await api.get(f"/users/{made['id']}")
    assert (user["username"], user["email"]) == (f"ana.{unique}", address)
    assert await scim.found("/Users", f'userName eq "{principal.lower()}"') == [made["id"]]
    twice = await scim.call("POST", "/Users", {"schemas": [USER], "userName": principal.upper()})
    assert twice.status_code == 409
    alone = await scim.user(userName=f"only-{unique}@corp.example")
    assert (await api.get(f"/users/{alone['id']}"))["email"] == f"only-{unique}@corp.example"


async def test_members_come_and_go_as_entra_and_okta_say_it(scim: Scim, api: Api) -> None:
    one, two, three = [(await scim.user())["id"] for _ in range(3)]
    group = await scim.group(one, externalId="g-1")
    path = f"/Groups/{group['id']}"

    async def members() -> set[str]:
        return {each["value"] for each in (await scim.ok("GET", path)).get("members", [])}

    assert await members() == {one}
    add = {"op": "Add", "path": "members", "value": [{"value": two}, {"value": three}]}
    assert (await scim.patch(path, add)).status_code == 204
    assert await members() == {one, two, three}
    gone = await scim.patch(path, {"op": "Remove", "path": "members", "value": [{"value": one}]})
    assert gone.status_code == 204
    assert (await scim.patch(path, {"op": "remove", "path": f'members[value eq "{two}"]'})).status_code == 204
    assert await members() == {three}
    both = {"op": "replace", "value": {"displayName": f"renamed-{group['id']}", "members": [{"value": one}]}}
    assert (await scim.patch(path, both)).status_code == 204
    assert await members() == {one}
    user = await scim.ok("GET", f"/Users/{one}")
    assert [(each["value"], each["type"]) for each in user["groups"]] == [(group["id"], "direct")]
    assert await scim.found("/Groups", f'members.value eq "{one}" and externalId eq "g-1"') == [group["id"]]
    assert "members" not in await scim.ok("GET", path, excludedAttributes="members")
    assert (await api.get(f"/users/{one}"))["groups"] == [f"renamed-{group['id']}"]
    assert (await scim.call("DELETE", path)).status_code == 204


async def test_entra_adds_an_address_by_a_path_that_finds_none(scim: Scim, api: Api) -> None:
    user = await scim.user()
    address = f"{secrets.token_hex(5)}@corp.example"
    answer = await scim.patch(
        f"/Users/{user['id']}",
        {"op": "Add", "path": 'emails[type eq "work"].value', "value": address},
        {"op": "Add", "path": "unknownAttribute", "value": "x"},
        {"op": "Replace", "path": f"{ENTERPRISE}:department", "value": "Sales"},
    )
    assert answer.status_code == 204, answer.text
    found = await scim.ok("GET", f"/Users/{user['id']}")
    assert (found["emails"], found[ENTERPRISE]) == ([{"value": address, "type": "work"}], {"department": "Sales"})
    assert (await api.get(f"/users/{user['id']}"))["email"] == address


async def test_versions_tell_two_who_change_the_same_from_each_other(scim: Scim, api: Api) -> None:
    user = await scim.user()
    path, version = f"/Users/{user['id']}", user["meta"]["version"]
    unchanged = await scim.http.get(path, headers={"If-None-Match": version})
    assert unchanged.status_code == 304
    await api.change(f"/users/{user['id']}", nickname="Changed")
    body = {"schemas": [USER], "userName": user["userName"], "title": "late"}
    late = await scim.http.put(path, json=body, headers={"If-Match": version})
    assert late.status_code == 412
    group = await scim.group(user["id"])
    before = group["meta"]["version"]
    await scim.patch(f"/Groups/{group['id']}", {"op": "remove", "path": f'members[value eq "{user["id"]}"]'})
    await scim.patch(f"/Groups/{group['id']}", {"op": "add", "path": "members", "value": [{"value": user["id"]}]})
    assert (await scim.ok("GET", f"/Groups/{group['id']}"))["meta"]["version"] != before, "the same people, come anew"


@pytest.mark.spec("RFC 9865 2")
async def test_pages_go_by_number_and_by_cursor(scim: Scim) -> None:
    title = f"Pages {secrets.token_hex(5)}"
    ids = sorted([(await scim.user(title=title))["id"] for _ in range(5)])
    wanted = f'title eq "{title}"'
    second = await scim.ok("GET", "/Users", filter=wanted, startIndex="3", count="2")
    assert (second["totalResults"], [each["id"] for each in second["Resources"]]) == (5, ids[2:4])
    seen, cursor = list[str](), ""
    while True:
        page = await scim.ok("GET", "/Users", filter=wanted, count="2", cursor=cursor)
        seen += [each["id"] for each in page["Resources"]]
        cursor = page.get("nextCursor", "")
        if not cursor:
            break
    assert seen == ids
    assert (await scim.ok("GET", "/Users", filter=wanted, count="0"))["totalResults"] == 5


@pytest.mark.spec("RFC 7644 3.4.2.3")
async def test_pages_are_sorted_by_an_attribute_whichever_way_they_are_turned(scim: Scim) -> None:
    title = f"Sorted {secrets.token_hex(5)}"
    named = ["b", "A", None, "c", "B"]
    ids = [(await scim.user(title=title, **({"nickName": each} if each else {})))["id"] for each in named]
    b, a, none, c, also_b = ids
    wanted = f'title eq "{title}"'
    up = [a, *sorted([b, also_b]), c, none]
    down = [none, c, *sorted([b, also_b]), a]
    for order, expected in (("ascending", up), ("descending", down)):
        asked = {"filter": wanted, "sortBy": "nickName", "sortOrder": order}
        page = await scim.ok("GET", "/Users", **asked, startIndex="2", count="3")
        assert (page["totalResults"], [each["id"] for each in page["Resources"]]) == (5, expected[1:4]), order
        seen, cursor = list[str](), ""
        for _ in range(5):
            page = await scim.ok("GET", "/Users", **asked, count="1", cursor=cursor)
            seen += [each["id"] for each in page["Resources"]]
            cursor = page.get("nextCursor", "")
        assert (seen, cursor) == (expected, ""), order
    for name in ("userName", "emails", "meta.created", "active", "id", f"{ENTERPRISE}:department"):
        first = await scim.ok("GET", "/Users", filter=wanted, sortBy=name, count="2", cursor="")
        rest = await scim.ok("GET", "/Users", filter=wanted, sortBy=name, count="3", cursor="")
        again = await scim.ok("GET", "/Users", filter=wanted, sortBy=name, count="2", cursor=first["nextCursor"])
        both = [each["id"] for page in (first, again) for each in page["Resources"]]
        assert [each["id"] for each in rest["Resources"]] == both[:3], name
    answer = await scim.ok("POST", "/Users/.search", {"schemas": [SEARCH], "filter": wanted, "sortBy": "nickName"})
    assert [each["id"] for each in answer["Resources"]] == up


@pytest.mark.spec("RFC 7643 4.2")
async def test_a_group_is_a_member_of_a_group_and_its_people_count_there(
    platform: Platform, scim: Scim, api: Api
) -> None:
    one = (await scim.user())["id"]
    inner = await scim.group(one)
    outer = await scim.group(inner["id"], displayName=f"outer-{inner['id']}")
    path, version = f"/Groups/{outer['id']}", outer["meta"]["version"]
    (member,) = outer["members"]
    assert (member["value"], member["type"]) == (inner["id"], "Group")
    assert member["$ref"].endswith(f"/scim/v2/Groups/{inner['id']}")
    names = {outer["displayName"], inner["displayName"]}
    assert set((await api.get(f"/users/{one}/rights"))["groups"]) == names, "through the group it lies in"
    assert await scim.found("/Groups", f'members.value eq "{inner["id"]}"') == [outer["id"]]
    circle = await scim.patch(
        f"/Groups/{inner['id']}", {"op": "add", "path": "members", "value": [{"value": outer["id"]}]}
    )
    assert (circle.status_code, circle.json()["scimType"]) == (400, "invalidValue")
    late = await scim.http.patch(
        path,
        json={"schemas": [PATCH], "Operations": [{"op": "add", "path": "members", "value": [{"value": one}]}]},
        headers={"If-Match": 'W/"0-0"'},
    )
    assert late.status_code == 412
    async with platform.nats_client() as client, expect_events(client, (MembershipChanged, one), (UserUpdated, one)):
        assert (await scim.patch(path, {"op": "add", "path": "members", "value": [{"value": one}]})).status_code == 204
    remove = {"op": "remove", "path": f'members[value eq "{inner["id"]}"]'}
    assert (await scim.patch(path, remove)).status_code == 204
    left = await scim.ok("GET", path)
    assert [(each["value"], each["type"]) for each in left["members"]] == [(one, "User")]
    assert left["meta"]["version"] != version
    replaced = await scim.ok(
        "PUT", path, {"schemas": [GROUP], "displayName": outer["displayName"], "members": [member]}
    )
    assert [each["value"] for each in replaced["members"]] == [inner["id"]]


async def test_operations_of_a_bulk_request_stand_each_for_itself(scim: Scim, api: Api) -> None:
    names = [f"bulk-{secrets.token_hex(5)}" for _ in range(2)]
    said: list[dict[str, object]] = [
        {"userName": names[0], "title": "Bulk"},
        {"userName": names[1]},
        {"userName": names[0].upper()},
        {"userName": f"off-{names[0]}", "active": False},
        {"userName": f"x-{names[0]}", "emails": [{"value": "none"}]},
        {"userName": f"Ana.{names[0]}@tenant.example", "emails": [{"value": f"{names[0]}@corp.example"}]},
        {"title": "nobody"},
    ]
    create = [
        {"method": "POST", "path": "/Users", "bulkId": f"b{place}", "data": {"schemas": [USER]} | each}
        for place, each in enumerate(said)
    ]
    members = [{"value": "bulkId:b0"}, {"value": "bulkId:b1"}]
    group = {"schemas": [GROUP], "displayName": f"bulk-{secrets.token_hex(5)}", "members": members}
    operations = [*create, {"method": "POST", "path": "/Groups", "bulkId": "g", "data": group}]
    answer = await scim.ok("POST", "/Bulk", {"schemas": [BULK], "Operations": operations})
    done = [(each.get("bulkId"), str(each["status"])) for each in answer["Operations"]]
    expected = ["201", "201", "409", "201", "400", "201", "400", "201"]
    assert done == list(zip(["b0", "b1", "b2", "b3", "b4", "b5", "b6", "g"], expected, strict=True))
    assert (await api.get(f"/users?username=off-{names[0]}"))["items"][0]["active"] is False
    assert (await scim.found("/Users", f'title eq "Bulk" and userName eq "{names[0]}"')) != []
    found = await scim.found("/Groups", f'displayName eq "{group["displayName"]}"')
    inside = (await scim.ok("GET", f"/Groups/{found[0]}"))["members"]
    made = [each["location"].rpartition("/")[2] for each in answer["Operations"][:2]]
    assert sorted(each["value"] for each in inside) == sorted(made)


async def test_a_client_without_a_person_reaches_nobody_who_administers(
    platform: Platform, api: Api, canary: Canary, register: Register
) -> None:
    party = await Party.registered(
        api, platform.issuer, canary, grant_types=["client_credentials"], redirect_uris=[], scope="watchword:scim"
    )
    tokens = await party.tokens(grant_type="client_credentials", scope="watchword:scim")
    client = Scim(platform.issuer, tokens["access_token"])
    helper, plain = await register(), await register()
    await api.create("/assignments", role="help-desk", user=helper["id"])
    off = {"op": "replace", "path": "active", "value": False}
    assert (await client.patch(f"/Users/{plain['id']}", off)).status_code == 204
    refused = await client.patch(f"/Users/{helper['id']}", off)
    await client.http.aclose()
    assert refused.status_code == 403
    assert (await api.get(f"/users/{helper['id']}"))["active"] is True


async def test_somebody_whom_scim_made_signs_in_through_the_provider(
    platform: Platform, scim: Scim, person: Person, identity: Describe, configure: Configure
) -> None:
    address = f"{secrets.token_hex(5)}@corp.example"
    async with platform.nats_client() as client, expect_events(client, UserProvisioned):
        made = await scim.user(userName=address)
    provider = await configure(linking="trusted", allowed_email_domains=["corp.example"])
    arriving = identity(provider_id=provider, email=address, email_verified=True)
    assert (await person.signed_in(await person.arrive(arriving))).user_id == made["id"]
