"""What pages look like: what may be said of it, by the API, in files and at the console, and who hears of it."""

import base64
from collections.abc import AsyncIterator

import pytest
from tests.web.pictures import jpeg, png

from watchword_events.contracts import BrandingChanged
from watchword_testkit.api import Api
from watchword_testkit.browser import Browser
from watchword_testkit.events import expect_events
from watchword_testkit.platform import Platform

NOTHING: dict[str, object] = {
    "name": "Watchword",
    "primary_color": None,
    "logo": None,
    "policy_uri": None,
    "tos_uri": None,
    "support_uri": None,
}
SVG = base64.b64encode(b"<svg xmlns='http://www.w3.org/2000/svg'/>").decode()
BAD: dict[str, tuple[dict[str, object], str]] = {
    "no name": ({"name": ""}, "#/name"),
    "blank name": ({"name": "  "}, "#/name"),
    "long name": ({"name": "a" * 65}, "#/name"),
    "name that begins a header": ({"name": "Acme\r\nBcc: all@acme.example"}, "#/name"),
    "name with a line break": ({"name": "Acme\n"}, "#/name"),
    "name that turns around": ({"name": "Acme \u202egro.live"}, "#/name"),
    "name as list": ({"name": ["Acme"]}, "#/name"),
    "colour by its name": ({"primary_color": "red"}, "#/primary_color"),
    "short colour": ({"primary_color": "#fff"}, "#/primary_color"),
    "colour that shines through": ({"primary_color": "#ffffff80"}, "#/primary_color"),
    "colour with a rule behind it": ({"primary_color": "#ffffff;}*{display:none}"}, "#/primary_color"),
    "colour that calls": ({"primary_color": "url(https://evil.example)"}, "#/primary_color"),
    "colour in other digits": ({"primary_color": "#\u0661\u0661\u0661\u0661\u0661\u0661"}, "#/primary_color"),
    "logo elsewhere": ({"logo": "https://acme.example/logo.png"}, "#/logo"),
    "logo with scripts": ({"logo": f"data:image/svg+xml;base64,{SVG}"}, "#/logo"),
    "logo of another type": ({"logo": f"data:image/png;base64,{base64.b64encode(jpeg()).decode()}"}, "#/logo"),
    "logo that is none": ({"logo": "data:image/png;base64,AAAA"}, "#/logo"),
    "wide logo": ({"logo": f"data:image/png;base64,{base64.b64encode(png(3000, 1)).decode()}"}, "#/logo"),
    "script as a link": ({"policy_uri": "javascript:alert(1)"}, "#/policy_uri"),
    "link with a user": ({"tos_uri": "https://user@acme.example/"}, "#/tos_uri"),
    "relative link": ({"tos_uri": "/terms"}, "#/tos_uri"),
    "link with quotes": ({"policy_uri": 'https://acme.example/"onclick='}, "#/policy_uri"),
    "mail as privacy": ({"policy_uri": "mailto:help@acme.example"}, "#/policy_uri"),
    "mail to many": ({"support_uri": "mailto:a@acme.example,b@acme.example"}, "#/support_uri"),
    "mail with more": ({"support_uri": "mailto:a@acme.example?bcc=b@acme.example"}, "#/support_uri"),
    "mail to nobody": ({"support_uri": "mailto:"}, "#/support_uri"),
    "data as help": ({"support_uri": "data:text/html,x"}, "#/support_uri"),
    "unknown member": ({"css": "* {}"}, "#/css"),
    "version": ({"version": 7}, "#/version"),
}


@pytest.fixture(autouse=True)
async def ours_again(api: Api) -> AsyncIterator[None]:
    """Others find the installation as it was."""
    yield
    await api.call("PUT", "/branding", {})


def data_url(picture: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{base64.b64encode(picture).decode()}"


@pytest.mark.parametrize(("given", "pointer"), BAD.values(), ids=BAD)
async def test_what_cannot_be_shown_is_refused(api: Api, given: dict[str, object], pointer: str) -> None:
    before = await api.get("/branding")
    for method in ("PUT", "PATCH"):
        refused = await api.call(method, "/branding", given)
        assert refused.status_code == 400, refused.text
        assert pointer in [error["pointer"] for error in refused.json()["errors"]]
    assert await api.get("/branding") == before


async def test_what_is_said_is_kept_and_told(platform: Platform, api: Api) -> None:
    said: dict[str, object] = {
        "name": "Größe & Söhne",
        "primary_color": "#0A5C8F",
        "tos_uri": "https://acme.example/terms",
    }
    more: dict[str, object] = {"support_uri": "mailto:help@acme.example", "logo": data_url(png())}
    async with platform.nats_client() as nats, expect_events(nats, BrandingChanged, BrandingChanged) as seen:
        first = (await api.call("PUT", "/branding", said)).json()
        second = await api.change("/branding", **more, tos_uri=None)
        same = await api.change("/branding", name="Größe & Söhne")
    assert second == same
    assert [each.event.version for each in seen.of("branding.changed")] == [first["version"], first["version"] + 1]
    assert {name: first[name] for name in NOTHING} == NOTHING | said | {"primary_color": "#0a5c8f"}
    assert {name: second[name] for name in NOTHING} == NOTHING | said | {
        "primary_color": "#0a5c8f",
        "tos_uri": None,
    } | more
    shown = await api.client.get(str(second["logo_url"]))
    assert (shown.content, shown.headers["content-type"]) == (png(), "image/png")
    reset = (await api.call("PUT", "/branding", {})).json()
    assert {name: reset[name] for name in NOTHING} == NOTHING
    assert reset["logo_url"] is None


async def test_a_logo_is_taken_as_the_file_that_it_is(api: Api) -> None:
    await api.change("/branding", name="Acme")
    put = await api.client.put("/branding/logo", content=jpeg(300, 60), headers={"Content-Type": "image/jpeg"})
    assert put.status_code == 200, put.text
    assert (put.json()["name"], put.json()["logo"]) == ("Acme", data_url(jpeg(300, 60), "image/jpeg"))
    refused = {
        "svg": (b"<svg/>", "image/svg+xml", 400),
        "nothing": (b"", "image/png", 400),
        "text": (b"a logo", "image/png", 400),
        "more than a picture": (png() + b"<script>", "image/png", 400),
        "too large": (b"\x89PNG\r\n\x1a\n" + b"\x00" * 256 * 1024, "image/png", 413),
        "much too large": (b"\x00" * 1024 * 1024, "image/png", 413),
    }
    for name, (content, media_type, status) in refused.items():
        answer = await api.client.put("/branding/logo", content=content, headers={"Content-Type": media_type})
        assert answer.status_code == status, f"{name}: {answer.text}"
        assert answer.headers["content-type"] == "application/problem+json", name
    assert (await api.get("/branding"))["logo"] == put.json()["logo"]
    await api.delete("/branding/logo")
    assert (await api.get("/branding"))["logo"] is None


async def test_it_may_be_declared_in_a_file(api: Api) -> None:
    document = {"kind": "Branding", "name": "Acme", "primary_color": "#aa3300", "logo": data_url(png())}

    async def applied(*documents: dict[str, object], **options: object) -> list[tuple[str, list[str]]]:
        answer = await api.call("POST", "/apply/admin", {"documents": list(documents), **options})
        assert answer.status_code == 200, answer.text
        return [(step["action"], sorted(each["field"] for each in step["changes"])) for step in answer.json()["steps"]]

    assert await applied(document, dry_run=True) == [("change", ["logo", "name", "primary_color"])]
    assert (await api.get("/branding"))["name"] == "Watchword"
    assert await applied(document) == [("change", ["logo", "name", "primary_color"])]
    assert await applied(document) == [("unchanged", [])]
    exported = await api.get("/apply/admin", kind="Branding")
    assert exported["items"] == [document]
    twice = await api.call("POST", "/apply/admin", {"documents": [document, document | {"name": "Other"}]})
    assert twice.status_code == 400, twice.text
    assert await applied(prune=["Branding"]) == [("delete", [])]
    assert {name: (await api.get("/branding"))[name] for name in NOTHING} == NOTHING
    assert (await api.get("/apply/admin", kind="Branding"))["items"] == []


async def test_at_the_console_it_is_seen_before_it_is_saved(console: Browser, api: Api) -> None:
    page = await console.open(f"{console.issuer}/admin/branding")
    assert "frame-src" in page.headers["content-security-policy"]
    form = page.form_with("primary_color").fields | {"name": "<b>Acme</b>", "primary_color": "#0a5c8f"}
    preview = await console.send("POST", "/admin/branding/preview", form | {"theme": "dark"})
    assert preview.status == 200
    assert "frame-ancestors 'self'" in preview.headers["content-security-policy"]
    assert "&lt;b&gt;Acme&lt;/b&gt;" in preview.body
    assert "/0a5c8f-dark.css" in preview.body
    assert (await api.get("/branding"))["name"] == "Watchword"
    wrong = await console.send("POST", "/admin/branding/preview", form | {"primary_color": "blue"})
    assert (wrong.status, "six hexadecimal digits" in wrong.body) == (400, True)
    again = await console.send("POST", "/admin/branding", form | {"primary_color": "blue"})
    assert (again.status, "six hexadecimal digits" in again.body) == (400, True)
    assert again.form_with("primary_color").fields["name"] == "<b>Acme</b>"
    saved = await console.send("POST", "/admin/branding", form)
    assert saved.status == 303, saved.body
    assert (await api.get("/branding"))["name"] == "<b>Acme</b>"
    assert "/0a5c8f-light.css" in (await console.send("GET", "/admin/branding/preview")).body
    await console.send("POST", "/admin/branding/reset", {"csrf": form["csrf"]})
    assert (await api.get("/branding"))["name"] == "Watchword"
