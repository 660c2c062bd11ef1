"""openid-client and oauth4webapi, from discovery and the first click to the sign-out, with everything that they can do.

Signatures, hashes, issuers, nonces and times are checked by the libraries: what they do not like ends a story.
"""

from collections.abc import Mapping

import pytest
from tests.interop.conftest import GOODBYE, REDIRECT_URI, Library, Person, registered

from watchword_testkit.api import Api
from watchword_testkit.holder import Holder
from watchword_testkit.platform import Platform

pytestmark = pytest.mark.interop

DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
API = "https://api.example"
BILLING = "https://billing.example"
KEY = Holder()
BY_KEY = {"token_endpoint_auth_method": "private_key_jwt", "jwks": KEY.jwks}
SIGNED = {"request_object_signing_alg": "ES256", "require_signed_request_object": True, "jwks": KEY.jwks}
HYBRID = {"response_types": ["code id_token"], "grant_types": ["authorization_code", "implicit", "refresh_token"]}

# What the client is registered with beside the usual, what it makes use of, and what it asks for beside the usual.
STORIES: dict[str, tuple[dict[str, object], list[str], dict[str, str]]] = {
    "secret in the header": ({"token_endpoint_auth_method": "client_secret_basic"}, [], {}),
    "secret in the form": ({"token_endpoint_auth_method": "client_secret_post"}, [], {}),
    "assertion by secret": ({"token_endpoint_auth_method": "client_secret_jwt"}, [], {}),
    "assertion by key": (BY_KEY, [], {}),
    "public": ({"token_endpoint_auth_method": "none"}, [], {}),
    "pushed request": ({"require_pushed_authorization_requests": True}, ["par"], {}),
    "signed request": (SIGNED, ["jar"], {}),
    "signed and pushed request": ({**SIGNED, **BY_KEY}, ["jar", "par"], {}),
    "tokens bound to a key": ({"dpop_bound_access_tokens": True}, ["dpop"], {}),
    "public, tokens bound to a key": ({"token_endpoint_auth_method": "none"}, ["dpop"], {}),
    "FAPI 2.0": ({"profile": "fapi2", **BY_KEY}, ["par", "dpop"], {}),
    "FAPI 2.0 with signed messages": (
        {"profile": "fapi2", **BY_KEY, **SIGNED, "response_modes": ["query.jwt"]},
        ["jar", "par", "dpop", "jarm"],
        {},
    ),
    "signed answer": ({"response_modes": ["query", "query.jwt"]}, ["jarm"], {}),
    "posted answer": ({}, [], {"response_mode": "form_post"}),
    "hybrid": (HYBRID, ["hybrid"], {}),
    "opaque access tokens": ({"access_token_format": "opaque"}, [], {}),
    "RS256": ({"id_token_signed_response_alg": "RS256", "userinfo_signed_response_alg": "RS256"}, [], {}),
    "EdDSA": ({"id_token_signed_response_alg": "EdDSA", "userinfo_signed_response_alg": "EdDSA"}, [], {}),
    "a fresh sign-in": ({}, [], {"max_age": "300", "prompt": "login"}),
}


def story(
    platform: Platform, client: Mapping[str, object], use: list[str], more: Mapping[str, str]
) -> dict[str, object]:
    """What a library is told of its client."""
    return {
        "issuer": platform.issuer,
        "registered": client,
        "key": {"jwk": KEY.key.as_dict(private=True), "kid": KEY.kid},
        "redirect_uri": REDIRECT_URI,
        "post_logout_redirect_uri": GOODBYE,
        "scope": "openid profile",
        "use": use,
        "more": more,
    }


@pytest.mark.spec("OpenID Connect Core 3.1; RFC 9126 2; RFC 9101 5; RFC 9449 5; RFC 7009 2; JARM 4")
@pytest.mark.parametrize(("metadata", "use", "more"), STORIES.values(), ids=STORIES)
async def test_from_the_first_click_to_the_sign_out(
    platform: Platform,
    api: Api,
    library: Library,
    person: Person,
    metadata: dict[str, object],
    use: list[str],
    more: dict[str, str],
) -> None:
    client = await registered(api, **metadata)
    found = await library.play("story", person, **story(platform, client, use, more))
    assert (found["claims"]["sub"], found["claims"]["name"]) == (person.user_id, "Ina Interop")
    assert found["tokens"]["token_type"] == ("dpop" if "dpop" in use else "bearer")
    assert found["refreshed"]["access_token"] != found["tokens"]["access_token"]
    assert found["refusal"] == 401, "the grant was revoked"
    assert found["back"] == f"{GOODBYE}?state=bye"
    assert (await api.get("/sessions", user_id=person.user_id))["items"] == []


@pytest.mark.parametrize("library", ["openid-client"], indirect=True)
@pytest.mark.spec("OpenID Connect Core 10.2; RFC 7516 5.2")
async def test_encrypted_answers(platform: Platform, api: Api, library: Library, person: Person) -> None:
    encrypted = {
        f"{what}_encrypted_response_{part}": value
        for what in ("id_token", "userinfo")
        for part, value in (("alg", "ECDH-ES"), ("enc", "A256GCM"))
    }
    key = {name: value for name, value in KEY.jwk.items() if name not in {"alg", "use"}}
    encrypted["userinfo_signed_response_alg"] = "ES256"  # the library reads nothing but JWTs
    client = await registered(api, jwks={"keys": [{**key, "kid": KEY.kid, "use": "enc"}]}, **encrypted)
    found = await library.play("story", person, **story(platform, client, ["encrypted"], {}))
    assert found["claims"]["sub"] == person.user_id
    assert found["tokens"]["id_token"].count(".") == 4


@pytest.mark.spec("RFC 8628 3.2, 3.4")
async def test_a_device(platform: Platform, api: Api, library: Library, person: Person) -> None:
    client = await registered(
        api,
        redirect_uris=[],
        post_logout_redirect_uris=[],
        grant_types=[DEVICE_CODE],
        token_endpoint_auth_method="none",
        scope="openid profile",
    )
    found = await library.play("device", person, issuer=platform.issuer, registered=client, scope="openid profile")
    assert found["claims"]["sub"] == person.user_id


@pytest.mark.spec("RFC 6749 4.4; RFC 7662 2.2; RFC 8693 2.1; RFC 9701 5; RFC 9068 4")
async def test_a_client_for_itself(platform: Platform, api: Api, library: Library) -> None:
    client = await registered(
        api,
        redirect_uris=[],
        post_logout_redirect_uris=[],
        grant_types=["client_credentials", TOKEN_EXCHANGE],
        scope="things:read",
        audience=[API],
        exchange_policies=[{"audiences": [BILLING], "scope": "things:read"}],
    )
    found = await library.play(
        "own", issuer=platform.issuer, registered=client, scope="things:read", audience=API, exchanged_for=BILLING
    )
    assert (found["introspected"]["active"], found["introspected"]["scope"]) == (True, "things:read")
    assert found["exchanged"]["issued_token_type"] == "urn:ietf:params:oauth:token-type:access_token"


@pytest.mark.parametrize("library", ["openid-client"], indirect=True)
@pytest.mark.parametrize("mode", ["fragment", "form_post"])
@pytest.mark.spec("OpenID Connect Core 3.2.2")
async def test_an_id_token_alone(platform: Platform, api: Api, library: Library, person: Person, mode: str) -> None:
    client = await registered(
        api, grant_types=["implicit"], response_types=["id_token"], token_endpoint_auth_method="none"
    )
    found = await library.play(
        "implicit",
        person,
        issuer=platform.issuer,
        registered=client,
        redirect_uri=REDIRECT_URI,
        scope="openid profile",
        more={"response_mode": mode},
    )
    assert (found["sub"], found["name"]) == (person.user_id, "Ina Interop")
