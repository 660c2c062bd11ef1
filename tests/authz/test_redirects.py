"""Redirect URIs: byte-equal or refused (threats 1 and 2)."""

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword_authz.redirects import is_claimed_by_anyone, is_registered, is_usable

REGISTERED = "https://app.example/cb"
LOOPBACK = "http://127.0.0.1/cb"
ALL = (REGISTERED, LOOPBACK, "http://[::1]:8000/cb", "com.example.app:/cb")

FOREIGN = {
    "suffix": "https://app.example/cb/more",
    "prefix": "https://app.example/c",
    "dot segments": "https://app.example/x/../cb",
    "encoded dot": "https://app.example/%2e/cb",
    "encoded path": "https://app.example/c%62",
    "userinfo": "https://app.example@evil.example/cb",
    "backslash userinfo": "https://evil.example\\@app.example/cb",
    "scheme relative": "//app.example/cb",
    "double slash path": "https://app.example//cb",
    "host case": "https://APP.example/cb",
    "scheme case": "HTTPS://app.example/cb",
    "path case": "https://app.example/CB",
    "port added": "https://app.example:8443/cb",
    "default port added": "https://app.example:443/cb",
    "http": "http://app.example/cb",
    "trailing dot": "https://app.example./cb",
    "trailing slash": "https://app.example/cb/",
    "tab": "https://app.example/cb\t",
    "newline": "https://app.example/cb\n",
    "leading space": " https://app.example/cb",
    "query added": "https://app.example/cb?x=1",
    "empty query": "https://app.example/cb?",
    "fragment": "https://app.example/cb#x",
    "dot is no wildcard": "https://appXexample/cb",
    "other top level": "https://app.example.evil/cb",
    "javascript": "javascript:alert(1)//https://app.example/cb",
    "data": "data:text/html,https://app.example/cb",
    "loopback other path": "http://127.0.0.1:4711/other",
    "loopback https": "https://127.0.0.1:4711/cb",
    "loopback userinfo": "http://127.0.0.1:80@evil.example/cb",
    "loopback host prefix": "http://127.0.0.1.evil.example/cb",
    "loopback shorthand": "http://127.1:4711/cb",
    "loopback other address": "http://127.0.0.2:4711/cb",
    "loopback decimal": "http://2130706433/cb",
    "loopback port 0": "http://127.0.0.1:0/cb",
    "loopback port too high": "http://127.0.0.1:65536/cb",
    "loopback empty port": "http://127.0.0.1:/cb",
    "loopback port with sign": "http://127.0.0.1:+80/cb",
    "localhost for a literal": "http://localhost:4711/cb",
    "localhost subdomain": "http://localhost.evil.example/cb",
    "other scheme": "com.example.other:/cb",
    "scheme with authority": "com.example.app://cb",
    "empty": "",
}


@pytest.mark.row(1)
@pytest.mark.spec("RFC 9700 2.1, 4.1.3")
@pytest.mark.parametrize("uri", FOREIGN.values(), ids=FOREIGN.keys())
def test_foreign_uri_is_not_registered(uri: str) -> None:
    assert not is_registered(uri, ALL)


@pytest.mark.parametrize("uri", ALL)
def test_registered_uri_is_registered(uri: str) -> None:
    assert is_registered(uri, ALL)


@pytest.mark.spec("RFC 8252 7.3")
@pytest.mark.parametrize(
    "uri", ["http://127.0.0.1:1/cb", "http://127.0.0.1:65535/cb", "http://[::1]/cb", "http://[::1]:9/cb"]
)
def test_loopback_literal_may_vary_the_port(uri: str) -> None:
    assert is_registered(uri, ALL)


@pytest.mark.row(1)
@pytest.mark.spec("RFC 8252 8.3")
def test_localhost_may_not_vary_the_port() -> None:
    assert not is_registered("http://localhost:4711/cb", ["http://localhost/cb"])


_URIS = st.text(alphabet=st.sampled_from("htps:/.@[]127cbevlxam#?%\\ \t-"), max_size=40)


@given(_URIS)
def test_whatever_is_registered_equals_or_is_loopback(uri: str) -> None:
    if is_registered(uri, ALL) and uri not in ALL:
        parts = urlsplit(uri)
        assert parts.scheme == "http"
        assert parts.hostname in {"127.0.0.1", "::1"}
        assert (parts.path, parts.query, parts.fragment, parts.username) == ("/cb", "", "", None)


@given(st.integers(1, 65535))
def test_every_port_of_a_loopback_literal_is_accepted(port: int) -> None:
    assert is_registered(f"http://127.0.0.1:{port}/cb", [LOOPBACK])
    assert is_registered(LOOPBACK, [f"http://127.0.0.1:{port}/cb"])


@pytest.mark.row(1)
@pytest.mark.parametrize(
    "uri",
    [
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        "data:text/html,x",
        "vbscript:x",
        "https://a/#f",
        "https://a/\x00",
        "",
    ],
)
def test_uri_that_could_run_script_is_not_usable(uri: str) -> None:
    assert not is_usable(uri)


@pytest.mark.parametrize(
    ("uri", "claimed"),
    [("https://app.example/cb", False), ("com.example:/cb", True), (LOOPBACK, True), ("http://[::1]:1/cb", True)],
)
def test_custom_schemes_and_loopback_may_be_claimed_by_anyone(uri: str, claimed: bool) -> None:
    assert is_claimed_by_anyone(uri) is claimed
