"""`Watchword-Position`: what a write did is seen by whoever asks for it, at whichever worker, without sleeping."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from sqlalchemy.event import listen, remove

from watchword_events.names import EPOCH_SHIFT, Service
from watchword_runtime import positions
from watchword_testkit.api import Api
from watchword_testkit.factory import WorkerPlatform
from watchword_testkit.http import http_client
from watchword_testkit.installations import PlatformFactory
from watchword_testkit.platform import Platform

HEADER = "Watchword-Position"
ROUNDS = 8


async def test_a_write_says_its_position_and_a_read_none(api: Api) -> None:
    made = await api.call("POST", "/scopes", {"name": f"p:{secrets.token_hex(4)}", "description": "P"})
    assert {part.partition(":")[0] for part in made.headers[HEADER].split()} == {"admin.scope", "feed"}
    read = await api.call("GET", f"/scopes/{made.json()['id']}")
    assert HEADER not in read.headers
    again = await api.client.get(f"/scopes/{made.json()['id']}", headers={HEADER: made.headers[HEADER]})
    assert again.status_code == 200


async def test_documents_that_are_applied_say_one_position_for_all(api: Api) -> None:
    name = secrets.token_hex(4)
    documents = [
        {"kind": "Scope", "name": f"p:{name}", "description": "P"},
        {"kind": "Resource", "identifier": f"https://{name}.example.com", "name": "P"},
    ]
    done = await api.call("POST", "/apply/admin", {"documents": documents})
    assert {part.partition(":")[0] for part in done.headers[HEADER].split()} == {
        "admin.scope",
        "admin.resource",
        "feed",
    }


@pytest.mark.parametrize(
    "sent",
    [
        "",
        "now",
        "feed",
        "feed:-1",
        "admin.scope",
        "admin:5",
        "nobody.scope:5",
        "feed:1;admin.scope:2",
        "feed:" + "9" * 17,
    ],
)
async def test_what_no_answer_carried_is_refused(api: Api, platform: Platform, sent: str) -> None:
    answer = await api.client.get("/scopes", headers={HEADER: sent})
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    answer = await api.client.post(f"{platform.issuer}/oauth2/token", headers={HEADER: sent})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


async def ahead(platform: Platform, by: int) -> str:
    """A position of admin's that nobody has given out."""
    return f"admin.scope:{await newest(platform) + by}"


async def newest(platform: Platform) -> int:
    found = await platform.database.open(Service.ADMIN).ask("SELECT row_id FROM bus.published WHERE owner = 'admin'")
    return int(found)


@pytest.fixture
async def written(api: Api) -> str:
    """The position of a write."""
    made = await api.call("POST", "/scopes", {"name": f"p:{secrets.token_hex(4)}", "description": "P"})
    position: str = made.headers[HEADER]
    assert (await api.client.get("/scopes", headers={HEADER: position})).status_code == 200
    return position


async def test_what_is_not_reached_in_time_is_to_be_asked_again(
    api: Api, platform: Platform, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    monkeypatch.setattr(positions, "LONGEST_S", 0.1)
    feed = int(written.rpartition(":")[2])
    for never in (f"feed:{feed + 1_000_000}", f"feed:{feed + (1 << EPOCH_SHIFT)}", await ahead(platform, 1_000_000)):
        answer = await api.client.get("/scopes", headers={HEADER: never})
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        answer = await api.client.get(f"{platform.issuer}/oauth2/userinfo", headers={HEADER: never})
        assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")


@pytest.mark.parametrize("never", ["feed:9007199254740991", "admin.scope:999999999", "directory.user:999999999999"])
async def test_what_cannot_have_been_given_out_is_refused_at_once(
    api: Api, platform: Platform, written: str, never: str
) -> None:
    answer = await api.client.get("/scopes", headers={HEADER: never})
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    answer = await api.client.post(f"{platform.issuer}/oauth2/token", headers={HEADER: f"{written} {never}"})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


@asynccontextmanager
async def waiting(platform: Platform, position: str, count: int) -> AsyncIterator[list[asyncio.Task[httpx2.Response]]]:
    """So many strangers' requests that demand a position."""
    async with http_client() as http:
        asked = [
            asyncio.create_task(http.get(f"{platform.issuer}/livez", headers={HEADER: position})) for _ in range(count)
        ]
        yield asked
        await asyncio.wait(asked)


async def test_however_many_wait_one_of_them_asks_the_database(
    platform: Platform, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    assert platform.process is not None
    monkeypatch.setattr(positions, "LONGEST_S", 2.0)
    looks, running, most = 0, 0, 0

    def began(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        nonlocal looks, running, most
        if "bus.published" in statement:
            looks, running = looks + 1, running + 1
            most = max(most, running)

    def ended(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        nonlocal running
        running -= "bus.published" in statement

    engine = platform.process.database.engine.sync_engine
    listen(engine, "before_cursor_execute", began)
    listen(engine, "after_cursor_execute", ended)
    try:
        async with waiting(platform, await ahead(platform, 1000), 50):
            async with asyncio.timeout(20):
                while looks < 20:
                    await asyncio.sleep(0.01)
    finally:
        remove(engine, "before_cursor_execute", began)
        remove(engine, "after_cursor_execute", ended)
    assert most == 1


async def test_more_than_a_few_do_not_wait_and_what_is_reached_is_answered(
    api: Api, platform: Platform, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    monkeypatch.setattr(positions, "LONGEST_S", 2.0)
    monkeypatch.setattr(positions, "MOST_WAITING", 3)
    async with waiting(platform, await ahead(platform, 1000), 10) as asked:
        refused: set[asyncio.Task[httpx2.Response]] = set()
        async with asyncio.timeout(20):
            while len(refused) < 7:
                done, _ = await asyncio.wait(set(asked) - refused, return_when=asyncio.FIRST_COMPLETED)
                refused |= done
        assert {(each.result().status_code, each.result().headers["retry-after"]) for each in refused} == {(503, "1")}
        assert len(refused) == 7
        assert (await api.client.get("/scopes", headers={HEADER: written})).status_code == 200


async def test_at_two_workers_every_write_is_seen_by_the_other(platform_factory: PlatformFactory) -> None:
    platform: WorkerPlatform = await platform_factory(2)
    headers = {"Watchword-API-Key": platform.admin.admin_token}
    async with (
        http_client(base_url=platform.doors[0], headers=headers) as one,
        http_client(base_url=platform.doors[1]) as other,
    ):
        client = await one.post(
            "/api/v1/clients",
            json={"client_name": "Robot", "grant_types": ["client_credentials"], "scope": "a b", "redirect_uris": []},
        )
        assert client.status_code == 201, client.text
        credentials = (client.json()["client_id"], client.json()["client_secret"])
        platform.canary.add("secret", credentials[1])
        position = client.headers[HEADER]

        async def token(scope: str) -> int:
            answer = await other.post(
                "/oauth2/token",
                data={"grant_type": "client_credentials", "scope": scope},
                auth=credentials,
                headers={HEADER: position},
            )
            return answer.status_code

        assert await token("a b") == 200
        for n in range(ROUNDS):
            scope = "a" if n % 2 == 0 else "a b"
            changed = await one.patch(f"/api/v1/clients/{credentials[0]}", json={"scope": scope})
            position = changed.headers[HEADER]
            assert await token("b") == (400 if n % 2 == 0 else 200), f"round {n}"
        disabled = await one.patch(f"/api/v1/clients/{credentials[0]}", json={"enabled": False})
        position = disabled.headers[HEADER]
        assert await token("a") == 401
