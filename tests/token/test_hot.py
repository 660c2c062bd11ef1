"""What hot endpoints share: the fast reader of forms, headers, methods."""

from collections.abc import AsyncIterator
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.token.conftest import Site

from watchword_token.routes.hot import parse_plain_form
from watchword_web.errors import BadRequest
from watchword_web.forms import parse_form

NAMES = st.text(alphabet="abc_%+=& \x00é", max_size=4)


def outcome(reader: object, body: bytes) -> object:
    try:
        return reader(body)  # type: ignore[operator]  # one of two functions
    except BadRequest as error:
        return type(error)


@given(st.lists(st.tuples(NAMES, NAMES), max_size=5).map(urlencode).map(str.encode))
def test_the_fast_reader_agrees_on_encoded_forms(body: bytes) -> None:
    assert outcome(parse_plain_form, body) == outcome(parse_form, body)


@given(st.binary(max_size=40) | st.text(alphabet="ab=&%+2\x00é", max_size=20).map(str.encode))
def test_the_fast_reader_agrees_on_garbage(body: bytes) -> None:
    assert outcome(parse_plain_form, body) == outcome(parse_form, body)


@pytest.mark.spec("RFC 6749 3.2")
@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        pytest.param(b"grant_type=a&grant_type=a", None, id="a parameter twice"),
        pytest.param(b"grant_type=a&scope=x&scope=y", None, id="another parameter twice"),
        pytest.param(b"grant_type=%zz", None, id="broken escape"),
        pytest.param(b"grant_type=%ff", None, id="not UTF-8"),
        pytest.param(b"grant_type=%00", None, id="NUL"),
        pytest.param(b"&".join(b"p%d=1" % n for n in range(101)), None, id="101 parameters"),
        pytest.param(b'{"grant_type": "client_credentials"}', "application/json", id="JSON"),
        pytest.param(b"grant_type=a", "text/plain", id="text"),
        pytest.param(b"grant_type=a", "application/x-www-form-urlencoded; charset=utf-16", id="UTF-16"),
    ],
)
@pytest.mark.spec("RFC 6749 3.2, B")
async def test_bodies_that_could_be_read_in_two_ways_are_refused(
    site: Site, body: bytes, content_type: str | None
) -> None:
    headers = {"Content-Type": content_type or "application/x-www-form-urlencoded"}
    answer = await site.http.post("/oauth2/token", content=body, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"] == "invalid_request"
    assert answer.headers["cache-control"] == "no-store"


async def test_a_body_above_the_limit_is_refused(site: Site) -> None:
    answer = await site.http.post("/oauth2/token", data={"token": "x" * 70_000})
    assert answer.status_code == 413


@pytest.mark.parametrize("name", ["Authorization", "Content-Type"])
async def test_a_deciding_header_sent_twice_is_refused(site: Site, name: str) -> None:
    headers = [
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Authorization", "Basic YTpi"),
        (name, "Basic YTpi" if name == "Authorization" else "application/x-www-form-urlencoded"),
    ]
    answer = await site.http.post("/oauth2/token", content=b"grant_type=client_credentials", headers=headers)
    assert answer.status_code == 400


@pytest.mark.parametrize("path", ["token", "introspect", "revoke"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
async def test_other_methods_are_refused_with_what_is_allowed(site: Site, path: str, method: str) -> None:
    answer = await site.http.request(method, f"/oauth2/{path}")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"


async def test_a_form_that_arrives_in_pieces_is_one_form(site: Site) -> None:
    app = await site.client(token_endpoint_auth_method="client_secret_post")
    body = f"grant_type=client_credentials&client_id={app.id}&client_secret={app.secret}".encode()

    async def pieces() -> AsyncIterator[bytes]:
        yield body[:10]
        yield body[10:]

    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await site.http.post("/oauth2/token", content=pieces(), headers=headers)
    assert answer.status_code == 200


@pytest.mark.spec("Fetch Standard 3.3")
async def test_only_registered_origins_may_read_answers_and_never_with_credentials(site: Site) -> None:
    origin = "https://spa.example.test"
    app = await site.client(token_endpoint_auth_method="none", allowed_origins=[origin])
    await site.service_memory_follows(app)
    for asked, allowed in ((origin, True), ("https://evil.example", False), ("null", False), (origin + ".evil", False)):
        for answer in (
            await site.http.options("/oauth2/token", headers={"Origin": asked}),
            await site.post("/oauth2/token", app, {"grant_type": "client_credentials"}, headers={"Origin": asked}),
            await site.http.get("/oauth2/userinfo", headers={"Origin": asked}),
            await site.http.get("/oauth2/jwks", headers={"Origin": asked}),
        ):
            assert (answer.headers.get("access-control-allow-origin") == asked) is allowed
            assert "access-control-allow-credentials" not in answer.headers
    assert (
        "access-control-allow-origin"
        not in (await site.http.options("/oauth2/introspect", headers={"Origin": origin})).headers
    )
