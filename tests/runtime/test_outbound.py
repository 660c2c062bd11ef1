"""The outbound guard: what it refuses to reach, and what it refuses to read."""

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpcore2
import httpx2
import pytest
from authlib.integrations.httpx_client import AsyncOAuth2Client

from watchword_events.names import Service
from watchword_runtime import outbound
from watchword_runtime.outbound import BadAnswer, Blocked

from .conftest import SettingsFor

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def upstream(answer: bytes | Answer) -> AsyncIterator[int]:
    """Somebody else's server on loopback; its port."""
    seen: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.add(writer)
        await reader.readuntil(b"\r\n\r\n")
        try:
            if isinstance(answer, bytes):
                writer.write(answer)
                await writer.drain()
            else:
                await answer(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in seen:
            writer.close()


def response(body: bytes, *headers: str, status: str = "200 OK", kind: str = "application/json") -> bytes:
    head = [
        f"HTTP/1.1 {status}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *headers,
    ]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


@pytest.fixture
async def production(settings_for: SettingsFor) -> AsyncIterator[httpx2.AsyncClient]:
    async with outbound.client(settings_for(Service.FEDERATION)) as client:
        yield client


@pytest.fixture
async def demo(settings_for: SettingsFor) -> AsyncIterator[httpx2.AsyncClient]:
    async with outbound.client(settings_for(Service.FEDERATION, environment="demo")) as client:
        yield client


@pytest.mark.row(48)
@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/",
        "https://localhost/",
        "https://LOCALHOST./",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.0.0.1/",
        "https://0177.0.0.1/",
        "https://0.0.0.0/",
        "https://[::1]/",
        "https://[::]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:7f00:1]/",
        "https://[64:ff9b::7f00:1]/",
        "https://[2002:7f00:1::]/",
        "https://[fe80::1]/",
        "https://[fd00::1]/",
        "https://[ff02::1]/",
        "https://169.254.169.254/latest/meta-data/",
        "https://100.100.100.200/",
        "https://10.0.0.1/",
        "https://172.16.0.1/",
        "https://192.168.0.1/",
        "https://255.255.255.255/",
        "https://①②⑦.⓪.⓪.①/",
        "https://example.com@127.0.0.1/",
        "http://127.0.0.1/",
        "http://1.1.1.1/",
        "ftp://1.1.1.1/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_INFO",
        "https://1.1.1.1:22/",
        "https://1.1.1.1:25/",
    ],
)
async def test_what_stands_beside_us_is_not_reached(production: httpx2.AsyncClient, url: str) -> None:
    with pytest.raises((Blocked, httpx2.UnsupportedProtocol, httpx2.ConnectError)) as refused:
        await outbound.fetch_json(production, url)
    # A name that does not resolve is no connection either; everything that does resolve is refused by the guard.
    if isinstance(refused.value, httpx2.ConnectError):
        assert "resolve" in str(refused.value)


@pytest.mark.parametrize("url", ["https://", "https://[::1", "https://a b/", "nonsense", "", "https://exa\tmple.com/"])
async def test_what_is_no_url_is_refused(production: httpx2.AsyncClient, url: str) -> None:
    with pytest.raises(httpx2.TransportError):
        await outbound.fetch_json(production, url)


@pytest.mark.row(48)
async def test_the_addresses_of_the_connection_decide_however_a_name_resolved_before(
    production: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: public at the check, loopback at the connection. There is no check but at the connection."""
    answers = iter(["93.184.215.14", "127.0.0.1"])
    asked: list[str] = []
    reached: list[str] = []

    async def resolve(_loop: object, host: str, port: int, **_more: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port))]

    async def connect(_backend: object, host: str, *_more: Any, **_named: Any) -> Any:
        reached.append(host)
        raise httpcore2.ConnectError("no network in tests")

    monkeypatch.setattr(asyncio.get_running_loop().__class__, "getaddrinfo", resolve)
    monkeypatch.setattr(httpcore2.AnyIOBackend, "connect_tcp", connect)
    with pytest.raises(httpx2.ConnectError):
        await outbound.fetch_json(production, "https://rebind.example/")
    with pytest.raises(Blocked):
        await outbound.fetch_json(production, "https://rebind.example/")
    assert asked == ["rebind.example"] * 2
    assert reached == ["93.184.215.14"]  # the very address that was checked, not the name again


async def test_one_private_address_among_public_ones_is_enough_to_refuse(
    production: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def resolve(_loop: object, _host: str, port: int, **_more: Any) -> list[Any]:
        return [(2, 1, 6, "", ("93.184.215.14", port)), (10, 1, 6, "", ("fd00::1", port, 0, 0))]

    monkeypatch.setattr(asyncio.get_running_loop().__class__, "getaddrinfo", resolve)
    with pytest.raises(Blocked):
        await outbound.fetch_json(production, "https://both.example/")


@pytest.mark.parametrize(
    ("address", "reachable"),
    [
        ("1.1.1.1", True),
        ("2606:4700:4700::1111", True),
        ("::ffff:1.1.1.1", True),
        ("64:ff9b::101:101", True),
        ("192.0.0.8", False),
        ("198.18.0.1", False),
        ("203.0.113.1", False),
        ("224.0.0.1", False),
        ("240.0.0.1", False),
        ("2001:db8::1", False),
        ("2001::1", False),
        ("3fff::1", False),
        ("5f00::1", False),
        ("fec0::1", False),
        ("64:ff9b:1::1", False),
        ("fe80::1%eth0", False),
        ("nonsense", False),
    ],
)
def test_addresses_are_sorted_by_our_own_list(address: str, reachable: bool) -> None:
    assert outbound.may_reach(address, ()) is reachable


async def test_an_allowed_network_is_reached_without_tls(settings_for: SettingsFor) -> None:
    settings = settings_for(Service.FEDERATION, outbound_allow="127.0.0.0/8")
    async with upstream(response(b'{"a": 1}')) as port, outbound.client(settings) as client:
        assert await outbound.fetch_json(client, f"http://127.0.0.1:{port}/") == {"a": 1}
        assert await outbound.fetch_json(client, f"http://[::ffff:127.0.0.1]:{port}/") == {"a": 1}


async def test_the_demo_reaches_loopback(demo: httpx2.AsyncClient) -> None:
    async with upstream(response(b"{}")) as port:
        assert await outbound.fetch_json(demo, f"http://localhost:{port}/") == {}


async def drip(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.05)


async def flood(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
    for _ in range(1024):
        writer.write(b" " * 1024 * 1024)
        await writer.drain()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(response(b"[]"), id="no object"),
        pytest.param(response(b"{"), id="no JSON"),
        pytest.param(response(b'{"a":' * 2000 + b"1" + b"}" * 2000), id="nested too deep"),
        pytest.param(response(b"{}", kind="text/html"), id="another type"),
        pytest.param(response(b"{}", status="404 Not Found"), id="an error"),
        pytest.param(response(b"", "Location: https://127.0.0.1/", status="302 Found"), id="a redirect"),
        pytest.param(response(gzip.compress(b"0" * 10_000_000), "Content-Encoding: gzip"), id="compressed"),
        pytest.param(response(b" " * (outbound.MAX_BYTES + 1)), id="announced too long"),
        pytest.param(flood, id="a gigabyte"),
    ],
)
async def test_a_bad_answer_is_refused(demo: httpx2.AsyncClient, answer: bytes | Answer) -> None:
    async with upstream(answer) as port:
        with pytest.raises(BadAnswer):
            await outbound.fetch_json(demo, f"http://127.0.0.1:{port}/")


@pytest.mark.row(48)
async def test_a_redirect_is_never_followed(demo: httpx2.AsyncClient) -> None:
    async with upstream(response(b"{}")) as inside:
        location = f"Location: http://127.0.0.1:{inside}/"
        async with upstream(response(b"", location, status="307 Temporary Redirect")) as port:
            with pytest.raises(BadAnswer, match="307"):
                await outbound.fetch_json(demo, f"http://127.0.0.1:{port}/")


async def test_a_server_that_drips_is_left(demo: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbound, "DEADLINE_S", 0.3)
    async with upstream(drip) as port:
        with pytest.raises(BadAnswer, match="longer than"):
            await outbound.fetch_json(demo, f"http://127.0.0.1:{port}/")


async def test_a_library_that_reads_whole_bodies_is_capped_too(settings_for: SettingsFor) -> None:
    """Authlib makes its own client; the transport guards it all the same."""
    transport = outbound.transport(settings_for(Service.FEDERATION, environment="demo"))
    async with upstream(flood) as port, AsyncOAuth2Client("id", "secret", transport=transport) as client:
        with pytest.raises(BadAnswer):
            await client.fetch_token(f"http://127.0.0.1:{port}/", grant_type="authorization_code", code="x")


async def test_an_unusable_authority_file_is_named(settings_for: SettingsFor) -> None:
    with pytest.raises(SystemExit, match="WATCHWORD_OUTBOUND_CA_FILE"):
        outbound.client(settings_for(Service.FEDERATION, outbound_ca_file="/nowhere/ca.pem"))
