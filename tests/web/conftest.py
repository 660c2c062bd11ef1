"""Fixtures of the web library's tests: a site, sample pages, and requests exactly as a server hands them on."""

import sys
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from urllib.parse import unquote

import httpx2
import pytest
from starlette.types import ASGIApp, Message

from watchword_web.pages import Pages
from watchword_web.settings import Site

sys.path.insert(0, str(Path(__file__).parent / "samples"))

Call = Callable[..., Awaitable[httpx2.Response]]


@pytest.fixture
def site() -> Site:
    return Site("https://sso.example")


@pytest.fixture
def sample_pages(site: Site) -> Pages:
    return Pages(["watchword_web", "watchword_web_samples"], site)


@pytest.fixture
def call() -> Call:
    """Sends one request to an ASGI application without a client library that would repair it first."""

    async def send_request(
        app: ASGIApp,
        target: str,
        *,
        method: str = "GET",
        headers: Iterable[tuple[str, str]] = (),
        host: str | None = "sso.example",
        body: bytes = b"",
        chunks: Iterable[bytes] | None = None,
        peer: str = "192.0.2.9",
        root_path: str = "",
    ) -> httpx2.Response:
        raw_path, _, query = target.encode("latin-1").partition(b"?")
        sent = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        if host is not None:
            sent.insert(0, (b"host", host.encode("latin-1")))
        parts = [body] if chunks is None else list(chunks)
        waiting: list[Message] = [
            {"type": "http.request", "body": part, "more_body": index < len(parts) - 1}
            for index, part in enumerate(parts)
        ]
        received: list[Message] = []

        async def receive() -> Message:
            return waiting.pop(0) if waiting else {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            received.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(raw_path.decode("latin-1")),
            "raw_path": raw_path,
            "query_string": query,
            "root_path": root_path,
            "headers": sent,
            "client": (peer, 50000),
            "server": ("10.0.0.1", 8000),
        }
        await app(scope, receive, send)
        start = received[0]
        assert start["type"] == "http.response.start"
        content = b"".join(message.get("body", b"") for message in received[1:])
        return httpx2.Response(start["status"], headers=list(start["headers"]), content=content)

    return send_request
