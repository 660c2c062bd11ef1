"""The edge of the directory's part of `/api/v1`: who may call, what is refused of users, how lists go on."""

import secrets

import httpx2
import pytest
from tests.directory.conftest import Register

from watchword_testkit.api import Api
from watchword_testkit.canary import Canary
from watchword_testkit.http import http_client
from watchword_testkit.platform import Platform
from watchword_testkit.signin import Party

ROUTES = {
    "list users": ("GET", "/users"),
    "create a user": ("POST", "/users"),
    "read a user": ("GET", "/users/x"),
    "replace a user": ("PUT", "/users/x"),
    "change a user": ("PATCH", "/users/x"),
    "delete a user": ("DELETE", "/users/x"),
    "set roles": ("PUT", "/users/x/roles"),
    "read rights": ("GET", "/users/x/rights"),
    "list groups": ("GET", "/groups"),
    "create a group": ("POST", "/groups"),
    "read a group": ("GET", "/groups/x"),
    "replace a group": ("PUT", "/groups/x"),
    "change a group": ("PATCH", "/groups/x"),
    "delete a group": ("DELETE", "/groups/x"),
    "list members": ("GET", "/groups/x/members"),
    "change members": ("POST", "/groups/x/members"),
    "list organizations": ("GET", "/organizations"),
    "create an organization": ("POST", "/organizations"),
    "read an organization": ("GET", "/organizations/x"),
    "replace an organization": ("PUT", "/organizations/x"),
    "change an organization": ("PATCH", "/organizations/x"),
    "delete an organization": ("DELETE", "/organizations/x"),
    "list domains": ("GET", "/organizations/x/domains"),
    "add a domain": ("POST", "/organizations/x/domains"),
    "verify a domain": ("POST", "/organizations/x/domains/corp.example/verify"),
    "remove a domain": ("DELETE", "/organizations/x/domains/corp.example"),
    "list roles": ("GET", "/roles"),
    "create a role": ("POST", "/roles"),
    "read a role": ("GET", "/roles/x"),
    "replace a role": ("PUT", "/roles/x"),
    "change a role": ("PATCH", "/roles/x"),
    "delete a role": ("DELETE", "/roles/x"),
    "list assignments": ("GET", "/assignments"),
    "give a role": ("POST", "/assignments"),
    "read an assignment": ("GET", "/assignments/x"),
    "take a role": ("DELETE", "/assignments/x"),
    "list attributes": ("GET", "/attributes"),
    "declare an attribute": ("PUT", "/attributes/x"),
    "withdraw an attribute": ("DELETE", "/attributes/x"),
    "list identities": ("GET", "/identities"),
    "read an identity": ("GET", "/identities/x"),
    "unlink an identity": ("DELETE", "/identities/x"),
}
BODIES = {"POST": {"username": "eve"}, "PUT": {"username": "eve"}, "PATCH": {"active": True}}

# What a caller may not say about a user, because it is decided elsewhere or is no member at all.
ASSIGNMENTS: dict[str, dict[str, object]] = {
    "id": {"id": "00000000-0000-4000-8000-000000000000"},
    "sub": {"sub": "00000000-0000-4000-8000-000000000000"},
    "user id": {"user_id": "00000000-0000-4000-8000-000000000000"},
    "roles": {"roles": ["administrator"]},
    "role": {"role": "administrator"},
    "version": {"version": 99},
    "claims version": {"claims_version": 99},
    "provider": {"provider_id": "Okta"},
    "password hash": {"password_hash": "$argon2id$v=19$m=8,t=1,p=1$AAAA$AAAA"},
    "deletion": {"deleted_at": None},
    "organization that does not exist": {"organization": "no-such-organization"},
    "verified phone": {"phone_number_verified": True},
    "permissions": {"permissions": ["orders.read"]},
    "home": {"home": {"id": "acme"}},
    "assignments": {"assignments": []},
    "prototype": {"__proto__": {"active": False}},
}

MALFORMED: dict[str, dict[str, object]] = {
    "groups as text": {"groups": "staff"},
    "group without a name": {"groups": ["staff", " "]},
    "group that is an object": {"groups": [{"name": "staff"}]},
    "too many groups": {"groups": [f"group-{number}" for number in range(201)]},
    "no name": {},
    "empty name": {"username": ""},
    "name as number": {"username": 7},
    "name as list": {"username": ["ana"]},
    "name with a slash": {"username": "a/b"},
    "name beyond ascii": {"username": "\u212aate"},
    "name with a line break": {"username": "ana\n"},
    "name that is another's address": {"username": "victim@corp.example"},
    "address without a domain": {"username": "ana", "email": "ana"},
    "address beyond ascii": {"username": "ana", "email": "an\u0430@corp.example"},
    "address with header": {"username": "ana", "email": "ana@corp.example\r\nBcc: eve@evil.example"},
    "short password": {"username": "ana", "password": "short"},
    "password of a megabyte": {"username": "ana", "password": "x" * 60_000},
    "password as number": {"username": "ana", "password": 12345678},
    "name with a direction mark": {"username": "ana", "name": "\u202egnp.exe"},
    "name with a nul": {"username": "ana", "name": "a\u0000b"},
    "long name": {"username": "ana", "name": "a" * 257},
    "script as picture": {"username": "ana", "picture": "javascript:alert(1)"},
    "active as text": {"username": "ana", "active": "perhaps"},
    "phone without a country": {"username": "ana", "phone_number": "0791234567"},
    "phone with spaces": {"username": "ana", "phone_number": "+41 79 123 45 67"},
    "phone of letters": {"username": "ana", "phone_number": "+1800FLOWERS"},
    "endless phone": {"username": "ana", "phone_number": "+" + "1" * 30},
    "birthday that never was": {"username": "ana", "birthdate": "2001-02-29"},
    "birthday in words": {"username": "ana", "birthdate": "yesterday"},
    "time zone as a path": {"username": "ana", "zoneinfo": "../../etc/passwd"},
    "script as website": {"username": "ana", "website": "javascript:alert(1)"},
    "script as profile": {"username": "ana", "profile": "data:text/html,x"},
    "address as text": {"username": "ana", "address": "Main Street 1"},
    "address with an unknown part": {"username": "ana", "address": {"planet": "Mars"}},
    "address with a nul": {"username": "ana", "address": {"formatted": "a\u0000b"}},
    "attributes as list": {"username": "ana", "attributes": []},
    "attribute that is not declared": {"username": "ana", "attributes": {"never_declared": "x"}},
    "attribute with a strange name": {"username": "ana", "attributes": {"__proto__": "x"}},
    "too many attributes": {"username": "ana", "attributes": {f"a{n}": "x" for n in range(65)}},
    "organization as number": {"username": "ana", "organization": 7},
    "empty organization": {"username": "ana", "organization": ""},
}

IMPOSSIBLE_CHANGES: dict[str, dict[str, object]] = {
    "no name any more": {"username": None},
    "no password any more": {"password": None},
    "neither active nor not": {"active": None},
    "name of an address that is not the own": {"username": "other@corp.example"},
    "no groups any more": {"groups": None},
    "no attributes any more": {"attributes": None},
}


async def call(platform: Platform, method: str, path: str, **headers: str) -> httpx2.Response:
    """A request with exactly these headers."""
    async with http_client(timeout=20) as http:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await http.request(method, f"{platform.issuer}/api/v1{path}", json=BODIES.get(method), headers=named)


@pytest.mark.parametrize(("method", "path"), ROUTES.values(), ids=ROUTES)
async def test_nobody_calls_without_a_live_credential(platform: Platform, method: str, path: str) -> None:
    for headers in ({}, {"Authorization": "Bearer nothing"}, {"Watchword_API_Key": "ww_x.y"}, {"Cookie": "x=y"}):
        answer = await call(platform, method, path, **headers)
        assert answer.status_code == 401, f"{headers}: {answer.text}"
        assert answer.headers["content-type"] == "application/problem+json"
        assert "bearer" in answer.headers["www-authenticate"].lower()


@pytest.mark.spec("RFC 6750 3.1")
@pytest.mark.parametrize(("method", "path"), ROUTES.values(), ids=ROUTES)
async def test_a_client_without_the_scope_may_not_call(
    platform: Platform, api: Api, canary: Canary, method: str, path: str
) -> None:
    party = await Party.registered(
        api, platform.issuer, canary, grant_types=["client_credentials"], scope="watchword:events", redirect_uris=[]
    )
    token = (await party.tokens(grant_type="client_credentials"))["access_token"]
    answer = await call(platform, method, path, Authorization=f"Bearer {token}")
    assert answer.status_code == 403, answer.text
    assert "insufficient_scope" in answer.headers["www-authenticate"]


async def test_a_client_with_the_scope_administers(platform: Platform, api: Api, canary: Canary) -> None:
    party = await Party.registered(
        api, platform.issuer, canary, grant_types=["client_credentials"], scope="watchword:admin", redirect_uris=[]
    )
    token = (await party.tokens(grant_type="client_credentials"))["access_token"]
    assert (await call(platform, "GET", "/users", Authorization=f"Bearer {token}")).status_code == 200


@pytest.mark.parametrize("extra", ASSIGNMENTS.values(), ids=ASSIGNMENTS)
async def test_what_is_not_the_callers_to_say_is_refused_by_name(
    api: Api, register: Register, extra: dict[str, object]
) -> None:
    (name,) = extra
    user = await register()
    fresh = f"fresh-{secrets.token_hex(4)}"
    for method, path, body in (
        ("POST", "/users", {"username": fresh}),
        ("PUT", f"/users/{user['id']}", {"username": user["username"]}),
        ("PATCH", f"/users/{user['id']}", {"name": "Else"}),
    ):
        refused = await api.call(method, path, body | extra)
        assert refused.status_code == 400, f"{method}: {refused.text}"
        assert [error["pointer"] for error in refused.json()["errors"]] == [f"#/{name}"]
    assert (await api.get(f"/users/{user['id']}"))["version"] == 1
    assert (await api.get("/users", username=fresh))["items"] == []


@pytest.mark.spec("RFC 9457 3")
@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
async def test_malformed_users_are_refused_with_a_reason_and_without_their_values(
    api: Api, body: dict[str, object]
) -> None:
    refused = await api.call("POST", "/users", body)
    assert refused.status_code == 400, refused.text
    assert refused.headers["content-type"] == "application/problem+json"
    if "password" in body:
        assert str(body["password"]) not in refused.text


@pytest.mark.parametrize("body", IMPOSSIBLE_CHANGES.values(), ids=IMPOSSIBLE_CHANGES)
async def test_impossible_changes_are_refused(api: Api, register: Register, body: dict[str, object]) -> None:
    user = await register()
    assert (await api.call("PATCH", f"/users/{user['id']}", body)).status_code == 400
    assert await api.get(f"/users/{user['id']}") == user


async def test_a_taken_name_or_address_is_a_conflict(api: Api, register: Register) -> None:
    user = await register()
    for field in ("username", "email"):
        body = {"username": f"new-{secrets.token_hex(4)}", field: str(user[field]).upper()}
        refused = await api.call("POST", "/users", body)
        assert refused.status_code == 409
        assert refused.json()["errors"][0]["pointer"] == f"#/{field}"


async def test_an_answer_never_holds_a_password(api: Api, register: Register) -> None:
    password = "correct horse battery staple"
    created = await register(password=password)
    read = await api.get(f"/users/{created['id']}")
    for answer in (created, read):
        assert "password" not in answer
        assert "argon2" not in str(answer)


async def test_a_created_user_is_where_the_answer_says(platform: Platform, api: Api) -> None:
    answer = await api.call("POST", "/users", {"username": f"there-{secrets.token_hex(4)}"})
    assert answer.status_code == 201
    assert answer.headers["location"] == f"{platform.issuer}/api/v1/users/{answer.json()['id']}"
    assert "no-store" in answer.headers["cache-control"]


async def test_lists_go_on_where_they_stopped_and_end(api: Api, register: Register) -> None:
    made = {str((await register())["id"]) for _ in range(5)}
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = await api.get("/users", limit="2", **cursor)
        items = page["items"]
        assert isinstance(items, list)
        assert len(items) <= 2
        found += [user["id"] for user in items]
        if page["next"] is None:
            break
        cursor = {"cursor": str(page["next"])}
    assert made <= set(found)
    assert len(found) == len(set(found))


async def test_users_are_found_by_name_address_and_state(api: Api, register: Register) -> None:
    user = await register()
    disabled = await register(active=False)
    by_name = await api.get("/users", username=str(user["username"]).upper())
    by_email = await api.get("/users", email=str(user["email"]).upper())
    assert by_name["items"] == by_email["items"] == [user]
    found = await api.get("/users", username=str(disabled["username"]), active="true")
    assert found["items"] == []


@pytest.mark.parametrize(
    "query",
    [
        "cursor=forged",
        "cursor=" + "A" * 60,
        "cursor=" + "A" * 5000,
        "cursor=%27%20OR%201%3D1",
        "limit=0",
        "limit=201",
        "limit=many",
        "usernme=ana",
        "username=a%2Fb",
        "email=nobody",
        "active=perhaps",
        "username=a&username=b",
    ],
)
async def test_bad_list_queries_are_refused(platform: Platform, api: Api, query: str) -> None:
    answer = await api.client.get(f"/users?{query}")
    assert answer.status_code == 400, answer.text


async def test_a_cursor_fits_no_other_list(api: Api, register: Register) -> None:
    await register()
    await register()
    cursor = str((await api.get("/users", limit="1"))["next"])
    assert (await api.call("GET", "/users", None, cursor=cursor, active="true")).status_code == 400
    assert (await api.call("GET", "/identities", None, cursor=cursor)).status_code == 400


@pytest.mark.parametrize(
    "roles",
    [
        pytest.param(["administrator", "root"], id="one that does not exist"),
        pytest.param(["organization-administrator"], id="one that counts within an organization only"),
        pytest.param("administrator", id="a text"),
        pytest.param(None, id="null"),
        pytest.param([1], id="a number"),
        pytest.param([""], id="no name"),
        pytest.param([f"role-{number}" for number in range(65)], id="too many"),
    ],
)
async def test_only_known_roles_are_given(api: Api, register: Register, roles: object) -> None:
    user = await register()
    assert (await api.call("PUT", f"/users/{user['id']}/roles", {"roles": roles})).status_code == 400
    assert await api.get(f"/users/{user['id']}") == user


async def test_roles_are_given_and_taken(api: Api, register: Register) -> None:
    user = await register()
    given = await api.call("PUT", f"/users/{user['id']}/roles", {"roles": ["administrator", "administrator"]})
    assert given.json()["roles"] == ["administrator"]
    taken = await api.call("PUT", f"/users/{user['id']}/roles", {"roles": []})
    assert taken.json()["roles"] == []


@pytest.mark.parametrize("user_id", ["unknown", "' OR 1=1", "../clients", "a" * 64])
async def test_unknown_users_are_not_found(api: Api, user_id: str) -> None:
    assert (await api.client.get(f"/users/{user_id.replace('/', '%2F')}")).status_code == 404
