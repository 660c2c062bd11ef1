"""client_credentials."""

from typing import Any

import pytest
from tests.token.conftest import ISSUER, Site

from watchword_events.revocations import Claim, RevocationKind


@pytest.mark.spec("RFC 9068 2.2")
@pytest.mark.parametrize("alg", ["ES256", "RS256", "EdDSA"])
@pytest.mark.spec("RFC 6749 4.4.2, 4.4.3, 5.1; RFC 9068 2; RFC 7515 3.1")
async def test_a_client_gets_a_signed_token_of_its_own(site: Site, alg: str) -> None:
    app = await site.client(access_token_signing_alg=alg, access_token_lifetime_s=120)
    answer = await site.token(app, grant_type="client_credentials", scope="read")
    body = answer.json()
    assert set(body) == {"access_token", "token_type", "expires_in", "scope"}
    assert (body["token_type"], body["expires_in"], body["scope"]) == ("Bearer", 120, "read")
    assert answer.headers["cache-control"] == "no-store"
    claims = await site.claims(body["access_token"], alg)
    assert claims["iss"] == ISSUER
    assert claims["sub"] == claims["client_id"] == claims["aud"] == app.id
    assert claims["exp"] - claims["iat"] == 120
    assert claims["scope"] == "read"
    assert len(claims["jti"]) == 36


@pytest.mark.spec("RFC 7516 4.1; RFC 7516 5.1")
async def test_an_opaque_token_shows_nothing_and_is_understood_here(site: Site) -> None:
    app = await site.client(access_token_format="opaque")
    token = await site.machine_token(app)
    header, key, nonce, _ciphertext, tag = token.split(".")
    assert key == ""
    assert (len(nonce), len(tag)) == (16, 22)
    assert app.id not in token
    found = await site.introspect(app, token)
    assert found["active"]
    assert found["client_id"] == app.id
    assert header == (await site.machine_token(app)).split(".")[0]
    assert nonce != (await site.machine_token(app)).split(".")[2]


async def test_without_a_scope_a_client_gets_all_that_is_not_about_people(site: Site) -> None:
    app = await site.client(scope=["openid", "profile", "write", "read", "watchword:admin"])
    token = await site.machine_token(app)
    claims = await site.claims(token)
    assert claims["scope"] == "read watchword:admin write"
    assert claims["aud"] == [app.id, ISSUER]


@pytest.mark.spec("RFC 8707 2.2; RFC 9068 3")
async def test_the_audience_is_the_clients_list_or_one_of_it(site: Site) -> None:
    app = await site.client(audience=["https://api.example.test", "https://other.example.test"])
    assert (await site.claims(await site.machine_token(app)))["aud"] == list(app.export.audience)
    one = await site.machine_token(app, resource="https://other.example.test")
    assert (await site.claims(one))["aud"] == "https://other.example.test"


@pytest.mark.spec("RFC 6749 5.2")
@pytest.mark.parametrize(
    ("client", "form", "error"),
    [
        pytest.param({}, {}, "invalid_request", id="no grant type"),
        pytest.param({}, {"grant_type": ""}, "invalid_request", id="empty grant type"),
        pytest.param({}, {"grant_type": "password"}, "unsupported_grant_type", id="password grant"),
        pytest.param({}, {"grant_type": "implicit"}, "unsupported_grant_type", id="unknown grant"),
        pytest.param(
            {"grant_types": ["authorization_code"]},
            {"grant_type": "client_credentials"},
            "unauthorized_client",
            id="grant type not registered",
        ),
        pytest.param(
            {"token_endpoint_auth_method": "none"},
            {"grant_type": "client_credentials"},
            "unauthorized_client",
            id="public client",
        ),
        pytest.param(
            {}, {"grant_type": "client_credentials", "scope": "read admin"}, "invalid_scope", id="scope not registered"
        ),
        pytest.param(
            {}, {"grant_type": "client_credentials", "scope": "openid"}, "invalid_scope", id="scope about a person"
        ),
        pytest.param(
            {}, {"grant_type": "client_credentials", "scope": "offline_access"}, "invalid_scope", id="offline access"
        ),
        pytest.param({}, {"grant_type": "client_credentials", "scope": 'read"'}, "invalid_scope", id="malformed scope"),
        pytest.param(
            {}, {"grant_type": "client_credentials", "scope": "read  write"}, "invalid_scope", id="two spaces"
        ),
        pytest.param(
            {},
            {"grant_type": "client_credentials", "resource": "https://not.mine.test"},
            "invalid_target",
            id="resource not registered",
        ),
    ],
)
async def test_requests_that_must_be_refused(
    site: Site, client: dict[str, Any], form: dict[str, str], error: str
) -> None:
    answer = await site.post("/oauth2/token", await site.client(**client), form)
    assert answer.status_code == 400
    assert answer.json()["error"] == error
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["pragma"] == "no-cache"


async def test_credentials_in_the_query_are_no_credentials(site: Site) -> None:
    app = await site.client(token_endpoint_auth_method="client_secret_post")
    answer = await site.http.post("/oauth2/token", params=app.form, data={"grant_type": "client_credentials"})
    assert answer.json()["error"] == "invalid_client"


async def test_a_client_that_the_ledger_disabled_gets_nothing_and_its_tokens_are_dead(site: Site) -> None:
    app = await site.client()
    token = await site.machine_token(app)
    other = await site.client(scope=["introspect:any"])
    assert await site.is_active(other, token)
    await site.revoke(Claim.CLIENT_ID, app.id, kind=RevocationKind.STATE)
    answer = await site.token(app, grant_type="client_credentials")
    assert answer.json()["error"] == "invalid_client"
    assert not await site.is_active(other, token)


async def test_after_a_cut_a_client_gets_new_tokens_and_the_old_ones_stay_dead(site: Site) -> None:
    app = await site.client()
    old = await site.machine_token(app)
    await site.revoke(Claim.CLIENT_ID, app.id)
    new = await site.machine_token(app)
    assert [await site.is_active(app, token) for token in (old, new)] == [False, True]
