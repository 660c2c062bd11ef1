"""Clients hear that a session ended, at least once, each time with a fresh token; who cannot be told is given up."""

import asyncio
import json
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from ipaddress import ip_network
from typing import Any
from urllib.parse import parse_qs

import pytest
import uvicorn
from joserfc import jwt
from joserfc.jwk import KeySet
from tests.token.conftest import MASTER, Site

from watchword_database import Database, transaction
from watchword_database.ids import new_id
from watchword_events.contracts import SessionEnded, SessionStarted
from watchword_events.exports import ClientExport
from watchword_events.names import Service
from watchword_runtime import outbound
from watchword_runtime.keyring import Keyring, derive_service_keys
from watchword_runtime.service import Receive, Scope, Send
from watchword_runtime.work import Received
from watchword_testkit.clock import TestClock
from watchword_testkit.databases import TestDatabase
from watchword_token.backchannel import EVENT, LEASE, Deliveries
from watchword_token.keys import Keys
from watchword_token.models import Grant
from watchword_token.settings import TokenSettings

ISSUER = "https://sso.example.test"
DAY = timedelta(days=1)


@dataclass
class Party:
    """An application's logout endpoint on a real port. answers: statuses to come; the last one stays."""

    uri: str = ""
    answers: list[int] = field(default_factory=lambda: [200])
    heard: list[str] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        assert scope["method"] == "POST"
        (token,) = parse_qs(body.decode(), strict_parsing=True)["logout_token"]
        self.heard.append(token)
        status = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        await send({"type": "http.response.start", "status": status, "headers": [(b"location", b"/elsewhere")]})
        await send({"type": "http.response.body", "body": b""})


@pytest.fixture
async def party() -> AsyncIterator[Party]:
    listening = socket.create_server(("127.0.0.1", 0))
    made = Party(uri=f"http://127.0.0.1:{listening.getsockname()[1]}/logout")
    server = uvicorn.Server(uvicorn.Config(made, log_config=None, lifespan="off"))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    yield made
    server.should_exit = True
    await serving


class World:
    """The deliveries of one or several instances on one database."""

    def __init__(self, database: Database, clock: TestClock, url: str) -> None:
        self.database, self.clock, self.url = database, clock, url
        self.clients: dict[str, ClientExport] = {}
        self.counted: Counter[str] = Counter()
        ring = Keyring(json.dumps(derive_service_keys(MASTER, Service.TOKEN)))
        self.keys = Keys(database, ring)

    def client(self, **given: Any) -> str:
        client_id = new_id()
        self.clients[client_id] = ClientExport(client_id=client_id, client_name="An application", **given)
        return client_id

    def instance(self, **settings: Any) -> Deliveries:
        given = {"database_url": self.url, "keys": "{}", "outbound_allow": [ip_network("127.0.0.0/8")], **settings}
        own = TokenSettings.model_validate(given)

        async def find(client_id: str) -> ClientExport | None:
            return self.clients.get(client_id)

        return Deliveries(
            self.database,
            self.keys,
            find,
            outbound.client(own),
            name=lambda sector, user_id: user_id if sector is None else f"{user_id} at {sector}",
            issuer=ISSUER,
            horizon=DAY,
            counted=self.counted,
            now=self.clock,
        )

    async def session(self, *client_ids: str) -> str:
        """A session in which these clients took part."""
        sid, now = new_id(), self.clock()
        async with transaction(self.database) as session:
            for client_id in client_ids:
                session.add(
                    Grant(
                        id=new_id(),
                        user_id="ada",
                        client_id=client_id,
                        sid=sid,
                        session_bound=True,
                        scope="openid",
                        rev=1,
                        auth_time=now,
                        code_hash=new_id().encode(),
                        created_at=now,
                        expires_at=now + DAY,
                        idle_at=now + DAY,
                    )
                )
        return sid

    async def rows(self) -> list[dict[str, Any]]:
        pool = await self.database.raw_pool()
        return [dict(row) for row in await pool.fetch("SELECT * FROM token.deliveries ORDER BY id")]

    async def until(self, happens: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
        """The rows, once it has happened."""
        async with asyncio.timeout(30):
            while not happens(rows := await self.rows()):
                await asyncio.sleep(0.02)
        return rows


def ended(sid: str, version: int = 2) -> Received:
    event = SessionEnded(id=sid, version=version, user_id="ada", reason="sign-out")
    return Received(event_id=new_id(), type="session.ended", subject="auth.authz.session.ended", event=event, seq=1)


@pytest.fixture
async def world(database: TestDatabase, clock: TestClock) -> World:
    made = World(database.open(Service.TOKEN), clock, database.url(Service.TOKEN))
    await made.keys.start()
    return made


@pytest.fixture
async def deliveries(world: World) -> AsyncIterator[Deliveries]:
    made = world.instance()
    made.start()
    yield made
    await made.stop()


def _tried(times: int, rows: list[dict[str, Any]]) -> bool:
    return rows[0]["attempts"] == times and rows[0]["locked_until"] is None


@pytest.mark.spec("OpenID Connect Back-Channel Logout 1.0")
@pytest.mark.spec("OpenID Connect Back-Channel Logout 1.0 2.4; RFC 8725 3.11")
@pytest.mark.spec("OpenID Connect Back-Channel Logout 1.0 2.5, 2.8")
@pytest.mark.parametrize("alg", ["ES256", "RS256", "EdDSA"])
async def test_a_client_hears_of_a_session_that_ended(
    world: World, deliveries: Deliveries, party: Party, alg: str
) -> None:
    client_id = world.client(backchannel_logout_uri=party.uri, id_token_signed_response_alg=alg)
    sid = await world.session(client_id, world.client())
    await deliveries.on_sessions([ended(sid)])
    (row,) = await world.until(lambda rows: bool(rows) and rows[0]["state"] == "delivered")
    assert (row["sid"], row["client_id"], row["attempts"], row["error"]) == (sid, client_id, 1, None)
    (token,) = party.heard
    decoded = jwt.decode(token, KeySet.import_key_set(json.loads(world.keys.jwks)), algorithms=[alg])
    assert decoded.header["typ"] == "logout+jwt"
    claims = decoded.claims
    assert (claims["iss"], claims["aud"], claims["sub"], claims["sid"]) == (ISSUER, client_id, "ada", sid)
    assert claims["events"] == {EVENT: {}}
    assert claims["jti"]
    assert 0 < claims["exp"] - claims["iat"] <= 120
    assert "nonce" not in claims


async def test_the_same_event_again_tells_nobody_again(world: World, deliveries: Deliveries, party: Party) -> None:
    sid = await world.session(world.client(backchannel_logout_uri=party.uri))
    for version in (2, 2, 3):
        await deliveries.on_sessions([ended(sid, version)])
        await world.until(lambda rows: bool(rows) and rows[0]["state"] == "delivered")
    assert len(party.heard) == len(await world.rows()) == 1


async def test_a_session_that_starts_tells_nobody(world: World, deliveries: Deliveries, party: Party) -> None:
    sid = await world.session(world.client(backchannel_logout_uri=party.uri))
    event = SessionStarted(id=sid, version=1, user_id="ada")
    await deliveries.on_sessions([Received(new_id(), "session.started", "auth.authz.session.started", event, 1)])
    assert await world.rows() == []


async def test_who_fails_is_tried_again_with_a_fresh_token(world: World, deliveries: Deliveries, party: Party) -> None:
    party.answers = [500, 302, 400, 204]
    sid = await world.session(world.client(backchannel_logout_uri=party.uri))
    await deliveries.on_sessions([ended(sid)])
    for attempt, error in ((1, "status 500"), (2, "status 302"), (3, "status 400")):
        (row,) = await world.until(partial(_tried, attempt))
        assert (row["state"], row["error"]) == ("pending", error)
        wait = (row["next_attempt_at"] - world.clock()).total_seconds()
        assert 2 ** (attempt - 1) * 0.5 < wait < 2 ** (attempt - 1) * 1.3
        world.clock.advance(timedelta(seconds=2**attempt))
        deliveries.look()
    await world.until(lambda rows: rows[0]["state"] == "delivered")
    key_set = KeySet.import_key_set(json.loads(world.keys.jwks))
    assert len({jwt.decode(token, key_set, algorithms=["ES256"]).claims["jti"] for token in party.heard}) == 4


async def test_after_a_day_a_client_is_given_up(world: World, deliveries: Deliveries, party: Party) -> None:
    party.answers = [503]
    sid = await world.session(world.client(backchannel_logout_uri=party.uri))
    await deliveries.on_sessions([ended(sid)])
    await world.until(lambda rows: rows[0]["attempts"] == 1 and rows[0]["locked_until"] is None)
    world.clock.advance(DAY - timedelta(minutes=1))
    deliveries.look()
    (row,) = await world.until(lambda rows: rows[0]["attempts"] == 2 and rows[0]["locked_until"] is None)
    assert row["state"] == "pending"
    world.clock.advance(timedelta(minutes=2))
    deliveries.look()
    (row,) = await world.until(lambda rows: rows[0]["state"] == "dead")
    assert row["error"] == "status 503"
    async with asyncio.timeout(10):
        while world.counted.total() < 3:  # after the row
            await asyncio.sleep(0.01)
    assert world.counted == {"failed": 2, "given_up": 1}


async def test_what_a_killed_instance_began_is_done_by_another(world: World, party: Party) -> None:
    sid = await world.session(world.client(backchannel_logout_uri=party.uri))
    first = world.instance()
    await first.on_sessions([ended(sid)])
    # It was killed between its attempt and its note: the row is still its own.
    pool = await world.database.raw_pool()
    await pool.execute("UPDATE token.deliveries SET attempts = 1, locked_until = $1", world.clock() + LEASE)
    await first.stop()
    second = world.instance()
    second.start()
    await asyncio.sleep(0.3)
    assert party.heard == []
    world.clock.advance(LEASE + timedelta(seconds=1))
    second.look()
    (row,) = await world.until(lambda rows: rows[0]["state"] == "delivered")
    assert (row["attempts"], len(party.heard)) == (2, 1)
    await second.stop()


async def test_several_instances_tell_each_client_once(world: World, party: Party) -> None:
    instances = [world.instance() for _ in range(3)]
    for each in instances:
        each.start()
    clients = [world.client(backchannel_logout_uri=party.uri) for _ in range(20)]
    sid = await world.session(*clients)
    await asyncio.gather(*[each.on_sessions([ended(sid)]) for each in instances])
    for each in instances:
        each.look()
    await world.until(lambda rows: len(rows) == 20 and all(row["state"] == "delivered" for row in rows))
    assert len(party.heard) == 20
    for each in instances:
        await each.stop()


@pytest.mark.parametrize(
    ("uri", "settings", "error"),
    [
        pytest.param("{party}", {"outbound_allow": []}, "may not be reached", id="loopback"),
        pytest.param("http://169.254.169.254/latest", {}, "may not be reached", id="metadata of a cloud"),
        pytest.param("http://10.0.0.1/logout", {}, "may not be reached", id="a private network"),
        pytest.param("http://[::ffff:10.0.0.1]/logout", {}, "may not be reached", id="mapped"),
    ],
)
async def test_private_addresses_are_not_called(
    world: World, party: Party, uri: str, settings: dict[str, Any], error: str
) -> None:
    deliveries = world.instance(**settings)
    deliveries.start()
    sid = await world.session(world.client(backchannel_logout_uri=uri.replace("{party}", party.uri)))
    await deliveries.on_sessions([ended(sid)])
    (row,) = await world.until(lambda rows: bool(rows) and rows[0]["error"] is not None)
    assert error in row["error"]
    assert party.heard == []
    await deliveries.stop()


async def test_a_client_that_is_gone_is_given_up(world: World, deliveries: Deliveries, party: Party) -> None:
    party.answers = [500]
    client_id = world.client(backchannel_logout_uri=party.uri)
    await deliveries.on_sessions([ended(await world.session(client_id))])
    await world.until(lambda rows: rows[0]["attempts"] == 1 and rows[0]["locked_until"] is None)
    del world.clients[client_id]
    world.clock.advance(timedelta(seconds=3))
    deliveries.look()
    (row,) = await world.until(lambda rows: rows[0]["state"] == "dead")
    assert "no longer" in row["error"]


async def test_an_administrator_sees_and_replays_what_was_given_up(
    own_site: Site, own_administrator: dict[str, str]
) -> None:
    site, headers = own_site, own_administrator
    async with site.database.postgres.admin(site.database.name) as admin:
        await admin.execute(
            "INSERT INTO token.deliveries (id, sid, client_id, user_id, state, attempts, created_at, next_attempt_at,"
            " give_up_at, ended_at, error) VALUES"
            " ('d1', 's1', 'gone', 'ada', 'dead', 9, now(), now(), now(), now(), 'status 503'),"
            " ('d3', 's1', 'heard', 'ada', 'delivered', 1, now(), now(), now(), now(), NULL)"
        )
    listed = (await site.http.get("/api/v1/deliveries?state=dead", headers=headers)).json()
    assert [(each["id"], each["error"]) for each in listed["items"]] == [("d1", "status 503")]
    assert (await site.http.get("/api/v1/deliveries?state=pending", headers=headers)).json()["items"] == []
    assert (await site.http.get("/api/v1/deliveries?state=odd", headers=headers)).status_code == 400
    replayed = await site.http.post("/api/v1/deliveries/d1/replay", headers=headers)
    assert (replayed.status_code, replayed.json()["state"]) == (202, "pending")
    assert (await site.http.post("/api/v1/deliveries/d3/replay", headers=headers)).status_code == 409
    assert (await site.http.post("/api/v1/deliveries/d2/replay", headers=headers)).status_code == 404
