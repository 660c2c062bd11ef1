"""refresh_token: rotation in place, retries, re-use."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from tests.token.conftest import App, Site, instance

from watchword_database.ids import new_id
from watchword_events.contracts import ClientUpdated, UserUpdated
from watchword_events.names import Service
from watchword_events.revocations import Claim, RevocationKind
from watchword_testkit.canary import Canary


async def refresh(site: Site, app: App, token: str, **form: str) -> httpx2.Response:
    return await site.token(app, grant_type="refresh_token", refresh_token=token, **form)


async def refreshed(site: Site, app: App, token: str, **form: str) -> dict[str, Any]:
    answer = await refresh(site, app, token, **form)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def refreshed_until(site: Site, app: App, token: str, scope: str) -> None:
    """Refreshes until the answer carries this scope: within moments of the event."""
    async with asyncio.timeout(30):
        while True:
            answer = await refreshed(site, app, token)
            if answer["scope"] == scope:
                return
            token = answer["refresh_token"]


async def refused_in_the_end(site: Site, app: App, token: str) -> str:
    """The error of the first refresh that is refused: within moments of the event."""
    async with asyncio.timeout(30):
        while "refresh_token" in (answer := (await refresh(site, app, token)).json()):
            token = answer["refresh_token"]
    return str(answer["error"])


async def error_of(site: Site, app: App, token: str, **form: str) -> str:
    answer = await refresh(site, app, token, **form)
    assert answer.status_code == 400, answer.text
    return str(answer.json()["error"])


@pytest.mark.spec("RFC 6749 6")
async def test_each_refresh_replaces_the_token_and_keeps_the_family(site: Site) -> None:
    app = await site.client()
    tokens = await site.sign_in(app)
    seen = {tokens["refresh_token"]}
    gid = (await site.claims(tokens["access_token"]))["gid"]
    for _ in range(4):
        tokens = await refreshed(site, app, tokens["refresh_token"])
        claims = await site.claims(tokens["access_token"])
        assert claims["gid"] == gid
        assert tokens["refresh_token"] not in seen
        seen.add(tokens["refresh_token"])
    async with site.database.postgres.admin(site.database.name) as connection:
        row = await connection.fetchrow("SELECT seq, version FROM token.grants WHERE id = $1", gid)
    assert (row["seq"], row["version"]) == (5, 1)


async def test_a_retry_gets_the_same_successor_and_only_one_head(site: Site) -> None:
    app = await site.client()
    first = (await site.sign_in(app))["refresh_token"]
    answers = await asyncio.gather(*[refreshed(site, app, first) for _ in range(20)])
    assert len({answer["refresh_token"] for answer in answers}) == 1
    assert (await refreshed(site, app, answers[0]["refresh_token"]))["refresh_token"] != first


async def test_of_two_instances_with_the_same_token_both_answer_with_one_head(site: Site) -> None:
    app = await site.client()
    first = (await site.sign_in(app))["refresh_token"]
    async with instance(site.database, site.nats_url, site.clock, site.canary, owners=site.owners) as second:
        for _ in range(5):
            sites = [site, second] * 4
            answers = await asyncio.gather(*[refreshed(each, app, first) for each in sites])
            assert len({answer["refresh_token"] for answer in answers}) == 1
            first = answers[0]["refresh_token"]


@pytest.mark.row(20)
@pytest.mark.spec("RFC 9700 4.14.2")
@pytest.mark.parametrize(
    ("method", "within", "beyond"),
    [
        pytest.param("client_secret_basic", 9, 11, id="confidential: 10 s"),
        pytest.param("none", 1, 3, id="public: 2 s"),
    ],
)
@pytest.mark.spec("RFC 6749 10.4")
async def test_outside_its_retry_window_a_replaced_token_ends_the_family(
    own_site: Site, method: str, within: int, beyond: int
) -> None:
    app = await own_site.client(token_endpoint_auth_method=method)
    tokens = await own_site.sign_in(app)
    first = tokens["refresh_token"]
    second = await refreshed(own_site, app, first)
    own_site.clock.advance(timedelta(seconds=within - 0.5))
    retried = await refreshed(own_site, app, first)
    assert retried["refresh_token"] == second["refresh_token"]
    own_site.clock.advance(timedelta(seconds=beyond - within + 0.5))
    assert await error_of(own_site, app, first) == "invalid_grant"
    for token in (first, second["refresh_token"]):
        assert await error_of(own_site, app, token) == "invalid_grant"
    for token in (tokens["access_token"], second["access_token"], retried["access_token"]):
        assert (await own_site.userinfo(token)).status_code == 401
    gid = (await own_site.claims(tokens["access_token"]))["gid"]
    assert [event["id"] for event in await own_site.events("refresh_token.reused")] == [gid]
    assert [event["reason"] for event in await own_site.events("grant.revoked")] == ["refresh-token-reuse"]


async def test_the_window_closes_when_the_successor_is_used(site: Site) -> None:
    app = await site.client()
    first = (await site.sign_in(app))["refresh_token"]
    second = (await refreshed(site, app, first))["refresh_token"]
    third = await refreshed(site, app, second)
    assert await error_of(site, app, first) == "invalid_grant"
    assert await error_of(site, app, third["refresh_token"]) == "invalid_grant"
    assert not await site.is_active(app, third["access_token"])


async def test_a_reuse_is_logged_without_the_token(site: Site, log_lines: list[dict[str, Any]], canary: Canary) -> None:
    app = await site.client()
    first = (await site.sign_in(app))["refresh_token"]
    second = (await refreshed(site, app, first))["refresh_token"]
    await refreshed(site, app, second)
    canary.add("refresh token", first, second)
    await refresh(site, app, first)
    reused = [line for line in log_lines if line["event"] == "refresh_token.reused"]
    assert [line["client_id"] for line in reused] == [app.id]


async def test_who_knows_only_the_grants_id_can_end_nothing(site: Site) -> None:
    """The gid stands in every access token, and anybody can name a public client."""
    app = await site.client(token_endpoint_auth_method="none")
    tokens = await site.sign_in(app)
    gid, secret = tokens["refresh_token"].split(".")
    for guess in (f"{gid}.{'A' * 64}", f"{gid}.{secret[:-1]}{'A' if secret[-1] != 'A' else 'B'}", f"{gid}.", gid):
        assert await error_of(site, app, guess) == "invalid_grant"
    assert await refreshed(site, app, tokens["refresh_token"])


@pytest.mark.row(20)
@pytest.mark.spec("RFC 6749 5.2")
async def test_refresh_tokens_that_must_be_refused(site: Site) -> None:
    app, other = await site.client(), await site.client()
    tokens = await site.sign_in(app)
    assert (await site.token(app, grant_type="refresh_token")).json()["error"] == "invalid_request"
    for wrong in (tokens["access_token"], tokens["id_token"], "x", "x" * 5000):
        assert await error_of(site, app, wrong) == "invalid_grant"
    assert await error_of(site, other, tokens["refresh_token"]) == "invalid_grant"
    assert await refreshed(site, app, tokens["refresh_token"])


@pytest.mark.row(20)
@pytest.mark.spec("RFC 6749 6")
async def test_a_wider_scope_is_refused_and_costs_no_token(site: Site) -> None:
    app = await site.client(audience=["https://a.test", "https://b.test"])
    tokens = await site.sign_in(app, scope=("openid", "read"), resource=("https://a.test",))
    token = tokens["refresh_token"]
    assert await error_of(site, app, token, scope="read write") == "invalid_scope"
    assert await error_of(site, app, token, scope="read\n") == "invalid_scope"
    assert await error_of(site, app, token, resource="https://b.test") == "invalid_target"
    assert await error_of(site, app, token, resource="https://c.test") == "invalid_target"
    narrowed = await refreshed(site, app, token, scope="read", resource="https://a.test")
    assert narrowed["scope"] == "read"
    assert (await site.claims(narrowed["access_token"]))["aud"] == "https://a.test"
    again = await refreshed(site, app, narrowed["refresh_token"])
    assert again["scope"] == "openid read"


@pytest.mark.spec("RFC 8707 2.2")
async def test_tokens_are_for_all_or_some_of_the_resources_that_were_granted(site: Site) -> None:
    a, b, c = "https://a.test", "https://b.test", "https://c.test"
    app, user = await site.client(audience=[a, b, c]), await site.user()

    async def code() -> str:
        return await site.code(app, user, scope=("read",), resource=(a, b))

    async def audience(answer: httpx2.Response) -> object:
        assert answer.status_code == 200, answer.text
        return (await site.claims(answer.json()["access_token"]))["aud"]

    assert await audience(await site.redeem(app, await code())) == [a, b]
    assert await audience(await site.redeem(app, await code(), resource=b)) == b
    last: Any = await code()
    for refused in ([a, c], [c], ["https://d.test"]):
        assert (await site.redeem(app, last, resource=refused)).json()["error"] == "invalid_target"
    first = await site.redeem(app, last, resource=[b, a])
    assert await audience(first) == [b, a]
    token = first.json()["refresh_token"]
    assert await error_of(site, app, token, resource=[a, c]) == "invalid_target"
    second = await site.token(app, grant_type="refresh_token", refresh_token=token, resource=[a, b])
    assert await audience(second) == [a, b]
    token = second.json()["refresh_token"]
    assert await audience(await site.token(app, grant_type="refresh_token", refresh_token=token, resource=a)) == a


async def test_a_retry_with_a_wider_scope_is_refused(site: Site) -> None:
    app = await site.client()
    tokens = await site.sign_in(app, scope=("openid", "read"))
    await refreshed(site, app, tokens["refresh_token"], scope="read")
    assert await error_of(site, app, tokens["refresh_token"], scope="write") == "invalid_scope"


async def test_what_the_client_may_no_longer_have_is_left_out(site: Site) -> None:
    app = await site.client()
    tokens = await site.sign_in(app, scope=("openid", "read", "write"))
    await site.client(client_id=app.id, secret=app.secret, version=2, copied=False, scope=["openid", "read"])
    await site.publish(ClientUpdated(id=app.id, version=2))
    await refreshed_until(site, app, tokens["refresh_token"], "openid read")


@pytest.mark.row(23)
async def test_a_role_that_was_removed_takes_its_scope_away(site: Site) -> None:
    app = await site.client(scope=["openid", "watchword:admin"])
    user = await site.user(roles=["administrator"])
    tokens = await site.sign_in(app, user, scope=("openid", "watchword:admin"))
    assert tokens["scope"] == "openid watchword:admin"
    await site.user(user_id=user.id, username=user.username, version=2, copied=False, roles=[])
    await site.publish(UserUpdated(id=user.id, version=2, claims_version=2))
    await refreshed_until(site, app, tokens["refresh_token"], "openid")


@pytest.mark.spec("OpenID Connect Core 12.2; OpenID Connect Core 12, 12.2")
async def test_an_id_token_comes_with_openid_unless_the_refresh_leaves_it_out(site: Site) -> None:
    """Argo CD's and kubectl's clients name no scope, and need one."""
    app = await site.client()
    tokens = await site.sign_in(app)
    before = await site.claims(tokens["id_token"])
    renewed = await refreshed(site, app, tokens["refresh_token"])
    asked = await refreshed(site, app, renewed["refresh_token"], scope="openid profile email")
    for each in (renewed, asked):
        after = await site.claims(each["id_token"])
        assert {name: after[name] for name in ("iss", "sub", "aud", "auth_time", "sid")} == {
            name: before[name] for name in ("iss", "sub", "aud", "auth_time", "sid")
        }
        assert "nonce" not in after
    assert "id_token" not in await refreshed(site, app, asked["refresh_token"], scope="profile email")


@pytest.mark.parametrize(
    ("client", "idle"),
    [
        pytest.param({"refresh_idle_s": 100, "refresh_max_s": 1000}, True, id="unused for too long"),
        pytest.param({"refresh_idle_s": 100, "refresh_max_s": 150}, False, id="older than it may get"),
    ],
)
@pytest.mark.seed(46)
async def test_a_family_ends_by_itself(own_site: Site, client: dict[str, Any], idle: bool) -> None:
    app = await own_site.client(**client)
    token = (await own_site.sign_in(app))["refresh_token"]
    own_site.clock.advance(timedelta(seconds=90))
    token = (await refreshed(own_site, app, token))["refresh_token"]
    own_site.clock.advance(timedelta(seconds=101 if idle else 70))
    assert await error_of(own_site, app, token) == "invalid_grant"


@pytest.mark.row(25)
@pytest.mark.parametrize(
    ("claim", "kind", "by"),
    [
        pytest.param(Claim.SUB, RevocationKind.STATE, Service.DIRECTORY, id="user disabled"),
        pytest.param(Claim.SUB, RevocationKind.CUT, Service.AUTHZ, id="signed out everywhere"),
        pytest.param(Claim.SID, RevocationKind.CUT, Service.AUTHZ, id="session ended"),
        pytest.param(Claim.GID, RevocationKind.CUT, Service.AUTHZ, id="consent withdrawn"),
        pytest.param(Claim.CLIENT_ID, RevocationKind.STATE, Service.ADMIN, id="client disabled"),
        pytest.param(Claim.CLIENT_ID, RevocationKind.CUT, Service.ADMIN, id="client's secret compromised"),
        pytest.param(Claim.IDP, RevocationKind.STATE, Service.ADMIN, id="provider distrusted"),
    ],
)
async def test_every_cause_of_death_ends_access_and_refresh(
    site: Site, claim: Claim, kind: RevocationKind, by: Service
) -> None:
    app, user = await site.client(), await site.user()
    lineage = {"sub": user.id, "sid": new_id(), "gid": new_id(), "client_id": app.id, "idp": f"idp-{new_id()}"}
    given = {name: lineage[name] for name in ("sid", "gid", "idp")}
    tokens = await site.sign_in(app, user, **given)
    watcher = await site.client(scope=["introspect:any"])
    assert await site.is_active(watcher, tokens["access_token"])
    await site.revoke(claim, lineage[claim.value], kind=kind, by=by)
    assert not await site.is_active(watcher, tokens["access_token"])
    assert (await site.userinfo(tokens["access_token"])).status_code == 401
    assert await error_or_client(site, app, tokens["refresh_token"]) in {"invalid_grant", "invalid_client"}


# What a client and a scope say about the person's session, and whether a grant outlives it.
SESSIONS: list[tuple[dict[str, Any], tuple[str, ...], bool]] = [
    ({}, ("openid",), False),
    ({}, ("openid", "offline_access"), True),
    ({"refresh_requires_session": False}, ("openid",), True),
]


async def granted_in(site: Site, sid: str) -> list[tuple[App, str, bool]]:
    """Grants of one session of ten minutes, refreshed once: client, refresh token, whether they outlive the session."""
    found = []
    for settings, scope, lives in SESSIONS:
        app = await site.client(**settings)
        ends = site.clock() + timedelta(seconds=600)
        token = (await site.sign_in(app, scope=scope, sid=sid, session_expires_at=ends))["refresh_token"]
        found.append((app, (await refreshed(site, app, token))["refresh_token"], lives))
    return found


async def check_sessions(site: Site, grants: list[tuple[App, str, bool]]) -> None:
    for app, token, lives in grants:
        answer = await refresh(site, app, token)
        assert (answer.status_code == 200) is lives, answer.text
        if lives:
            assert "sid" not in await site.claims(answer.json()["access_token"])
        else:
            assert answer.json()["error"] == "invalid_grant"


@pytest.mark.seed(46)
async def test_a_grant_ends_with_the_session_unless_it_was_granted_for_longer(site: Site) -> None:
    sid = new_id()
    grants = await granted_in(site, sid)
    await site.revoke(Claim.SID, sid, by=Service.AUTHZ)
    await check_sessions(site, grants)


@pytest.mark.seed(46)
async def test_a_grant_is_no_longer_than_the_session_unless_it_was_granted_for_longer(own_site: Site) -> None:
    grants = await granted_in(own_site, new_id())
    own_site.clock.advance(timedelta(seconds=601))
    await check_sessions(own_site, grants)


async def error_or_client(site: Site, app: App, token: str) -> str:
    return str((await refresh(site, app, token)).json()["error"])


async def test_a_new_sign_in_after_a_cut_lives(site: Site) -> None:
    app, user = await site.client(), await site.user()
    old = await site.sign_in(app, user)
    await site.revoke(Claim.SUB, user.id, by=Service.AUTHZ)
    new = await site.sign_in(app, user)
    assert not await site.is_active(app, old["access_token"])
    assert await site.is_active(app, new["access_token"])
    assert await refreshed(site, app, new["refresh_token"])
    assert await error_of(site, app, old["refresh_token"]) == "invalid_grant"


@pytest.mark.row(57)
@pytest.mark.spec("RFC 9700 2.2.2")
async def test_only_hashes_are_stored(site: Site) -> None:
    app = await site.client()
    tokens = await site.sign_in(app)
    tokens = await refreshed(site, app, tokens["refresh_token"])
    secret = tokens["refresh_token"].split(".")[1]
    async with site.database.postgres.admin(site.database.name) as connection:
        rows = await connection.fetch("SELECT g::text FROM token.grants g")
        codes = await connection.fetch("SELECT h::text FROM bus.handover h")
    assert not any(secret in row[0] for row in rows)
    assert rows
    assert codes
    assert not any(token in row[0] for row in codes for token in (secret, tokens["access_token"]))


async def test_refreshing_changes_the_row_in_place(site: Site) -> None:
    """HOT: no index is touched, so neither table nor indexes grow with use."""
    app = await site.client()
    tokens = await site.sign_in(app)
    for _ in range(30):
        tokens = await refreshed(site, app, tokens["refresh_token"])
    async with site.database.postgres.admin(site.database.name) as connection:
        for _ in range(50):
            row = await connection.fetchrow(
                "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'grants'"
            )
            if row["n_tup_upd"] >= 30:
                break
            await asyncio.sleep(0.1)
    assert row["n_tup_hot_upd"] == row["n_tup_upd"]


async def test_who_lost_the_permission_refreshes_no_more(site: Site) -> None:
    app = await site.client(required_permission="orders.read")
    user = await site.user(permissions=["orders.read"])
    tokens = await site.sign_in(app, user)
    tokens = await refreshed(site, app, tokens["refresh_token"])
    await site.user(user_id=user.id, version=2, username=user.username)
    await site.publish(UserUpdated(id=user.id, version=2, claims_version=2))
    async with asyncio.timeout(30):
        while (answer := await refresh(site, app, tokens["refresh_token"])).status_code == 200:
            tokens = answer.json()
    assert answer.json()["error"] == "invalid_grant"
