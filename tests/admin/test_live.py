"""Live events: who hears what, how soon, and until when."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest
from tests.admin.conftest import Make

from watchword_admin.live import PUBLIC_TYPES, Follower, Live, Missed, Seen
from watchword_admin.streams import event_stream
from watchword_events.names import Service
from watchword_runtime.broker import Broker
from watchword_runtime.clock import utc_now
from watchword_runtime.settings import ServiceSettings, load
from watchword_testkit.api import Api
from watchword_testkit.canary import Canary
from watchword_testkit.http import http_client
from watchword_testkit.platform import Platform
from watchword_testkit.signin import Party


class Reader:
    """Reads a stream of server-sent events."""

    def __init__(self, response: httpx2.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()

    async def message(self, within_s: float = 10.0) -> dict[str, str]:
        """The fields of the next message. Raises StopAsyncIteration at the end, TimeoutError."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(within_s):
            while True:
                line = await anext(self._lines)
                if not line and "data" in fields:
                    return fields
                name, _, value = line.partition(": ")
                if line and name:
                    fields[name] = value

    async def until(self, type_: str, id_: str) -> dict[str, str]:
        """The first message about something."""
        while True:
            message = await self.message()
            if message.get("event") == type_ and json.loads(message["data"])["subject"] == id_:
                return message


@asynccontextmanager
async def following(platform: Platform, query: str = "", **headers: str) -> AsyncIterator[Reader]:
    named = {name.replace("_", "-"): value for name, value in headers.items()} or {
        "Watchword-API-Key": platform.admin.admin_token
    }
    async with (
        http_client(timeout=30) as http,
        http.stream("GET", f"{platform.issuer}/api/v1/events/stream{query}", headers=named) as response,
    ):
        assert response.status_code == 200
        reader = Reader(response)
        assert await anext(reader._lines) == "retry: 2000"
        yield reader


@pytest.mark.spec("CloudEvents 1.0.2 JSON Event Format 2")
@pytest.mark.spec("HTML Standard 9.2")
async def test_an_event_arrives_as_a_cloud_event_with_ids_only(platform: Platform, api: Api) -> None:
    name = f"heard-{secrets.token_hex(4)}"
    async with following(platform) as reader:
        assert reader.response.headers["content-type"].startswith("text/event-stream")
        assert reader.response.headers["cache-control"] == "no-store"
        user = await api.create("/users", username=name, name="Never Told")
        message = await reader.until("user.provisioned", str(user["id"]))
    event = json.loads(message["data"])
    assert event["specversion"] == "1.0"
    assert event["id"] == message["id"]
    assert event["source"] == "urn:watchword:directory"
    assert event["data"]["id"] == user["id"]
    assert name not in message["data"]
    assert "Never Told" not in message["data"]


@pytest.mark.parametrize("types", ["client.disabled,client.deleted", "client.d*", "key.*, client.disabled,*.deleted"])
async def test_only_the_wanted_types_arrive(platform: Platform, api: Api, make_client: Make, types: str) -> None:
    async with following(platform, f"?types={types}") as reader:
        client_id = str((await make_client())["client_id"])
        await api.change(f"/clients/{client_id}", enabled=False)
        await api.delete(f"/clients/{client_id}")
        types = [(await reader.message())["event"] for _ in range(2)]
    assert types == ["client.disabled", "client.deleted"]


async def test_a_program_with_the_scope_may_listen_and_nothing_else(
    platform: Platform, api: Api, canary: Canary, make_client: Make
) -> None:
    party = await Party.registered(
        api, platform.issuer, canary, grant_types=["client_credentials"], scope="watchword:events", redirect_uris=[]
    )
    token = (await party.tokens(grant_type="client_credentials"))["access_token"]
    async with following(platform, Authorization=f"Bearer {token}") as reader:
        made = await make_client()
        await reader.until("client.registered", str(made["client_id"]))


async def test_a_stream_ends_with_its_credential(
    platform: Platform, api: Api, canary: Canary, make_client: Make
) -> None:
    party = await Party.registered(
        api, platform.issuer, canary, grant_types=["client_credentials"], scope="watchword:events", redirect_uris=[]
    )
    token = (await party.tokens(grant_type="client_credentials"))["access_token"]
    async with following(platform, Authorization=f"Bearer {token}") as reader:
        await api.change(f"/clients/{party.client_id}", enabled=False)
        await asyncio.sleep(1.1)  # it is asked again at most once a second
        late = str((await make_client())["client_id"])
        heard = []
        try:
            while True:
                heard.append(await reader.message())
        except StopAsyncIteration:
            pass
    assert not [each for each in heard if late in each["data"]], "nothing is told after the credential has ended"


def seen(type_: str = "user.updated") -> Seen:
    return Seen(secrets.token_hex(4), type_, "x", {"id": "x"}, utc_now())


async def test_a_reader_that_is_too_slow_is_told_that_it_missed_something() -> None:
    follower = Follower(PUBLIC_TYPES)
    for _ in range(1100):
        follower.offer(seen())
    for _ in range(1000):
        assert await follower.next(0.1) is not None
    with pytest.raises(Missed):
        await follower.next(0.1)
    assert await follower.next(0.01) is None


async def test_several_gaps_before_the_reader_looks_are_one() -> None:
    follower = Follower(PUBLIC_TYPES)
    for _ in range(5):
        follower.offer(Missed())
    follower.offer(seen())
    with pytest.raises(Missed):
        await follower.next(0.1)
    assert await follower.next(0.1) is not None


def test_every_public_event_is_offered_and_no_private_one() -> None:
    assert "user.disabled" in PUBLIC_TYPES
    assert "client.registered" in PUBLIC_TYPES


async def test_of_streams_that_are_asked_for_at_once_no_more_than_there_is_room_for_follow(platform: Platform) -> None:
    """All of them found room when they asked; whoever begins to read last finds none, and comes back."""
    settings = load(ServiceSettings, **platform.site.settings(platform.issuer, {})[Service.ADMIN])
    live = Live(Broker(settings, platform.database.open(Service.ADMIN)), streams=2, now=utc_now)

    async def may_read() -> bool:
        return True

    streams = [aiter(event_stream(live, PUBLIC_TYPES, may_read).body_iterator) for _ in range(5)]
    first = [await anext(stream) for stream in streams]
    assert first == [b"retry: 2000\n: connected\n\n"] * 2 + [b"retry: 10000\n\n"] * 3
    assert [part async for part in streams[4]] == []
    assert live.is_full
