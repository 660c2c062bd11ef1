"""Keys: made once, sealed at rest, replaced when revoked."""

import asyncio
import json
from base64 import urlsafe_b64decode
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from functools import partial

import asyncpg
import pytest
from joserfc import jws
from joserfc.jwk import KeySet
from tests.token.conftest import ISSUER, MASTER, Site, instance

from watchword_database import Database, transaction
from watchword_events.exports import ClientExport
from watchword_events.names import Service
from watchword_events.revocations import Claim
from watchword_runtime.client_keys import ClientKeys
from watchword_runtime.keyring import Keyring, Unsealable, derive_service_keys
from watchword_runtime.work import Received
from watchword_testkit.databases import TestDatabase
from watchword_testkit.http import http_client
from watchword_token import rotation
from watchword_token.backchannel import Deliveries
from watchword_token.consumers import Memory
from watchword_token.evidence import evidence_about
from watchword_token.formats import Formats
from watchword_token.key_material import SIGNING_ALGS
from watchword_token.keys import Keys
from watchword_token.models import Delivery


def keyring(master: bytes = MASTER) -> Keyring:
    return Keyring(json.dumps(derive_service_keys(master, Service.TOKEN)))


def keys_on(database: Database, ring: Keyring | None = None) -> Keys:
    return Keys(database, ring or keyring())


@pytest.fixture
async def admin(database: TestDatabase) -> AsyncIterator[asyncpg.Connection]:
    async with database.postgres.admin(database.name) as connection:
        yield connection


async def test_of_many_instances_that_start_at_once_one_makes_the_keys(
    database: TestDatabase, admin: asyncpg.Connection
) -> None:
    instances = [keys_on(database.open(Service.TOKEN)) for _ in range(5)]
    await asyncio.gather(*[each.start() for each in instances])
    rows = await admin.fetch("SELECT alg, use FROM token.keys ORDER BY alg")
    assert [(row["alg"], row["use"]) for row in rows] == [
        ("A256GCM", "enc"),
        ("ES256", "sig"),
        ("EdDSA", "sig"),
        ("RS256", "sig"),
    ]
    assert len({each.jwks for each in instances}) == 1
    events = await admin.fetch("SELECT body FROM token.outbox WHERE type = 'key.published'")
    published = {json.loads(row["body"])["id"] for row in events}
    assert published == {key["kid"] for key in json.loads(instances[0].jwks)["keys"]}


@pytest.mark.spec("RFC 7517 4; RFC 7518 3")
@pytest.mark.spec("RFC 7638 3; RFC 7517 5; RFC 7638 3")
async def test_the_key_set_is_public_and_named_by_thumbprints(site: Site) -> None:
    answer = await site.http.get("/oauth2/jwks")
    assert answer.headers["content-type"] == "application/jwk-set+json"
    assert answer.headers["cache-control"] == "public, max-age=300"
    document = answer.json()
    assert sorted(key["alg"] for key in document["keys"]) == sorted(SIGNING_ALGS)
    for key in KeySet.import_key_set(document).keys:
        assert not key.is_private
        assert key.kid == key.thumbprint()
    for key in document["keys"]:
        assert key["use"] == "sig"
        assert not {"d", "p", "q", "dp", "dq", "qi", "k"} & set(key)
    assert (await site.http.head("/oauth2/jwks")).status_code == 200
    assert (await site.http.get("/.well-known/jwks.json")).content == answer.content
    assert (await site.http.post("/oauth2/jwks")).status_code == 405


@pytest.mark.row(56)
async def test_private_keys_are_stored_sealed(site: Site) -> None:
    async with site.database.postgres.admin(site.database.name) as connection:
        rows = await connection.fetch("SELECT sealed, public_jwk FROM token.keys")
    assert len(rows) == 4
    for row in rows:
        # DER of a private key begins with a SEQUENCE and holds an OBJECT IDENTIFIER; sealed bytes hold neither.
        assert b"PRIVATE" not in row["sealed"]
        assert not row["sealed"].startswith(b"0")
        assert row["public_jwk"] is None or "d" not in json.loads(row["public_jwk"])


@pytest.mark.row(56)
async def test_a_row_moved_under_another_kid_does_not_open(database: TestDatabase, admin: asyncpg.Connection) -> None:
    keys = keys_on(database.open(Service.TOKEN))
    await keys.start()
    es256, eddsa = keys.signing("ES256").kid, keys.signing("EdDSA").kid
    await admin.execute(
        "UPDATE token.keys a SET sealed = b.sealed FROM token.keys b WHERE a.kid = $1 AND b.kid = $2", es256, eddsa
    )
    with pytest.raises(Unsealable):
        await keys_on(database.open(Service.TOKEN)).start()
    await keys.reload()  # has opened both before, and goes on with what it has
    assert keys.signing("ES256").public_jwk["kty"] == "EC"


async def test_a_key_is_opened_once_and_its_state_follows_the_table(
    database: TestDatabase, admin: asyncpg.Connection
) -> None:
    keys = keys_on(database.open(Service.TOKEN))
    await keys.start()
    before = keys.signing("RS256")
    await admin.execute("UPDATE token.keys SET state = 'retiring' WHERE kid = $1", before.kid)
    await keys.reload()
    after = keys.by_access_header[before.access_header]
    assert (after.sign, after.state) == (before.sign, "retiring")
    with pytest.raises(ConnectionError):
        keys.signing("RS256")


async def test_keys_do_not_open_with_another_master_key(database: TestDatabase) -> None:
    await keys_on(database.open(Service.TOKEN)).start()
    stranger = keys_on(database.open(Service.TOKEN), keyring(b"another master key of 32 bytes and more"))
    with pytest.raises(Unsealable):
        await stranger.start()


@pytest.mark.spec("NIST SP 800-38D 8.2.1")
async def test_no_two_processes_and_no_two_tokens_share_a_nonce(database: TestDatabase) -> None:
    instances = [keys_on(database.open(Service.TOKEN)) for _ in range(3)]
    for each in instances:
        await each.start()
    tokens = [each.encryption.seal(b"{}") for each in instances for _ in range(50)]
    await instances[0].reload()
    tokens += [instances[0].encryption.seal(b"{}") for _ in range(50)]
    assert len({token.split(b".")[2] for token in tokens}) == len(tokens)


async def test_a_revoked_key_is_replaced_and_its_tokens_are_dead_everywhere(
    site: Site, administrator: dict[str, str]
) -> None:
    async with instance(site.database, site.nats_url, site.clock, site.canary, owners=site.owners) as second:
        for token_format, alg in (("jwt", "ES256"), ("opaque", "A256GCM")):
            app = await site.client(access_token_format=token_format)
            old = await site.machine_token(app)
            assert await second.is_active(app, old)
            listed = (await site.http.get("/api/v1/keys", headers=administrator)).json()["items"]
            kid = next(key["kid"] for key in listed if key["alg"] == alg and key["state"] == "active")
            answer = await site.http.post(
                "/api/v1/revocations", json={"claim": "kid", "value": kid}, headers=administrator
            )
            assert (answer.status_code, answer.json()["kind"]) == (201, "state")
            assert not await site.is_active(app, old)
            async with asyncio.timeout(30):
                while await second.is_active(app, old):
                    await asyncio.sleep(0.02)
            # Whoever is asked next signs with the successor, and whoever is shown it knows it.
            new = await second.machine_token(app)
            assert await second.is_active(app, new)
            await asyncio.sleep(1.1)
            assert await site.is_active(app, new)
            assert kid not in (await site.http.get("/oauth2/jwks")).text
            again = await site.http.get(f"/api/v1/keys/{kid}", headers=administrator)
            assert again.json()["state"] == "revoked"


async def signed_answer(site: Site, keys: Keys) -> bytes:
    """What an ID token, userinfo, an introspection or an answer in one JWT is signed as."""
    async with http_client() as http:
        return await Formats(keys, ClientKeys(http, site.clock)).signed("ES256", {"sub": "ada"})


async def evidence(site: Site, keys: Keys) -> bytes:
    async with transaction(site.db(Service.TOKEN)) as session:
        return await evidence_about(session, "ada", ended=False, keys=keys, issuer=ISSUER, now=site.clock())


async def logout_token(site: Site, keys: Keys) -> bytes:
    now, client = site.clock(), ClientExport(client_id="app", client_name="An application")

    async def find(_client_id: str) -> ClientExport:
        return client

    async with http_client() as http:
        deliveries = Deliveries(
            site.db(Service.TOKEN),
            keys,
            find,
            http,
            name=lambda _sector, user_id: user_id,
            issuer=ISSUER,
            horizon=timedelta(days=1),
            counted=Counter(),
            now=site.clock,
        )
        times = {"created_at": now, "next_attempt_at": now, "give_up_at": now + timedelta(days=1)}
        return await deliveries.logout_token(Delivery(id="d", sid="s", client_id="app", user_id="ada", **times), client)


@pytest.mark.parametrize("sign", [signed_answer, evidence, logout_token])
async def test_what_another_instance_has_just_revoked_signs_nothing(
    site: Site, administrator: dict[str, str], sign: Callable[[Site, Keys], Awaitable[bytes]]
) -> None:
    """Not even in the second until this instance has loaded the successor."""
    late = Keys(site.db(Service.TOKEN), keyring(), is_revoked=partial(site.feed.is_ended, Claim.KID))
    await late.start()
    kid = late.signing("ES256").kid
    assert _kid(await sign(site, late)) == kid
    answer = await site.http.post("/api/v1/revocations", json={"claim": "kid", "value": kid}, headers=administrator)
    assert answer.status_code == 201, answer.text
    assert late.signing("ES256").kid == kid
    signed = await sign(site, late)
    assert _kid(signed) != kid
    published = KeySet.import_key_set((await site.http.get("/oauth2/jwks")).json())
    assert jws.deserialize_compact(signed, published, algorithms=["ES256"]).payload


async def test_an_instance_shows_the_successor_of_a_key_as_soon_as_it_has_heard_of_the_revocation(
    site: Site, administrator: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Verifiers hear of it at the same moment and ask any instance. That of a key's event is not waited for."""
    monkeypatch.setattr(rotation, "EVERY_S", 1_000.0)
    monkeypatch.setattr(Memory, "on_key", ignored)
    async with instance(site.database, site.nats_url, site.clock, site.canary, owners=site.owners) as second:
        listed = (await site.http.get("/api/v1/keys", headers=administrator)).json()["items"]
        kid = next(key["kid"] for key in listed if key["alg"] == "ES256" and key["state"] == "active")
        assert kid in (await second.http.get("/oauth2/jwks")).text
        answer = await site.http.post(f"/api/v1/keys/{kid}/revoke", headers=administrator)
        assert answer.status_code == 200, answer.text
        async with asyncio.timeout(30):
            while kid in (await second.http.get("/oauth2/jwks")).text:
                await asyncio.sleep(0.01)


async def ignored(_memory: Memory, _received: Received) -> None:
    """The event of a key comes late."""


def _kid(signed: bytes) -> str:
    header = signed.partition(b".")[0]
    return str(json.loads(urlsafe_b64decode(header + b"=" * (-len(header) % 4)))["kid"])


async def test_without_keys_nothing_is_issued(database: TestDatabase) -> None:
    keys = keys_on(database.open(Service.TOKEN))
    with pytest.raises(ConnectionError):
        keys.signing("ES256")
    with pytest.raises(ConnectionError):
        _ = keys.encryption
