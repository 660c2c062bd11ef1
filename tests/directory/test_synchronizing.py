"""Roles and groups follow what a provider says of a person; what others gave stays."""

import secrets
from collections.abc import Callable
from typing import Any

import pytest
from tests.directory.conftest import Configure, Describe, Person, Register

from watchword_events.contracts import AssignmentChanged, MembershipChanged, UserUpdated
from watchword_testkit.api import Api
from watchword_testkit.events import expect_events
from watchword_testkit.platform import Platform

People = Callable[[], Person]


def fresh(what: str) -> str:
    return f"{what}-{secrets.token_hex(5)}"


async def role_of(api: Api, **given: object) -> str:
    """A new role, by its name."""
    return str((await api.create("/roles", name=fresh("role"), **given))["name"])


async def groups_of(api: Api, user_id: str) -> list[str]:
    found = (await api.get(f"/users/{user_id}"))["groups"]
    assert isinstance(found, list)
    return found


async def rights_of(api: Api, user_id: str) -> dict[str, Any]:
    return await api.get(f"/users/{user_id}/rights")


@pytest.mark.seed(93)
async def test_a_new_person_belongs_to_the_providers_organization_and_has_its_default_role(
    person: Person, identity: Describe, configure: Configure, api: Api
) -> None:
    organization = await api.create("/organizations", short_name=fresh("acme"), name="Acme")
    member = await role_of(api, permissions=["orders:read"])
    corp = await configure(organization=organization["short_name"], default_role=member)
    address = f"{secrets.token_hex(4)}@corp.example"
    arriving = identity(provider_id=corp, email=address, email_verified=True, name="Ana López")
    signed_in = await person.signed_in(await person.arrive(arriving))
    user = await api.get(f"/users/{signed_in.user_id}")
    assert (user["email"], user["name"], user["organization"]) == (address, "Ana López", organization["id"])
    assert user["version"] == 1, "all of it is one fact"
    rights = await rights_of(api, signed_in.user_id)
    assert rights["roles"] == [], "the role holds within the organization"
    (within,) = rights["organizations"]
    assert (within["organization"], within["roles"]) == (organization["id"], [member])
    assert within["permissions"] == ["orders:read"]


@pytest.mark.seed(93)
async def test_roles_follow_the_provider_at_each_sign_in(
    platform: Platform, people: People, identity: Describe, configure: Configure, api: Api
) -> None:
    reader, writer, own = [await role_of(api) for _ in range(3)]
    corp = await configure(
        default_role=reader, role_mapping={"rules": [{"expression": "'writers' in groups", "roles": [writer]}]}
    )
    first, second, third = people(), people(), people()
    who = identity(provider_id=corp, claims={"groups": ["Writers"]})
    signed_in = await first.signed_in(await first.arrive(who))
    assert (await rights_of(api, signed_in.user_id))["roles"] == [writer]
    await api.create("/assignments", role=own, user=signed_in.user_id)
    async with (
        platform.nats_client() as client,
        expect_events(client, (UserUpdated, signed_in.user_id), AssignmentChanged) as seen,
    ):
        later = await second.signed_in(await second.arrive(who.model_copy(update={"claims": {"groups": []}})))
    assert later.claims_version > signed_in.claims_version
    assert (await rights_of(api, signed_in.user_id))["roles"] == sorted([own, reader])
    changes = [e.event for e in seen.of("assignment.changed") if isinstance(e.event, AssignmentChanged)]
    assert sorted(e.is_given for e in changes if e.user_id == signed_in.user_id) == [False, True]
    same = await third.signed_in(await third.arrive(who.model_copy(update={"claims": {"groups": []}})))
    assert same.claims_version == later.claims_version, "nothing changed, so nothing rises"


async def test_what_was_given_here_is_never_taken_by_a_provider(
    people: People, identity: Describe, configure: Configure, api: Api
) -> None:
    role, group = await role_of(api), fresh("group")
    rule = {"expression": "'in' in groups", "roles": [role]}
    corp = await configure(role_mapping={"rules": [rule]}, group_sync={"names": {"in": group}})
    first, second, third = people(), people(), people()
    who = identity(provider_id=corp)
    user_id = (await first.signed_in(await first.arrive(who))).user_id
    await api.create("/assignments", role=role, user=user_id)
    await api.change(f"/users/{user_id}", groups=[group])
    await second.arrive(who.model_copy(update={"claims": {"groups": ["in"]}}))
    await third.arrive(who)
    assert (await rights_of(api, user_id))["roles"] == [role]
    assert await groups_of(api, user_id) == [group]


@pytest.mark.seed(104)
async def test_groups_follow_the_provider_and_only_its_own_are_left(
    platform: Platform, people: People, identity: Describe, configure: Configure, api: Api
) -> None:
    eng, ops, own = fresh("eng"), fresh("ops"), fresh("own")
    corp = await configure(group_sync={"pattern": "^(eng|ops|own)-"})
    first, second = people(), people()
    who = identity(provider_id=corp, claims={"memberOf": f"{eng},{ops},hr"})
    again = who.model_copy(update={"claims": {"memberOf": [eng.upper()]}})
    async with platform.nats_client() as client, expect_events(client, *[MembershipChanged] * 4) as seen:
        user_id = (await first.signed_in(await first.arrive(who))).user_id
        assert await groups_of(api, user_id) == sorted([eng, ops])
        await api.change(f"/users/{user_id}", groups=[eng, ops, own])
        await second.signed_in(await second.arrive(again))
    assert await groups_of(api, user_id) == sorted([eng, own])
    changes = [each.event for each in seen.of("membership.changed") if each.id == user_id]
    assert [each.is_member for each in changes if isinstance(each, MembershipChanged)] == [True, True, True, False]


async def test_a_second_provider_does_not_take_what_the_first_one_said(
    people: People, identity: Describe, configure: Configure, api: Api
) -> None:
    group, other = fresh("eng"), fresh("eng")
    one, two = [await configure(group_sync={"pattern": "^eng-"}, linking="trusted") for _ in range(2)]
    address = f"{secrets.token_hex(4)}@corp.example"
    first, second = people(), people()
    known = {"email": address, "email_verified": True}
    by_one = identity(provider_id=one, claims={"groups": [group]}, **known)
    by_two = identity(provider_id=two, claims={"groups": [other]}, **known)
    user_id = (await first.signed_in(await first.arrive(by_one))).user_id
    assert (await second.signed_in(await second.arrive(by_two))).user_id == user_id
    assert await groups_of(api, user_id) == sorted([group, other])


@pytest.mark.seed(103)
async def test_roles_and_groups_are_given_once_where_that_is_set(
    people: People, identity: Describe, configure: Configure, api: Api
) -> None:
    role, group = await role_of(api), fresh("eng")
    rule = {"expression": "'in' in groups", "roles": [role]}
    corp = await configure(role_mapping={"rules": [rule]}, group_sync={"names": {"in": group}}, sync="once")
    first, second = people(), people()
    who = identity(provider_id=corp, claims={"groups": ["in"]})
    user_id = (await first.signed_in(await first.arrive(who))).user_id
    await second.signed_in(await second.arrive(who.model_copy(update={"claims": {}})))
    assert (await rights_of(api, user_id))["roles"] == [role]
    assert await groups_of(api, user_id) == [group]


@pytest.mark.seed(103)
async def test_strict_mode_makes_nobody_and_takes_back_what_the_provider_gave(
    people: People, identity: Describe, configure: Configure, api: Api
) -> None:
    role = await role_of(api)
    mapping = {"strict": True, "rules": [{"expression": "'in' in groups", "roles": [role]}]}
    corp = await configure(role_mapping=mapping)
    stranger, first, second = people(), people(), people()
    turned_away = await stranger.arrive(identity(provider_id=corp, subject="stranger"))
    assert turned_away.error == "access_denied"
    assert turned_away.response.status_code == 403
    who = identity(provider_id=corp, claims={"groups": ["in"]})
    user_id = (await first.signed_in(await first.arrive(who))).user_id
    links = (await api.get("/identities", provider_id=corp))["items"]
    assert isinstance(links, list)
    assert [link["user_id"] for link in links] == [user_id], "nobody was made of who was turned away"
    assert (await second.arrive(who.model_copy(update={"claims": {}}))).error == "access_denied"
    assert (await rights_of(api, user_id))["roles"] == []


@pytest.mark.seed(102)
async def test_an_address_of_another_domain_comes_in_neither_at_first_nor_later(
    people: People, identity: Describe, configure: Configure, api: Api
) -> None:
    corp = await configure(allowed_email_domains=["Corp.Example"])
    first, second, third = people(), people(), people()
    name = secrets.token_hex(4)
    known = identity(provider_id=corp, email=f"{name}@mail.corp.example", email_verified=True)
    foreign = {"email": f"{name}@other.example"}
    other = identity(provider_id=corp, email_verified=True, **foreign)
    assert (await first.arrive(other)).error == "email_domain_not_allowed"
    await second.signed_in(await second.arrive(known))
    assert (await third.arrive(known.model_copy(update=foreign))).error == "email_domain_not_allowed"


async def test_a_group_elsewhere_never_passes_for_one_with_rights_or_of_an_organization(
    person: Person, identity: Describe, configure: Configure, api: Api
) -> None:
    short_name = fresh("acme")
    await api.create("/organizations", short_name=short_name, name="Acme")
    powerful = await api.create("/groups", name=fresh("admins"))
    await api.create("/assignments", role="administrator", group=powerful["id"])
    corp = await configure(group_sync={"pattern": "."})
    harmless = fresh("team/web")
    named = [powerful["full_name"], f"{short_name}/ops", harmless, "bad\u202ename"]
    user_id = (
        await person.signed_in(await person.arrive(identity(provider_id=corp, claims={"groups": named})))
    ).user_id
    assert await groups_of(api, user_id) == [harmless]
    assert (await rights_of(api, user_id))["roles"] == []


async def test_a_mapping_to_an_organizations_group_is_to_a_group_that_it_owns(
    person: Person, identity: Describe, configure: Configure, api: Api
) -> None:
    short_name = fresh("acme")
    organization = await api.create("/organizations", short_name=short_name, name="Acme")
    names = {"in": f"{short_name.upper()}/mapped", "out": f"{short_name}/"}
    corp = await configure(group_sync={"names": names, "pattern": "."})
    claims = {"groups": ["in", "out", f"{short_name}/ops", f"{short_name}/"]}
    user_id = (await person.signed_in(await person.arrive(identity(provider_id=corp, claims=claims)))).user_id
    assert await groups_of(api, user_id) == [f"{short_name}/mapped"]
    made = (await api.get("/groups", organization=str(organization["id"])))["items"]
    assert isinstance(made, list)
    assert [group["full_name"] for group in made] == [f"{short_name}/mapped"]


async def test_the_groups_of_an_organizations_provider_are_the_organizations(
    person: Person, identity: Describe, configure: Configure, api: Api
) -> None:
    short_name = fresh("acme")
    await api.create("/organizations", short_name=short_name, name="Acme")
    corp = await configure(organization=short_name, group_sync={"pattern": "."})
    claims = {"groups": ["Ops", "other/ops"]}
    user_id = (await person.signed_in(await person.arrive(identity(provider_id=corp, claims=claims)))).user_id
    assert await groups_of(api, user_id) == [f"{short_name}/Ops", f"{short_name}/other/ops"]


async def test_a_role_that_does_not_exist_stops_nobody(
    person: Person, identity: Describe, configure: Configure, api: Api
) -> None:
    corp = await configure(default_role=fresh("nowhere"))
    user_id = (await person.signed_in(await person.arrive(identity(provider_id=corp)))).user_id
    assert (await rights_of(api, user_id))["roles"] == []


async def test_a_link_that_was_proved_brings_roles_and_groups_along(
    person: Person, identity: Describe, configure: Configure, api: Api, register: Register
) -> None:
    role, group, account = await role_of(api), fresh("eng"), await register()
    corp = await configure(default_role=role, group_sync={"names": {"in": group}})
    claims = {"groups": ["in"]}
    asked = await person.asked_to_prove(
        await person.arrive(identity(provider_id=corp, email=account["email"], claims=claims))
    )
    await person.signed_in(await person.prove(asked))
    assert (await rights_of(api, str(account["id"])))["roles"] == [role]
    assert await groups_of(api, str(account["id"])) == [group]
