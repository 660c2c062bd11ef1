"""Who may call what: every route of `/api/v1` in the OpenAPI document, by every role (threat 58).

Each role's person acts through a client that may do everything for them, and through one that may only look.
"""

import asyncio
import json
import re
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import httpx2
import pytest

from watchword_policy.administration import (
    ADMINISTRATOR,
    AUDITOR,
    BY_SCOPE,
    HELP_DESK,
    OWNER,
    ROLES,
    opens,
    permission_of,
)
from watchword_testkit.api import Api
from watchword_testkit.http import http_client
from watchword_testkit.platform import Platform
from watchword_testkit.signin import Party, SignIn

DOCUMENT = json.loads((Path(__file__).parents[2] / "docs" / "reference" / "openapi.json").read_text())
PASSWORD = "a password for the matrix"
NOBODY = "nobody"


class Route(NamedTuple):
    """An operation below `/api/v1`."""

    method: str
    path: str

    @property
    def permission(self) -> str:
        return permission_of(self.method, self.path)

    @property
    def url(self) -> str:
        """A place where nothing is."""
        return re.sub(r"\{\w+\}", "0", self.path)


ROUTES = [
    Route(method.upper(), path)
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
    if path.startswith("/api/v1/") and operation.get("security") != [] and (method.upper(), path) not in BY_SCOPE
]


EACH_SERVICE = [
    Route("GET", f"/api/v1/{area}") for area in ("users", "clients", "sessions", "grants", "upstream/attempts")
]


class Person(NamedTuple):
    """Somebody with a role, and their tokens: of a client that may all, and of one that may look."""

    role: str
    user_id: str
    all: str
    look: str


@pytest.fixture(scope="module")
async def people(module_platform: Platform) -> AsyncIterator[dict[str, Person]]:
    """Somebody of each role, and somebody of none."""
    api = module_platform.api()
    every = sorted({route.permission for route in ROUTES})
    parties = [
        await Party.registered(
            api,
            module_platform.issuer,
            module_platform.canary,
            scope="openid",
            access_token_lifetime_s=3600,
            permission_scope=scope,
        )
        for scope in (every, [each for each in every if each.endswith(":read")])
    ]
    organization = await api.create("/organizations", short_name=f"matrix-{secrets.token_hex(4)}", name="Matrix")
    found = {}
    for role in (*ROLES, NOBODY):
        name = f"matrix-{secrets.token_hex(4)}"
        user = await api.create("/users", username=name, password=PASSWORD)
        if role != NOBODY:
            within = {"organization": organization["id"]} if role == "organization-administrator" else {}
            await api.create("/assignments", role=role, user=user["id"], **within)
        async with module_platform.browser() as browser:
            tokens = [(await SignIn(browser, party, scope="openid").with_password(name, PASSWORD)) for party in parties]
        found[role] = Person(role, str(user["id"]), *(each["access_token"] for each in tokens))
    async with connected(module_platform) as http, asyncio.timeout(30):
        for person in found.values():  # what a role gives is known everywhere within moments
            for route in EACH_SERVICE:
                while opens([person.role], *route) and await ask(http, route, person.all) == 403:
                    await asyncio.sleep(0.05)
    yield found
    for person in found.values():
        await api.delete(f"/users/{person.user_id}")


def connected(platform: Platform) -> httpx2.AsyncClient:
    """Connections to the installation."""
    return http_client(base_url=platform.issuer, timeout=20.0)


@pytest.fixture
async def http(platform: Platform) -> AsyncIterator[httpx2.AsyncClient]:
    """The same, for one test."""
    async with connected(platform) as made:
        yield made


async def ask(http: httpx2.AsyncClient, route: Route, token: str) -> int:
    """The status of a request that can change nothing: what it names does not exist, what it says makes no sense."""
    answer = await http.request(
        route.method,
        route.url,
        headers={"Authorization": f"Bearer {token}"},
        json=None if route.method in {"GET", "DELETE"} else "nonsense",
    )
    assert answer.status_code < 500, (route, answer.text)
    return answer.status_code


@pytest.mark.row(58)
@pytest.mark.parametrize("role", [*ROLES, NOBODY])
async def test_each_route_is_for_the_roles_that_have_its_permission(
    http: httpx2.AsyncClient, people: dict[str, Person], role: str
) -> None:
    roles = [] if role == NOBODY else [role]
    wrong = []
    for route in ROUTES:
        status = await ask(http, route, people[role].all)
        if status == 401 or (status == 403) is opens(roles, *route):
            wrong.append((route, status))
    assert wrong == []


@pytest.mark.row(58)
async def test_nobody_does_more_through_a_client_than_it_may(
    http: httpx2.AsyncClient, people: dict[str, Person]
) -> None:
    wrong = []
    for route in ROUTES:
        status = await ask(http, route, people[OWNER].look)
        if status == 401 or (status == 403) is route.permission.endswith(":read"):
            wrong.append((route, status))
    assert wrong == []


@pytest.mark.row(58)
async def test_without_a_credential_every_route_is_closed(http: httpx2.AsyncClient) -> None:
    assert {route for route in ROUTES if await ask(http, route, "a.b.c") != 401} == set()


@pytest.mark.row(58)
async def test_nobody_grants_above_their_own(platform: Platform, people: dict[str, Person], api: Api) -> None:
    target = await api.create("/users", username=f"matrix-{secrets.token_hex(4)}")
    group = await api.create("/groups", name=f"matrix-{secrets.token_hex(4)}")
    await api.create("/assignments", role=ADMINISTRATOR, group=group["id"])
    expected = {OWNER: True, ADMINISTRATOR: False, HELP_DESK: False, AUDITOR: False, NOBODY: False}
    for role, may in expected.items():
        headers = {"Authorization": f"Bearer {people[role].all}"}
        attempts = [
            ("POST", "/assignments", {"role": OWNER, "user": target["id"]}),
            ("PUT", f"/users/{people[role].user_id}/roles", {"roles": [OWNER, *([role] if role != NOBODY else [])]}),
        ]
        if role in {HELP_DESK, AUDITOR, NOBODY}:
            attempts += [
                ("PATCH", f"/users/{people[role].user_id}", {"groups": [group["name"]]}),
                ("PATCH", f"/users/{target['id']}", {"groups": [group["name"]]}),
                ("PATCH", f"/users/{target['id']}", {"organization": "any"}),
                ("PATCH", f"/users/{people[ADMINISTRATOR].user_id}", {"password": "a password of the helper"}),
                ("POST", "/users", {"username": "matrix-made", "groups": [group["name"]]}),
            ]
        async with http_client(base_url=f"{platform.issuer}/api/v1") as http:
            for method, path, body in attempts:
                answer = await http.request(method, path, headers=headers, json=body)
                assert (answer.status_code in {200, 201}) is may, (role, method, path, answer.text)
                assert may or answer.status_code == 403
    await api.delete(f"/users/{target['id']}")
    await api.delete(f"/groups/{group['id']}")


@pytest.mark.row(59)
@pytest.mark.parametrize("field", ["email_verified", "roles", "permissions", "id", "rank"])
async def test_who_helps_cannot_assign_what_is_not_theirs(
    platform: Platform, people: dict[str, Person], field: str
) -> None:
    helper = people[HELP_DESK]
    async with http_client(base_url=f"{platform.issuer}/api/v1") as http:
        answer = await http.patch(
            f"/users/{helper.user_id}",
            headers={"Authorization": f"Bearer {helper.all}"},
            json={field: True},
        )
    assert answer.status_code == 400, answer.text


async def test_the_record_names_the_person_and_the_client(
    platform: Platform, people: dict[str, Person], log_lines: list[dict[str, object]]
) -> None:
    helper = people[HELP_DESK]
    async with http_client(base_url=f"{platform.issuer}/api/v1") as http:
        answer = await http.patch(
            f"/users/{helper.user_id}", headers={"Authorization": f"Bearer {helper.all}"}, json={"name": "Helper"}
        )
    assert answer.status_code == 200, answer.text
    (line,) = [each for each in log_lines if each["event"] == "user.changed" and each["user_id"] == helper.user_id]
    assert line["by_user"] == helper.user_id
    assert line["by_client"]
