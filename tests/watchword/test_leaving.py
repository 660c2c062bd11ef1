"""A process that leaves ends its streams at once, and lets everything else finish."""

import asyncio
from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from watchword.leaving import Leaving
from watchword.sockets import listen
from watchword.worker import server_of
from watchword_testkit.http import http_client


async def _endless(_request: Request) -> Response:
    async def lines() -> AsyncIterator[bytes]:
        while True:
            yield b": still here\n\n"
            await asyncio.sleep(0.01)

    return StreamingResponse(lines(), media_type="text/event-stream")


async def test_streams_end_properly_and_answers_are_finished() -> None:
    arrived = asyncio.Event()

    async def slow(request: Request) -> Response:
        body = await request.body()
        arrived.set()
        await asyncio.sleep(0.3)
        return PlainTextResponse(body)

    leaving = Leaving(Starlette(routes=[Route("/stream", _endless), Route("/slow", slow, methods=["POST"])]))
    sockets = listen(0, ("127.0.0.1",))
    server = server_of(leaving, 10.0)
    serving = asyncio.create_task(server.serve(sockets=sockets))
    base = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
    async with http_client(base_url=base) as http:
        answer = asyncio.create_task(http.post("/slow", content=b"x" * 1000))
        async with http.stream("GET", "/stream") as stream:
            lines = stream.aiter_bytes()
            assert b"still here" in await anext(lines)
            await arrived.wait()
            leaving.leave()
            server.should_exit = True
            async with asyncio.timeout(30):
                async for _ in lines:
                    pass
        assert (await answer).text == "x" * 1000
    async with asyncio.timeout(30):
        await serving
