"""`RequireToken` around any ASGI application."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from tests.verifier.conftest import AUDIENCE, Issuer

from watchword_verifier import Verifier, WhenStale
from watchword_verifier.asgi import CLAIMS, RequireToken


async def application(scope: Any, _receive: Any, send: Any) -> None:
    """Says who calls."""
    if scope["type"] != "http":
        await send({"type": f"{scope['type']}.reached"})
        return
    claims = scope.get(CLAIMS)
    body = (claims.subject if claims else "nobody").encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
async def verifier(issuer: Issuer) -> AsyncIterator[Verifier]:
    async with Verifier(issuer.url, AUDIENCE, feed=issuer.feed(), when_stale=WhenStale.REFUSE) as started:
        yield started


def client(verifier: Verifier, **options: Any) -> httpx2.AsyncClient:
    app = RequireToken(application, verifier, **options)
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://orders")


async def test_the_application_learns_who_calls(issuer: Issuer, verifier: Verifier) -> None:
    async with client(verifier, scope="orders:read") as http:
        answer = await http.get("/", headers={"Authorization": f"Bearer {issuer.token()}"})
        assert (answer.status_code, answer.text) == (200, "ann")


@pytest.mark.spec("RFC 6750 3.1")
@pytest.mark.parametrize(
    ("headers", "status", "challenge"),
    [
        pytest.param([], 401, "Bearer", id="no credentials"),
        pytest.param(["Basic YTpi"], 401, "Bearer", id="another scheme"),
        pytest.param(["Bearer"], 400, 'Bearer error="invalid_request"', id="no token"),
        pytest.param(["Bearer a.b.c", "Bearer a.b.c"], 400, 'Bearer error="invalid_request"', id="twice"),
        pytest.param(["Bearer a.b.c"], 401, 'Bearer error="invalid_token"', id="no token of ours"),
    ],
)
async def test_who_has_no_good_token_is_refused(
    verifier: Verifier, headers: list[str], status: int, challenge: str
) -> None:
    async with client(verifier) as http:
        answer = await http.get("/", headers=[("Authorization", value) for value in headers])
        assert (answer.status_code, answer.headers["www-authenticate"]) == (status, challenge)


async def test_who_lacks_a_scope_is_told_which(issuer: Issuer, verifier: Verifier) -> None:
    async with client(verifier, scope="orders:list") as http:
        answer = await http.get("/", headers={"Authorization": f"Bearer {issuer.token()}"})
        assert answer.status_code == 403
        assert answer.headers["www-authenticate"] == 'Bearer error="insufficient_scope", scope="orders:list"'


async def test_while_nobody_can_know_it_says_so(issuer: Issuer) -> None:
    async with (
        Verifier(
            issuer.url,
            AUDIENCE,
            feed=issuer.feed(),
            when_stale=WhenStale.REFUSE,
            staleness_bound=timedelta(microseconds=1),
        ) as stale,
        client(stale) as http,
    ):
        answer = await http.get("/", headers={"Authorization": f"Bearer {issuer.token()}"})
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


async def test_only_what_lies_under_the_prefixes_is_guarded(issuer: Issuer, verifier: Verifier) -> None:
    async with client(verifier, under=("/api",)) as http:
        for path, status in (("/", 200), ("/apis", 200), ("/api", 401), ("/api/orders", 401)):
            assert (await http.get(path)).status_code == status, path


@pytest.mark.parametrize("at", ["/v1", "/api"])
async def test_what_lies_under_the_prefixes_is_guarded_wherever_the_application_is_mounted(
    verifier: Verifier, at: str
) -> None:
    """Whoever mounts it writes another path in front, and the application goes by what is behind."""
    app = Starlette(routes=[Mount(at, RequireToken(application, verifier, under=("/api",)))])
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://orders") as http:
        for path in ("/api", "/api/orders"):
            assert (await http.get(at + path)).status_code == 401, path
    rooted = httpx2.ASGITransport(RequireToken(application, verifier, under=("/api",)), root_path=at)
    async with httpx2.AsyncClient(transport=rooted, base_url="http://orders") as http:
        for path, status in (("/api", 401), ("/api/orders", 401), ("/apis", 200), ("/", 200)):
            assert (await http.get(path)).status_code == status, path


async def test_a_websocket_is_refused_before_it_opens_and_lifespan_passes(issuer: Issuer, verifier: Verifier) -> None:
    app, sent = RequireToken(application, verifier), []

    async def send(message: Any) -> None:
        sent.append(message["type"])

    async def receive() -> Any:
        raise AssertionError("nothing is to be received")

    await app({"type": "websocket", "path": "/", "headers": []}, receive, send)
    await app({"type": "lifespan"}, receive, send)
    good = [(b"authorization", f"Bearer {issuer.token()}".encode())]
    await app({"type": "websocket", "path": "/", "headers": good}, receive, send)
    assert sent == ["websocket.close", "lifespan.reached", "websocket.reached"]
