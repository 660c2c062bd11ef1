"""Discovery."""

import secrets
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from urllib.parse import urlsplit

import pytest
from authlib.oidc.discovery import OpenIDProviderMetadata
from tests.token.conftest import ISSUER, Site

from watchword_token.metadata import OAUTH_PATH, OPENID_PATH


@pytest.mark.spec("OpenID Connect Discovery 3")
@pytest.mark.spec("RFC 8414 2")
async def test_both_documents_say_the_same_and_are_valid(site: Site) -> None:
    documents = [await site.http.get(path) for path in (OPENID_PATH, OAUTH_PATH)]
    assert documents[0].json() == documents[1].json()
    for answer in documents:
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["cache-control"].startswith("public, max-age=")
    document = documents[0].json()
    OpenIDProviderMetadata(document).validate()
    assert document["issuer"] == ISSUER
    assert document["response_types_supported"][0] == "code"
    assert document["code_challenge_methods_supported"] == ["S256"]
    assert document["authorization_response_iss_parameter_supported"] is True
    assert "none" not in document["introspection_endpoint_auth_methods_supported"]
    assert "RS256" in document["id_token_signing_alg_values_supported"]
    for name, url in document.items():
        if name.endswith("_endpoint") or name == "jwks_uri":
            assert url.startswith(f"{ISSUER}/oauth2/")


async def test_every_endpoint_of_this_service_is_where_the_document_says(site: Site) -> None:
    document = (await site.http.get(OPENID_PATH)).json()
    for name in ("token_endpoint", "introspection_endpoint", "revocation_endpoint", "userinfo_endpoint", "jwks_uri"):
        path = urlsplit(document[name]).path
        answer = await site.http.request("PUT", path)
        assert answer.status_code == 405, path
    described = (await site.http.get("/openapi.json")).json()["paths"]
    for path in site.service.hot:
        assert path in described


async def test_what_each_grant_type_is_called_is_what_the_endpoint_knows(site: Site) -> None:
    document = (await site.http.get(OPENID_PATH)).json()
    grant_types = set(document["grant_types_supported"])
    app = await site.client(grant_types=grant_types)
    # RFC 6749 4.2: nothing of it happens at this endpoint.
    assert (await site.token(app, grant_type="implicit")).json()["error"] == "unsupported_grant_type"
    for grant_type in grant_types - {"implicit"}:
        answer = await site.token(app, grant_type=grant_type)
        assert answer.status_code == 200 or answer.json()["error"] == "invalid_request"


async def test_scopes_of_the_installations_own_are_listed_with_their_claims(site: Site) -> None:
    name = f"own:{secrets.token_hex(4)}"
    assert name not in (await site.http.get(OPENID_PATH)).json()["scopes_supported"]
    await site.scope(name, {"name": f"{name.replace(':', '_')}_a", "expression": "'a'"})
    document = (await site.http.get(OPENID_PATH)).json()
    assert name in document["scopes_supported"]
    assert f"{name.replace(':', '_')}_a" in document["claims_supported"]
    assert len(document["claims_supported"]) == len(set(document["claims_supported"]))


async def test_the_issuer_may_carry_a_path(
    site_factory: Callable[..., AbstractAsyncContextManager[Site]],
) -> None:
    async with site_factory(public_url="https://example.test/auth") as site:
        document = (await site.http.get(OPENID_PATH)).json()
        assert document["issuer"] == "https://example.test/auth"
        assert document["token_endpoint"] == "https://example.test/auth/oauth2/token"
        claims = await site.claims(await site.machine_token(await site.client()))
        assert claims["iss"] == "https://example.test/auth"


async def test_the_host_header_decides_nothing(site: Site) -> None:
    headers = {"Host": "evil.test", "X-Forwarded-Host": "evil.test", "Forwarded": "host=evil.test"}
    for path in (OPENID_PATH, OAUTH_PATH):
        assert "evil" not in (await site.http.get(path, headers=headers)).text
