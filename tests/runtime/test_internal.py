"""Pulls between services: who may ask, and whose answer is believed."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, use_span

from watchword_events.exports import ClientExport, Exported
from watchword_events.names import Service
from watchword_runtime.calls import ask
from watchword_runtime.internal import ExportQuery, InternalClient, InternalClients, Unreachable, router
from watchword_runtime.keyring import Keyring
from watchword_runtime.service import ASGIApp, Receive, Scope, Send

from .conftest import SettingsFor

NOW = datetime(2026, 11, 22, tzinfo=UTC)


class Clients:
    """An owner of clients; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[ExportQuery] = []
        self.answer: Sequence[Exported[Any]] = ()

    async def export(self, query: ExportQuery) -> Sequence[Exported[Any]]:
        self.asked.append(query)
        return self.answer


class World:
    """admin exports clients; authz pulls them. direct: as services of one process do."""

    def __init__(self, settings_for: SettingsFor, *, direct: bool = False) -> None:
        self.settings = settings_for(Service.AUTHZ)
        self.now = NOW
        self.clients = Clients()
        app = FastAPI()
        owner = settings_for(Service.ADMIN)
        lookups = {"client": frozenset({"short_name"})}
        exporters = {"client": lambda query: self.clients.export(query)}
        self.ways = InternalClients({Service.ADMIN: self._through}, lambda: NOW)
        clients = self.ways if direct else None
        app.include_router(
            router(
                owner.keyring,
                Service.ADMIN,
                exporters,
                lookups=lookups,
                replies={"secret": self.reply},
                now=lambda: self.now,
                clients=clients,
            )
        )
        self.app: ASGIApp = app
        self.client: InternalClient = self.ways.of(self.settings, Service.AUTHZ)
        self.between: Mapping[str, Any] = {}
        self.secrets: dict[bytes, bytes] = {}

    async def reply(self, asked: bytes) -> bytes | None:
        return self.secrets.get(asked)

    async def _through(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app({**scope, **self.between}, receive, send)


@pytest.fixture
async def world(settings_for: SettingsFor) -> AsyncIterator[World]:
    made = World(settings_for)
    yield made
    await made.ways.close()


@pytest.fixture(params=["over HTTP", "in one process"])
async def either(settings_for: SettingsFor, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """Both ways to an owner, which differ in nothing that is asked or answered."""
    made = World(settings_for, direct=request.param == "in one process")
    yield made
    await made.ways.close()


def client(name: str, version: int = 1) -> Exported[ClientExport]:
    return Exported[ClientExport](id=name, version=version, data=ClientExport(client_id=name, client_name=name))


async def test_an_owner_answers_with_what_it_has(either: World) -> None:
    either.clients.answer = [client("a", 3), Exported[ClientExport](id="b", version=9, deleted=True)]
    page = await either.client.export(Service.ADMIN, "client", {"id": ["a", "b", "ü &=/%?#"]})
    assert [(item.id, item.version, item.deleted) for item in page.items] == [("a", 3, False), ("b", 9, True)]
    assert ClientExport.model_validate(page.items[0].data).client_name == "a"
    assert either.clients.asked == [ExportQuery(ids=("a", "b", "ü &=/%?#"))]
    assert page.next is None


async def test_a_full_page_names_where_the_next_begins(either: World) -> None:
    either.clients.answer = [client("a"), client("b")]
    assert (await either.client.export(Service.ADMIN, "client", {"after": "", "limit": 2})).next == "b"
    assert (await either.client.export(Service.ADMIN, "client", {"after": "b", "limit": 3})).next is None
    assert either.clients.asked == [ExportQuery(limit=2), ExportQuery(after="b", limit=3)]


async def test_a_unique_column_may_be_looked_up(either: World) -> None:
    await either.client.export(Service.ADMIN, "client", {"short_name": "argo"})
    assert either.clients.asked == [ExportQuery(lookup=("short_name", "argo"), limit=500)]


@pytest.mark.parametrize(
    "params",
    [
        pytest.param({"client_name": "argo"}, id="a column that may not be looked up"),
        pytest.param({"short_name": ["a", "b"]}, id="lookup twice"),
        pytest.param({"id": "a", "short_name": "a"}, id="ids and lookup"),
        pytest.param({"limit": 0}, id="nothing"),
        pytest.param({"limit": 501}, id="too much"),
        pytest.param({"limit": "x"}, id="no number"),
        pytest.param({"id": [str(n) for n in range(201)]}, id="too many ids"),
    ],
)
async def test_what_cannot_be_asked_is_refused(either: World, params: dict[str, Any]) -> None:
    with pytest.raises(Unreachable, match="answered 400"):
        await either.client.export(Service.ADMIN, "client", params)
    assert either.clients.asked == []


async def test_an_entity_that_the_owner_does_not_export_is_not_found(either: World) -> None:
    with pytest.raises(Unreachable, match="answered 404"):
        await either.client.export(Service.ADMIN, "user", {"id": "a"})


@pytest.mark.spec("W3C Trace Context 3.2")
async def test_who_is_asked_goes_on_with_the_trace_of_who_asks(world: World) -> None:
    headers: list[dict[str, str]] = []
    inside = world.app

    async def notice(scope: Scope, receive: Receive, send: Send) -> None:
        headers.append({name.decode(): value.decode() for name, value in scope["headers"]})
        await inside(scope, receive, send)

    world.app = notice
    span = NonRecordingSpan(SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED)))
    with use_span(span):
        await world.client.export(Service.ADMIN, "client", {"id": "a"})
        await ask(world.ways, world.settings, Service.ADMIN, "GET", "/api/v1/clients")
    await world.client.export(Service.ADMIN, "client", {"id": "a"})
    expected = f"00-{0xABC:032x}-{0xDEF:016x}-01"
    assert [each.get("traceparent") for each in headers] == [expected, expected, None]


async def refused(world: World, headers: Mapping[str, str], path: str = "/internal/export/client?id=a") -> bool:
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(world.app), base_url="http://x") as http:
        response = await http.get(path, headers=headers)
    assert response.content == b""
    return response.status_code == 401


async def test_nobody_asks_without_a_key(world: World) -> None:
    assert await refused(world, {})
    assert await refused(world, {"watchword-caller": "authz"})
    assert await refused(world, {"watchword-caller": "nobody", "watchword-time": "0", "watchword-mac": "00"})
    beyond_ascii = httpx2.Headers({"watchword-caller": "authz", "watchword-mac": "\u00e9"}, encoding="latin-1")
    assert await refused(world, beyond_ascii)


async def signed(world: World, params: Mapping[str, Any], path: str = "/internal/export/client") -> dict[str, str]:
    """The headers that a true pull carries."""
    seen: dict[str, str] = {}

    async def notice(scope: Scope, receive: Receive, send: Send) -> None:
        seen.update({name.decode(): value.decode() for name, value in scope["headers"]})
        await world.app(scope, receive, send)

    ways = InternalClients({Service.ADMIN: notice}, lambda: NOW)
    await ways.of(world.settings, Service.AUTHZ).get(Service.ADMIN, path, params)
    return {name: value for name, value in seen.items() if name.startswith("watchword-")}


async def test_a_signature_is_for_one_question(world: World) -> None:
    headers = await signed(world, {"id": "a"})
    assert not await refused_or_answered(world, headers, "?id=a")
    assert await refused(world, headers, "/internal/export/client?id=b")
    assert await refused(world, headers, "/internal/export/client?id=a&id=b")
    assert await refused(world, headers, "/internal/export/user?id=a")
    assert await refused(world, {**headers, "watchword-caller": "token"})


async def refused_or_answered(world: World, headers: Mapping[str, str], query: str) -> bool:
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(world.app), base_url="http://x") as http:
        return (await http.get(f"/internal/export/client{query}", headers=headers)).status_code == 401


@pytest.mark.parametrize("seconds", [-31, 31])
async def test_a_signature_lives_half_a_minute(world: World, seconds: int) -> None:
    headers = await signed(world, {"id": "a"})
    world.now = NOW + timedelta(seconds=seconds)
    assert await refused(world, headers)


async def test_a_signature_for_another_owner_is_nothing_here(world: World, settings_for: SettingsFor) -> None:
    app = FastAPI()
    keyring: Keyring = settings_for(Service.DIRECTORY).keyring
    app.include_router(router(keyring, Service.DIRECTORY, {"client": world.clients.export}, now=lambda: NOW))
    headers = await signed(world, {"id": "a"})
    world.app = app
    assert await refused(world, headers)


async def test_an_answer_that_was_altered_on_the_way_is_not_believed(world: World) -> None:
    world.clients.answer = [client("a")]
    true = world.app

    async def alter(scope: Scope, receive: Receive, send: Send) -> None:
        async def altering(message: Any) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": message["body"].replace(b'"client_name":"a"', b'"client_name":"b"')}
            await send(message)

        await true(scope, receive, altering)

    world.app = alter
    with pytest.raises(Unreachable, match="not its own"):
        await world.client.export(Service.ADMIN, "client", {"id": "a"})


async def test_an_answer_to_another_question_is_not_believed(world: World) -> None:
    """A recorded answer cannot be played back: it is bound to the time and the question."""
    world.clients.answer = [client("a")]
    recorded: list[Any] = []
    true = world.app

    async def record(scope: Scope, receive: Receive, send: Send) -> None:
        async def recording(message: Any) -> None:
            recorded.append(message)
            await send(message)

        await true(scope, receive, recording)

    async def play(_scope: Scope, _receive: Receive, send: Send) -> None:
        for message in recorded:
            await send(message)

    world.app = record
    await world.client.export(Service.ADMIN, "client", {"id": "a"})
    world.app = play
    with pytest.raises(Unreachable, match="not its own"):
        await world.client.export(Service.ADMIN, "client", {"id": "b"})


async def test_an_exporter_that_fails_is_an_owner_out_of_reach(either: World) -> None:
    async def fail(_query: ExportQuery) -> Sequence[Exported[Any]]:
        raise RuntimeError("the database is away")

    either.clients.export = fail  # type: ignore[method-assign]
    with pytest.raises(Unreachable):
        await either.client.export(Service.ADMIN, "client", {"id": "a"})


async def test_an_owner_that_is_gone_from_the_process_is_out_of_reach(settings_for: SettingsFor) -> None:
    apps: dict[Service, ASGIApp] = {}
    ways = InternalClients(apps, lambda: NOW)
    clients = Clients()
    owner = settings_for(Service.ADMIN).keyring
    apps[Service.ADMIN] = FastAPI()
    router(owner, Service.ADMIN, {"client": clients.export}, clients=ways)
    asking = ways.of(settings_for(Service.AUTHZ), Service.AUTHZ)
    assert (await asking.export(Service.ADMIN, "client", {"id": "a"})).items == []
    del apps[Service.ADMIN]
    with pytest.raises(Unreachable, match="names no admin"):
        await asking.export(Service.ADMIN, "client", {"id": "a"})


async def test_a_service_without_an_address_is_named(world: World) -> None:
    with pytest.raises(Unreachable, match="WATCHWORD_INTERNAL_URLS names no directory"):
        await world.client.export(Service.DIRECTORY, "user", {"id": "a"})


async def test_an_owner_that_does_not_listen_is_out_of_reach(settings_for: SettingsFor) -> None:
    settings = settings_for(Service.AUTHZ, internal_urls={"directory": "http://127.0.0.1:1"})
    ways = InternalClients()
    with pytest.raises(Unreachable, match="directory: ConnectError"):
        await ways.of(settings, Service.AUTHZ).export(Service.DIRECTORY, "user", {"id": "a"})
    await ways.close()


@pytest.mark.parametrize("url", ["http://localhost:8080", "https://sso.example.com/auth"])
async def test_pulls_say_the_public_host(settings_for: SettingsFor, url: str) -> None:
    """Services refuse requests for other hosts; a pull is no exception to that."""
    seen: list[Scope] = []

    async def notice(scope: Scope, _receive: Receive, send: Send) -> None:
        seen.append(scope)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    settings = settings_for(Service.AUTHZ, public_url=url)
    ways = InternalClients({Service.TOKEN: notice})
    await ways.of(settings, Service.AUTHZ).get(Service.TOKEN, "/oauth2/jwks")
    assert dict(seen[0]["headers"])[b"host"].decode() == settings.host
    assert seen[0]["path"] == "/oauth2/jwks"
    await ways.close()


# What must not stand in a URL -----------------------------------------------------------------------------------------


async def test_a_secret_is_asked_about_in_the_body(world: World) -> None:
    world.secrets = {b"a \xff?&": b"known", b"": b"nothing at all"}
    seen: list[Scope] = []
    true = world.app

    async def notice(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)
        await true(scope, receive, send)

    world.app = notice
    assert await world.client.ask(Service.ADMIN, "secret", b"a \xff?&") == b"known"
    assert await world.client.ask(Service.ADMIN, "secret", b"") == b"nothing at all"
    assert await world.client.ask(Service.ADMIN, "secret", b"b") is None
    assert {(each["method"], each["path"], each["query_string"]) for each in seen} == {
        ("POST", "/internal/ask/secret", b"")
    }


async def test_a_question_that_the_owner_does_not_know_is_an_owner_out_of_reach(world: World) -> None:
    with pytest.raises(Unreachable, match="answered 404"):
        await world.client.ask(Service.ADMIN, "other", b"a")


async def test_a_reply_that_fails_is_an_owner_out_of_reach(world: World) -> None:
    world.secrets = {b"a": 3}  # type: ignore[dict-item]  # what fails
    with pytest.raises(Unreachable):
        await world.client.ask(Service.ADMIN, "secret", b"a")


async def test_a_signature_is_for_one_question_in_a_body(world: World) -> None:
    """A recorded one asks nothing else, nor by another method."""
    world.secrets = {b"a": b"1", b"b": b"2"}
    headers: dict[str, str] = {}

    async def notice(scope: Scope, receive: Receive, send: Send) -> None:
        headers.update({name.decode(): value.decode() for name, value in scope["headers"]})
        await world.app(scope, receive, send)

    ways = InternalClients({Service.ADMIN: notice}, lambda: NOW)
    assert await ways.of(world.settings, Service.AUTHZ).ask(Service.ADMIN, "secret", b"a") == b"1"
    kept = {name: value for name, value in headers.items() if name.startswith("watchword-")}
    of_export = await signed(world, {"id": "a"})

    async def post(path: str, body: bytes, headers: Mapping[str, str]) -> httpx2.Response:
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(world.app), base_url="http://x") as http:
            return await http.post(path, content=body, headers=headers)

    assert (await post("/internal/ask/secret", b"a", kept)).content == b"1"
    for path, body, given in (
        ("/internal/ask/secret", b"b", kept),
        ("/internal/ask/secret", b"", kept),
        ("/internal/ask/other", b"a", kept),
        ("/internal/ask/secret?a=b", b"a", kept),
        ("/internal/ask/secret", b"a", {}),
        ("/internal/ask/secret", b"a", {**kept, "watchword-caller": "token"}),
        ("/internal/ask/secret", b"", of_export),
    ):
        answer = await post(path, body, given)
        assert (answer.status_code, answer.content) == (401, b"")
    assert await refused(world, kept)
    world.now = NOW + timedelta(seconds=31)
    assert (await post("/internal/ask/secret", b"a", kept)).status_code == 401


async def test_a_reply_that_was_altered_on_the_way_is_not_believed(world: World) -> None:
    world.secrets = {b"a": b"known"}
    true = world.app

    async def alter(scope: Scope, receive: Receive, send: Send) -> None:
        async def altering(message: Any) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": message["body"].replace(b"known", b"other")}
            await send(message)

        await true(scope, receive, altering)

    world.app = alter
    with pytest.raises(Unreachable, match="not its own"):
        await world.client.ask(Service.ADMIN, "secret", b"a")
