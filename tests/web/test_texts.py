"""Words in two languages: complete, up to date, and in the language that is wanted."""

import ast
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fastapi import FastAPI, Request, Response
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import Environment, nodes

from watchword.translations import PACKAGES, brought_up_to_date, catalogue_of, messages_of
from watchword_web.app import create_app
from watchword_web.cookies import Cookies
from watchword_web.errors import PageError
from watchword_web.languages import accepted, best, language_of, prefer
from watchword_web.pages import Pages
from watchword_web.settings import Site
from watchword_web.texts import LANGUAGES, Text, Words

_MARKS = ("_", "gettext", "ngettext")
_PLACE = re.compile(r"%\((\w+)\)s")


def _forms(words: str | tuple[str, ...] | list[str] | None) -> tuple[str, ...]:
    return tuple(words) if isinstance(words, (tuple, list)) else (words or "",)


@pytest.mark.parametrize("package", PACKAGES)
@pytest.mark.parametrize("language", LANGUAGES[1:])
def test_catalogue_is_complete_and_up_to_date(package: str, language: str) -> None:
    """`make translations` adds what is missing here; then it wants its words."""
    folder = PACKAGES[package]
    kept = {message.id: message for message in catalogue_of(folder, language) if message.id}
    said = [message for message in brought_up_to_date(folder, language) if message.id]
    assert [message.id for message in said if message.id not in kept] == [], "not in the catalogue"
    assert [message.id for message in said if not all(_forms(message.string))] == [], "without words"
    assert kept.keys() - {message.id for message in said} == set(), "no longer said"
    assert [message.id for message in kept.values() if message.fuzzy] == [], "not looked at"
    for message in said:
        # The form for one may leave the number out.
        assert set(_PLACE.findall(_forms(message.string)[-1])) == set(_PLACE.findall(_forms(message.id)[-1])), (
            message.id
        )


def test_whatever_stands_in_an_error_page_can_be_found() -> None:
    """A text made of parts (an f-string) is in no catalogue."""
    made = re.compile(r"(?:PageError|Text)\(\s*(?:\"[^\"]*\",\s*)*f\"")
    for folder in PACKAGES.values():
        for path in folder.rglob("*.py"):
            assert not made.search(path.read_text()), path


def test_every_text_of_the_templates_is_found() -> None:
    """The extraction sees what stands between tags: no page says a sentence that is not marked."""
    for folder in PACKAGES.values():
        for path in (folder / "templates").rglob("*.html"):
            shown = re.sub(
                r"{% block main_class %}[\w ]*|<code[^>]*>.*?</code>|\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}|<[^>]*>",
                " ",
                path.read_text(),
                flags=re.DOTALL,
            )
            assert re.findall(r"\w*[a-z]{3,}\w*", shown) == [], path
            assert _unmarked(path.read_text()) == [], path
        assert list(messages_of(folder))


def _unmarked(source: str) -> list[str]:
    """Words within a template's expressions that no call marks as a message."""
    tree = Environment(extensions=["jinja2.ext.i18n"], autoescape=True).parse(source)
    calls = [call for call in tree.find_all(nodes.Call) if isinstance(call.node, nodes.Name)]
    marked = {id(each) for call in calls if call.node.name in _MARKS for each in call.find_all(nodes.Const)}  # type: ignore[attr-defined]  # a Name, above
    texts = [each.value for each in tree.find_all(nodes.Const) if id(each) not in marked]
    return [text for text in texts if isinstance(text, str) and re.match(r"[A-Z][a-z]+([ .,:]|$)", text)]


def test_every_text_of_the_console_is_marked() -> None:
    """What its code puts into a page, beside a field or as a title, is a `Text`."""
    folder = PACKAGES["watchword_admin"]
    for path in (folder / "console").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            values: list[ast.expr | None] = []
            if isinstance(node, ast.Dict):
                values = [value for key, value in zip(node.keys, node.values, strict=True) if _name(key) != "scope"]
            elif isinstance(node, ast.keyword) and node.arg in {"title", "message", "label", "wrong"}:
                values = [] if path.parent.name == "kinds" else [node.value]
            said = [each.value for each in values if isinstance(each, ast.Constant) and isinstance(each.value, str)]
            assert [text for text in said if re.search(r"[a-z]{2,} [a-z]{2,}", text)] == [], path


def _name(key: ast.expr | None) -> object:
    return key.value if isinstance(key, ast.Constant) else None


def test_a_text_is_english_and_speaks_other_languages() -> None:
    german, english = Words("de", ["watchword_web", "watchword_authz"]), Words("en", ["watchword_web"])
    wait = Text.of_count(
        "Too many attempts. Wait a second, then try again.",
        "Too many attempts. Wait %(count)s seconds, then try again.",
        1200,
    )
    assert (str(wait), english.of(wait)) == (
        "Too many attempts. Wait 1200 seconds, then try again.",
        "Too many attempts. Wait 1,200 seconds, then try again.",
    )
    assert german.of(wait) == "Zu viele Versuche. Warten Sie 1.200 Sekunden, und versuchen Sie es dann noch einmal."
    assert (
        german.of(Text("No catalogue has 100%% of %(what)s", what=Text("Continue")))
        == "No catalogue has 100% of Weiter"
    )
    assert german.of(Text("100%")) == "100%"
    at = datetime(2026, 3, 7, 14, 5, tzinfo=UTC)
    assert (german.moment(at), english.moment(at)) == ("7. März 2026, 14:05 UTC", "7 March 2026, 14:05 UTC")
    assert (german.stamp(at), english.stamp(at)) == ("07.03.2026, 14:05:00", "7 Mar 2026, 14:05:00")
    assert (german.number(1234.5), english.number(1234.5)) == ("1.234,5", "1,234.5")


@pytest.mark.spec("RFC 9110 12.5.4")
@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("de", ["de"]),
        ("en;q=0.5, de-CH", ["de-CH", "en"]),
        ("fr;q=0, de;q=0.1,en;q=0.2", ["en", "de"]),
        ("de;q=x, ,;q=1,en", ["en"]),
        ("", []),
    ],
)
def test_what_a_browser_accepts(header: str, expected: list[str]) -> None:
    assert accepted(header) == expected


@given(st.text(max_size=600))
def test_any_header_is_read(header: str) -> None:
    assert all(accepted(header))
    assert best(accepted(header), LANGUAGES) in {None, *LANGUAGES}


@pytest.mark.spec("OpenID Connect Core 3.1.2.1; RFC 4647 3.4; RFC 9110 12.5.4")
@pytest.mark.parametrize(
    ("asked", "cookie", "of_person", "header", "expected"),
    [
        (("fr", "de"), "en", "en", "en", "de"),
        (("fr",), "de", "en", "en", "de"),
        ((), "de", "en", "en", "de"),
        ((), None, "de-AT", "en", "de"),
        ((), "xx", None, "de-DE,de;q=0.9", "de"),
        ((), None, None, "fr", "en"),
        ((), "de$", None, "", "en"),
    ],
)
def test_the_application_comes_first_then_the_person_then_the_browser(
    asked: tuple[str, ...], cookie: str | None, of_person: str | None, header: str, expected: str
) -> None:
    headers = [(b"accept-language", header.encode())]
    if cookie is not None:
        headers.append((b"cookie", f"__Host-ww-language={cookie}".encode()))
    request = Request({"type": "http", "method": "GET", "path": "/", "headers": headers, "query_string": b""})
    prefer(request.scope, asked=asked)
    prefer(request.scope, of_person=of_person)
    assert language_of(request, Cookies(Site("https://sso.example")), LANGUAGES) == expected


async def test_pages_and_errors_are_in_the_wanted_language(site: Site, call) -> None:  # type: ignore[no-untyped-def]
    app = _app(Pages(["watchword_web"], site), site)
    german = (("accept-language", "de-DE"),)
    page = await call(app, "/nowhere", headers=german)
    assert '<html lang="de">' in page.text
    assert "Hier ist nichts" in page.text
    assert 'name="language" value="en"' in page.text
    assert 'name="back" value="/nowhere"' in page.text
    page = await call(app, "/over?flow=%22%3E", headers=german)
    assert "Diese Anmeldung" not in page.text, "the library has no words of a service"
    assert 'name="back"' not in page.text, "what somebody else wrote is not repeated"
    page = await call(app, "/over?flow=1f-e", headers=german)
    assert 'value="/over?flow=1f-e"' in page.text
    hostile = await call(app, "/hostile", headers=german)
    assert "<script>" not in hostile.text
    assert (await call(app, "/nowhere")).text.count('lang="en"') == 1
    only_english = _app(Pages(["watchword_web"], site, languages=["en"]), site)
    page = await call(only_english, "/nowhere", headers=german)
    assert '<html lang="en">' in page.text
    assert 'name="language"' not in page.text


def _app(pages: Pages, site: Site) -> FastAPI:
    app = create_app("sample", title="Sample", settings=site, routers=[], version="1", pages=pages)

    @app.get("/over")
    async def over() -> Response:
        raise PageError("flow_over", "This sign-in is over", "It was finished already, perhaps in another tab.")

    @app.get("/hostile")
    async def hostile() -> Response:
        raise PageError("x", "<script>%(x)s", Text("%(who)s <script>", who="<script>"))

    return app


def test_catalogues_travel_with_their_packages() -> None:
    """What is built holds them: they lie in the package's own folder."""
    for package, folder in PACKAGES.items():
        assert folder.name == package
        assert (Path(__import__(package).__file__ or "").parent / "locale" / "de.po").is_file()
