"""Sessions that are bound to the address of their person: the scope `clientip`, and `bind_session_ip`."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.token.conftest import App, Site, running
from tests.token.test_client_methods import from_peer

from watchword_testkit.canary import Canary
from watchword_testkit.clock import TestClock
from watchword_testkit.databases import Template
from watchword_testkit.servers import Postgres

HOME = "203.0.113.7"  # where the person is
RANGES = ["192.0.2.0/24"]  # where the application is
BOUND: dict[str, Any] = {
    "bind_session_ip": True,
    "client_ip_ranges": RANGES,
    "scope": ["openid", "profile"],
    "permission_scope": ["watchword:me:read"],
    "grant_types": ["authorization_code", "refresh_token"],
}


@pytest.fixture(scope="module")
async def proxied(
    postgres: Postgres, database_template: Template, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    """An installation behind proxies at 127.0.0.0/8."""
    home = tmp_path_factory.mktemp("bound")
    async with running(
        postgres, database_template, home, TestClock(), Canary(), trusted_proxies=["127.0.0.0/8"]
    ) as made:
        yield made


async def signed_in(site: Site, app: App, *scope: str, address: str = HOME) -> dict[str, Any]:
    """The tokens of somebody at an address; the application asks for them from its own."""
    code = await site.code(app, await site.user(), scope=("openid", *scope), address=address)
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": "https://app.example.test/callback",
        "code_verifier": "a-code-verifier-of-forty-three-characters-or-more",
    }
    async with from_peer(site, "192.0.2.1") as http:
        answer = await http.post("/oauth2/token", data=form, auth=app.basic)
    assert answer.status_code == 200, answer.text
    tokens: dict[str, Any] = answer.json()
    site.canary.add("token", tokens["access_token"], tokens["id_token"], tokens.get("refresh_token", ""))
    return tokens


async def heard(site: Site, app: App, token: str, peer: str, headers: dict[str, str]) -> tuple[int, bool, int]:
    """What a token is worth from a peer: the status of userinfo, whether introspection says so, the API's status."""
    bearer = {"Authorization": f"Bearer {token}", **headers}
    async with from_peer(site, peer) as http:
        userinfo = await http.get("/oauth2/userinfo", headers=bearer)
        told = await http.post("/oauth2/introspect", data={"token": token}, auth=app.basic, headers=headers)
        api = await http.get("/api/v1/me/api-keys", headers=bearer)
    return userinfo.status_code, told.status_code == 200 and told.json()["active"], api.status_code


@pytest.mark.row(50)
@pytest.mark.seed(56)
@pytest.mark.parametrize("token_format", ["jwt", "opaque"])
async def test_what_an_application_passes_on_is_good_for_the_sessions_address_only(
    proxied: Site, token_format: str
) -> None:
    site = proxied
    app = await site.client(**BOUND, access_token_format=token_format)
    token = (await signed_in(site, app))["access_token"]
    rows: list[tuple[str, dict[str, str], bool]] = [
        ("192.0.2.1", {"X-Forwarded-For": HOME}, True),
        ("192.0.2.1", {"X-Forwarded-For": f"10.0.0.1, {HOME}"}, True),
        ("192.0.2.1", {"X-Forwarded-For": f"::ffff:{HOME}"}, True),
        ("192.0.2.1", {"X-Forwarded-For": f"{HOME}:4711"}, True),
        ("192.0.2.1", {}, False),
        ("192.0.2.1", {"X-Forwarded-For": ""}, False),
        ("192.0.2.1", {"X-Forwarded-For": "203.0.113.8"}, False),
        ("192.0.2.1", {"X-Forwarded-For": f"{HOME}, 10.0.0.1"}, False),
        ("192.0.2.1", {"X-Forwarded-For": "nonsense"}, False),
        ("192.0.2.1", {"Forwarded": f"for={HOME}", "X-Real-IP": HOME}, False),
        # Behind our proxy, which adds the application's own address.
        ("127.0.0.1", {"X-Forwarded-For": f"{HOME}, 192.0.2.1"}, True),
        ("127.0.0.1", {"X-Forwarded-For": "203.0.113.8, 192.0.2.1"}, False),
        ("127.0.0.1", {"X-Forwarded-For": "192.0.2.1"}, False),
    ]
    for peer, headers, is_good in rows:
        expected = (200, True, 200) if is_good else (401, False, 401)
        assert await heard(site, app, token, peer, headers) == expected, (peer, headers)


@pytest.mark.row(50)
async def test_from_elsewhere_nothing_is_compared(proxied: Site) -> None:
    """A resource server is not the client: what it forwards is its own affair, and proves nothing."""
    app = await proxied.client(**BOUND)
    token = (await signed_in(proxied, app))["access_token"]
    other = await proxied.client(scope=["introspect:any"])
    for headers in ({}, {"X-Forwarded-For": "203.0.113.8"}):
        assert await heard(proxied, other, token, "198.51.100.9", headers) == (200, True, 200)


@pytest.mark.seed(52)
async def test_the_scope_clientip_tells_where_the_person_signed_in(proxied: Site) -> None:
    site = proxied
    app = await site.client(scope=["openid", "clientip"])
    tokens = await site.sign_in(app, scope=("openid", "clientip"), address=HOME)
    for claims in (
        await site.claims(tokens["id_token"]),
        await site.claims(tokens["access_token"]),
        (await site.userinfo(tokens["access_token"])).json(),
        await site.introspect(app, tokens["access_token"]),
    ):
        assert claims["client_ip"] == HOME
    again = (await site.token(app, grant_type="refresh_token", refresh_token=tokens["refresh_token"])).json()
    assert (await site.claims(again["access_token"]))["client_ip"] == HOME
    without = await site.sign_in(app, scope=("openid",), address=HOME)
    assert "client_ip" not in await site.claims(without["id_token"])
    assert "client_ip" not in (await site.userinfo(without["access_token"])).json()
    assert "client_ip" not in await site.claims(without["access_token"])


async def test_a_bound_client_that_may_not_know_the_address_is_not_told_at_userinfo(proxied: Site) -> None:
    app = await proxied.client(**BOUND)
    tokens = await signed_in(proxied, app)
    async with from_peer(proxied, "192.0.2.1") as http:
        answer = await http.get(
            "/oauth2/userinfo", headers={"Authorization": f"Bearer {tokens['access_token']}", "X-Forwarded-For": HOME}
        )
    assert "client_ip" not in answer.json()
    assert "client_ip" not in await proxied.claims(tokens["id_token"])
    assert (await proxied.claims(tokens["access_token"]))["client_ip_ranges"] == RANGES


async def test_who_signed_in_from_nowhere_is_nobody_there(proxied: Site) -> None:
    app = await proxied.client(**BOUND)
    token = (await signed_in(proxied, app, address=""))["access_token"]
    for headers in ({}, {"X-Forwarded-For": ""}, {"X-Forwarded-For": HOME}):
        assert await heard(proxied, app, token, "192.0.2.1", headers) == (401, False, 401)


@pytest.mark.row(50)
async def test_what_a_script_got_is_good_for_where_the_script_runs(proxied: Site) -> None:
    """Its address is not one of the client's: the script is not the client."""
    site, user = proxied, await proxied.user()
    scripts = {"grant_types": ["client_credentials"], "personal_credentials": True}
    app = await site.client(**BOUND | scripts)
    portal = await site.client(scope=["openid", "applications:sign-in"])
    session = await site.sign_in(portal, user, scope=("openid", "applications:sign-in"))
    async with from_peer(site, "198.51.100.9") as http:
        answer = await http.post(
            "/oauth2/token",
            data={"grant_type": "client_credentials", "client_id": app.id},
            headers={"Authorization": f"Bearer {session['access_token']}", "X-Forwarded-For": HOME},
        )
    assert answer.status_code == 200, answer.text
    token = answer.json()["access_token"]
    site.canary.add("token", token)
    for forwarded, expected in (("198.51.100.9", (200, True, 200)), (HOME, (401, False, 401))):
        assert await heard(site, app, token, "192.0.2.1", {"X-Forwarded-For": forwarded}) == expected
