"""Hot paths: found before the middleware, and just as strict."""

from collections.abc import Awaitable, Callable

import httpx2
import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send
from structlog.testing import capture_logs

from watchword_web.errors import OAuthError, Problem
from watchword_web.forms import parse_form
from watchword_web.hot import HotPaths, header, method_not_allowed, read_body, send_json

Call = Callable[..., Awaitable[httpx2.Response]]


async def token(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["method"] != "POST":
        raise method_not_allowed("POST")
    header(scope, b"authorization")
    params = parse_form(await read_body(scope, receive))
    match params.get("raise"):
        case "oauth":
            raise OAuthError("invalid_grant", "No")
        case "problem":
            raise Problem(409, "Taken")
        case "down":
            raise ConnectionResetError("canary")
        case "crash":
            raise RuntimeError("canary")
        case "gone":
            raise ClientDisconnect
    await send_json(send, b'{"ok":true}', headers=[(b"x-answered-by", b"hot")])


async def behind(scope: Scope, receive: Receive, send: Send) -> None:
    await send_json(send, b'{"behind":true}')


APP = HotPaths(behind, {"/oauth2/token": token})


@pytest.mark.parametrize(
    ("target", "root_path"), [("/oauth2/token", ""), ("/auth/oauth2/token", "/auth"), ("/oauth2/token", "/auth")]
)
async def test_the_endpoint_is_found_by_its_path(call: Call, target: str, root_path: str) -> None:
    answer = await call(APP, target, method="POST", root_path=root_path)
    assert answer.headers["x-answered-by"] == "hot"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["pragma"] == "no-cache"
    assert answer.headers["content-length"] == "11"


@pytest.mark.parametrize("target", ["/oauth2/token/", "/oauth2/Token", "//oauth2/token", "/oauth2/token%2f", "/"])
async def test_any_other_path_goes_to_the_application_behind(call: Call, target: str) -> None:
    assert (await call(APP, target, method="POST")).json() == {"behind": True}


async def test_the_host_name_does_not_matter(call: Call) -> None:
    assert (await call(APP, "/oauth2/token", method="POST", host="token:8000")).status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        (b"raise=oauth", 400, "invalid_grant"),
        (b"raise=down", 503, "temporarily_unavailable"),
        (b"raise=crash", 500, "server_error"),
        (b"a=1&a=2", 400, "invalid_request"),
        (b"a=%zz", 400, "invalid_request"),
        (b"a=%ff", 400, "invalid_request"),
        (b"a=" + b"x" * 65_536, 413, "invalid_request"),
    ],
)
async def test_whatever_goes_wrong_is_json(call: Call, body: bytes, status: int, error: str) -> None:
    with capture_logs() as lines:
        answer = await call(APP, "/oauth2/token", method="POST", body=body)
    assert answer.status_code == status
    assert answer.json()["error"] == error
    assert answer.headers["cache-control"] == "no-store"
    assert "canary" not in answer.text + repr(lines)
    assert len(lines) == 1


async def test_a_problem_stays_a_problem(call: Call) -> None:
    answer = await call(APP, "/oauth2/token", method="POST", body=b"raise=problem")
    assert (answer.status_code, answer.headers["content-type"]) == (409, "application/problem+json")


async def test_an_announced_length_is_refused_unread(call: Call) -> None:
    answer = await call(APP, "/oauth2/token", method="POST", headers=[("Content-Length", "65537")], body=b"a=1")
    assert answer.status_code == 413


async def test_chunks_are_joined(call: Call) -> None:
    answer = await call(APP, "/oauth2/token", method="POST", chunks=[b"raise=", b"oauth"])
    assert answer.json()["error"] == "invalid_grant"


async def test_a_repeated_header_is_refused(call: Call) -> None:
    twice = [("Authorization", "Basic YTpi"), ("Authorization", "Basic YTpi")]
    assert (await call(APP, "/oauth2/token", method="POST", headers=twice)).status_code == 400


async def test_another_method_is_told_the_right_one(call: Call) -> None:
    answer = await call(APP, "/oauth2/token")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


async def test_a_client_that_went_away_is_nobodys_error() -> None:
    sent: list[object] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.disconnect"}

    async def send(message: object) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/oauth2/token", "headers": []}
    with capture_logs() as lines:
        await APP(scope, receive, send)
    assert (sent, lines) == ([], [])
