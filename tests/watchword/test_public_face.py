"""`watchword doctor` at the public URL: each thing that people trip over is found and comes with what to do."""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from watchword.doctor import Level
from watchword.public_face import at_the_public_url, expiring
from watchword_testkit.platform import Platform

COOKIE = "ww-flow-1=x; HttpOnly; Path=/; SameSite=Lax"
Answer = Callable[[Request], Awaitable[Response]]


@asynccontextmanager
async def answering(
    issuer: str = "", *, cookie: str = COOKIE, skew_s: int = 0, status: int = 200
) -> AsyncIterator[str]:
    """Something at a public URL that is not quite as it should be."""
    listening = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    now = format_datetime(datetime.now(UTC) + timedelta(seconds=skew_s), usegmt=True)

    async def discovery(_request: Request) -> Response:
        return JSONResponse({"issuer": issuer or url}, status, headers={"Date": now})

    async def login(_request: Request) -> Response:
        return Response(headers={"Set-Cookie": cookie} if cookie else {})

    app = Starlette(routes=[Route("/.well-known/openid-configuration", discovery), Route("/login", login)])
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", date_header=False))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield url
    finally:
        server.should_exit = True
        await serving


async def test_a_good_installation_is_good(platform: Platform) -> None:
    found = await at_the_public_url(platform.issuer)
    levels = {each.check: each.level for each in found}
    assert levels.pop("public clock") is not Level.ERROR  # a busy machine answers late
    assert levels == {"public url": Level.OK, "discovery": Level.OK, "cookies": Level.OK}


WRONG: dict[str, tuple[dict[str, object], str, Level, str]] = {
    "another issuer": ({"issuer": "https://sso.example.com"}, "discovery", Level.ERROR, "WATCHWORD_PUBLIC_URL"),
    "something else answers": ({"status": 404}, "discovery", Level.ERROR, "proxy"),
    "a clock a little off": ({"skew_s": 3}, "public clock", Level.WARNING, "NTP"),
    "a clock far off": ({"skew_s": -60}, "public clock", Level.ERROR, "NTP"),
    "a proxy that takes cookies away": ({"cookie": ""}, "cookies", Level.ERROR, "Set-Cookie"),
    "a proxy that changes cookies": ({"cookie": "ww-flow-1=x; Path=/; HttpOnly"}, "cookies", Level.ERROR, "Set-Cookie"),
}


@pytest.mark.parametrize("case", WRONG)
async def test_what_is_wrong_is_found_with_the_remedy(case: str) -> None:
    given, check, level, remedy = WRONG[case]
    async with answering(**given) as url:  # type: ignore[arg-type]
        (finding,) = [each for each in await at_the_public_url(url) if each.level is not Level.OK]
    assert (finding.check, finding.level) == (check, level)
    assert remedy in finding.remedy


async def test_plain_http_and_nobody_are_errors() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    found = await at_the_public_url(f"http://sso.localdomain.invalid:{port}")
    assert [(each.check, each.level) for each in found] == [("public url", Level.ERROR)] * 2
    (_, finding) = await at_the_public_url(f"http://127.0.0.1:{port}")
    assert "does not answer" in finding.said
    assert finding.level is Level.ERROR
    (_, finding) = await at_the_public_url(f"http://127.0.0.1:{port}", in_container=True)
    assert finding.level is Level.WARNING, "there, localhost is the container"
    assert "from the host" in finding.remedy


def test_certificates_that_end_are_named() -> None:
    now = datetime.now(UTC)
    found = expiring("certificate", [("a", now + timedelta(days=90)), ("b", now + timedelta(days=5, hours=1))], "renew")
    assert (found.level, found.said, found.remedy) == (Level.WARNING, "b ends in 5 days", "renew")
    assert expiring("certificate", [("a", now - timedelta(days=2))], "renew").level is Level.ERROR
    assert expiring("certificate", [("a", now + timedelta(days=90))], "renew").level is Level.OK


async def test_shells_can_complete_commands() -> None:
    process = await asyncio.create_subprocess_exec(
        os.path.join(os.path.dirname(sys.executable), "watchword"),
        stdout=asyncio.subprocess.PIPE,
        env={
            "PATH": os.environ["PATH"],
            "_WATCHWORD_COMPLETE": "complete_bash",
            "COMP_WORDS": "watchword aud",
            "COMP_CWORD": "1",
        },
    )
    said, _ = await process.communicate()
    assert said.decode().split() == ["audit"]
