"""What the issuer may answer without harm: redirects, bombs, drops and nonsense."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import httpx2
import pytest
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from tests.verifier.conftest import CLIENT_ID, SECRET, Instead, Issuer

from watchword_verifier import ClientCredentials, HttpFeed, IssuerUnavailable
from watchword_verifier.client import ask

Asks = Callable[[HttpFeed], Awaitable[Any]]


async def stream(feed: HttpFeed) -> None:
    async for _ in feed._events(0):
        return


async def introspect(feed: HttpFeed) -> object:
    assert feed.client is not None
    return await feed.client.introspect("a token")


PATHS: Final[dict[str, Asks]] = {
    "/oauth2/token": HttpFeed.snapshot,
    "/oauth2/introspect": introspect,
    "/oauth2/jwks": HttpFeed.jwks,
    "/revocations": HttpFeed.snapshot,
    "/revocations/position": HttpFeed.newest,
    "/revocations/stream": stream,
    "/revocations/receipts": lambda feed: feed.report({}),
}


def always(make: Callable[[], Response]) -> Instead:
    async def answer() -> Response:
        return make()

    return answer


@pytest.fixture
async def feed(issuer: Issuer) -> AsyncIterator[HttpFeed]:
    """A feed whose connections would follow redirects and unpack anything."""
    async with httpx2.AsyncClient(follow_redirects=True) as http:
        yield HttpFeed(issuer.url, ClientCredentials(issuer.url, CLIENT_ID, SECRET, http=http), http=http)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("status", [302, 307])
async def test_a_redirect_is_not_followed(issuer: Issuer, feed: HttpFeed, path: str, status: int) -> None:
    issuer.instead[path] = always(lambda: RedirectResponse("/elsewhere", status))
    with pytest.raises(IssuerUnavailable, match=str(status)):
        await PATHS[path](feed)
    assert "/elsewhere" not in issuer.asked


@pytest.mark.parametrize("path", ["/oauth2/token", "/oauth2/introspect", "/oauth2/jwks", "/revocations/position"])
@pytest.mark.parametrize("packed", [True, False])
async def test_an_answer_that_is_too_large_is_not_read(issuer: Issuer, feed: HttpFeed, path: str, packed: bool) -> None:
    body = b" " * 2_000_000
    headers = {"content-encoding": "gzip"} if packed else {}
    issuer.instead[path] = always(lambda: Response(gzip.compress(body) if packed else body, headers=headers))
    with pytest.raises(IssuerUnavailable, match="more than 262144 bytes"):
        await PATHS[path](feed)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param({}, id="nothing"),
        pytest.param([], id="a list"),
        pytest.param({"access_token": 7}, id="a number"),
        pytest.param({"access_token": ""}, id="empty"),
        pytest.param({"access_token": "a\r\nX-Other: b"}, id="a second header"),
        pytest.param({"access_token": "tökén"}, id="not ASCII"),
        pytest.param({"access_token": "a", "expires_in": "soon"}, id="expires_in is text"),
    ],
)
async def test_a_token_response_without_a_token_is_refused(issuer: Issuer, feed: HttpFeed, answer: object) -> None:
    issuer.instead["/oauth2/token"] = always(lambda: JSONResponse(answer))
    with pytest.raises(IssuerUnavailable):
        await feed.newest()


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        pytest.param("/revocations/position", {"position": "7", "age_s": 0}, id="position is text"),
        pytest.param("/revocations/position", {"position": -1, "age_s": 0}, id="position below 0"),
        pytest.param("/revocations/position", {"position": 1 << 53, "age_s": 0}, id="position of 54 bits"),
        pytest.param("/revocations/position", {"position": 1.5, "age_s": 0}, id="position is a fraction"),
        pytest.param("/revocations/position", {"position": True, "age_s": 0}, id="position is true"),
        pytest.param("/revocations/position", {"position": 7}, id="no age"),
        pytest.param("/revocations/position", {"position": 7, "age_s": "0"}, id="age is text"),
        pytest.param("/revocations/position", [7], id="a list"),
        pytest.param("/revocations", {"position": 7}, id="no entries"),
        pytest.param("/revocations", {"position": 7, "entries": [7]}, id="an entry is a number"),
        pytest.param("/revocations", {"entries": []}, id="no position"),
    ],
)
async def test_what_is_no_answer_of_the_feed_is_refused(
    issuer: Issuer, feed: HttpFeed, path: str, answer: object
) -> None:
    issuer.instead[path] = always(lambda: JSONResponse(answer))
    with pytest.raises(IssuerUnavailable):
        await PATHS[path](feed)


async def test_an_answer_in_drops_ends(issuer: Issuer) -> None:
    async def drops() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(0.01)

    issuer.instead["/elsewhere"] = always(lambda: StreamingResponse(drops()))
    async with httpx2.AsyncClient() as http:
        with pytest.raises(IssuerUnavailable, match="/elsewhere: TimeoutError"):
            await ask(http, "GET", f"{issuer.url}/elsewhere", together_s=0.1)
