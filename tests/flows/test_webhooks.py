"""What happens reaches the receiver of a webhook: signed, in order, again when it was away, from where it wants."""

import asyncio
import hmac
import json
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from tests.flows.test_access_rules import eventually

from watchword.composition import settings_of
from watchword_admin.settings import AdminSettings
from watchword_admin.webhooks import changes, store
from watchword_admin.webhooks.deliveries import Deliveries
from watchword_admin.webhooks.documents import NewWebhook
from watchword_database import Database, audit, transaction
from watchword_database.audit import Note
from watchword_events.names import Service
from watchword_runtime.seal import SecretSeal
from watchword_runtime.telemetry import Telemetry
from watchword_testkit.api import Api
from watchword_testkit.authority import Authority
from watchword_testkit.clock import TestClock
from watchword_testkit.databases import TestDatabase
from watchword_testkit.platform import Platform

SECRET = "a secret that the receiver knows"


@dataclass
class Receiver:
    """Somebody's program that takes batches. statuses: of the next answers; 204 when there is none."""

    uri: str = ""
    statuses: list[int] = field(default_factory=list)
    batches: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    async def take(self, request: Request) -> Response:
        """Answers as it was told."""
        self.batches.append((dict(request.headers), await request.body()))
        return Response(status_code=self.statuses.pop(0) if self.statuses else 204)

    @property
    def items(self) -> list[dict[str, Any]]:
        """All items so far."""
        return [item for _, body in self.batches for item in json.loads(body)["items"]]


@asynccontextmanager
async def receiving(certificate: Path | None = None) -> AsyncIterator[Receiver]:
    """A receiver on a port of its own. certificate: of a server at localhost, with its key."""
    listening = socket.create_server(("127.0.0.1", 0))
    scheme, host = ("https", "localhost") if certificate else ("http", "127.0.0.1")
    made = Receiver(f"{scheme}://{host}:{listening.getsockname()[1]}/hook")
    app = Starlette(routes=[Route("/hook", made.take, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", ssl_certfile=certificate))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield made
    finally:
        server.should_exit = True
        await serving


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver without TLS, which the demo allows on loopback."""
    async with receiving() as made:
        yield made


@asynccontextmanager
async def webhook(api: Api, receiver: Receiver, **given: object) -> AsyncIterator[dict[str, Any]]:
    """A webhook that is gone afterwards."""
    body = {"name": f"hook-{secrets.token_hex(4)}", "url": receiver.uri, "secret": SECRET, **given}
    made = await api.create("/webhooks", **body)
    try:
        yield made
    finally:
        await api.delete(f"/webhooks/{made['id']}")


async def add_scope(api: Api) -> str:
    """The name of a new scope."""
    name = f"hook:{secrets.token_hex(6)}"
    await api.create("/scopes", name=name, description="For a webhook")
    return name


def is_signed(headers: dict[str, str], body: bytes, name: str = "watchword-signature-256") -> bool:
    """Whether somebody who knows the secret sent it."""
    return headers[name] == f"sha256={hmac.new(SECRET.encode(), body, sha256).hexdigest()}"


async def test_entries_arrive_signed_filtered_and_again_from_a_cursor(api: Api, receiver: Receiver) -> None:
    async with webhook(api, receiver, types=["scope.created"]) as made:
        names = [await add_scope(api) for _ in range(3)]

        def seen() -> list[str]:
            return [item["name"] for item in receiver.items if item.get("name") in names]

        await eventually(lambda: _is(len(seen()) == 3))
        assert seen() == names
        assert {item["action"] for item in receiver.items} == {"scope.created"}
        for headers, body in receiver.batches:
            assert is_signed(headers, body)
            assert headers["watchword-event"] == "audit"
        first = next(item for item in receiver.items if item["name"] == names[0])
        assert {"field": "name", "after": names[0], "is_secret": False} in first["changes"]
        receiver.batches.clear()
        await api.create(f"/webhooks/{made['id']}/replay", after=first["seq"])
        await eventually(lambda: _is(len(seen()) == 2))
        assert seen() == names[1:]
        shown = await api.get(f"/webhooks/{made['id']}")
        assert "secret" not in {name for name, value in shown.items() if value}


@pytest.mark.seed(75)
async def test_calls_arrive_as_openfaas_sends_them(api: Api, receiver: Receiver, platform: Platform) -> None:
    async with webhook(api, receiver, dialect="openfaas", methods=["PUT", "POST", "DELETE"]):
        await add_scope(api)
        refused = await api.call("POST", "/scopes", {"name": "openid", "description": "x"})
        assert refused.status_code == 400

        def calls() -> list[dict[str, Any]]:
            found = [item for _, body in receiver.batches for item in json.loads(body)]
            return [item for item in found if item["path"] == "/api/v1/scopes"]

        await eventually(lambda: _is({400, 201} <= {item["response_code"] for item in calls()}))
        done = next(item for item in calls() if item["response_code"] == 201)
        assert done["event"] == "api_access"
        assert done["actions"] == ["scope.created"]
        assert (done["method"], done["actor"]["issuer"]) == ("POST", platform.issuer)
        assert {"sub", "name"} <= done["actor"].keys()
        assert done["time"]
        for headers, body in receiver.batches:
            assert headers["x-openfaas-event"] == "api_access"
            assert is_signed(headers, body, "x-openfaas-signature-256")
            assert {item["method"] for item in json.loads(body)} <= {"PUT", "POST", "DELETE"}


async def test_events_arrive_as_cloud_events(api: Api, receiver: Receiver) -> None:
    async with webhook(api, receiver, about="events", types=["scope.*"]):
        found = await api.create("/scopes", name=f"hook:{secrets.token_hex(6)}", description="E")
        await eventually(lambda: _is(any(item["subject"] == found["id"] for item in receiver.items)))
        (event,) = [item for item in receiver.items if item["subject"] == found["id"]]
        assert (event["type"], event["specversion"]) == ("scope.changed", "1.0")
        assert event["source"] == "urn:watchword:admin"
        assert event["data"]["id"] == found["id"]
        assert receiver.batches[0][0]["watchword-event"] == "events"


async def test_a_batch_is_sent_again_until_it_is_taken(api: Api, receiver: Receiver) -> None:
    receiver.statuses = [500, 302]
    async with webhook(api, receiver, types=["scope.created"]) as made:
        name = await add_scope(api)

        async def failing() -> bool:
            return (await api.get(f"/webhooks/{made['id']}"))["error"] is not None

        await eventually(failing)
        assert (await api.get(f"/webhooks/{made['id']}"))["error"] in {"status 500", "status 302"}
        await eventually(lambda: _is(len(receiver.batches) >= 3))
        for _, body in receiver.batches[:3]:
            assert name in body.decode()


REFUSED: dict[str, tuple[dict[str, object], str]] = {
    "no URL": ({"url": "siem"}, "#/url"),
    "another scheme": ({"url": "ftp://siem.example.com/"}, "#/url"),
    "user in the URL": ({"url": "https://u:p@siem.example.com/"}, "#/url"),
    "short secret": ({"secret": "short"}, "#/secret"),
    "type that is none": ({"types": ["client updated"]}, "#/types/0"),
    "no type": ({"types": []}, "#/types"),
    "method that changes nothing": ({"methods": ["GET"]}, "#/methods/0"),
    "bundle that is none": ({"ca_bundle": "-----BEGIN"}, "#/ca_bundle"),
    "events with a method": ({"about": "events", "methods": ["POST"]}, "#"),
    "events that nothing tells": ({"about": "events", "types": ["client.*", "clinet.*"]}, "#"),
    "events as OpenFaaS": ({"about": "events", "dialect": "openfaas"}, "#"),
    "unknown member": ({"urls": []}, "#/urls"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_no_webhook_may_say(api: Api, case: str) -> None:
    given, pointer = REFUSED[case]
    body = {"name": f"hook-{secrets.token_hex(4)}", "url": "https://siem.example.com/", **given}
    answer = await api.call("POST", "/webhooks", body)
    assert answer.status_code == 400, answer.text
    assert [each["pointer"] for each in answer.json()["errors"]] == [pointer]


@pytest.mark.parametrize("url", ["http://10.1.2.3/", "https://169.254.169.254/", "https://192.168.0.1:8443/x"])
async def test_private_networks_are_not_reached(api: Api, url: str) -> None:
    async with webhook(api, Receiver(url), enabled=False) as made:
        tried = await api.create(f"/webhooks/{made['id']}/test")
        assert tried["delivered"] is False
        assert "outbound_allow" in str(tried["error"])


async def test_a_receiver_is_vouched_for_by_the_authorities_of_the_webhook(api: Api, tmp_path: Path) -> None:
    authority = Authority("Ours")
    authority.server_context("localhost", tmp_path)
    async with receiving(tmp_path / "localhost.pem") as receiver:
        for bundle, expected in ((None, False), (Authority("Others").pem, False), (authority.pem, True)):
            async with webhook(api, receiver, ca_bundle=bundle, enabled=False) as made:
                tried = await api.create(f"/webhooks/{made['id']}/test")
                assert tried["delivered"] is expected, tried


async def test_a_webhook_is_declared_exported_and_pruned(api: Api) -> None:
    name = f"declared-{secrets.token_hex(4)}"
    document = {"kind": "Webhook", "name": name, "url": "https://siem.example.com/", "enabled": False}

    async def apply(*documents: dict[str, object], **more: object) -> dict[str, Any]:
        answer = await api.call("POST", "/apply/admin", {"documents": list(documents), **more})
        assert answer.status_code == 200, answer.text
        (step,) = [step for step in answer.json()["steps"] if step["name"] == name]
        return dict(step)

    made = await apply(document)
    assert made["action"] == "create"
    assert made["secret"]
    exported = await api.get("/apply/admin", kind="Webhook", limit="200")
    (kept,) = [each for each in exported["items"] if each["name"] == name]  # type: ignore[union-attr]
    assert "secret" not in kept
    assert (await apply({"kind": "Webhook", **kept}))["action"] == "unchanged"
    changed = await apply({**document, "types": ["client.*"]})
    assert [each["field"] for each in changed["changes"]] == ["types"]
    await api.delete(f"/webhooks/{made['id']}")


# Sending, looked at from inside ---------------------------------------------------------------------------------------


@dataclass
class Sending:
    """Instances that send, on a database of the test's own."""

    database: Database
    settings: AdminSettings
    clock: TestClock
    seal: SecretSeal

    def instance(self) -> Deliveries:
        """One more."""
        return Deliveries(self.settings, self.database, self.seal, Telemetry("test"), now=self.clock)

    async def add(self, url: str) -> str:
        """The id of a webhook about everything."""
        async with transaction(self.database) as session:
            new = NewWebhook(name="w", url=url, secret=SECRET)  # type: ignore[arg-type]
            return (await changes.add_webhook(session, new, seal=self.seal, now=self.clock()))[0].id

    async def happen(self, count: int) -> None:
        """So many entries, each in a transaction."""
        for n in range(count):
            async with transaction(self.database) as session:
                await audit.note(session, [Note({"action": "test.done", "details": {"n": n}}, {})])


@pytest.fixture
async def sending(database: TestDatabase, platform: Platform, clock: TestClock) -> Sending:
    """As above."""
    told = platform.site.settings(platform.issuer, {})[Service.ADMIN]
    settings = settings_of(Service.ADMIN, told)
    assert isinstance(settings, AdminSettings)
    own = database.open(Service.ADMIN, pool_size=4)
    return Sending(own, settings, clock, SecretSeal(b"k" * 32, own))


async def test_two_instances_send_everything_once_and_in_order(sending: Sending, receiver: Receiver) -> None:
    webhook_id = await sending.add(receiver.uri)
    instances = [sending.instance() for _ in range(2)]
    for each in instances:
        each.start()
    await sending.happen(40)

    async def through() -> bool:
        for each in instances:
            each.look()
        async with transaction(sending.database) as session:
            found = await store.find(session, webhook_id)
        return found is not None and found.after == 40

    await eventually(through)
    for each in instances:
        await each.stop()
    assert [item["seq"] for item in receiver.items] == list(range(1, 41))


async def test_what_is_not_taken_for_a_day_is_a_dead_letter_and_the_next_follows(
    sending: Sending, receiver: Receiver, clock: TestClock
) -> None:
    webhook_id = await sending.add(receiver.uri)
    receiver.statuses = [503, 503]
    await sending.happen(1)
    instance = sending.instance()
    instance.start()

    async def letters() -> list[tuple[int, int, str]]:
        async with transaction(sending.database) as session:
            found = await store.dead_letters(session, webhook_id, before="", limit=5)
        return [(each.after, each.until, each.error) for each in found]

    async def given_up() -> bool:
        if len(receiver.batches) == 1:
            clock.advance(timedelta(days=1, minutes=1))
        instance.look()
        return await letters() != []

    await eventually(given_up)
    assert await letters() == [(0, 1, "status 503")]
    await sending.happen(1)
    instance.look()
    await eventually(lambda: _is(len(receiver.batches) == 3))
    assert receiver.items[-1]["seq"] == 2
    await instance.stop()


async def _is(so: bool) -> bool:
    return so
