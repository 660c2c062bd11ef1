"""The edge of `/api/v1/clients`, `/providers` and `/events`: who may call, what is refused, how lists go on."""

import secrets
from pathlib import Path

import httpx2
import pytest
from tests.admin.conftest import CLIENT, PROVIDER, Make

from watchword_testkit.api import Api
from watchword_testkit.canary import Canary
from watchword_testkit.databases import Template
from watchword_testkit.http import http_client
from watchword_testkit.platform import Platform, in_this_process, prepared
from watchword_testkit.servers import Postgres
from watchword_testkit.signin import Party, SignIn

ROUTES = {
    "list clients": ("GET", "/clients"),
    "register a client": ("POST", "/clients"),
    "read a client": ("GET", "/clients/x"),
    "replace a client": ("PUT", "/clients/x"),
    "change a client": ("PATCH", "/clients/x"),
    "delete a client": ("DELETE", "/clients/x"),
    "add a secret": ("POST", "/clients/x/secrets"),
    "remove a secret": ("DELETE", "/clients/x/secrets/y"),
    "list providers": ("GET", "/providers"),
    "list presets": ("GET", "/providers/presets"),
    "configure a provider": ("POST", "/providers"),
    "read a provider": ("GET", "/providers/x"),
    "replace a provider": ("PUT", "/providers/x"),
    "change a provider": ("PATCH", "/providers/x"),
    "remove a provider": ("DELETE", "/providers/x"),
    "list issuers": ("GET", "/issuers"),
    "trust an issuer": ("POST", "/issuers"),
    "read an issuer": ("GET", "/issuers/x"),
    "replace an issuer": ("PUT", "/issuers/x"),
    "change an issuer": ("PATCH", "/issuers/x"),
    "remove an issuer": ("DELETE", "/issuers/x"),
    "list rules": ("GET", "/rules"),
    "add a rule": ("POST", "/rules"),
    "try rules": ("POST", "/rules/test"),
    "read a rule": ("GET", "/rules/x"),
    "replace a rule": ("PUT", "/rules/x"),
    "change a rule": ("PATCH", "/rules/x"),
    "delete a rule": ("DELETE", "/rules/x"),
    "list service accounts": ("GET", "/service-accounts"),
    "add a service account": ("POST", "/service-accounts"),
    "read a service account": ("GET", "/service-accounts/x"),
    "replace a service account": ("PUT", "/service-accounts/x"),
    "delete a service account": ("DELETE", "/service-accounts/x"),
    "follow events": ("GET", "/events/stream"),
}


def body_of(method: str, path: str) -> dict[str, object] | None:
    """A body that would do, so that only the caller decides."""
    if method not in {"POST", "PUT", "PATCH"} or path.endswith("/secrets"):
        return {} if method == "POST" else None
    if method == "PATCH":
        return {}
    return CLIENT if path.startswith("/clients") else PROVIDER | ({"id": "x"} if method == "POST" else {})


async def call(platform: Platform, method: str, path: str, **headers: str) -> httpx2.Response:
    """A request with exactly these headers."""
    async with http_client(timeout=20) as http:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await http.request(method, f"{platform.issuer}/api/v1{path}", json=body_of(method, path), headers=named)


@pytest.mark.parametrize(("method", "path"), ROUTES.values(), ids=ROUTES)
async def test_nobody_calls_without_a_live_credential(platform: Platform, method: str, path: str) -> None:
    for headers in ({}, {"Authorization": "Bearer nothing"}, {"Watchword_API_Key": "ww_x.y"}, {"Cookie": "x=y"}):
        answer = await call(platform, method, path, **headers)
        assert answer.status_code == 401, f"{headers}: {answer.text}"
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(("method", "path"), ROUTES.values(), ids=ROUTES)
async def test_a_client_without_the_scope_may_not_call(
    platform: Platform, api: Api, canary: Canary, method: str, path: str
) -> None:
    party = await Party.registered(
        api, platform.issuer, canary, grant_types=["client_credentials"], scope="revocations:read", redirect_uris=[]
    )
    token = (await party.tokens(grant_type="client_credentials"))["access_token"]
    answer = await call(platform, method, path, Authorization=f"Bearer {token}")
    assert answer.status_code == 403, answer.text


async def test_calls_without_a_credential_are_limited_and_others_are_not(
    postgres: Postgres, database_template: Template, tmp_path: Path
) -> None:
    async with (
        prepared(postgres, database_template, tmp_path) as site,
        in_this_process(site, refused_calls_per_s="0.01", refused_calls_burst="5") as platform,
        http_client(timeout=30) as http,
    ):
        for path in ("clients", "users"):  # each service counts for itself
            answers = [await http.get(f"{platform.issuer}/api/v1/{path}") for _ in range(7)]
            assert [answer.status_code for answer in answers] == [401] * 5 + [429] * 2
            assert int(answers[-1].headers["retry-after"]) >= 1
            assert (await platform.api().call("GET", f"/{path}")).status_code == 200


async def test_an_application_of_an_administrator_administers_nothing(
    platform: Platform, api: Api, canary: Canary
) -> None:
    """Signing in somewhere gives that application the person's name, not the person's power."""
    party = await Party.registered(api, platform.issuer, canary)
    async with platform.browser(canary) as browser:
        tokens = await SignIn(browser, party).with_password(platform.admin.username, platform.admin.password)
    for credential in (tokens["access_token"], tokens["id_token"]):
        answer = await call(platform, "GET", "/clients", Authorization=f"Bearer {credential}")
        assert answer.status_code in {401, 403}, answer.text


async def test_a_person_without_the_role_administers_nothing_with_the_scope(
    platform: Platform, api: Api, canary: Canary
) -> None:
    password = secrets.token_urlsafe(16)
    name = f"plain-{secrets.token_hex(4)}"
    await api.create("/users", username=name, password=password)
    party = await Party.registered(api, platform.issuer, canary, scope="openid watchword:admin")
    async with platform.browser(canary) as browser:
        tokens = await SignIn(browser, party, scope="openid watchword:admin").with_password(name, password)
    answer = await call(platform, "GET", "/clients", Authorization=f"Bearer {tokens['access_token']}")
    assert answer.status_code in {401, 403}, answer.text


@pytest.mark.spec("RFC 9457 3")
@pytest.mark.parametrize("given", [{"client_name": ""}, {"redirect_uris": ["https://a.example/#x"]}, {"trusted": True}])
async def test_a_refusal_points_at_the_member(api: Api, given: dict[str, object]) -> None:
    refused = await api.call("POST", "/clients", CLIENT | given)
    assert refused.status_code == 400
    (name,) = given
    assert refused.json()["errors"][0]["pointer"].startswith(f"#/{name}")


async def test_a_refused_secret_is_not_repeated(api: Api) -> None:
    refused = await api.call("POST", "/clients", CLIENT | {"client_secret": "too-short-Qz7"})
    assert refused.status_code == 400
    assert "Qz7" not in refused.text


async def test_clients_are_listed_in_pages_and_found_by_name(api: Api, make_client: Make) -> None:
    name = f"Zed {secrets.token_hex(4)}"
    made = {str((await make_client(client_name=name))["client_id"]) for _ in range(3)}
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = await api.get("/clients", limit="2", client_name=name, **cursor)
        items = page["items"]
        assert isinstance(items, list)
        found += [item["client_id"] for item in items]
        if page["next"] is None:
            break
        cursor = {"cursor": str(page["next"])}
    assert sorted(found) == sorted(made)
    other = await api.call("GET", "/clients", None, limit="2", client_name="Other", **cursor)
    assert other.status_code == 400, "a cursor fits the list that made it, filters included"


async def test_providers_are_listed_in_pages(api: Api, make_provider: Make) -> None:
    made = {str((await make_provider())["id"]) for _ in range(3)}
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = await api.get("/providers", limit="1", **cursor)
        items = page["items"]
        assert isinstance(items, list)
        found += [item["id"] for item in items]
        if page["next"] is None:
            break
        cursor = {"cursor": str(page["next"])}
    assert made <= set(found)
    assert len(found) == len(set(found))


@pytest.mark.parametrize(
    "path",
    [
        "/clients?cursor=forged",
        "/clients?limit=0",
        "/clients?client_nam=x",
        "/clients?enabled=perhaps",
        "/clients?limit=1&limit=2",
        "/providers?cursor=" + "A" * 60,
        "/providers?x=1",
        "/events/stream?types=",
        "/events/stream?types=user.disabled,nothing.happened",
        "/events/stream?types=user.*,nothing.*",
        "/events/stream?types=a&types=b",
    ],
)
async def test_bad_queries_are_refused(api: Api, path: str) -> None:
    assert (await api.client.get(path)).status_code == 400


async def test_a_new_client_is_where_the_answer_says(platform: Platform, api: Api) -> None:
    answer = await api.call("POST", "/clients", CLIENT)
    assert answer.headers["location"] == f"{platform.issuer}/api/v1/clients/{answer.json()['client_id']}"
    assert "no-store" in answer.headers["cache-control"]


async def test_the_document_describes_every_call(platform: Platform) -> None:
    assert platform.process is not None
    (admin,) = [service for service in platform.process.services if service.name == "admin"]
    transport = httpx2.ASGITransport(admin.app)
    async with httpx2.AsyncClient(transport=transport, base_url=platform.issuer) as http:
        document = (await http.get("/openapi.json")).json()
    described = {
        (method.upper(), path) for path, item in document["paths"].items() for method in item if method != "parameters"
    }
    for method, path in ROUTES.values():
        templated = "/api/v1" + path.replace("/x", "/{id}").replace("/y", "/{id}")
        assert any(method == each and templated == _with_one_name(where) for each, where in described), (
            f"{method} {path} is not described"
        )


def _with_one_name(path: str) -> str:
    for name in ("client_id", "provider_id", "secret_id", "issuer_id", "rule_id", "name"):
        path = path.replace(f"{{{name}}}", "{id}")
    return path
