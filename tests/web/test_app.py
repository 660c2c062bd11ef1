"""The whole application edge: who is answered how, and that no input makes it fail."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from ipaddress import ip_network

import httpx2
import orjson
import pytest
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, Field
from structlog.testing import capture_logs

from watchword_web.app import create_app
from watchword_web.errors import OAuthError, PageError, Problem
from watchword_web.failures import Trouble
from watchword_web.forms import read_form, read_json, read_query
from watchword_web.pages import Pages
from watchword_web.settings import Site

Call = Callable[..., Awaitable[httpx2.Response]]
FORM = ("Content-Type", "application/x-www-form-urlencoded")
JSON = ("Content-Type", "application/json")

router = APIRouter()


class NewClient(BaseModel):
    client_name: str = Field(max_length=10)
    secret: str = ""


@router.get("/login", include_in_schema=False)
@router.get("/oauth2/authorize", include_in_schema=False)
@router.get("/oauth2/introspect", include_in_schema=False)
async def show_query(request: Request) -> JSONResponse:
    return JSONResponse(dict(read_query(request)))


@router.post("/login", include_in_schema=False)
@router.post("/oauth2/par", include_in_schema=False)
async def show_form(request: Request) -> JSONResponse:
    return JSONResponse(dict(await read_form(request)))


@router.post("/api/v1/raw", include_in_schema=False)
async def show_json(request: Request) -> JSONResponse:
    return JSONResponse(await read_json(request))


@router.post("/api/v1/clients", status_code=201)
async def create_client(client: NewClient, limit: int = 1) -> NewClient:
    return client


@router.get("/api/v1/clients/{client_id}")
async def get_client(client_id: str) -> dict[str, str]:
    return {"client_id": client_id}


@router.get("/api/v1/stream", include_in_schema=False)
async def stream_for_ever() -> StreamingResponse:
    async def parts() -> AsyncIterator[bytes]:
        while True:
            yield b"data: 1\n\n"
            await asyncio.sleep(0)

    return StreamingResponse(parts(), headers={"Content-Type": "text/event-stream"})


@router.get("/api/v1/refuse")
@router.get("/oauth2/refuse", include_in_schema=False)
@router.get("/refuse", include_in_schema=False)
async def refuse(kind: str) -> None:
    match kind:
        case "oauth":
            raise OAuthError("invalid_grant", "No", detail="private-detail")
        case "problem":
            raise Problem(409, "Taken", private="private-detail")
        case "page":
            raise PageError("invalid_flow", "Too late", "This sign-in is over.", detail="private-detail")
        case "down":
            raise ConnectionRefusedError("private-detail")
        case "cause":
            raise ValueError("private-detail") from TimeoutError("private-detail")
        case _:
            raise RuntimeError("private-detail")


@pytest.fixture
def app(site: Site, sample_pages: Pages) -> FastAPI:
    return create_app("admin", title="Test", settings=site, routers=[router], version="1", pages=sample_pages)


SHAPES = [
    ("/refuse", "text/html"),
    ("/oauth2/refuse", "application/json"),
    ("/api/v1/refuse", "application/problem+json"),
]


@pytest.mark.parametrize(("path", "media_type"), SHAPES)
@pytest.mark.parametrize("kind", ["crash", "cause"])
async def test_an_unexpected_exception_is_a_500_without_details(
    call: Call, app: FastAPI, path: str, media_type: str, kind: str
) -> None:
    with capture_logs() as lines:
        answer = await call(app, f"{path}?kind={kind}&secret=canary")
    assert answer.status_code == 500
    assert answer.headers["content-type"].startswith(media_type)
    assert "private-detail" not in answer.text
    assert "Error" not in answer.text.replace("<dt>Error</dt>", "")
    [line] = lines
    assert line["event"] == "request.failed"
    assert line["log_level"] == "error"
    assert line["reference"] == answer.headers["x-request-id"]
    assert answer.headers["x-request-id"] in answer.text
    assert any("test_app.py" in frame for frame in line["frames"])
    assert "canary" not in repr(lines)
    assert "private-detail" not in repr(lines)  # drivers and validators quote their input


@pytest.mark.parametrize(("path", "media_type"), SHAPES)
async def test_an_outage_is_a_503_that_says_when_to_come_back(
    call: Call, app: FastAPI, path: str, media_type: str
) -> None:
    answer = await call(app, f"{path}?kind=down")
    assert answer.status_code == 503
    assert answer.headers["content-type"].startswith(media_type)
    assert answer.headers["retry-after"] == "2"


@pytest.mark.parametrize(("path", "media_type"), SHAPES)
async def test_a_conflict_that_nobody_foresaw_is_a_409_and_logged(
    call: Call, site: Site, sample_pages: Pages, path: str, media_type: str
) -> None:
    app = create_app(
        "admin", title="Test", settings=site, routers=[router], version="1", pages=sample_pages,
        judge=lambda error: Trouble.CONFLICT if isinstance(error, RuntimeError) else None,
    )  # fmt: skip
    with capture_logs() as lines:
        answer = await call(app, f"{path}?kind=crash")
    # OAuth has no word for it: a client that reads invalid_request would give up for good.
    assert answer.status_code == (500 if media_type == "application/json" else 409)
    assert answer.headers["content-type"].startswith(media_type)
    assert "private-detail" not in answer.text
    [line] = lines
    assert (line["log_level"], line["reference"]) == ("error", answer.headers["x-request-id"])
    assert any("test_app.py" in frame for frame in line["frames"])


async def test_each_refusal_keeps_its_own_shape_and_its_detail_stays_in_the_log(call: Call, app: FastAPI) -> None:
    for kind, media_type in [
        ("oauth", "application/json"),
        ("problem", "application/problem+json"),
        ("page", "text/html"),
    ]:
        with capture_logs() as lines:
            answer = await call(app, f"/refuse?kind={kind}")
        assert answer.headers["content-type"].startswith(media_type)
        assert answer.headers["cache-control"] == "no-store"
        assert "private-detail" not in answer.text
        assert [(line["event"], line["detail"]) for line in lines] == [("request.refused", "private-detail")]


async def test_an_error_page_names_its_code_and_reference(call: Call, app: FastAPI) -> None:
    answer = await call(app, "/refuse?kind=page")
    assert answer.status_code == 400
    assert '<code id="error-code">invalid_flow</code>' in answer.text
    assert f'<code id="reference">{answer.headers["x-request-id"]}</code>' in answer.text
    assert "This sign-in is over." in answer.text


@pytest.mark.spec("RFC 9457 3")
async def test_a_wrong_body_is_a_problem_that_points_at_the_field_and_repeats_no_value(
    call: Call, app: FastAPI
) -> None:
    body = orjson.dumps({"client_name": "canary-canary", "secret": 5})
    answer = await call(app, "/api/v1/clients?limit=x", method="POST", headers=[JSON], body=body)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert [error.get("pointer", error.get("parameter")) for error in problem["errors"]] == [
        "limit",
        "#/client_name",
        "#/secret",
    ]
    assert "canary" not in answer.text
    assert problem["instance"] == "/api/v1/clients"


@pytest.mark.parametrize(
    ("path", "status", "media_type"),
    [
        ("/nothing", 404, "text/html"),
        ("/oauth2/nothing", 404, "application/json"),
        ("/.well-known/nothing", 404, "application/json"),
        ("/api/v1/nothing", 404, "application/problem+json"),
        ("/scim/v2/nothing", 404, "application/problem+json"),
    ],
)
async def test_an_unknown_path_is_a_404_in_the_shape_of_its_surface(
    call: Call, app: FastAPI, path: str, status: int, media_type: str
) -> None:
    answer = await call(app, path)
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith(media_type)


async def test_a_program_that_asks_for_json_gets_no_page(call: Call, app: FastAPI) -> None:
    answer = await call(app, "/nothing", headers=[("Accept", "application/json")])
    assert answer.headers["content-type"] == "application/problem+json"


async def test_an_unknown_method_is_a_405_that_names_the_known_ones(call: Call, app: FastAPI) -> None:
    answer = await call(app, "/api/v1/clients", method="DELETE")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("headers", [[], [FORM], [("Content-Type", "text/plain")]])
async def test_a_body_that_is_not_said_to_be_json_is_refused_with_what_to_say(
    call: Call, app: FastAPI, headers: list[tuple[str, str]]
) -> None:
    answer = await call(app, "/api/v1/clients", method="POST", headers=headers, body=b'{"client_name": "x"}')
    assert answer.status_code == 400
    assert answer.json()["errors"] == [
        {"pointer": "#", "detail": "JSON is expected, with Content-Type: application/json"}
    ]


@pytest.mark.spec("RFC 9110 15.5.6")
async def test_a_405_names_the_methods_of_every_route_of_the_address(call: Call, app: FastAPI) -> None:
    answer = await call(app, "/login", method="DELETE")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, POST")


@pytest.mark.spec("RFC 9110 9.3.2")
@pytest.mark.parametrize("target", ["/login?a=1", "/api/v1/clients/x", "/refuse?kind=page", "/nothing"])
async def test_a_head_is_a_get_without_content(call: Call, app: FastAPI, target: str) -> None:
    got, head = await call(app, target), await call(app, target, method="HEAD")
    assert (head.status_code, head.content) == (got.status_code, b"")
    assert head.headers["content-length"] == got.headers["content-length"]
    assert head.headers["content-type"] == got.headers["content-type"]


async def test_a_head_of_a_stream_ends_at_once(call: Call, app: FastAPI) -> None:
    async with asyncio.timeout(5):
        head = await call(app, "/api/v1/stream", method="HEAD")
    assert (head.status_code, head.content, head.headers["content-type"]) == (200, b"", "text/event-stream")


@pytest.mark.parametrize("path", ["/api/v1/clients", "/oauth2/par"])
async def test_a_head_is_refused_where_there_is_nothing_to_get(call: Call, app: FastAPI, path: str) -> None:
    answer = await call(app, path, method="HEAD")
    assert (answer.status_code, answer.headers["allow"], answer.content) == (405, "POST", b"")


@pytest.mark.parametrize(
    "target",
    [
        "/login?a=%zz",
        "/login?a=%",
        "/login?a=%ff",
        "/login?a=%00",
        "/login?a=\xff",
        "/login?a=1&a=2",
        "/%ff",
        "/%00",
        "/%zz",
        "/api/v1/clients/%00",
        "/api/v1/clients/%ff",
        "/api/v1/clients/x?q=%ff",
        "/oauth2/introspect?token=%c0%af",
        "/oauth2/introspect?token=a&token=a",
    ],
)
async def test_a_malformed_address_is_a_400(call: Call, app: FastAPI, target: str) -> None:
    assert (await call(app, target)).status_code == 400


@pytest.mark.parametrize("path", ["/login", "/oauth2/par"])
@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/x-www-form-urlencoded", b"a=%zz"),
        ("application/x-www-form-urlencoded", b"a=\xff"),
        ("application/x-www-form-urlencoded", b"a=%00"),
        ("application/x-www-form-urlencoded", b"a=1&a=2"),
        ("application/x-www-form-urlencoded", b"&".join([b"a=1"] * 200)),
        ("multipart/form-data; boundary=x", b"--x\r\n"),
        ("application/json", b"{}"),
        ("", b"a=1"),
    ],
)
async def test_a_malformed_form_is_a_400(call: Call, app: FastAPI, path: str, content_type: str, body: bytes) -> None:
    answer = await call(app, path, method="POST", headers=[("Content-Type", content_type)], body=body)
    assert answer.status_code == 400
    if path == "/login":
        assert 'id="error-code">invalid_request<' in answer.text
    else:
        assert answer.json()["error"] == "invalid_request"


@pytest.mark.parametrize("path", ["/api/v1/clients", "/api/v1/raw"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'{"client_name": "\\ud800"}',
        b'{"client_name": "a\\u0000"}',
        b'{"client_name": NaN}',
        b"[" * 30_000,
        b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
        b"\x00",
    ],
    ids=["empty", "cut off", "not UTF-8", "surrogate", "NUL", "NaN", "unclosed", "deep", "zero"],
)
async def test_malformed_json_is_a_400(call: Call, app: FastAPI, path: str, body: bytes) -> None:
    answer = await call(app, path, method="POST", headers=[JSON], body=body)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded"])
async def test_json_in_disguise_is_a_400(call: Call, app: FastAPI, content_type: str) -> None:
    """Row 30 of the threat list: a form of another site can send text/plain, but not application/json."""
    headers = [("Content-Type", content_type)] if content_type else []
    for path in ("/api/v1/clients", "/api/v1/raw"):
        answer = await call(app, path, method="POST", headers=headers, body=b'{"client_name": "x"}')
        assert answer.status_code == 400


@pytest.mark.row(18)
@pytest.mark.parametrize(
    ("headers", "chunks"),
    [
        pytest.param([("Content-Length", "65537")], [b"a=1"], id="announced"),
        pytest.param([("Content-Length", "9" * 40)], [b"a=1"], id="absurd"),
        pytest.param([], [b"a=" + b"x" * 65_536], id="one chunk"),
        pytest.param([], [b"a="] + [b"x" * 8_192] * 9, id="many chunks"),
    ],
)
@pytest.mark.parametrize(("path", "kind"), [("/login", FORM), ("/oauth2/par", FORM), ("/api/v1/clients", JSON)])
async def test_a_body_above_64_kib_is_a_413(
    call: Call, app: FastAPI, path: str, kind: tuple[str, str], headers: list[tuple[str, str]], chunks: list[bytes]
) -> None:
    answer = await call(app, path, method="POST", headers=[kind, *headers], chunks=chunks)
    assert answer.status_code == 413


async def test_a_body_of_64_kib_arrives(call: Call, app: FastAPI) -> None:
    body = b"a=" + b"x" * (65_536 - 2)
    answer = await call(app, "/login", method="POST", headers=[FORM, ("Content-Length", "65536")], body=body)
    assert len(answer.json()["a"]) == 65_534


async def test_json_in_several_chunks_arrives_whole(call: Call, app: FastAPI) -> None:
    answer = await call(
        app, "/api/v1/clients", method="POST", headers=[JSON], chunks=[b'{"client_', b'name":', b'"x"}']
    )
    assert (answer.status_code, answer.json()["client_name"]) == (201, "x")


@pytest.mark.row(31)
@pytest.mark.spec("CSP3 6.4.2")
@pytest.mark.parametrize(
    "path",
    [
        "/login",
        "/refuse?kind=page",
        "/nothing",
        "/oauth2/nothing",
        "/api/v1/nothing",
        "/refuse?kind=crash",
        "/login?a=%zz",
        "/openapi.json",
    ],
)
async def test_every_answer_has_the_security_headers(call: Call, app: FastAPI, path: str) -> None:
    headers = (await call(app, path)).headers
    policy = dict(part.strip().partition(" ")[::2] for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    assert policy["base-uri"] == "'none'"
    assert "form-action" in policy
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"
    is_page = headers["content-type"].startswith("text/html")
    assert headers["referrer-policy"] == ("same-origin" if is_page else "no-referrer")


READABLE_HOSTS = {
    "evil.example",
    "sso.example:8443",
    "sso.example.evil.example",
    "xsso.example",
    "sso.example.",
    "10.0.0.1",
}


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "sso.example:8443",
        "sso.example.evil.example",
        "xsso.example",
        "sso.example.",
        "10.0.0.1",
        "",
        None,
        "a b",
        "<script>",
        "sso.example@evil.example",
    ],
)
async def test_a_page_under_another_name_explains_itself(call: Call, app: FastAPI, host: str | None) -> None:
    answer = await call(app, "/login", host=host)
    assert answer.status_code == 421
    assert 'href="https://sso.example/"' in answer.text
    assert ("WATCHWORD_PUBLIC_URL=https://" in answer.text) is (host in READABLE_HOSTS)
    assert "<script>" not in answer.text
    assert "evil.example/" not in answer.text


@pytest.mark.parametrize("host", ["sso.example", "SSO.example", "sso.example:443"])
async def test_the_public_name_is_recognised_however_it_is_written(call: Call, app: FastAPI, host: str) -> None:
    assert (await call(app, "/login", host=host)).status_code == 200


async def test_programs_may_use_internal_names(call: Call, app: FastAPI) -> None:
    for path in ("/oauth2/introspect", "/api/v1/clients/x", "/openapi.json"):
        assert (await call(app, path, host="token:8000")).status_code == 200
    for path in (
        "/livez",
        "/readyz",
        "/metrics",
        "/.well-known/openid-configuration",
        "/revocations",
        "/internal/export/user",
    ):
        assert (await call(app, path, host="token:8000")).status_code == 404  # not served here, but not 421


@pytest.mark.row(51)
async def test_a_forwarded_host_counts_only_from_a_trusted_proxy(call: Call, sample_pages: Pages) -> None:
    site = Site("https://sso.example", trusted_proxies=[ip_network("10.0.0.0/8")])
    app = create_app("admin", title="Test", settings=site, routers=[router], version="1", pages=sample_pages)
    forwarded = [("X-Forwarded-Host", "sso.example")]
    assert (await call(app, "/login", host="authz:8000", headers=forwarded, peer="10.0.0.7")).status_code == 200
    assert (await call(app, "/login", host="authz:8000", headers=forwarded, peer="192.0.2.7")).status_code == 421
    evil = [("X-Forwarded-Host", "evil.example")]
    assert (await call(app, "/login", host="sso.example", headers=evil, peer="192.0.2.7")).status_code == 200


@pytest.mark.parametrize(
    ("host", "target", "location"),
    [
        ("127.0.0.1:8080", "/login?flow=1&x=%2F%2Fevil", "http://localhost:8080/login?flow=1&x=%2F%2Fevil"),
        ("[::1]:8080", "/login", "http://localhost:8080/login"),
        ("127.0.0.1:8080", "//evil.example/x", "http://localhost:8080//evil.example/x"),
        ("127.0.0.1:8080", "/nothing@evil.example", "http://localhost:8080/nothing@evil.example"),
    ],
)
async def test_another_loopback_name_leads_to_the_public_one(call: Call, host: str, target: str, location: str) -> None:
    app = create_app("admin", title="Test", settings=Site("http://localhost:8080"), routers=[router], version="1")
    answer = await call(app, target, host=host)
    assert (answer.status_code, answer.headers["location"]) == (302, location)


@pytest.mark.parametrize(
    ("host", "method"),
    [
        ("127.0.0.1:9090", "GET"),
        ("127.0.0.1:8080", "POST"),
        ("localhost.evil.example:8080", "GET"),
        ("192.168.1.5:8080", "GET"),
    ],
)
async def test_nothing_else_is_led_there(call: Call, host: str, method: str) -> None:
    app = create_app("admin", title="Test", settings=Site("http://localhost:8080"), routers=[router], version="1")
    answer = await call(app, "/login", host=host, method=method, headers=[FORM])
    assert answer.status_code == 421


@pytest.mark.parametrize(("path", "root_path"), [("/login?a=1", ""), ("/auth/login?a=1", "/auth")])
async def test_a_base_path_may_be_stripped_or_announced(call: Call, path: str, root_path: str) -> None:
    app = create_app("admin", title="Test", settings=Site("https://sso.example/auth"), routers=[router], version="1")
    assert (await call(app, path, root_path=root_path)).json() == {"a": "1"}


async def test_the_openapi_document_says_what_really_comes_back(call: Call, app: FastAPI) -> None:
    document = (await call(app, "/openapi.json")).json()
    assert document["openapi"] == "3.1.0"
    assert document["servers"] == [{"url": "https://sso.example"}]
    create = document["paths"]["/api/v1/clients"]["post"]
    assert create["operationId"] == "create_client"
    assert create["tags"] == ["admin"]
    assert "422" not in create["responses"]
    assert "application/problem+json" in create["responses"]["default"]["content"]
    assert create["security"] == [{"bearer": []}, {"apiKey": []}]
    schemas = document["components"]["schemas"]
    assert {"NewClient", "ProblemDocument", "ProblemField"} <= set(schemas)
    assert "HTTPValidationError" not in schemas
    for path in ("/docs", "/redoc"):
        assert (await call(app, path)).status_code == 404


async def test_hot_paths_are_documented_by_hand(call: Call, site: Site) -> None:
    paths = {"/oauth2/token": {"post": {"operationId": "token", "responses": {}}}}
    app = create_app("token", title="T", settings=site, routers=[], version="1", openapi_paths=paths)
    assert (await call(app, "/openapi.json")).json()["paths"] == paths


async def test_half_an_answer_is_broken_off_and_logged(call: Call, site: Site) -> None:
    broken = APIRouter()

    @broken.get("/api/v1/stream")
    async def stream() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"half"
            raise RuntimeError("canary")

        return StreamingResponse(parts())

    app = create_app("admin", title="Test", settings=site, routers=[broken], version="1")
    with capture_logs() as lines, pytest.raises(RuntimeError):
        await call(app, "/api/v1/stream")
    assert [line["event"] for line in lines] == ["request.failed"]


async def test_a_trailing_slash_is_no_redirect_to_a_forged_host(call: Call, app: FastAPI) -> None:
    answer = await call(app, "/api/v1/clients/x/", host="evil.example")
    assert (answer.status_code, "location" in answer.headers) == (404, False)
