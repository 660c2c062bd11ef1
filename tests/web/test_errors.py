"""The three shapes of a refusal."""

import orjson
import pytest
from starlette.responses import Response

from watchword_web.errors import (
    OAuthError,
    Problem,
    insufficient_scope,
    invalid_client,
    invalid_token,
    missing_token,
)


def _json(response: Response) -> dict[str, object]:
    document: dict[str, object] = orjson.loads(bytes(response.body))
    return document


@pytest.mark.row(32)
@pytest.mark.spec("RFC 6749 5.2")
def test_an_oauth_error_is_json_that_nobody_stores() -> None:
    response = OAuthError("invalid_grant", "The code is not valid", detail="expired 3 s ago").response()
    assert response.status_code == 400
    assert _json(response) == {"error": "invalid_grant", "error_description": "The code is not valid"}
    assert response.headers["content-type"] == "application/json"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["pragma"] == "no-cache"
    assert "www-authenticate" not in response.headers


@pytest.mark.spec("RFC 6749 5.2")
def test_a_failed_client_is_told_the_scheme_and_nothing_else() -> None:
    response = invalid_client("unknown client").response()
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Basic ")
    assert b"unknown" not in bytes(response.body)


@pytest.mark.spec("RFC 6750 3")
def test_a_bad_bearer_token_is_named_in_the_challenge() -> None:
    response = invalid_token("revoked").response()
    assert response.status_code == 401
    assert 'error="invalid_token"' in response.headers["www-authenticate"]
    assert "revoked by" not in response.headers["www-authenticate"]


@pytest.mark.spec("RFC 6750 3")
def test_no_token_at_all_gets_a_bare_challenge() -> None:
    assert missing_token().response().headers["www-authenticate"] == 'Bearer realm="Watchword"'


@pytest.mark.spec("RFC 6750 3.1")
def test_too_small_a_scope_says_which_is_needed() -> None:
    response = insufficient_scope("watchword:admin").response()
    assert response.status_code == 403
    assert 'scope="watchword:admin"' in response.headers["www-authenticate"]


@pytest.mark.spec("RFC 6749 5.2")
@pytest.mark.parametrize("text", ['a"b', "a\\b", "a\r\nSet-Cookie: x=y", "\x00", "naïve", "\u2028"])
def test_a_description_cannot_break_out_of_a_header(text: str) -> None:
    response = OAuthError("invalid_token", text, 401).response()
    challenge = response.headers["www-authenticate"]
    assert challenge.count('"') == 6
    assert all(" " <= character <= "~" and character != "\\" for character in challenge)


@pytest.mark.spec("RFC 9457 3")
def test_a_problem_document() -> None:
    problem = Problem(409, "The name is taken", "Choose another.", errors=[{"pointer": "#/name", "detail": "taken"}])
    response = problem.response(instance="/api/v1/clients", reference="ABCD-EFGH")
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["cache-control"] == "no-store"
    assert _json(response) == {
        "type": "about:blank",
        "title": "The name is taken",
        "status": 409,
        "detail": "Choose another.",
        "instance": "/api/v1/clients",
        "errors": [{"pointer": "#/name", "detail": "taken"}],
        "reference": "ABCD-EFGH",
    }


@pytest.mark.spec("RFC 9110 15.5.2")
def test_a_401_problem_carries_a_challenge() -> None:
    assert Problem(401, "Sign in first").response().headers["www-authenticate"] == 'Bearer realm="Watchword"'
