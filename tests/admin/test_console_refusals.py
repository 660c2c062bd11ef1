"""A form that is refused comes back as it was typed, with the reason at its field, in the reader's language."""

import secrets
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Final

import pytest
from tests.admin.conftest import sign_in

from watchword_policy.administration import ORGANIZATION_ADMINISTRATOR
from watchword_runtime.clock import utc_now
from watchword_testkit.api import Api
from watchword_testkit.browser import Browser
from watchword_testkit.canary import Canary
from watchword_testkit.platform import Platform

PASSWORD: Final = "a password of the organization"


def name_of(kind: str) -> str:
    return f"{kind}-{secrets.token_hex(4)}"


@pytest.fixture
async def acme(api: Api) -> dict[str, str]:
    """An organization with somebody in it, a group, and somebody who belongs elsewhere."""
    short = name_of("acme")
    made = await api.create("/organizations", short_name=short, name="Acme")
    ids = {"id": str(made["id"]), "short": short}
    for who, where in (("ann", {"organization": short}), ("eve", {})):
        user = await api.create("/users", username=f"{who}-{short}", **where)
        ids |= {who: str(user["id"]), f"{who} name": f"{who}-{short}"}
    role = await api.create("/roles", name=f"role-{short}")
    group = await api.create("/groups", name="ops", organization=short)
    return ids | {"role": str(role["id"]), "group": str(group["id"])}


@pytest.fixture
async def boss(platform: Platform, api: Api, canary: Canary, acme: dict[str, str]) -> AsyncIterator[Browser]:
    """Who administers the organization, and reads German."""
    name = f"boss-{acme['short']}"
    user = await api.create("/users", username=name, password=PASSWORD, organization=acme["short"])
    await api.create("/assignments", role=ORGANIZATION_ADMINISTRATOR, user=user["id"], organization=acme["short"])
    async with platform.browser(canary) as browser:
        browser.client.headers["Accept-Language"] = "de"
        await browser.open(f"{platform.issuer}/admin")
        page = await browser.submit("username", "sign-in", username=name, password=PASSWORD)
        assert page.status == 200, page.body
        yield browser


@pytest.mark.parametrize(
    ("field", "typed", "said"),
    [
        ("email", "jane@elsewhere.example", "nur eine Adresse in einer Domain, die die Organisation nachgewiesen hat"),
        ("phone_number", "+4930123456", "das sagt nur eine Administratorin oder ein Administrator der Installation"),
        ("groups", "everybody", "nur die der Organisation, die mit deren Kurznamen beginnen"),
        ("organization", "no-such", "diese Organisation gibt es nicht"),
    ],
)
async def test_what_only_others_may_say_is_told_at_its_field(
    boss: Browser, api: Api, field: str, typed: str, said: str
) -> None:
    username = name_of("new")
    await boss.open(f"{boss.issuer}/admin/users/new")
    page = await boss.submit("username", "save", username=username, name="Jane Doe", **{field: typed})
    assert page.status == 400, page.body
    assert page.texts[f"{field}-note"] == said
    fields = page.form_with("username").fields
    assert (fields["username"], fields["name"], fields[field]) == (username, "Jane Doe", typed)
    assert (await api.get("/users", username=username))["items"] == []


async def test_a_foreign_address_of_somebody_who_is_there_comes_back_as_well(
    boss: Browser, acme: dict[str, str]
) -> None:
    await boss.open(f"{boss.issuer}/admin/users/{acme['ann']}/edit")
    page = await boss.submit("username", "save", name="Ann A.", email="ann@elsewhere.example")
    assert page.texts["email-note"].startswith("nur eine Adresse in einer Domain")
    assert page.form_with("username").fields["name"] == "Ann A."
    page = await boss.submit("username", "save", email="", username="another-name")
    assert page.texts["username-note"].startswith("das sagt nur")


async def test_what_concerns_the_whole_person_stands_above_the_form(
    boss: Browser, api: Api, acme: dict[str, str]
) -> None:
    await api.create("/assignments", role=acme["role"], user=acme["ann"])  # which counts everywhere
    await boss.open(f"{boss.issuer}/admin/users/{acme['ann']}/edit")
    page = await boss.submit("username", "save", name="Ann A.", password="another password of hers")
    assert (page.status, page.form_with("username").fields["name"]) == (400, "Ann A.")
    assert "die Person hat Rechte über die Organisation hinaus" in page.body
    await boss.open(f"{boss.issuer}/admin/users/{acme['ann']}")
    page = await boss.submit("invite")
    assert (page.status, page.texts["user-id"]) == (400, acme["ann"])
    assert "Die Person hat Rechte über die Organisation hinaus." in page.body
    await boss.click("ask-delete")
    page = await boss.submit("confirm")
    assert (page.status, page.texts["user-id"]) == (400, acme["ann"])


async def test_forms_beside_a_list_keep_what_was_typed(boss: Browser, acme: dict[str, str]) -> None:
    await boss.open(f"{boss.issuer}/admin/groups/{acme['group']}")
    page = await boss.submit("username", "add", username=acme["eve name"])
    assert page.texts["username-note"] == "niemand hat diesen Benutzernamen"
    assert page.form_with("add").fields["username"] == acme["eve name"]
    await boss.open(f"{boss.issuer}/admin/roles/{acme['role']}")
    page = await boss.submit("who", "give", kind="group", who="no-such-group")
    fields = page.form_with("who").fields
    assert (fields["kind"], fields["who"], fields["organization"]) == ("group", "no-such-group", acme["short"])
    page = await boss.submit("who", "give", kind="user", who=acme["ann name"], organization="no-such")
    assert page.texts["organization-note"] == "diese Organisation gibt es nicht"
    assert page.form_with("who").fields["who"] == acme["ann name"]
    page = await boss.submit("who", "give", organization="")
    assert page.texts["organization-note"] == "eine Rolle wird innerhalb einer gegeben"


async def test_administrators_lose_nothing_either(console: Browser, api: Api, acme: dict[str, str]) -> None:
    await console.open(f"{console.issuer}/admin/organizations/{acme['id']}")
    page = await console.submit("domain", "add", domain="not a domain")
    assert page.texts["domain-note"]
    assert page.form_with("domain").fields["domain"] == "not a domain"
    page = await console.submit("rename-it", "rename-it", name="n" * 300)
    assert page.form_with("rename-it").fields["name"] == "n" * 300
    await console.click("ask-delete")
    page = await console.submit("confirm")
    assert (page.status, page.texts["organization-id"]) == (400, acme["id"])
    assert "Remove its groups" in page.body
    await console.open(f"{console.issuer}/admin/users/{acme['ann']}")
    page = await console.submit("other", "merge-it", other=acme["ann name"])
    assert page.texts["other-note"] == "Name another account: nobody is merged with themselves."
    assert page.form_with("other").fields["other"] == acme["ann name"]
    hook = await api.create("/webhooks", name=name_of("hook"), url="https://receiver.invalid/hook", enabled=False)
    await console.open(f"{console.issuer}/admin/webhooks/{hook['id']}")
    page = await console.submit("after", "replay", after="everything")
    assert page.texts["after-note"]
    assert page.form_with("after").fields["after"] == "everything"


async def test_what_has_no_control_is_told_above_the_form(console: Browser, api: Api) -> None:
    """Owners are users themselves: the answer is about the role, which the form does not name."""
    group = name_of("owners")
    await api.create("/groups", name=group)
    await console.open(f"{console.issuer}/admin/roles/owner")
    page = await console.submit("who", "give", kind="group", who=group)
    assert page.status == 400
    assert "only a user can be an owner, not a group" in page.body


async def test_an_end_is_chosen_or_a_day_that_counts_to_its_end(console: Browser, api: Api) -> None:
    async def made(**chosen: str) -> datetime | None:
        name = name_of("key")
        await console.open(f"{console.issuer}/admin/api-keys/new")
        page = await console.submit("scope", "save", name=name, **chosen)
        assert page.status == 201, page.body
        found: str | None = None
        listed = await api.get("/api-keys", limit="200")
        (found,) = [each["expires_at"] for each in listed["items"] if each["name"] == name]  # type: ignore[attr-defined]
        return None if found is None else datetime.fromisoformat(found)

    ends = await made()
    assert ends is not None, "one that never ends has to be asked for"
    assert abs(ends - utc_now() - timedelta(days=90)) < timedelta(hours=1)
    ends = await made(expires_at="30")
    assert ends is not None
    assert abs(ends - utc_now() - timedelta(days=30)) < timedelta(hours=1)
    assert await made(expires_at="never") is None
    day = (utc_now() + timedelta(days=500)).date()
    ends = await made(expires_at="day", expires_at_on=day.isoformat())
    assert ends is not None
    assert ends.isoformat().replace("+00:00", "Z") == f"{day}T23:59:59Z"

    await console.open(f"{console.issuer}/admin/api-keys/new")
    for typed, field, said in (
        ("", "expires_at_on", "a day is needed, for example 2027-01-31"),
        ("soon", "expires_at_on", "a day is needed, for example 2027-01-31"),
        ("2020-01-31", "expires_at", "lies in the past"),
    ):
        page = await console.submit("scope", "save", name="Kept", expires_at="day", expires_at_on=typed)
        assert (page.status, page.texts[f"{field}-note"]) == (400, said)
        fields = page.form_with("scope").fields
        assert (fields["name"], fields["expires_at"], fields["expires_at_on"]) == ("Kept", "day", typed)
    page = await console.open(f"{console.issuer}/admin/scim-tokens/new")
    assert page.form_with("expires_at").fields["expires_at"] == "never"


async def test_lists_are_searched(console: Browser, api: Api) -> None:
    tag = secrets.token_hex(5)
    await api.create("/groups", name=f"engineers-{tag}", description="Who builds it")
    organization = await api.create("/organizations", short_name=f"acme-{tag}", name=f"Acme {tag} Ltd")
    await api.create("/groups", name=f"within-{tag}", organization=organization["id"])
    await api.create("/roles", name=f"deployer-{tag}", description=f"Ships {tag}")
    await api.create(
        "/clients", client_name=f"App {tag}", redirect_uris=["https://app.example.com/cb"], description="Shows it"
    )
    for room, words, found in (
        ("groups", f"ENGINEERS-{tag}", f"engineers-{tag}"),
        ("organizations", f"{tag} ltd", f"Acme {tag} Ltd"),
        ("roles", f"ships {tag}", f"deployer-{tag}"),
        ("applications", f"app {tag}", f"App {tag}"),
    ):
        await console.open(f"{console.issuer}/admin/{room}")
        page = await console.submit("search", search=words)
        assert found in page.links, room
        assert page.form_with("search").fields["search"] == words
        page = await console.submit("search", search=f"nothing-{tag}%")
        assert found not in page.links
        assert "There is no such" in page.body, room
    page = await console.open(f"{console.issuer}/admin/groups?organization={organization['id']}")
    assert f"engineers-{tag}" not in page.links
    assert page.texts["narrowed"].startswith(f"Only of acme-{tag}.")
    page = await console.submit("search", search="within")
    assert f"acme-{tag}/within-{tag}" in page.links
    assert page.has("narrowed")


async def test_searched_lists_go_on(platform: Platform, canary: Canary, api: Api) -> None:
    tag = secrets.token_hex(5)
    for number in range(52):
        await api.create("/groups", name=f"{tag}-{number:02}")
    async with platform.browser(canary) as console:
        await sign_in(console, platform)
        page = await console.open(f"{console.issuer}/admin/groups?search={tag}")
        first = [each for each in page.links if each.startswith(tag)]
        page = await console.click("next")
        assert len({*first, *(each for each in page.links if each.startswith(tag))}) == 52
