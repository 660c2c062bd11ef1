"""The flow and session cookies: their attributes, and what is not accepted as one."""

from collections.abc import Sequence
from http.cookies import SimpleCookie

import pytest
from fastapi import Request, Response

from watchword_web.cookies import MAX_FLOWS, Cookies
from watchword_web.settings import Site

SECRET = "x" * 43
FLOW = "0192f0c4-7f7e-7c36-b1d5-2f2c9b9f9d11"


def _request(*cookie_headers: str) -> Request:
    headers = [(b"cookie", header.encode("latin-1")) for header in cookie_headers]
    return Request({"type": "http", "headers": headers})


def _set_cookies(response: Response) -> Sequence[str]:
    return response.headers.getlist("set-cookie")


@pytest.mark.parametrize(
    ("public_url", "prefix", "path", "secure"),
    [
        ("https://sso.example", "__Host-", "/", True),
        ("https://sso.example/auth", "__Secure-", "/auth", True),
        ("http://localhost:8080", "", "/", False),
        ("http://localhost:8080/auth", "", "/auth", False),
    ],
)
@pytest.mark.spec("RFC 6265bis 4.1.3, 5.7")
def test_names_and_attributes_follow_the_public_url(public_url: str, prefix: str, path: str, secure: bool) -> None:
    cookies = Cookies(Site(public_url))
    response = Response()
    cookies.set_flow(_request(), response, FLOW, SECRET)
    cookies.set_session(response, SECRET)
    flow, session = _set_cookies(response)
    assert flow.startswith(f"{prefix}ww-flow-{FLOW}={SECRET};")
    assert session.startswith(f"{prefix}ww-session={SECRET};")
    for line in (flow, session):
        attributes = [part.strip() for part in line.split(";")[1:]]
        assert "HttpOnly" in attributes
        assert "SameSite=lax" in attributes
        assert f"Path={path}" in attributes
        assert ("Secure" in attributes) is secure
        assert not any(part.lower().startswith("domain") for part in attributes)
    assert "Max-Age=1800" in flow
    assert "Max-Age" not in session


def test_a_theme_is_kept_until_it_is_the_devices_again() -> None:
    cookies, response = Cookies(Site("https://sso.example")), Response()
    cookies.set_theme(response, "dark")
    cookies.set_theme(response, None)
    chosen, forgotten = _set_cookies(response)
    assert chosen.startswith("__Host-ww-theme=dark; ")
    assert "Max-Age=31536000" in chosen
    assert forgotten.startswith('__Host-ww-theme=""; ')
    assert "Max-Age=0" in forgotten
    for line in (chosen, forgotten):
        assert {"HttpOnly", "SameSite=lax", "Secure", "Path=/"} <= {part.strip() for part in line.split(";")}


def test_what_was_set_is_read_back() -> None:
    cookies = Cookies(Site("https://sso.example"))
    request = _request(f"a=b; __Host-ww-flow-{FLOW}={SECRET}; __Host-ww-session={'s' * 43}")
    assert cookies.read_flow(request, FLOW) == SECRET
    assert cookies.read_session(request) == "s" * 43


@pytest.mark.parametrize(
    "header",
    [
        "",
        f"ww-session={SECRET}",
        f"__Host-ww-session={SECRET}; __Host-ww-session={'y' * 43}",
        "__Host-ww-session=",
        "__Host-ww-session",
        "__Host-ww-session=short",
        f"__Host-ww-session={'x' * 129}",
        f'__Host-ww-session="{SECRET}"',
        f"__Host-ww-session={SECRET}%00",
        f"__Host-ww-session={'x' * 42}é",
        "__Host-ww-session=" + "'; DROP TABLE session; --",
        ";;;=;=;",
    ],
)
def test_garbage_oversized_or_ambiguous_cookies_are_none(header: str) -> None:
    assert Cookies(Site("https://sso.example")).read_session(_request(header)) is None


def test_the_same_cookie_twice_is_still_that_cookie() -> None:
    request = _request(f"__Host-ww-session={SECRET}", f"__Host-ww-session={SECRET}")
    assert Cookies(Site("https://sso.example")).read_session(request) == SECRET


@pytest.mark.parametrize("flow_id", ["", "a;b", "a=b", "a b", "../x", "x" * 65, "é"])
def test_a_flow_id_that_could_not_be_ours_finds_no_cookie(flow_id: str) -> None:
    cookies = Cookies(Site("https://sso.example"))
    assert cookies.read_flow(_request(f"__Host-ww-flow-{flow_id}={SECRET}"), flow_id) is None


def test_the_oldest_flows_give_way() -> None:
    cookies = Cookies(Site("https://sso.example"))
    held = "; ".join(f"__Host-ww-flow-f{number}={SECRET}" for number in range(MAX_FLOWS + 1))
    response = Response()
    cookies.set_flow(_request(held), response, "new", SECRET)
    *dropped, added = _set_cookies(response)
    assert [line.partition("=")[0] for line in dropped] == ["__Host-ww-flow-f0", "__Host-ww-flow-f1"]
    assert all("Max-Age=0" in line and "Secure" in line and "Path=/" in line for line in dropped)
    assert added.startswith("__Host-ww-flow-new=")


def test_renewing_a_flow_drops_none_while_eight_are_open() -> None:
    cookies = Cookies(Site("https://sso.example"))
    held = "; ".join(f"__Host-ww-flow-f{number}={SECRET}" for number in range(MAX_FLOWS))
    response = Response()
    cookies.set_flow(_request(held), response, "f3", "n" * 43)
    assert len(_set_cookies(response)) == 1


def test_dropping_overwrites_with_the_same_attributes() -> None:
    cookies = Cookies(Site("https://sso.example/auth"))
    response = Response()
    cookies.drop_flow(response, FLOW)
    cookies.drop_session(response)
    for line in _set_cookies(response):
        morsel = next(iter(SimpleCookie(line).values()))
        assert (morsel.value, morsel["path"], morsel["max-age"]) == ("", "/auth", "0")
        assert morsel["secure"]
        assert morsel["httponly"]
