"""ID tokens, userinfo and introspection in the form that a client registered: signed, encrypted, or both."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any, Final

import httpx2
import pytest
from joserfc import jwe, jwt
from joserfc.jwk import ECKey, Key, KeySet, OKPKey, RSAKey
from tests.runtime.test_published import Site as Server
from tests.runtime.test_published import running as serving
from tests.token.conftest import ISSUER, App, Site

from watchword_events.names import Service
from watchword_events.revocations import Claim

SIGNED: Final = "application/token-introspection+jwt"
KEYS: Final[dict[str, Key]] = {
    "RSA-OAEP-256": RSAKey.generate_key(2048),
    "ECDH-ES": ECKey.generate_key("P-256"),
    "ECDH-ES+A256KW": OKPKey.generate_key("X25519"),
}
ENCS: Final = ("A128CBC-HS256", "A128GCM", "A256GCM")


def jwks(kind: str, /, **members: object) -> dict[str, Any]:
    """What a client registers: its key, beside one that is for something else."""
    public = {**KEYS[kind].as_dict(private=False), "kid": "reads", "use": "enc", **members}
    other = {**ECKey.generate_key("P-256").as_dict(private=False), "kid": "signs", "use": "sig"}
    return {"keys": [other, public]}


def opened(document: str, alg: str, enc: str) -> tuple[dict[str, Any], bytes]:
    """Header and content of what only the client can read."""
    registry = jwe.JWERegistry(algorithms=[alg, enc])
    found = jwe.decrypt_compact(document, KEYS[alg], registry=registry)
    assert found.plaintext is not None
    return dict(found.headers()), found.plaintext


async def verified(site: Site, document: str, alg: str = "ES256") -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of what this installation signed."""
    keys = KeySet.import_key_set((await site.http.get("/oauth2/jwks")).json())
    token = jwt.decode(document, keys, algorithms=[alg])
    return dict(token.header), dict(token.claims)


@pytest.mark.spec("OpenID Connect Core 10.2; OpenID Connect Core 2; RFC 7516 5.1; RFC 7518 4.3; RFC 7518 4.6")
@pytest.mark.spec("RFC 7519 5.2; RFC 7519 11.2")
@pytest.mark.parametrize("enc", ENCS)
@pytest.mark.parametrize("alg", KEYS)
async def test_an_id_token_is_signed_and_then_encrypted(site: Site, alg: str, enc: str) -> None:
    app = await site.client(jwks=jwks(alg), id_token_encrypted_response_alg=alg, id_token_encrypted_response_enc=enc)
    tokens = await site.sign_in(app)
    header, content = opened(tokens["id_token"], alg, enc)
    assert (header["alg"], header["enc"], header["cty"], header["kid"]) == (alg, enc, "JWT", "reads")
    _, claims = await verified(site, content.decode())
    assert (claims["iss"], claims["aud"], claims["nonce"]) == (ISSUER, app.id, "a-nonce")
    refreshed = (
        await site.token(app, grant_type="refresh_token", refresh_token=tokens["refresh_token"], scope="openid")
    ).json()
    _, again = opened(refreshed["id_token"], alg, enc)
    assert (await verified(site, again.decode()))[1]["sub"] == claims["sub"]


@pytest.mark.spec("OpenID Connect Core 5.3.2")
@pytest.mark.parametrize("alg", ["ES256", "RS256", "EdDSA"])
async def test_userinfo_is_signed_for_who_registered_that(site: Site, alg: str) -> None:
    app, user = await site.client(userinfo_signed_response_alg=alg), await site.user()
    answer = await site.userinfo((await site.sign_in(app, user))["access_token"])
    assert answer.headers["content-type"] == "application/jwt"
    assert answer.headers["cache-control"] == "no-store"
    header, claims = await verified(site, answer.text, alg)
    assert header["typ"] == "JWT"
    assert (claims["iss"], claims["aud"], claims["sub"]) == (ISSUER, app.id, user.id)
    assert claims["name"] == "Ada Lovelace"
    assert "exp" not in claims  # so that nobody takes it for an ID token


@pytest.mark.spec("OpenID Connect Core 5.3.2; OpenID Connect Core 10.2")
@pytest.mark.parametrize("signed", ["ES256", None])
async def test_userinfo_is_encrypted_for_who_registered_that(site: Site, signed: str | None) -> None:
    app = await site.client(
        jwks=jwks("ECDH-ES"), userinfo_encrypted_response_alg="ECDH-ES", userinfo_signed_response_alg=signed
    )
    user = await site.user()
    answer = await site.userinfo((await site.sign_in(app, user))["access_token"])
    assert answer.headers["content-type"] == "application/jwt"
    header, content = opened(answer.text, "ECDH-ES", "A128CBC-HS256")
    assert header.get("cty") == ("JWT" if signed else None)
    claims = (await verified(site, content.decode()))[1] if signed else json.loads(content)
    assert claims["sub"] == user.id


async def test_other_clients_get_json(site: Site) -> None:
    app = await site.client()
    answer = await site.userinfo((await site.sign_in(app))["access_token"])
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["sub"]


# Introspection -------------------------------------------------------------------------------------------------------


async def introspected(site: Site, app: App, token: str) -> httpx2.Response:
    return await site.http.post(
        "/oauth2/introspect", data={"token": token}, auth=app.basic, headers={"Accept": f"{SIGNED}, */*;q=0.1"}
    )


@pytest.mark.spec("RFC 9701 4; RFC 9701 5")
@pytest.mark.parametrize("alg", ["ES256", "RS256"])
async def test_a_signed_introspection_says_for_whom_it_was_made(site: Site, alg: str) -> None:
    resource = await site.client(introspection_signed_response_alg=alg)
    app = await site.client(audience=[resource.id])
    token = await site.machine_token(app)
    answer = await introspected(site, resource, token)
    assert answer.headers["content-type"] == SIGNED
    assert answer.headers["cache-control"] == "no-store"
    header, claims = await verified(site, answer.text, alg)
    assert header["typ"] == "token-introspection+jwt"
    assert set(claims) == {"iss", "aud", "iat", "token_introspection"}
    assert (claims["iss"], claims["aud"]) == (ISSUER, resource.id)
    plain = await site.introspect(resource, token)
    assert claims["token_introspection"] == plain
    assert plain["active"] is True


@pytest.mark.spec("RFC 9701 5")
async def test_what_may_not_be_known_is_not_told_in_a_signed_answer_either(site: Site) -> None:
    stranger, app = await site.client(), await site.client(audience=["https://api.test"])
    token = await site.machine_token(app)
    for presented in (token, "garbage"):
        _, claims = await verified(site, (await introspected(site, stranger, presented)).text)
        assert claims["token_introspection"] == {"active": False}
    await site.revoke(Claim.CLIENT_ID, app.id, by=Service.ADMIN)
    _, claims = await verified(site, (await introspected(site, app, token)).text)
    assert claims["token_introspection"] == {"active": False}


@pytest.mark.spec("RFC 9701 5")
async def test_a_signed_introspection_is_encrypted_for_who_registered_that(site: Site) -> None:
    resource = await site.client(
        jwks=jwks("RSA-OAEP-256"),
        introspection_encrypted_response_alg="RSA-OAEP-256",
        introspection_encrypted_response_enc="A256GCM",
    )
    token = await site.machine_token(await site.client(audience=[resource.id]))
    answer = await introspected(site, resource, token)
    header, content = opened(answer.text, "RSA-OAEP-256", "A256GCM")
    assert header["cty"] == "JWT"
    assert (await verified(site, content.decode()))[1]["token_introspection"]["active"] is True
    assert (await site.introspect(resource, token))["active"] is True  # who asks for JSON gets JSON


async def test_a_signed_introspection_is_no_token(site: Site) -> None:
    """Threat 15: one kind of JWT is never taken for another."""
    app = await site.client(scope=["openid", "profile"])
    tokens = await site.sign_in(app, scope=("openid",))
    signed = (await introspected(site, app, tokens["access_token"])).text
    for document in (signed, tokens["id_token"]):
        assert (await site.userinfo(document)).status_code == 401
        assert not await site.is_active(app, document)


# Keys that cannot be had ---------------------------------------------------------------------------------------------


@pytest.fixture
async def demo(
    site_factory: Callable[..., AbstractAsyncContextManager[Site]],
) -> AsyncIterator[tuple[Site, Server]]:
    """An installation that may fetch from loopback, and a client's server there."""
    async with serving() as server, site_factory(environment="demo") as site:
        yield site, server


@pytest.mark.spec("OpenID Connect Core 10.2.1")
async def test_while_the_clients_keys_are_away_nothing_is_used_up(demo: tuple[Site, Server]) -> None:
    site, server = demo
    server.document = None
    app = await site.client(jwks_uri=server.url, id_token_encrypted_response_alg="ECDH-ES")
    code = await site.code(app, await site.user())
    answer = await site.redeem(app, code)
    assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")
    assert answer.headers["retry-after"]
    server.document = jwks("RSA-OAEP-256")
    async with asyncio.timeout(30):
        while (answer := await site.redeem(app, code)).status_code == 503:
            site.clock.advance(timedelta(seconds=1))
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")  # no key for ECDH-ES
    server.document = jwks("ECDH-ES")
    site.clock.advance(timedelta(minutes=1))
    fresh = await site.code(app, await site.user())
    tokens = (await site.redeem(app, fresh)).json()
    opened(tokens["id_token"], "ECDH-ES", "A128CBC-HS256")
    site.canary.add("token", tokens["access_token"], tokens["refresh_token"])


@pytest.mark.spec("RFC 7517 4.2; RFC 7517 4.4")
@pytest.mark.parametrize(
    "document",
    [
        pytest.param(jwks("ECDH-ES", use="sig"), id="a key for signatures"),
        pytest.param(jwks("ECDH-ES", alg="ECDH-ES+A256KW"), id="a key for another algorithm"),
        pytest.param({"keys": [RSAKey.generate_key(1024).as_dict(private=False)]}, id="a weak key"),
        pytest.param({"keys": [KEYS["ECDH-ES"].as_dict(private=True)]}, id="a private key"),
        pytest.param({"keys": []}, id="none"),
    ],
)
async def test_nothing_is_encrypted_for_a_key_that_does_not_fit(site: Site, document: dict[str, Any]) -> None:
    app = await site.client(jwks=document, id_token_encrypted_response_alg="ECDH-ES")
    answer = await site.redeem(app, await site.code(app, await site.user()))
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    assert "id_token" not in answer.json()


@pytest.mark.spec("OpenID Connect Discovery 3; RFC 9701 7")
async def test_discovery_names_what_works(site: Site) -> None:
    document = (await site.http.get("/.well-known/openid-configuration")).json()
    for what in ("id_token", "userinfo", "introspection"):
        assert document[f"{what}_signing_alg_values_supported"] == ["ES256", "RS256", "EdDSA"]
        assert document[f"{what}_encryption_alg_values_supported"] == list(KEYS)
        assert document[f"{what}_encryption_enc_values_supported"] == list(ENCS)
