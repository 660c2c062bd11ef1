"""What pages look like: name, logo and colour of whoever runs the installation, and nothing that they could run."""

import re

import pytest
from fastapi import FastAPI, Request
from tests.web.conftest import Call
from tests.web.pictures import png

from watchword_web.app import create_app
from watchword_web.branding import Brand
from watchword_web.images import Image
from watchword_web.pages import Pages
from watchword_web.settings import Site

HOSTILE = "</title><script>alert(1)</script>\"'&"


@pytest.fixture
def pages(site: Site) -> Pages:
    return Pages(["watchword_web"], site)


@pytest.fixture
def app(pages: Pages, site: Site) -> FastAPI:
    return create_app("test", title="Test", settings=site, routers=[], version="1", pages=pages)


def page(pages: Pages, path: str = "/login") -> str:
    request = Request({"type": "http", "method": "GET", "path": path, "headers": [], "query_string": b""})
    return bytes(pages.render(request, "message.html", title="Signed out", message="Bye.").body).decode()


def addresses(html: str) -> dict[str, str]:
    """Of the style sheet and the logo, as far as the page has them."""
    found = re.findall(r'(?:href|src)="(/static/brand/[^"]+)"', html)
    return {address.rpartition(".")[2]: address for address in found}


def test_a_page_is_ours_until_somebody_says_otherwise(pages: Pages) -> None:
    html = page(pages)
    assert "<title>Signed out · Watchword</title>" in html
    assert "<span>Watchword</span>" in html
    assert addresses(html) == {}


def test_a_page_looks_as_its_owner_says(pages: Pages) -> None:
    links = {"policy_uri": "https://acme.example/privacy?a=1&b=2", "support_uri": "mailto:help@acme.example"}
    pages.branding.show(Brand("Acme", "#0a5c8f", Image.read(png(80, 80)), **links))
    html = page(pages)
    assert "<title>Signed out · Acme</title>" in html
    assert "<span>Acme</span>" in html
    assert "Watchword" not in html
    assert set(addresses(html)) == {"css", "png"}
    assert 'alt="" width="44" height="44"' in html
    assert re.search(r'<link rel="icon" type="image/png" href="/static/brand/', html)
    assert '<a href="https://acme.example/privacy?a=1&amp;b=2" rel="noreferrer">Privacy</a>' in html
    assert '<a href="mailto:help@acme.example" rel="noreferrer">Help</a>' in html
    assert "Terms of use" not in html


def test_a_wide_logo_stands_for_the_name(pages: Pages) -> None:
    pages.branding.show(Brand("Acme", None, Image.read(png(300, 60))))
    html = page(pages)
    assert 'alt="Acme" width="220" height="44"' in html
    assert "<span>Acme</span>" not in html
    assert 'rel="icon" type="image/svg+xml"' in html


def test_a_name_is_a_name_and_nothing_else(pages: Pages) -> None:
    pages.branding.show(Brand(HOSTILE, None, Image.read(png(300, 60))))
    assert "<script>" not in page(pages)


@pytest.mark.parametrize(
    ("cookie", "theme"),
    [
        ("__Host-ww-theme=dark", "dark"),
        ("__Host-ww-theme=light", "light"),
        ("__Host-ww-theme=sepia", None),
        ("__Host-ww-theme=dark.css", None),
        ("__Host-ww-theme=dark; __Host-ww-theme=light", None),
        ("ww-theme=dark", None),
        ("", None),
    ],
)
@pytest.mark.parametrize("colour", [None, "#0a5c8f"])
def test_a_page_comes_in_the_theme_that_was_chosen_in_this_browser(
    cookie: str, theme: str | None, colour: str | None
) -> None:
    pages = Pages(["watchword_web"], Site("https://sso.example"))
    pages.branding.show(Brand("Acme", colour))
    headers = [(b"cookie", cookie.encode())]
    request = Request({"type": "http", "method": "GET", "path": "/x", "headers": headers, "query_string": b""})
    html = bytes(pages.render(request, "message.html", title="Signed out", message="Bye.").body).decode()
    head = html.partition("</head>")[0]
    sheets = re.findall(r'<link rel="stylesheet" href="/static/(?:brand/)?[0-9a-f]{16}/([^"]+)"', head)
    brand = (colour or "#ours")[1:]
    if theme is None:
        assert sheets == ["watchword.css", *([f"{brand}.css"] if colour else [])]
        assert '<meta name="color-scheme" content="light dark">' in head
        assert head.count('name="theme-color"') == 2
    else:
        assert sheets == ["watchword.css", f"{brand}-{theme}.css"]
        assert f'<meta name="color-scheme" content="{theme}">' in head
        assert head.count('name="theme-color"') == 1
    offered = {"auto", "light", "dark"} - {theme or "auto"}
    assert set(re.findall(r'name="theme" value="(\w+)"', html)) == offered


def test_a_page_that_cannot_be_opened_again_offers_no_choice(pages: Pages) -> None:
    request = Request({"type": "http", "method": "POST", "path": "/x", "headers": [], "query_string": b""})
    html = bytes(pages.render(request, "message.html", title="Signed out", message="Bye.").body).decode()
    assert 'id="themes"' not in html


async def test_style_and_logo_are_kept_for_ever_under_their_own_address_alone(
    pages: Pages, app: FastAPI, call: Call
) -> None:
    pages.branding.show(Brand("Acme", "#0a5c8f", Image.read(png())))
    found = addresses(page(pages))
    for kind, media_type in (("css", "text/css; charset=utf-8"), ("png", "image/png")):
        answer = await call(app, found[kind])
        assert (answer.status_code, answer.headers["content-type"]) == (200, media_type)
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        again = await call(app, found[kind], headers=[("If-None-Match", answer.headers["etag"])])
        assert (again.status_code, again.content) == (304, b"")
        assert (await call(app, found[kind], method="POST")).status_code == 405
        older = await call(app, re.sub(r"/[0-9a-f]{16}/", "/0123456789abcdef/", found[kind]))
        assert (older.status_code, older.headers["cache-control"]) == (200, "no-cache")


async def test_an_instance_that_has_not_heard_yet_serves_the_new_colour(pages: Pages, app: FastAPI, call: Call) -> None:
    pages.branding.show(Brand("Acme", "#0a5c8f"))
    address = addresses(page(pages))["css"]
    pages.branding.show(Brand())
    answer = await call(app, address)
    assert answer.headers["cache-control"].endswith("immutable")
    assert "--accent: #0a5c8f" in answer.text


@pytest.mark.parametrize(
    "path",
    ["x/red.css", "x/0a5c8.css", "x/0A5C8F.css", "x/0a5c8f-sepia.css", "x/0a5c8f.css.css", "x/logo.png", "x", ""],
)
async def test_there_is_nothing_else(app: FastAPI, call: Call, path: str) -> None:
    assert (await call(app, f"/static/brand/{path}")).status_code == 404


@pytest.mark.spec("CSP3 6.4.2, 6.4.3")
def test_a_preview_may_be_framed_by_ours_and_sends_nothing(pages: Pages) -> None:
    face = pages.branding.face_of(Brand("Acme", "#0a5c8f", Image.read(png())), theme="dark", inline=True)
    request = Request({"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""})
    shown = pages.render_preview(request, "message.html", face, title="x", message="y")
    policy = shown.headers["content-security-policy"]
    assert "frame-ancestors 'self'" in policy
    assert "form-action 'none'" in policy
    assert "img-src 'self' data:" in policy
    assert shown.headers["x-frame-options"] == "SAMEORIGIN"
    html = bytes(shown.body).decode()
    assert "/0a5c8f-dark.css" in html
    assert 'src="data:image/png;base64,' in html
    assert "frame-ancestors 'none'" in pages.render(
        request, "message.html", title="x", message="y"
    ).headers["content-security-policy"]  # fmt: skip
