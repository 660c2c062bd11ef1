"""One trace from a request over outbox and NATS to who deals with the event, and from service to service."""

import asyncio
import json
import secrets
import socket
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest
import uvicorn
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from watchword_testkit.http import http_client
from watchword_testkit.installations import PlatformFactory


@pytest.fixture
async def collector() -> AsyncIterator[tuple[str, list[bytes]]]:
    """A collector's address, and what was sent to it (OTLP, protobuf)."""
    sent: list[bytes] = []

    async def take(request: Request) -> Response:
        sent.append(await request.body())
        return Response(b"", media_type="application/x-protobuf")

    listening = socket.create_server(("127.0.0.1", 0))
    app = Starlette(routes=[Route("/v1/traces", take, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    yield f"http://127.0.0.1:{listening.getsockname()[1]}", sent
    server.should_exit = True
    await serving


@pytest.mark.spec("W3C Trace Context 3.2")
async def test_a_trace_goes_from_the_request_to_the_consumer(
    platform_factory: PlatformFactory, collector: tuple[str, list[bytes]]
) -> None:
    endpoint, sent = collector
    platform = await platform_factory(1, otlp_endpoint=endpoint)
    trace_id, secret = secrets.token_hex(16), secrets.token_hex(16)
    headers = {"traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-01"}
    async with http_client(base_url=platform.issuer) as http:
        made = await http.post(
            "/api/v1/scopes",
            json={"name": "traced", "description": "T"},
            params={},
            headers={**headers, "Watchword-API-Key": platform.admin.admin_token},
        )
        assert made.status_code == 201, made.text
        await http.post("/oauth2/token", headers=headers, data={"grant_type": "client_credentials"})
        await http.get("/oauth2/authorize", params={"client_id": secret, "state": secret}, headers=headers)

    def seen(name: bytes) -> bool:
        return any(name in body and bytes.fromhex(trace_id) in body for body in sent)

    async with asyncio.timeout(30):
        while not (
            seen(b"POST /api/v1/scopes") and seen(b"process auth.admin.scope.*") and seen(b"POST /oauth2/token")
        ):
            await asyncio.sleep(0.05)
    assert not any(secret.encode() in body for body in sent)


def spans_of(sent: list[bytes], trace_id: str) -> set[str]:
    """The names of the spans of a trace."""
    resources = [each for body in sent for each in ExportTraceServiceRequest.FromString(body).resource_spans]
    spans = [span for resource in resources for scope in resource.scope_spans for span in scope.spans]
    return {span.name for span in spans if span.trace_id.hex() == trace_id}


@pytest.mark.spec("W3C Trace Context 3.2")
async def test_a_trace_goes_from_the_console_to_the_owners_and_stands_in_the_log(
    platform_factory: PlatformFactory, collector: tuple[str, list[bytes]]
) -> None:
    endpoint, sent = collector
    platform = await platform_factory(1, otlp_endpoint=endpoint)
    trace_id = secrets.token_hex(16)
    headers = {"traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-01"}
    browser = platform.browser()
    await browser.open(f"{platform.issuer}/admin")
    await browser.submit("username", username=platform.admin.username, password=platform.admin.password)
    page = await browser.open(f"{platform.issuer}/admin/users", headers=headers)
    assert (page.status, page.url) == (200, f"{platform.issuer}/admin/users")
    expected = {"GET /admin/users", "GET /api/v1/users"}
    async with asyncio.timeout(30):
        while not expected <= spans_of(sent, trace_id):
            await asyncio.sleep(0.05)
    async with http_client(base_url=platform.issuer) as http:
        api_key = {"Watchword-API-Key": platform.admin.admin_token}
        made = await http.post("/api/v1/scopes", json={"name": "traced", "description": "T"}, headers=headers | api_key)
        assert made.status_code == 201, made.text
        await http.post("/api/v1/scopes", json={"name": "untraced", "description": "T"}, headers=api_key)
    lines = [json.loads(line) for line in platform.workers[0].log.read_text().splitlines() if "scope.added" in line]
    assert {line["name"]: line.get("trace_id") == trace_id for line in lines} == {"traced": True, "untraced": False}


def test_a_process_without_a_collector_loads_nothing_of_it() -> None:
    program = "import sys, watchword.worker; print(any(name.startswith('opentelemetry.sdk') for name in sys.modules))"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
