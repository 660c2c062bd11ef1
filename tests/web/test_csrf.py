"""Form tokens, and what the browser's own headers say about where a request came from."""

import pytest
from fastapi import Request
from hypothesis import given
from hypothesis import strategies as st

from watchword_web.csrf import check_form_token, form_token, same_origin
from watchword_web.settings import Site

KEY = b"k" * 32


def test_a_token_fits_its_own_form_only() -> None:
    token = form_token(KEY, "consent", "flow-1", "secret")
    assert len(token) == 43
    assert check_form_token(KEY, token, "consent", "flow-1", "secret")
    for other in [("login", "flow-1", "secret"), ("consent", "flow-2", "secret"), ("consent", "flow-1", "other"), ()]:
        assert not check_form_token(KEY, token, *other)
    assert not check_form_token(b"j" * 32, token, "consent", "flow-1", "secret")


@pytest.mark.parametrize("token", ["", "x", "x" * 43, "é" * 43, "\ud800", "x" * 100_000])
def test_a_made_up_token_is_refused(token: str) -> None:
    assert not check_form_token(KEY, token, "consent", "flow-1")


@given(st.lists(st.text(max_size=5), max_size=4), st.lists(st.text(max_size=5), max_size=4))
def test_different_parts_never_share_a_token(one: list[str], other: list[str]) -> None:
    assert (form_token(KEY, *one) == form_token(KEY, *other)) == (one == other)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        pytest.param({"sec-fetch-site": "same-origin", "origin": "https://sso.example"}, True, id="our form"),
        pytest.param({"sec-fetch-site": "same-origin", "origin": "null"}, True, id="our form, origin withheld"),
        pytest.param({"sec-fetch-site": "same-site", "origin": "https://app.example"}, False, id="sibling host"),
        pytest.param({"sec-fetch-site": "cross-site", "origin": "https://evil.example"}, False, id="foreign form"),
        pytest.param({"sec-fetch-site": "cross-site", "origin": "https://sso.example"}, False, id="site decides"),
        pytest.param({"sec-fetch-site": "none"}, False, id="typed in, which no form is"),
        pytest.param({"sec-fetch-site": ""}, False, id="empty"),
        pytest.param({"origin": "https://sso.example"}, True, id="plain http, our form"),
        pytest.param({"origin": "https://evil.example"}, False, id="plain http, foreign form"),
        pytest.param({"origin": "http://sso.example"}, False, id="other scheme"),
        pytest.param({"origin": "https://sso.example:444"}, False, id="other port"),
        pytest.param({"origin": "https://sso.example.evil.example"}, False, id="suffix"),
        pytest.param({"origin": "null"}, False, id="sandboxed frame"),
        pytest.param({"origin": ""}, False, id="empty origin"),
        pytest.param({}, True, id="not a browser"),
    ],
)
@pytest.mark.spec("Fetch Standard 3.2; W3C Fetch Metadata 2")
def test_where_a_request_came_from(headers: dict[str, str], expected: bool) -> None:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    assert same_origin(Request({"type": "http", "headers": raw}), Site("https://sso.example/auth")) is expected
