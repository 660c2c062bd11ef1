"""What an installation exports, whatever it went through, makes an empty one the same."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

import httpx2
import pytest

from watchword import documents
from watchword.apply import Installation, Step
from watchword.documents import DocumentError
from watchword_runtime import declarations
from watchword_testkit.api import Api
from watchword_testkit.databases import Template
from watchword_testkit.http import http_client
from watchword_testkit.platform import Platform, in_this_process, prepared
from watchword_testkit.servers import Postgres

SCIM_USER = "urn:ietf:params:scim:schemas:core:2.0:User"
CALLBACK = "https://app.example/callback"
POSITION = "Watchword-Position"
LONG = "g" * 256


@pytest.fixture
async def old(
    postgres: Postgres, database_template: Template, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Platform]:
    """An installation where clients register themselves."""
    async with (
        prepared(postgres, database_template, tmp_path_factory.mktemp("old")) as site,
        in_this_process(site, registration="token") as running,
    ):
        yield running
        await running.check_secrets()


@pytest.fixture
async def api(old: Platform) -> Api:
    """The old installation's administrator."""
    return old.api()


def exported(platform: Platform) -> list[Mapping[str, object]]:
    return list(Installation(platform.issuer, platform.admin.admin_token).export())


def planned(platform: Platform, file: Path) -> list[Step]:
    """What the documents of a file would change."""
    installation = Installation(platform.issuer, platform.admin.admin_token)
    plans = installation.plan(documents.read(file), environment={})
    return [step for plan in plans for step in plan.steps if step.action != "unchanged"]


def applied(platform: Platform, file: Path, text: str) -> list[Step]:
    """What was done with the documents of a file, into which the text was written."""
    file.write_text(text)
    installation = Installation(platform.issuer, platform.admin.admin_token)
    done = list(installation.apply(installation.plan(documents.read(file), environment={})))
    platform.canary.add("client_secret", *(each.secret for each in done if each.secret))
    return done


def moved(old: Platform, new: Platform, file: Path) -> list[Mapping[str, object]]:
    """What both installations export: the old one's documents change nothing there, and make the new one the same."""
    before = exported(old)
    # Who only claims an address comes first, where others would be the losers.
    before.sort(key=lambda document: bool(document.get("email_verified", True)))
    applied(new, file, declarations.write(before, schema="x"))
    assert planned(old, file) == planned(new, file) == []
    after = exported(new)
    assert sorted(map(_text, after)) == sorted(map(_text, before))
    return after


def _text(document: Mapping[str, object]) -> str:
    return json.dumps(document, sort_keys=True)


def named(found: Sequence[Mapping[str, object]], kind: str, **member: object) -> Mapping[str, object]:
    """The one document of a kind with this member."""
    ((name, value),) = member.items()
    (one,) = [each for each in found if each["kind"] == kind and each.get(name) == value]
    return one


async def posted(api: Api, path: str, token: str, body: Mapping[str, object]) -> httpx2.Response:
    async with http_client(timeout=20.0) as http:
        return await http.post(
            str(api.client.base_url.join(path)), json=body, headers={"Authorization": f"Bearer {token}"}
        )


async def claims(api: Api, organization: object, username: str, email: str) -> None:
    """Somebody whom an organization's directory pushed, with an address in no domain that the organization proved."""
    token = await api.create("/scim-tokens", name=username, organization=organization)
    person = {"schemas": [SCIM_USER], "userName": username, "emails": [{"value": email, "primary": True}]}
    answer = await posted(api, "/scim/v2/Users", str(token["token"]), person)
    assert answer.status_code == 201, answer.text


async def claim_addresses(api: Api) -> None:
    """One address is somebody's, and two others say that it is theirs; another is nobody's, and two say so of it."""
    acme = await api.create("/organizations", short_name="acme", name="Acme")
    await api.create("/users", username="owner-of-it", email="taken@example.com")
    for name in ("claimant", "another"):
        await claims(api, acme["id"], name, "taken@example.com")
        await claims(api, acme["id"], f"{name}-too", "nobodys@example.com")


async def fill_groups(api: Api) -> None:
    """Somebody is in more groups than one call can say, in one of a long name, in one that lies in another."""
    home = await api.create("/organizations", short_name="h" * 64, name="Home")
    inner = await api.create("/groups", name=LONG, organization=home["id"])
    await api.create("/groups", name="deep", parents=[inner["full_name"]])
    user = await api.create("/users", username="everywhere", name="0123", birthdate="1990-01-02", nickname="null")
    groups = [await api.create("/groups", name=f"g{n}") for n in range(200)]
    for each in (inner, *groups):
        answer = await api.call("POST", f"/groups/{each['id']}/members", {"add": [user["id"]]})
        assert answer.is_success, answer.text


async def lose_what_is_named(old: Platform, api: Api, file: Path) -> str:
    """Rules, clients and a provider name a client and an organization that are gone. The id of a client that
    registered itself, and that rules name.
    """
    texts = [
        f"kind: Client\nclient_id: {name}\nclient_name: {name}\nredirect_uris: [{CALLBACK}]\n"
        for name in ("stays", "gone")
    ]
    await asyncio.to_thread(applied, old, file, "---\n".join(texts))
    initial = await api.create("/registration-tokens", name="agents")
    wanted = {"client_name": "Agent", "redirect_uris": [CALLBACK]}
    agent = await posted(api, "/oauth2/register", str(initial["token"]), wanted)
    assert agent.status_code == 201, agent.text
    made = agent.json()
    old.canary.add("client_secret", made["client_secret"], made["registration_access_token"])
    for name, clients in (("some", ["gone", "stays", made["client_id"]]), ("none", ["gone"])):
        await api.create("/rules", name=name, expression="true", clients=clients)
    await api.create("/rules", name="own", expression="true", clients=[made["client_id"]])
    organization = await api.create("/organizations", short_name="ended", name="Ended")
    await api.create("/clients", short_name="orphan", client_name="O", redirect_uris=[CALLBACK], organization="ended")
    await api.create("/rules", name="theirs", expression="true", organization="ended")
    provider = {"id": "Theirs", "display_name": "T", "issuer": "http://127.0.0.1:1", "client_id": "x"}
    await api.create("/providers", preset="oidc", organization="ended", **provider)
    await api.delete("/clients/gone")
    answer = await api.call("DELETE", f"/organizations/{organization['id']}")
    assert answer.is_success, answer.text
    heard = await api.client.get("/clients", headers={POSITION: answer.headers[POSITION]})
    assert heard.status_code == 200, heard.text
    return str(made["client_id"])


async def test_an_export_makes_an_empty_installation_the_same(
    old: Platform, own_platform: Platform, api: Api, tmp_path: Path
) -> None:
    new, file = own_platform, tmp_path / "documents.yaml"
    await claim_addresses(api)
    await fill_groups(api)
    itself = await lose_what_is_named(old, api, file)
    found = await asyncio.to_thread(moved, old, new, file)

    assert "email_verified" not in named(found, "User", username="owner-of-it")
    for name, email in (("claimant", "taken"), ("another", "taken"), ("another-too", "nobodys")):
        document = named(found, "User", username=name)
        assert (document["email"], document["email_verified"]) == (f"{email}@example.com", False)
    groups = named(found, "User", username="everywhere")["groups"]
    assert isinstance(groups, list)
    assert len(groups) == 201
    rules = {each["name"]: each["clients"] for each in found if each["kind"] == "AccessRule"}
    assert rules == {"some": ["stays", itself], "own": [itself]}
    assert "organization" not in named(found, "Client", short_name="orphan")
    # The installation's own would be trusted with more.
    assert [each for each in found if each["kind"] == "IdentityProvider"] == []

    # Where a document says nothing of it, the address is verified, as whatever administrators enter: a plan shows it.
    text = "kind: User\nusername: another-too\nemail: nobodys@example.com\norganization: acme\n"
    (step,) = await asyncio.to_thread(applied, new, file, text)
    assert [(each["field"], each["before"], each["after"]) for each in step.changes] == [
        ("email_verified", False, True)
    ]
    # What is named and is not there is made, if it may be called so; a client is none but by an id.
    with pytest.raises(DocumentError, match=r":3: groups: a group's name has at most 256 characters"):
        await asyncio.to_thread(applied, new, file, f"kind: User\nusername: x\ngroups: [nowhere/{LONG}]\n")
    with pytest.raises(DocumentError, match=r":4: clients/0"):
        text = "kind: AccessRule\nname: typo\nexpression: 'true'\nclients: [stayz]\n"
        await asyncio.to_thread(applied, new, file, text)


@pytest.mark.parametrize("became", ["roles: [administrator]", "active: false\nroles: [owner]"])
async def test_the_first_owner_leaves_behind_the_next(own_platform: Platform, tmp_path: Path, became: str) -> None:
    first = own_platform.admin.username
    text = f"kind: User\nusername: {first}\nname: Administrator\n{became}\n---\nkind: User\nusername: next\n"
    steps = await asyncio.to_thread(applied, own_platform, tmp_path / "users.yaml", text + "roles: [Owner]\n")
    assert {each.name: each.action for each in steps} == {first: "change", "next": "create"}
