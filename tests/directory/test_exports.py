"""What other services are told about users when they ask."""

import secrets
from collections.abc import Callable

import pytest
from tests.directory.conftest import Describe, Person, Register

from watchword.composition import settings_of
from watchword_events.exports import OrganizationExport, UserExport
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
    assert (export.roles, export.permissions, export.organizations, export.home) == ((), (), (), None)


async def test_what_a_user_may_is_exported_with_all_that_follows(
    pulls: InternalClient, register: Register, api: Api
) -> None:
    tag = secrets.token_hex(4)
    number = secrets.randbelow(2**40)
    acme = await api.create("/organizations", short_name=f"acme-{tag}", name="Acme", external_id=number, domain_id=1)
    reader = await api.create("/roles", name=f"reader-{tag}", permissions=["orders.read"])
    writer = await api.create("/roles", name=f"writer-{tag}", permissions=["orders.write", "orders.read"])
    staff = await api.create("/groups", name=f"staff-{tag}")
    ops = await api.create("/groups", name="ops", organization=acme["id"], parents=[staff["full_name"]])
    await api.create("/assignments", role=reader["id"], group=staff["id"])
    await api.create("/assignments", role=writer["id"], group=ops["id"], organization=acme["id"])
    user = await register(groups=[ops["full_name"]], organization=acme["id"], phone_number="+41791234567")
    (item,) = (await pulls.export(Service.DIRECTORY, "user", {"id": [str(user["id"])]})).items
    export = UserExport.model_validate(item.data)
    assert export.groups == (f"acme-{tag}/ops", f"staff-{tag}")
    assert (export.roles, export.permissions) == ((f"reader-{tag}",), ("orders.read",))
    assert export.organization == acme["id"]
    assert export.home is not None
    assert (export.home.short_name, export.home.external_id, export.home.domain_id) == (f"acme-{tag}", number, 1)
    assert export.roles_in(str(acme["id"])) == {f"reader-{tag}", f"writer-{tag}"}
    assert export.permissions_in(str(acme["id"])) == {"orders.read", "orders.write"}
    assert export.permissions_in("another") == export.permissions_in(None) == {"orders.read"}
    assert (export.claims["phone_number"], export.claims["phone_number_verified"]) == ("+41791234567", True)


@pytest.mark.spec("OpenID Connect Core 5.1, 5.1.1")
async def test_every_standard_claim_is_exported_as_it_was_given(pulls: InternalClient, register: Register) -> None:
    given = {
        "name": "Ana María López",
        "given_name": "Ana",
        "family_name": "López",
        "middle_name": "María",
        "nickname": "Ani",
        "profile": "https://corp.example/ana",
        "picture": "https://corp.example/ana.png",
        "website": "https://ana.example",
        "gender": "female",
        "birthdate": "0000-02-29",
        "zoneinfo": "Europe/Zurich",
        "locale": "de-CH",
        "phone_number": "+41791234567;ext=12",
        "address": {"street_address": "Main Street 1\nBack door", "locality": "Bern", "country": "CH"},
    }
    user = await register(**given)
    assert {name: user[name] for name in given} == {
        **given,
        "address": given["address"] | {"formatted": None, "region": None, "postal_code": None},  # type: ignore[operator]  # an object
    }
    (item,) = (await pulls.export(Service.DIRECTORY, "user", {"id": [str(user["id"])]})).items
    export = UserExport.model_validate(item.data)
    assert {name: export.claims[name] for name in given} == given


async def test_an_organization_is_exported(pulls: InternalClient, api: Api) -> None:
    short = f"acme-{secrets.token_hex(4)}"
    made = await api.create("/organizations", short_name=short, name="Acme", external_id=f"A-{short}")
    for params in ({"id": [str(made["id"])]}, {"short_name": short.upper()}):
        (item,) = (await pulls.export(Service.DIRECTORY, "organization", params)).items
        export = OrganizationExport.model_validate(item.data)
        assert (export.id, export.short_name, export.external_id) == (made["id"], short, f"A-{short}")
    await api.delete(f"/organizations/{made['id']}")
    (item,) = (await pulls.export(Service.DIRECTORY, "organization", {"id": [str(made["id"])]})).items
    assert (item.deleted, item.data, item.version) == (True, None, 2)


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
