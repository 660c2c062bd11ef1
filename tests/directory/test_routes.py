"""`/login/identity`: whom a ticket is for, how often it counts, and where the browser goes on."""

import asyncio
import secrets
from collections.abc import Callable

import pytest
from tests.directory.conftest import Describe, Person

from watchword_testkit.api import Api


async def test_a_new_identity_becomes_a_signed_in_user(person: Person, identity: Describe, api: Api) -> None:
    name = f"mia-{secrets.token_hex(3)}"
    asserted = identity(preferred_username=name, name="Mia Moss", email=f"{name}@Corp.Example", email_verified=True)
    signed_in = await person.signed_in(await person.arrive(asserted))
    user = await api.get(f"/users/{signed_in.user_id}")
    assert user["username"] == name
    assert user["email"] == f"{name}@corp.example"
    assert user["email_verified"] is True
    assert user["name"] == "Mia Moss"
    assert user["roles"] == []
    assert signed_in.claims_version == signed_in.user_version == user["version"]
    assert signed_in.amr == ("pwd",)


async def test_the_same_identity_is_the_same_user_next_time(people: Callable[[], Person], identity: Describe) -> None:
    asserted = identity()
    first, second = people(), people()
    known = await first.signed_in(await first.arrive(asserted))
    again = await second.signed_in(await second.arrive(asserted))
    assert again.user_id == known.user_id


async def test_a_repeated_step_with_the_right_cookie_goes_to_where_the_flow_stands(
    person: Person, identity: Describe
) -> None:
    ticket = await person.ticket_for(identity())
    await person.signed_in(await person.send(ticket))
    again = await person.send(ticket)
    assert again.response.status_code == 303
    assert again.goes_to == "/login"
    assert again.response.headers["location"].endswith(f"?flow={person.flow}")


async def test_the_page_is_in_the_language_that_the_application_asked_for(person: Person, identity: Describe) -> None:
    ticket = await person.ticket_for(identity(subject=""), ui_locales=("de",))
    page = await person.send(ticket)
    assert page.error == "invalid_identity"
    assert '<html lang="de">' in page.response.text
    assert "Der Anbieter hat keine brauchbare Identität geschickt" in page.response.text


async def test_a_ticket_is_taken_once_by_parallel_requests(person: Person, identity: Describe) -> None:
    ticket = await person.ticket_for(identity())
    steps = await asyncio.gather(*(person.send(ticket) for _ in range(12)))
    assert sorted(step.goes_to for step in steps) == ["/login"] * 11 + ["/login/complete"]


async def test_parallel_sign_ins_of_one_new_person_make_one_user(
    people: Callable[[], Person], identity: Describe, api: Api
) -> None:
    name = f"pat-{secrets.token_hex(3)}"
    asserted = identity(preferred_username=name, email=f"{name}@corp.example", email_verified=True)
    everyone = [people() for _ in range(8)]
    steps = await asyncio.gather(*(each.arrive(asserted) for each in everyone))
    users = {(await each.signed_in(step)).user_id for each, step in zip(everyone, steps, strict=True)}
    assert len(users) == 1
    found = await api.get("/users", email=f"{name}@corp.example")
    assert [user["id"] for user in found["items"]] == list(users)  # type: ignore[attr-defined]  # JSON


@pytest.mark.parametrize("secret", ["", secrets.token_urlsafe(32)], ids=["no cookie", "another browser's cookie"])
async def test_a_ticket_counts_in_its_own_browser_only_and_stays_good_there(
    person: Person, identity: Describe, secret: str
) -> None:
    ticket = await person.ticket_for(identity())
    stolen = await person.send(ticket, secret=secret)
    assert stolen.response.status_code == 400
    assert stolen.error == "wrong_browser"
    await person.signed_in(await person.send(ticket))


async def test_a_ticket_that_is_bound_to_another_cookie_is_refused(person: Person, identity: Describe) -> None:
    ticket = await person.ticket_for(identity(), binding="0" * 64)
    assert (await person.send(ticket)).error == "wrong_browser"


@pytest.mark.parametrize(
    "ticket",
    ["", "x", "a" * 42, "a" * 43, "a" * 44, "../../etc/passwd", "a" * 10_000, "é" * 43, "' OR 1=1 --"],
    ids=["none", "short", "42", "unknown", "44", "path", "long", "letters beyond ascii", "sql"],
)
async def test_what_is_no_ticket_is_an_error_page(person: Person, ticket: str) -> None:
    step = await person.send(ticket)
    assert step.response.status_code == 400
    assert step.error == "invalid_ticket"
    assert "no-store" in step.response.headers["cache-control"]


async def test_a_repeated_parameter_is_refused(person: Person, identity: Describe) -> None:
    ticket = await person.ticket_for(identity())
    answer = await person.http.get(
        f"{person.issuer}/login/identity?ticket={ticket}&ticket={ticket}",
        headers={"Cookie": f"ww-flow-{person.flow}={person.secret}"},
    )
    assert answer.status_code == 400
    await person.signed_in(await person.send(ticket))


async def test_a_ticket_of_another_kind_is_nothing_here(person: Person, identity: Describe) -> None:
    complete = await person.arrive(identity())
    assert complete.goes_to == "/login/complete"
    assert (await person.send(complete.ticket)).error == "invalid_ticket"


async def test_a_disabled_user_gets_a_clear_page(people: Callable[[], Person], identity: Describe, api: Api) -> None:
    asserted = identity()
    first, later = people(), people()
    user_id = (await first.signed_in(await first.arrive(asserted))).user_id
    await api.change(f"/users/{user_id}", active=False)
    step = await later.arrive(asserted)
    assert step.response.status_code == 403
    assert step.error == "account_disabled"
    await api.change(f"/users/{user_id}", active=True)
    again = people()
    assert (await again.signed_in(await again.arrive(asserted))).user_id == user_id


async def test_a_deleted_user_is_not_brought_back(people: Callable[[], Person], identity: Describe, api: Api) -> None:
    asserted = identity()
    first, later = people(), people()
    user_id = (await first.signed_in(await first.arrive(asserted))).user_id
    await api.delete(f"/users/{user_id}")
    assert (await later.signed_in(await later.arrive(asserted))).user_id != user_id


async def test_a_disabled_provider_is_refused_on_the_way_back(
    person: Person, identity: Describe, api: Api, provider: str
) -> None:
    ticket = await person.ticket_for(identity())
    await api.call("PATCH", f"/providers/{provider}", {"enabled": False}, end_sessions="true")
    step = await person.send(ticket)
    assert step.response.status_code == 403
    assert step.error == "provider_disabled"


async def test_a_removed_provider_is_refused_on_the_way_back(
    person: Person, identity: Describe, api: Api, provider: str
) -> None:
    ticket = await person.ticket_for(identity())
    await api.delete(f"/providers/{provider}")
    assert (await person.send(ticket)).error == "provider_disabled"


async def test_an_identity_without_a_subject_is_nobody(person: Person, identity: Describe) -> None:
    assert (await person.arrive(identity(subject=""))).error == "invalid_identity"
