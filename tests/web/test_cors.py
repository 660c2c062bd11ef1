"""Cross-origin answers: only for registered origins, never with credentials."""

from collections.abc import Awaitable, Callable

import httpx2
import pytest
from starlette.types import Receive, Scope, Send

from watchword_web.cors import WithCors, cors_headers, request_origin
from watchword_web.hot import HotPaths, send_json

Call = Callable[..., Awaitable[httpx2.Response]]
APP = "https://app.example"


async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
    await send_json(send, b"{}")


def is_allowed(origin: str) -> bool:
    return origin == APP


GUARDED = HotPaths(endpoint, {"/oauth2/token": WithCors(endpoint, is_allowed)})


async def test_a_registered_origin_may_read_the_answer(call: Call) -> None:
    answer = await call(GUARDED, "/oauth2/token", method="POST", headers=[("Origin", APP)])
    assert answer.headers["access-control-allow-origin"] == APP
    assert answer.headers["vary"] == "Origin"
    assert "WWW-Authenticate" in answer.headers["access-control-expose-headers"]


async def test_a_preflight_needs_no_client(call: Call) -> None:
    asked = [("Origin", APP), ("Access-Control-Request-Method", "POST")]
    answer = await call(GUARDED, "/oauth2/token", method="OPTIONS", headers=asked)
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == APP
    assert answer.headers["access-control-allow-methods"] == "POST, OPTIONS"
    assert "Authorization" in answer.headers["access-control-allow-headers"]


@pytest.mark.parametrize("method", ["POST", "OPTIONS"])
@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Origin", "null")],
        [("Origin", "")],
        [("Origin", "https://evil.example")],
        [("Origin", "https://app.example.evil.example")],
        [("Origin", "https://APP.example")],
        [("Origin", APP), ("Origin", "https://evil.example")],
        [("Origin", "https://" + "a" * 300)],
    ],
)
async def test_any_other_origin_gets_no_permission(call: Call, method: str, headers: list[tuple[str, str]]) -> None:
    answer = await call(GUARDED, "/oauth2/token", method=method, headers=headers)
    assert not any(name.startswith("access-control") for name in answer.headers)
    assert answer.headers["vary"] == "Origin"


@pytest.mark.parametrize("method", ["POST", "OPTIONS"])
async def test_credentials_are_never_allowed(call: Call, method: str) -> None:
    answer = await call(GUARDED, "/oauth2/token", method=method, headers=[("Origin", APP)])
    assert "access-control-allow-credentials" not in answer.headers
    assert answer.headers["access-control-allow-origin"] != "*"


def test_null_is_nobody_even_where_a_predicate_allows_everything() -> None:
    headers = [(b"origin", b"null")]
    assert request_origin(headers) is None
    assert cors_headers(headers, lambda _: True) == ((b"vary", b"Origin"),)
