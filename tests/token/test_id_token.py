"""ID tokens."""

import base64
import hashlib

import pytest
from tests.token.conftest import Site

from watchword_token.id_token import LIFE_S, half_hash


@pytest.mark.spec("OpenID Connect Core 3.1.3.6; OpenID Connect Core 3.1.3.6")
def test_at_hash_of_the_examples() -> None:
    # OpenID Connect Core A.3: access_token jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y with RS256.
    assert half_hash(b"jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y", "RS256") == "77QmUPtjPfzWtF2AnpK9RQ"


@pytest.mark.spec("OpenID Connect Core 2")
@pytest.mark.parametrize(("alg", "digest"), [("ES256", "sha256"), ("RS256", "sha256"), ("EdDSA", "sha512")])
@pytest.mark.spec("OpenID Connect Core 2")
async def test_it_is_signed_as_the_client_registered(site: Site, alg: str, digest: str) -> None:
    app = await site.client(id_token_signed_response_alg=alg)
    tokens = await site.sign_in(app)
    claims = await site.claims(tokens["id_token"], alg)
    assert claims["exp"] - claims["iat"] == LIFE_S
    whole = hashlib.new(digest, tokens["access_token"].encode()).digest()
    half = base64.urlsafe_b64encode(whole[: len(whole) // 2]).rstrip(b"=").decode()
    assert claims["at_hash"] == half


@pytest.mark.spec("OpenID Connect Back-Channel Logout 1.0 2.1")
async def test_it_says_only_what_the_scope_opens(site: Site) -> None:
    app = await site.client()
    user = await site.user(email="ada@example.test", groups=["ops"])
    tokens = await site.sign_in(app, user, scope=("openid", "groups"), nonce=None, acr="urn:acr:mfa")
    claims = await site.claims(tokens["id_token"])
    assert claims["groups"] == ["ops"]
    assert claims["acr"] == "urn:acr:mfa"
    assert not {"email", "name", "nonce"} & set(claims)


async def test_a_persons_claims_cannot_replace_the_protocols(site: Site) -> None:
    user = await site.user(claims={"name": "Eve", "iss": "https://evil.test", "sub": "other", "exp": 1, "aud": "x"})
    app = await site.client()
    tokens = await site.sign_in(app, user)
    claims = await site.claims(tokens["id_token"])
    assert (claims["sub"], claims["aud"]) == (user.id, app.id)
    assert (await site.userinfo(tokens["access_token"])).json()["sub"] == user.id


async def test_a_client_may_be_told_about_the_person_at_userinfo_only(site: Site) -> None:
    app = await site.client(userinfo_claims_only=True)
    tokens = await site.sign_in(app, await site.user(groups=["ops"]), scope=("openid", "profile", "groups"))
    claims = await site.claims(tokens["id_token"])
    assert not {"name", "preferred_username", "groups"} & set(claims)
    assert {"sub", "nonce", "auth_time", "sid", "at_hash"} <= set(claims)
    told = (await site.userinfo(tokens["access_token"])).json()
    assert (told["name"], told["groups"]) == ("Ada Lovelace", ["ops"])
