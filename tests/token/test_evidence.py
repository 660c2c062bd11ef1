"""Signed evidence of what was ended, and counts of what would be."""

import json
from datetime import timedelta
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import KeySet
from tests.token.conftest import ISSUER, Site

from watchword_database.ids import new_id
from watchword_events.names import Service
from watchword_events.revocations import Claim, RevocationKind

Headers = dict[str, str]


async def evidence(site: Site, path: str, headers: Headers) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and content of a document, checked by somebody else's library with the published keys."""
    answer = await site.http.get(path, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/watchword-evidence+jwt"
    keys = KeySet.import_key_set((await site.http.get("/oauth2/jwks")).json())
    found = jws.deserialize_compact(answer.content, keys, algorithms=["ES256"])
    return dict(found.protected), json.loads(found.payload)


@pytest.mark.spec("RFC 7515 3.1")
async def test_evidence_of_a_revocation_names_who_had_applied_it(site: Site, administrator: Headers) -> None:
    user = new_id()
    answer = await site.http.post(
        "/api/v1/revocations?wait=all", headers=administrator, json={"claim": "sub", "value": user}
    )
    assert answer.status_code == 201
    entry = answer.json()
    header, said = await evidence(site, f"/api/v1/revocations/{entry['id']}/evidence", administrator)
    assert header["typ"] == "watchword-evidence+jwt"
    assert (said["iss"], said["complete"]) == (ISSUER, True)
    (proved,) = said["revocations"]
    assert (proved["id"], proved["position"], proved["claim"], proved["value"]) == (
        entry["id"],
        entry["position"],
        "sub",
        user,
    )
    (applied,) = proved["applied"]
    assert applied["kind"] == "service"
    assert applied["at"] >= proved["at"]


async def test_receipts_stay_what_they_were_when_followers_move_on(site: Site, administrator: Headers) -> None:
    posted = [
        await site.http.post(
            "/api/v1/revocations?wait=all", headers=administrator, json={"claim": "sub", "value": new_id()}
        )
        for _ in range(3)
    ]
    path = f"/api/v1/revocations/{posted[0].json()['id']}"
    first = (await site.http.get(path, headers=administrator)).json()["applied"]
    await site.http.post("/api/v1/revocations?wait=all", headers=administrator, json={"claim": "sub", "value": "x"})
    assert (await site.http.get(path, headers=administrator)).json()["applied"] == first


async def test_evidence_about_a_person_holds_all_that_ended_for_them(site: Site, administrator: Headers) -> None:
    user, app = await site.user(), await site.client()
    claims = [await site.claims((await site.sign_in(app, user))["access_token"]) for _ in range(2)]
    other = await site.claims((await site.sign_in(app))["access_token"])
    for gid in (claims[0]["gid"], other["gid"]):
        answer = await site.http.delete(f"/api/v1/grants/{gid}?wait=all", headers=administrator)
        assert answer.status_code == 204, answer.text
    await site.revoke(Claim.SID, claims[1]["sid"], by=Service.AUTHZ)
    await site.revoke(Claim.SUB, user.id, by=Service.DIRECTORY)
    _header, said = await evidence(site, f"/api/v1/revocations/evidence?sub={user.id}", administrator)
    assert (said["user_id"], said["ended"]) == (user.id, False)  # signed out everywhere: may sign in again
    assert [(each["claim"], each["value"]) for each in said["revocations"]] == [
        ("gid", claims[0]["gid"]),
        ("sid", claims[1]["sid"]),
        ("sub", user.id),
    ]
    assert "truncated" not in said
    await site.revoke(Claim.SUB, user.id, kind=RevocationKind.STATE, by=Service.DIRECTORY)
    _header, said = await evidence(site, f"/api/v1/revocations/evidence?sub={user.id}", administrator)
    assert said["ended"]


async def test_evidence_is_for_administrators(site: Site, administrator: Headers) -> None:
    app = await site.client(scope=["revocations:read"])
    reader = {"Authorization": f"Bearer {await site.machine_token(app)}"}
    for path in ("/api/v1/revocations/1/evidence", "/api/v1/revocations/evidence?sub=x", "/api/v1/verifiers"):
        assert (await site.http.get(path)).status_code == 401
        assert (await site.http.get(path, headers=reader)).status_code == 403
    assert (await site.http.get("/api/v1/revocations/999999/evidence", headers=administrator)).status_code == 404
    assert (await site.http.get("/api/v1/revocations/evidence", headers=administrator)).status_code == 400


async def test_evidence_is_no_token(site: Site, administrator: Headers) -> None:
    answer = await site.http.get("/api/v1/revocations/evidence?sub=nobody", headers=administrator)
    _header, said = await evidence(site, "/api/v1/revocations/evidence?sub=nobody", administrator)
    assert (said["complete"], said["ended"], said["revocations"]) == (False, False, [])
    assert (await site.userinfo(answer.text)).status_code == 401
    assert (
        await site.http.get("/api/v1/grants", headers={"Authorization": f"Bearer {answer.text}"})
    ).status_code == 401


# What would end ------------------------------------------------------------------------------------------------------


async def preview(site: Site, administrator: Headers, **body: Any) -> dict[str, Any]:
    answer = await site.http.post("/api/v1/revocations?dry_run=true", headers=administrator, json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_preview_counts_what_would_end_and_ends_nothing(site: Site, administrator: Headers) -> None:
    ada, bob = await site.user(), await site.user()
    web, desk = await site.client(), await site.client()
    sid = new_id()
    for app, user, given in ((web, ada, {"sid": sid}), (desk, ada, {"sid": sid}), (web, bob, {})):
        tokens = await site.sign_in(app, user, **given)
    counted = await preview(site, administrator, claim="sub", value=ada.id)
    assert (counted["grants"], counted["clients"], counted["users"]) == (2, 2, 1)
    assert counted["by_user"] == [{"id": ada.id, "grants": 2, "sessions": 0}]
    assert {each["id"]: each["grants"] for each in counted["by_client"]} == {web.id: 1, desk.id: 1}
    assert counted["is_complete"]
    counted = await preview(site, administrator, claim="client_id", value=web.id)
    assert (counted["grants"], counted["users"]) == (2, 2)
    assert (await preview(site, administrator, claim="jti", value="x"))["grants"] == 0
    assert (await preview(site, administrator, claim="all"))["grants"] >= 3
    assert await site.is_active(web, tokens["access_token"])
    assert (await site.http.get(f"/api/v1/grants?user_id={ada.id}", headers=administrator)).json()["items"]
    await site.revoke(Claim.CLIENT_ID, web.id, by=Service.ADMIN)
    assert (await preview(site, administrator, claim="sub", value=ada.id))["grants"] == 1


async def test_a_time_window_ends_what_is_older_and_nothing_else(site: Site, administrator: Headers) -> None:
    app, user, other = await site.client(), await site.user(), await site.user()
    now = site.clock()
    old = await site.sign_in(app, user, auth_time=now - timedelta(hours=2))
    new = await site.sign_in(app, other, auth_time=now - timedelta(minutes=5))
    window = {"claim": "client_id", "value": app.id, "issued_before": (now - timedelta(hours=1)).isoformat()}
    counted = await preview(site, administrator, **window)
    assert counted["by_user"] == [{"id": user.id, "grants": 1, "sessions": 0}]
    answer = await site.http.post("/api/v1/revocations?wait=all", headers=administrator, json=window)
    assert answer.status_code == 201, answer.text
    refreshed = [
        await site.token(app, grant_type="refresh_token", refresh_token=tokens["refresh_token"])
        for tokens in (old, new)
    ]
    assert [each.status_code for each in refreshed] == [400, 200]
    listed = (await site.http.get(f"/api/v1/grants?client_id={app.id}", headers=administrator)).json()["items"]
    assert [each["user_id"] for each in listed] == [other.id]
