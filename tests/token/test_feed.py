"""The feed over HTTP, as the verifier library uses it."""

import asyncio
import hashlib
import json
from collections.abc import MutableMapping
from datetime import timedelta
from typing import Any

import pytest
from tests.token.conftest import ISSUER, Site

from watchword_database.ids import new_id
from watchword_events.names import Service
from watchword_events.revocations import Claim, RevocationEntry, RevocationKind
from watchword_runtime.broker import Broker
from watchword_token.feed_api import FeedApi
from watchword_token.settings import TokenSettings

MOST = 10_000  # entries in one answer to what came after a position
MANY = MOST + 2_500


@pytest.fixture
async def reader(site: Site) -> dict[str, str]:
    """Headers of a client that may read the feed."""
    app = await site.client(scope=["revocations:read"])
    return {"Authorization": f"Bearer {await site.machine_token(app)}"}


async def get(site: Site, path: str, headers: dict[str, str], **params: int) -> dict[str, Any]:
    answer = await site.http.get(path, headers=headers, params=params)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    found: dict[str, Any] = answer.json()
    return found


async def test_a_snapshot_and_what_came_after_hold_the_entries(site: Site, reader: dict[str, str]) -> None:
    before = (await get(site, "/revocations", reader))["position"]
    users = [new_id() for _ in range(3)]
    for user in users:
        await site.revoke(Claim.SUB, user, by=Service.AUTHZ)
    snapshot = await get(site, "/revocations", reader)
    assert snapshot["position"] == before + 3
    entries = [RevocationEntry.model_validate(entry) for entry in snapshot["entries"]]
    assert [entry.position for entry in entries] == sorted(entry.position for entry in entries)
    assert set(users) <= {entry.value for entry in entries}
    later = await get(site, "/revocations", reader, after=before + 1)
    assert [entry["value"] for entry in later["entries"]] == users[1:]
    newest = await get(site, "/revocations/position", reader)
    jwks = hashlib.sha256((await site.http.get("/oauth2/jwks")).content).hexdigest()[:32]
    assert newest == {"position": before + 3, "age_s": 0.0, "jwks": jwks}


async def test_a_snapshot_leaves_out_what_no_access_token_can_match(own_site: Site) -> None:
    app = await own_site.client(scope=["revocations:read"])
    await own_site.revoke(Claim.SUB, "short", by=Service.AUTHZ)
    own_site.clock.advance(timedelta(days=31))
    async with asyncio.timeout(30):
        while not own_site.feed.ready:
            await asyncio.sleep(0.05)
    headers = {"Authorization": f"Bearer {await own_site.machine_token(app)}"}
    assert (await get(own_site, "/revocations", headers))["entries"] == []


async def test_the_age_tells_of_entries_that_wait_for_their_position(own_site: Site) -> None:
    """The leader is away: what was committed since is older than what the answer can vouch for."""
    app = await own_site.client(scope=["revocations:read"])
    headers = {"Authorization": f"Bearer {await own_site.machine_token(app)}"}
    async with own_site.database.postgres.admin(own_site.database.name) as connection, connection.transaction():
        await connection.execute("LOCK TABLE bus.ledger IN EXCLUSIVE MODE")
        async with own_site.database.postgres.admin(own_site.database.name) as other:
            await other.execute(
                "INSERT INTO bus.revocations (claim, value, kind, until, keep_until, reason, at) VALUES"
                " ('sub', 'x', 'cut', now() + interval '1 day', now() + interval '1 day', 'test',"
                " clock_timestamp() - interval '3 seconds')"
            )
        found = await get(own_site, "/revocations/position", headers)
    assert 3 <= found["age_s"] < 30


async def many(site: Site, count: int) -> int:
    """As many entries more in the ledger, with their positions; the position before them."""
    async with site.database.postgres.admin(site.database.name) as connection, connection.transaction():
        before: int = await connection.fetchval("SELECT position FROM bus.ledger FOR UPDATE")
        await connection.execute(
            "INSERT INTO bus.revocations (position, claim, value, kind, until, keep_until, reason)"
            " SELECT $1 + n, 'jti', 'token-' || n, 'cut', now() + interval '1 day', now() + interval '1 day', 'test'"
            "   FROM generate_series(1::bigint, $2) AS n",
            before,
            count,
        )
        await connection.execute("UPDATE bus.ledger SET position = $1", before + count)
    return before


async def pieces(site: Site, path: str, headers: dict[str, str]) -> list[bytes]:
    """An answer as it is sent, piece by piece."""
    sent: list[bytes] = []
    host = ISSUER.removeprefix("https://")
    sent_headers = {"host": host, **headers}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "https",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(name.lower().encode(), each.encode()) for name, each in sent_headers.items()],
        "client": ("127.0.0.1", 1),
        "server": (host, 443),
    }

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(60)
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        assert message.get("status", 200) == 200
        sent.append(message.get("body", b""))

    await site.service.app(scope, receive, send)
    return [each for each in sent if each]


async def test_what_came_after_is_told_in_answers_of_a_bounded_length(own_site: Site) -> None:
    """Each is complete as of the position that it names, so whoever is far behind goes on from there."""
    app = await own_site.client(scope=["revocations:read"])
    headers = {"Authorization": f"Bearer {await own_site.machine_token(app)}"}
    before = await many(own_site, MANY)
    seen: list[int] = []
    position, newest = before, (await get(own_site, "/revocations/position", headers))["position"]
    while position < newest:
        page = await get(own_site, "/revocations", headers, after=position)
        assert 0 < len(page["entries"]) <= MOST
        seen += [entry["position"] for entry in page["entries"]]
        position = page["position"]
        assert position == seen[-1]
    assert seen == list(range(before + 1, newest + 1))
    assert (await get(own_site, "/revocations", headers, after=newest)) == {"position": newest, "entries": []}
    assert len((await get(own_site, "/revocations", headers, after=0))["entries"]) == MOST


async def test_a_long_snapshot_is_never_in_memory_as_a_whole(own_site: Site) -> None:
    app = await own_site.client(scope=["revocations:read"])
    headers = {"Authorization": f"Bearer {await own_site.machine_token(app)}"}
    before = await many(own_site, MANY)
    sent = await pieces(own_site, "/revocations", headers)
    assert max(len(each) for each in sent) < 400_000 < 2_000_000 < sum(len(each) for each in sent)
    snapshot = json.loads(b"".join(sent))
    assert snapshot["position"] == before + MANY
    assert len(snapshot["entries"]) == MANY


async def test_a_stream_from_far_behind_tells_everything_once_and_claims_no_more(own_site: Site) -> None:
    before = await many(own_site, MANY)
    stream = FeedApi(own_site.db(Service.TOKEN), _broker(own_site))
    stream.start()
    events = stream.stream(before)
    seen: list[int] = []
    async with asyncio.timeout(60):
        while not seen or seen[-1] < before + MANY:
            for event, data in parsed(await anext(events)):
                if event == "revocation":
                    seen.append(data["position"])
                else:
                    assert data["position"] == (seen[-1] if seen else before)
    assert seen == list(range(before + 1, before + MANY + 1))
    await events.aclose()  # type: ignore[attr-defined]  # an asynchronous generator
    await stream.stop()


@pytest.mark.parametrize("path", ["/revocations", "/revocations/position", "/revocations/stream?after=0"])
async def test_who_may_not_read_the_feed(site: Site, path: str) -> None:
    app = await site.client()
    tokens = await site.sign_in(app)
    machine = await site.machine_token(app)
    for headers, status in (
        ({}, 401),
        ({"Authorization": "Bearer garbage"}, 401),
        ({"Authorization": f"Bearer {tokens['id_token']}"}, 401),
        ({"Authorization": f"Bearer {machine}"}, 401),  # not meant for us: aud is the client itself
        ({"Authorization": f"Bearer {tokens['access_token']}"}, 403),
    ):
        answer = await site.http.get(path, headers=headers)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("query", ["after=-1", "after=x", "after=99999999999999999999", "after=1&after=2"])
async def test_malformed_positions_are_refused(site: Site, reader: dict[str, str], query: str) -> None:
    assert (await site.http.get(f"/revocations?{query}", headers=reader)).status_code == 400


async def test_a_stream_without_a_position_is_refused(site: Site, reader: dict[str, str]) -> None:
    assert (await site.http.get("/revocations/stream", headers=reader)).status_code == 400


def parsed(chunk: bytes) -> list[tuple[str, dict[str, Any]]]:
    """Server-sent events as (event, data)."""
    found = []
    for block in chunk.decode().strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines())
        found.append((fields["event"], json.loads(fields["data"])))
    return found


@pytest.mark.spec("HTML Living Standard 9.2, 9.2.4")
async def test_a_stream_begins_behind_the_position_and_then_follows(own_site: Site) -> None:
    await own_site.revoke(Claim.SUB, "first", by=Service.AUTHZ)
    before = own_site.feed.position
    await own_site.revoke(Claim.SUB, "second", by=Service.AUTHZ)
    stream = FeedApi(own_site.db(Service.TOKEN), _broker(own_site))
    stream.start()
    events = stream.stream(before)
    seen: list[str] = []
    async with asyncio.timeout(30):
        while seen != ["second"]:
            seen += [data["value"] for event, data in parsed(await anext(events)) if event == "revocation"]
        await own_site.revoke(Claim.SUB, "third", by=Service.AUTHZ, kind=RevocationKind.CUT)
        while seen != ["second", "third"]:
            seen += [data["value"] for event, data in parsed(await anext(events)) if event == "revocation"]
        while True:
            event, data = parsed(await anext(events))[0]
            if event == "position" and data["position"] == before + 2:
                break
    await events.aclose()  # type: ignore[attr-defined]  # an asynchronous generator
    await stream.stop()


def _broker(site: Site) -> Broker:
    """That of another process, which has not connected yet."""
    settings = TokenSettings.model_validate(
        {"database_url": "postgresql://x/y", "keys": '{"a": "' + "A" * 43 + '"}', "nats_url": site.nats_url}
    )
    return Broker(settings, site.db(Service.TOKEN))
