"""Answers leave in one piece, whole and in order, over real sockets."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
import uvicorn

from watchword.worker import server_of
from watchword_runtime.service import Receive, Scope, Send

PIECE = b"x" * 65_536
PIECES = 200  # 13 MB: more than sockets and transports hold, so that writing is paused


async def app(scope: Scope, _receive: Receive, send: Send) -> None:
    """`/many` answers with many pieces, everything else with its path."""
    pieces = [PIECE] * PIECES if scope["path"] == "/many" else [scope["path"].encode()]
    headers = [(b"content-length", b"%d" % sum(map(len, pieces)))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for left, piece in zip(reversed(range(len(pieces))), pieces, strict=True):
        await send({"type": "http.response.body", "body": piece, "more_body": left > 0})


@pytest.fixture
async def address() -> AsyncIterator[tuple[str, int]]:
    """Where the worker's kind of server answers."""
    listening = socket.create_server(("127.0.0.1", 0))
    server: uvicorn.Server = server_of(app, 1.0)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    yield listening.getsockname()
    server.should_exit = True
    await serving


def ask(*paths: str, close: bool = True) -> bytes:
    """Requests in one piece; the last one ends the connection."""
    asked = [f"GET {path} HTTP/1.1\r\nHost: here\r\n" for path in paths]
    return ("\r\n".join(asked) + ("Connection: close\r\n" if close else "") + "\r\n").encode()


async def test_head_and_body_are_one_packet(address: tuple[str, int]) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setblocking(False)
        await loop.sock_connect(client, address)
        await loop.sock_sendall(client, ask("/first", close=False))
        answer = await loop.sock_recv(client, 65_536)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\n/first")


@pytest.mark.parametrize(
    ("paths", "bodies"),
    [
        pytest.param(("/a", "/b", "/c"), (b"/a", b"/b", b"/c"), id="pipelined"),
        pytest.param(("/many", "/b"), (PIECE * PIECES, b"/b"), id="more than fits"),
    ],
)
async def test_everything_arrives_in_order(
    address: tuple[str, int], paths: tuple[str, ...], bodies: tuple[bytes, ...]
) -> None:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(ask(*paths))
    received = await reader.read()
    writer.close()
    found = []
    while received:
        head, _, rest = received.partition(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"content-length"))
        found.append(rest[:length])
        received = rest[length:]
    assert found == list(bodies)


async def test_a_client_that_leaves_midway_harms_nobody(address: tuple[str, int]) -> None:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(ask("/many"))
    await reader.readexactly(1_000)
    writer.transport.abort()
    reader, writer = await asyncio.open_connection(*address)
    writer.write(ask("/after"))
    assert (await reader.read()).endswith(b"/after")
    writer.close()
