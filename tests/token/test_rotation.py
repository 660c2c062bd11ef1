"""Keys are published, confirmed, sign, retire; or are revoked at once. Nobody refuses a good token meanwhile."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from joserfc import jws
from joserfc.jwk import KeySet
from tests.token.conftest import MASTER, Site, instance

from watchword_database import Database, followers, transaction
from watchword_database.followers import Report
from watchword_events.names import Service
from watchword_runtime.keyring import Keyring, derive_service_keys
from watchword_testkit.databases import TestDatabase
from watchword_token.key_table import ALGS
from watchword_token.keys import Keys
from watchword_token.lifetimes import LONGEST_ACCESS_TOKEN
from watchword_token.rotation import Rotation
from watchword_token.tokens import compact

MAX_AGE = timedelta(seconds=300)
LIFETIME = timedelta(days=90)


class Instance:
    """The keys of one instance, as its rotation moves them."""

    def __init__(self, database: Database) -> None:
        ring = Keyring(json.dumps(derive_service_keys(MASTER, Service.TOKEN)))
        self.database = database
        self.keys = Keys(database, ring)
        self.rotation = Rotation(database, self.keys, max_age=MAX_AGE, lifetime=LIFETIME)

    async def publish(self, *algs: str) -> str:
        """The kid of the next key."""
        async with transaction(self.database) as session:
            rows = await self.keys.table.publish(session, algs)
            kid = rows[0].kid
        await self.keys.reload()
        return kid

    async def passes(self, time: timedelta) -> None:
        """So much more time has passed for every key; it is PostgreSQL's clock that counts."""
        await (await self.database.raw_pool()).execute(
            "UPDATE token.keys SET created_at = created_at - $1::interval, confirmed_at = confirmed_at - $1::interval,"
            " activated_at = activated_at - $1::interval, retire_at = retire_at - $1::interval",
            time,
        )

    async def state(self, kid: str) -> str:
        pool = await self.database.raw_pool()
        return str(await pool.fetchval("SELECT state FROM token.keys WHERE kid = $1", kid))

    def sign(self) -> str:
        """A token, signed with the key that is active here."""
        key = self.keys.signing("ES256")
        return compact(key, key.access_header, b"{}").decode()

    def key_set(self) -> KeySet:
        """The JWKS as anybody reads it."""
        return KeySet.import_key_set(json.loads(self.keys.jwks))


@pytest.fixture
async def one(database: TestDatabase) -> Instance:
    made = Instance(database.open(Service.TOKEN))
    await made.keys.start()
    return made


async def verifier(database: Database, *, kids: list[str] | None, instance_id: str = "orders/1") -> None:
    """A verifier reports which keys it knows."""
    said = Report(id=instance_id, kind="verifier", name="orders", position=1 << 40, bound_s=5.0, kids=kids)
    await followers.report(await database.raw_pool(), said)


async def events(database: Database) -> list[tuple[str, str]]:
    """What the service has told, in order: fact and kid."""
    pool = await database.raw_pool()
    rows = await pool.fetch("SELECT type, body::text FROM token.outbox WHERE type LIKE 'key.%' ORDER BY id")
    return [(row["type"], json.loads(row["body"])["id"]) for row in rows]


async def test_a_key_is_published_signs_and_retires(one: Instance) -> None:
    old = one.keys.signing("ES256").kid
    before = one.sign()
    new = await one.publish("ES256")
    assert new in one.keys.jwks.decode()
    await one.rotation.once()
    assert one.keys.signing("ES256").kid == old
    await one.passes(MAX_AGE - timedelta(seconds=2))
    await one.rotation.once()
    assert one.keys.signing("ES256").kid == old
    await one.passes(timedelta(seconds=3))
    await one.rotation.once()
    assert one.keys.signing("ES256").kid == new
    assert await one.state(old) == "retiring"
    # What the old key signed is good until its time is over.
    jws.deserialize_compact(before, one.key_set(), algorithms=["ES256"])
    await one.passes(LONGEST_ACCESS_TOKEN)
    await one.rotation.once()
    assert await one.state(old) == "retiring"
    await one.passes(timedelta(minutes=6))
    await one.rotation.once()
    assert await one.state(old) == "retired"
    assert old not in one.keys.jwks.decode()
    pool = await one.database.raw_pool()
    assert await pool.fetchval("SELECT sealed FROM token.keys WHERE kid = $1", old) == b""
    told = [fact for fact in await events(one.database) if fact[1] in (old, new)]
    assert told == [
        ("key.published", old),
        ("key.published", new),
        ("key.rotated", new),
        ("key.retired", old),
    ]


async def test_a_rotation_waits_for_everyone_who_checks_tokens(one: Instance) -> None:
    old = one.keys.signing("ES256").kid
    await verifier(one.database, kids=[old])
    await verifier(one.database, kids=None, instance_id="gateway/1")  # checks no signatures
    new = await one.publish("ES256")
    await one.passes(2 * MAX_AGE)
    for _ in range(3):
        await one.rotation.once()
        assert one.keys.signing("ES256").kid == old
    await verifier(one.database, kids=[old, new])
    await one.rotation.once()
    # Caches of the JWKS are allowed their time from that moment on.
    assert one.keys.signing("ES256").kid == old
    await one.passes(MAX_AGE + timedelta(seconds=1))
    await one.rotation.once()
    assert one.keys.signing("ES256").kid == new


async def test_who_has_gone_silent_holds_nothing_up(one: Instance, database: TestDatabase) -> None:
    await verifier(one.database, kids=["another"])
    async with database.postgres.admin(database.name) as admin:
        await admin.execute("ALTER TABLE bus.followers DISABLE TRIGGER USER")
        await admin.execute("UPDATE bus.followers SET heard_at = now() - interval '7 seconds'")
    new = await one.publish("ES256")
    await one.rotation.once()
    await one.passes(MAX_AGE + timedelta(seconds=1))
    await one.rotation.once()
    assert one.keys.signing("ES256").kid == new


async def test_of_many_that_rotate_at_once_one_does(database: TestDatabase) -> None:
    instances = [Instance(database.open(Service.TOKEN)) for _ in range(4)]
    for each in instances:
        await each.keys.start()
    assert len(set(await asyncio.gather(*[each.publish("ES256") for each in instances]))) == 1
    await asyncio.gather(*[each.rotation.once() for each in instances])
    await instances[0].passes(MAX_AGE + timedelta(seconds=1))
    await asyncio.gather(*[each.rotation.once() for each in instances])
    for each in instances:
        await each.rotation.once()
    assert len({each.keys.signing("ES256").kid for each in instances}) == 1
    assert [fact for fact, _ in await events(instances[0].database)].count("key.rotated") == 1


async def test_keys_are_replaced_on_schedule(one: Instance) -> None:
    first = dict(await _by_state(one, "active"))
    await one.passes(LIFETIME - 2 * MAX_AGE - timedelta(seconds=5))
    await one.rotation.once()
    assert not await _by_state(one, "next")
    await one.passes(timedelta(seconds=6))
    await one.rotation.once()
    assert sorted(alg for alg, _ in await _by_state(one, "next")) == sorted(ALGS)
    await one.rotation.once()
    await one.passes(MAX_AGE + timedelta(seconds=1))
    await one.rotation.once()
    second = dict(await _by_state(one, "active"))
    assert sorted(second) == sorted(ALGS)
    assert not set(first.values()) & set(second.values())


async def _by_state(one: Instance, state: str) -> list[tuple[str, str]]:
    pool = await one.database.raw_pool()
    rows = await pool.fetch("SELECT alg, kid FROM token.keys WHERE state = $1", state)
    return [(row["alg"], row["kid"]) for row in rows]


@pytest.mark.seed(74)
async def test_no_good_token_is_refused_during_twenty_rotations(database: TestDatabase) -> None:
    """A relying party reads the JWKS from a slow instance, only when its copy is as old as it may be."""
    quick, slow = (Instance(database.open(Service.TOKEN)) for _ in range(2))
    await quick.keys.start()
    await slow.keys.start()
    known, age = slow.key_set(), timedelta()
    signed_by = set()
    step = MAX_AGE / 3
    for _ in range(20):
        await quick.publish("ES256")
        # The slow instance does not know it yet: its report holds the confirmation up.
        await verifier(quick.database, kids=list(slow.keys.accepted()))
        while await _by_state(quick, "next"):
            await quick.rotation.once()
            if age >= MAX_AGE:
                known, age = slow.key_set(), timedelta()
            for each in (quick, slow):
                token = each.sign()
                jws.deserialize_compact(token, known, algorithms=["ES256"])
                signed_by.add(each.keys.signing("ES256").kid)
            await quick.passes(step)
            age += step
            await slow.rotation.once()
            await verifier(quick.database, kids=list(slow.keys.accepted()))
    assert len(signed_by) >= 20


async def test_opaque_tokens_outlive_the_rotation_of_their_key(one: Instance) -> None:
    old = one.keys.encryption
    await one.publish("A256GCM")
    await one.rotation.once()
    await one.passes(MAX_AGE + timedelta(seconds=1))
    await one.rotation.once()
    assert one.keys.encryption.kid != old.kid
    assert old.header in one.keys.by_enc_header
    assert await one.state(old.kid) == "retiring"


# By hand --------------------------------------------------------------------------------------------------------------


async def keys_of(site: Site, headers: dict[str, str], **having: str) -> list[dict[str, Any]]:
    listed = (await site.http.get("/api/v1/keys", headers=headers)).json()["items"]
    return [key for key in listed if all(key[name] == value for name, value in having.items())]


async def test_an_administrator_sees_what_a_next_key_waits_for(
    own_site: Site, own_administrator: dict[str, str]
) -> None:
    site = own_site
    await verifier(site.db(Service.TOKEN), kids=["another"])
    answer = await site.http.post("/api/v1/keys/rotate", json={"alg": "EdDSA"}, headers=own_administrator)
    assert answer.status_code == 200, answer.text
    (made,) = answer.json()["items"]
    assert (made["state"], made["alg"]) == ("next", "EdDSA")
    assert "orders" in made["waiting_for"]
    again = await site.http.post("/api/v1/keys/rotate", json={"alg": "EdDSA"}, headers=own_administrator)
    assert [key["kid"] for key in again.json()["items"]] == [made["kid"]]
    assert made["kid"] in (await site.http.get("/oauth2/jwks")).text


@pytest.mark.parametrize("state", ["next", "active", "retiring"])
async def test_a_key_is_revoked_in_any_state_and_for_ever(
    own_site: Site, own_administrator: dict[str, str], database: TestDatabase, state: str
) -> None:
    site, headers = own_site, own_administrator
    await site.http.post("/api/v1/keys/rotate", json={"alg": "ES256"}, headers=headers)
    async with database.postgres.admin(site.database.name) as admin:
        await _move(admin, state)
    kid = (await keys_of(site, headers, alg="ES256", state=state))[0]["kid"]
    revoked = await site.http.post(f"/api/v1/keys/{kid}/revoke", headers=headers)
    assert (revoked.status_code, revoked.json()["state"]) == (200, "revoked")
    assert kid not in (await site.http.get("/oauth2/jwks")).text
    assert len(await keys_of(site, headers, alg="ES256", state="active")) == 1
    again = await site.http.post(f"/api/v1/keys/{kid}/revoke", headers=headers)
    assert again.status_code == 409
    app = await site.client()
    assert await site.is_active(app, await site.machine_token(app))


async def _move(admin: asyncpg.Connection, state: str) -> None:
    """For `retiring`: the active key has given way to the next one."""
    if state == "retiring":
        await admin.execute(
            "UPDATE token.keys SET version = version + 1, retire_at = now() + interval '1 day',"
            " state = CASE state WHEN 'active' THEN 'retiring' ELSE 'active' END"
            " WHERE alg = 'ES256'"
        )


@pytest.mark.seed(8, 9, 10)
async def test_the_encryption_key_can_be_replaced_with_all_that_it_made(
    own_site: Site, own_administrator: dict[str, str]
) -> None:
    site, headers = own_site, own_administrator
    app, other = await site.client(access_token_format="opaque"), await site.client()
    async with instance(site.database, site.nats_url, site.clock, site.canary, owners=site.owners) as second:
        opaque, signed = await site.machine_token(app), await site.machine_token(other)
        assert await second.is_active(app, opaque)
        answer = await site.http.post("/api/v1/keys/rotate", json={"use": "enc", "revoke": True}, headers=headers)
        assert [key["state"] for key in answer.json()["items"]] == ["active"]
        assert not await site.is_active(app, opaque)
        async with asyncio.timeout(30):
            while await second.is_active(app, opaque):
                await asyncio.sleep(0.02)
        assert await second.is_active(other, signed)
        assert await site.is_active(app, await site.machine_token(app))


async def test_with_sessions_everybody_is_signed_out_as_well(own_site: Site, own_administrator: dict[str, str]) -> None:
    site = own_site
    app = await site.client()
    tokens = await site.sign_in(app, scope=("openid", "offline_access"))
    answer = await site.http.post(
        "/api/v1/keys/rotate", json={"use": "enc", "revoke": True, "sessions": True}, headers=own_administrator
    )
    assert answer.status_code == 200, answer.text
    assert not await site.is_active(app, tokens["access_token"])
    async with site.database.postgres.admin(site.database.name) as admin:
        ended = await admin.fetch("SELECT claim FROM bus.revocations ORDER BY id")
    assert [row["claim"] for row in ended] == ["kid", "all"]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        pytest.param("rotate", {"alg": "none"}, 400, id="no such algorithm"),
        pytest.param("rotate", {"alg": "HS256"}, 400, id="a symmetric algorithm"),
        pytest.param("rotate", {"use": "enc", "alg": "ES256"}, 400, id="an algorithm for the encryption key"),
        pytest.param("rotate", {"sessions": True}, 400, id="sessions without revoke"),
        pytest.param("rotate", {"use": "both"}, 400, id="no such use"),
        pytest.param("rotate", {"kid": "x"}, 400, id="an unknown member"),
        pytest.param("unknown/revoke", None, 404, id="no such key"),
        pytest.param("unknown%00/revoke", None, 400, id="a zero byte"),
        pytest.param("x" * 65 + "/revoke", None, 400, id="too long"),
    ],
)
async def test_what_is_refused(
    site: Site, administrator: dict[str, str], path: str, body: dict[str, Any] | None, status: int
) -> None:
    answer = await site.http.post(f"/api/v1/keys/{path}", json=body, headers=administrator)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.spec("RFC 9110 8.8.3, 13.1.2; RFC 9111 5.2.2.1")
async def test_who_has_the_key_set_already_is_told_so(own_site: Site, own_administrator: dict[str, str]) -> None:
    first = await own_site.http.get("/oauth2/jwks")
    etag = first.headers["etag"]
    same = await own_site.http.get("/oauth2/jwks", headers={"If-None-Match": f'"x", W/{etag}'})
    assert (same.status_code, same.content) == (304, b"")
    await own_site.http.post("/api/v1/keys/rotate", json={}, headers=own_administrator)
    changed = await own_site.http.get("/oauth2/jwks", headers={"If-None-Match": etag})
    assert changed.status_code == 200
    assert len(changed.json()["keys"]) == 6
