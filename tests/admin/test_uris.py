"""What may be registered as redirect URI, origin, link and provider endpoint."""

import contextlib
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword_admin.uris import (
    InvalidUri,
    check_called_uri,
    check_endpoint,
    check_issuer,
    check_link,
    check_origin,
    check_redirect_uri,
)

ACCEPTED = {
    "https": "https://app.example.com/callback",
    "https with port": "https://app.example.com:8443/callback",
    "https with query": "https://app.example.com/callback?tenant=blue",
    "https without path": "https://app.example.com",
    "encoded letter": "https://app.example.com/call%20back".replace("%20", "%41"),
    "A-label host": "https://xn--mnchen-3ya.example/cb",
    "http on localhost": "http://localhost:3000/api/auth/callback/Okta",
    "http on IPv4 loopback": "http://127.0.0.1:31111/oauth/callback",
    "http on IPv6 loopback": "http://[::1]:8000/cb",
    "http loopback without port": "http://127.0.0.1/cb",
    "private scheme": "com.example.app:/oauth2redirect",
    "private scheme with authority": "com.example.app://callback/ios",
    "IPv4 literal over https": "https://192.0.2.7/cb",
}

REFUSED = {
    "empty": "",
    "relative": "/callback",
    "scheme-relative": "//app.example.com/callback",
    "no scheme": "app.example.com/callback",
    "http on a public host": "http://app.example.com/callback",
    "host that starts like localhost": "http://localhost.evil.example/callback",
    "host that starts like loopback": "http://127.0.0.1.evil.example/callback",
    "another loopback address": "http://127.0.0.2/callback",
    "short loopback": "http://127.1/callback",
    "integer loopback": "http://2130706433/callback",
    "hex address over https": "https://0x7f.0.0.1/callback",
    "octal address": "https://0177.0.0.1/callback",
    "javascript": "javascript:alert(1)",
    "data": "data:text/html,<script>alert(1)</script>",
    "vbscript": "vbscript:msgbox(1)",
    "file": "file:///etc/passwd",
    "ftp": "ftp://app.example.com/cb",
    "out-of-band urn": "urn:ietf:wg:oauth:2.0:oob",
    "private scheme without a dot": "myapp:/callback",
    "private scheme without a path": "com.example.app:",
    "private scheme with an opaque path": "com.example.app:callback",
    "user": "https://user@app.example.com/callback",
    "user and password": "https://user:secret@app.example.com/callback",
    "loopback as user": "http://localhost:80@evil.example/callback",
    "backslash before at": "https://app.example.com\\@evil.example/callback",
    "backslash as slash": "https:\\\\app.example.com/callback",
    "fragment": "https://app.example.com/callback#token",
    "empty fragment": "https://app.example.com/callback#",
    "wildcard host": "https://*.example.com/callback",
    "wildcard path": "https://app.example.com/*",
    "wildcard port": "http://localhost:*/callback",
    "dot segment": "https://app.example.com/a/../callback",
    "encoded dot segment": "https://app.example.com/a/%2e%2e/callback",
    "half-encoded dot segment": "https://app.example.com/a/.%2E/callback",
    "single dot segment": "https://app.example.com/./callback",
    "encoded line break": "https://app.example.com/call%0d%0aback",
    "encoded backslash": "https://app.example.com/%5c%5cevil.example",
    "encoded nul": "https://app.example.com/%00",
    "tab": "https://app.example.com/call\tback",
    "line break": "https://app.example.com/callback\n",
    "space": "https://app.example.com/call back",
    "bad percent-encoding": "https://app.example.com/%zz",
    "letter beyond ASCII": "https://m\u00fcnchen.example/cb",
    "full-width letter": "https://\uff45vil.example/cb",
    "ideographic full stop": "https://app\u3002example/cb",
    "empty host": "https:///callback",
    "empty port": "https://app.example.com:/callback",
    "port 0": "https://app.example.com:0/callback",
    "port beyond 65535": "https://app.example.com:65536/callback",
    "port that is no number": "https://app.example.com:80a/callback",
    "trailing dot of the host": "https://app.example.com./callback",
    "encoded host": "https://app%2eexample.com/callback",
    "underscore host": "https://app_1.example.com/callback",
    "not an IPv6 address": "https://[::zz]/callback",
    "IPv6 zone": "https://[fe80::1%25eth0]/callback",
    "query with code": "https://app.example.com/callback?code=x",
    "query with state": "https://app.example.com/callback?a=b&state=",
    "query with iss": "https://app.example.com/callback?iss=https://evil.example",
    "query with encoded key": "https://app.example.com/callback?c%6fde=x",
    "query with error": "https://app.example.com/callback?error=none",
    "too long": "https://app.example.com/" + "a" * 2048,
}

ORIGINS = {
    "https": "https://spa.example.com",
    "with port": "https://spa.example.com:8443",
    "loopback": "http://127.0.0.1:5173",
    "localhost": "http://localhost:5173",
}

NOT_ORIGINS = {
    "any": "*",
    "null": "null",
    "wildcard": "https://*.example.com",
    "slash": "https://spa.example.com/",
    "path": "https://spa.example.com/app",
    "query": "https://spa.example.com?x",
    "upper case": "https://SPA.example.com",
    "default port": "https://spa.example.com:443",
    "plain http": "http://spa.example.com",
    "user": "https://a@spa.example.com",
    "private scheme": "com.example.app://x",
}

ON_SITE = [ip_network("10.20.0.0/16")]
ENDPOINTS = {
    "https": "https://login.example.com/token",
    "with query": "https://login.example.com/token?tenant=blue",
    "http in an opened network": "http://10.20.3.4:8080/realms/x",
    "http by name while a network is open": "http://keycloak:8080/realms/x",
}
NOT_ENDPOINTS = {
    "http outside the opened networks": "http://10.21.3.4/x",
    "loopback": "https://127.0.0.1/x",
    "localhost": "http://localhost:8081",
    "file": "file:///etc/passwd",
    "user": "https://a:b@login.example.com",
    "fragment": "https://login.example.com/#x",
    "javascript in a location": "javascript:alert(1)",
    "gopher": "gopher://login.example.com",
    "decimal address": "https://2852039166/latest/meta-data",
}


@pytest.mark.spec("RFC 8252 7.1")
@pytest.mark.spec("RFC 8252 7.3")
@pytest.mark.parametrize("uri", ACCEPTED.values(), ids=ACCEPTED)
def test_usual_redirect_uris_are_accepted_as_given(uri: str) -> None:
    assert check_redirect_uri(uri) == uri


@pytest.mark.row(3)
@pytest.mark.spec("RFC 6749 3.1.2")
@pytest.mark.spec("RFC 8252 8.4")
@pytest.mark.spec("RFC 9700 2.1")
@pytest.mark.spec("RFC 9700 4.1")
@pytest.mark.parametrize("uri", REFUSED.values(), ids=REFUSED)
def test_redirect_uris_that_could_lead_elsewhere_are_refused(uri: str) -> None:
    with pytest.raises(InvalidUri):
        check_redirect_uri(uri)


@given(st.text(max_size=60))
def test_any_text_is_accepted_or_refused_with_a_reason(text: str) -> None:
    for check in (check_redirect_uri, check_origin, check_link):
        with contextlib.suppress(InvalidUri):
            assert check(text) == text


@pytest.mark.spec("RFC 6454 6.2")
@pytest.mark.parametrize("origin", ORIGINS.values(), ids=ORIGINS)
def test_origins_are_accepted_as_browsers_send_them(origin: str) -> None:
    assert check_origin(origin) == origin


@pytest.mark.parametrize("origin", NOT_ORIGINS.values(), ids=NOT_ORIGINS)
def test_what_no_browser_sends_as_origin_is_refused(origin: str) -> None:
    with pytest.raises(InvalidUri):
        check_origin(origin)


@pytest.mark.parametrize("link", ["javascript:alert(1)", "data:text/html,x", "https://a@b.example", "", "about:blank"])
def test_links_that_are_no_web_addresses_are_refused(link: str) -> None:
    with pytest.raises(InvalidUri):
        check_link(link)


@pytest.mark.parametrize("url", ENDPOINTS.values(), ids=ENDPOINTS)
def test_provider_endpoints_lie_where_the_administrator_allowed(url: str) -> None:
    assert check_endpoint(url, allowed=ON_SITE, demo=False) == url


@pytest.mark.parametrize("url", NOT_ENDPOINTS.values(), ids=NOT_ENDPOINTS)
def test_provider_endpoints_elsewhere_are_refused(url: str) -> None:
    with pytest.raises(InvalidUri):
        check_endpoint(url, allowed=ON_SITE, demo=False)


def test_the_demo_accepts_an_upstream_on_loopback() -> None:
    assert check_issuer("http://127.0.0.1:8081", allowed=[], demo=True)
    with pytest.raises(InvalidUri):
        check_issuer("http://127.0.0.1:8081", allowed=[], demo=False)


@pytest.mark.spec("OpenID Connect Core 2")
def test_an_issuer_has_no_query() -> None:
    with pytest.raises(InvalidUri):
        check_issuer("https://login.example.com?x=1", allowed=[], demo=False)


@pytest.mark.parametrize(
    "uri",
    [
        "javascript:alert(1)",
        "ftp://app.example/logout",
        "https://app.example/logout#part",
        "https://user@app.example/logout",
        "https://*.app.example/logout",
        "https://app.example/a/../logout",
        "https://2130706433/logout",
        "/logout",
        "",
    ],
)
def test_where_no_logout_may_be_told(uri: str) -> None:
    with pytest.raises(InvalidUri):
        check_called_uri(uri)
