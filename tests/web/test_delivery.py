"""Answers on their way to applications: nothing is added to what was registered, and everything arrives as it was."""

from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword_web.delivery import with_fragment, with_params


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("https://app.example/cb", "https://app.example/cb?code=a%26b"),
        ("https://app.example/cb?x=1", "https://app.example/cb?x=1&code=a%26b"),
        ("https://app.example/cb?", "https://app.example/cb?code=a%26b"),
        ("com.example.app:/cb", "com.example.app:/cb?code=a%26b"),
        ("myapp:///cb", "myapp:///cb?code=a%26b"),
    ],
)
def test_parameters_are_added_without_changing_the_uri(uri: str, expected: str) -> None:
    assert with_params(uri, {"code": "a&b"}) == expected


@given(st.dictionaries(st.sampled_from(["code", "state", "iss", "error"]), st.text(min_size=1), max_size=4))
def test_every_parameter_arrives_as_it_was(params: dict[str, str]) -> None:
    sent = with_params("https://app.example/cb?keep=1", params)
    assert parse_qs(urlsplit(sent).query) == {"keep": ["1"], **{name: [value] for name, value in params.items()}}


@pytest.mark.spec("RFC 6749 4.2.2")
@given(st.dictionaries(st.sampled_from(["access_token", "state", "iss", "error"]), st.text(min_size=1), max_size=4))
def test_every_parameter_arrives_in_the_fragment(params: dict[str, str]) -> None:
    sent = urlsplit(with_fragment("https://app.example/cb?keep=1", params))
    assert (sent.path, sent.query) == ("/cb", "keep=1")
    assert parse_qs(sent.fragment) == {name: [value] for name, value in params.items()}
