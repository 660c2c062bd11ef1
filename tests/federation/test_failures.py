"""Each failure has words for the person, and keeps its detail to itself."""

import pytest

from watchword_federation.failures import WORDS, Failure, SignInFailed, failure_of


def test_every_failure_says_what_happened_and_what_can_be_done() -> None:
    assert set(WORDS) == set(Failure)
    for words in WORDS.values():
        assert 400 <= words.status < 600
        assert len(words.message) > 80
        assert words.status != 500


def test_the_page_shows_the_name_and_not_the_detail() -> None:
    failed = SignInFailed(Failure.ID_TOKEN_INVALID, "aud does not name this client")
    assert failed.code == "id_token_invalid"
    assert failed.detail == "aud does not name this client"
    assert failed.detail not in failed.message


@pytest.mark.spec("RFC 6749 4.1.2.1")
@pytest.mark.parametrize(
    ("error", "failure"),
    [
        ("access_denied", Failure.ACCESS_DENIED),
        ("login_required", Failure.ACCESS_DENIED),
        ("consent_required", Failure.ACCESS_DENIED),
        ("invalid_scope", Failure.INVALID_SCOPE),
        ("redirect_uri_mismatch", Failure.REDIRECT_URI_MISMATCH),
        ("temporarily_unavailable", Failure.PROVIDER_UNREACHABLE),
        ("server_error", Failure.PROVIDER_ERROR),
        ("<script>alert(1)</script>", Failure.PROVIDER_ERROR),
        ("", Failure.PROVIDER_ERROR),
    ],
)
def test_what_a_provider_calls_an_error_has_our_name(error: str, failure: Failure) -> None:
    assert failure_of(error) is failure
