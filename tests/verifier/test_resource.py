"""What a resource server says about itself, and who is told where that stands."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from fastapi import Depends, FastAPI
from tests.verifier.conftest import AUDIENCE, Issuer

from watchword_verifier import Claims, ProtectedResource, Verifier, WhenStale
from watchword_verifier.asgi import RequireToken
from watchword_verifier.fastapi import install, require, serve

ORDERS = "https://orders.example.com/mcp"
METADATA = "https://orders.example.com/.well-known/oauth-protected-resource/mcp"


@pytest.fixture
async def verifier(issuer: Issuer) -> AsyncIterator[Verifier]:
    async with Verifier(issuer.url, AUDIENCE, feed=issuer.feed(), when_stale=WhenStale.REFUSE) as started:
        yield started


async def application(_scope: Any, _receive: Any, send: Any) -> None:
    """Answers."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture(params=["asgi", "fastapi"])
def http(request: pytest.FixtureRequest, issuer: Issuer, verifier: Verifier) -> httpx2.AsyncClient:
    """A resource server that says where its tokens come from, both ways."""
    resource = ProtectedResource(ORDERS, issuer.url, scopes=("orders:read",), name="Orders")
    app: Any
    if request.param == "asgi":
        app = RequireToken(application, verifier, scope="orders:write", resource=resource)
    else:
        app = FastAPI()
        install(app.state, verifier, resource=resource)
        serve(app, resource)

        @app.get("/mcp")
        async def call(_claims: Claims = Depends(require(scope="orders:write"))) -> None:  # noqa: B008
            return

    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="https://orders.example.com")


@pytest.mark.spec("RFC 9728 2")
@pytest.mark.spec("RFC 9728 3.1")
@pytest.mark.spec("RFC 9728 3.2")
async def test_everybody_may_read_what_it_says(http: httpx2.AsyncClient, issuer: Issuer) -> None:
    answer = await http.get(METADATA)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.json() == {
        "resource": ORDERS,
        "authorization_servers": [issuer.url],
        "bearer_methods_supported": ["header"],
        "scopes_supported": ["orders:read"],
        "resource_name": "Orders",
    }
    head = await http.head(METADATA)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(answer.content))
    assert (await http.options(METADATA)).status_code == 204
    assert (await http.post(METADATA)).status_code == 405


@pytest.mark.spec("RFC 9728 5.1")
@pytest.mark.parametrize(
    ("token", "status", "challenge"),
    [
        ("", 401, f'Bearer resource_metadata="{METADATA}"'),
        ("x.y.z", 401, f'Bearer error="invalid_token", resource_metadata="{METADATA}"'),
        (
            "orders:read",
            403,
            f'Bearer error="insufficient_scope", scope="orders:write", resource_metadata="{METADATA}"',
        ),
    ],
    ids=["no token", "no good token", "too little scope"],
)
async def test_who_is_refused_is_told_where_that_stands(
    http: httpx2.AsyncClient, issuer: Issuer, token: str, status: int, challenge: str
) -> None:
    sent = issuer.token(scope=token) if ":" in token else token
    answer = await http.get("/mcp", headers={"Authorization": f"Bearer {sent}"} if sent else {})
    assert (answer.status_code, answer.headers["www-authenticate"]) == (status, challenge)


@pytest.mark.spec("RFC 9728 3")
@pytest.mark.parametrize(
    ("identifier", "url"),
    [
        ("https://a.example", "https://a.example/.well-known/oauth-protected-resource"),
        ("https://a.example/", "https://a.example/.well-known/oauth-protected-resource"),
        ("https://a.example:8443/x/y", "https://a.example:8443/.well-known/oauth-protected-resource/x/y"),
        ("http://localhost:8000/mcp", "http://localhost:8000/.well-known/oauth-protected-resource/mcp"),
    ],
)
def test_where_it_stands_follows_from_the_identifier(identifier: str, url: str) -> None:
    assert ProtectedResource(identifier, "https://sso.example").url == url


@pytest.mark.spec("RFC 9728 1.2")
@pytest.mark.parametrize(
    "identifier",
    [
        "",
        "orders",
        "urn:example:orders",
        "http://orders.example.com/",
        "https://orders.example.com/#x",
        "https://orders.example.com/?x=1",
        "https://a:b@orders.example.com/",
        "https://",
    ],
)
def test_what_is_no_identifier_is_refused(identifier: str) -> None:
    with pytest.raises(ValueError, match="https URL"):
        ProtectedResource(identifier, "https://sso.example")
