"""Scopes of an installation's own and resource servers: what may be said of them, and what follows."""

import asyncio
import secrets
from collections.abc import Callable

import pytest
from tests.admin.conftest import Make

from watchword.composition import settings_of
from watchword_events.contracts import ResourceChanged, ScopeChanged
from watchword_events.exports import ResourceExport, ScopeExport
from watchword_events.names import Service
from watchword_policy.claim_names import RESERVED
from watchword_policy.scopes import BUILT_IN
from watchword_runtime.internal import InternalClient
from watchword_testkit.api import Api
from watchword_testkit.events import expect_events
from watchword_testkit.platform import Platform

CLAIM: dict[str, object] = {"name": "department", "expression": "claims.department"}

BAD_SCOPES: dict[str, tuple[dict[str, object], str]] = {
    "no description": ({"description": None}, "#/description"),
    "blank description": ({"description": "  "}, "#/description"),
    "description that turns around": ({"description": "Read \u202eyour orders"}, "#/description"),
    "long description": ({"description": "a" * 257}, "#/description"),
    "no name": ({"name": ""}, "#/name"),
    "name with a space": ({"name": "orders read"}, "#/name"),
    "name with a quote": ({"name": 'orders"'}, "#/name"),
    "name with a line break": ({"name": "orders\n"}, "#/name"),
    "long name": ({"name": "a" * 129}, "#/name"),
    "a scope of ours": ({"name": "openid"}, "#/name"),
    "a scope of ours with rights": ({"name": "watchword:admin"}, "#/name"),
    "what might become one": ({"name": "Watchword:Everything"}, "#/name"),
    "claims as object": ({"claims": {}}, "#/claims"),
    "claim without an expression": ({"claims": [{"name": "a"}]}, "#/claims/0/expression"),
    "claim without a name": ({"claims": [{"expression": "sub"}]}, "#/claims/0/name"),
    "claim with a space": ({"claims": [CLAIM | {"name": "my claim"}]}, "#/claims/0/name"),
    "claim twice": ({"claims": [CLAIM, CLAIM]}, "#"),
    "claim nowhere": ({"claims": [CLAIM | {"appears_in": []}]}, "#/claims/0/appears_in"),
    "claim in an unknown place": ({"claims": [CLAIM | {"appears_in": ["cookie"]}]}, "#/claims/0/appears_in/0"),
    "expression that is none": ({"claims": [CLAIM | {"expression": "claims."}]}, "#/claims/0/expression"),
    "expression about the moment": ({"claims": [CLAIM | {"expression": "ip"}]}, "#/claims/0/expression"),
    "expression in other words": (
        {"claims": [CLAIM | {"expression": "'a' in groups and true"}]},
        "#/claims/0/expression",
    ),
    "null": ({"claims": [CLAIM | {"expression": "null"}]}, "#/claims/0/expression"),
    "unknown member": ({"consent": False}, "#/consent"),
    "id": ({"id": "mine"}, "#/id"),
}

BAD_RESOURCES: dict[str, tuple[dict[str, object], str]] = {
    "no identifier": ({"identifier": ""}, "#/identifier"),
    "relative": ({"identifier": "/api"}, "#/identifier"),
    "a name alone": ({"identifier": "orders"}, "#/identifier"),
    "fragment": ({"identifier": "https://api.example.com/#x"}, "#/identifier"),
    "space": ({"identifier": "https://api.example.com/a b"}, "#/identifier"),
    "user": ({"identifier": "https://user@api.example.com"}, "#/identifier"),
    "script": ({"identifier": "javascript:alert(1)"}, "#/identifier"),
    "long": ({"identifier": "https://api.example.com/" + "a" * 255}, "#/identifier"),
    "no name": ({"name": None}, "#/name"),
    "scope with a space": ({"scopes": ["a b"]}, "#/scopes/0"),
    "scopes as text": ({"scopes": "a b"}, "#/scopes"),
    "format": ({"access_token_format": "xml"}, "#/access_token_format"),
    "no life": ({"access_token_lifetime_s": 0}, "#/access_token_lifetime_s"),
    "endless": ({"access_token_lifetime_s": 86_401}, "#/access_token_lifetime_s"),
    "unsigned": ({"access_token_signing_alg": "none"}, "#/access_token_signing_alg"),
    "symmetric": ({"access_token_signing_alg": "HS256"}, "#/access_token_signing_alg"),
    "unknown member": ({"audience": "x"}, "#/audience"),
}


def fresh(what: str = "orders") -> str:
    return f"{what}:{secrets.token_hex(5)}"


def scope(**given: object) -> dict[str, object]:
    return {"name": fresh(), "description": "See your orders"} | given


def resource(**given: object) -> dict[str, object]:
    return {"identifier": f"https://{secrets.token_hex(5)}.example.com/api", "name": "Orders"} | given


@pytest.fixture
def pulls(platform: Platform) -> InternalClient:
    """token's way to admin."""
    assert platform.process is not None
    settings = settings_of(Service.TOKEN, platform.site.settings(platform.issuer, {})[Service.TOKEN])
    return platform.process.shared.internal.of(settings, Service.TOKEN)


@pytest.mark.parametrize(("given", "pointer"), BAD_SCOPES.values(), ids=BAD_SCOPES)
async def test_bad_scopes_are_refused(api: Api, given: dict[str, object], pointer: str) -> None:
    refused = await api.call("POST", "/scopes", scope(**given))
    assert refused.status_code == 400, refused.text
    assert pointer in [error["pointer"] for error in refused.json()["errors"]]


async def test_an_expression_that_cannot_be_read_is_refused_with_its_place(api: Api) -> None:
    claims = [CLAIM, {"name": "admin", "expression": "'ops' in groups and true"}]
    refused = await api.call("POST", "/scopes", scope(claims=claims))
    (error,) = refused.json()["errors"]
    assert (error["pointer"], error["line"], error["column"]) == ("#/claims/1/expression", 1, 17)
    assert "&&" in error["hint"]


@pytest.mark.parametrize("name", sorted({*list(BUILT_IN), "watchword:x"}))
async def test_no_scope_takes_the_place_of_ours(api: Api, name: str) -> None:
    assert (await api.call("POST", "/scopes", scope(name=name))).status_code == 400


@pytest.mark.parametrize("name", sorted({*RESERVED, "via", "groupstring"}))
async def test_no_claim_takes_the_place_of_ours(api: Api, name: str) -> None:
    for spelled in (name, name.upper()):
        refused = await api.call("POST", "/scopes", scope(claims=[CLAIM | {"name": spelled}]))
        assert refused.status_code == 400
        assert refused.json()["errors"][0]["pointer"] == "#/claims/0/name"


@pytest.mark.spec("RFC 8707 2")
@pytest.mark.parametrize(("given", "pointer"), BAD_RESOURCES.values(), ids=BAD_RESOURCES)
async def test_bad_resources_are_refused(api: Api, given: dict[str, object], pointer: str) -> None:
    refused = await api.call("POST", "/resources", resource(**given))
    assert refused.status_code == 400, refused.text
    assert pointer in [error["pointer"] for error in refused.json()["errors"]]


@pytest.mark.parametrize("identifier", ["https://api.example.com", "https://api.example.com/v1?x=y", "urn:acme:orders"])
async def test_what_identifies_a_resource(api: Api, identifier: str) -> None:
    made = await api.create("/resources", **resource(identifier=identifier))
    assert made["identifier"] == identifier
    await api.delete(f"/resources/{made['id']}")


KINDS: list[tuple[str, Callable[..., dict[str, object]], str, dict[str, object]]] = [
    ("/scopes", scope, "name", {"description": "See all of your orders"}),
    ("/resources", resource, "identifier", {"scopes": ["orders:read"], "any_client": True}),
]


@pytest.mark.parametrize(("path", "body", "key", "change"), KINDS, ids=["scope", "resource"])
async def test_one_is_added_read_changed_and_deleted(
    platform: Platform,
    api: Api,
    path: str,
    body: Callable[..., dict[str, object]],
    key: str,
    change: dict[str, object],
) -> None:
    event = ScopeChanged if path == "/scopes" else ResourceChanged
    given = body()
    async with platform.nats_client() as client, expect_events(client, event, event, event) as seen:
        made = await api.create(path, **given)
        place = f"{path}/{made['id']}"
        assert await api.get(place) == made
        filters = {key: str(given[key])}
        assert (await api.get(path, **filters))["items"] == [made]
        assert (await api.call("PUT", place, given)).json() == made, "nothing happens when nothing differs"
        changed = await api.change(place, **change)
        assert {name: changed[name] for name in change} == change
        assert changed["version"] == 2
        taken = await api.call("POST", path, body(**{key: given[key]}))
        assert (taken.status_code, taken.json()["errors"][0]["pointer"]) == (409, f"#/{key}")
        renamed = await api.call("PATCH", place, {key: body()[key]})
        assert (renamed.status_code, renamed.json()["errors"][0]["pointer"]) == (409, f"#/{key}")
        await api.delete(place)
        assert (await api.call("GET", place)).status_code == 404
        assert (await api.call("DELETE", place)).status_code == 204
        again = await api.create(path, **given)
        assert again["id"] != made["id"]
    versions = [each.event.version for each in seen.events if each.id == made["id"]]
    assert versions == [1, 2, 3]


async def test_of_parallel_scopes_of_one_name_one_wins(api: Api) -> None:
    body = scope()
    answers = await asyncio.gather(*(api.call("POST", "/scopes", body) for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 5


async def test_both_are_exported(api: Api, pulls: InternalClient) -> None:
    claims = [CLAIM | {"appears_in": ["userinfo"]}]
    made = await api.create("/scopes", **scope(claims=claims))
    (item,) = (await pulls.export(Service.ADMIN, "scope", {"id": [str(made["id"])]})).items
    found = ScopeExport.model_validate(item.data)
    assert (found.name, found.description) == (made["name"], made["description"])
    assert [(each.name, each.expression, each.appears_in) for each in found.claims] == [
        ("department", "claims.department", frozenset({"userinfo"}))
    ]
    server = await api.create("/resources", **resource(scopes=["a"], access_token_format="opaque"))
    (item,) = (await pulls.export(Service.ADMIN, "resource", {"id": [str(server["id"])]})).items
    export = ResourceExport.model_validate(item.data)
    assert (export.identifier, export.scopes, export.access_token_format) == (
        server["identifier"],
        frozenset({"a"}),
        "opaque",
    )
    for path, entity in ((f"/scopes/{made['id']}", "scope"), (f"/resources/{server['id']}", "resource")):
        await api.delete(path)
        (item,) = (await pulls.export(Service.ADMIN, entity, {"id": [path.rpartition("/")[2]]})).items
        assert (item.deleted, item.data, item.version) == (True, None, 2)


async def test_a_default_scope_is_every_clients_who_names_none(api: Api, make_client: Make) -> None:
    made = await api.create("/scopes", **scope(is_default=True))
    name = str(made["name"])
    client = await make_client()
    assert str(client["scope"]).split() == ["openid", "profile", "email", name]
    assert name not in str((await make_client(scope="openid"))["scope"])
    path = f"/clients/{client['client_id']}"
    named = await api.change(path, scope="openid email")
    assert named["scope"] == "openid email"
    assert name in str((await api.change(path, scope=None))["scope"])
    body = {"client_name": client["client_name"], "redirect_uris": client["redirect_uris"]}
    assert name in (await api.call("PUT", path, body)).json()["scope"]
    await api.delete(f"/scopes/{made['id']}")
    assert name not in str((await make_client())["scope"])


async def test_a_client_is_bound_to_an_organization_that_there_is(api: Api, make_client: Make) -> None:
    short = f"acme-{secrets.token_hex(4)}"
    organization = await api.create("/organizations", short_name=short, name="Acme")
    for reference in (organization["id"], short):
        assert (await make_client(organization=reference))["organization"] == organization["id"]
    client = await make_client(organization=short, required_permission="orders.read", permission_scope=["orders.read"])
    for reference in ("no-such-organization", "' OR 1=1", "*"):
        for method, path in (("POST", "/clients"), ("PATCH", f"/clients/{client['client_id']}")):
            body = {"client_name": "App", "redirect_uris": ["https://app.example.com/callback"]}
            refused = await api.call(method, path, (body if method == "POST" else {}) | {"organization": reference})
            assert refused.status_code == 400, refused.text
            assert refused.json()["errors"][0]["pointer"] == "#/organization"
    assert (await api.change(f"/clients/{client['client_id']}", organization=None))["organization"] is None
