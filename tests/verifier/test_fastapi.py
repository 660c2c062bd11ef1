"""`require(scope=…)` in an application: who gets in, and what the others are told."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import Depends, FastAPI, WebSocket
from tests.verifier.conftest import AUDIENCE, Issuer

from watchword_verifier import Claims, Verifier, WhenStale
from watchword_verifier.fastapi import install, require


@pytest.fixture
async def verifier(issuer: Issuer) -> AsyncIterator[Verifier]:
    async with Verifier(issuer.url, AUDIENCE, feed=issuer.feed(), when_stale=WhenStale.REFUSE) as started:
        yield started


@pytest.fixture
async def orders(verifier: Verifier) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of an application with one protected route."""
    app = FastAPI()
    install(app.state, verifier)

    @app.get("/orders")
    async def list_orders(claims: Annotated[Claims, Depends(require(scope="orders:read orders:list"))]) -> str:
        return claims.subject

    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://orders") as client:
        yield client


async def test_who_holds_the_scopes_gets_in(issuer: Issuer, orders: httpx2.AsyncClient) -> None:
    token = issuer.token(scope="orders:list orders:read more")
    for scheme in ("Bearer", "bearer", "BEARER"):
        answer = await orders.get("/orders", headers={"Authorization": f"{scheme} {token}"})
        assert (answer.status_code, answer.json()) == (200, "ann")


@pytest.mark.spec("RFC 6750 3.1")
async def test_who_lacks_a_scope_is_told_which(issuer: Issuer, orders: httpx2.AsyncClient) -> None:
    answer = await orders.get("/orders", headers={"Authorization": f"Bearer {issuer.token()}"})
    assert answer.status_code == 403
    challenge = 'Bearer error="insufficient_scope", scope="orders:list orders:read"'
    assert answer.headers["www-authenticate"] == challenge


@pytest.mark.parametrize(
    ("headers", "status", "challenge"),
    [
        pytest.param([], 401, "Bearer", id="no credentials"),
        pytest.param(["Basic YTpi"], 401, "Bearer", id="another scheme"),
        pytest.param(["Bearer"], 400, 'Bearer error="invalid_request"', id="no token"),
        pytest.param(["Bearer a.b.c", "Bearer a.b.c"], 400, 'Bearer error="invalid_request"', id="twice"),
        pytest.param(["Bearer a.b.c"], 401, 'Bearer error="invalid_token"', id="no token of ours"),
        pytest.param(["Bearer a b"], 401, 'Bearer error="invalid_token"', id="two words"),
    ],
)
@pytest.mark.spec("RFC 6750 3")
async def test_without_a_good_token_the_answer_says_only_how_to_ask(
    orders: httpx2.AsyncClient, headers: list[str], status: int, challenge: str
) -> None:
    answer = await orders.get("/orders", headers=[("Authorization", value) for value in headers])
    assert (answer.status_code, answer.headers["www-authenticate"]) == (status, challenge)


async def test_a_token_in_the_query_does_not_count(issuer: Issuer, orders: httpx2.AsyncClient) -> None:
    answer = await orders.get("/orders", params={"access_token": issuer.token(scope="orders:read orders:list")})
    assert answer.status_code == 401


async def test_while_nobody_can_know_the_answer_is_503(issuer: Issuer) -> None:
    issuer.broken.add("/revocations")
    verifier = Verifier(issuer.url, AUDIENCE, feed=issuer.feed(), when_stale=WhenStale.REFUSE)
    await verifier.start(wait=timedelta(milliseconds=200))
    app = FastAPI()

    @app.get("/orders")
    async def list_orders(claims: Annotated[Claims, Depends(require(verifier=verifier))]) -> str:
        return claims.subject

    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://orders") as client:
        answer = await client.get("/orders", headers={"Authorization": f"Bearer {issuer.token()}"})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    await verifier.aclose()


async def test_a_websocket_is_refused_before_it_opens(issuer: Issuer, verifier: Verifier) -> None:
    app, sent = FastAPI(), []
    install(app.state, verifier)

    @app.websocket("/orders")
    async def follow_orders(
        socket: WebSocket, claims: Annotated[Claims, Depends(require(scope="orders:read"))]
    ) -> None:
        await socket.accept(claims.subject)

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message.get("status") or message.get("subprotocol"))

    scope = {"type": "websocket", "path": "/orders", "query_string": b"", "subprotocols": []}
    for token in ("a.b.c", issuer.token(scope="orders:list"), issuer.token()):
        await app({**scope, "headers": [(b"authorization", f"Bearer {token}".encode())]}, receive, send)
    assert [each for each in sent if each] == [401, 403, "ann"]
