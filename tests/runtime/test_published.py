"""What others publish: asked for rarely, kept for a while, and from whom we meant to ask (threat 49)."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest
from pydantic import JsonValue

from watchword_events.names import Service
from watchword_runtime import outbound
from watchword_runtime.published import NotPublished, Published
from watchword_testkit.clock import TestClock
from watchword_testkit.web import web_site

from .conftest import SettingsFor


@dataclass
class Site:
    """Somebody's server. document: what it answers, None for an error 500."""

    url: str = ""
    document: JsonValue = field(default_factory=lambda: {"n": 1})
    asked: int = 0
    slow_s: float = 0.0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.asked += 1
        await asyncio.sleep(self.slow_s)
        status = "200 OK" if self.document is not None else "500 Oops"
        body = json.dumps(self.document).encode()
        head = (
            f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close"
        )
        writer.write(head.encode() + b"\r\n\r\n" + body)
        await writer.drain()
        writer.close()


@asynccontextmanager
async def running() -> AsyncIterator[Site]:
    site = Site()
    server = await asyncio.start_server(site.serve, "127.0.0.1", 0)
    site.url = f"http://localhost:{server.sockets[0].getsockname()[1]}/keys"
    async with server:
        yield site


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with running() as made:
        yield made


@pytest.fixture
async def client(settings_for: SettingsFor) -> AsyncIterator[httpx2.AsyncClient]:
    async with outbound.client(settings_for(Service.TOKEN, environment="demo")) as made:
        yield made


def number(document: Mapping[str, JsonValue]) -> int:
    value = document.get("n")
    if not isinstance(value, int):
        raise ValueError("no number")
    return value


async def test_a_document_is_kept_for_ten_minutes(site: Site, client: httpx2.AsyncClient, clock: TestClock) -> None:
    published = Published(number, clock)
    assert [await published.get(site.url, client) for _ in range(3)] == [1, 1, 1]
    assert site.asked == 1
    site.document = {"n": 2}
    clock.advance(timedelta(minutes=9))
    assert await published.get(site.url, client) == 1
    clock.advance(timedelta(minutes=1))
    assert await published.get(site.url, client) == 2
    assert site.asked == 2


async def test_a_storm_is_one_request(site: Site, client: httpx2.AsyncClient, clock: TestClock) -> None:
    site.slow_s = 0.05
    published = Published(number, clock)
    assert await asyncio.gather(*[published.get(site.url, client) for _ in range(50)]) == [1] * 50
    assert await asyncio.gather(*[published.renewed(site.url, client) for _ in range(50)]) == [None] * 50
    assert site.asked == 1


async def test_what_is_missing_is_looked_for_once_a_minute(
    site: Site, client: httpx2.AsyncClient, clock: TestClock
) -> None:
    published = Published(number, clock)
    await published.get(site.url, client)
    site.document = {"n": 2}
    clock.advance(timedelta(seconds=59))
    assert await published.renewed(site.url, client) is None
    clock.advance(timedelta(seconds=1))
    assert await published.renewed(site.url, client) == 2
    assert await published.renewed(site.url, client) is None
    assert site.asked == 2


async def test_while_nobody_answers_the_known_one_is_used_for_an_hour(
    site: Site, client: httpx2.AsyncClient, clock: TestClock
) -> None:
    published = Published(number, clock)
    await published.get(site.url, client)
    site.document = None
    clock.advance(timedelta(minutes=59))
    assert await published.get(site.url, client) == 1
    assert await published.get(site.url, client) == 1
    assert site.asked == 2  # the failure is remembered for a moment
    clock.advance(timedelta(minutes=1))
    with pytest.raises(NotPublished):
        await published.get(site.url, client)
    site.document = {"n": 3}
    clock.advance(timedelta(seconds=3))
    assert await published.get(site.url, client) == 3


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(None, id="an error"),
        pytest.param([1], id="no object"),
        pytest.param({"n": "one"}, id="what cannot be used"),
        pytest.param({"n": 1, "deep": json.loads("[" * 30 + "]" * 30)}, id="too deep"),
        pytest.param({"n": 1, "long": "x" * 300_000}, id="too large"),
        pytest.param({"n": 1, "nul": "\x00"}, id="a NUL"),
    ],
)
async def test_what_cannot_be_used_is_not_published(
    site: Site, client: httpx2.AsyncClient, clock: TestClock, document: JsonValue
) -> None:
    site.document = document
    with pytest.raises(NotPublished) as refused:
        await Published(number, clock).get(site.url, client)
    assert not refused.value.unknown_authority


@pytest.mark.parametrize(
    "url", ["https://169.254.169.254/keys", "http://10.0.0.1/keys", "file:///etc/passwd", "nonsense"]
)
async def test_addresses_that_may_not_be_reached_are_refused(
    client: httpx2.AsyncClient, clock: TestClock, url: str
) -> None:
    with pytest.raises(NotPublished):
        await Published(number, clock).get(url, client)


async def test_an_authority_counts_where_it_was_named_and_nowhere_else(
    settings_for: SettingsFor, client: httpx2.AsyncClient, clock: TestClock, tmp_path: Path
) -> None:
    published = Published(number, clock)
    settings = settings_for(Service.TOKEN, environment="demo")
    for name in ("ours", "other"):
        (tmp_path / name).mkdir()
    async with web_site(tmp_path / "ours") as ours, web_site(tmp_path / "other") as other:
        url = ours.put("/keys", {"n": 1})
        pems = {"ours": ours.ca_file.read_text(), "other": other.ca_file.read_text(), "": None}
        async with outbound.client(settings, authorities=pems["ours"]) as trusting:
            assert await published.get(url, trusting, trust="ours") == 1
        for trust in ("other", ""):
            async with outbound.client(settings, authorities=pems[trust]) as made:
                with pytest.raises(NotPublished) as refused:
                    await published.get(url, made, trust=trust)
                assert refused.value.unknown_authority
