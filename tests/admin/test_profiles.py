"""The FAPI 2.0 switch: what it forbids is refused by name, what it asks for is switched on."""

import json
from typing import Any, Final

import pytest
from pydantic import ValidationError
from tests.admin.conftest import Make
from tests.admin.test_clients import exported

from watchword_admin.client_documents import NewClient
from watchword_testkit.api import Api
from watchword_testkit.holder import Holder
from watchword_testkit.platform import Platform

JWKS: Final = json.loads(json.dumps(Holder().jwks))
GOOD: Final[dict[str, Any]] = {
    "client_name": "Bank",
    "redirect_uris": ["https://bank.example.com/callback"],
    "profile": "fapi2",
    "token_endpoint_auth_method": "private_key_jwt",
    "jwks": JWKS,
}
DEVICE: Final = "urn:ietf:params:oauth:grant-type:device_code"
REFUSED: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "another profile": ({"profile": "fapi1"}, "profile"),
    "a secret": ({"token_endpoint_auth_method": "client_secret_basic"}, "token_endpoint_auth_method"),
    "a secret in the form": ({"token_endpoint_auth_method": "client_secret_post"}, "token_endpoint_auth_method"),
    "a secret that signs": ({"token_endpoint_auth_method": "client_secret_jwt"}, "token_endpoint_auth_method"),
    "no proof": ({"token_endpoint_auth_method": "none"}, "token_endpoint_auth_method"),
    "implicit": (
        {"grant_types": ["authorization_code", "implicit"], "response_types": ["code", "id_token"]},
        "grant_types",
    ),
    "hybrid": (
        {"grant_types": ["authorization_code", "implicit"], "response_types": ["code", "code id_token"]},
        "grant_types",
    ),
    "devices": ({"grant_types": ["authorization_code", DEVICE]}, "grant_types"),
    "no PKCE": ({"require_pkce": False}, "require_pkce"),
    "RS256 of the client": (
        {"token_endpoint_auth_signing_alg": "RS256", "jwks": json.loads(json.dumps(Holder("RS256").jwks))},
        "token_endpoint_auth_signing_alg",
    ),
    "RS256 in ID tokens": ({"id_token_signed_response_alg": "RS256"}, "id_token_signed_response_alg"),
    "RS256 in access tokens": ({"access_token_signing_alg": "RS256"}, "access_token_signing_alg"),
    "RS256 in request objects": ({"request_object_signing_alg": "RS256"}, "request_object_signing_alg"),
    "RS256 in userinfo": ({"userinfo_signed_response_alg": "RS256"}, "userinfo_signed_response_alg"),
    "RS256 in introspection": ({"introspection_signed_response_alg": "RS256"}, "introspection_signed_response_alg"),
    "RS256 in answers": ({"authorization_signed_response_alg": "RS256"}, "authorization_signed_response_alg"),
}


@pytest.mark.spec("FAPI 2.0 Security Profile 5.3.2.1; FAPI 2.0 Security Profile 5.4.1")
@pytest.mark.parametrize(("given", "named"), REFUSED.values(), ids=REFUSED)
def test_what_the_profile_forbids_is_refused_by_name(given: dict[str, Any], named: str) -> None:
    NewClient.model_validate(GOOD)
    asked = {**GOOD, **given}
    if asked["token_endpoint_auth_method"] != "private_key_jwt":
        del asked["jwks"]
    with pytest.raises(ValidationError) as refused:
        NewClient.model_validate(asked)
    assert named in str(refused.value)


CERTIFICATE: Final = {"token_endpoint_auth_method": "tls_client_auth", "tls_client_auth_san_dns": "bank.example.com"}


@pytest.mark.spec("FAPI 2.0 Security Profile 5.3.2.2")
@pytest.mark.parametrize(
    ("given", "bound_to"),
    [
        pytest.param({}, "dpop_bound_access_tokens", id="a key"),
        pytest.param(
            {"tls_client_certificate_bound_access_tokens": True},
            "tls_client_certificate_bound_access_tokens",
            id="a key, tokens bound to a certificate",
        ),
        pytest.param(CERTIFICATE, "tls_client_certificate_bound_access_tokens", id="a certificate"),
        pytest.param(
            {**CERTIFICATE, "dpop_bound_access_tokens": True},
            "dpop_bound_access_tokens",
            id="a certificate, tokens bound to a key",
        ),
    ],
)
async def test_what_the_profile_asks_for_is_switched_on(
    platform: Platform, api: Api, make_client: Make, given: dict[str, Any], bound_to: str
) -> None:
    asked = {**GOOD, **given}
    if "tls_client_auth_san_dns" in asked:
        del asked["jwks"]
    made = await make_client(**asked)
    shown = await api.get(f"/clients/{made['client_id']}")
    data = (await exported(platform, made["client_id"])).data
    assert data is not None
    for seen in (made, shown, data.model_dump()):
        assert seen["profile"] == "fapi2"
        assert seen["require_pushed_authorization_requests"] is True
        assert seen["require_pkce"] is True
        for name in ("dpop_bound_access_tokens", "tls_client_certificate_bound_access_tokens"):
            assert seen[name] is (name == bound_to)
    again = await api.change(f"/clients/{made['client_id']}", client_name="Bank again")
    assert again[bound_to] is True


async def test_an_ordinary_client_becomes_strict_by_one_switch(api: Api, make_client: Make) -> None:
    made = await make_client(token_endpoint_auth_method="private_key_jwt", jwks=JWKS)
    path = f"/clients/{made['client_id']}"
    strict = await api.change(path, profile="fapi2")
    assert strict["require_pushed_authorization_requests"] is True
    ordinary = await api.change(path, profile=None)
    assert ordinary["require_pushed_authorization_requests"] is False
    refused = await api.call("PATCH", path, {"profile": "fapi2", "require_pkce": False})
    assert refused.status_code == 400
    assert "require_pkce" in refused.text
