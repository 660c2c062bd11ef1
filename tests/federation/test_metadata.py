"""Discovery documents and overrides: which endpoints are in force, and which documents are refused."""

from ipaddress import ip_network

import pytest
from pydantic import JsonValue

from watchword_events.exports import ProviderExport
from watchword_federation.metadata import PlainHttp, UnusableMetadata, discovery_url, endpoints_of, is_allowed_url

DEMO = PlainHttp(loopback=True)
ISSUER = "https://idp.acme.test"
DOCUMENT: dict[str, JsonValue] = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/authorize",
    "token_endpoint": f"{ISSUER}/token",
    "userinfo_endpoint": f"{ISSUER}/me",
    "jwks_uri": f"{ISSUER}/keys",
    "response_types_supported": ["code"],
    "subject_types_supported": ["public"],
    "id_token_signing_alg_values_supported": ["RS256"],
}


def provider(**settings: object) -> ProviderExport:
    values: dict[str, object] = {"id": "acme", "preset": "oidc", "kind": "oidc", "display_name": "Acme"}
    values |= {"issuer": ISSUER, "client_id": "us", **settings}
    return ProviderExport.model_validate(values)


def document(**members: JsonValue) -> dict[str, JsonValue]:
    return {name: value for name, value in {**DOCUMENT, **members}.items() if value is not None}


@pytest.mark.spec("OpenID Connect Discovery 4.1")
@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({}, f"{ISSUER}/.well-known/openid-configuration"),
        ({"issuer": f"{ISSUER}/"}, f"{ISSUER}/.well-known/openid-configuration"),
        ({"issuer": f"{ISSUER}/realms/a"}, f"{ISSUER}/realms/a/.well-known/openid-configuration"),
        ({"discovery_url": "https://x.test/oidc"}, "https://x.test/oidc"),
        (
            {"authorization_endpoint": "https://a.test", "token_endpoint": "https://b.test"},
            f"{ISSUER}/.well-known/openid-configuration",
        ),
        (
            {
                "authorization_endpoint": "https://a.test",
                "token_endpoint": "https://b.test",
                "jwks_uri": "https://c.test",
            },
            None,
        ),
    ],
)
def test_where_the_document_lies(settings: dict[str, object], url: str | None) -> None:
    assert discovery_url(provider(**settings)) == url


def test_endpoints_come_from_the_document() -> None:
    found = endpoints_of(provider(), DOCUMENT, plain_http=PlainHttp())
    assert found.authorization_endpoint == f"{ISSUER}/authorize"
    assert found.token_endpoint == f"{ISSUER}/token"
    assert found.userinfo_endpoint == f"{ISSUER}/me"
    assert found.jwks_uri == f"{ISSUER}/keys"
    assert not found.sends_issuer


@pytest.mark.seed(87)
def test_each_endpoint_can_be_overridden() -> None:
    names = ("authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri")
    overridden = {name: f"https://back.acme.test/{name}" for name in names}
    found = endpoints_of(provider(**overridden), DOCUMENT, plain_http=PlainHttp())
    assert {name: getattr(found, name) for name in names} == overridden


def test_a_provider_without_a_document_works_from_its_overrides_alone() -> None:
    given = {
        "authorization_endpoint": "https://a.test/x",
        "token_endpoint": "https://b.test",
        "jwks_uri": "https://c.test",
    }
    found = endpoints_of(provider(**given), None, plain_http=PlainHttp())
    assert found.authorization_endpoint == "https://a.test/x"
    assert found.userinfo_endpoint is None


def test_userinfo_that_is_switched_off_is_not_asked() -> None:
    assert endpoints_of(provider(userinfo="never"), DOCUMENT, plain_http=PlainHttp()).userinfo_endpoint is None


@pytest.mark.spec("RFC 9207 3")
@pytest.mark.parametrize(
    "extra",
    [
        pytest.param({"id_token_signing_alg_values_supported": ["ES256"]}, id="without RS256"),
        pytest.param({"token_endpoint_auth_methods_supported": ["private_key_jwt"]}, id="as Entra ID publishes it"),
        pytest.param({"ui_locales_supported": ["no such language tag!"]}, id="sloppy where it does not concern us"),
        pytest.param({"authorization_response_iss_parameter_supported": True}, id="RFC 9207"),
    ],
)
def test_documents_of_real_providers_are_accepted(extra: dict[str, JsonValue]) -> None:
    found = endpoints_of(provider(), document(**extra), plain_http=PlainHttp())
    assert found.sends_issuer is ("authorization_response_iss_parameter_supported" in extra)


@pytest.mark.row(49)
@pytest.mark.spec("OpenID Connect Discovery 4.3")
@pytest.mark.parametrize(
    "issuer",
    [f"{ISSUER}/", "https://IDP.acme.test", "http://idp.acme.test", "https://evil.test", None, [ISSUER], ""],
)
def test_a_document_that_names_another_issuer_is_refused(issuer: JsonValue) -> None:
    with pytest.raises(UnusableMetadata, match="another issuer"):
        endpoints_of(provider(), document(issuer=issuer), plain_http=DEMO)


@pytest.mark.spec("RFC 8414 2")
@pytest.mark.parametrize(
    "members",
    [
        pytest.param({"authorization_endpoint": None}, id="no authorization endpoint"),
        pytest.param({"token_endpoint": None}, id="no token endpoint"),
        pytest.param({"jwks_uri": None}, id="no keys"),
        pytest.param({"jwks_uri": "http://idp.acme.test/keys"}, id="keys over http"),
        pytest.param({"token_endpoint": "https://user:pass@idp.acme.test/token"}, id="user in a URL"),
        pytest.param({"authorization_endpoint": "javascript:alert(1)"}, id="javascript"),
        pytest.param({"authorization_endpoint": "//evil.test/authorize"}, id="no scheme"),
        pytest.param({"authorization_endpoint": f"{ISSUER}/authorize#a"}, id="fragment"),
        pytest.param({"userinfo_endpoint": ["https://idp.acme.test/me"]}, id="a URL in a list"),
        pytest.param({"userinfo_endpoint": 1}, id="a URL that is a number"),
        pytest.param({"response_types_supported": None}, id="no response types"),
        pytest.param({"response_types_supported": 7}, id="response types a number"),
        pytest.param({"subject_types_supported": ["strange"]}, id="unknown subject types"),
        pytest.param({"subject_types_supported": [["public"]]}, id="subject types in a list of lists"),
        pytest.param({"id_token_signing_alg_values_supported": None}, id="no algorithms"),
        pytest.param({"scopes_supported": "openid"}, id="scopes a string"),
        pytest.param({"grant_types_supported": 1}, id="grant types a number"),
    ],
)
def test_a_document_that_cannot_be_used_is_refused(members: dict[str, JsonValue]) -> None:
    with pytest.raises(UnusableMetadata):
        endpoints_of(provider(), document(**members), plain_http=PlainHttp())


@pytest.mark.parametrize(
    ("url", "demo", "production"),
    [
        ("https://idp.acme.test/a?b=c", True, True),
        ("https://idp.acme.test:8443", True, True),
        ("https://[2001:db8::1]/", True, True),
        ("http://127.0.0.1:8081", True, False),
        ("http://localhost:8081/x", True, False),
        ("http://upstream.localhost:8081", True, False),
        ("http://[::1]:8081", True, False),
        ("http://idp.acme.test", False, False),
        ("http://localhost:80@evil.test/", False, False),
        ("http://localhost.evil.test/", False, False),
        ("http://127.0.0.1.evil.test/", False, False),
        ("http://2130706433/", False, False),
        ("ftp://127.0.0.1/", False, False),
        ("https:///path", False, False),
        ("https://idp.acme.test\\@evil.test", False, False),
        ("https://idp.acme.test/ x", False, False),
        ("https://idp.acme.test/\n", False, False),
        ("https://idp.acme.test:99999/", False, False),
        ("https://[::1", False, False),
        ("https://999.1.1.1/", False, False),
        ("https://[v1.x]/", False, False),
        ("https://ïdp.acme.test", False, False),
        ("https://idp.acme.test/" + "a" * 2048, False, False),
        ("", False, False),
    ],
)
def test_which_urls_of_a_provider_may_be_used(url: str, *, demo: bool, production: bool) -> None:
    assert is_allowed_url(url, DEMO) is demo
    assert is_allowed_url(url, PlainHttp()) is production


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("http://10.1.2.3/", True),
        ("http://keycloak.corp.test:8080/realms/a", True),
        ("http://192.168.0.1/", False),
        ("http://127.0.0.1/", False),
    ],
)
def test_plain_http_is_for_the_networks_that_an_administrator_opened(url: str, *, allowed: bool) -> None:
    assert is_allowed_url(url, PlainHttp(networks=(ip_network("10.0.0.0/8"),))) is allowed
