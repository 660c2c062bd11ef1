"""Names that are taken: whoever wants one is told so, at `/api/v1` and in SCIM, however many want it at once."""

import asyncio
import json
import secrets
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import asyncpg
import httpx2
import pytest

from watchword_testkit.api import Api
from watchword_testkit.platform import Platform

AT_ONCE: Final = 20
Body = dict[str, Any]


class Kind(NamedTuple):
    """Things of one kind at one path.

    unique: the member that no two share.  body: of a new one, from a word of its own.  column: where `unique` stands,
    for those that may be given another value.  by: the member that names one in the path.  others: what two with the
    same `unique` have to differ in, from a word.
    """

    path: str
    unique: str
    body: Callable[[str], Body]
    column: str = ""
    by: str = "id"
    others: Callable[[str], Body] = lambda _word: {}


def _client(word: str) -> Body:
    return {"client_name": word, "short_name": word, "redirect_uris": ["https://app.example.com/callback"]}


def _user(word: str) -> Body:
    return {"username": word, "email": f"{word}@example.test", "name": word}


def _provider(word: str) -> Body:
    return {
        "id": word, "preset": "oidc", "display_name": word, "issuer": "https://login.corp.example", "client_id": word,
    }  # fmt: skip


def _issuer(word: str) -> Body:
    return {"iss": f"https://{word}.example", "aud": ["x"], "subject_prefix": f"{word}:"}


def _organization(word: str) -> Body:
    return {"short_name": word, "name": word, "external_id": word}


def _named(word: str) -> Body:
    return {"name": word}


def _rule(word: str) -> Body:
    """For a client that nobody uses: a rule for all would let people in whom other tests keep out."""
    return {"name": word, "expression": "true", "clients": ["https://app.example/client.json"]}


KINDS: Final[Mapping[str, Kind]] = {
    "clients": Kind("/clients", "short_name", _client, "admin.clients.short_name", "client_id"),
    "users by username": Kind(
        "/users", "username", _user, "directory.users.username", others=lambda word: {"email": f"{word}@x.test"}
    ),
    "users by address": Kind(
        "/users", "email", _user, "directory.users.email", others=lambda word: {"username": f"other-{word}"}
    ),
    "groups": Kind("/groups", "name", _named, "directory.groups.full_name"),
    "organizations": Kind("/organizations", "short_name", _organization, others=lambda word: {"external_id": word}),
    "organizations by external id": Kind(
        "/organizations",
        "external_id",
        _organization,
        "directory.organizations.external_id",
        others=lambda word: {"short_name": f"other-{word}"},
    ),
    "roles": Kind("/roles", "name", _named, "directory.roles.name"),
    "access rules": Kind("/rules", "name", _rule, "admin.access_rules.name"),
    "service accounts": Kind("/service-accounts", "name", _named, by="name"),
    "scopes": Kind("/scopes", "name", lambda word: {"name": word, "description": word}),
    "resource servers": Kind(
        "/resources", "identifier", lambda word: {"identifier": f"https://{word}.example", "name": word}
    ),
    "trusted issuers": Kind("/issuers", "iss", _issuer, others=lambda word: {"subject_prefix": f"{word}:"}),
    "trusted issuers by prefix": Kind(
        "/issuers",
        "subject_prefix",
        _issuer,
        "admin.trusted_issuers.prefix",
        others=lambda word: {"iss": f"https://other-{word}.example"},
    ),
    "providers": Kind("/providers", "id", _provider),
    "webhooks": Kind(
        "/webhooks",
        "name",
        lambda word: {"name": word, "url": "https://hooks.example.test/"},
        "admin.webhooks.name",
    ),
    "verifiers": Kind("/verifiers", "name", lambda word: {"name": word, "audience": "https://api.example.test"}),
}
RENAMED: Final = {name: kind for name, kind in KINDS.items() if kind.column}


def word() -> str:
    return f"t{secrets.token_hex(5)}"


def check_refused(answer: httpx2.Response, member: str) -> None:
    assert answer.status_code == 409, f"{answer.status_code} {answer.text}"
    assert answer.headers["content-type"] == "application/problem+json"
    assert [error["pointer"] for error in answer.json()["errors"]] == [f"#/{member}"], answer.text


@pytest.mark.parametrize("kind", RENAMED.values(), ids=RENAMED)
@pytest.mark.spec("RFC 9457 3")
async def test_a_name_that_another_has_is_refused(api: Api, kind: Kind) -> None:
    first, second = kind.body(word()), kind.body(word())
    await api.create(kind.path, **first)
    made = await api.create(kind.path, **second)
    where = f"{kind.path}/{made[kind.by]}"
    check_refused(await api.call("POST", kind.path, {**first, **kind.others(word())}), kind.unique)
    for method, rest in (("PATCH", {}), ("PUT", second)):
        check_refused(await api.call(method, where, {**rest, kind.unique: first[kind.unique]}), kind.unique)
    assert (await api.get(where))[kind.unique] == second[kind.unique]


@pytest.mark.parametrize("kind", RENAMED.values(), ids=RENAMED)
async def test_a_name_that_another_is_about_to_have_is_refused(platform: Platform, api: Api, kind: Kind) -> None:
    """Who looks first sees the name free, and has to wait for the other's transaction."""
    table, _, column = kind.column.rpartition(".")
    first, second = [await api.create(kind.path, **kind.body(word())) for _ in range(2)]
    wanted = kind.body(word())[kind.unique]
    value = json.dumps(wanted) if kind.unique == "external_id" else wanted
    connection = await asyncpg.connect(platform.database.admin_url)
    try:
        changing = connection.transaction()
        await changing.start()
        change = f"UPDATE {table} SET {column} = $1 WHERE id = $2"
        before = await connection.fetchval(f"SELECT {column} FROM {table} WHERE id = $1", first[kind.by])
        assert await connection.execute(change, value, first[kind.by]) == "UPDATE 1"
        call = asyncio.create_task(api.call("PATCH", f"{kind.path}/{second[kind.by]}", {kind.unique: wanted}))
        waiting = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND locktype = 'transactionid')"
        async with asyncio.timeout(20):
            while not await connection.fetchval(waiting):
                await asyncio.sleep(0.01)
        await changing.commit()
        check_refused(await call, kind.unique)
        # What else is kept of the name still says the old one.
        assert await connection.execute(change, before, first[kind.by]) == "UPDATE 1"
    finally:
        await connection.close()


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
async def test_of_many_who_want_a_name_at_once_one_gets_it(api: Api, kind: Kind) -> None:
    body = kind.body(word())
    answers = await asyncio.gather(
        *(api.call("POST", kind.path, {**body, **kind.others(word())}) for _ in range(AT_ONCE))
    )
    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: AT_ONCE - 1}
    for answer in answers:
        if answer.status_code == 409:
            check_refused(answer, kind.unique)


async def test_what_many_do_at_once_is_done_once(api: Api) -> None:
    """What has no name of its own, or is the same thing however often it is said."""
    organization = await api.create("/organizations", **_organization(word()))
    user, role = await api.create("/users", **_user(word())), await api.create("/roles", **_named(word()))
    group, client = await api.create("/groups", **_named(word())), await api.create("/clients", **_client(word()))
    calls: list[tuple[str, str, Body, set[int]]] = [
        ("PUT", f"/attributes/{word()}", {"kind": "string"}, {200, 201}),
        ("POST", f"/organizations/{organization['id']}/domains", {"domain": f"{word()}.example"}, {200, 201}),
        ("POST", "/assignments", {"role": role["id"], "user": user["id"]}, {200, 201}),
        ("POST", f"/groups/{group['id']}/members", {"add": [user["id"]]}, {204}),
        ("PUT", f"/users/{user['id']}/roles", {"roles": [role["name"]]}, {200}),
        ("POST", "/factor-requirements", {"applies_to": "client", "entity_id": client["client_id"]}, {201, 202, 409}),
    ]
    for method, path, body, expected in calls:
        answers = await asyncio.gather(*(api.call(method, path, body) for _ in range(AT_ONCE)))
        assert {answer.status_code for answer in answers} <= expected, (path, [answer.text for answer in answers])
    (requirement,) = [
        each
        for each in (await api.get("/factor-requirements"))["items"]  # type: ignore[attr-defined]  # a list, always
        if each["entity_id"] == client["client_id"]
    ]
    await api.delete(f"/factor-requirements/{requirement['id']}")
