"""SCIM tokens: who has one of an organization sees and writes its people and groups, and learns of nothing else."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update
from sqlmodel import col, select
from tests.directory.conftest import Configure, Describe, Person
from tests.directory.test_linking_by_address import owned_domain
from tests.directory.test_scim import BULK, GROUP, PATCH, SEARCH, USER, Scim

from watchword_database import transaction
from watchword_directory import scim_tokens
from watchword_directory.models import ScimToken
from watchword_events.names import Service
from watchword_runtime.clock import utc_now
from watchword_testkit.api import Api
from watchword_testkit.canary import Canary
from watchword_testkit.platform import Platform

Open = Callable[..., Awaitable[Scim]]


@pytest.fixture
async def open_scim(platform: Platform, api: Api, canary: Canary) -> AsyncIterator[Open]:
    """Makes clients with tokens of their own."""
    clients: list[Scim] = []

    async def make(**given: object) -> Scim:
        made = await api.create("/scim-tokens", **({"name": "scim"} | given))
        canary.add("SCIM token", str(made["token"]))
        clients.append(Scim(platform.issuer, str(made["token"])))
        return clients[-1]

    yield make
    for client in clients:
        await client.http.aclose()


class Homes:
    """Two organizations: ours, whose token is held, and another with a person and a group; and the installation's."""

    def __init__(self, own: str, domain: str, scim: Scim) -> None:
        self.own = own
        self.domain = domain
        self.scim = scim
        self.people: dict[str, str] = {}
        self.groups: dict[str, str] = {}


@pytest.fixture
async def homes(platform: Platform, api: Api, open_scim: Open) -> Homes:
    own, domain = await owned_domain(platform, api)
    found = Homes(own, domain, await open_scim(organization=own))
    foreign = str((await api.create("/organizations", short_name=f"o-{secrets.token_hex(5)}", name="Other"))["id"])
    for home, organization in (("foreign", foreign), ("nobody's", None)):
        name = secrets.token_hex(6)
        given = {"username": name, "email": f"{name}@corp.example", "name": f"Name {name}"}
        made = await api.create("/users", organization=organization, **given)
        found.people[home] = str(made["id"])
        found.groups[home] = str((await api.create("/groups", name=f"g-{name}", organization=organization))["id"])
        await api.call("POST", f"/groups/{found.groups[home]}/members", {"add": [found.people[home]]})
    return found


@pytest.mark.parametrize("home", ["foreign", "nobody's"])
async def test_what_is_not_the_organizations_is_as_if_it_were_not_there(homes: Homes, api: Api, home: str) -> None:
    scim, person, group = homes.scim, homes.people[home], homes.groups[home]
    before = await api.get(f"/users/{person}"), await api.get(f"/groups/{group}")
    off: dict[str, Any] = {"schemas": [PATCH], "Operations": [{"op": "replace", "path": "active", "value": False}]}
    rename = {"schemas": [PATCH], "Operations": [{"op": "replace", "path": "displayName", "value": "taken"}]}
    emptied = {"schemas": [PATCH], "Operations": [{"op": "remove", "path": f'members[value eq "{person}"]'}]}
    calls: dict[str, tuple[str, str, object]] = {
        "read": ("GET", f"/Users/{person}", None),
        "replaced": ("PUT", f"/Users/{person}", {"schemas": [USER], "userName": "x"}),
        "changed": ("PATCH", f"/Users/{person}", off),
        "deleted": ("DELETE", f"/Users/{person}", None),
        "a group read": ("GET", f"/Groups/{group}", None),
        "a group without members": ("GET", f"/Groups/{group}?excludedAttributes=members", None),
        "a group replaced": ("PUT", f"/Groups/{group}", {"schemas": [GROUP], "displayName": "x"}),
        "a group renamed": ("PATCH", f"/Groups/{group}", rename),
        "a group emptied": ("PATCH", f"/Groups/{group}", emptied),
        "a group filled": (
            "PATCH", f"/Groups/{group}",
            {"schemas": [PATCH], "Operations": [{"op": "add", "path": "members", "value": [{"value": person}]}]},
        ),
        "a group deleted": ("DELETE", f"/Groups/{group}", None),
    }  # fmt: skip
    for name, (method, path, body) in calls.items():
        answer = await scim.call(method, path, body)
        assert answer.status_code == 404, f"{name}: {answer.status_code} {answer.text}"
    operations = [
        {"method": "PATCH", "path": f"/Users/{person}", "data": off},
        {"method": "DELETE", "path": f"/Users/{person}"},
        {"method": "PATCH", "path": f"/Groups/{group}", "data": emptied},
        {"method": "DELETE", "path": f"/Groups/{group}"},
    ]
    bulk = await scim.ok("POST", "/Bulk", {"schemas": [BULK], "Operations": operations})
    assert [str(each["status"]) for each in bulk["Operations"]] == ["404"] * 4
    assert (await api.get(f"/users/{person}"), await api.get(f"/groups/{group}")) == before


@pytest.mark.parametrize("home", ["foreign", "nobody's"])
async def test_nobody_elsewhere_comes_into_a_group_by_it(homes: Homes, api: Api, home: str) -> None:
    scim, person, other = homes.scim, homes.people[home], homes.groups[home]
    group = await scim.group()
    for member in (person, other):
        add = {"op": "add", "path": "members", "value": [{"value": member}]}
        replaced = {"op": "replace", "path": "members", "value": [{"value": member}]}
        for operation in (add, replaced):
            answer = await scim.patch(f"/Groups/{group['id']}", operation)
            assert (answer.status_code, answer.json().get("scimType")) == (400, "invalidValue"), answer.text
        body = {"schemas": [GROUP], "displayName": "with-others", "members": [{"value": member}]}
        assert (await scim.call("POST", "/Groups", body)).status_code == 400
    assert (await api.get(f"/groups/{group['id']}/members"))["items"] == []
    assert (await api.get("/groups", organization=homes.own))["items"] == [await api.get(f"/groups/{group['id']}")]


async def test_filters_and_lists_tell_of_nobody_else(homes: Homes, api: Api) -> None:
    """Nor whether one of theirs is in somebody else's group, or somebody else in one of theirs."""
    scim = homes.scim
    mine, group = await scim.user(displayName="Mine"), await scim.group(displayName="ours")
    await scim.ok("POST", "/Groups", {"schemas": [GROUP], "displayName": "above", "members": [{"value": group["id"]}]})
    foreign_person, foreign_group = homes.people["foreign"], homes.groups["nobody's"]
    # An administrator of the installation may do what the token may not.
    await api.call("POST", f"/groups/{foreign_group}/members", {"add": [mine["id"]]})
    await api.call("POST", f"/groups/{group['id']}/members", {"add": [foreign_person, mine["id"]]})
    ours = (await api.get(f"/groups/{group['id']}"))["full_name"]
    await api.change(f"/groups/{foreign_group}", parents=[ours])
    theirs = (await api.get(f"/groups/{foreign_group}"))["full_name"]
    person = await api.get(f"/users/{foreign_person}")
    nothing = {
        f'id eq "{foreign_person}"',
        f'userName eq "{person["username"]}"',
        f'emails.value eq "{person["email"]}"',
        f'emails[value eq "{person["email"]}"]',
        f'displayName eq "{person["name"]}"',
        f'not (userName eq "x") and id eq "{foreign_person}"',
        f'groups.value eq "{foreign_group}"',
        f'groups eq "{foreign_group}"',
    }
    for wanted in nothing:
        assert await scim.found("/Users", wanted) == [], wanted
        page = await scim.ok("GET", "/Users", filter=wanted)
        assert page["totalResults"] == 0, wanted
        asked = {"schemas": [SEARCH], "filter": wanted}
        assert (await scim.ok("POST", "/Users/.search", asked))["totalResults"] == 0, wanted
    for wanted in (
        f'id eq "{foreign_group}"',
        f'members.value eq "{foreign_person}"',
        f'members[value eq "{foreign_person}"]',
        f'members.value eq "{foreign_group}"',
        f'displayName eq "{theirs}"',
    ):
        assert await scim.found("/Groups", wanted) == [], wanted
    assert (await scim.ok("GET", "/Users"))["totalResults"] == 1
    assert {each["id"] for each in (await scim.ok("GET", "/Users", cursor=""))["Resources"]} == {mine["id"]}
    assert (await scim.ok("GET", "/Groups"))["totalResults"] == 2
    shown = await scim.ok("GET", f"/Users/{mine['id']}")
    assert [(each["value"], each["display"]) for each in shown["groups"]] == [(group["id"], "ours")]
    inside = (await scim.ok("GET", f"/Groups/{group['id']}"))["members"]
    assert [each["value"] for each in inside] == [mine["id"]]
    # What is not shown is not taken away by who replaces what is.
    body = {"schemas": [GROUP], "displayName": "ours", "members": []}
    await scim.ok("PUT", f"/Groups/{group['id']}", body)
    members = (await api.get(f"/groups/{group['id']}/members"))["items"]
    assert isinstance(members, list)
    assert [each["user_id"] for each in members] == [foreign_person]
    assert (await api.get(f"/groups/{foreign_group}"))["parents"] != []


async def test_what_it_makes_is_the_organizations(homes: Homes, api: Api) -> None:
    """Groups are called by their names there; a name that somebody elsewhere has stops nobody."""
    scim, own = homes.scim, homes.own
    group = await scim.group(displayName="Ops")
    kept = await api.get(f"/groups/{group['id']}")
    assert (group["displayName"], kept["name"], kept["organization"]) == ("Ops", "Ops", own)
    assert await scim.found("/Groups", 'displayName eq "ops"') == [group["id"]]
    renamed = await scim.ok("PUT", f"/Groups/{group['id']}", {"schemas": [GROUP], "displayName": "other/x"})
    assert renamed["displayName"] == "other/x"
    assert (await api.get(f"/groups/{group['id']}"))["full_name"] == f"{str(kept['full_name'])[:-4]}/other/x"
    taken = await api.get(f"/users/{homes.people['foreign']}")
    for user_name in (str(taken["username"]), str(taken["email"]), "admin", "boss@elsewhere.example"):
        made = await scim.user(userName=user_name)
        user = await api.get(f"/users/{made['id']}")
        assert (made["userName"], user["organization"]) == (user_name, own)
        assert user["username"] not in {user_name, "admin"}
        assert "@" not in str(user["username"])
        again = await scim.call("POST", "/Users", {"schemas": [USER], "userName": user_name.upper()})
        assert again.status_code == 409, again.text
        assert await scim.found("/Users", f'userName eq "{user_name}"') == [made["id"]]


async def test_addresses_count_where_the_organization_may_vouch_for_them(homes: Homes, api: Api) -> None:
    scim = homes.scim
    taken = str((await api.get(f"/users/{homes.people['foreign']}"))["email"])
    for address, counts in (
        (f"ana@{homes.domain}", True),
        (f"ana@mail.{homes.domain}", False),
        (taken, False),
        (f"{secrets.token_hex(4)}@elsewhere.example", False),
    ):
        phone = [{"value": "+4930123456", "primary": True}]
        made = await scim.user(emails=[{"value": address, "primary": True}], phoneNumbers=phone)
        user = await api.get(f"/users/{made['id']}")
        assert (user["email"], user["email_verified"], user["phone_number"]) == (address, counts, None)
        assert await scim.found("/Users", f'emails.value eq "{address}"') == [made["id"]]
        # Saying it again, or something else, verifies nothing.
        changed = await scim.patch(f"/Users/{made['id']}", {"op": "replace", "path": "title", "value": "CEO"})
        assert changed.status_code in {200, 204}, changed.text
        body = {"schemas": [USER], "userName": made["userName"], "emails": [{"value": address, "primary": True}]}
        await scim.ok("PUT", f"/Users/{made['id']}", body)
        user = await api.get(f"/users/{made['id']}")
        assert (user["email"], user["email_verified"]) == (address, counts)
    moved = [{"value": f"{secrets.token_hex(4)}@elsewhere.example", "primary": True}]
    await scim.ok("PUT", f"/Users/{made['id']}", {"schemas": [USER], "userName": made["userName"], "emails": moved})
    user = await api.get(f"/users/{made['id']}")
    assert (user["email"], user["email_verified"]) == (moved[0]["value"], False)


async def test_it_reaches_nobody_who_stands_above_the_organization(homes: Homes, api: Api) -> None:
    scim = homes.scim
    made, off = await scim.user(), {"op": "replace", "path": "active", "value": False}
    await api.create("/assignments", role="help-desk", user=made["id"])
    assert (await scim.patch(f"/Users/{made['id']}", off)).status_code == 403
    assert (await scim.call("DELETE", f"/Users/{made['id']}")).status_code == 403
    elsewhere = await scim.user()
    await api.call("POST", f"/groups/{homes.groups['foreign']}/members", {"add": [elsewhere["id"]]})
    assert (await scim.call("DELETE", f"/Users/{elsewhere['id']}")).status_code == 403
    taken = await scim.patch(f"/Users/{elsewhere['id']}", off)
    assert taken.status_code in {200, 204}, "that takes, and gives nothing"
    powerful = await scim.group()
    await api.create("/assignments", role="administrator", group=powerful["id"])
    add = {"op": "add", "path": "members", "value": [{"value": elsewhere["id"]}]}
    assert (await scim.patch(f"/Groups/{powerful['id']}", add)).status_code == 403


MALFORMED: dict[str, dict[str, object]] = {
    "no name": {},
    "an empty name": {"name": " "},
    "an expiry that is none": {"name": "x", "expires_at": "soon"},
    "an expiry in the past": {"name": "x", "expires_at": "2020-01-01T00:00:00Z"},
    "an expiry without a zone": {"name": "x", "expires_at": "2999-01-01T00:00:00"},
    "no such organization": {"name": "x", "organization": "no-such-organization"},
    "no such provider": {"name": "x", "provider_id": "no-such-provider"},
    "a chosen secret": {"name": "x", "token": "wws_x.y"},
    "a chosen scope": {"name": "x", "scope": ["watchword:admin"]},
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
async def test_malformed_tokens_are_refused(api: Api, body: dict[str, object]) -> None:
    answer = await api.call("POST", "/scim-tokens", body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["errors"]


async def test_a_token_is_shown_once_listed_used_and_revoked(api: Api, homes: Homes, open_scim: Open) -> None:
    scim = await open_scim(name="entra", organization=homes.own, expires_at="2999-01-01T00:00:00Z")
    listed = (await api.get("/scim-tokens", organization=homes.own))["items"]
    assert isinstance(listed, list)
    token = next(each for each in listed if each["name"] == "entra")
    assert "token" not in token
    assert "secret_hash" not in token
    assert (token["organization"], token["last_used_at"]) == (homes.own, None)
    await scim.ok("GET", "/Users")
    assert (await api.get(f"/scim-tokens/{token['id']}"))["last_used_at"] is not None
    for wrong in ("wws_", f"{token['id']}.", f"{token['id']}.x", f"wws_x.{'y' * 300}", "wws_\u00e9.x"):
        answer = await scim.http.get("/Users", headers={"Authorization": f"Bearer {wrong}".encode()})
        assert answer.status_code == 401, wrong
        assert "WWW-Authenticate" in answer.headers
    both = await scim.http.get("/Users", headers={"Watchword-API-Key": "ww_x.y"})
    assert both.status_code == 401
    admin = await scim.http.get(scim.http.base_url.join("/api/v1/users"))
    assert admin.status_code == 401, "it is good for SCIM alone"
    await api.delete(f"/scim-tokens/{token['id']}")
    assert (await scim.call("GET", "/Users")).status_code == 401
    assert (await api.call("GET", f"/scim-tokens/{token['id']}")).status_code == 404
    assert (await api.call("DELETE", f"/scim-tokens/{token['id']}")).status_code == 404


async def test_a_token_ends_with_its_time_its_provider_and_its_organization(
    platform: Platform, api: Api, configure: Configure, open_scim: Open
) -> None:
    organization = await api.create("/organizations", short_name=f"acme-{secrets.token_hex(5)}", name="Acme")
    corp = await configure(organization=organization["id"])
    short = await open_scim(expires_at=(utc_now() + timedelta(hours=1)).isoformat())
    directory = platform.database.open(Service.DIRECTORY, pool_size=1)
    of_provider, of_organization = await open_scim(provider_id=corp), await open_scim(organization=organization["id"])
    assert (await api.get("/scim-tokens", provider_id=corp))["items"][0]["organization"] == organization["id"]  # type: ignore[index]
    other = await api.create("/organizations", short_name=f"acme-{secrets.token_hex(5)}", name="Other")
    body = {"name": "x", "provider_id": corp, "organization": other["id"]}
    refused = await api.call("POST", "/scim-tokens", body)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (400, "#/organization")
    for client in (short, of_provider, of_organization):
        assert (await client.call("GET", "/Users")).status_code == 200
    async with transaction(directory) as session:
        token_id = short.http.headers["Authorization"].partition(" ")[2].partition(".")[0]
        await session.exec(update(ScimToken).where(col(ScimToken.id) == token_id).values(expires_at=utc_now()))
    await directory.dispose()
    assert (await short.call("GET", "/Users")).status_code == 401
    await api.change(f"/providers/{corp}", enabled=False)
    while (await of_provider.call("GET", "/Users")).status_code != 401:
        await asyncio.sleep(0.05)
    await api.change(f"/providers/{corp}", enabled=True)
    while (await of_provider.call("GET", "/Users")).status_code != 200:
        await asyncio.sleep(0.05)
    await api.change(f"/providers/{corp}", organization=None)
    while (await of_provider.call("GET", "/Users")).status_code != 401:  # it was never meant for everybody
        await asyncio.sleep(0.05)
    await api.delete(f"/organizations/{organization['id']}")
    assert (await of_organization.call("GET", "/Users")).status_code == 401


async def test_what_was_refused_is_kept_and_what_was_done_is_audited(api: Api, homes: Homes) -> None:
    scim = homes.scim
    made = await scim.user()
    await scim.call("GET", "/Users/nobody")
    await scim.call("POST", "/Groups", {"schemas": [GROUP], "displayName": " "})
    gone = {"method": "DELETE", "path": "/Users/nobody"}
    await scim.ok("POST", "/Bulk", {"schemas": [BULK], "Operations": [gone, gone]})
    await scim.call("GET", "/Users/%00x")
    token = (await api.get("/scim-tokens", organization=homes.own))["items"][0]  # type: ignore[index]
    failures = (await api.get(f"/scim-tokens/{token['id']}/failures"))["items"]
    assert isinstance(failures, list)
    told = [(each["method"], each["path"], each["status"]) for each in reversed(failures)]
    assert told[:3] == [("GET", "/Users/nobody", 404), ("POST", "/Groups", 400), ("POST", "/Bulk", 404)]
    assert failures[-3]["detail"].startswith("2 operations; the first: ")
    assert all(each["detail"] for each in failures)
    found = (await api.get("/audit", resource=made["id"], action="user.created"))["items"]
    assert isinstance(found, list)
    assert [(each["via"], each["actor"]["api_key_id"]) for each in found] == [("scim", token["id"])]
    created = (await api.get("/audit", resource=token["id"], action="scim_token.created"))["items"]
    assert isinstance(created, list)
    assert len(created) == 1


async def test_somebody_who_claims_an_address_is_not_found_by_it_nor_verified(
    api: Api, scim_of_all: Scim, person: Person, identity: Describe, configure: Configure
) -> None:
    """Else a client that looks for a person by the address takes the impostor for them, and vouches for it."""
    address = f"{secrets.token_hex(5)}@corp.example"
    claimed = identity(provider_id=await configure(), email=address, email_verified=False)
    user_id = (await person.signed_in(await person.arrive(claimed))).user_id
    for wanted in (f'emails.value eq "{address}"', f'emails[value eq "{address}"]', f'emails.value sw "{address}"'):
        assert await scim_of_all.found("/Users", wanted) == [], wanted
    assert "emails" not in await scim_of_all.ok("GET", f"/Users/{user_id}")
    await scim_of_all.patch(f"/Users/{user_id}", {"op": "replace", "path": "title", "value": "CEO"})
    user = await api.get(f"/users/{user_id}")
    assert (user["email"], user["email_verified"]) == (address, False)


@pytest.fixture
async def scim_of_all(open_scim: Open) -> Scim:
    return await open_scim()


async def test_a_token_does_not_come_back_with_another_provider_of_the_same_name(
    platform: Platform, api: Api, configure: Configure, open_scim: Open
) -> None:
    corp = await configure()
    scim = await open_scim(provider_id=corp)
    assert (await scim.call("GET", "/Users")).status_code == 200
    await api.delete(f"/providers/{corp}")
    while (await api.get("/scim-tokens", provider_id=corp))["items"]:  # type: ignore[arg-type]
        await asyncio.sleep(0.05)
    assert (await scim.call("GET", "/Users")).status_code == 401
    given = {"id": corp, "display_name": "Corp", "issuer": "https://login.corp.example", "client_id": "watchword"}
    made = await api.call("POST", "/providers", given)
    await platform.until_seen(made)
    later = await open_scim(provider_id=corp)
    while (await later.call("GET", "/Users")).status_code != 200:
        await asyncio.sleep(0.05)
    assert (await scim.call("GET", "/Users")).status_code == 401
    assert len((await api.get("/scim-tokens", provider_id=corp))["items"]) == 1  # type: ignore[arg-type]


async def test_a_cut_of_everything_ends_tokens_also_when_the_ledger_has_forgotten_it(own_platform: Platform) -> None:
    """As a restore does: its back-up may hold tokens that have been revoked since."""
    api, directory = own_platform.api(), own_platform.database.open(Service.DIRECTORY, pool_size=1)
    made = await api.create("/scim-tokens", name="scim")
    scim = Scim(own_platform.issuer, str(made["token"]))
    yesterday = (utc_now() - timedelta(days=1)).isoformat()
    await api.create("/revocations", claim="all", issued_before=yesterday)

    async def stands() -> bool:
        async with transaction(directory) as session:
            await scim_tokens.end_dead_tokens(session, now=utc_now())
            found = await session.exec(select(ScimToken.revoked_at).where(col(ScimToken.id) == made["id"]))
            return found.one() is None

    assert (await scim.call("GET", "/Users")).status_code == 200
    assert await stands()
    await api.create("/revocations", claim="all")
    answer = await scim.call("GET", "/Users")
    assert (answer.status_code, await stands()) == (401, False)
    assert "WWW-Authenticate" in answer.headers
    await scim.http.aclose()
    await directory.dispose()
