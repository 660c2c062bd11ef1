"""/api/v1 of this service."""

import re
from datetime import timedelta
from typing import Any

import pytest
from tests.token.conftest import ISSUER, Site

from watchword_database.ids import new_id
from watchword_events.names import Service
from watchword_events.revocations import Claim
from watchword_token.bootstrap import create_admin_key

ROUTES = [
    ("GET", "/api/v1/keys"),
    ("GET", "/api/v1/keys/x"),
    ("POST", "/api/v1/keys/rotate"),
    ("POST", "/api/v1/keys/x/revoke"),
    ("GET", "/api/v1/grants"),
    ("POST", "/api/v1/grants/trial"),
    ("GET", "/api/v1/grants/x"),
    ("DELETE", "/api/v1/grants/x"),
    ("GET", "/api/v1/api-keys"),
    ("POST", "/api/v1/api-keys"),
    ("GET", "/api/v1/api-keys/x"),
    ("DELETE", "/api/v1/api-keys/x"),
    ("GET", "/api/v1/revocations"),
    ("POST", "/api/v1/revocations"),
    ("GET", "/api/v1/revocations/1"),
    ("GET", "/api/v1/revocations/1/evidence"),
    ("GET", "/api/v1/revocations/evidence?sub=x"),
    ("GET", "/api/v1/deliveries"),
    ("POST", "/api/v1/deliveries/x/replay"),
    ("GET", "/api/v1/verifiers"),
    ("POST", "/api/v1/verifiers"),
    ("GET", "/api/v1/verifiers/x"),
    ("DELETE", "/api/v1/verifiers/x"),
]


async def test_the_table_below_knows_every_route(site: Site) -> None:
    document = (await site.http.get("/openapi.json")).json()
    found = {
        (method.upper(), re.sub(r"\{\w+\}", "x", path.replace("{entry_id}", "1")))
        for path, item in document["paths"].items()
        for method in item
        if path.startswith("/api/v1") and not path.startswith("/api/v1/me/")  # everybody's own: test_personal.py
    }
    assert found == {(method, path.partition("?")[0]) for method, path in ROUTES}


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=lambda value: str(value))
async def test_only_administrators_may_call(site: Site, method: str, path: str) -> None:
    user = await site.user(roles=["administrator"])
    person = (await site.sign_in(await site.client(), user))["access_token"]  # role, but not the scope
    nobody = await site.sign_in(await site.client(scope=["openid", "watchword:admin"]), await site.user())
    for headers, status in (
        ({}, 401),
        ({"Watchword-API-Key": "ww_x.y"}, 401),
        ({"Authorization": "Bearer x"}, 401),
        ({"Authorization": f"Bearer {person}"}, 403),
        ({"Authorization": f"Bearer {nobody['access_token']}"}, 403),
    ):
        answer = await site.http.request(method, path, headers=headers, json={} if method == "POST" else None)
        assert answer.status_code == status, (headers, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"


async def test_administrators_call_by_key_by_token_and_by_a_clients_own_token(
    site: Site, administrator: dict[str, str]
) -> None:
    app = await site.client(scope=["openid", "watchword:admin"])
    user = await site.user(roles=["administrator"])
    person = (await site.sign_in(app, user, scope=("openid", "watchword:admin")))["access_token"]
    opaque = await site.client(scope=["watchword:admin"], access_token_format="opaque")
    for headers in (
        administrator,
        {"Argus-API-Key": administrator["Watchword-API-Key"]},
        {"Authorization": f"Bearer {person}"},
        {"Authorization": f"Bearer {await site.machine_token(app)}"},
        {"Authorization": f"Bearer {await site.machine_token(opaque)}"},
    ):
        assert (await site.http.get("/api/v1/keys", headers=headers)).status_code == 200


async def test_keys_show_public_halves_only(site: Site, administrator: dict[str, str]) -> None:
    answer = await site.http.get("/api/v1/keys", headers=administrator)
    items = answer.json()["items"]
    assert {(key["alg"], key["use"]) for key in items} >= {("ES256", "sig"), ("A256GCM", "enc")}
    for key in items:
        times = {"created_at", "confirmed_at", "activated_at", "retire_at"}
        assert set(key) == {"kid", "use", "alg", "state", "public_jwk", "waiting_for", *times}
        assert key["public_jwk"] is None or "d" not in key["public_jwk"]
        one = await site.http.get(f"/api/v1/keys/{key['kid']}", headers=administrator)
        assert one.json() == key
    assert (await site.http.get("/api/v1/keys/nothing", headers=administrator)).status_code == 404


async def test_grants_are_listed_by_page_and_by_person(site: Site, administrator: dict[str, str]) -> None:
    app, user = await site.client(), await site.user()
    for _ in range(5):
        await site.sign_in(app, user)
    await site.sign_in(app)
    params: dict[str, Any] = {"user_id": user.id, "limit": 2}
    seen = []
    while True:
        page = (await site.http.get("/api/v1/grants", headers=administrator, params=params)).json()
        seen += page["items"]
        assert len(page["items"]) <= 2
        if page["next"] is None:
            break
        params["cursor"] = page["next"]
    assert len(seen) == len({grant["id"] for grant in seen}) == 5
    assert {grant["user_id"] for grant in seen} == {user.id}
    by_client = await site.http.get("/api/v1/grants", headers=administrator, params={"client_id": app.id})
    assert len(by_client.json()["items"]) == 6
    stolen = {"user_id": "other", "limit": 2, "cursor": params["cursor"]}
    forged = await site.http.get("/api/v1/grants", headers=administrator, params=stolen)
    assert forged.status_code == 400


async def test_a_revoked_grant_is_dead_and_gone(site: Site, administrator: dict[str, str]) -> None:
    app = await site.client()
    tokens = await site.sign_in(app)
    gid = (await site.claims(tokens["access_token"]))["gid"]
    path = f"/api/v1/grants/{gid}"
    assert (await site.http.get(path, headers=administrator)).json()["id"] == gid
    assert (await site.http.delete(path, headers=administrator)).status_code == 204
    assert not await site.is_active(app, tokens["access_token"])
    assert (await site.http.get(path, headers=administrator)).status_code == 404
    assert (await site.http.delete(path, headers=administrator)).status_code == 404
    assert (await site.events("grant.revoked"))[-1]["reason"] == "administrator"


async def test_grants_that_the_ledger_ended_are_not_listed(site: Site, administrator: dict[str, str]) -> None:
    app, user = await site.client(), await site.user()
    await site.sign_in(app, user)
    await site.revoke(Claim.SUB, user.id, by=Service.AUTHZ)
    page = await site.http.get("/api/v1/grants", headers=administrator, params={"user_id": user.id})
    assert page.json() == {"items": [], "next": None}


async def test_an_api_key_works_until_it_is_deleted_or_over(own_site: Site, own_administrator: dict[str, str]) -> None:
    body = {"name": "ci", "expires_at": (own_site.clock() + timedelta(hours=1)).isoformat()}
    made = await own_site.http.post("/api/v1/api-keys", json=body, headers=own_administrator)
    assert made.status_code == 201
    created = made.json()
    own_site.canary.add("API key", created["key"])
    assert created["scope"] == ["applications:sign-in", "watchword:admin"]
    assert made.headers["location"] == f"{ISSUER}/api/v1/api-keys/{created['id']}"
    own = {"Watchword-API-Key": created["key"]}
    assert (await own_site.http.get("/api/v1/keys", headers=own)).status_code == 200
    shown = await own_site.http.get(f"/api/v1/api-keys/{created['id']}", headers=own)
    unchanging = created.keys() - {"key", "last_used_at"}
    assert {name: shown.json()[name] for name in unchanging} == {name: created[name] for name in unchanging}
    assert "key" not in shown.json()
    async with own_site.database.postgres.admin(own_site.database.name) as connection:
        stored = await connection.fetchval("SELECT k::text FROM token.api_keys k WHERE id = $1", created["id"])
    assert created["key"].split(".")[1] not in stored
    other = (await own_site.http.post("/api/v1/api-keys", json=body, headers=own)).json()
    own_site.canary.add("API key", other["key"])
    path = f"/api/v1/api-keys/{created['id']}"
    assert (await own_site.http.delete(path, headers=own)).status_code == 204
    assert (await own_site.http.get("/api/v1/keys", headers=own)).status_code == 401
    assert (await own_site.http.get(path, headers=own_administrator)).status_code == 404
    assert [e["id"] for e in await own_site.events("api_key.revoked")] == [created["id"]]
    listed = (await own_site.http.get("/api/v1/api-keys", headers=own_administrator)).json()["items"]
    assert created["id"] not in {key["id"] for key in listed}
    own_site.clock.advance(timedelta(hours=2))
    late = {"Watchword-API-Key": other["key"]}
    assert (await own_site.http.get("/api/v1/keys", headers=late)).status_code == 401


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({}, id="no name"),
        pytest.param({"name": "x", "user_id": "somebody"}, id="for somebody else"),
        pytest.param({"name": "x", "scope": ["openid"]}, id="another scope"),
        pytest.param({"name": "x", "scope": []}, id="no scope"),
        pytest.param({"name": "x", "expires_at": "2001-01-01T00:00:00Z"}, id="over already"),
        pytest.param({"name": "x", "expires_at": "2099-01-01T00:00:00"}, id="time without zone"),
        pytest.param({"name": "x", "expires_at": "9999-12-31T23:59:59-14:00"}, id="time after all times"),
        pytest.param({"name": "x", "expires_at": "9999-12-31T23:59:59Z"}, id="time that nothing can be added to"),
    ],
)
async def test_api_keys_that_must_not_be_made(
    site: Site, administrator: dict[str, str], body: dict[str, object]
) -> None:
    assert (await site.http.post("/api/v1/api-keys", json=body, headers=administrator)).status_code == 400


async def test_a_client_has_no_personal_keys(site: Site) -> None:
    app = await site.client(scope=["watchword:admin"])
    headers = {"Authorization": f"Bearer {await site.machine_token(app)}"}
    assert (await site.http.post("/api/v1/api-keys", json={"name": "x"}, headers=headers)).status_code == 403


async def test_the_key_of_a_disabled_administrator_is_dead(site: Site) -> None:
    user = await site.user(roles=["administrator"])
    headers = {"Watchword-API-Key": await create_admin_key(site.db(Service.TOKEN), user_id=user.id, now=site.clock())}
    site.canary.add("API key", headers["Watchword-API-Key"])
    assert (await site.http.get("/api/v1/keys", headers=headers)).status_code == 200
    await site.revoke(Claim.SUB, user.id, by=Service.DIRECTORY)
    assert (await site.http.get("/api/v1/keys", headers=headers)).status_code == 401


@pytest.mark.parametrize("claim", ["jti", "gid", "sid", "sub", "client_id", "idp", "all"])
async def test_a_revocation_by_hand_ends_what_it_names(site: Site, claim: str) -> None:
    app, user = await site.client(), await site.user()
    lineage = {"sub": user.id, "sid": new_id(), "gid": new_id(), "client_id": app.id, "idp": "acme"}
    given = {name: lineage[name] for name in ("sid", "gid", "idp")}
    tokens = await site.sign_in(app, user, **given)
    other = await site.sign_in(await site.client(), await site.user(), idp="other")
    lineage["jti"] = (await site.claims(tokens["access_token"]))["jti"]
    owner = await site.client(scope=["watchword:admin", "introspect:any"])
    headers = {"Authorization": f"Bearer {await site.machine_token(owner)}"}
    body = {"claim": claim} | ({} if claim == "all" else {"value": lineage[claim]})
    answer = await site.http.post("/api/v1/revocations", json=body, headers=headers)
    assert answer.status_code == 201, answer.text
    assert (answer.json()["claim"], answer.json()["kind"]) == (claim, "cut")
    assert not await site.is_active(owner, tokens["access_token"])
    assert await site.is_active(owner, other["access_token"]) is (claim != "all")
    again = await site.sign_in(app, user, **{name: new_id() for name in ("sid", "gid")})
    assert await site.is_active(owner, again["access_token"])


async def test_issued_before_narrows_a_revocation(own_site: Site) -> None:
    app = await own_site.client()
    old = await own_site.machine_token(app)
    own_site.clock.advance(timedelta(seconds=100))
    middle = own_site.clock()
    own_site.clock.advance(timedelta(seconds=100))
    young = await own_site.machine_token(app)
    owner = await own_site.client(scope=["watchword:admin"])
    headers = {"Authorization": f"Bearer {await own_site.machine_token(owner)}"}
    body = {"claim": "client_id", "value": app.id, "issued_before": middle.isoformat()}
    made = await own_site.http.post("/api/v1/revocations", json=body, headers=headers)
    assert made.status_code == 201
    assert [await own_site.is_active(app, token) for token in (old, young)] == [False, True]
    found = await own_site.http.get(f"/api/v1/revocations/{made.json()['id']}", headers=headers)
    assert found.json()["position"] is not None


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param({"claim": "iss", "value": "x"}, 400, id="unknown claim"),
        pytest.param({"claim": "sub"}, 400, id="no value"),
        pytest.param({"claim": "all", "value": "x"}, 400, id="all with a value"),
        pytest.param({"claim": "sub", "value": ""}, 400, id="empty value"),
        pytest.param({"claim": "sub", "value": "a b"}, 400, id="a space"),
        pytest.param({"claim": "sub", "value": "x" * 300}, 400, id="too long"),
        pytest.param({"claim": "sub", "value": "x", "kind": "lift"}, 400, id="another kind"),
        pytest.param({"claim": "kid", "value": "x", "issued_before": "2026-01-01T00:00:00Z"}, 400, id="half a key"),
        pytest.param(
            {"claim": "sub", "value": "x", "issued_before": "0001-01-01T00:00:00+14:00"}, 400, id="before all times"
        ),
        pytest.param({"claim": "kid", "value": "nothing"}, 404, id="unknown key"),
    ],
)
async def test_revocations_that_make_no_sense(
    site: Site, administrator: dict[str, str], body: dict[str, object], status: int
) -> None:
    answer = await site.http.post("/api/v1/revocations", json=body, headers=administrator)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


async def test_revocations_are_listed_newest_first(site: Site, administrator: dict[str, str]) -> None:
    for _ in range(3):
        body = {"claim": "sub", "value": new_id()}
        assert (await site.http.post("/api/v1/revocations", json=body, headers=administrator)).status_code == 201
    first = (await site.http.get("/api/v1/revocations", headers=administrator, params={"limit": 2})).json()
    rest = (
        await site.http.get(
            "/api/v1/revocations", headers=administrator, params={"limit": 200, "cursor": first["next"]}
        )
    ).json()
    ids = [entry["id"] for entry in first["items"] + rest["items"]]
    assert ids == sorted(ids, reverse=True)
    assert (await site.http.get("/api/v1/revocations/999999", headers=administrator)).status_code == 404
    assert (await site.http.get("/api/v1/revocations/x", headers=administrator)).status_code == 400
