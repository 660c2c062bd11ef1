"""Templates, their policy, and the static files."""

import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx2
import jinja2
import pytest
from fastapi import FastAPI, Request
from hypothesis import given
from hypothesis import strategies as st

import watchword_web
from watchword_web.app import create_app
from watchword_web.csp import content_security_policy, form_action_source
from watchword_web.errors import PageError
from watchword_web.pages import Pages, with_code
from watchword_web.settings import Site

Call = Callable[..., Awaitable[httpx2.Response]]
HOSTILE = "\"><script>alert(1)</script>'{{ 7 * 7 }}"


@pytest.fixture
def request_() -> Request:
    return Request({"type": "http", "method": "GET", "path": "/login", "headers": [], "query_string": b""})


def _html(response: object) -> str:
    body = getattr(response, "body", b"")
    assert isinstance(body, bytes)
    return body.decode()


def test_what_others_wrote_is_escaped(sample_pages: Pages, request_: Request) -> None:
    error = PageError(HOSTILE, HOSTILE, HOSTILE, advice=[HOSTILE])
    pages = [
        sample_pages.render(
            request_, "sample_login.html", application=HOSTILE, failed=False, flow=HOSTILE, csrf=HOSTILE,
            providers={"demo": HOSTILE},
        ),
        sample_pages.render(request_, "sample_consent.html", application=HOSTILE, flow="f", csrf="c"),
        sample_pages.render(request_, "message.html", title=HOSTILE, message=HOSTILE),
        sample_pages.render(request_, "wrong_host.html", host=HOSTILE, suggestion=HOSTILE),
        sample_pages.render_error(request_, error),
        sample_pages.render_form_post(request_, "https://app.example/cb", {"state": HOSTILE, HOSTILE: "x"}),
    ]  # fmt: skip
    for page in pages:
        assert "<script>" not in _html(page)
        assert "49" not in re.sub(r"&#\d+;", "", _html(page))


def test_what_stands_between_backticks_is_code_and_nothing_else_is_markup() -> None:
    shown = with_code("add `read:org`, <b>`a<b`</b> & ` alone")
    assert shown == "add <code>read:org</code>, &lt;b&gt;<code>a&lt;b</code>&lt;/b&gt; &amp; ` alone"


def test_no_page_has_inline_script_or_style(sample_pages: Pages, request_: Request) -> None:
    templates = Path(watchword_web.__file__).parent / "templates"
    for template in templates.glob("*.html"):
        text = template.read_text()
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", text), template.name
        assert not re.search(r"<script(?! src=)", text), template.name
        assert not re.search(r"(src|href)=\"https?:", text), template.name


def test_every_text_of_a_template_can_be_translated() -> None:
    templates = Path(watchword_web.__file__).parent / "templates"
    for template in templates.glob("*.html"):
        text = re.sub(
            r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}|<code>.*?</code>|<[^>]*>", " ", template.read_text(), flags=re.DOTALL
        )
        assert not re.search(r"[A-Za-z]{2,}", text), (template.name, text.split())


def test_a_missing_variable_is_an_error_and_not_an_empty_page(sample_pages: Pages, request_: Request) -> None:
    with pytest.raises(jinja2.UndefinedError):
        sample_pages.render(request_, "message.html", title="x")


def test_links_and_files_carry_the_base_path(request_: Request) -> None:
    pages = Pages(["watchword_web", "watchword_web_samples"], Site("https://sso.example/auth"))
    html = _html(
        pages.render(
            request_, "sample_login.html", application="A", failed=True, flow="f1", csrf="c", providers={"demo": "Demo"}
        )
    )
    assert 'action="/auth/login?flow=f1"' in html
    assert 'id="provider-demo" href="/auth/login/provider/demo?flow=f1"' in html
    assert re.search(r'href="/auth/static/[0-9a-f]{16}/watchword\.css"', html)
    assert not re.search(r'(?:href|src|action)="/(?!auth/)', html)


def test_the_names_that_browsers_and_scripts_rely_on(sample_pages: Pages, request_: Request) -> None:
    html = _html(
        sample_pages.render(
            request_, "sample_login.html", application="A", failed=True, flow="f", csrf="c", providers={}
        )
    )
    assert re.search(r'<input id="username" name="username" type="text"[^>]* autocomplete="username"', html)
    assert re.search(r'<input id="password" name="password" type="password"[^>]* autocomplete="current-password"', html)
    assert '<button type="submit" id="sign-in"' in html
    assert '<input type="hidden" name="csrf" value="c">' in html
    consent = _html(sample_pages.render(request_, "sample_consent.html", application="A", flow="f", csrf="c"))
    for decision in ("allow", "deny"):
        assert re.search(rf'<button type="submit" id="{decision}"[^>]* name="decision" value="{decision}"', consent)


@pytest.mark.spec("CSP3 6.4.2; CSP3 6.4.2, 6.4.3")
def test_a_page_allows_forms_to_end_at_the_application_only_where_told(sample_pages: Pages, request_: Request) -> None:
    plain = sample_pages.render(request_, "message.html", title="x", message="y").headers["content-security-policy"]
    assert "form-action 'self';" in plain
    assert "script-src" not in plain
    told = sample_pages.render(
        request_, "message.html", title="x", message="y", form_action=["https://app.example/cb?x=1"]
    ).headers["content-security-policy"]
    assert "form-action 'self' https://app.example;" in told


@pytest.mark.parametrize(
    ("uri", "source"),
    [
        ("https://app.example/cb?x=1#y", "https://app.example"),
        ("https://app.example:8443/cb", "https://app.example:8443"),
        ("https://APP.Example/cb", "https://app.example"),
        ("http://127.0.0.1:4711/cb", "http://127.0.0.1:4711"),
        ("http://[::1]:4711/cb", "http:"),
        ("http://my_app:3000/cb", "http:"),
        ("https://bücher.example/cb", "https:"),
        ("com.example.app:/cb", "com.example.app:"),
        ("https://user:pass@app.example/cb", "https://app.example"),
        ("https://a;script-src *.evil/cb", "https:"),
        ("https://a'unsafe-inline'/cb", "https:"),
        ("https://*/cb", "https:"),
    ],
)
def test_the_source_of_a_redirect_uri(uri: str, source: str) -> None:
    assert form_action_source(uri) == source


@pytest.mark.parametrize(
    "uri", ["", "/cb", "//app.example", "app", "x y:/cb", "https://app.example:99999/", "https://a:b/"]
)
def test_what_is_no_uri_has_no_source(uri: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        form_action_source(uri)


@given(st.text(max_size=60))
def test_no_uri_breaks_out_of_the_directive(text: str) -> None:
    for uri in (text, f"https://{text}", f"https://app.example:{text}/", f"{text}://x"):
        try:
            policy = content_security_policy([uri])
        except ValueError:
            continue
        directives = [part.split()[0] for part in policy.split("; ")]
        assert directives == [
            "default-src",
            "style-src",
            "img-src",
            "font-src",
            "form-action",
            "frame-ancestors",
            "base-uri",
        ]
        assert len(policy.split("form-action ")[1].split(";")[0].split()) <= 2
        assert "*" not in policy


@pytest.fixture
def app(site: Site, sample_pages: Pages) -> FastAPI:
    return create_app("authz", title="T", settings=site, routers=[], version="1", pages=sample_pages)


async def test_a_static_file_may_be_kept_for_ever_under_its_hash(call: Call, app: FastAPI, sample_pages: Pages) -> None:
    url = sample_pages.assets.url("watchword.css")
    answer = await call(app, url)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["x-content-type-options"] == "nosniff"
    again = await call(app, url, headers=[("If-None-Match", answer.headers["etag"])])
    assert (again.status_code, again.content) == (304, b"")
    assert (await call(app, url, host="authz:8000")).status_code == 200


async def test_under_another_hash_nobody_keeps_it(call: Call, app: FastAPI) -> None:
    answer = await call(app, "/static/0000000000000000/watchword.css")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-cache")


@pytest.mark.parametrize(
    "name",
    [
        "../pages.py", "..%2fpages.py", "%2e%2e/pages.py", "..%5cpages.py", "....//pages.py", "/etc/passwd",
        "%2fetc%2fpasswd", "watchword.css/", "watchword.css%00.txt", "WATCHWORD.CSS", "", "submit.js%20",
    ],
)  # fmt: skip
async def test_no_path_leads_out_of_the_static_files(call: Call, app: FastAPI, name: str) -> None:
    for target in (f"/static/0000000000000000/{name}", f"/static/{name}"):
        answer = await call(app, target)
        assert answer.status_code in {400, 404}
        assert "import" not in answer.text


async def test_static_files_are_only_read(call: Call, app: FastAPI, sample_pages: Pages) -> None:
    answer = await call(app, sample_pages.assets.url("mark.svg"), method="POST")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


def test_a_missing_static_file_is_noticed_when_the_page_is_rendered(sample_pages: Pages) -> None:
    with pytest.raises(KeyError):
        sample_pages.assets.url("missing.css")


@pytest.mark.spec("Form Post Response Mode 2")
def test_a_form_post_answer_is_a_form_with_a_button(sample_pages: Pages, request_: Request) -> None:
    page = sample_pages.render_form_post(request_, "https://app.example/cb", {"code": "abc", "state": "x&y"})
    html = _html(page)
    assert '<form method="post" action="https://app.example/cb" id="form-post">' in html
    assert '<input type="hidden" name="state" value="x&amp;y">' in html
    assert 'id="continue"' in html
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert "form-action 'self' https://app.example;" in page.headers["content-security-policy"]
    assert page.headers["cache-control"] == "no-store"
