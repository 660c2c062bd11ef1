"""The service as it is composed: limits, the path of the public URL, and that every answer is safe."""

from typing import Any

import httpx2
import pytest

from watchword.composition import compose
from watchword_events.names import Service
from watchword_federation.settings import FederationSettings


async def answers(settings: FederationSettings, path: str, count: int = 1) -> list[httpx2.Response]:
    """What the service, which has not been started, answers."""
    process = compose({Service.FEDERATION: settings})
    transport = httpx2.ASGITransport(process.app)
    async with httpx2.AsyncClient(transport=transport, base_url=settings.origin) as client:
        found = [await client.get(path) for _ in range(count)]
    await process.stop()
    return found


async def test_an_address_that_asks_too_often_is_told_to_wait(settings: FederationSettings) -> None:
    limited = settings.model_copy(update={"federation_address_burst": 5, "federation_address_rate": 0.1})
    found = await answers(limited, "/api/auth/sso/login/acme", 7)
    assert [answer.status_code for answer in found] == [303] * 5 + [429] * 2
    assert int(found[-1].headers["retry-after"]) >= 1
    assert "too_many_requests" in found[-1].text


@pytest.mark.parametrize("path", ["", "/auth", "/a/b"])
async def test_redirects_follow_the_path_of_the_public_url(settings: FederationSettings, path: str) -> None:
    moved = settings.model_copy(update={"public_url": f"https://sso.test{path}"})
    (answer,) = await answers(moved, f"{path}/api/auth/sso/login/acme")
    assert answer.headers["location"] == f"https://sso.test{path}/login"


@pytest.mark.parametrize("path", ["/api/auth/sso/login/acme", "/api/auth/sso/login/acme?ticket=x"])
async def test_every_answer_has_the_headers_of_a_page(settings: FederationSettings, path: str) -> None:
    (answer,) = await answers(settings, path)
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


async def test_a_service_that_was_not_started_says_what_it_waits_for(settings: FederationSettings) -> None:
    process = compose({Service.FEDERATION: settings})
    waiting: dict[str, Any] = process.waiting_for()
    assert "copy of providers" in waiting["federation"]
    await process.stop()
