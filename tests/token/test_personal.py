"""Scripts that act for a person: an API key, a signed assertion or a token in place of a client's secret."""

import asyncio
import base64
import json
from collections import Counter
from typing import Any

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey
from tests.token.conftest import ISSUER, App, Site

from watchword_database.ids import new_id
from watchword_events.exports import UserExport
from watchword_events.revocations import Claim, RevocationKind
from watchword_token.routes.my_keys import MOST

SELF = ["watchword:me:read", "watchword:me:write"]
SCRIPTS: dict[str, Any] = {
    "grant_types": ["authorization_code", "client_credentials"],
    "scope": ["openid", "profile", "email", "read", "offline_access", "watchword:admin"],
    "personal_credentials": True,
    "access_token_lifetime_s": 300,
}


async def bearer(site: Site, user: UserExport, *permissions: str, **client: Any) -> dict[str, str]:
    """Somebody's token of a client that may act for them here."""
    app = await site.client(permission_scope=permissions or SELF, **client)
    return {"Authorization": f"Bearer {(await site.sign_in(app, user))['access_token']}"}


async def key_of(site: Site, user: UserExport, **body: Any) -> dict[str, Any]:
    """A new API key of somebody's own."""
    answer = await site.http.post(
        "/api/v1/me/api-keys", headers=await bearer(site, user), json={"name": "a script", **body}
    )
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    if found["key"]:
        site.canary.add("API key", found["key"].partition(".")[2])
    return found


async def ask(site: Site, app: App, credential: dict[str, str], **form: str) -> httpx2.Response:
    """A script's request: the client's id, no secret of it, and what proves the person."""
    answer = await site.http.post(
        "/oauth2/token",
        data={"grant_type": "client_credentials", "client_id": app.id, **form},
        headers=credential,
    )
    if answer.status_code == 200:
        site.canary.add("token", answer.json()["access_token"])
    return answer


async def test_an_api_key_becomes_a_token_of_the_person_for_the_client(site: Site) -> None:
    user = await site.user(email="ada@example.test", permissions=["tickets:use", "tickets:edit"])
    app = await site.client(
        **SCRIPTS, required_permission="tickets:use", permission_scope=["tickets:use", "tickets:view"]
    )
    key = await key_of(site, user)
    for header in ("Watchword-API-Key", "Argus-API-Key"):
        answer = await ask(site, app, {header: key["key"]})
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert set(body) == {"access_token", "token_type", "expires_in", "scope"}
        assert (body["expires_in"], body["scope"]) == (300, "openid profile email read")
        claims = await site.claims(body["access_token"])
        assert (claims["sub"], claims["aud"], claims["gid"]) == (user.id, [app.id, ISSUER], key["id"])
        assert claims["permissions"] == ["tickets:use"], "never more than the client, never more than the person"
    # The application verifies here what a script sends it.
    assert (await site.userinfo(body["access_token"])).json()["email"] == "ada@example.test"
    told = await site.introspect(app, body["access_token"])
    assert (told["active"], told["sub"], told["client_id"]) == (True, user.id, app.id)
    narrow = await ask(site, app, {"Watchword-API-Key": key["key"]}, scope="read")
    assert (await site.claims(narrow.json()["access_token"]))["aud"] == app.id
    revoked = await site.http.delete(f"/api/v1/me/api-keys/{key['id']}", headers=await bearer(site, user))
    assert revoked.status_code == 204
    assert (await site.introspect(app, body["access_token"])) == {"active": False}
    assert (await ask(site, app, {"Watchword-API-Key": key["key"]})).json()["error"] == "invalid_grant"
    (event,) = [each for each in await site.events("api_key.revoked") if each["id"] == key["id"]]
    assert event["user_id"] == user.id


@pytest.mark.spec("RFC 7521 4.1; RFC 7523 3; RFC 7517 4; RFC 8725 3.2")
async def test_an_assertion_signed_with_a_registered_key_is_good_once(site: Site) -> None:
    user, app = await site.user(), await site.client(**SCRIPTS)
    own = ECKey.generate_key("P-256")
    key = await key_of(site, user, public_jwk=own.as_dict(private=False))
    assert key["key"] is None
    assert "d" not in key["public_jwk"]

    def signed(by: ECKey = own, **changes: Any) -> str:
        now = int(site.clock().timestamp())
        claims = {"iss": key["id"], "sub": key["id"], "aud": ISSUER, "exp": now + 60, "jti": new_id(), **changes}
        return jwt.encode({"alg": "ES256"}, {k: v for k, v in claims.items() if v is not None}, by)

    good = signed()
    answer = await ask(site, app, {}, assertion=good)
    assert answer.status_code == 200, answer.text
    assert (await site.claims(answer.json()["access_token"]))["sub"] == user.id
    for bad in (
        good,
        signed(ECKey.generate_key("P-256")),
        signed(aud="https://other.example"),
        signed(exp=int(site.clock().timestamp()) + 3600),
        signed(jti=None),
        signed(iss="ww_other"),
        "not.a.jwt",
    ):
        refused = await ask(site, app, {}, assertion=bad)
        assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
    # Nobody knows a secret of it, so none fits.
    for nothing in ("", "x"):
        refused = await ask(site, app, {"Watchword-API-Key": f"{key['id']}.{nothing}"})
        assert refused.json()["error"] == "invalid_grant"


async def test_a_token_of_the_person_counts_when_it_says_so(site: Site) -> None:
    user, app = await site.user(), await site.client(**SCRIPTS)
    portal = await site.client(scope=["openid", "applications:sign-in"])
    scope = ("openid", "applications:sign-in")
    session = await site.sign_in(portal, user, scope=scope, sid="of-the-portal")
    answer = await ask(site, app, {"Authorization": f"Bearer {session['access_token']}"})
    assert answer.status_code == 200, answer.text
    token = answer.json()["access_token"]
    claims = await site.claims(token)
    assert (claims["sub"], claims["client_id"], claims["sid"]) == (user.id, app.id, "of-the-portal")
    assert answer.json()["expires_in"] <= session["expires_in"]
    # A token for one application leads to no other.
    other = await site.sign_in(await site.client(), user)
    again = await ask(site, app, {"Authorization": f"Bearer {token}"})
    machine = await site.machine_token(await site.client())
    for presented in (other["access_token"], other["id_token"], token, machine, "x", ""):
        refused = await ask(site, app, {"Authorization": f"Bearer {presented}"})
        assert refused.json()["error"] in {"invalid_grant", "invalid_client"}, presented
    assert again.json()["error"] == "invalid_grant"
    await site.revoke(Claim.SID, "of-the-portal")
    assert not await site.is_active(app, token)
    assert (await ask(site, app, {"Authorization": f"Bearer {session['access_token']}"})).status_code == 400


@pytest.mark.spec("RFC 9068 3, 4; RFC 9700 2.3")
async def test_a_token_that_was_meant_for_others_leads_nowhere(site: Site) -> None:
    """Whoever a token is sent to could show it here as well: it counts where nobody else was meant to get it."""
    user, app, other = await site.user(), await site.client(**SCRIPTS), await site.client()
    api = "https://api.example.test"

    async def shown(*audience: str, scope: str = "applications:sign-in", **asked: Any) -> str:
        portal = await site.client(scope=["openid", "applications:sign-in", "read"], audience=list(audience))
        return str((await site.sign_in(portal, user, scope=tuple(scope.split()), **asked))["access_token"])

    def issued_for(token: str) -> Any:
        payload = token.split(".")[1]
        return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["aud"]

    good = {
        "the installation, named by the scope": await shown(),
        "the installation, named by openid, too": await shown(scope="openid applications:sign-in"),
        "the installation, asked for by name": await shown(api, ISSUER, resource=(ISSUER,)),
        "the installation and the client": await shown(app.id, ISSUER),
        "the client alone": await shown(app.id, ISSUER, resource=(app.id,)),
    }
    foreign = {
        "a resource server, by the client's list": await shown(api),
        "a resource server and the installation": await shown(api, scope="openid applications:sign-in"),
        "a resource server, asked for by name": await shown(api, ISSUER, resource=(api,)),
        "both, asked for by name": await shown(api, ISSUER, resource=(api, ISSUER)),
        "another client": await shown(other.id),
        "another client and this one": await shown(other.id, app.id),
        "what only looks like the installation": await shown(f"{ISSUER}/"),
    }
    seen = {}
    for name, token in {**good, **foreign}.items():
        answer = await ask(site, app, {"Authorization": f"Bearer {token}"})
        seen[name] = (answer.status_code, answer.json().get("error"), issued_for(token))
    assert {name: said[:2] for name, said in seen.items()} == {
        **dict.fromkeys(good, (200, None)),
        **dict.fromkeys(foreign, (400, "invalid_grant")),
    }, seen


@pytest.mark.row(62)
async def test_who_may_not_use_the_client_gets_nothing(site: Site) -> None:
    allowed = await site.user(permissions=["tickets:use"])
    inside = await site.user(organizations=[{"organization": "acme", "permissions": ["tickets:use"]}])
    stranger = await site.user(organizations=[{"organization": "else", "permissions": ["tickets:use"]}])
    app = await site.client(**SCRIPTS, required_permission="tickets:use", organization="acme")
    statuses = []
    for user in (allowed, inside, stranger, await site.user()):
        answer = await ask(site, app, {"Watchword-API-Key": (await key_of(site, user))["key"]})
        statuses.append((answer.status_code, answer.json().get("error")))
    assert statuses == [(200, None), (200, None), (400, "invalid_grant"), (400, "invalid_grant")]


async def test_access_rules_decide_about_scripts(site: Site) -> None:
    app = await site.client(**SCRIPTS)
    await site.rule(app, "'ops' in groups", service_account="acme/admin", roles=["ops"])
    member, other = await site.user(groups=["ops"]), await site.user()
    let_in = await ask(site, app, {"Watchword-API-Key": (await key_of(site, member))["key"]})
    claims = await site.claims(let_in.json()["access_token"])
    assert (claims["service_account"], claims["roles"]) == ("acme/admin", ["ops"])
    refused = await ask(site, app, {"Watchword-API-Key": (await key_of(site, other))["key"]})
    assert refused.json()["error"] == "invalid_grant"
    assert "decision" in refused.json()["error_description"]


@pytest.mark.spec("RFC 6749 2.3, 5.2")
async def test_scripts_that_must_be_refused(site: Site) -> None:
    user = await site.user()
    key = (await key_of(site, user))["key"]
    api_key = {"Watchword-API-Key": key}
    app = await site.client(**SCRIPTS)
    closed = await site.client(**{**SCRIPTS, "personal_credentials": False})
    no_grant = await site.client(**{**SCRIPTS, "grant_types": ["authorization_code"]})
    disabled = await site.client(**SCRIPTS, enabled=False)
    ended = await key_of(site, user, expires_at="2999-01-01T00:00:00Z")
    await site.http.delete(f"/api/v1/me/api-keys/{ended['id']}", headers=await bearer(site, user))
    cases = {
        "not enabled for the client": (closed, api_key, {}, 400, "unauthorized_client"),
        "grant type not registered": (no_grant, api_key, {}, 400, "unauthorized_client"),
        "client disabled": (disabled, api_key, {}, 401, "invalid_client"),
        "scope not the client's": (app, api_key, {"scope": "write"}, 400, "invalid_scope"),
        "scope that stays": (app, api_key, {"scope": "openid offline_access"}, 400, "invalid_scope"),
        "scope that administers": (app, api_key, {"scope": "watchword:admin"}, 400, "invalid_scope"),
        "resource not the client's": (app, api_key, {"resource": "https://x.test"}, 400, "invalid_target"),
        "key without a secret": (app, {"Watchword-API-Key": key.partition(".")[0]}, {}, 400, "invalid_grant"),
        "another secret": (app, {"Watchword-API-Key": f"{key}x"}, {}, 400, "invalid_grant"),
        "no key at all": (app, {"Watchword-API-Key": "x"}, {}, 400, "invalid_grant"),
        "control characters": (app, {"Watchword-API-Key": "a\x7fb.c"}, {}, 400, "invalid_grant"),
        "revoked key": (app, {"Watchword-API-Key": ended["key"]}, {}, 400, "invalid_grant"),
        "two keys": (app, api_key | {"Argus-API-Key": key}, {}, 400, "invalid_request"),
        "key and token": (app, api_key | {"Authorization": "Bearer x"}, {}, 400, "invalid_request"),
        "key and secret": (app, api_key, {"client_secret": app.secret}, 400, "invalid_request"),
        "key and assertion": (app, api_key, {"assertion": "a.b.c"}, 400, "invalid_request"),
        "nothing": (app, {}, {}, 401, "invalid_client"),
    }
    seen = {}
    for name, (client, credential, form, *_expected) in cases.items():
        answer = await ask(site, client, credential, **form)
        seen[name] = (answer.status_code, answer.json()["error"])
    assert seen == {name: (status, error) for name, (*_, status, error) in cases.items()}
    nameless = await site.http.post("/oauth2/token", data={"grant_type": "client_credentials"}, headers=api_key)
    assert nameless.json()["error"] == "invalid_client"


async def test_a_client_without_a_secret_takes_scripts_and_never_acts_for_itself(site: Site) -> None:
    app = await site.client(**SCRIPTS, token_endpoint_auth_method="none")
    key = await key_of(site, await site.user())
    assert (await ask(site, app, {"Watchword-API-Key": key["key"]})).status_code == 200
    assert (await ask(site, app, {})).json()["error"] == "unauthorized_client"


@pytest.mark.row(46)
async def test_a_person_who_is_disabled_or_signed_out_everywhere_has_no_scripts(site: Site) -> None:
    app = await site.client(**SCRIPTS)
    for kind in (RevocationKind.CUT, RevocationKind.STATE):
        user = await site.user()
        key = await key_of(site, user)
        token = (await ask(site, app, {"Watchword-API-Key": key["key"]})).json()["access_token"]
        await site.revoke(Claim.SUB, user.id, kind=kind)
        assert not await site.is_active(app, token)
        assert (await ask(site, app, {"Watchword-API-Key": key["key"]})).json()["error"] == "invalid_grant"


async def test_after_a_cut_of_the_client_older_keys_go_on(site: Site) -> None:
    app = await site.client(**SCRIPTS)
    key = await key_of(site, await site.user())
    old = (await ask(site, app, {"Watchword-API-Key": key["key"]})).json()["access_token"]
    await site.revoke(Claim.CLIENT_ID, app.id)
    new = (await ask(site, app, {"Watchword-API-Key": key["key"]})).json()["access_token"]
    assert [await site.is_active(app, token) for token in (old, new)] == [False, True]


async def test_a_key_says_when_a_script_last_used_it(site: Site) -> None:
    user, app = await site.user(), await site.client(**SCRIPTS)
    used, _unused = await key_of(site, user), await key_of(site, user)
    own = ECKey.generate_key("P-256")
    signed = await key_of(site, user, public_jwk=own.as_dict(private=False))
    headers = await bearer(site, user)
    soon = int(site.clock().timestamp()) + 60
    claims = {"iss": signed["id"], "sub": signed["id"], "aud": ISSUER, "exp": soon, "jti": new_id()}
    assert (await ask(site, app, {"Watchword-API-Key": used["key"]})).status_code == 200
    assert (await ask(site, app, {}, assertion=jwt.encode({"alg": "ES256"}, claims, own))).status_code == 200
    for _ in range(100):  # uses are written behind
        found = (await site.http.get("/api/v1/me/api-keys", headers=headers)).json()["items"]
        if [each["last_used_at"] is None for each in found] == [False, True, False]:
            break
        await asyncio.sleep(0.03)
    else:
        raise AssertionError(found)


# /api/v1/me/api-keys -------------------------------------------------------------------------------------------------


@pytest.mark.row(59)
async def test_everybody_sees_and_revokes_their_own_keys_only(site: Site) -> None:
    ada, bob = await site.user(), await site.user()
    own = [(await key_of(site, ada, name=f"script {n}"))["id"] for n in range(3)]
    foreign = (await key_of(site, bob))["id"]
    headers = await bearer(site, ada)
    first = (await site.http.get("/api/v1/me/api-keys", headers=headers, params={"limit": 2})).json()
    last = await site.http.get("/api/v1/me/api-keys", headers=headers, params={"limit": 2, "cursor": first["next"]})
    assert [each["id"] for each in first["items"] + last.json()["items"]] == own
    assert last.json()["next"] is None
    assert not any("key" in each or "secret" in json.dumps(each) for each in first["items"])
    stolen = await site.http.get(
        "/api/v1/me/api-keys", headers=await bearer(site, bob), params={"limit": 2, "cursor": first["next"]}
    )
    assert stolen.status_code == 400
    assert (await site.http.delete(f"/api/v1/me/api-keys/{foreign}", headers=headers)).status_code == 404
    assert (await site.http.delete(f"/api/v1/me/api-keys/{own[0]}", headers=headers)).status_code == 204
    assert (await site.http.delete(f"/api/v1/me/api-keys/{own[0]}", headers=headers)).status_code == 404


async def test_parallel_requests_make_no_more_keys_than_a_person_may_have(site: Site) -> None:
    user = await site.user()
    headers = await bearer(site, user)
    making = [site.http.post("/api/v1/me/api-keys", headers=headers, json={"name": "x"}) for _ in range(MOST + 20)]
    answers = Counter(answer.status_code for answer in await asyncio.gather(*making))
    assert answers[201] == MOST
    assert answers.keys() <= {201, 409, 503}, "503: whoever waits too long for their turn is asked to come again"


async def test_who_may_make_keys(site: Site) -> None:
    user = await site.user()
    key = await key_of(site, user)
    plain = (await site.sign_in(await site.client(), user))["access_token"]
    machine = await site.machine_token(await site.client(scope=["watchword:admin"]))
    reader = await bearer(site, user, "watchword:me:read")
    for headers, method, status in (
        ({}, "POST", 401),
        ({"Authorization": f"Bearer {plain}"}, "POST", 403),
        ({"Authorization": f"Bearer {plain}"}, "GET", 403),
        ({"Authorization": f"Bearer {machine}"}, "POST", 403),
        (reader, "POST", 403),
        (reader, "GET", 200),
        ({"Watchword-API-Key": key["key"]}, "GET", 200),
        ({"Watchword-API-Key": key["key"]}, "POST", 403),  # a key that leaked makes no others
    ):
        answer = await site.http.request(
            method, "/api/v1/me/api-keys", headers=headers, json={"name": "x"} if method == "POST" else None
        )
        assert answer.status_code == status, (headers, method, answer.text)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({"scope": ["watchword:admin"]}, id="scope that administers"),
        pytest.param({"scope": []}, id="no scope"),
        pytest.param({"expires_at": "2020-01-01T00:00:00Z"}, id="expired"),
        pytest.param({"user_id": "somebody"}, id="for somebody else"),
        pytest.param({"public_jwk": {"kty": "oct", "k": "AAAA"}}, id="shared key"),
        pytest.param({"public_jwk": ECKey.generate_key("P-256").as_dict(private=True)}, id="private key"),
        pytest.param({"public_jwk": {"kty": "EC"}}, id="half a key"),
        pytest.param({"public_jwk": {}}, id="no key"),
    ],
)
async def test_keys_that_are_not_made(site: Site, body: dict[str, Any]) -> None:
    headers = await bearer(site, await site.user())
    answer = await site.http.post("/api/v1/me/api-keys", headers=headers, json={"name": "x", **body})
    assert answer.status_code == 400, answer.text
