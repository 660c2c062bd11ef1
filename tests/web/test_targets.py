"""Where a browser may be sent: nothing but a path of ours, however it is written and whoever decodes it."""

import re
from urllib.parse import quote, unquote, urljoin, urlsplit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from watchword_web.targets import is_local_path

pytestmark = pytest.mark.spec("RFC 9700 4.11")

GOOD = [
    "/",
    "/account",
    "/account/",
    "/login?flow=0192f0c4-7f7e-7c36-b1d5-2f2c9b9f9d11",
    "/login?next=https://elsewhere.example/",  # a parameter, not a target
    "/login?hint=100%25",
    "/a%20b/%C3%A9?q=%E2%82%AC#part",
    "/api/auth/sso/login/urn:example:idp",
    "/@alice",
]

BAD = [
    "",
    "account",
    "./account",
    "?next=/",
    "#top",
    "//evil.example",
    "///evil.example",
    "////evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "\\/evil.example",
    "/\\/evil.example",
    "/account\\..\\evil",
    "https://evil.example",
    "https:evil.example",
    "https:/evil.example",
    "HTTPS://evil.example",
    "http:\\\\evil.example",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "data:text/html,x",
    "vbscript:x",
    "file:///etc/passwd",
    "blob:https://evil.example/x",
    "mailto:a@evil.example",
    "com.evil.app:/x",
    " //evil.example",
    " /account",
    "/account ",
    "\t//evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "/\r/evil.example",
    "/\x00/evil.example",
    "/\x0b/evil.example",
    "/account\r\nSet-Cookie: a=b",
    "/account%0d%0aSet-Cookie:%20a=b",
    "/account?x=%0a",
    "/account%00",
    "/%00",
    "/%7f",
    "/%c2%85",  # next line, a C1 control
    "/%e2%80%a8",  # line separator
    "/%2Fevil.example",
    "/%2fevil.example",
    "/%5Cevil.example",
    "/%5cevil.example",
    "/%09/evil.example",
    "%2F%2Fevil.example",
    "%2Faccount",
    "%68ttps://evil.example",
    "https%3A%2F%2Fevil.example",
    "/%252Fevil.example",
    "/%25252Fevil.example",
    "/%2525252Fevil.example",
    "/%255Cevil.example",
    "/%25255Cevil.example",
    "/%2%66evil.example",  # decodes to /%2f…, then to //
    "/%25%32%46evil.example",
    "/.",
    "/..",
    "/../account",
    "/./account",
    "/.//evil.example",
    "/..//evil.example",
    "/account/..//evil.example",
    "/%2e%2e/account",
    "/%2e/%2fevil.example",
    "/.%2e//evil.example",
    "/account//evil.example",
    "/account//",
    "//",
    "///",
    "/%zz",
    "/%",
    "/%2",
    "/%ff",  # not UTF-8
    "/%c0%af",  # an overlong slash
    "/%ed%a0%80",  # a lone surrogate
    "/\u2215evil.example",  # not ASCII as it stands
    "/\uff0fevil.example",
    "/%ef%bc%8fevil.example",  # full-width slash: // after NFKC
    "/%ef%bc%bcevil.example",  # full-width backslash
    "/%e2%80%a5/x",  # two-dot leader: .. after NFKC
    "\u202e/account",
    "\ufeff/account",
    "\u3000//evil.example",
    "/" + "a" * 2048,
]


@pytest.mark.parametrize("value", GOOD)
@pytest.mark.spec("RFC 3986 3.3, 4.2")
def test_a_path_of_ours_is_accepted(value: str) -> None:
    assert is_local_path(value)


@pytest.mark.parametrize("value", BAD, ids=ascii)
@pytest.mark.spec("RFC 9700 4.11")
def test_anything_that_could_leave_is_refused(value: str) -> None:
    assert not is_local_path(value)


_PIECES = st.sampled_from(
    [
        *("/", "//", "\\", ".", "..", "%", "?", "#", "@", ":", "+", ";", "&", "\t", "\n", "a", "25", "2f"),
        *("%2f", "%2F", "%5c", "%25", "%09", "%0a", "\uff0f", "%ef%bc%8f", "%c0%af", "%e2%80%a5"),
        *("evil.example", "https:", "javascript:"),
    ]
)
_URLS = st.one_of(st.lists(_PIECES, max_size=12).map("".join), st.text(max_size=60), st.text(max_size=40).map(quote))


def _as_a_browser_resolves(value: str) -> str:
    """The host that a browser ends up at (WHATWG URL: drop tabs and breaks, read backslashes as slashes)."""
    read = re.sub(r"[\t\n\r]", "", value.strip()).replace("\\", "/")
    return urlsplit(urljoin("https://sso.example/login/complete", read)).netloc


@given(value=_URLS)
@example("/%25252525252Fevil.example")
@settings(max_examples=1500, deadline=None)
def test_what_is_accepted_stays_here_however_often_it_is_decoded(value: str) -> None:
    if not is_local_path(value):
        return
    for _ in range(8):
        assert value.startswith("/")
        assert not value.startswith(("//", "/\\"))
        assert _as_a_browser_resolves(value) == "sso.example"
        # A careless reader resolves the path first and joins it again.
        assert _as_a_browser_resolves(urlsplit(urljoin("https://sso.example/", value)).path) == "sso.example"
        value = unquote(value)


@given(value=_URLS)
@settings(max_examples=500, deadline=None)
def test_encoding_a_refused_value_does_not_make_it_acceptable(value: str) -> None:
    is_broken = re.search(r"%(?![0-9A-Fa-f]{2})", value)  # encoding mends what is refused for this alone
    if value.startswith("/") and not is_local_path(value) and not is_broken and value.isascii() and len(value) < 300:
        assert not is_local_path(quote(value, safe="/"))


@given(segments=st.lists(st.from_regex(r"[A-Za-z0-9_~-]{1,12}", fullmatch=True), max_size=5))
def test_plain_paths_are_accepted(segments: list[str]) -> None:
    assert is_local_path("/" + "/".join(segments))
