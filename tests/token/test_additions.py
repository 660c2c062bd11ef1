"""What access tokens say beyond the usual: permissions through a client, claims of the installation's own scopes."""

import secrets

import httpx2
import pytest
from tests.token.conftest import ISSUER, Site


async def test_a_scope_tells_its_claims_in_access_tokens_where_it_says_so(site: Site) -> None:
    name = f"shift:{secrets.token_hex(4)}"
    told, kept = f"on_call_{name[6:]}", f"team_{name[6:]}"
    await site.scope(
        name,
        {"name": told, "expression": "'ops' in groups", "appears_in": ["access_token", "userinfo"]},
        {"name": kept, "expression": "size(groups)", "appears_in": ["userinfo"]},
    )
    user = await site.user(groups=["ops"])
    for token_format in ("jwt", "opaque"):
        app = await site.client(scope=["openid", "read", name], access_token_format=token_format)
        tokens = await site.sign_in(app, user, scope=("openid", name))
        again = (await site.token(app, grant_type="refresh_token", refresh_token=tokens["refresh_token"])).json()
        for answer in (tokens, again):
            claims = await site.introspect(app, answer["access_token"])
            assert claims[told] is True
            assert kept not in claims
        assert told not in await site.claims(tokens["id_token"])
        assert {told: True, kept: 1}.items() <= (await site.userinfo(again["access_token"])).json().items()
        without = await site.sign_in(app, user, scope=("openid", "read"))
        assert told not in await site.introspect(app, without["access_token"])
        machine = await site.introspect(app, await site.machine_token(app, scope=name))
        assert told not in machine, "a client is no person"


@pytest.mark.row(23)
async def test_permissions_are_the_persons_within_the_clients_and_follow_both(site: Site) -> None:
    user = await site.user(
        permissions=["tickets:use", "tickets:edit"],
        organizations=[{"organization": "acme", "permissions": ["tickets:close"]}],
        roles=["auditor"],
    )
    scope = ["tickets:use", "tickets:close", "tickets:delete", "watchword:users:read", "watchword:users:write"]
    app = await site.client(permission_scope=scope, organization="acme")
    elsewhere = await site.client(permission_scope=scope)
    expected = ["tickets:close", "tickets:use", "watchword:users:read"]
    tokens = await site.sign_in(app, user)
    assert (await site.claims(tokens["access_token"]))["permissions"] == expected
    assert (await site.claims((await site.sign_in(elsewhere, user))["access_token"]))["permissions"] == expected[1:]
    assert "permissions" not in await site.claims((await site.sign_in(await site.client(), user))["access_token"])
    nothing = await site.client(permission_scope=[])
    assert (await site.claims((await site.sign_in(nothing, user))["access_token"]))["permissions"] == []


@pytest.mark.spec("RFC 9068 3, 4")
@pytest.mark.parametrize(
    "scope", [("openid",), ("profile",), ("read",), ()], ids=lambda scope: " ".join(scope) or "none"
)
async def test_what_administers_is_for_the_administration_whatever_its_scope(
    site: Site, scope: tuple[str, ...]
) -> None:
    user = await site.user(roles=["auditor"])
    app = await site.client(permission_scope=["watchword:grants:read", "tickets:use"], audience=["https://a.test"])
    token = (await site.sign_in(app, user, scope=scope))["access_token"]
    assert (await site.claims(token))["aud"] == ["https://a.test", ISSUER]
    assert (await called(site, token, "/api/v1/grants")).status_code == 200
    assert (await called(site, token, "/api/v1/keys")).status_code == 403
    nobody = (await site.sign_in(app, await site.user(), scope=scope))["access_token"]
    assert (await called(site, nobody, "/api/v1/grants")).status_code == 403, "known, and may not"


@pytest.mark.spec("RFC 8707 2.2; RFC 9068 3")
async def test_what_does_not_administer_is_not_for_the_administration(site: Site) -> None:
    user = await site.user(roles=["auditor"])
    a = "https://a.test"
    app = await site.client(permission_scope=["watchword:grants:read"], audience=[a, "https://b.test"])
    for_one = (await site.sign_in(app, user, scope=("read",), resource=(a,)))["access_token"]
    others = await site.client(permission_scope=["tickets:use"], audience=[a])
    without = await site.client(audience=[a])
    tokens = [for_one, await site.machine_token(app, resource=a)]
    tokens += [(await site.sign_in(each, user, scope=("read",)))["access_token"] for each in (others, without)]
    for token in tokens:
        assert (await site.claims(token))["aud"] == a
        assert (await called(site, token, "/api/v1/grants")).status_code == 401
    machine = await site.machine_token(app)
    assert ISSUER not in (await site.claims(machine))["aud"], "a client is no person"


async def called(site: Site, token: str, path: str) -> httpx2.Response:
    """The administration's answer to a bearer."""
    return await site.http.get(path, headers={"Authorization": f"Bearer {token}"})
