"""In which form a client may ask for documents."""

from typing import Any, Final

import pytest
from joserfc.jwk import ECKey, RSAKey
from pydantic import ValidationError
from tests.admin.conftest import Make
from tests.admin.test_clients import exported

from watchword_admin.client_documents import NewClient
from watchword_testkit.platform import Platform

BASE: Final = {"client_name": "App", "redirect_uris": ["https://app.example.com/callback"]}
EC: Final = {"jwks": {"keys": [ECKey.generate_key("P-256").as_dict(private=False)]}}
RSA: Final = {"jwks": {"keys": [{**RSAKey.generate_key(2048).as_dict(private=False), "use": "enc"}]}}
WHAT: Final = ("id_token", "userinfo", "introspection")


@pytest.mark.spec("OpenID Connect Registration 2; RFC 9701 6")
@pytest.mark.parametrize("what", WHAT)
async def test_what_is_encrypted_has_an_algorithm_for_its_content(
    platform: Platform, make_client: Make, what: str
) -> None:
    for enc, expected in ((None, "A128CBC-HS256"), ("A256GCM", "A256GCM")):
        given = {f"{what}_encrypted_response_alg": "ECDH-ES", f"{what}_encrypted_response_enc": enc, **EC}
        made = await make_client(**{name: value for name, value in given.items() if value is not None})
        assert made[f"{what}_encrypted_response_alg"] == "ECDH-ES"
        data = (await exported(platform, made["client_id"])).data
        assert data is not None
        assert getattr(data, f"{what}_encrypted_response_enc") == expected


REFUSED: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "no key": ({}, "jwks"),
    "a key of another kind": (RSA, "jwks"),
    "a key for signatures": ({"jwks": {"keys": [{**EC["jwks"]["keys"][0], "use": "sig"}]}}, "jwks"),
}


@pytest.mark.parametrize("what", WHAT)
@pytest.mark.parametrize(("given", "named"), REFUSED.values(), ids=REFUSED)
def test_what_is_encrypted_needs_a_key(what: str, given: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        NewClient.model_validate({**BASE, f"{what}_encrypted_response_alg": "ECDH-ES+A256KW", **given})


@pytest.mark.parametrize("what", WHAT)
@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("encrypted_response_alg", "RSA1_5"),
        ("encrypted_response_alg", "RSA-OAEP"),
        ("encrypted_response_alg", "dir"),
        ("encrypted_response_alg", "PBES2-HS256+A128KW"),
        ("encrypted_response_enc", "A128GCM"),
        ("signed_response_alg", "none"),
        ("signed_response_alg", "HS256"),
        ("signed_response_alg", "PS256"),
    ],
)
def test_what_nobody_should_use_is_refused(what: str, member: str, value: str) -> None:
    with pytest.raises(ValidationError, match=f"{what}_{member}"):
        NewClient.model_validate({**BASE, **EC, f"{what}_{member}": value})
    good = {f"{what}_encrypted_response_alg": "ECDH-ES", f"{what}_signed_response_alg": "RS256"}
    NewClient.model_validate({**BASE, **EC, **good})
