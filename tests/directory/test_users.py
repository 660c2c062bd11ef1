"""Changes of users: what follows from each, in the ledger, in events and in the password's hand-over."""

import asyncio
import secrets
from collections.abc import Callable

import pytest
from tests.directory.conftest import Describe, Person, Register

from watchword_database import bus, transaction
from watchword_events.contracts import UserDeleted, UserDisabled, UserEnabled, UserProvisioned, UserUpdated
from watchword_events.handovers import SetPassword
from watchword_events.names import Service
from watchword_runtime.clock import utc_now
from watchword_runtime.feed import Feed
from watchword_runtime.passwords import Passwords
from watchword_testkit.api import Api
from watchword_testkit.events import expect_events
from watchword_testkit.platform import Platform

PASSWORD = "correct horse battery staple"


def feed_of(platform: Platform) -> Feed:
    assert platform.process is not None
    return platform.process.shared.feed


async def administrator_of(api: Api) -> str:
    """The id of the first administrator."""
    items = (await api.get("/users", username="admin"))["items"]
    assert isinstance(items, list)
    return str(items[0]["id"])


async def test_a_disabled_user_is_dead_when_the_call_returns_and_stays_so_for_old_tokens(
    platform: Platform, api: Api, register: Register
) -> None:
    feed = feed_of(platform)
    user_id = str((await register())["id"])
    before = feed.position
    assert feed.is_live({"sub": user_id, "rev": before})
    async with (
        platform.nats_client() as client,
        expect_events(client, (UserDisabled, user_id), (UserEnabled, user_id)),
    ):
        await api.change(f"/users/{user_id}", active=False)
        assert not feed.is_live({"sub": user_id, "rev": feed.position})
        await api.change(f"/users/{user_id}", active=True)
    assert not feed.is_live({"sub": user_id, "rev": before}), "what was issued before stays dead"
    assert feed.is_live({"sub": user_id, "rev": feed.position})


async def test_disabling_twice_changes_nothing_the_second_time(api: Api, register: Register) -> None:
    user_id = (await register())["id"]
    once = await api.change(f"/users/{user_id}", active=False)
    assert await api.change(f"/users/{user_id}", active=False) == once


async def test_a_user_may_be_created_disabled(platform: Platform, register: Register) -> None:
    user = await register(active=False)
    assert user["active"] is False
    assert not feed_of(platform).is_live({"sub": user["id"], "rev": feed_of(platform).position})


async def test_a_deleted_user_is_dead_and_leaves_no_personal_data(
    platform: Platform, api: Api, register: Register
) -> None:
    user = await register(name="Ida Gone")
    async with platform.nats_client() as client, expect_events(client, (UserDeleted, str(user["id"]))):
        await api.delete(f"/users/{user['id']}")
    feed = feed_of(platform)
    assert not feed.is_live({"sub": user["id"], "rev": feed.position})
    assert (await api.call("GET", f"/users/{user['id']}")).status_code == 404
    assert (await api.call("PATCH", f"/users/{user['id']}", {"name": "x"})).status_code == 404
    assert (await api.call("DELETE", f"/users/{user['id']}")).status_code == 204, "deleting again changes nothing"
    async with platform.database.postgres.admin(platform.database.name) as connection:
        row = await connection.fetchval("SELECT t::text FROM directory.users t WHERE id = $1", user["id"])
    assert "Ida Gone" not in row
    assert str(user["username"]) not in row
    assert str(user["email"]) not in row
    again = await register(username=user["username"], email=user["email"])
    assert again["id"] != user["id"], "name and address are free again, the id is not"


async def test_claims_rise_only_with_what_changes_them(platform: Platform, api: Api, register: Register) -> None:
    user_id = str((await register())["id"])
    twice = ((UserUpdated, user_id), (UserUpdated, user_id))
    async with platform.nats_client() as client, expect_events(client, *twice) as seen:
        changed = await api.change(f"/users/{user_id}", name="Neo Name")
        await api.change(f"/users/{user_id}", name="Neo Name")
        with_password = await api.change(f"/users/{user_id}", password=PASSWORD)
    assert (changed["version"], with_password["version"]) == (2, 3)
    assert [each.event.claims_version for each in seen.of("user.updated") if each.id == user_id] == [2, 2]  # type: ignore[attr-defined]  # UserUpdated


async def test_a_password_travels_as_a_hash_to_authz_alone(platform: Platform, api: Api, register: Register) -> None:
    async with platform.nats_client() as client, expect_events(client, UserProvisioned) as seen:
        user_id = str((await register(password=PASSWORD))["id"])
        await api.change(f"/users/{user_id}", password=PASSWORD + " 2")
    assert all(PASSWORD not in each.body and "argon2" not in each.body for each in seen.events)
    async with platform.database.postgres.admin(platform.database.name) as connection:
        rows = await connection.fetch(
            "SELECT sender, receiver, payload FROM bus.handover WHERE flow = $1 ORDER BY created_at", f"user:{user_id}"
        )
    assert [(row["sender"], row["receiver"]) for row in rows] == [("watchword_directory", "watchword_authz")] * 2
    hashes = [SetPassword.model_validate_json(row["payload"]).password_hash for row in rows]
    passwords = Passwords()
    assert (await passwords.verify(hashes[0], PASSWORD)).ok
    assert (await passwords.verify(hashes[1], PASSWORD + " 2")).ok
    passwords.close()
    directory = platform.database.open(Service.DIRECTORY)
    async with transaction(directory) as session:
        assert await bus.take_flow(session, SetPassword, flow=f"user:{user_id}", now=utc_now()) == []


async def test_a_new_password_ends_sessions_when_asked(platform: Platform, api: Api, register: Register) -> None:
    feed = feed_of(platform)
    user_id = str((await register())["id"])
    before = feed.position
    await api.change(f"/users/{user_id}", password=PASSWORD)
    assert feed.is_live({"sub": user_id, "rev": before})
    answer = await api.call("PATCH", f"/users/{user_id}", {"password": PASSWORD}, end_sessions="true")
    assert answer.status_code == 200
    assert not feed.is_live({"sub": user_id, "rev": before})
    assert feed.is_live({"sub": user_id, "rev": feed.position})


async def test_put_describes_the_whole_user_but_not_what_only_a_person_knows(api: Api, register: Register) -> None:
    user = await register(name="Ann", given_name="Ann", password=PASSWORD)
    await api.change(f"/users/{user['id']}", active=False)
    answer = await api.call("PUT", f"/users/{user['id']}", {"username": user["username"], "name": "Anna"})
    replaced = answer.json()
    assert (replaced["name"], replaced["given_name"], replaced["email"]) == ("Anna", None, None)
    assert replaced["active"] is False, "enabling somebody again takes a word of its own"
    again = await api.call("PUT", f"/users/{user['id']}", {"username": user["username"], "name": "Anna"})
    assert again.json() == replaced


async def test_of_parallel_registrations_of_one_name_one_wins(api: Api) -> None:
    name = f"twin-{secrets.token_hex(4)}"
    answers = await asyncio.gather(*(api.call("POST", "/users", {"username": name}) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7


@pytest.mark.parametrize("field", ["username", "email"])
async def test_of_parallel_renamings_to_one_name_one_wins(api: Api, register: Register, field: str) -> None:
    wanted = f"same-{secrets.token_hex(4)}" + ("@corp.example" if field == "email" else "")
    users = [await register() for _ in range(5)]
    answers = await asyncio.gather(*(api.call("PATCH", f"/users/{user['id']}", {field: wanted}) for user in users))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 4
    refused = next(answer for answer in answers if answer.status_code == 409)
    assert refused.json()["errors"][0]["pointer"] == f"#/{field}"
    assert wanted not in refused.text


async def test_the_last_owner_stays(own_platform: Platform) -> None:
    api = own_platform.api()
    path = f"/users/{await administrator_of(api)}"
    for method, place, body in (
        ("PATCH", path, {"active": False}),
        ("PUT", path, {"username": "admin", "active": False}),
        ("PUT", f"{path}/roles", {"roles": []}),
        ("DELETE", path, None),
    ):
        refused = await api.call(method, place, body)
        assert refused.status_code == 409, f"{method} {place}: {refused.text}"
        assert refused.json()["title"] == "The last owner"


async def test_two_owners_who_remove_each_other_do_not_both_succeed(own_platform: Platform) -> None:
    api = own_platform.api()
    first = await administrator_of(api)
    second = await api.create("/users", username="second")
    await api.call("PUT", f"/users/{second['id']}/roles", {"roles": ["owner"]})
    answers = await asyncio.gather(
        api.call("PUT", f"/users/{first}/roles", {"roles": []}),
        api.call("PUT", f"/users/{second['id']}/roles", {"roles": []}),
    )
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses in ([200, 409], [200, 403]), statuses


async def test_an_address_that_is_only_repeated_is_as_verified_as_it_was(
    person: Person, people: Callable[[], Person], identity: Describe, api: Api
) -> None:
    """Sending a whole document back vouches for nothing, and takes the address from nobody who claims it too."""
    address = f"claimed-{secrets.token_hex(4)}@corp.example"
    claimed = (await person.signed_in(await person.arrive(identity(email=address)))).user_id
    other = people()
    too = (await other.signed_in(await other.arrive(identity(email=address)))).user_id
    before = await api.get(f"/users/{claimed}")
    assert (before["email"], before["email_verified"]) == (address, False)
    for method, body in (
        ("PATCH", {"email": address}),
        ("PATCH", {"email": address, "name": "Claimed"}),
        ("PATCH", {"email": address.upper()}),
        ("PUT", {"username": before["username"], "email": address}),
    ):
        answer = await api.call(method, f"/users/{claimed}", body)
        assert (answer.status_code, answer.json()["email_verified"]) == (200, False), answer.text
    assert (await api.get(f"/users/{too}"))["email"] == address


async def test_whoever_administers_vouches_openly(
    person: Person, people: Callable[[], Person], identity: Describe, api: Api, register: Register
) -> None:
    address = f"claimed-{secrets.token_hex(4)}@corp.example"
    claimed = (await person.signed_in(await person.arrive(identity(email=address)))).user_id
    other = people()
    too = (await other.signed_in(await other.arrive(identity(email=address)))).user_id
    vouched = await api.call("POST", f"/users/{claimed}/vouch")
    assert (vouched.json()["email"], vouched.json()["email_verified"]) == (address, True), vouched.text
    assert (await api.call("POST", f"/users/{claimed}/vouch")).json()["version"] == vouched.json()["version"]
    assert (await api.get(f"/users/{too}"))["email"] is None
    taken = await api.call("PATCH", f"/users/{too}", {"email": address})
    assert (taken.status_code, taken.json()["errors"][0]["pointer"]) == (409, "#/email")
    assert (await api.change(f"/users/{claimed}", email=f"new-{address}"))["email_verified"] is True
    nobody = await register(email=None)
    assert (await api.call("POST", f"/users/{nobody['id']}/vouch")).json()["email_verified"] is False
    assert (await api.call("POST", "/users/nobody/vouch")).status_code == 404


@pytest.mark.row(58)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
async def test_no_request_says_beside_other_things_that_an_address_is_verified(
    api: Api, register: Register, method: str
) -> None:
    user = await register()
    path = "/users" if method == "POST" else f"/users/{user['id']}"
    body = {"username": f"u-{secrets.token_hex(4)}", "email": "x@example.org", "email_verified": True}
    answer = await api.call(method, path, body)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "#/email_verified"), answer.text
