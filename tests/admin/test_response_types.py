"""Which answers an administrator may allow a client."""

from typing import Any

import pytest
from pydantic import ValidationError

from watchword_admin.client_documents import NewClient

BASE: dict[str, Any] = {"client_name": "App", "redirect_uris": ["https://app.example.com/callback"]}
BOTH = {"grant_types": ["authorization_code", "implicit"]}


def made(**given: Any) -> NewClient:
    return NewClient.model_validate({**BASE, **given})


@pytest.mark.spec("OAuth 2.0 Multiple Response Type Encoding Practices 1")
def test_the_parts_of_a_type_have_one_order() -> None:
    client = made(**BOTH, response_types=["token id_token", "id_token token", "token code"])
    assert client.types == ("id_token token", "code token")


def test_what_is_left_out_is_the_strict_one() -> None:
    assert (made().types, made().modes) == (("code",), ("query", "form_post"))
    assert made(**BOTH, response_types=["code id_token"]).modes == ("query", "form_post", "fragment")
    machine = made(grant_types=["client_credentials"], redirect_uris=[])
    assert machine.types == ()


REFUSED: dict[str, dict[str, Any]] = {
    "implicit without its types": BOTH,
    "types without implicit": {"response_types": ["code", "id_token"]},
    "hybrid without the code grant": {"grant_types": ["implicit"], "response_types": ["code id_token"]},
    "code without a type of it": {**BOTH, "response_types": ["token"]},
    "nothing of it": {**BOTH, "response_types": []},
    "unknown part": {**BOTH, "response_types": ["code", "id_token none"]},
    "a part twice": {**BOTH, "response_types": ["code code", "token"]},
    "two spaces": {**BOTH, "response_types": ["code  token"]},
    "other case": {**BOTH, "response_types": ["Code", "token"]},
    "unknown mode": {"response_modes": ["web_message"]},
    "jwt, which is no mode of its own": {"response_modes": ["jwt"]},
    "no mode": {"response_modes": []},
    "tokens in the query alone": {**BOTH, "response_types": ["code token"], "response_modes": ["query", "query.jwt"]},
    "bound tokens in the browser": {**BOTH, "response_types": ["code token"], "dpop_bound_access_tokens": True},
    "unsigned": {"authorization_signed_response_alg": "none"},
    "symmetric": {"authorization_signed_response_alg": "HS256"},
    "implicit without a redirect URI": {"grant_types": ["implicit"], "response_types": ["token"], "redirect_uris": []},
}


@pytest.mark.spec("RFC 7591 2.1")
@pytest.mark.parametrize("given", REFUSED.values(), ids=REFUSED.keys())
def test_what_does_not_fit_together_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        made(**given)
