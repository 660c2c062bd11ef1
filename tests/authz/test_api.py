"""authz's part of `/api/v1`: sessions, consents, credentials, for administrators alone."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from joserfc import jwt
from tests.authz.conftest import ISSUER, PASSWORD, Rig, Visit, running

from watchword_authz import break_glass
from watchword_authz.settings import AuthzSettings
from watchword_database.engine import transaction
from watchword_events.exports import UserExport
from watchword_testkit.canary import Canary
from watchword_testkit.clock import TestClock
from watchword_testkit.databases import Template
from watchword_testkit.servers import Postgres

SCOPE = "watchword:admin"


def token(rig: Rig, user: UserExport | None = None, typ: str = "at+jwt", **changes: Any) -> str:
    """An access token of an administrator, as `token` signs it."""
    now_s = int(rig.clock().timestamp())
    user = user or rig.user(roles=["administrator"])
    claims = {
        "iss": ISSUER, "aud": ISSUER, "sub": user.id, "client_id": "console", "jti": "j", "scope": SCOPE,
        "iat": now_s, "exp": now_s + 60, "rev": rig.feed.position, **changes,
    }  # fmt: skip
    return jwt.encode({"alg": "ES256", "kid": "k1", "typ": typ}, claims, rig.owners.key)


async def call(rig: Rig, method: str, path: str, bearer: str | None = "", **params: Any) -> httpx2.Response:
    """The answer to an administrator, or to whoever holds `bearer` (None: nobody)."""
    headers = {} if bearer is None else {"Authorization": f"Bearer {bearer or token(rig)}"}
    return await rig.browser().client.request(method, f"{ISSUER}/api/v1{path}", params=params, headers=headers)


async def signed_in(rig: Rig, user: UserExport, **client: Any) -> tuple[Visit, str, str]:
    """A sign-in of the user: the visit, sid and gid."""
    visit = Visit(rig, rig.browser(), rig.client(**client))
    await visit.start()
    await visit.enter(user.username)
    if visit.browser.page.has("allow"):
        await visit.browser.submit("decision", "allow")
    code = await visit.code()
    return visit, code.sid, code.gid


async def is_signed_in(rig: Rig, visit: Visit) -> bool:
    """Whether the browser still gets codes silently."""
    silent = Visit(rig, visit.browser, rig.client(), {"prompt": "none"})
    await silent.start()
    return "code" in silent.answer


ROUTES = [
    ("GET", "/sessions"),
    ("DELETE", "/sessions?user_id=u"),
    ("DELETE", "/sessions/x"),
    ("GET", "/consents"),
    ("DELETE", "/consents/x"),
    ("GET", "/credentials/x"),
    ("DELETE", "/credentials/x/lock"),
    ("DELETE", "/credentials/x/factors"),
    ("GET", "/factor-requirements"),
    ("POST", "/factor-requirements"),
    ("DELETE", "/factor-requirements/x"),
    ("POST", "/invitations"),
    ("GET", "/mail"),
    ("POST", "/mail/test"),
    ("GET", "/decisions"),
    ("GET", "/decisions/x"),
    ("POST", "/decisions/dry-run"),
    ("POST", "/decisions/trial"),
    ("GET", "/settings"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize(
    ("who", "status"),
    [
        ("nobody", 401), ("garbage", 401), ("id token", 401), ("expired", 401), ("other audience", 401),
        ("plain person", 403), ("plain scope", 403),
    ],
)  # fmt: skip
async def test_only_administrators_may(rig: Rig, method: str, path: str, who: str, status: int) -> None:
    bearer: str | None
    match who:
        case "nobody":
            bearer = None
        case "garbage":
            bearer = "nothing"
        case "id token":
            bearer = token(rig, typ="JWT")
        case "expired":
            bearer = token(rig, exp=int(rig.clock().timestamp()) - 1)
        case "other audience":
            bearer = token(rig, aud="https://other.example")
        case "plain person":
            bearer = token(rig, rig.user())
        case _:
            bearer = token(rig, scope="openid")
    answer = await call(rig, method, path, bearer)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    if status == 401:
        assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_every_route_is_among_those_tested(rig: Rig) -> None:
    document = (await rig.browser().client.get(f"{ISSUER}/openapi.json")).json()
    found = {
        (method.upper(), path)
        for path, methods in document["paths"].items()
        if path.startswith("/api/v1") and not path.startswith("/api/v1/me")  # everybody's own: flows/test_me.py
        for method in methods
    }
    tested = {(method, "/api/v1" + path.partition("?")[0].replace("/x", "/{}")) for method, path in ROUTES}
    assert {(method, re.sub(r"{\w+}", "{}", path)) for method, path in found} == tested


async def test_settings_say_how_sign_ins_are_treated_and_nothing_secret(rig: Rig) -> None:
    answer = await call(rig, "GET", "/settings")
    assert answer.status_code == 200
    found = {item["name"]: item for item in answer.json()["items"]}
    length, usual = found["WATCHWORD_PASSWORD_MIN_LENGTH"], AuthzSettings.model_fields["password_min_length"].default
    assert (length["value"], length["is_default"]) == (usual, True)
    assert found["WATCHWORD_LOCAL_PASSWORDS"]["value"] is True
    assert all(item["meaning"] for item in found.values())
    secret = {name for name, field in AuthzSettings.model_fields.items() if "Secret" in str(field.annotation)}
    assert "smtp_password" in secret
    kept = secret | {"smtp_host", "smtp_username", "breached_passwords_url", "public_url"}
    assert not {f"WATCHWORD_{name.upper()}" for name in kept} & found.keys()


async def test_sessions_of_a_user_are_listed(rig: Rig) -> None:
    user = await rig.person()
    sids = [(await signed_in(rig, user))[1] for _ in range(3)]
    first = (await call(rig, "GET", "/sessions", user_id=user.id, limit=2)).json()
    assert [item["id"] for item in first["items"]] == sids[:2]
    item = first["items"][0]
    assert (item["user_id"], item["provider_id"], item["amr"]) == (user.id, None, ["pwd"])
    assert item["address"] == rig.address
    assert not {"secret_hash", "rev"} & item.keys()
    second = (await call(rig, "GET", "/sessions", user_id=user.id, limit=2, cursor=first["next"])).json()
    assert ([item["id"] for item in second["items"]], second["next"]) == (sids[2:], None)


@pytest.mark.parametrize("cursor", ["x", "AAAA", "A" * 128, "'"])
async def test_forged_cursor_is_refused(rig: Rig, cursor: str) -> None:
    assert (await call(rig, "GET", "/sessions", cursor=cursor)).status_code == 400


@pytest.mark.parametrize("limit", ["0", "-1", "201", "x"])
async def test_limit_is_bounded(rig: Rig, limit: str) -> None:
    assert (await call(rig, "GET", "/sessions", limit=limit)).status_code == 400


async def test_ended_session_is_dead_at_once(rig: Rig) -> None:
    """authentik CVE-2025-29928: deleting a session hit the wrong store."""
    user = await rig.person()
    visit, sid, _ = await signed_in(rig, user)
    assert await is_signed_in(rig, visit)
    assert (await call(rig, "DELETE", f"/sessions/{sid}")).status_code == 204
    assert not await is_signed_in(rig, visit)
    row = await rig.session(sid)
    assert row is not None
    assert row.end_reason == "administrator"
    assert not rig.feed.is_live({"rev": row.rev, "sid": sid})
    assert (await call(rig, "DELETE", f"/sessions/{sid}")).status_code == 404


async def test_all_sessions_of_a_user_end(rig: Rig) -> None:
    user, other = await rig.person(), await rig.person()
    visits = [(await signed_in(rig, user))[0] for _ in range(2)]
    bystander, _, _ = await signed_in(rig, other)
    assert (await call(rig, "DELETE", "/sessions", user_id=user.id)).json() == {"ended": 2}
    assert [await is_signed_in(rig, visit) for visit in visits] == [False, False]
    assert await is_signed_in(rig, bystander)
    assert (await call(rig, "DELETE", "/sessions")).status_code == 400


async def test_withdrawn_consent_ends_its_grants_and_is_asked_for_again(rig: Rig) -> None:
    user = await rig.person()
    visit, _, gid = await signed_in(rig, user, require_consent=True)
    _, _, other_gid = await signed_in(rig, user, require_consent=True)
    listed = (await call(rig, "GET", "/consents", user_id=user.id)).json()["items"]
    mine = next(item for item in listed if item["client_id"] == visit.client.client_id)
    assert (mine["scope"], mine["scope_at"]) == (["openid", "profile"], {})
    rev = rig.feed.position
    assert (await call(rig, "DELETE", f"/consents/{mine['id']}")).status_code == 204
    assert not rig.feed.is_live({"rev": rev, "gid": gid})
    assert rig.feed.is_live({"rev": rev, "gid": other_gid})
    again = Visit(rig, visit.browser, visit.client)
    await again.start()
    assert again.browser.page.has("allow")
    assert (await call(rig, "DELETE", f"/consents/{mine['id']}")).status_code == 404
    left = (await call(rig, "GET", "/consents", user_id=user.id)).json()["items"]
    assert mine["id"] not in {item["id"] for item in left}


async def test_state_of_a_password_is_told_without_it(rig: Rig) -> None:
    user = await rig.person()
    await signed_in(rig, user)
    state = (await call(rig, "GET", f"/credentials/{user.id}")).json()
    assert state["has_password"] is True
    assert state["locked_until"] is None
    told = {"user_id", "has_password", "password_changed_at", "locked_until"}
    assert set(state) == told | {"authenticator_since", "recovery_codes_left", "passkeys"}
    nobody = (await call(rig, "GET", "/credentials/nobody")).json()
    assert nobody["has_password"] is False


async def test_sessions_end_by_themselves_in_lists(own_rig: Rig) -> None:
    user = await own_rig.person()
    await signed_in(own_rig, user)
    own_rig.clock.advance(timedelta(days=8))
    assert (await call(own_rig, "GET", "/sessions", user_id=user.id)).json()["items"] == []


@pytest.mark.parametrize("switch", ["local_passwords", "invitations"])
async def test_nobody_is_invited_where_that_is_switched_off(
    postgres: Postgres, database_template: Template, tmp_path: Path, clock: TestClock, canary: Canary, switch: str
) -> None:
    """And without passwords none is asked for, taken or chosen anew, whatever somebody sends."""
    settings = {switch: "false"}
    async with running(postgres, database_template, tmp_path, clock, canary, **settings) as rig:
        user = await rig.person()
        answer = await rig.browser().client.post(
            f"{ISSUER}/api/v1/invitations",
            json={"user_id": user.id},
            headers={"Authorization": f"Bearer {token(rig)}"},
        )
        assert (answer.status_code, answer.json()["title"]) == (403, "Invitations are switched off")
        visit = Visit(rig, rig.browser(), rig.client())
        await visit.start()
        page = visit.browser.page
        assert page.has("username") == (switch == "invitations")
        if switch == "invitations":
            return
        flow, csrf = visit.flow_id, next(form.fields["csrf"] for form in page.forms if "csrf" in form.fields)
        typed = {"csrf": csrf, "username": user.username, "password": PASSWORD}
        sent = await visit.browser.send("POST", f"/login?flow={flow}", typed, {"Origin": ISSUER})
        assert not sent.location.startswith("https://"), "nobody is signed in"
        assert (await call(rig, "GET", "/sessions", user_id=user.id)).json()["items"] == []
        for method in ("GET", "POST"):
            sent = await visit.browser.send(method, f"/login/forgotten?flow={flow}", {"username": user.username})
            assert sent.location == f"{ISSUER}/login"
        async with transaction(rig.db()) as session:
            ticket = await break_glass.way_in(session, user.id, rev=rig.feed.position, now=rig.clock())
        sent = await visit.browser.send("GET", f"/login/reset?ticket={ticket}")
        assert sent.status >= 400
        chosen = {"ticket": ticket, "new_password": "a new one that is long", "repeated": "a new one that is long"}
        sent = await visit.browser.send("POST", "/login/reset", chosen, {"Origin": ISSUER})
        assert sent.status >= 400
