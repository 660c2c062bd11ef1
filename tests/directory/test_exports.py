"""What other services are told about users when they ask."""

import secrets
from collections.abc import Callable

import pytest
from tests.directory.conftest import Describe, Person, Register

from watchword.composition import settings_of
from watchword_events.exports import UserExport
from watchword_events.names import Service
from watchword_runtime.internal import InternalClient
from watchword_testkit.api import Api
from watchword_testkit.platform import Platform


@pytest.fixture
def pulls(platform: Platform) -> InternalClient:
    """authz's way to the directory."""
    assert platform.process is not None
    settings = settings_of(Service.AUTHZ, platform.site.settings(platform.issuer, {})[Service.AUTHZ])
    return platform.process.shared.internal.of(settings, Service.AUTHZ)


@pytest.mark.spec("OpenID Connect Core 5.1")
async def test_a_user_is_exported_with_claims(pulls: InternalClient, register: Register) -> None:
    user = await register(name="Ana", locale="de-CH")
    (item,) = (await pulls.export(Service.DIRECTORY, "user", {"id": [str(user["id"])]})).items
    export = UserExport.model_validate(item.data)
    assert (item.version, item.deleted) == (1, False)
    assert export.username == user["username"]
    assert export.email == user["email"]
    assert export.claims["name"] == "Ana"
    assert export.claims["email_verified"] is True
    assert export.claims["preferred_username"] == user["username"]
    assert None not in export.claims.values()
    assert export.roles == ()


@pytest.mark.parametrize("column", ["username", "email"])
async def test_a_user_is_found_however_the_person_types(pulls: InternalClient, register: Register, column: str) -> None:
    user = await register()
    for typed in (str(user[column]), str(user[column]).upper()):
        (item,) = (await pulls.export(Service.DIRECTORY, "user", {column: typed})).items
        assert item.id == user["id"]


@pytest.mark.parametrize("typed", ["", "nobody", "\u212aate", "a/b", "x" * 1000, "%", "_"])
@pytest.mark.parametrize("column", ["username", "email"])
async def test_what_names_nobody_finds_nobody(pulls: InternalClient, column: str, typed: str) -> None:
    assert (await pulls.export(Service.DIRECTORY, "user", {column: typed})).items == []


async def test_an_address_that_somebody_only_claims_finds_nobody(
    pulls: InternalClient, people: Callable[[], Person], identity: Describe
) -> None:
    address = f"claimed-{secrets.token_hex(4)}@corp.example"
    person = people()
    await person.signed_in(await person.arrive(identity(email=address, email_verified=False)))
    assert (await pulls.export(Service.DIRECTORY, "user", {"email": address})).items == []


async def test_a_deleted_user_is_a_tombstone(pulls: InternalClient, register: Register, api: Api) -> None:
    user = await register(name="Ida Gone")
    await api.delete(f"/users/{user['id']}")
    (item,) = (await pulls.export(Service.DIRECTORY, "user", {"id": [str(user["id"])]})).items
    assert (item.deleted, item.data, item.version) == (True, None, 2)
    assert (await pulls.export(Service.DIRECTORY, "user", {"username": str(user["username"])})).items == []


async def test_pages_hold_every_user_once(pulls: InternalClient, register: Register) -> None:
    made = {str((await register())["id"]) for _ in range(4)}
    found: list[str] = []
    after = ""
    while True:
        page = await pulls.export(Service.DIRECTORY, "user", {"after": after, "limit": 3})
        found += [item.id for item in page.items]
        if page.next is None:
            break
        after = page.next
    assert made <= set(found)
    assert found == sorted(set(found))


async def test_nobody_reaches_the_exports_from_outside(platform: Platform, api: Api) -> None:
    answer = await api.client.get(f"{platform.issuer}/internal/export/user")
    assert answer.status_code == 404
